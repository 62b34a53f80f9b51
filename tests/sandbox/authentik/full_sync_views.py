# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints about syncs of a whole directory: schedules from 2025.8 on, system tasks before, and a sync's status."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from starlette.routing import Route

from tests.sandbox.authentik import expressions
from tests.sandbox.authentik.api import Answer, Api, ApiError, Call, Fields, ordered, uuid_of
from tests.sandbox.authentik.background import Background
from tests.sandbox.authentik.full_sync import SystemTask
from tests.sandbox.authentik.schedules import Schedule
from tests.sandbox.authentik.shapes import Shapes
from tests.sandbox.authentik.state import Provider, State
from tests.sandbox.authentik.tasks import Task, Worker, aggregated

SCHEDULES = "authentik_tasks_schedules"
EVENTS = "authentik_events"
SYSTEM_TASK_KEYS = ("name", "uid", "status")


class FullSyncViews:
    """These endpoints of one server.

    Args:
        provider_of: gives the provider of a call's path, for whoever may see it.
    """

    def __init__(
        self,
        state: State,
        api: Api,
        worker: Worker,
        background: Background,
        provider_of: Callable[[Call], Provider],
    ) -> None:
        self.state = state
        self.api = api
        self.release = api.release
        self.worker = worker
        self.background = background
        self.shapes = Shapes(state, api.release)
        self._provider = provider_of

    def routes(self) -> list[Route]:
        """The routes below the root of the API."""
        route = self.api.route
        status = route("/providers/google_workspace/{pk}/sync/status/", get=self.sync_status)
        if self.release.tasks_api:
            return [
                status,
                route("/tasks/schedules/", get=self.schedules),
                route("/tasks/schedules/{pk}/", get=self.schedule, patch=self.change_schedule),
                route("/tasks/schedules/{pk}/send/", post=self.send_schedule),
            ]
        return [
            status,
            route("/events/system_tasks/", get=self.system_tasks),
            route("/events/system_tasks/{pk}/", get=self.system_task),
            route("/events/system_tasks/{pk}/run/", post=self.run_system_task),
        ]

    def schedules(self, call: Call) -> Answer:
        call.demand(f"{SCHEDULES}.view_schedule")
        query = call.query
        with self.state.lock:
            shown = [self._shown_schedule(item) for item in self.state.schedules.values()]
            found = [
                item
                for item in shown
                if query.get("actor_name", item["actor_name"]) == item["actor_name"]
                and query.get("rel_obj_content_type__app_label", item["rel_obj_app_label"]) == item["rel_obj_app_label"]
                and query.get("rel_obj_content_type__model", item["rel_obj_model"]) == item["rel_obj_model"]
                and query.get("rel_obj_id", item["rel_obj_id"]) == item["rel_obj_id"]
                and call.flag("paused", item["paused"]) == item["paused"]
                # Every schedule belongs to something.
                and not call.flag("rel_obj_id__isnull", False)
                and query.get("search", "").lower() in f"{item['uid']} {item['identifier']}".lower()
            ]
            keys = {key: operator.itemgetter(key) for key in ("next_run", "actor_name", "identifier")}
            found = ordered(found, query.get("ordering", "next_run,actor_name,identifier"), keys)
            return self.api.page(call, found, dict)

    def _shown_schedule(self, schedule: Schedule) -> dict:
        return self.shapes.schedule(schedule, max(self._tasks_of(schedule.id), key=_age, default=None))

    def _tasks_of(self, schedule: str) -> list[Task]:
        """The tasks that hang on a schedule: full syncs and their pages."""
        return [task for task in self.worker.view() if task.rel_obj[1:] == ("schedule", schedule)]

    def _schedule(self, call: Call) -> Schedule:
        schedule = self.state.schedules.get(uuid_of(call.path["pk"]))
        if schedule is None:
            raise self.api.not_found("Schedule")
        return schedule

    def schedule(self, call: Call) -> Answer:
        call.demand(f"{SCHEDULES}.view_schedule")
        with self.state.lock:
            return Answer(self._shown_schedule(self._schedule(call)))

    def change_schedule(self, call: Call) -> Answer:
        call.demand(f"{SCHEDULES}.view_schedule")
        with self.state.lock:
            schedule = self._schedule(call)
            call.demand(f"{SCHEDULES}.change_schedule")
            fields = Fields(call.data())
            crontab = fields.text("crontab") if "crontab" in fields.data else None
            paused = fields.boolean("paused") if "paused" in fields.data else None
            fields.check()
            try:
                schedule.change(crontab, paused)
            except ValueError:
                raise ApiError(400, {"crontab": [f"{crontab} is not a valid crontab"]}) from None
            return Answer(self._shown_schedule(schedule))

    def send_schedule(self, call: Call) -> Answer:
        """Run it now, whether it is paused or not.

        Like any POST to an object it wants *add* on it (recorded for the sync of an object), besides its own permission
        (read in authentik's source). Real servers have no such permission to give, which leaves it to superusers.
        """
        with self.state.lock:
            schedule = self._schedule(call)
            call.demand(f"{SCHEDULES}.send_schedule")
            call.demand(f"{SCHEDULES}.add_schedule")
        self.background.full_syncs.start(schedule.provider)
        return Answer({})

    def system_tasks(self, call: Call) -> Answer:
        call.demand(f"{EVENTS}.view_systemtask")
        query = call.query
        with self.state.lock:
            found = [self.shapes.system_task(row) for row in self.state.system_tasks.values()]
            found = [item for item in found if all(query.get(key, item[key]) == item[key] for key in SYSTEM_TASK_KEYS)]
            keys = {key: operator.itemgetter(key) for key in SYSTEM_TASK_KEYS}
            return self.api.page(call, ordered(found, query.get("ordering", "name,uid,status"), keys), dict)

    def _system_task(self, call: Call) -> SystemTask:
        call.demand(f"{EVENTS}.view_systemtask")
        wanted = uuid_of(call.path["pk"])
        for row in self.state.system_tasks.values():
            if row.uuid == wanted:
                return row
        raise self.api.not_found("SystemTask")

    def system_task(self, call: Call) -> Answer:
        with self.state.lock:
            return Answer(self.shapes.system_task(self._system_task(call)))

    def run_system_task(self, call: Call) -> Answer:
        """Run again what the row is about."""
        call.demand(f"{EVENTS}.run_task")
        with self.state.lock:
            provider = self._system_task(call).provider
        self.background.full_syncs.start(provider)
        return Answer(status=204)

    def sync_status(self, call: Call) -> Answer:
        with self.state.lock:
            provider = self._provider(call)
            status: dict[str, Any] = {"is_running": self.background.full_syncs.running(provider.pk)}
            if not self.release.tasks_api:
                row = self.state.system_tasks.get(expressions.slug(provider.name))
                seen = row is not None and call.may(f"{EVENTS}.view_systemtask")
                return Answer({**status, "tasks": [self.shapes.system_task(row)] if seen else []})
        tasks = self._tasks_of(provider.schedule)
        ended = [task for task in tasks if task.state in ("done", "rejected")]
        well = [task for task in tasks if aggregated(task, self.release) in ("done", "info")]
        if well:
            status["last_successful_sync"] = max(well, key=_age).mtime
        if ended:
            status["last_sync_status"] = aggregated(max(ended, key=_age), self.release)
        return Answer(status)


def _age(task: Task) -> str:
    return task.mtime
