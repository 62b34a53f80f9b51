# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was observed of one object to its plan, and what of it must not be done. Reads, where a plan needs it."""

from __future__ import annotations

import typing as t

from ..._common.errors import Refused
from ..._common.kind import GROUP
from ..._common.texts import listed, listed_names
from ..._common.types import Json
from ..._mappings.desired import default_address
from ..._objects.connection import NOT, proves, tie
from ..._objects.protection import check
from ..._objects.target import Target
from .. import plan as planning
from ..guard.ownership import OWN, contested_text, mark_of, marked, unmarked, verdict
from ..plan import ConnectionPlan, MemberPlan, ObjectPlan
from .attempt import Attempt
from .connection import plan_connection
from .context import DirectContext
from .endings import LeftOut
from .members import accounts_of, people_of
from .observer import Observer


class Planner:
    """Plans one object.

    Args:
        run: DirectContext.
        target: Target.
    """

    def __init__(self, run: DirectContext, target: Target, attempt: Attempt) -> None:
        self.run = run
        self.target = target
        self.attempt = attempt

    def plan(self, observed: Observer) -> ObjectPlan:
        """Compare what is wanted with what is there.

        Raises:
            Protected: it would do to a protected account what must not be done to it.
            Refused: Google is known to refuse a value, or an option forbids to take the record over.
            LeftOut: an option leaves the object out.
            AuthentikError, GoogleError: a look that it takes.
        """
        target = self.target
        idle = planning.unwritable(target.kind, observed.wanted)
        if idle:
            self.attempt.warn(
                "Left out, since nobody can write it at Google: %s (property mappings)." % ", ".join(idle)
            )
        plan = ObjectPlan(
            target.kind,
            target.pk,
            target.name,
            default_address(target, self.run.provider),
            observed.row,
            observed.record,
            None,
            observed.wanted,
            observed.secret,
            adopts=observed.adopts,
        )
        plan = self.for_record(plan, observed.record, observed.members)
        if plan.record.method == "POST" and plan.record.body.get("suspended") and not self.run.options.create_inactive:
            raise LeftOut(
                "the user is not active and has no account at Google; create_inactive: true creates one, suspended"
            )
        self._refuse_values(plan)
        return self._told(plan)

    def for_record(self, plan: ObjectPlan, record: Json | None, members: list[Json] | None) -> ObjectPlan:
        """A plan of the same wishes for a record, as it is now. Raises as plan()."""
        if record is not None:
            self._refuse_adoption(plan, record)
            plan = self._kept_suspended(plan, record)
        plan = plan._replace(
            before=record, observed=members, record=planning.plan_record(plan.kind, plan.wanted, record)
        )
        if record is not None:
            # With nothing to write, a protected account would still be connected.
            takes_over = not proves(plan.connection, record, plan.address)
            check(plan.kind, record, plan.record.body, self.run.protection, takes_over)
        return self.with_members(plan)

    def turned_up(self, plan: ObjectPlan, record: Json, members: list[Json] | None) -> ObjectPlan:
        """The plan for a record that has the wanted address, and that was not seen before. Raises as plan()."""
        how = tie(plan.connection, record)
        rivals = self.run.reader.rivals(self.target, record)
        mark, own_mark = mark_of(record), mark_of(plan.wanted)
        if own_mark and mark and mark != own_mark:
            rivals = rivals._replace(by_id=(*rivals.by_id, f"the user {mark}"))
        if verdict(how, True, rivals) != OWN:
            address = plan.kind.address(record)
            raise Refused(contested_text(self.target.title, plan.kind, address, rivals.names()), "conflict")
        if own_mark:
            plan = plan._replace(wanted=marked(unmarked(plan.wanted), record, own_mark))
        return self.for_record(plan._replace(adopts=how == NOT), record, members)

    def _refuse_adoption(self, plan: ObjectPlan, record: Json) -> None:
        if plan.adopts and self.run.options.adopt == "never":
            raise Refused(
                "%s was not synced: the %s %s at Google has no connection to it, and adopt: never takes nothing over. If it is its "
                "own, connect the two (google_workspace_connection, google_id: '%s'), or set adopt: always."
                % (self.target.title, plan.kind.record, plan.kind.address(record), record.get("id")),
                "not_adopted",
            )

    def _kept_suspended(self, plan: ObjectPlan, record: Json) -> ObjectPlan:
        """The plan without the activation of an account that Google, and not an administrator, has suspended."""
        reason = str(record.get("suspensionReason") or "ADMIN")
        if self.run.options.reactivate or not record.get("suspended") or reason.upper() == "ADMIN":
            return plan
        if plan.wanted.get("suspended", True):
            return plan
        self.attempt.warn(
            f"The account {plan.kind.address(record)} stays suspended: Google has suspended it ({reason}), and not an "
            "administrator. reactivate: true activates it."
        )
        return plan._replace(wanted={name: value for name, value in plan.wanted.items() if name != "suspended"})

    def with_members(self, plan: ObjectPlan) -> ObjectPlan:
        """The plan with a group's members, as they were observed, compared with those in authentik."""
        options = self.run.options
        if plan.kind != GROUP or options.membership == "ignore":
            return plan
        reader = self.run.reader
        people = people_of(self.target)
        members, without = self._compare_members(plan, people, reader.sure)
        if without and members.remove and not reader.sure:
            # Somebody without a visible account may be the one who would be removed under another address.
            members, without = self._compare_members(plan, people, True)
        self.attempt.outcome.skipped_members = without
        if without:
            self.attempt.warn(
                "%d of the members of %s have no Google account and are left out: %s. Sync them first, then the group "
                "again; a user who is not active gets an account only with create_inactive: true."
                % (len(without), self.target, listed_names(without))
            )
        return self._told(plan._replace(members=members, skipped_members=tuple(without)))

    def _told(self, plan: ObjectPlan) -> ObjectPlan:
        return plan._replace(warnings=tuple(self.attempt.warnings))

    def _compare_members(self, plan: ObjectPlan, people: t.Sequence[Json], sure: bool) -> tuple[MemberPlan, list[str]]:
        """What to do about the members, and the usernames of those without an account."""
        options, observed = self.run.options, plan.observed or []
        found, without = accounts_of(people, observed, self.run.reader, sure)
        return planning.plan_members(found, observed, options.membership, options.keep_members), without

    def _refuse_values(self, plan: ObjectPlan) -> None:
        if plan.record.method is None:
            return
        reason = planning.refused_value(plan.kind, plan.record)
        if not reason:
            outside = self._outside(plan)
            if outside:
                reason = (
                    f"Invalid email domain: {outside}. The workspace has the domain{listed(self.run.directory.domains())}. "
                    f"{self._domain_remedy(plan, outside)}"
                )
        if reason:
            raise Refused(f"Could not sync {self.target}: {reason}", "invalid_value")

    @staticmethod
    def _domain_remedy(plan: ObjectPlan, outside: str) -> str:
        """What to change so that an address is in one of the workspace's domains: where it comes from."""
        if plan.address.lower() != outside.lower():
            where = "Correct the property mapping that gives this address"
        elif plan.kind == GROUP:
            where = "Change default_group_email_domain of the provider"
        else:
            where = "Change the e-mail in authentik"
        return f"{where}, or add the domain at Google."

    def _outside(self, plan: ObjectPlan) -> str:
        """The first address to be written that is in none of the workspace's domains; empty if all are."""
        body = plan.record.body
        addresses = [plan.kind.address(body)]
        addresses += [str(item.get("address") or "") for item in body.get("emails") or [] if isinstance(item, dict)]
        known = plan.kind.address(plan.before).rpartition("@")[2].lower()
        return next(
            (
                item
                for item in addresses
                if item and item.rpartition("@")[2].lower() != known and not self.run.directory.is_inside(item)
            ),
            "",
        )


def connections_of(run: DirectContext, plan: ObjectPlan, record: Json, written: bool) -> ConnectionPlan:
    """What to do about the connection of a record that stands at Google. May ask for authentik's version.

    Args:
        record: as it is now, or as it is expected to be.
        written: whether the run writes to it or its members.

    Raises:
        AuthentikError.
    """
    return plan_connection(
        plan.kind, plan.connection, record, plan.before, written, lambda: run.tolerates_rows(written)
    )
