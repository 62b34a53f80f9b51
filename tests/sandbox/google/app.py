# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Google side as an ASGI application: token endpoint, Directory API, batch, and the checks around them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from tests.sandbox.google import batch, control, fields
from tests.sandbox.google.api import Api, Quota
from tests.sandbox.google.auth import TokenError, Tokens
from tests.sandbox.google.discovery import Discovery, Method
from tests.sandbox.google.errors import ApiError, ScopeError, fault_body, forbidden, malformed
from tests.sandbox.google.platform import STS_PATH, Platform
from tests.sandbox.google.settings import Settings
from tests.sandbox.google.state import Directory
from tests.sandbox.wire import Wire

TOKEN_PATH = "/token"
BATCH_PATHS = ("/batch", "/batch/admin/directory_v1")
JSON_TYPE = "application/json; charset=UTF-8"


class Google:
    """A Google Directory over one workspace.

    ``app`` is the ASGI application, to be served with ``wire.WireProtocol``; ``wire`` its record and faults;
    ``violations`` the answers that were outside of the discovery document, which are bugs of the sandbox.
    """

    # What a reset may be given besides a dataset.
    START = ("google_latency_ms",)

    def __init__(self, *, dataset: dict, google_latency_ms: float = 0) -> None:
        """Build the directory from a dataset as ``tests.sandbox.dataset.load`` returns it."""
        self.discovery = Discovery()
        self.violations: list[str] = []
        # The control application changes the directory from a thread of its own.
        self.lock = threading.RLock()
        self.settings = Settings()
        self.wire = Wire(self._serve, token_paths=(TOKEN_PATH, STS_PATH), error_body=fault_body)
        self.app = self.wire
        self._dataset = dataset
        self._latency_ms = google_latency_ms
        self._tokens = Tokens(self.settings)
        self._platform = Platform(self.settings, self._tokens)
        self.reset()

    def service_account(self, base_url: str) -> dict[str, str]:
        """Return the key file of a service account whose token endpoint is below ``base_url``."""
        return self._tokens.service_account(base_url)

    def control_routes(self) -> list:
        """Return the control routes, to be mounted at ``google``."""
        return control.routes(self)

    def observed(self) -> dict:
        """Return what stands here, and the requests that came in."""
        with self.lock:
            return {"state": control.state_of(self), "requests": self.wire.recorded()}

    def reset(self, *, dataset: dict | None = None, google_latency_ms: float | None = None) -> None:
        """Go back to the dataset and to the settings of the start, or to others from now on; forget requests and faults.

        Access tokens stay good, so that clients can go on. Violations stay, so that the process ends with them.
        """
        with self.lock:
            if dataset is not None:
                self._dataset = dataset
            if google_latency_ms is not None:
                self._latency_ms = google_latency_ms
            self.settings.update({**Settings().as_dict(), "latency_ms": self._latency_ms})
            self.wire.reset()
            self._quota = Quota()
            content = self._dataset["google"]
            properties = self.discovery.properties("User")
            read_only = frozenset(name for name, entry in properties.items() if entry.get("readOnly"))
            self.directory = Directory(content["domains"], self.settings, read_only)
            self.api = Api(self.directory)
            for body in content["users"]:
                user = self.directory.create_user(_without(body, "aliases"), by_hand=True)
                for alias in body.get("aliases", ()):
                    self.directory.add_alias(user, alias, by_hand=True)
            for body in content["groups"]:
                group = self.directory.create_group(_without(body, "aliases", "members"), by_hand=True)
                for alias in body.get("aliases", ()):
                    self.directory.add_alias(group, alias, by_hand=True)
            # Groups can be members of groups that come before them.
            for body in content["groups"]:
                for member in body.get("members", ()):
                    self.directory.add_member(self.directory.group(body["email"]), member, by_hand=True)

    def wake(self) -> None:
        """The clock was moved forward: nothing waits for it here, all is compared with it when it is asked for."""

    async def _serve(self, scope: dict, receive: Callable, send: Callable) -> None:
        request = Request(scope, receive)
        body = await request.body()
        in_batch = scope.get("state", {}).get("in_batch", False)
        # A batch pays for the way once, not for each of its calls.
        if self.settings.latency_ms and not in_batch:
            await asyncio.sleep(self.settings.latency_ms / 1000)
        if request.url.path == TOKEN_PATH and request.method == "POST":
            response = self._token(body)
        elif request.url.path in BATCH_PATHS and request.method == "POST" and not in_batch:
            response = await self._batch(request, body, receive)
        else:
            raw_path = scope["raw_path"].decode("latin-1")
            pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            with self.lock:
                of_the_platform = self._platform.answer(
                    request.method, unquote(raw_path), dict(pairs), request.headers, body
                )
            response = of_the_platform or self._answer(request.method, raw_path, pairs, request.headers, body)
        await response(scope, receive, send)

    def _token(self, body: bytes) -> Response:
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        try:
            with self.lock:
                return JSONResponse(self._tokens.grant(form, self._is_account))
        except TokenError as exc:
            return JSONResponse(exc.body(), status_code=exc.status)

    def _is_account(self, address: str) -> bool:
        try:
            return bool(self.directory.user(address))
        except ApiError:
            return False

    async def _batch(self, request: Request, body: bytes, receive: Callable) -> Response:
        try:
            calls = batch.split(request.headers.get("content-type", ""), body)
        except ApiError as exc:
            return _error(exc)
        outer = request.headers.get("authorization")

        async def answer(call: batch.Call) -> batch.Reply:
            headers = {**({"authorization": outer} if outer else {}), **call.headers}
            path, _mark, query = call.target.partition("?")
            scope = {
                **request.scope,
                "method": call.method,
                "path": unquote(path),
                "raw_path": path.encode(),
                "query_string": query.encode(),
                "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
                "state": {**request.scope.get("state", {}), "in_batch": True},
            }
            # Through the wire: each call is recorded and can be met by a fault.
            return await _call(self.wire, scope, call.body, receive)

        return await batch.run(calls, answer)

    def _answer(
        self, http_method: str, raw_path: str, pairs: list[tuple[str, str]], headers: Mapping[str, str], body: bytes
    ) -> Response:
        found = self.discovery.find(http_method, raw_path)
        if found is None:
            page = (
                "<!DOCTYPE html><html><title>Error 404 (Not Found)</title><p><b>404.</b> No such address here.</html>"
            )
            return HTMLResponse(page, status_code=404)
        method, keys = found
        try:
            with self.lock:
                return self._call_method(method, keys, pairs, headers, body)
        except ApiError as exc:
            return _error(exc)

    def _call_method(
        self,
        method: Method,
        keys: dict[str, str],
        pairs: list[tuple[str, str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Response:
        self._authorize(method, headers.get("authorization", ""))
        if not self._quota.take(self.settings.quota_per_minute):
            raise ApiError(403, "quotaExceeded", "Request rate higher than configured.", domain="usageLimits")
        parameters = self.discovery.query(method, pairs)
        mask = fields.parse(parameters["fields"]) if parameters.get("fields") else {}
        self.discovery.check_fields(method, mask)
        sent = self.discovery.check_body(method.request, _parsed(body)) if method.request else {}
        answer = self.api.call(method.id, {**parameters, **keys}, sent)
        self.violations.extend(f"{method.id}: {problem}" for problem in self.discovery.answer_problems(method, answer))
        if answer is None:
            return Response(status_code=204)
        etag = answer.get("etag", "")
        if method.http_method == "GET" and etag and headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        content = json.dumps(fields.apply(mask, answer), separators=(",", ":")).encode()
        return Response(content, media_type=JSON_TYPE, headers={"ETag": etag} if etag else None)

    def _authorize(self, method: Method, authorization: str) -> None:
        access = self._tokens.access(authorization)
        if not access.scopes & method.scopes:
            raise ScopeError(method.id)
        # A service account has no rights of its own: it acts for an administrator.
        if access.subject is None or not self._is_account(access.subject):
            raise forbidden()
        subject = self.directory.user(access.subject).fields
        if not subject["isAdmin"] or subject["suspended"]:
            raise forbidden()


async def _call(app: Callable, scope: dict, body: bytes, receive: Callable) -> batch.Reply:
    """Let an ASGI application answer a request inside of a batch."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR.value
    headers: list[tuple[str, str]] = []
    content = b""
    body_is_due = True

    async def inner_receive() -> dict:
        nonlocal body_is_due
        if body_is_due:
            body_is_due = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    async def inner_send(message: dict) -> None:
        nonlocal status, headers, content
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
        else:
            content += message.get("body", b"")

    await app(scope, inner_receive, inner_send)
    return batch.Reply(status, headers, content)


def _parsed(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except ValueError as exc:
        raise malformed("Invalid JSON payload received. The body is not JSON.") from exc


def _error(exc: ApiError) -> Response:
    headers = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'} if exc.status == 401 else None
    return Response(json.dumps(exc.body()), exc.status, headers, JSON_TYPE)


def _without(body: dict, *names: str) -> dict:
    return {key: value for key, value in body.items() if key not in names}
