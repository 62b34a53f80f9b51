# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""authentik's worker: tasks in a queue, their log lines, states and retries."""

from __future__ import annotations

import collections
import heapq
import random
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Callable

from tests.sandbox import clock
from tests.sandbox.authentik.errors import chain
from tests.sandbox.authentik.releases import Release
from tests.sandbox.authentik.state import now

# As many threads as a worker has unless told otherwise.
THREADS = 2
# How long a reset waits for the tasks that run: longer than any answer of Google's that is delayed by a fault.
ENDS_WITHIN_S = 20
RETRIES = 5
ACTORS = "authentik.enterprise.providers.google_workspace.tasks."
DESCRIPTIONS = {
    "google_workspace_sync": "Full sync for Google Workspace provider.",
    "google_workspace_sync_objects": "Sync Google Workspace provider objects.",
    "google_workspace_sync_direct": "Sync an object (user, group) for Google Workspace provider.",
    "google_workspace_sync_m2m": "Sync a many-to-many relation for Google Workspace provider.",
}
SEVERITY = ("debug", "info", "warning", "error")


@dataclass
class Task:
    actor: str
    work: Callable[[Task], None]
    # What its lines are logged under, and its uid ends in, once it runs (from 2025.10: from the start).
    label: str
    rel_obj: tuple[str, str, str]
    # The logger of its own lines where there is no uid.
    logger: str = ""
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: str = "queued"
    queue: str = "default"
    mtime: str = field(default_factory=now)
    retries: int = 0
    max_retries: int = RETRIES
    eta: str | None = None
    uid: str = ""
    logs: list[dict] = field(default_factory=list)
    previous_logs: list[dict] = field(default_factory=list)
    # What the API shows of it on 2025.8, which stores lines and uid only when an attempt begins to wait and when it ends.
    stored: dict = field(default_factory=dict)
    # Resolved when it is over: True when it went well.
    over: Future = field(default_factory=Future)
    # What the last attempt that crashed raised.
    failure: Exception | None = None

    @property
    def actor_name(self) -> str:
        return ACTORS + self.actor

    @property
    def description(self) -> str:
        return DESCRIPTIONS[self.actor]


