# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manners of authentik's API: who may call, what a body must look like, how answers and errors are put."""

from __future__ import annotations

import inspect
import json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sandbox.authentik.releases import Release
from tests.sandbox.authentik.state import State, Token, User

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
NO_PERMISSION = "You do not have permission to perform this action."
NOT_AUTHENTICATED = "Authentication credentials were not provided."
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
LARGEST_PAGE = 100
TRUE = ("t", "y", "yes", "true", "on", "1")
FALSE = ("f", "n", "no", "false", "off", "0")


class ApiError(Exception):
    """An answer other than the one hoped for."""

    def __init__(self, status: int, body: Any, headers: dict | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers or {}


class InternalError(Exception):
    """Something in the server broke; the caller sees a page, not JSON."""


@dataclass
class Answer:
    body: Any = None
    status: int = 200


@dataclass
class Call:
    """One request, with whoever makes it."""

    request: Request
    raw: bytes
    token: Token | None
    user: User | None
    path: dict[str, str] = field(default_factory=dict)

    @property
    def query(self) -> dict[str, str]:
        return dict(self.request.query_params)

    def many(self, key: str) -> list[str]:
        return self.request.query_params.getlist(key)

    def flag(self, key: str, default: bool) -> bool:
        value = self.request.query_params.get(key, "").lower()
        return True if value in TRUE else False if value in FALSE else default

    # -- permissions --------------------------------------------------------------------------------------------

    def may(self, permission: str, provider: int | None = None) -> bool:
        if self.user is None or self.token is None:
            return False
        if self.user.is_superuser or permission in self.token.permissions:
            return True
        return provider is not None and permission in self.token.object_permissions.get(provider, ())

    def demand(self, permission: str, provider: int | None = None) -> None:
        if not self.may(permission, provider):
            raise ApiError(403, {"detail": NO_PERMISSION})

    # -- the body -----------------------------------------------------------------------------------------------

    def data(self) -> dict:
        """The JSON object sent."""
        if not self.raw:
            return {}
        content_type = self.request.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != "application/json":
            raise ApiError(415, {"detail": 'Unsupported media type "%s" in request.' % content_type})
        try:
            text = self.raw.decode()
            data = json.loads(text)
        except ValueError as exc:
            raise ApiError(400, {"detail": "JSON parse error - " + parse_error(exc)}) from exc
        if not isinstance(data, dict):
            kind = {"NoneType": "NoneType", "list": "list"}.get(type(data).__name__, type(data).__name__)
            raise ApiError(400, {"non_field_errors": ["Invalid data. Expected a dictionary, but got %s." % kind]})
        return data


def parse_error(exc: ValueError) -> str:
    """The words that authentik's JSON parser has for what Python's says in its own."""
    if not isinstance(exc, json.JSONDecodeError):
        return str(exc)
    what = "unexpected end of data" if exc.pos >= len(exc.doc) else "unexpected character"
    return "%s: line %s column %s (char %s)" % (what, exc.lineno, exc.colno, exc.pos)


class Fields:
    """Takes values out of a body and gathers what is wrong with them."""

    def __init__(self, data: dict) -> None:
        self.data = data
        self.errors: dict[str, list[str]] = {}

    def missing(self, key: str, required: bool = True) -> bool:
        if key not in self.data:
            if required:
                self.errors[key] = ["This field is required."]
            return True
        if self.data[key] is None:
            self.errors[key] = ["This field may not be null."]
            return True
        return False

    def text(self, key: str, required: bool = True, blank: bool = False) -> str:
        if self.missing(key, required):
            return ""
        value = self.data[key]
        if isinstance(value, (bool, dict, list)):
            self.errors[key] = ["Not a valid string."]
            return ""
        value = str(value).strip()
        if not value and not blank:
            self.errors[key] = ["This field may not be blank."]
        return value

    def choice(self, key: str, choices: Any, required: bool = True) -> str:
        if self.missing(key, required):
            return ""
        value = str(self.data[key])
        if value not in choices:
            self.errors[key] = ['"%s" is not a valid choice.' % value]
        return value

    def boolean(self, key: str) -> bool:
        if self.missing(key, False):
            return False
        value = str(self.data[key]).lower()
        if value not in TRUE + FALSE:
            self.errors[key] = ["Must be a valid boolean."]
        return value in TRUE

    def number(self, key: str, known: Any, required: bool = True) -> int | None:
        """The integer primary key of something that exists."""
        if self.missing(key, required):
            return None
        value = self.data[key]
        try:
            if isinstance(value, bool):
                raise TypeError
            pk = int(value)
        except (TypeError, ValueError):
            self.errors[key] = ["Incorrect type. Expected pk value, received %s." % type(value).__name__]
            return None
        if pk not in known:
            self.errors[key] = ['Invalid pk "%s" - object does not exist.' % value]
            return None
        return pk

    def uuid(self, key: str, known: Any, required: bool = True) -> str | None:
        if self.missing(key, required):
            return None
        value = self.data[key]
        try:
            pk = str(uuid.UUID(str(value)))
        except ValueError:
            self.errors[key] = ["“%s” is not a valid UUID." % value]
            return None
        if pk not in known:
            self.errors[key] = ['Invalid pk "%s" - object does not exist.' % value]
            return None
        return pk

    def uuids(self, key: str, known: Any) -> list[str]:
        """Primary keys of several things that exist."""
        if self.missing(key, False):
            return []
        value = self.data[key]
        if not isinstance(value, list):
            self.errors[key] = ['Expected a list of items but got type "%s".' % type(value).__name__]
            return []
        found: list[Any] = []
        for item in value:
            part = Fields({key: item})
            found.append(part.uuid(key, known))
            self.errors.update(part.errors)
        return found

    def numbers(self, key: str, known: Any) -> list[int]:
        if self.missing(key, False):
            return []
        value = self.data[key]
        if not isinstance(value, list):
            self.errors[key] = ['Expected a list of items but got type "%s".' % type(value).__name__]
            return []
        found: list[Any] = []
        for item in value:
            part = Fields({key: item})
            found.append(part.number(key, known))
            self.errors.update(part.errors)
        return found

    def whole(self, key: str) -> int:
        """A positive integer."""
        if self.missing(key, False):
            return 0
        try:
            if isinstance(self.data[key], bool):
                raise TypeError
            value = int(self.data[key])
        except (TypeError, ValueError):
            self.errors[key] = ["A valid integer is required."]
            return 0
        if value < 1:
            self.errors[key] = ["Ensure this value is greater than or equal to 1."]
        elif value > 2147483647:
            self.errors[key] = ["Ensure this value is less than or equal to 2147483647."]
        return value

    def email(self, key: str, required: bool = True) -> str:
        value = self.text(key, required)
        if value and not re.match(r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$", value):
            self.errors[key] = ["Enter a valid email address."]
        elif len(value) > 254:
            self.errors[key] = ["Ensure this field has no more than 254 characters."]
        return value

    def slug(self, key: str, required: bool = True) -> str:
        value = self.text(key, required)
        if value and not re.match(r"^[-a-zA-Z0-9_]+$", value):
            text = "Enter a valid “slug” consisting of letters, numbers, underscores or hyphens."
            self.errors[key] = [text]
        return value

    def dictionary(self, key: str, required: bool = True) -> dict:
        if self.missing(key, required):
            return {}
        value = self.data[key]
        if not isinstance(value, dict):
            self.errors[key] = ["Value must be a dictionary, and not have any duplicate keys."]
            return {}
        return value

    def check(self) -> None:
        if self.errors:
            raise ApiError(400, self.errors)


class Api:
    """Turns handlers into routes of one server."""

    def __init__(self, state: State, release: Release) -> None:
        self.state = state
        self.release = release

    def route(
        self,
        path: str,
        *,
        public: bool = False,
        model: bool = True,
        shown: Callable[[Call], list[str]] | None = None,
        **handlers: Callable,
    ) -> Route:
        """One path. Handlers are named by their method in lower case, and take the call.

        A model's views leave it to permissions to turn a stranger away, others ask for credentials first. ``shown`` tells
        which of POST and PUT the caller has the right to, as the answer to OPTIONS does.
        """
        allowed = [name for name in METHODS if name.lower() in handlers]
        if "get" in handlers:
            allowed.append("HEAD")
        allowed.append("OPTIONS")

        async def endpoint(request: Request) -> Response:
            try:
                accept_json(request)
                call = Call(request, await request.body(), *self.authenticate(request), path=request.path_params)
                if call.user is None and not public:
                    raise ApiError(403, {"detail": NO_PERMISSION if model else NOT_AUTHENTICATED})
                method = "GET" if request.method == "HEAD" else request.method
                if method == "OPTIONS":
                    return respond(Answer(described_endpoint(path, shown(call) if shown else [])))
                handler = handlers.get(method.lower())
                if handler is None:
                    raise ApiError(
                        405,
                        {"detail": 'Method "%s" not allowed.' % request.method},
                        {"allow": ", ".join(sorted(allowed, key=METHODS.index))},
                    )
                if inspect.iscoroutinefunction(handler):
                    return respond(await handler(call))
                return respond(await run_in_threadpool(handler, call))
            except ApiError as exc:
                return respond(Answer(exc.body, exc.status), exc.headers)
            except InternalError:
                return error_page(request.method, 500)

        return Route(path, endpoint, methods=list(METHODS))

    def authenticate(self, request: Request) -> tuple[Token | None, User | None]:
        kind, _, key = request.headers.get("authorization", "").strip().partition(" ")
        if not kind:
            return None, None
        if kind.lower() != "bearer":
            raise ApiError(403, {"detail": "Unsupported authentication type"})
        if not key.strip():
            return None, None
        with self.state.lock:
            token = self.state.tokens.get(key.strip())
            user = self.state.users.get(token.user) if token is not None else None
        if token is None or user is None or token.expired or not user.is_active:
            raise ApiError(403, {"detail": "Token invalid/expired"})
        return token, user

    def not_found(self, name: str) -> ApiError:
        """The 404 for a primary key that could be one but is not."""
        text = "No %s matches the given query." % name if self.release.named_not_found else "Not found."
        return ApiError(404, {"detail": text})

    def page(self, call: Call, items: list, shape: Callable[[Any], dict], autocomplete: dict | None = None) -> Answer:
        """One page of a list, with the numbers around it."""
        size = whole(call.query.get("page_size"), self.release.default_page_size)
        if self.release.autocomplete:
            size = min(size, LARGEST_PAGE)
        pages = max(1, math.ceil(len(items) / size))
        number = whole(call.query.get("page"), 1 if "page" not in call.query else 0)
        if call.query.get("page") == "last":
            number = pages
        if not 1 <= number <= pages:
            raise ApiError(404, {"detail": "Invalid page."})
        part = items[(number - 1) * size : number * size]
        body = {
            "pagination": {
                "next": number + 1 if number < pages else 0,
                "previous": number - 1,
                "count": len(items),
                "current": number,
                "total_pages": pages,
                "start_index": (number - 1) * size + 1 if items else 0,
                "end_index": (number - 1) * size + len(part),
            },
            "results": [shape(item) for item in part],
        }
        if self.release.autocomplete:
            body["autocomplete"] = autocomplete or {}
        return Answer(body)


def whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and int(text) else default


def number_of(text: str) -> int:
    """An integer out of a path; anything else cannot be found."""
    try:
        return int(text)
    except ValueError:
        raise ApiError(404, {"detail": "Not found."}) from None


def uuid_of(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ApiError(404, {"detail": "Not found."}) from None


def accept_json(request: Request) -> None:
    accepted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "*/*").split(",")]
    if not {"*/*", "application/*", "application/json"} & set(accepted):
        raise ApiError(406, {"detail": "Could not satisfy the request Accept header."})


def ordered(items: list, ordering: str, keys: Mapping[str, Callable[[Any], Any]]) -> list:
    """Sort by the fields that a query names; unknown ones are ignored."""
    for name in reversed([part.strip() for part in ordering.split(",")]):
        key = keys.get(name.lstrip("-"))
        if key is not None:
            items = sorted(items, key=key, reverse=name.startswith("-"))
    return items


def described_endpoint(path: str, actions: list[str]) -> dict:
    name = path.strip("/").rpartition("/")[2].replace("_", " ").capitalize()
    shown: dict = {"name": name, "description": "", "renders": ["application/json"], "parses": ["application/json"]}
    if actions:
        # Only the first of the fields: what matters is which methods are there.
        one = {"pk": {"type": "integer", "required": False, "read_only": True, "label": "ID"}}
        shown["actions"] = dict.fromkeys(actions, one)
    return shown


def respond(answer: Answer, headers: dict | None = None) -> Response:
    headers = {"x-authentik-id": uuid.uuid4().hex, **(headers or {})}
    if answer.status == 204:
        return Response(status_code=204, headers=headers)
    body = json.dumps(answer.body, ensure_ascii=False).encode()
    return Response(body, answer.status, {**headers, "content-type": JSON})


def error_page(method: str, status: int) -> Response:
    """authentik's page for an error outside its API. It knows GET alone, so anything else gets a bare 405."""
    headers = {"x-authentik-id": uuid.uuid4().hex, "content-type": HTML}
    if method not in ("GET", "HEAD"):
        return Response(b"", 405, {**headers, "allow": "GET, HEAD, OPTIONS"})
    title = "Not Found" if status == 404 else "Server Error"
    return Response("<!DOCTYPE html><html><head><title>%s</title></head></html>" % title, status, headers)


async def unknown_path(request: Request) -> Response:
    return error_page(request.method, 404)
