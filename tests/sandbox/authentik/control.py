# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control side of authentik: its state and settings, and silent changes that start no background sync."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.sandbox.authentik.shapes import Shapes
from tests.sandbox.authentik.state import Conflict, State, User, now

if TYPE_CHECKING:
    from tests.sandbox.authentik import Authentik


def routes(server: Authentik) -> list[Route]:
    """The control routes of an authentik side, to be mounted at ``authentik``."""

    async def settings(request: Request) -> Response:
        if request.method == "POST":
            try:
                server.configure(await request.json())
            except ValueError as exc:
                return JSONResponse({"error": str(exc)}, status_code=400)
        return JSONResponse(server.settings.as_dict())

    async def state(_request: Request) -> Response:
        with server.state.lock:
            return JSONResponse(state_of(server))

    async def webhooks(request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse(server.webhooks.deliveries())
        try:
            return JSONResponse(server.webhooks.register(await request.json()))
        except (ValueError, TypeError) as exc:
            return JSONResponse({"error": str(exc)}, status_code=400)

    def change(action: Callable[[State, dict, dict], dict | None]) -> Callable:
        async def endpoint(request: Request) -> Response:
            try:
                body = await request.json() if request.method in ("POST", "PATCH") else {}
                with server.state.lock:
                    answer = action(server.state, request.path_params, body)
            except (KeyError, ValueError, TypeError, Conflict) as exc:
                return JSONResponse({"error": f"{type(exc).__name__}: {exc}"}, status_code=400)
            return Response(status_code=204) if answer is None else JSONResponse(answer)

        return endpoint

    changes = [
        ("POST", "/users", _add_user),
        ("PATCH", "/users/{key}", _change_user),
        ("DELETE", "/users/{key}", _delete_user),
        ("POST", "/groups", _add_group),
        ("PATCH", "/groups/{key}", _change_group),
        ("DELETE", "/groups/{key}", _delete_group),
        ("POST", "/groups/{key}/members", _add_member),
        ("DELETE", "/groups/{key}/members/{username}", _remove_member),
        ("POST", "/providers", _add_provider),
        ("PATCH", "/providers/{pk:int}", _change_provider),
        ("DELETE", "/providers/{pk:int}", _delete_provider),
        ("POST", "/applications", _add_application),
        ("DELETE", "/applications/{slug}", _delete_application),
        ("POST", "/mappings", _add_mapping),
        ("PATCH", "/mappings/{name}", _change_mapping),
        ("DELETE", "/mappings/{name}", _delete_mapping),
        ("POST", "/tokens", _add_token),
        ("POST", "/connections", _add_connection),
        ("PATCH", "/connections/{id}", _change_connection),
        ("DELETE", "/connections/{id}", _delete_connection),
    ]
    return [
        Route("/state", state),
        Route("/settings", settings, methods=["GET", "POST"]),
        Route("/webhooks", webhooks, methods=["GET", "POST"]),
        *server.wire.routes(),
        *(Route(path, change(action), methods=[method]) for method, path, action in changes),
    ]


def state_of(server: Authentik) -> dict:
    """All that stands in authentik's database, in the API's shapes."""
    state, shapes = server.state, Shapes(server.state, server.release)
    return {
        "users": [shapes.user(user) for user in state.users.values()],
        "groups": [shapes.group(group) for group in state.groups.values()],
        "providers": [{**shapes.provider(item), "credentials": None} for item in state.providers.values()],
        "mappings": [asdict(item) for item in state.mappings.values()],
        "applications": [shapes.application(item) for item in state.applications.values()],
        "connections": [asdict(item) for item in state.connections.values()],
        "tasks": [shapes.task(item) for item in server.worker.view()],
    }


def _brief(user: User) -> dict:
    return {key: value for key, value in asdict(user).items() if key != "password"}


def _add_user(state: State, _path: dict, body: dict) -> dict:
    return _brief(state.add_user(body))


def _change_user(state: State, path: dict, body: dict) -> dict:
    user = state.find_user(path["key"])
    unknown = set(body) - {"username", "name", "email", "is_active", "type", "attributes", "path"}
    if unknown:
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
    for key, value in body.items():
        setattr(user, key, value)
    user.updated = now()
    return _brief(user)


def _delete_user(state: State, path: dict, _body: dict) -> None:
    state.remove_user(state.find_user(path["key"]))


def _add_group(state: State, _path: dict, body: dict) -> dict:
    return asdict(state.add_group(body))


def _change_group(state: State, path: dict, body: dict) -> dict:
    group = state.find_group(path["key"])
    unknown = set(body) - {"name", "attributes"}
    if unknown:
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
    for key, value in body.items():
        setattr(group, key, value)
    return asdict(group)


def _delete_group(state: State, path: dict, _body: dict) -> None:
    state.remove_group(state.find_group(path["key"]))


def _add_member(state: State, path: dict, body: dict) -> None:
    group, user = state.find_group(path["key"]), state.find_user(body["username"])
    if user.pk not in group.users:
        group.users.append(user.pk)


def _remove_member(state: State, path: dict, _body: dict) -> None:
    group, user = state.find_group(path["key"]), state.find_user(path["username"])
    group.users = [pk for pk in group.users if pk != user.pk]


def _add_provider(state: State, _path: dict, body: dict) -> dict:
    return {"pk": state.add_provider(body).pk}


def _change_provider(state: State, path: dict, body: dict) -> dict:
    state.change_provider(state.providers[path["pk"]], body)
    return {"pk": path["pk"]}


def _delete_provider(state: State, path: dict, _body: dict) -> None:
    state.remove_provider(state.providers[path["pk"]])


def _add_application(state: State, _path: dict, body: dict) -> dict:
    return asdict(state.add_application(body))


def _delete_application(state: State, path: dict, _body: dict) -> None:
    state.remove_application(state.applications[path["slug"]])


def _add_mapping(state: State, _path: dict, body: dict) -> dict:
    mapping = state.add_mapping({key: value for key, value in body.items() if key != "assigned"})
    if body.get("assigned", True):
        for provider in state.providers.values():
            state.assigned(provider, mapping.model).append(mapping.pk)
    return asdict(mapping)


def _change_mapping(state: State, path: dict, body: dict) -> dict:
    mapping = state.find_mapping(path["name"])
    mapping.expression = body["expression"]
    return asdict(mapping)


def _delete_mapping(state: State, path: dict, _body: dict) -> None:
    state.remove_mapping(state.find_mapping(path["name"]))


def _add_token(state: State, _path: dict, body: dict) -> dict:
    return {"token": state.add_token(body).key}


def _add_connection(state: State, path: dict, body: Any) -> dict | None:
    if isinstance(body, list):
        for item in body:
            _add_connection(state, path, item)
        return None
    kind = "user" if "user" in body else "group"
    row = state.add_connection(kind, body["provider"], body[kind], body["google_id"], body.get("attributes", {}))
    return asdict(row)


def _change_connection(state: State, path: dict, body: dict) -> dict:
    row = state.connections[path["id"]]
    for key in ("google_id", "attributes"):
        if key in body:
            setattr(row, key, body[key])
    return asdict(row)


def _delete_connection(state: State, path: dict, _body: dict) -> None:
    state.remove_connection(state.connections[path["id"]])
