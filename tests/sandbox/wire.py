# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What passes over the wire of one sandbox server: a record of every exchange, and faults injected into it.

``Wire`` is an ASGI middleware. It must be served with ``WireProtocol`` as uvicorn's HTTP protocol, because a dropped
connection and a truncated answer need the connection itself, which ASGI hides.
"""

from __future__ import annotations

import asyncio
import http
import json
import re
import threading
import time
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

MASK = "<…>"
SECRET_KEYS = frozenset({"assertion", "access_token", "accessToken", "private_key", "signedJwt", "signedBlob"})
# A listing of a large directory would fill the memory of a long run, and nobody reads it in a record.
LONGEST_RECORDED = 64 * 1024

_PRIVATE_KEY = re.compile(r"-----BEGIN [^-]*PRIVATE KEY-----.*?(-----END [^-]*PRIVATE KEY-----|$)", re.DOTALL)
_AUTHORIZATION = re.compile(r"(?im)^(authorization:)[^\r\n]*")

ErrorBody = Callable[[int, dict], "tuple[bytes, str]"]

FAULT_KEYS: dict[str, type | tuple[type, ...]] = {
    "method": str,
    "path": str,
    "times": int,
    "skip": int,
    "when": str,
    "status": int,
    "reason": str,
    "message": str,
    "domain": str,
    "shape": str,
    "body": (str, dict, list),
    "content_type": str,
    "headers": dict,
    "delay_ms": (int, float),
    "drop": bool,
    "truncate": int,
}
_EFFECTS = ("status", "body", "delay_ms", "drop", "truncate")


class FaultError(ValueError):
    """A fault that was asked for does not make sense; the text says which key is wrong."""


class WireProtocol(H11Protocol):
    """uvicorn's protocol, which also hands its connection to the application in ``scope["state"]["connection"]``."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)


def detail_error_body(status: int, fault: dict) -> tuple[bytes, str]:
    """Give an error the body that authentik's API gives it: ``{"detail": message}``, and its content type."""
    return json.dumps({"detail": fault.get("message") or reason_phrase(status)}).encode(), "application/json"


def reason_phrase(status: int) -> str:
    """Return the standard text of an HTTP status, or ``Error`` for a number that has none."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def check_fault(fault: object) -> dict:
    """Check one fault as it was sent and return it as a new dict with ``times``, ``skip`` and ``when`` filled in.

    Raises FaultError naming the key that is unknown, of the wrong type or without sense.
    """
    if not isinstance(fault, dict):
        raise FaultError("a fault is an object")
    unknown = sorted(set(fault) - set(FAULT_KEYS))
    if unknown:
        raise FaultError(f"unknown keys: {', '.join(unknown)}; known: {', '.join(FAULT_KEYS)}")
    for key, value in fault.items():
        expected = FAULT_KEYS[key]
        # bool is an int for Python, but not for whoever writes a fault.
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise FaultError(f"{key}: wrong type of value {value!r}")
    if not any(key in fault for key in _EFFECTS):
        raise FaultError(f"a fault needs one of: {', '.join(_EFFECTS)}")
    if fault.get("when", "before") not in ("before", "after"):
        raise FaultError("when: before or after")
    if fault.get("shape", "errors") not in ("errors", "details", "oauth"):
        raise FaultError("shape: errors, details or oauth")
    if fault.get("times", 1) == 0 or fault.get("times", 1) < -1:
        raise FaultError("times: a positive number, or -1 for ever")
    for key in ("skip", "delay_ms", "truncate"):
        if fault.get(key, 0) < 0:
            raise FaultError(f"{key}: not below 0")
    if not 200 <= fault.get("status", 200) <= 599:
        raise FaultError("status: 200 to 599")
    try:
        re.compile(fault.get("path", ""))
    except re.error as exc:
        raise FaultError(f"path: not a regular expression: {exc}") from exc
    return {"times": 1, "skip": 0, "when": "before", **fault}


def masked(value: Any) -> Any:
    """Return a copy of parsed JSON, or of a text, in which secrets are replaced by ``<…>``."""
    if isinstance(value, dict):
        return {key: MASK if key in SECRET_KEYS and item else masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, str):
        if "PRIVATE KEY-----" in value:
            value = _PRIVATE_KEY.sub(MASK, value)
        if "uthorization:" in value:
            value = _AUTHORIZATION.sub(rf"\1 {MASK}", value)
    return value


def readable(body: bytes, content_type: str) -> Any:
    """Return a body as it is recorded: parsed JSON or form, else text, ``None`` when empty; without secrets."""
    if not body:
        return None
    if len(body) > LONGEST_RECORDED:
        return f"<{len(body)} bytes>"
    text = body.decode("utf-8", "replace")
    if "x-www-form-urlencoded" in content_type:
        return masked(dict(parse_qsl(text, keep_blank_values=True)))
    try:
        return masked(json.loads(text))
    except ValueError:
        return masked(text)


class _Answer:
    """An answer that is complete in memory: status, headers as ASGI wants them, body."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def content_type(self) -> str:
        return next((value.decode("latin-1") for name, value in self.headers if name.lower() == b"content-type"), "")


