# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lines of a full sync say of each object and of each page. Pure.

authentik goes on after an object that Google refuses, and reports it in a line. If a page crashes, it is not known which of its
objects were written; if authentik cannot reach Google at the start of a page, it ends that page and reports nothing.
"""

from __future__ import annotations

import typing as t
import uuid

from ..._authentik.log_events import LEVELS, normalise
from ..._common.kind import GROUP, KINDS, Kind
from ..._common.types import Json
from .messages import DRY_RUN, FAILED_OBJECT, NO_PROVIDER, STARTED, STOPPED, judge

if t.TYPE_CHECKING:
    from .full_sync import FullSync, Page
    from .snapshot import Key, Objects
UNFINISHED = "It may still write."


class Failure(t.NamedTuple):
    """Why an object or a page was not synced.

    Attributes:
        code: str.
        reason: str, what went wrong; remedy: str, what to do about it.
        fails_task: bool, whether its level is one that the user wants to fail on.
        rows_stop: bool, a stored connection that differs from Google's record was the reason.
    """

    code: str
    reason: str
    remedy: str
    fails_task: bool
    rows_stop: bool = False

    @property
    def text(self) -> str:
        return f"{self.reason}. {self.remedy}"


class PageFailure(t.NamedTuple):
    """A page that did not go through.

    Attributes:
        kind: "user", "group", or "" for all of it; number: int, 0 for all of them.
        failure: Failure.
        objects: primary keys of the objects that it leaves in doubt.
        untouched: bool, whether it is known that none of them was written.
    """

    kind: Kind
    number: int
    failure: Failure
    objects: list[str]
    untouched: bool

    @property
    def name(self) -> str:
        """In words."""
        return "page %d of %ss" % (self.number, self.kind) if self.number else f"{self.kind}s"


class TaskReport:
    """What the lines of a full sync say.

    Attributes:
        failed: {(kind, primary key): Failure}, the objects that authentik says it could not sync, in order.
        pages: list of PageFailure.
        doubtful: set of (kind, primary key): whether they were written is not known.
        crash: Failure or None, the full sync itself crashed.
        dry_run: list of (kind, primary key, request), what a dry run held back.
        unassigned: bool, authentik found the provider on no application.
        shows_starts: bool, whether the lines show that a page was begun (2025.8 and later).
    """

    def __init__(self, run: FullSync, objects: Objects, fail_on: t.Collection[str], shows_starts: bool) -> None:
        self._objects = objects
        self._fail_on = fail_on
        self.failed: dict[Key, Failure] = {}
        self.pages: list[PageFailure] = []
        self.doubtful: set[Key] = set()
        self.crash: Failure | None = None
        self.dry_run: list[tuple[str, str, Json]] = []
        self.unassigned = any(NO_PROVIDER in str(line.get("event")) for line in run.lines)
        self.shows_starts = shows_starts
        if run.crash:
            self.crash = self._crashed(run.crash)
        for page in run.pages:
            self._read(page, objects.page(page.kind, page.number, run.page_size))
        for kind in KINDS:
            self._read_missing(kind, run)

    def written(self, kind: Kind, pk: str) -> bool:
        """Whether authentik is known to have written an object, or to have skipped it by its own mappings."""
        return (kind, pk) not in self.failed and (kind, pk) not in self.doubtful

    def _read(self, page: Page, pks: list[str]) -> None:
        started = stopped = False
        for event in (normalise([line])[0] for line in page.lines):
            text = event["event"]
            started = started or text.startswith(STARTED)
            if text.startswith(DRY_RUN):
                held = judge([event], (), False).dry_run[0]
                self.dry_run.append((page.kind, _primary_key(page.kind, event), held))
            elif text.startswith((FAILED_OBJECT, STOPPED)):
                pk = _primary_key(page.kind, event)
                self.failed[page.kind, pk] = self._failure(event, "sync_failed")
                if text.startswith(STOPPED):
                    stopped = True
                    rest = pks[pks.index(pk) + 1 :] if pk in pks else pks
                    self._leave(page, self.failed[page.kind, pk], rest, untouched=True)
        if page.state == "crashed":
            self._leave(page, self._crashed(page.lines), pks)
        elif page.state == "unfinished":
            failure = Failure("not_finished", "it has not ended yet", UNFINISHED, True)
            self._leave(page, self._crashed(page.crash) if page.crash else failure, pks)
        elif self.shows_starts and not started and not stopped and not self.unassigned:
            failure = Failure(
                "google_not_reached",
                "authentik did not begin with it and gave no reason: it could not reach Google (its list of domains) or was "
                "refused there for the moment",
                "See authentik's worker log, and run the task again later.",
                True,
            )
            self._leave(page, failure, pks, untouched=True)

    def _read_missing(self, kind: Kind, run: FullSync) -> None:
        """The pages that the full sync did not come to."""
        if self.unassigned:
            return
        numbers = {page.number for page in run.pages if page.kind == kind}
        size = run.page_size
        there = {pk for number in numbers for pk in self._objects.page(kind, number, size)}
        missing = [pk for pk in self._objects.in_scope[kind] if pk not in there]
        if not missing:
            return
        # Up to 2025.6 a crash leaves no trace of the pages before it; an earlier attempt may have come further.
        untouched = self.shows_starts and not run.problem and run.task is not None and not run.task.earlier
        if run.problem:
            failure = Failure("not_finished", "the full sync has not come to them yet", UNFINISHED, True)
        elif self.crash is not None:
            failure = self.crash._replace(reason=f"the full sync crashed: {self.crash.reason}")
        else:
            failure = Failure(
                "page_missing",
                "authentik's task list does not show that they were synced",
                "See System, Tasks there.",
                True,
            )
            untouched = False
        self.pages.append(PageFailure(kind, 0, failure, missing, untouched))
        self.doubtful.update((kind, pk) for pk in missing)

    def _leave(self, page: Page, failure: Failure, pks: t.Sequence[str], untouched: bool = False) -> None:
        left = [pk for pk in pks if (page.kind, pk) not in self.failed]
        self.pages.append(PageFailure(page.kind, page.number, failure, left, untouched))
        self.doubtful.update((page.kind, pk) for pk in left)

    def _crashed(self, lines: t.Sequence[Json]) -> Failure:
        events = normalise(lines)
        errors = [event for event in events if event["log_level"] == "error"] or events
        if not errors:
            return Failure("crashed", "it crashed, and its log does not say why", "See authentik's worker log.", True)
        return self._failure(errors[-1], "crashed")._replace(fails_task=True)

    def _failure(self, event: Json, code: str) -> Failure:
        verdict = judge([event], LEVELS, False)
        # The traceback of a crash ends in what happened.
        reason = verdict.reason.strip().splitlines()[-1].strip() if verdict.reason.strip() else "no reason given"
        fails_task = event["log_level"] in self._fail_on
        return Failure(code, reason.rstrip("."), verdict.remedy or "See messages.", fails_task, verdict.rows_stop)


def _primary_key(kind: Kind, event: Json) -> str:
    """Which object a line is about."""
    attributes = event["attributes"] if isinstance(event["attributes"], dict) else {}
    shown = attributes.get("obj")
    pk = str(shown.get("pk") or "") if isinstance(shown, dict) else ""
    if kind == GROUP:
        try:
            return str(uuid.UUID(pk))
        except ValueError:
            return pk
    return pk
