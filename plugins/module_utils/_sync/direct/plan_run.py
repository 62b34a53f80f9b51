# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying out the plan of one object: its operations are explained in check mode and executed in a real run.

Both walk the same operations in the same order. Google's answer to a write is the reliable state, as its reads trail behind:
that answer is what is verified and reported.
"""

from __future__ import annotations

import typing as t

from ..._authentik.errors import AuthentikError
from ..._common.kind import GROUP
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._objects.difference import changes, member_changes, member_roles, unmet
from ..._objects.record import held_text, is_at
from ..outcome import Outcome
from ..plan import ObjectPlan, Operation
from .attempt import Attempt
from .context import DirectContext
from .endings import HeldByAnother, ObjectEnded, Unconfirmed
from .observer import Observer
from .passwords import given_hash, random_password
from .planner import Planner, connections_of

# How many refusals of members a message quotes.
MOST_TOLD = 5


class PlanRun:
    """One plan on its way.

    Args:
        run: DirectContext.
        plan: ObjectPlan.
        attempt: Attempt, which ends with it.
        planner: Planner, to plan once more for what was not seen before; None for a plan that never changes.

    Attributes:
        after: Google's record now, or as it is expected to be; None if there is none.
        members_before, members_after: a group's members as {key: role}; None where they were not read.
    """

    def __init__(self, run: DirectContext, plan: ObjectPlan, attempt: Attempt, planner: Planner | None = None) -> None:
        self.run = run
        self.plan = plan
        self.attempt = attempt
        self.executor = run.executor(plan.kind, attempt.log)
        self.after = plan.before
        self.members_before: dict[str, str] | None = None
        self.members_after: dict[str, str] | None = None
        self._planner = planner
        self._refused: list[GoogleError | Unconfirmed] = []
        self._note_members()

    def _note_members(self) -> None:
        if self.plan.observed is not None:
            self.members_before = member_roles(self.plan.observed)
            self.members_after = dict(self.members_before)

    def carry_out(self) -> None:
        """Take all steps. Raises what the attempt turns into the outcome."""
        self.record()
        try:
            self.perform("add")
            self.perform("remove")
            self.end_members()
        finally:
            # Whatever became of the members, the record is there.
            self.connect()
        self.verify()

    # The steps

    def record(self) -> None:
        """Create, update or delete the record, if the plan does."""
        self.perform("record")

    def plan_members(self) -> None:
        """Plan a group's members once more: who has an account is known for certain only when the users are done."""
        if self._planner is not None:
            self.plan = self._planner.with_members(self.plan)

    def perform(self, step: str) -> None:
        """Explain or execute the operations of a step, of plan.STEPS."""
        for operation in self.plan.operations(step):
            self.perform_one(operation)

    def perform_one(self, operation: Operation) -> None:
        """Explain or execute one operation."""
        way = self._EXPLAINED if self.run.explains else self._EXECUTED
        way[operation.step](self, operation)

    def end_members(self) -> None:
        """End where Google refused members."""
        if not self._refused:
            return
        outcome, number = self.attempt.outcome, len(self._refused)
        told = " ".join(str(error) for error in self._refused[:MOST_TOLD])
        more = " %d of its members were refused in all." % number if number > MOST_TOLD else ""
        unsure = all(isinstance(error, Unconfirmed) for error in self._refused)
        text = f"{self.attempt.title} was not synced as a whole: {told}{more}"
        outcome.fail(text, "unconfirmed" if unsure else "members")
        if unsure:
            outcome.status = "unconfirmed"
        raise ObjectEnded

    def connect(self) -> None:
        """Let authentik know the record. It is no part of Google's state, so that a failure here is a warning."""
        if self.after is None:
            return
        try:
            written = bool(self.attempt.outcome.operations)
            self.plan = self.plan._replace(connections=connections_of(self.run, self.plan, self.after, written))
            self.perform("connection")
        except AuthentikError as exc:
            self.attempt.warn(f"authentik's connection of {self.plan} is not in step with Google. {exc}")
            return
        if self.plan.connections.note and self.attempt.outcome.operations:
            self.attempt.log.info(self.plan.connections.note)

    def verify(self) -> None:
        """Compare what Google answered with what was wanted."""
        outcome = self.attempt.outcome
        if self.run.explains:
            outcome.status = "dry_run" if self.run.dry else "synced" if self.plan.differs else "unchanged"
            return
        missing = unmet(self.plan.kind, self.plan.wanted, self.after)
        if missing:
            outcome.status = "unconfirmed"
            self.attempt.warn(
                "Google accepted the update of %s, but these fields do not have the expected values: %s."
                % (self.plan, ", ".join(item["path"] for item in missing))
            )
            return
        outcome.status = "synced" if self.changes() else "unchanged"

    def end_orphan(self) -> None:
        """Note that a delete action was applied, or would be."""
        self.attempt.outcome.status = "dry_run" if self.run.dry else "synced"

    # Explained

    def _explain_record(self, operation: Operation) -> None:
        address = self.plan.kind.address(operation.body)
        if address and not is_at(self.plan.before, address):
            self._refuse_held(address)
        self.attempt.note(operation)
        self.after = self.plan.expected()

    def _explain_added(self, operation: Operation) -> None:
        self.attempt.note(operation)
        t.cast(t.Any, self.members_after)[operation.key] = "MEMBER"

    def _explain_removed(self, operation: Operation) -> None:
        self.attempt.note(operation)
        del t.cast(t.Any, self.members_after)[operation.key]

    def _explain_connection(self, operation: Operation) -> None:
        self.attempt.note(operation)

    def _refuse_held(self, address: str) -> None:
        """What a real run would learn from Google's 409."""
        reader, kind, record = self.run.reader, self.plan.kind, self.plan.before
        if record is not None:
            holder = reader.record(kind, address)
            if holder is not None and holder.get("id") != record.get("id"):
                raise HeldByAnother(held_text(address, f"another {kind}", holder))
        holder = reader.record(kind.other, address, reader.sure)
        if holder is not None:
            raise HeldByAnother(held_text(address, f"the {kind.other}", holder))

    # Executed

    def _execute_record(self, operation: Operation) -> None:
        if operation.method == "POST":
            self._create(operation)
        elif operation.method == "PUT":
            self._update(operation)
        else:
            self.executor.delete(operation.on)
            self.after = None
            self.attempt.note(operation)

    def _create(self, operation: Operation) -> None:
        kind = self.plan.kind
        record, made = self.executor.create(self._new_body(operation.body))
        if made:
            self.after = record
            self.attempt.note(operation._replace(key=kind.address(record)))
            self.attempt.log.info(f"Created {kind} {kind.address(record)} at Google.")
            return
        # It was there all along and our first look did not see it, or somebody else was faster.
        self._adopt(record)
        self.perform("record")

    def _update(self, operation: Operation) -> None:
        kind = self.plan.kind
        try:
            self.after = self.executor.update(operation.on, operation.body, self.plan.wanted)
        except GoogleError as exc:
            if exc.kind == "not_found":
                exc.remedy = "It was deleted at Google a moment ago: run the task again to create it."
            raise
        self.attempt.note(operation)
        fields = ", ".join(sorted(operation.body))
        self.attempt.log.info(f"Updated {kind} {operation.key} at Google: {fields}.")

    def _adopt(self, record: Json) -> None:
        """Plan once more, for a record that the first look had not shown."""
        kind = self.plan.kind
        members = self.run.reader.members(str(record["id"])) if self.plan.observed is not None else None
        self.plan = t.cast(Planner, self._planner).turned_up(self.plan, record, members)
        self.attempt.log.info(f"Took over the {kind} {kind.address(record)} that Google has already.")
        self.after = record
        self._note_members()

    def _new_body(self, body: Json) -> Json:
        """A new account's body with a password; nothing for a group."""
        if self.plan.kind == GROUP:
            return body
        given = given_hash(self.plan.secret)
        if given is None and self.plan.secret.get("hashFunction"):
            self.attempt.warn(
                "The password that a property mapping gives is no %s hash that Google takes; a random one was set."
                % str(self.plan.secret["hashFunction"])[:20]
            )
        fields = given or {"password": random_password()}
        self.attempt.secrets.append(fields["password"])
        return dict(body, **fields)

    def _add(self, operation: Operation) -> None:
        """Add a member; one that Google refuses does not keep the others waiting."""
        members, record = t.cast(t.Any, self.members_after), t.cast(Json, self.after)
        try:
            found = self.executor.add_member(record, operation.key)
        except (GoogleError, Unconfirmed) as exc:
            self._refuse(exc)
            return
        if found is None:
            # It was a member all along, and the listing trailed behind.
            members[operation.key] = t.cast(t.Any, self.members_before)[operation.key] = "MEMBER"
            return
        members[operation.key] = str(found.get("role") or "MEMBER")
        self.attempt.note(operation)
        self.attempt.log.info(f"Added {operation.key} to group {operation.group}.")

    def _remove(self, operation: Operation) -> None:
        """Remove a member who does not belong there."""
        try:
            done = self.executor.remove_member(t.cast(Json, self.after), operation.on)
        except (GoogleError, Unconfirmed) as exc:
            self._refuse(exc)
            return
        del t.cast(t.Any, self.members_after)[operation.key]
        if not done:
            # Somebody else was faster, or the listing trailed behind.
            del t.cast(t.Any, self.members_before)[operation.key]
            return
        self.attempt.note(operation)
        self.attempt.log.info(f"Removed {operation.key} from group {operation.group}.")

    def _refuse(self, error: GoogleError | Unconfirmed) -> None:
        if isinstance(error, GoogleError) and error.affects_all:
            raise error
        self._refused.append(error)

    def _execute_connection(self, operation: Operation) -> None:
        if operation.method == "DELETE":
            self.executor.disconnect(operation.on)
        else:
            google_id = str(operation.body["google_id"])
            self.executor.connect(int(self.run.provider["pk"]), self.plan.pk, google_id)
            self.attempt.outcome.object["google_id"] = google_id
            self.run.note_connection(self.plan.kind, {"google_id": google_id}, self.after, self.plan.address)
        self.attempt.note(operation)

    _EXPLAINED: t.ClassVar[dict[str, t.Callable[[PlanRun, Operation], None]]] = {
        "record": _explain_record,
        "add": _explain_added,
        "remove": _explain_removed,
        "connection": _explain_connection,
    }
    _EXECUTED: t.ClassVar[dict[str, t.Callable[[PlanRun, Operation], None]]] = {
        "record": _execute_record,
        "add": _add,
        "remove": _remove,
        "connection": _execute_connection,
    }

    # Report

    def changes(self) -> list[Json]:
        """What changed at Google, or would."""
        found = list(self.plan.record.changes) if self.run.explains else self._record_changes()
        if self.members_before is not None and self.members_after is not None:
            found.extend(member_changes(self.members_before, self.members_after))
        return found

    def _record_changes(self) -> list[Json]:
        return changes(self.plan.kind, self.plan.before, self.after)

    def report(self) -> None:
        """Fill in changed, changes and the two states, from what Google answered; whatever the way that led here."""
        outcome, attempt = self.attempt.outcome, self.attempt
        outcome.server_version = outcome.server_version or self.run.server_version
        if outcome.basis == "google":
            self._report_states()
        if outcome.failure:
            attempt.log.error(outcome.failure)

    def _report_states(self) -> None:
        outcome, attempt = self.attempt.outcome, self.attempt
        if outcome.object.get("google_id") is None and (self.after or {}).get("id"):
            outcome.object["google_id"] = called(self.plan, t.cast(Json, self.after))
        if self.run.explains and outcome.failure:
            # Nothing was written, whatever was planned by then.
            self.after, self.members_after = self.plan.before, self.members_before
        else:
            outcome.changes = self.changes()
            outcome.changed = bool(outcome.changes) and not (self.run.explains and self.run.dry)
        outcome.note_states(self.plan.kind, self.plan.before, self.after, self.members_before, self.members_after)
        if (attempt.unknown or self.executor.unknown) and not outcome.changed:
            outcome.assume_changed()
            attempt.warn(
                "Whether Google performed the last write could not be seen, so that something changed is assumed."
            )


def note_observed(observer: Observer, outcome: Outcome) -> None:
    """Fill in what was found before anything is written."""
    outcome.basis = "google"
    outcome.object["google_id"] = observer.google_id()
    members = None if observer.members is None else member_roles(observer.members)
    outcome.note_states(observer.target.kind, observer.record, observer.record, members, members)


def called(plan: ObjectPlan, record: Json) -> str:
    """What authentik's connection calls a record."""
    return str((plan.connection or {}).get("google_id") or plan.kind.google_id(record))
