# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of the sandbox: authentik, Google and the control application, each in a thread of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from tests.sandbox import clock
from tests.sandbox.dataset import complete
from tests.sandbox.google import Google
from tests.sandbox.wire import WireProtocol

HOST = "127.0.0.1"
START_WITHIN_S = 30
# The settings that a sandbox starts with, and that a reset may change for itself and those that follow.
START = ("google_latency_ms", "sync_ms", "answer_ms")


class Server:
    """One ASGI application on a loopback port, in a thread with an event loop of its own."""

    def __init__(self, app: Callable, port: int) -> None:
        # asyncio turns the delay of small packets off only where a socket names TCP: 40 ms for each answer otherwise.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, port))
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http=WireProtocol,
            lifespan="off",
            log_level="error",
            access_log=False,
            # A client that a busy machine keeps waiting finds its connection still open, and need not call twice.
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
            backlog=512,
        )
        self._server = uvicorn.Server(config)
        # Signals are the process's business.
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[self._socket]), daemon=True)

    def start(self) -> None:
        """Start, and return when connections are accepted."""
        self._thread.start()
        deadline = time.monotonic() + START_WITHIN_S
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError(f"the server at {self.url} did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop, and wait until it has."""
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()


class Servers:
    """Both sides and their control, wired together.

    ``info`` is what a client needs to know: see the README.
    """

    def __init__(
        self,
        *,
        dataset: dict,
        version: str,
        authentik_port: int = 0,
        google_port: int = 0,
        google_only: bool = False,
        google_latency_ms: float = 0,
        sync_ms: float = 0,
        answer_ms: float = 10000,
    ) -> None:
        self.google = Google(dataset=dataset, google_latency_ms=google_latency_ms)
        google_server = Server(self.google.app, google_port)
        key = self.google.service_account(google_server.url)
        self._servers = [google_server]
        self._sides: list = [self.google]
        mounts: list[Mount | Route] = [Mount("/google", routes=self.google.control_routes())]
        self.info: dict[str, object] = {}
        if not google_only:
            from tests.sandbox.authentik import Authentik

            authentik = Authentik(
                version=version,
                dataset=dataset,
                google_api_endpoint=google_server.url,
                service_account=key,
                sync_ms=sync_ms,
                answer_ms=answer_ms,
            )
            authentik_server = Server(authentik.app, authentik_port)
            self._servers.append(authentik_server)
            self._sides.append(authentik)
            mounts.append(Mount("/authentik", routes=authentik.control_routes()))
            self.info.update(
                authentik_url=authentik_server.url, authentik_token=authentik.token, provider_id=authentik.provider_id
            )
        mounts.append(Route("/reset", self._reset, methods=["POST"]))
        mounts.append(Route("/observed", self._observed, methods=["GET", "DELETE"]))
        mounts.append(Route("/clock", self._forward, methods=["POST"]))
        control = Server(Starlette(routes=mounts), 0)
        self._servers.append(control)
        self._key_file = _private_file(json.dumps(key))
        self.info.update(
            google_api_endpoint=google_server.url,
            service_account_file=self._key_file,
            control_url=control.url,
            pid=os.getpid(),
        )

    async def _reset(self, request: Request) -> Response:
        try:
            start = _start(await request.body())
        except ValueError as exc:
            return JSONResponse({"error": str(exc)}, status_code=400)
        # authentik first: what it still does at Google is forgotten there with the rest.
        for side in reversed(self._sides):
            side.reset(**{name: value for name, value in start.items() if name in ("dataset", *side.START)})
        return Response(status_code=204)

    async def _forward(self, request: Request) -> Response:
        """Let time pass at once."""
        given = await request.json()
        seconds = given.get("forward_ms") if isinstance(given, dict) else None
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
            return JSONResponse({"error": "forward_ms: a number, not below 0"}, status_code=400)
        clock.forward(seconds / 1000)
        for side in self._sides:
            side.wake()
        return Response(status_code=204)

    async def _observed(self, request: Request) -> Response:
        """Everything at once, for whoever asks often."""
        if request.method == "DELETE":
            for side in self._sides:
                side.wire.forget()
            return Response(status_code=204)
        return JSONResponse({type(side).__name__.lower(): side.observed() for side in self._sides})

    def start(self) -> None:
        """Start everything, and return when all of it accepts connections."""
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        """Stop everything and remove the key's file."""
        for side in self._sides:
            if hasattr(side, "close"):
                side.close()
        for server in reversed(self._servers):
            server.stop()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._key_file)


def _start(body: bytes) -> dict:
    """What a reset is to start with, checked: ``dataset`` as its JSON, and settings of the start. Raises ValueError."""
    start = json.loads(body) if body else {}
    if not isinstance(start, dict):
        raise ValueError("a reset is an object, or empty")
    unknown = sorted(set(start) - {"dataset", *START})
    if unknown:
        raise ValueError(f"unknown keys: {', '.join(unknown)}; known: dataset, {', '.join(START)}")
    for name in START:
        value = start.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ValueError(f"{name}: wrong value {value!r}")
    if "dataset" in start:
        start["dataset"] = complete(start["dataset"])
    return start


def _private_file(text: str) -> str:
    handle, path = tempfile.mkstemp(prefix="sandbox-service-account-", suffix=".json")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return path
