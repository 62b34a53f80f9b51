# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""authentik's own sync of a whole directory: started by its API, and followed to its end with all of its pages.

From 2025.8 on a schedule is sent; a task appears that hangs on it, and one more for each page of users and then of groups.
Up to 2025.6 the row that the last full sync has left is run again, and is replaced when the new one ends. Neither request
answers with anything that names what it started.
"""

from __future__ import annotations

import re
import time
import typing as t

from ..._authentik import tasks as tasklog
from ..._authentik.api import Authentik, Version
from ..._authentik.errors import AuthentikError
from ..._common.kind import KINDS, Kind
from ..._common.types import Json
from ..._mappings.desired import slug
from ..directory import RunEnded
from .messages import ALREADY_RUNNING

# A full sync takes minutes: it is not asked about more often than this, but for its first seconds.
LONGEST_PAUSE_S = 15.0
# The Date header knows whole seconds only.
CLOCK_STEP_S = 1.0
PAGE_SIZE = 100

_PAGE_UID = re.compile(r":(user|group):(\d+)$")
_OLD_PAGE = re.compile(r"^Syncing page (\d+) of (user|group)s$")


class Page(t.NamedTuple):
    """One page of a full sync.

    Attributes:
        kind: Kind; number: int, from 1 on.
        lines: its LogEvents as authentik has them, of the attempt that counts, in order.
        state: "done", "crashed" or "unfinished".
        crash: LogEvents that say why an earlier attempt crashed; empty if none did.
    """

    kind: Kind
    number: int
    lines: list[Json]
    state: str
    crash: list[Json]


class FullSync:
    """One full sync. It is started and read here; what became of the objects is for TaskReport.

    Attributes:
        lines: LogEvents of the parent and of all pages, earlier attempts included, as authentik has them.
        pages: list of Page, of the attempt that counts; empty where there is none.
        crash: list of LogEvents that say that the parent itself crashed; empty if it did not.
        skipped: bool, it ended at once, since another one was running.
        problem: "" (it was found and has ended), "unfinished", "none" (it is not to be seen) or "ambiguous".
        question: AuthentikError or None, what went wrong with asking for it or with following it.
        task: the parent, or None.
        page_size: int.
    """

    def __init__(self, authentik: Authentik, version: Version, provider: Json) -> None:
        self.authentik = authentik
        self.version = version
        self.provider = provider
        self.pk = int(provider["pk"])
        self.page_size = int(provider.get("sync_page_size") or PAGE_SIZE)
        # When it was asked for, on the server's clock.
        self.since = 0.0
        self.until = 0.0
        self.lines: list[Json] = []
        self.pages: list[Page] = []
        self.crash: list[Json] = []
        self.skipped = False
        self.problem = "none"
        self.task: tasklog.Task | None = None
        self.question: AuthentikError | None = None

    def _forget(self) -> None:
        """Before another attempt."""
        self.lines, self.pages, self.crash = [], [], []
        self.skipped, self.problem = False, "none"
        self.task = self.question = None

    def prepare(self) -> None:
        """See that it can be started. Reads only.

        Raises:
            RunEnded, AuthentikError.
        """
        raise NotImplementedError

    def start(self) -> None:
        """Start it. An answer that got lost is kept as ``question``. Raises AuthentikError."""
        self._forget()
        self.since = self.authentik.client.server_time(time.time())
        try:
            self._send()
        except AuthentikError as exc:
            if not exc.may_have_been_applied:
                raise
            self.question = exc
        self.until = self.authentik.client.server_time(time.time()) + CLOCK_STEP_S

    def follow(self, deadline: float) -> None:
        """Wait for its end, until waiting.now() is the deadline. Raises AuthentikError."""
        raise NotImplementedError

    def _send(self) -> None:
        raise NotImplementedError


def new_run(authentik: Authentik, version: Version, provider: Json) -> FullSync:
    """The full sync for a version of the server."""
    return (ScheduledRun if version.has_tasks else RowRun)(authentik, version, provider)


class ScheduledRun(FullSync):
    """From 2025.8 on."""

    def __init__(self, authentik: Authentik, version: Version, provider: Json) -> None:
        super().__init__(authentik, version, provider)
        self.schedule = ""
        self._known: set[str] = set()
        self._ours = ""

    def prepare(self) -> None:
        schedule = self.authentik.full_sync_schedule(self.pk)
        if schedule is None:
            raise RunEnded(
                "authentik has no schedule for the full sync of provider %s, or does not show it. Save the provider once in "
                "authentik, which makes one." % self.provider.get("name"),
                "no_schedule",
            )
        # Whether it is paused does not matter: it is sent all the same.
        self.schedule = str(schedule.get("id"))
        # A task that is there already is not ours.
        self._known = {str(data.get("message_id")) for data in self.authentik.full_sync_tasks(self.schedule)}

    def _send(self) -> None:
        self._ours = ""
        self.authentik.send_schedule(self.schedule)

    def follow(self, deadline: float) -> None:
        found = tasklog.follow(self._find, deadline, longest_pause=LONGEST_PAUSE_S)
        self.task = found.task
        # One that was queued in the same second may have come into sight only now.
        if found.problem == "ambiguous" or (found.task is not None and len(self._candidates()) > 1):
            self.task, self.problem = None, "ambiguous"
            tasklog.follow(self._find_all, deadline, longest_pause=LONGEST_PAUSE_S)
            return
        if found.task is None:
            self.problem = found.problem
            return
        self.problem = "" if found.task.ended else "unfinished"
        self._collect(found.task)

    def _candidates(self) -> list[tasklog.Task]:
        """The full syncs that our request can have started: new ones, queued while it was under way."""
        tasks = [tasklog.Task(data) for data in self.authentik.full_sync_tasks(self.schedule)]
        return [
            task
            for task in tasks
            if (task.message_id == self._ours or task.message_id not in self._known)
            and self.since - tasklog.CLOCK_SLACK_S <= task.queued <= self.until + tasklog.CLOCK_SLACK_S
        ]

    def _find(self) -> tasklog.Found:
        if self._ours:
            return tasklog.Found(tasklog.Task(self.authentik.task(self._ours)))
        candidates = self._candidates()
        if len(candidates) != 1:
            # One alone may still be waited for; of several none is taken.
            return tasklog.Found(None, "ambiguous" if candidates else "none")
        self._ours = candidates[0].message_id
        return tasklog.Found(candidates[0])

    def _find_all(self) -> tasklog.Found:
        """Whichever of several is ours: it has ended when all have."""
        ended = all(task.ended for task in self._candidates())
        return tasklog.Found(tasklog.Task({"state": "done" if ended else "running"}))

    def _collect(self, parent: tasklog.Task) -> None:
        """Gather the lines of the parent and of its pages."""
        self.lines = parent.earlier + parent.lines
        self.skipped = any(str(line.get("event")).startswith(ALREADY_RUNNING) for line in parent.lines)
        if parent.ended and parent.state != "done":
            self.crash = _errors(parent.lines) or parent.lines[-1:]
        elif not parent.ended:
            self.crash = _errors(parent.earlier)[-1:]
        # The parent queues its pages itself, so that its clock and theirs are one.
        begun = [
            tasklog.seconds_of(line.get("timestamp")) or 0.0
            for line in parent.earlier + parent.lines
            if str(line.get("event")).startswith("Task is being processed")
        ]
        first, last = (min(begun), max(begun)) if begun else (parent.queued, parent.queued)
        newest: dict[tuple[Kind, int], tasklog.Task] = {}
        seen: set[str] = set()
        for data in self.authentik.full_sync_pages(self.schedule):
            if (tasklog.seconds_of(data.get("mtime")) or 0.0) < first:
                break
            task = tasklog.Task(data)
            if task.queued < first or task.message_id in seen:
                continue
            seen.add(task.message_id)
            self.lines += task.earlier + task.lines
            match = _PAGE_UID.search(task.uid)
            if match and task.queued >= last:
                newest[Kind(match.group(1)), int(match.group(2))] = task
        self.pages = [
            Page(kind, number, task.lines, _state(task), _errors(task.earlier)[-1:])
            for (kind, number), task in sorted(newest.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1]))
        ]


class RowRun(FullSync):
    """Up to 2025.6.

    Before a provider's first full sync there is no row to run again. Saving the provider would start one, too; but that
    writes all of its fields as they were read (over what somebody else may be saving), leaves an event in authentik's
    audit log and wants a licence and the permission to change providers: nothing that a sync may do in passing.
    """

    def __init__(self, authentik: Authentik, version: Version, provider: Json) -> None:
        super().__init__(authentik, version, provider)
        self._uid = ""
        self._row: Json = {}

    def prepare(self) -> None:
        name = str(self.provider.get("name") or "")
        self._uid = slug(name)
        sharing = [
            str(other.get("name"))
            for other in self.authentik.providers()
            if other.get("pk") != self.pk and slug(str(other.get("name") or "")) == self._uid
        ]
        if sharing:
            raise RunEnded(
                "authentik %s keeps the full syncs of the providers %s and %s under one name ('%s'), and which of them it would "
                "run again cannot be told. Rename one of them in authentik, or use engine: direct."
                % (self.version, name, ", ".join(sharing), self._uid),
                "ambiguous",
            )
        row = self.authentik.full_sync_row(self._uid)
        if row is None:
            raise RunEnded(
                f"authentik {self.version} can only run a full sync again, and knows of none of provider {name} within the last "
                "hours. Save the provider once in authentik, which starts one (its schedule does, too, every four hours), or "
                "use engine: direct.",
                "no_full_sync_yet",
            )
        self._row = row

    def _send(self) -> None:
        # Another one may have ended since.
        self._row = self.authentik.full_sync_row(self._uid) or self._row
        self.authentik.run_system_task(str(self._row.get("uuid")))

    def follow(self, deadline: float) -> None:
        before = self._row.get("start_timestamp")

        def find() -> tasklog.Found:
            row = self.authentik.full_sync_row(self._uid)
            if row is None or row.get("start_timestamp") == before:
                # A task that waits or runs is not to be seen.
                return tasklog.Found(tasklog.Task({"state": "running"}))
            self._row = row
            return tasklog.Found(tasklog.Task({"state": "done", "logs": row.get("messages")}))

        found = tasklog.follow(find, deadline, longest_pause=LONGEST_PAUSE_S)
        self.task = found.task
        if found.task is None or not found.task.ended:
            self.problem = "unfinished"
            return
        self.problem = ""
        started = tasklog.seconds_of(self._row.get("start_timestamp")) or 0.0
        # The row of one that ran already when we asked: ours found the lock taken then, and ended without a trace.
        self.skipped = started < self.since - tasklog.CLOCK_SLACK_S
        self.lines = found.task.lines
        if str(self._row.get("status")) == "error":
            self.crash = _errors(self.lines) or self.lines[-1:]
            return
        self._split()

    def _split(self) -> None:
        """The row's lines by page, which the parent's own lines head."""
        for line in self.lines:
            match = _OLD_PAGE.match(str(line.get("event")))
            if match:
                self.pages.append(Page(Kind(match.group(2)), int(match.group(1)), [], "done", []))
            if self.pages:
                self.pages[-1].lines.append(line)


def _state(task: tasklog.Task) -> str:
    if not task.ended:
        return "unfinished"
    return "done" if task.state == "done" else "crashed"


def _errors(lines: t.Sequence[Json]) -> list[Json]:
    return [line for line in lines if line.get("log_level") == "error"]
