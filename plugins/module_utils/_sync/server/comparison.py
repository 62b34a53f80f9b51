# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One object on its way through a sync: what is known of it, and the looks and notes that every room shares."""

from __future__ import annotations

import typing as t

from ..._authentik.api import Authentik, Version
from ..._common import waiting
from ..._common.kind import GROUP, USER
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._mappings.desired import MappingProblem, default_address, evaluate
from ..._objects.difference import changes, member_changes
from ..._objects.target import Target
from ..options import ObjectOptions
from ..outcome import Outcome, operation
from .observation import Observation, Observer


class Comparison:
    """The state of one sync.

    Attributes:
        authentik, request, version, provider, target: what the sync is about.
        outcome: Outcome, filled in on the way.
        observer: Observer, the eyes.
        before: Observation, the first look.
        wanted: dict or None, the record that authentik's mappings give, once it was asked for; secret: its password fields.
        owners_known: bool, whether authentik's connections were asked whether another object has the record.
        warn: callable taking a text.
    """

    def __init__(
        self,
        authentik: Authentik,
        request: ObjectOptions,
        version: Version,
        provider: Json,
        target: Target,
        outcome: Outcome,
        observer: Observer,
        warn: t.Callable[[str], None],
    ) -> None:
        self.authentik = authentik
        self.request = request
        self.version = version
        self.provider = provider
        self.target = target
        self.outcome = outcome
        self.observer = observer
        self.warn = warn
        self.before = Observation()
        self.wanted: t.Optional[Json] = None
        self.secret: Json = {}
        self.owners_known = False
        self.member_rows: t.Optional[t.Dict[str, t.List[Json]]] = None
        self.member_rows_readable = True

    def wanted_now(self, creating: bool) -> Json:
        """The record that authentik's mappings give; evaluated once. Raises MappingProblem."""
        if self.wanted is None:
            row = None if creating else self.before.row or {"google_id": ""}
            self.wanted, self.secret = evaluate(
                self.authentik, self.provider, self.target.kind, self.target.data, (row or {}).get("google_id")
            )
        return self.wanted

    def wanted_group(self) -> Json:
        """A group's wanted record, or what it is by default, marked as guessed where the mappings cannot be asked."""
        try:
            self.wanted, _password = evaluate(self.authentik, self.provider, GROUP, self.target.data, None)
            return self.wanted
        except MappingProblem as exc:
            return {"email": default_address(self.target, self.provider), "guessed": exc.kind != "skip"}

    def held_by_another(self) -> str:
        """What of the other kind has the wanted address at Google, in words; empty if nothing has, or nobody can look."""
        directory = self.observer.directory
        wanted = self.wanted or {}
        address = str(wanted.get("primaryEmail") or wanted.get("email") or self.target.email)
        if directory is None or not address:
            return ""
        try:
            other = directory.get(self.target.kind.other, address)
        except GoogleError:
            # It would only have given the reason a name.
            return ""
        if other is None:
            return ""
        kind = self.target.kind.other
        return "the %s %s" % (kind, other.get("email") or other.get("primaryEmail"))

    def note_google_id(self, look: Observation) -> None:
        row, record = look.row or {}, look.record or {}
        found = row.get("google_id") or (self.target.kind.google_id(record))
        if found and not (look.adopting and look is self.before):
            self.outcome.object["google_id"] = found

    def leave_out(self, why: str) -> None:
        """An object that the provider does not sync: as out_of_scope says."""
        text = "%s %s." % (str(self.target).capitalize(), why)
        self.outcome.leave_out(text, self.request.out_of_scope, self.warn)

    def look_again(self) -> Observation:
        if self.request.verify == "none":
            return Observation()
        address = self.target.email if self.target.kind == USER else str((self.wanted or {}).get("email") or "")
        if not address and self.target.kind == GROUP:
            # A group whose record was there before is found by its id; this is for one made anew.
            address = str(self.before.attributes.get("email") or "")
        after = self.observer.after(self.before, address)
        self.note_google_id(after)
        self.note_difference(after)
        return after

    def note_difference(self, after: Observation) -> None:
        """Fill in changed, changes, operations and basis from two looks of the same kind."""
        kind, outcome, before = self.target.kind, self.outcome, self.before
        hidden = self._was_hidden(after)
        if hidden and before.attributes:
            before.record = before.attributes
        outcome.note_states(kind, *self.states(before, after))
        if not (before.seen and after.seen):
            return
        found = changes(kind, before.record, after.record)
        if kind == GROUP:
            found.extend(member_changes(before.roles, after.roles))
        outcome.basis = "connection" if hidden else "google"
        if hidden and not before.attributes:
            outcome.basis = "assumed"
            self.warn(
                "Google did not show the record before the sync, though it was there; that it changed is assumed."
            )
        outcome.changes = found
        outcome.changed = bool(found)
        outcome.operations = [] if outcome.basis == "assumed" else self._writes(before, after)

    def _was_hidden(self, after: Observation) -> bool:
        """Whether Google did not show a record that was there: authentik has kept its row, or it has the row's very id.

        A row whose record is gone is dropped by authentik and made anew; ids are never given twice.
        """
        before = self.before
        if not (before.seen and after.seen) or before.record is not None or after.record is None or before.row is None:
            return False
        if before.attributes.get("id"):
            return bool(before.attributes["id"] == after.record.get("id"))
        if after.rows is None:
            after.rows = self.observer.rows()
        return after.row is not None and after.row.get("id") == before.row.get("id")

    def states(self, before: Observation, after: Observation) -> t.Tuple[t.Any, ...]:
        if before.seen and after.seen:
            group = self.target.kind == GROUP
            return before.record, after.record, before.roles if group else None, after.roles if group else None
        return before.attributes or None, after.attributes or None

    def _writes(self, before: Observation, after: Observation) -> t.List[Json]:
        """The writes that two looks at Google prove."""
        kind = self.target.kind
        if after.record is None:
            return []
        key = str(after.record.get("primaryEmail") or after.record.get("email") or "")
        renewed = before.record is None or before.record.get("id") != after.record.get("id")
        found = []
        if renewed or changes(kind, before.record, after.record):
            found.append(operation("POST" if renewed else "PUT", kind, key))
        if kind == GROUP:
            added = set(after.roles) - (set() if renewed else set(before.roles))
            found.extend(operation("POST", "member", member, group=key) for member in sorted(added))
        return found

    def compare_rows(self, after: Observation) -> str:
        """changed, changes and basis from authentik's rows before and after; what was written is not told by them.

        Returns:
            Why that it changed is only assumed, for a warning; empty where it is not.
        """
        outcome, kind, before = self.outcome, self.target.kind, self.before
        if after.row is None:
            return ""
        if self.is_renewed(after):
            outcome.changed = bool(after.attributes)
            outcome.changes = changes(kind, before.attributes or None, after.attributes)
            if outcome.changed and not self._was_missing(after):
                # Made, taken over, or found by its address when its making was refused: the row is the same then.
                outcome.basis = "assumed"
                return (
                    "authentik has a new connection for it, which does not tell what stood at Google before, so that it "
                    "changed is assumed. Let the module read Google (verify: google) to know."
                )
        else:
            outcome.changes = changes(kind, before.attributes, after.attributes)
            outcome.changed = bool(outcome.changes)
            if not before.attributes and after.attributes:
                # A row without a record of Google's answer, made by hand or by adoption: what stood there is unknown.
                outcome.basis = "assumed"
                return "authentik kept no record of what stood at Google before, so that it changed is assumed."
        return ""

    def is_renewed(self, after: Observation) -> bool:
        """Whether authentik's row is another one than before."""
        return (self.before.row or {}).get("id") != (after.row or {}).get("id")

    def _was_missing(self, after: Observation) -> bool:
        """Whether Google was seen not to hold what authentik has a new row for."""
        before = self.before
        return before.seen and before.record is None and not before.incomplete and self.is_renewed(after)

    def row_operations(self, after: Observation) -> t.List[Json]:
        """The write that authentik's row proves, of a sync that is known to have written."""
        kind, row = self.target.kind, after.row or {}
        if not self.is_renewed(after):
            key = row.get("google_id") if kind == USER else after.attributes.get("email") or row.get("google_id")
            return [operation("PUT", kind, str(key))]
        if kind == GROUP:
            # One whose making was refused is linked as it stands, and nothing is written.
            return [operation("POST", kind, str(after.attributes.get("email")))] if self._was_missing(after) else []
        # Made or taken over: the row does not tell, so the method is not claimed.
        return [{"method": None, "resource": kind, "key": str(row.get("google_id")), "by": "authentik"}]

    def wait(self, after: Observation, done: t.Callable[[Observation], bool]) -> t.Optional[Observation]:
        """Read Google again until it shows what it has confirmed, within a bound: the look that does, or None."""
        deadline = waiting.now() + min(self.request.google_wait, self.request.sync_timeout)
        fresh = after

        def shown() -> bool:
            nonlocal fresh
            fresh = self.observer.again(after)
            return done(fresh)

        try:
            if not waiting.poll(shown, deadline, 0.5, 1.6, at_once=False):
                return None
        except GoogleError as exc:
            self.warn(str(exc))
            return None
        self.note_difference(fresh)
        self.note_google_id(fresh)
        return fresh

    def finish(self) -> None:
        """Google holds what is wanted: synced where something changed, else unchanged."""
        self.outcome.status = "synced" if self.outcome.changed else "unchanged"

    def unconfirmed(self, text: str) -> None:
        self.outcome.status = "unconfirmed"
        self.warn("%s: %s after %g seconds." % (str(self.target).capitalize(), text, self.request.google_wait))
