# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""authentik's sync of a whole directory: a parent task that runs one task per page of users, then of groups.

Recorded: what the parent, its pages and their lines look like; that a page which crashes is retried while the parent waits
for it; that a second one beside the first skips. Read in authentik's source: a page that is given up makes its parent crash,
too (which then is retried as a whole), and up to 2025.6 the first page that crashes ends everything.
"""

from __future__ import annotations

import math
import traceback
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from tests.sandbox.authentik import expressions
from tests.sandbox.authentik.errors import AbandonedError, ResultFailure
from tests.sandbox.authentik.state import Provider, now, stable_uuid
from tests.sandbox.authentik.sync import snapshot
from tests.sandbox.authentik.tasks import Task

if TYPE_CHECKING:
    from tests.sandbox.authentik.background import Background

NAME = "google_workspace_sync"
PAGES_NAME = "google_workspace_sync_objects"
NO_PROVIDER = "No provider found. Is it assigned to an application?"
# Where releases have no setting for it.
PAGE_SIZE = 100
KEPT = timedelta(hours=6)


@dataclass
class SystemTask:
    """What servers up to 2025.6 keep of the last full sync; there is none before the first one has ended."""

    uid: str
    provider: int
    started: datetime
    finished: datetime
    status: str
    messages: list[dict] = field(default_factory=list)

    @property
    def uuid(self) -> str:
        return stable_uuid("system task", self.uid)

    @property
    def expires(self) -> datetime:
        return self.finished + KEPT


class FullSyncs:
    """Starts full syncs and knows which run."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._state = background.state
        self._release = background.release
        self._worker = background.worker

    def start(self, provider: int) -> Task:
        """Queue the full sync of a provider."""
        work = self._work if self._release.tasks_api else self._old_work
        with self._state.lock:
            found = self._state.providers[provider]
            rel_obj = ("authentik_tasks_schedules", "schedule", found.schedule)
            name = found.name
        return self._background.send(NAME, lambda task: work(task, provider), name, rel_obj)

    def running(self, provider: int) -> bool:
        """Whether one holds the provider's lock. Syncs of single objects take none."""
        with self._state.lock:
            return provider in self._state.syncing

    # -- from 2025.8 on -------------------------------------------------------------------------------------------

    def _work(self, task: Task, provider: int) -> None:
        def log(level: str, event: str) -> None:
            self._worker.log(task, level, event, {})

        found = self._assigned(provider)
        if found is None:
            log("warning", NO_PROVIDER)
            return
        self._worker.announce(task)
        log("info", "Starting full provider sync")
        if not self._take(provider, task):
            log("info", "Synchronization is already running. Skipping.")
            return
        try:
            counts = {kind: self._pages(found, kind) for kind in ("user", "group")}
            for kind, count in counts.items():
                pages = [self._page(found, kind, number, task.rel_obj) for number in range(1, count + 1)]
                for page in pages:
                    failure = self._ended(page)
                    if failure is not None:
                        raise ResultFailure("actor raised %s: %s" % (type(failure).__name__, failure))
        finally:
            self._give_back(provider, task)

    # -- up to 2025.6 ---------------------------------------------------------------------------------------------

    def _old_work(self, task: Task, provider: int) -> None:
        found = self._assigned(provider)
        if found is None or not self._take(provider, task):
            # The row of the sync before stays as it is.
            return
        started = datetime.now(timezone.utc)
        lines: list[dict | str] = ["Starting full provider sync"]
        status = "successful"
        try:
            for kind in ("user", "group"):
                for number in range(1, self._pages(found, kind) + 1):
                    lines.append("Syncing page %d of %ss" % (number, kind))
                    page = self._page(found, kind, number, task.rel_obj)
                    failure = self._ended(page)
                    if failure is not None:
                        raise failure
                    lines.extend(line for line in page.logs if line["log_level"] == "warning")
        except AbandonedError:
            raise
        except Exception as exc:
            status = "error"
            text = "".join(traceback.format_exception_only(exc)).strip()
            lines = [own_line("Traceback (most recent call last):\n  …\n" + text, "error")]
            raise
        finally:
            self._give_back(provider, task)
            shown = [own_line(line) if isinstance(line, str) else line for line in lines]
            row = SystemTask(expressions.slug(found.name), provider, started, datetime.now(timezone.utc), status, shown)
            with self._state.lock:
                self._state.system_tasks[row.uid] = row

    # -- both -----------------------------------------------------------------------------------------------------

    def _assigned(self, provider: int) -> Provider | None:
        found = snapshot(self._state, provider)
        return found if found is not None and found.application else None

    def _pages(self, provider: Provider, kind: str) -> int:
        """How many pages there are; one even where there is nothing."""
        with self._state.lock:
            count = len(self._state.users_in_scope(provider)) if kind == "user" else len(self._state.groups)
        return max(1, math.ceil(count / self._page_size(provider)))

    def _page_size(self, provider: Provider) -> int:
        return provider.sync_page_size if self._release.page_settings else PAGE_SIZE

    def _page(self, provider: Provider, kind: str, number: int, rel_obj: tuple[str, str, str]) -> Task:
        size = self._page_size(provider)

        def work(task: Task) -> None:
            syncer = self._background.syncer(task, provider.pk)
            if syncer is not None:
                syncer.numbered(kind, number, size)

        return self._background.send(PAGES_NAME, work, f"{provider.name}:{kind}:{number}", rel_obj, kind)

    @staticmethod
    def _ended(page: Task) -> Exception | None:
        """Wait for a page, its retries included; returns what it was given up for."""
        try:
            return None if page.over.result() else page.failure
        except CancelledError:
            raise AbandonedError("the state that this sync began with is gone") from None

    def _take(self, provider: int, task: Task) -> bool:
        with self._state.lock:
            if provider in self._state.syncing:
                return False
            self._state.syncing[provider] = task.message_id
            return True

    def _give_back(self, provider: int, task: Task) -> None:
        with self._state.lock:
            # After a reset it may be somebody else's by now.
            if self._state.syncing.get(provider) == task.message_id:
                del self._state.syncing[provider]


def own_line(event: str, level: str = "info") -> dict:
    """A line of the parent on servers up to 2025.6, which writes them all at its end."""
    return {"timestamp": now(), "log_level": level, "logger": NAME, "event": event, "attributes": {}}
