# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers of the sandbox: each application on a port of the loopback, in a thread with a loop of its own."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from tests.sandbox.google import Google
from tests.sandbox.wire import WireProtocol

HOST = "127.0.0.1"
START_TIMEOUT_S = 15


@dataclass(frozen=True)
class Options:
    """What a sandbox is started with; ports of 0 are chosen by the system."""

    dataset: dict
    authentik_version: str
    authentik_port: int = 0
    google_port: int = 0
    google_only: bool = False
    google_latency_ms: float = 0
    sync_ms: int = 0
    answer_ms: int = 10000


class Server:
    """One application on one port. The port is taken at once, answers come from ``start()`` on."""

    def __init__(self, port: int) -> None:
        """Take a port; raises OSError when it is not free."""
        # asyncio switches the delay of small packets off only for sockets that name TCP: 40 ms for each answer.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, port))
        except OSError:
            self._socket.close()
            raise
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, app: Callable) -> None:
        """Serve an application, and return when it accepts connections; raises RuntimeError when it does not."""
        config = uvicorn.Config(
            app,
            http=WireProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        limit = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > limit:
                raise RuntimeError(f"the server at {self.url} did not start")
            time.sleep(0.005)

    def ask_to_stop(self) -> None:
        """Let the server end; returns at once."""
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """End the server and give the port back."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(timeout=5)
        self._socket.close()


class Sandbox:
    """Both sides and their control application, as a context manager; ``info`` is what a client needs to know."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._servers: list[Server] = []
        self._authentik: Any = None
        self._key_file: Path | None = None
        self.info: dict[str, Any] = {}
        self.google = Google(dataset=options.dataset, latency_ms=options.google_latency_ms)

    def __enter__(self) -> Sandbox:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop()

    def _start(self) -> None:
        options = self._options
        google_server = self._listen(options.google_port)
        control_server = self._listen(0)
        key = self.google.service_account(google_server.url)
        routes: list[Mount | Route] = [
            Mount("/google", routes=self.google.control_routes()),
            Route("/reset", self._reset, methods=["POST"]),
        ]
        info: dict[str, Any] = {}
        google_server.start(self.google.app)
        if not options.google_only:
            # Google alone must run without what the authentik side needs.
            from tests.sandbox.authentik import Authentik

            authentik_server = self._listen(options.authentik_port)
            self._authentik = Authentik(
                version=options.authentik_version,
                dataset=options.dataset,
                google_api_endpoint=google_server.url,
                service_account=key,
                sync_ms=options.sync_ms,
                answer_ms=options.answer_ms,
            )
            authentik_server.start(self._authentik.app)
            routes.append(Mount("/authentik", routes=self._authentik.control_routes()))
            info["authentik_url"] = authentik_server.url
            info["authentik_token"] = self._authentik.token
            info["provider_id"] = self._authentik.provider_id
        control_server.start(Starlette(routes=routes))
        self._key_file = _write_private(key)
        self.info = {
            **info,
            "google_api_endpoint": google_server.url,
            "service_account_file": str(self._key_file),
            "control_url": control_server.url,
            "pid": os.getpid(),
        }

    def _listen(self, port: int) -> Server:
        server = Server(port)
        self._servers.append(server)
        return server

    # Not async: authentik's side may have to wait for syncs that are under way, which no other request should feel.
    def _reset(self, _request: Request) -> Response:
        if self._authentik is not None:
            self._authentik.reset()
        self.google.reset()
        return Response(status_code=204)

    def _stop(self) -> None:
        for server in self._servers:
            server.ask_to_stop()
        if self._authentik is not None:
            self._authentik.close()
        for server in self._servers:
            server.close()
        if self._key_file is not None:
            self._key_file.unlink(missing_ok=True)


def _write_private(content: dict) -> Path:
    """Write JSON into a temporary file that only its owner can read."""
    handle, name = tempfile.mkstemp(prefix="sandbox-service-account-", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    return Path(name)
