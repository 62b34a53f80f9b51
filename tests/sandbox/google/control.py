# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The control side of Google: state, settings, and changes as an administrator makes them by hand at Google."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.sandbox.google.errors import ApiError
from tests.sandbox.google.state import Directory, Group

if TYPE_CHECKING:
    from tests.sandbox.google.app import Google

# What a route does: with the directory, its path parameters and its body. None is answered with 204.
Action = Callable[[Directory, dict[str, str], dict], "dict | None"]


def routes(google: Google) -> list[Route]:
    """Return the control routes of a Google side, to be mounted at ``google``."""

    async def state(_request: Request) -> Response:
        with google.lock:
            return JSONResponse(state_of(google))

    async def violations(_request: Request) -> Response:
        return JSONResponse(list(google.violations))

    async def settings(request: Request) -> Response:
        if request.method == "POST":
            try:
                google.settings.update(await request.json())
            except ValueError as exc:
                return JSONResponse({"error": str(exc)}, status_code=400)
        return JSONResponse(google.settings.as_dict())

    changes: list[tuple[str, str, Action, str | None]] = [
        ("POST", "/users", _create_user, "User"),
        ("PATCH", "/users/{key}", _update_user, "User"),
        ("DELETE", "/users/{key}", _delete_user, None),
        ("POST", "/users/{key}/aliases", _add_user_alias, "Alias"),
        ("DELETE", "/users/{key}/aliases/{alias}", _remove_user_alias, None),
        ("POST", "/groups", _create_group, "Group"),
        ("PATCH", "/groups/{key}", _update_group, "Group"),
        ("DELETE", "/groups/{key}", _delete_group, None),
        ("POST", "/groups/{key}/aliases", _add_group_alias, "Alias"),
        ("DELETE", "/groups/{key}/aliases/{alias}", _remove_group_alias, None),
        ("POST", "/groups/{key}/members", _add_member, "Member"),
        ("DELETE", "/groups/{key}/members/{member}", _remove_member, None),
    ]
    return [
        Route("/state", state),
        Route("/violations", violations),
        Route("/settings", settings, methods=["GET", "POST"]),
        *google.wire.routes(),
        *(Route(path, _endpoint(google, action, schema), methods=[method]) for method, path, action, schema in changes),
    ]


def _endpoint(google: Google, action: Action, schema: str | None) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of an action: its body checked against a schema, its errors in Google's shape."""
    return functools.partial(_change, google, action, schema)


async def _change(google: Google, action: Action, schema: str | None, request: Request) -> Response:
    try:
        body: Any = await request.json() if schema else {}
    except ValueError:
        return JSONResponse({"error": "the body is not JSON"}, status_code=400)
    try:
        with google.lock:
            if schema:
                google.discovery.check_body(schema, body)
            answer = action(google.directory, request.path_params, body)
    except ApiError as exc:
        return JSONResponse(exc.body(), status_code=exc.status)
    return Response(status_code=204) if answer is None else JSONResponse(answer)


def state_of(google: Google) -> dict:
    """Return all that stands at Google."""
    directory = google.directory
    return {
        "domains": google.api.domains(),
        "users": [directory.at(address).resource for address in directory.user_order],
        "groups": [_group_state(directory, directory.group(address)) for address in directory.group_order],
    }


def _group_state(directory: Directory, group: Group) -> dict:
    members = [directory.member_resource(group.members[member_id]) for member_id in sorted(group.members)]
    return {**group.resource, "members": members}


def _create_user(directory: Directory, _path: dict[str, str], body: dict) -> dict:
    return directory.create_user(body, by_hand=True).resource


def _update_user(directory: Directory, path: dict[str, str], body: dict) -> dict:
    user = directory.user(path["key"])
    directory.update_user(user, body, by_hand=True)
    return user.resource


def _delete_user(directory: Directory, path: dict[str, str], _body: dict) -> None:
    directory.delete_user(directory.user(path["key"]), by_hand=True)


def _add_user_alias(directory: Directory, path: dict[str, str], body: dict) -> dict:
    user = directory.user(path["key"])
    directory.add_alias(user, body.get("alias"), by_hand=True)
    return user.resource


def _remove_user_alias(directory: Directory, path: dict[str, str], _body: dict) -> None:
    directory.remove_alias(directory.user(path["key"]), path["alias"], by_hand=True)


def _create_group(directory: Directory, _path: dict[str, str], body: dict) -> dict:
    return directory.create_group(body, by_hand=True).resource


def _update_group(directory: Directory, path: dict[str, str], body: dict) -> dict:
    group = directory.group(path["key"])
    directory.update_group(group, body, by_hand=True)
    return group.resource


def _delete_group(directory: Directory, path: dict[str, str], _body: dict) -> None:
    directory.delete_group(directory.group(path["key"]), by_hand=True)


def _add_group_alias(directory: Directory, path: dict[str, str], body: dict) -> dict:
    group = directory.group(path["key"])
    directory.add_alias(group, body.get("alias"), by_hand=True)
    return group.resource


def _remove_group_alias(directory: Directory, path: dict[str, str], _body: dict) -> None:
    directory.remove_alias(directory.group(path["key"]), path["alias"], by_hand=True)


def _add_member(directory: Directory, path: dict[str, str], body: dict) -> dict:
    return directory.member_resource(directory.add_member(directory.group(path["key"]), body, by_hand=True))


def _remove_member(directory: Directory, path: dict[str, str], _body: dict) -> None:
    group = directory.group(path["key"])
    directory.remove_member(group, directory.member(group, path["member"]), by_hand=True)
