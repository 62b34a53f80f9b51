# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a whole directory's sync: counts, and the changes as many as fit, all of them in the report file."""

from __future__ import annotations

import threading
import typing as t

from .._common.kind import GROUP, Kind
from .._common.types import Json
from .outcome import BaseOutcome, Outcome

COUNTS = (
    "total",
    "unchanged",
    "created",
    "updated",
    "suspended",
    "deleted",
    "unlinked",
    "orphans",
    "out_of_scope",
    "skipped",
    "failed",
    "unconfirmed",
)
MEMBER_COUNTS = ("members_added", "members_removed", "members_skipped")
MOST_MESSAGES = 1000
MOST_WARNINGS = 10


class DirectoryOutcome(BaseOutcome):
    """What a sync of many objects did, or would do.

    Args:
        engine: "server" or "direct".
        most: how many changes, failed objects and orphans the result shows.

    Attributes are the keys of the module's result; see its documentation.
    """

    def __init__(self, engine: str, most: int = 100) -> None:
        super().__init__(engine)
        self.most = most
        self._write: t.Callable[[Json], None] | None = None
        self._lock = threading.Lock()
        self.counts: dict[str, dict[str, int]] = {
            "users": dict.fromkeys(COUNTS, 0),
            "groups": dict.fromkeys((*COUNTS, *MEMBER_COUNTS), 0),
        }
        self.changes: list[Json] = []
        self.changes_total = 0
        self.failed_objects: list[Json] = []
        self.failed_total = 0
        self.orphans: list[Json] = []
        self.safety_limits: list[Json] = []
        self.plan: Json | None = None
        self.mapping_evaluation: list[Json] = []
        self.rate: Json = {}
        self.report_path: str | None = None
        self.warnings: list[str] = []
        self.warnings_total = 0
        self._before: Json = {}
        self._after: Json = {}

    def write_to(self, write: t.Callable[[Json], None]) -> None:
        """From now on, each line of the report goes there, too."""
        self._write = write

    def count(self, kind: Kind, what: str, number: int = 1) -> None:
        """Count objects of a kind ("user" or "group"), or members."""
        with self._lock:
            self.counts[kind + "s"][what] += number

    def log(self, line: Json) -> None:
        """A message; the result keeps the first thousand."""
        with self._lock:
            if len(self.messages) < MOST_MESSAGES:
                self.messages.append(line)

    def report(self, line: Json) -> None:
        """A line of the report file."""
        if self._write is not None:
            with self._lock:
                self._write(line)

    def note_limit(self, limit: Json) -> None:
        """A safety limit as the result shows it."""
        with self._lock:
            self.safety_limits.append(limit)

    def note_plan(self, plan: Json) -> None:
        """The totals of the plan, before the first write; see plan_summary()."""
        self.plan = plan
        self.report({"kind": "plan", **plan})

    def add(self, kind: Kind, item: Outcome, action: str | None, warnings: t.Sequence[str] = (), why: str = "") -> None:
        """Take over the outcome of one object.

        Args:
            action: "created", "updated", "suspended", "deleted" or "unlinked", where something changed or would; None
                where nothing does.
            why: for an account whose object is out of scope, why.
        """
        failed = item.status == "failed" or item.fails_task
        if not item.changes and (failed or action not in ("deleted", "unlinked")):
            # Planned, and not done or found to be so already.
            action = None
        self.count(kind, item.status if failed or item.status == "unconfirmed" else action or "unchanged")
        line = {
            "kind": "object",
            **{key: item.object.get(key) for key in ("model", "pk", "name", "google_id")},
            "status": item.status,
            "action": action,
            "changed": item.changed,
            "basis": item.basis,
            "changes": item.changes,
            "operations": item.operations,
        }
        for key, value in (
            ("skipped_members", item.skipped_members),
            ("warnings", list(warnings)),
            ("why", why),
            ("msg", item.failure),
            ("code", item.code),
        ):
            if value:
                line[key] = value
        self.report(line)
        with self._lock:
            self._note(kind, item, line, failed)
            self.warnings_total += len(warnings)
            self.warnings.extend(list(warnings)[: max(0, MOST_WARNINGS - len(self.warnings))])

    def add_orphan(self, kind: Kind, item: Outcome, action: str | None, why: str) -> None:
        """Take over an account whose object is out of scope.

        Args:
            action: what was, or would be, done about it; None for nothing.
            why: why it is out of scope.
        """
        taken = None if item.failure and not item.changes else action
        with self._lock:
            if len(self.orphans) < self.most:
                brief = {key: item.object.get(key) for key in ("model", "pk", "name", "google_id")}
                self.orphans.append(dict(brief, action=taken, why=why))
        if action is not None or item.failure:
            self.add(kind, item, action, why=why)
        else:
            self.report({"kind": "orphan", **item.object, "why": why})

    def _note(self, kind: Kind, item: Outcome, line: Json, failed: bool) -> None:
        self.changed = self.changed or item.changed
        if item.basis == "assumed":
            self.basis = "assumed"
        for change in item.changes:
            if change.get("path") == "members":
                self.counts["groups"]["members_added"] += len(change["added"])
                self.counts["groups"]["members_removed"] += len(change["removed"])
        if kind == GROUP:
            self.counts["groups"]["members_skipped"] += len(item.skipped_members)
        brief = {key: line[key] for key in ("model", "pk", "name", "google_id")}
        # To unlink changes nothing at Google: it is told among the orphans.
        if line["action"] is not None and item.changes:
            self.changes_total += 1
            if len(self.changes) < self.most:
                self.changes.append(dict(brief, action=line["action"], changes=item.changes))
                if item.before is not None and item.after is not None:
                    name = "%s %s" % (kind, item.object.get("name"))
                    self._before[name], self._after[name] = item.before, item.after
        if failed or item.status == "unconfirmed":
            self.failed_total += 1
            if len(self.failed_objects) < self.most:
                text = item.failure or "What the sync did could not be seen yet."
                self.failed_objects.append(dict(brief, code=item.code or item.status, msg=text))

    def result(self, diff: bool) -> Json:
        found = super().result(diff)
        found.update(
            counts=self.counts,
            changes=self.changes,
            changes_total=self.changes_total,
            failed_objects=self.failed_objects,
            failed_total=self.failed_total,
            orphans=self.orphans,
            safety_limits=self.safety_limits,
            plan=self.plan,
            mapping_evaluation=self.mapping_evaluation,
            rate=self.rate,
            report_path=self.report_path,
        )
        if diff and self._before != self._after:
            more = " (the first %d of %d)" % (len(self.changes), self.changes_total)
            header = "Google" + (more if self.changes_total > len(self.changes) else "")
            found["diff"] = {
                "before_header": header,
                "after_header": header,
                "before": self._before,
                "after": self._after,
            }
        return found
