# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of authentik's API that the collection and its users call."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.routing import Mount, Route, Router

from tests.sandbox.authentik import expressions
from tests.sandbox.authentik.api import (
    METHODS,
    Answer,
    Api,
    ApiError,
    Call,
    Fields,
    InternalError,
    number_of,
    ordered,
    unknown_path,
    uuid_of,
)
from tests.sandbox.authentik.background import Background
from tests.sandbox.authentik.configuration import Configuration
from tests.sandbox.authentik.full_sync_views import FullSyncViews
from tests.sandbox.authentik.objects import World
from tests.sandbox.authentik.settings import Settings
from tests.sandbox.authentik.shapes import GROUP_AUTOCOMPLETE, USER_AUTOCOMPLETE, Shapes
from tests.sandbox.authentik.state import Conflict, Connection, Provider, State, User, now
from tests.sandbox.authentik.sync import MODELS
from tests.sandbox.authentik.tasks import Task, Worker, aggregated

GWS = "authentik_providers_google_workspace"
VIEW = f"{GWS}.view_googleworkspaceprovider"
ADD = f"{GWS}.add_googleworkspaceprovider"


class Views:
    """All endpoints of one server."""

    def __init__(self, state: State, api: Api, worker: Worker, settings: Settings, background: Background) -> None:
        self.state = state
        self.api = api
        self.release = api.release
        self.worker = worker
        self.settings = settings
        self.background = background
        self.shapes = Shapes(state, api.release)
        self.configuration = Configuration(state, api, settings, self.shapes, background)

    def routes(self) -> list:
        """The routes below the root of the server."""
        route = self.api.route
        paths = [
            route("/root/config/", public=True, get=self.config),
            route("/admin/version/", model=False, get=self.version),
            route("/core/users/", get=self.users),
            route("/core/users/me/", get=self.me),
            route("/core/users/{pk}/", get=self.user, patch=self.change_user, delete=self.delete_user),
            route("/core/groups/", get=self.groups),
            route("/core/groups/{pk}/", get=self.group, patch=self.change_group),
            route("/core/groups/{pk}/add_user/", post=self.add_member),
            route("/core/groups/{pk}/remove_user/", post=self.remove_member),
            route("/providers/all/", get=self.all_providers),
            route("/providers/all/{pk}/", get=self.any_provider),
            *self.configuration.routes(),
            route("/providers/google_workspace/{pk}/sync/object/", post=self.sync_object),
            route("/propertymappings/all/{pk}/test/", post=self.test_mapping),
            *self._connection_routes("user"),
            *self._connection_routes("group"),
            *FullSyncViews(self.state, self.api, self.worker, self.background, self.provider_of).routes(),
        ]
        if self.release.tasks_api:
            paths += [
                # From 2026.5 on with a final slash.
                route("/tasks/workers/" if self.release.discovery_setting else "/tasks/workers", get=self.workers),
                route("/tasks/tasks/", get=self.tasks),
                *([route("/tasks/tasks/status/", get=self.tasks_status)] if self.release.task_logs else []),
                route("/tasks/tasks/{pk}/", get=self.task),
            ]
        else:
            paths += [
                route("/admin/workers/", get=self.worker_count),
            ]
        # Nothing redirects: a missing final slash is an unknown address.
        unknown = Route("/{path:path}", unknown_path, methods=list(METHODS))
        return [Mount("/api/v3", app=Router([*paths, unknown], redirect_slashes=False)), unknown]

    def _connection_routes(self, kind: str) -> list[Route]:
        def bound(handler: Callable) -> Callable:
            return lambda call: handler(kind, call)

        base = f"/providers/google_workspace_{kind}s/"
        return [
            self.api.route(
                base,
                shown=lambda call: ["POST"] if call.may(f"{GWS}.add_googleworkspaceprovider{kind}") else [],
                get=bound(self.connections),
                post=bound(self.create_connection),
            ),
            self.api.route(base + "{pk}/", get=bound(self.connection), delete=bound(self.delete_connection)),
        ]

    # -- the server -----------------------------------------------------------------------------------------------

    def config(self, _call: Call) -> Answer:
        capabilities = ["can_impersonate", "is_enterprise"]
        reporting = {
            "enabled": False,
            "sentry_dsn": "",
            "environment": "",
            "send_pii": False,
            "traces_sample_rate": 0.1,
        }
        timeouts = {f"cache_timeout{name}": 300 for name in ("", "_flows", "_policies")}
        if not self.release.tasks_api:
            timeouts["cache_timeout_reputation"] = 0
        return Answer({"error_reporting": reporting, "capabilities": capabilities, **timeouts})

    def version(self, _call: Call) -> Answer:
        return Answer(
            {
                "version_current": self.release.version,
                "version_latest": "0.0.0",
                "version_latest_valid": False,
                "build_hash": "",
                "outdated": False,
                "outpost_outdated": False,
            }
        )

    def worker_count(self, call: Call) -> Answer:
        call.demand("authentik_rbac.view_system_info")
        return Answer({"count": 1 if self.worker.running else 0})

    def workers(self, call: Call) -> Answer:
        call.demand("authentik_rbac.view_system_info")
        one = {"worker_id": f"{uuid.uuid4()}@sandbox", "version": self.release.version, "version_matching": True}
        return Answer([one] if self.worker.running else [])

    # -- people and groups ----------------------------------------------------------------------------------------

    def me(self, call: Call) -> Answer:
        with self.state.lock:
            return Answer(self.shapes.me(call.user, call.token))

    def users(self, call: Call) -> Answer:
        call.demand("authentik_core.view_user")
        query = call.query
        with self.state.lock:
            found = [user for user in self.state.users.values() if user.pk != 1 and self._fits(user, call)]
            keys = {"pk": lambda item: item.pk, "username": lambda item: item.username, "name": lambda item: item.name}
            found = ordered(found, query.get("ordering", "username"), keys)
            groups = call.flag("include_groups", True)
            return self.api.page(call, found, lambda item: self.shapes.user(item, groups), USER_AUTOCOMPLETE)

    def _fits(self, user: User, call: Call) -> bool:
        query = call.query
        if any(key in query and query[key] != getattr(user, key) for key in ("username", "email", "name", "uuid")):
            return False
        if "is_active" in query and call.flag("is_active", True) != user.is_active:
            return False
        if "type" in query and user.type not in call.many("type"):
            return False
        groups = self.state.groups_of(user) if {"groups_by_pk", "groups_by_name"} & set(query) else []
        if "groups_by_pk" in query and not any(group.pk in call.many("groups_by_pk") for group in groups):
            return False
        if "groups_by_name" in query and not any(group.name in call.many("groups_by_name") for group in groups):
            return False
        words = query.get("search", "").lower().split()
        text = f"{user.username} {user.name} {user.email} {user.uuid}".lower()
        return all(word in text for word in words)

    def _user(self, call: Call, permission: str) -> User:
        call.demand(f"authentik_core.{permission}_user")
        user = self.state.users.get(number_of(call.path["pk"]))
        if user is None or user.pk == 1:
            raise self.api.not_found("User")
        return user

    def user(self, call: Call) -> Answer:
        with self.state.lock:
            return Answer(self.shapes.user(self._user(call, "view"), call.flag("include_groups", True)))

    def change_user(self, call: Call) -> Answer:
        with self.state.lock:
            user = self._user(call, "change")
            data = call.data()
            fields = Fields(data)
            wanted: dict[str, Any] = {
                key: fields.text(key, blank=key != "username") for key in ("username", "name", "email") if key in data
            }
            if "is_active" in data:
                wanted["is_active"] = fields.boolean("is_active")
            taken = {item.username for item in self.state.users.values() if item is not user}
            if wanted.get("username") in taken:
                fields.errors["username"] = ["This field must be unique."]
            fields.check()
            for key, value in wanted.items():
                setattr(user, key, value)
            user.updated = now()
            shown = self.shapes.user(user)
        self.background.saved(user)
        return Answer(shown)

    def delete_user(self, call: Call) -> Answer:
        with self.state.lock:
            user = self._user(call, "delete")
            rows = self.state.rows("user", obj=user.pk)
            self.state.remove_user(user)
        self.background.deleted("user", rows)
        return Answer(status=204)

    def groups(self, call: Call) -> Answer:
        call.demand("authentik_core.view_group")
        query = call.query
        with self.state.lock:
            found = [
                group
                for group in self.state.groups.values()
                if query.get("name", group.name) == group.name
                and query.get("search", "").lower() in group.name.lower()
                and all(int(pk) in group.users for pk in call.many("members_by_pk") if pk.isdigit())
            ]
            found = ordered(found, query.get("ordering", "name"), {"name": lambda item: item.name})
            return self.api.page(call, found, lambda item: self._shown_group(item, call), GROUP_AUTOCOMPLETE)

    def _shown_group(self, group: Any, call: Call) -> dict:
        return self.shapes.group(
            group,
            call.flag("include_users", True),
            call.flag("include_children", False),
            call.flag("include_parents", False),
        )

    def _group(self, call: Call, permission: str) -> Any:
        call.demand(f"authentik_core.{permission}_group")
        group = self.state.groups.get(uuid_of(call.path["pk"]))
        if group is None:
            raise self.api.not_found("Group")
        return group

    def group(self, call: Call) -> Answer:
        with self.state.lock:
            return Answer(self._shown_group(self._group(call, "view"), call))

    def change_group(self, call: Call) -> Answer:
        with self.state.lock:
            group = self._group(call, "change")
            data = call.data()
            fields = Fields(data)
            name = fields.text("name") if "name" in data else group.name
            fields.check()
            group.name = name
            shown = self.shapes.group(group)
        self.background.saved(group)
        return Answer(shown)

    def add_member(self, call: Call) -> Answer:
        return self._membership(call, added=True)

    def remove_member(self, call: Call) -> Answer:
        return self._membership(call, added=False)

    def _membership(self, call: Call, added: bool) -> Answer:
        with self.state.lock:
            group = self._group(call, "change")
            pk = Fields(call.data()).number("pk", self.state.users)
            if pk is None:
                raise ApiError(404, {"detail": "Not found."})
            changed = (pk in group.users) != added
            group.users = [item for item in group.users if item != pk] + ([pk] if added else [])
        if changed:
            self.background.membership(group, [pk], added)
        return Answer(status=204)

    # -- providers and mappings -----------------------------------------------------------------------------------

    def provider_of(self, call: Call) -> Provider:
        """The provider of a path, for whoever may see it. The caller holds the state's lock."""
        pk = number_of(call.path["pk"])
        call.demand(VIEW, pk)
        provider = self.state.providers.get(pk)
        if provider is None:
            raise self.api.not_found("GoogleWorkspaceProvider")
        return provider

    def all_providers(self, call: Call) -> Answer:
        call.demand("authentik_core.view_provider")
        with self.state.lock:
            return self.api.page(call, list(self.state.providers.values()), self.shapes.any_provider)

    def any_provider(self, call: Call) -> Answer:
        call.demand("authentik_core.view_provider")
        with self.state.lock:
            provider = self.state.providers.get(number_of(call.path["pk"]))
            if provider is None:
                raise self.api.not_found("Provider")
            return Answer(self.shapes.any_provider(provider))

    def test_mapping(self, call: Call) -> Answer:
        """Evaluate one mapping; the answer is 200 whether it works or not."""
        # guardian's WrongAppError, whichever is missing; recorded on 2025.12.4 and 2026.8.0.
        if not all(call.may(f"authentik_core.{verb}_propertymapping") for verb in ("view", "add")):
            raise InternalError
        with self.state.lock:
            mapping = self.state.mappings.get(uuid_of(call.path["pk"]))
            if mapping is None:
                raise self.api.not_found("PropertyMapping")
            fields = Fields(call.data())
            user = fields.number("user", self.state.users, required=False) if fields.data.get("user") else None
            group = fields.uuid("group", self.state.groups, required=False) if fields.data.get("group") else None
            fields.check()
            for given, model in ((user, "user"), (group, "group")):
                if given is not None:
                    call.demand(f"authentik_core.view_{model}")
            # Without a user the mapping is tried for whoever asks.
            world = World(self.state, self.release)
            variables = expressions.variables_for(
                world.user(call.user if user is None else self.state.users[user]),
                world.group(None if group is None else self.state.groups[group]),
                fields.data.get("context") or {},
            )
            try:
                value = expressions.sanitized(expressions.run(mapping.expression, variables, self.release))
                text = json.dumps(value, indent=4 if call.flag("format_result", False) else None)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - whatever an admin's code raises is the answer
                return Answer({"result": expressions.failure_text(exc), "successful": False})
        return Answer({"result": text, "successful": True})

    # -- connections ----------------------------------------------------------------------------------------------

    def connections(self, kind: str, call: Call) -> Answer:
        call.demand(f"{GWS}.view_googleworkspaceprovider{kind}")
        query = call.query
        with self.state.lock:
            found = self.state.rows(kind)
            if "provider__id" in query:
                found = [row for row in found if str(row.provider) == query["provider__id"]]
            key = "user__id" if kind == "user" else "group__group_uuid"
            if key in query:
                found = [row for row in found if str(row.obj) == query[key]]
            if kind == "user" and "user__username" in query:
                found = [row for row in found if self.state.users[row.obj].username == query["user__username"]]
            if kind == "group" and "group__name" in query:
                found = [row for row in found if self.state.groups[row.obj].name == query["group__name"]]
            keys = (
                {"user__username": lambda row: self.state.users[row.obj].username}
                if kind == "user"
                else {"group__name": lambda row: self.state.groups[row.obj].name}
            )
            found = ordered(found, query.get("ordering", next(iter(keys))), keys)
            return self.api.page(call, found, self.shapes.connection)

    def create_connection(self, kind: str, call: Call) -> Answer:
        call.demand(f"{GWS}.add_googleworkspaceprovider{kind}")
        with self.state.lock:
            fields = Fields(call.data())
            google_id = fields.text("google_id")
            obj = fields.number("user", self.state.users) if kind == "user" else fields.uuid("group", self.state.groups)
            provider = fields.number("provider", self.state.providers)
            fields.check()
            try:
                row = self.state.add_connection(kind, provider, obj, google_id, {})
            except Conflict:
                text = f"The fields google_id, {kind}, provider must make a unique set."
                raise ApiError(400, {"non_field_errors": [text]}) from None
            return Answer(self.shapes.connection(row), 201)

    def _connection(self, kind: str, call: Call) -> Connection:
        row = self.state.connections.get(uuid_of(call.path["pk"]))
        if row is None or row.kind != kind:
            raise self.api.not_found(f"GoogleWorkspaceProvider{kind.capitalize()}")
        return row

    def connection(self, kind: str, call: Call) -> Answer:
        call.demand(f"{GWS}.view_googleworkspaceprovider{kind}")
        with self.state.lock:
            return Answer(self.shapes.connection(self._connection(kind, call)))

    def delete_connection(self, kind: str, call: Call) -> Answer:
        call.demand(f"{GWS}.delete_googleworkspaceprovider{kind}")
        with self.state.lock:
            self.state.remove_connection(self._connection(kind, call))
        return Answer(status=204)

    # -- tasks ----------------------------------------------------------------------------------------------------

    def tasks(self, call: Call) -> Answer:
        call.demand("authentik_tasks.view_task")
        query = call.query
        words = query.get("search", "").split()
        found = [
            task
            for task in self.worker.view()
            if query.get("actor_name", task.actor_name) == task.actor_name
            and query.get("state", task.state) == task.state
            and query.get("rel_obj_content_type__app_label", task.rel_obj[0]) == task.rel_obj[0]
            and query.get("rel_obj_content_type__model", task.rel_obj[1]) == task.rel_obj[1]
            and query.get("rel_obj_id", task.rel_obj[2]) == task.rel_obj[2]
            # Every task belongs to something.
            and not call.flag("rel_obj_id__isnull", False)
            and ("aggregated_status" not in query or aggregated(task, self.release) in call.many("aggregated_status"))
            and all(word.lower() in f"{task.uid} {task.actor_name}".lower() for word in words)
        ]
        found = ordered(found, query.get("ordering", "-mtime"), {"mtime": lambda item: item.mtime})
        return self.api.page(call, found, self.shapes.task)

    def task(self, call: Call) -> Answer:
        call.demand("authentik_tasks.view_task")
        wanted = uuid_of(call.path["pk"])
        for task in self.worker.view():
            if task.message_id == wanted:
                return Answer(self.shapes.task(task))
        raise self.api.not_found("Task")

    def tasks_status(self, call: Call) -> Answer:
        call.demand("authentik_tasks.view_task")
        names = ("queued", "consumed", "preprocess", "running", "postprocess", "rejected", "done")
        counts = {**dict.fromkeys(names, 0), "info": 0, "warning": 0, "error": 0}
        for task in self.worker.view():
            counts[task.state] += 1
        return Answer(counts)

    # -- the sync -------------------------------------------------------------------------------------------------

    def _queue_sync(self, call: Call) -> Task:
        pk = number_of(call.path["pk"])
        with self.state.lock:
            self.provider_of(call)
            call.demand(ADD, pk)
            fields = Fields(call.data())
            model = fields.choice("sync_object_model", MODELS)
            object_id = fields.text("sync_object_id")
            override = fields.boolean("override_dry_run") if self.release.dry_run else False
            fields.check()
        return self.background.single(pk, MODELS[model], object_id, override)

    async def sync_object(self, call: Call) -> Answer:
        """Sync one object in a task and wait for it, as long as this release waits.

        The waiting holds no thread: any number of calls may wait, and everything else goes on being answered.
        """
        task = await run_in_threadpool(self._queue_sync, call)
        over = asyncio.wrap_future(task.over)
        await asyncio.wait({over}, timeout=self.settings.answer_ms / 1000 if self.release.tasks_api else None)
        if not over.done():
            # The view gives up; the task goes on.
            over.cancel()
            raise InternalError
        if over.cancelled() or not over.result():
            raise InternalError
        if self.release.task_logs:
            # The lines went into a table of their own, and the view looks where they used to be.
            return Answer({"messages": []})
        if self.release.tasks_api:
            return Answer({"messages": task.logs})
        return Answer({"messages": [line for line in task.logs if line["log_level"] == "warning"]})