class Wire:
    """Records every exchange of the wrapped application and applies faults to it.

    ``requests`` is the record, in order of arrival: dicts of ``n``, ``method``, ``path`` (percent-decoded), ``query``
    (dict), ``body`` and ``reply`` (parsed JSON or form, text, or None), ``status`` (None while unanswered and when the
    connection was dropped), ``time`` (ISO 8601) and ``ms``. ``faults`` are those still to be used, in order.
    """

    def __init__(
        self,
        app: Callable,
        *,
        token_paths: Collection[str] = (),
        error_body: ErrorBody = detail_error_body,
    ) -> None:
        """Wrap an ASGI application.

        ``token_paths``: paths whose bodies are secrets as a whole; only refusals are recorded with their text.
        ``error_body``: makes body and content type of a fault that gives a status but no body.
        """
        self.app = app
        self.requests: list[dict] = []
        self.faults: list[dict] = []
        self._token_paths = frozenset(token_paths)
        self._error_body = error_body
        self._count = 0
        # The control application runs in a thread of its own.
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Forget all requests and faults, and count from one again."""
        with self._lock:
            self.requests = []
            self.faults = []
            self._count = 0

    def recorded(self) -> list[dict]:
        """Return a copy of the record."""
        with self._lock:
            return [dict(entry) for entry in self.requests]

    def forget(self) -> None:
        """Forget all requests."""
        with self._lock:
            self.requests = []

    def add_faults(self, faults: object) -> None:
        """Add one fault or a list of them; raises FaultError, and adds none, when one is wrong."""
        checked = [check_fault(fault) for fault in (faults if isinstance(faults, list) else [faults])]
        with self._lock:
            self.faults.extend(checked)

    def routes(self) -> list[Route]:
        """Return the control routes ``/requests`` (GET, DELETE) and ``/faults`` (GET, POST, DELETE)."""

        async def requests(request: Request) -> Response:
            if request.method == "DELETE":
                self.forget()
                return Response(status_code=204)
            return JSONResponse(self.recorded())

        async def faults(request: Request) -> Response:
            if request.method == "DELETE":
                with self._lock:
                    self.faults = []
                return Response(status_code=204)
            if request.method == "POST":
                try:
                    self.add_faults(await request.json())
                except FaultError as exc:
                    return JSONResponse({"error": str(exc)}, status_code=400)
                except ValueError as exc:
                    return JSONResponse({"error": f"not JSON: {exc}"}, status_code=400)
            with self._lock:
                return JSONResponse(list(self.faults), status_code=201 if request.method == "POST" else 200)

        return [
            Route("/requests", requests, methods=["GET", "DELETE"]),
            Route("/faults", faults, methods=["GET", "POST", "DELETE"]),
        ]

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        body = await _read_body(receive)
        entry = self._begin(scope, body)
        fault = self._take_fault(scope)
        try:
            answer = await self._answer(scope, receive, body, fault)
        except Exception:
            # The server answers with 500 and logs the error: a bug of the sandbox.
            entry["status"] = 500
            raise
        self._finish(entry, None if fault.get("drop") else answer, started)
        if fault.get("drop"):
            await _close(scope, receive)
        elif "truncate" in fault and answer is not None:
            await _send_truncated(answer, fault["truncate"], scope, receive, send)
        elif answer is not None:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: dict, receive: Callable, body: bytes, fault: dict) -> _Answer | None:
        """Let the application answer, or the fault in its place; None for a drop that the application never sees."""
        replaces = "status" in fault or "body" in fault
        first = fault.get("when") == "before"
        delay = fault.get("delay_ms", 0) / 1000
        if delay and first:
            await asyncio.sleep(delay)
        if first and fault.get("drop"):
            return None
        if first and replaces:
            return self._fault_answer(fault)
        answer = await _run(self.app, scope, receive, body)
        if delay and not first:
            await asyncio.sleep(delay)
        return self._fault_answer(fault) if replaces else answer

    def _fault_answer(self, fault: dict) -> _Answer:
        status = fault.get("status", 200)
        if "body" in fault:
            is_text = isinstance(fault["body"], str)
            body = (fault["body"] if is_text else json.dumps(fault["body"])).encode()
            content_type = "text/plain; charset=utf-8" if is_text else "application/json"
        elif status in (204, 304):
            body, content_type = b"", ""
        else:
            body, content_type = self._error_body(status, fault)
        content_type = fault.get("content_type", content_type)
        headers = {"content-length": str(len(body)), **({"content-type": content_type} if content_type else {})}
        headers.update({name.lower(): str(value) for name, value in fault.get("headers", {}).items()})
        return _Answer(status, [(name.encode(), value.encode("latin-1")) for name, value in headers.items()], body)

    def _take_fault(self, scope: dict) -> dict:
        """Return the first fault that matches the request, used up by one, or an empty dict."""
        target = scope["path"]
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        with self._lock:
            for fault in self.faults:
                if fault.get("method", scope["method"]).upper() != scope["method"]:
                    continue
                if not re.search(fault.get("path", ""), target):
                    continue
                if fault["skip"]:
                    fault["skip"] -= 1
                    continue
                if fault["times"] > 0:
                    fault["times"] -= 1
                    if not fault["times"]:
                        self.faults.remove(fault)
                return fault
        return {}

    def _begin(self, scope: dict, body: bytes) -> dict:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        entry: dict[str, Any] = {
            "n": 0,
            "method": scope["method"],
            "path": scope["path"],
            "query": _query(scope["query_string"].decode("latin-1")),
            "body": self._readable(scope["path"], body, headers.get(b"content-type", "")),
            "status": None,
            "reply": None,
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "ms": None,
        }
        with self._lock:
            self._count += 1
            entry["n"] = self._count
            self.requests.append(entry)
        return entry

    def _finish(self, entry: dict, answer: _Answer | None, started: float) -> None:
        # Before the answer leaves: whoever has received it finds it in the record.
        entry["ms"] = round((time.perf_counter() - started) * 1000, 1)
        if answer is not None:
            path = entry["path"] if answer.status < 400 else ""
            entry["reply"] = self._readable(path, answer.body, answer.content_type)
            entry["status"] = answer.status

    def _readable(self, path: str, body: bytes, content_type: str) -> Any:
        return MASK if path in self._token_paths else readable(body, content_type)


def _query(text: str) -> dict[str, str | list[str]]:
    """Return a query string as a dict; a parameter that is given more than once has a list of its values."""
    query: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if key not in query:
            query[key] = value
        elif isinstance(query[key], list):
            query[key].append(value)
        else:
            query[key] = [query[key], value]
    return query


async def _read_body(receive: Callable) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _run(app: Callable, scope: dict, receive: Callable, body: bytes) -> _Answer:
    """Let the application handle the request whose body was read already, and collect its answer."""
    answer = _Answer(500, [], b"")
    parts: list[bytes] = []
    body_is_due = True

    async def replay() -> dict:
        nonlocal body_is_due
        if body_is_due:
            body_is_due = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    async def collect(message: dict) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [tuple(header) for header in message.get("headers", [])]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, replay, collect)
    answer.body = b"".join(parts)
    return answer


async def _send_truncated(answer: _Answer, length: int, scope: dict, receive: Callable, send: Callable) -> None:
    headers = [header for header in answer.headers if header[0].lower() != b"content-length"]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    # At least one byte stays out, or the answer would be complete.
    part = answer.body[: min(length, max(len(answer.body) - 1, 0))]
    await send({"type": "http.response.body", "body": part, "more_body": True})
    await _close(scope, receive)


async def _close(scope: dict, receive: Callable) -> None:
    """Close the connection under the server, and wait until it knows, so that it sends no answer of its own."""
    scope["state"]["connection"].transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass
