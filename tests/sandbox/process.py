# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sandbox in a process of its own, for tests, demo and benchmarks. Needs the standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15


class SandboxError(Exception):
    """The sandbox did not start, refused a control request, or did not end as it should."""


class Sandbox:
    """Context manager around ``python -m tests.sandbox``.

    Options are those of the command line with underscores: ``dataset``, ``authentik_version``, ``authentik_port``,
    ``google_port``, ``google_only``, ``google_latency_ms``, ``sync_ms``, ``answer_ms``. Inside, ``info`` is the line
    of JSON that it printed, whose keys are attributes too (``authentik_url``, ``google_api_endpoint``, …).
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None
        self.info: dict[str, Any] = {}

    def __enter__(self) -> Sandbox:
        command = [sys.executable, "-m", "tests.sandbox", "--parent-pid", str(os.getpid())]
        for name, value in self._options.items():
            option = "--" + name.replace("_", "-")
            if value is True:
                command.append(option)
            elif value is not None and value is not False:
                command += [option, str(value)]
        # A file, not a pipe: nobody reads while it runs, and a full pipe would stop it.
        self._errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8")
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        timer = threading.Timer(START_TIMEOUT_S, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            self._process.wait()
            raise SandboxError(f"the sandbox did not start (status {self._process.returncode}):\n{self._stderr()}")
        self.info = json.loads(line)
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        process = self._process
        process.terminate()
        try:
            process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        errors = self._stderr()
        # An error on the way out must not hide the one that led here.
        if process.returncode != 0 and kind is None:
            raise SandboxError(f"the sandbox ended with status {process.returncode}:\n{errors}")

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["info"][name]
        except KeyError:
            raise AttributeError(name) from None

    def control(self, method: str, path: str, json_body: Any = None, **named: Any) -> Any:
        """Send a control request and return its parsed answer (None when empty); raises SandboxError on 4xx and 5xx.

        The body may be given as the third argument or as ``json=``.
        """
        body = named.pop("json", json_body)
        if named:
            raise TypeError(f"unexpected arguments: {', '.join(named)}")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.info['control_url']}/{path.lstrip('/')}",
            data=data,
            method=method,
            headers={"Content-Type": "application/json"} if data else {},
        )
        # Whatever proxies the environment names are not for the loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as exc:
            raise SandboxError(f"{method} {path}: {exc.code} {exc.read().decode('utf-8', 'replace')}") from exc
        return json.loads(text) if text else None

    def google_state(self) -> dict:
        """Return ``{"domains": […], "users": […], "groups": [{…, "members": […]}]}``."""
        return self.control("GET", "google/state")

    def google_requests(self) -> list[dict]:
        """Return what reached Google, in order: see ``wire.Wire``."""
        return self.control("GET", "google/requests")

    def authentik_requests(self) -> list[dict]:
        """Return what reached authentik, in order: see ``wire.Wire``."""
        return self.control("GET", "authentik/requests")

    def clear_requests(self) -> None:
        """Forget what reached both sides so far."""
        for side in ("google", "authentik") if "authentik_url" in self.info else ("google",):
            self.control("DELETE", f"{side}/requests")

    def fault(self, side: str, **fault: Any) -> None:
        """Add a fault to ``google`` or ``authentik``; its keys are in the README."""
        self.control("POST", f"{side}/faults", fault)

    def reset(self) -> None:
        """Go back to the dataset on both sides; forget requests, faults and settings."""
        self.control("POST", "reset")

    def _stderr(self) -> str:
        self._errors.seek(0)
        text = self._errors.read()
        self._errors.close()
        return text
