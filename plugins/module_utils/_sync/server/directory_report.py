# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what is concluded of a full sync into the result of a directory: objects, pages, orphans."""

from __future__ import annotations

import typing as t

from ..._common.kind import KINDS
from ..._objects.target import described
from ..directory_outcome import DirectoryOutcome
from ..outcome import Outcome
from .directory_conclusion import ObjectConclusion, listed, page_text
from .snapshot import Objects, Snapshot
from .task_report import PageFailure


class DirectoryReport:
    """Fills in the result, and warns at the end of what concerns many objects.

    Args:
        outcome: DirectoryOutcome; objects: Objects; warn: callable taking a text.
    """

    def __init__(self, outcome: DirectoryOutcome, objects: Objects, warn: t.Callable[[str], None]) -> None:
        self._outcome = outcome
        self._objects = objects
        self._warn = warn
        self._left_out: list[str] = []
        self._skipped: set[str] = set()

    def add(self, found: ObjectConclusion) -> None:
        """Take over what became of one object."""
        if found.warning:
            self._warn(found.warning)
        if found.left_out:
            self._left_out.append(found.name)
        self._skipped.update(found.skipped_members)
        if found.counted:
            self._outcome.count(found.kind, found.counted)
            return
        item = Outcome("server")
        item.object = found.object
        item.status, item.basis = found.status, found.basis
        item.changes = list(found.changes)
        item.changed = bool(found.changes) and found.status != "dry_run"
        item.failure, item.code, item.fails_task = found.failure, found.code or None, found.fails_task
        item.skipped_members = list(found.skipped_members)
        if found.states is not None:
            item.note_states(found.kind, *found.states)
        self._outcome.add(found.kind, item, found.action if found.changes else None)

    def add_page(self, page: PageFailure) -> None:
        """A page that did not go through, among the objects that failed."""
        outcome = self._outcome
        entry = {
            "model": page.kind.model,
            "pk": None,
            "name": page.name,
            "google_id": None,
            "code": page.failure.code,
            "msg": page_text(self._objects, page),
        }
        outcome.failed_total += 1
        if len(outcome.failed_objects) < outcome.most:
            outcome.failed_objects.append(entry)
        outcome.report(dict(entry, kind="page"))

    def add_orphans(self, before: Snapshot) -> None:
        """Connections of objects that the provider does not sync: authentik's full sync does nothing about them."""
        for kind in KINDS:
            for pk in sorted(set((before.rows or {}).get(kind, ())) - set(self._objects.in_scope[kind])):
                item = Outcome("server")
                item.object = described(kind, pk, self._objects.names[kind].get(pk, pk), False)
                row = before.row(kind, pk)
                item.object["google_id"] = row.google_id if row is not None else None
                self._outcome.count(kind, "orphans")
                why = self._objects.rules[kind].get(pk, "authentik does not show it")
                self._outcome.add_orphan(kind, item, None, why)

    def warn_of_many(self) -> None:
        """Warn once of the objects and members that authentik left out."""
        if self._left_out:
            self._warn(
                "authentik left out %d objects without a word, as it does where a property mapping says so (SkipObject): %s."
                % (len(self._left_out), listed(sorted(self._left_out)))
            )
        if self._skipped:
            self._warn(
                f"authentik left out members of groups who have no Google account through this provider: {listed(sorted(self._skipped))}."
            )
