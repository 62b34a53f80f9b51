# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the sandbox as a process of its own and talk to it: for tests, the demo and the benchmarks."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.sandbox.dataset import DEFAULT

ROOT = Path(__file__).resolve().parents[2]
# The newest version that was recorded: the sandbox's default.
NEWEST = "2025.12.4"
START_WITHIN_S = 60
STOP_WITHIN_S = 20


class ControlError(Exception):
    """The control application refused something; the text is its answer."""


class Sandbox:
    """A running sandbox, as a context manager.

    Args:
        options: the command line's options with underscores (``dataset``, ``authentik_version``, ``google_only``,
            ``google_latency_ms``, ``sync_ms``, ``answer_ms``, …).

    Attributes:
        info: dict, the line that it printed; its keys are attributes, too (``authentik_url``, ``control_url``, …).
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.info: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None
        # Closed when the sandbox has ended, which outlives this call.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["info"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __enter__(self) -> Sandbox:
        command = [sys.executable, "-m", "tests.sandbox", "--parent-pid", str(os.getpid())]
        for name, value in self._options.items():
            flag = "--" + name.replace("_", "-")
            command += [flag] if value is True else [] if value in (None, False) else [flag, str(value)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        lines: queue.Queue[str] = queue.Queue()
        said = self._process.stdout
        assert said is not None
        threading.Thread(target=lambda: lines.put(said.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=START_WITHIN_S)
        except queue.Empty:
            line = ""
        if not line:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"the sandbox did not start: {self._said()}")
        self.info = json.loads(line)
        return self

    def __exit__(self, *exc: object) -> None:
        process = self._process
        assert process is not None and process.stdout is not None
        process.terminate()
        try:
            status = process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        process.stdout.close()
        said = self._said()
        self._errors.close()
        if status != 0 and exc[0] is None:
            raise RuntimeError(f"the sandbox ended with status {status}: {said}")

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the control application; returns parsed JSON or None. Raises ControlError."""
        data = None if body is None else json.dumps(body).encode()
        address = f"{self.control_url}/{urllib.parse.quote(path, safe='/?=&@%')}"
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                text = reply.read()
        except urllib.error.HTTPError as exc:
            raise ControlError(f"{method} {path}: {exc.code} {exc.read().decode()}") from None
        return json.loads(text) if text else None

    def google_state(self) -> dict[str, Any]:
        """What stands at Google: users, groups with their members, domains."""
        return self.control("GET", "google/state")

    def google_requests(self) -> list[dict[str, Any]]:
        """The requests that Google got."""
        return self.control("GET", "google/requests")

    def authentik_requests(self) -> list[dict[str, Any]]:
        """The requests that authentik got."""
        return self.control("GET", "authentik/requests")

    def observed(self) -> dict[str, dict[str, Any]]:
        """``state`` and ``requests`` of both sides, ``google`` and ``authentik``, by one call."""
        return self.control("GET", "observed")

    def clear_requests(self) -> None:
        """Forget the requests so far, on both sides."""
        self.control("DELETE", "observed")

    def fault(self, side: str, **fault: Any) -> None:
        """Add a fault on one side, "google" or "authentik"."""
        self.control("POST", f"{side}/faults", fault)

    def reset(self) -> None:
        """Back to the dataset, without faults, requests and settings."""
        self.control("POST", "reset")

    def begin(
        self,
        *,
        dataset: str | Path = DEFAULT,
        google_latency_ms: float = 0,
        sync_ms: float = 0,
        answer_ms: float = 10000,
    ) -> None:
        """Be as one that was just started with these options; ``reset()`` comes back to them from now on."""
        settings = {"google_latency_ms": google_latency_ms, "sync_ms": sync_ms, "answer_ms": answer_ms}
        self.control("POST", "reset", {"dataset": json.loads(Path(dataset).read_text()), **settings})

    def forward(self, seconds: float) -> None:
        """Let time pass at once, for all that the sandbox lets trail, wait or expire."""
        self.control("POST", "clock", {"forward_ms": seconds * 1000})

    def violations(self) -> list[str]:
        """The answers of Google's side that its discovery document forbids: bugs of the sandbox."""
        return self.control("GET", "google/violations")

    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def _said(self) -> str:
        self._errors.flush()
        self._errors.seek(0)
        return self._errors.read()[-4000:]