class Worker:
    """Runs tasks in a few threads; can be stopped and started while tasks wait."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._condition = threading.Condition()
        self._queue: collections.deque[Task] = collections.deque()
        self._later: list[tuple[float, int, Task]] = []
        self._count = 0
        self._generation = 0
        self.tasks: list[Task] = []
        self.running = True
        self.retry_ms = 10000.0
        self._closed = False
        # How many tasks run right now, and whether those are to end because of a reset.
        self._active = 0
        self._abandoned = False
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    # -- from outside -------------------------------------------------------------------------------------------

    def send(self, task: Task) -> Task:
        task.uid = self._full_uid(task) if self._release.task_logs else task.actor_name
        with self._condition:
            if self._abandoned:
                # Sent by a task of before a reset, which is told so by this one's end.
                task.over.cancel()
                return task
            self.tasks.append(task)
            self._frame(task, "info", "Task has been queued", {"delay": None})
            self._store(task)
            self._queue.append(task)
            self._condition.notify()
        return task

    def set_running(self, running: bool) -> None:
        with self._condition:
            self.running = running
            self._condition.notify_all()

    def wake(self) -> None:
        """The clock was moved forward: look whether a task is due."""
        with self._condition:
            self._condition.notify_all()

    def forget(self, within_s: float = ENDS_WITHIN_S) -> None:
        """Drop all tasks, and wait until those that run have ended, unseen: nothing of them is left for what follows."""
        with self._condition:
            self._abandoned = True
            self._drop()
            self._condition.wait_for(lambda: not self._active, within_s)
            self._drop()
            self._abandoned = False

    def _drop(self) -> None:
        self._generation += 1
        self._queue.clear()
        self._later.clear()
        for task in self.tasks:
            task.over.cancel()
        self.tasks = []
        self._condition.notify_all()

    def close(self) -> None:
        self.forget(within_s=0)
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def view(self) -> list[Task]:
        with self._condition:
            return list(self.tasks)

    # -- log lines ----------------------------------------------------------------------------------------------

    def log(self, task: Task, level: str, event: str, attributes: dict) -> None:
        self._line(task, level, task.logger or task.uid, event, attributes)

    def _frame(self, task: Task, level: str, event: str, attributes: dict) -> None:
        name = "TaskLogMiddleware" if self._release.task_logs else "MessagesMiddleware"
        self._line(task, level, "authentik.tasks.middleware." + name, event, attributes)

    @staticmethod
    def _line(task: Task, level: str, logger: str, event: str, attributes: dict) -> None:
        task.logs.append(
            {"timestamp": now(), "log_level": level, "logger": logger, "event": event, "attributes": attributes}
        )

    def _full_uid(self, task: Task) -> str:
        return "%s:%s" % (task.actor_name, task.label)

    # -- running ------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            with self._condition:
                task = self._next()
                generation = self._generation
                if task is None:
                    return
                self._active += 1
            try:
                self._run(task, generation)
            finally:
                with self._condition:
                    self._active -= 1
                    self._condition.notify_all()

    def _next(self) -> Task | None:
        """Wait for a task that is due; None when the worker is closed."""
        while not self._closed:
            if self.running:
                while self._later and self._later[0][0] <= clock.monotonic():
                    self._queue.append(heapq.heappop(self._later)[2])
                if self._queue:
                    return self._queue.popleft()
            due = self._later[0][0] - clock.monotonic() if self._later and self.running else None
            self._condition.wait(due)
        return None

    def _run(self, task: Task, generation: int) -> None:
        self._enter(task, "running" if self._release.task_logs else "consumed")
        task.eta = None
        task.queue = "default"
        self._frame(task, "info", "Task is being processed", {})
        try:
            task.work(task)
        except Exception as exc:  # noqa: BLE001 - whatever ends a task, from Google or from a mapping
            task.failure = exc
            self._frame(task, "error", str(exc), {"exception": chain(exc)})
            self._failed(task, generation)
        else:
            self._frame(task, "info", "Task finished processing without errors", {})
            self._store(task)
            self._enter(task, "done")
            self._resolve(task, True)

    def announce(self, task: Task) -> None:
        """From here on the task's uid says what it works on (until 2025.8 it does not before)."""
        task.uid = self._full_uid(task)

    def _failed(self, task: Task, generation: int) -> None:
        if task.retries >= task.max_retries:
            self._store(task)
            self._enter(task, "rejected")
            self._resolve(task, False)
            return
        task.retries += 1
        delay = int(self.retry_ms * 2 ** (task.retries - 1) * random.uniform(0.75, 1.5))
        with self._condition:
            if generation != self._generation:
                return
            task.previous_logs += task.logs
            task.logs = []
            self._frame(task, "info", "Task will be retried", {"delay": delay})
            self._store(task)
            due = datetime.now(timezone.utc) + timedelta(milliseconds=delay)
            task.eta = due.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self._enter(task, "queued" if self._release.task_logs else "consumed")
            if not self._release.task_logs:
                task.queue = "default.DQ"
            self._count += 1
            heapq.heappush(self._later, (clock.monotonic() + delay / 1000, self._count, task))
            self._condition.notify_all()

    @staticmethod
    def _store(task: Task) -> None:
        task.stored = {"uid": task.uid, "logs": list(task.logs), "previous_logs": list(task.previous_logs)}

    @staticmethod
    def _enter(task: Task, state: str) -> None:
        task.state = state
        task.mtime = now()

    @staticmethod
    def _resolve(task: Task, well: bool) -> None:
        # A reset has cancelled it when nobody waits for it any more.
        if task.over.set_running_or_notify_cancel():
            task.over.set_result(well)


def aggregated(task: Task, release: Release) -> str:
    """The one word for a task: its state, and until 2025.8 its worst log level once it is over."""
    if release.task_logs or task.state != "done":
        return task.state
    levels = [line["log_level"] for line in task.logs]
    return max(levels, key=SEVERITY.index) if levels else "done"
