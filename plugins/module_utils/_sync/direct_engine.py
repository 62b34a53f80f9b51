# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""A sync of one object performed by ourselves: observe → plan → apply → verify → report, in the fewest calls.

authentik is asked for the provider, the object, its connection, and what its property mappings yield; Google for the one
record (and a group's members). Nothing is written that does not differ. Google's answer to a write is the reliable state,
as its reads trail behind: that answer is what is verified.
"""

from __future__ import annotations

import typing as t

from .._authentik.errors import AuthentikError
from .._google.errors import GoogleError
from . import plan as planning
from .connection import RowPlan, apply_row, plan_row, tolerates_rows
from .desired import MappingProblem, default_address, evaluate
from .difference import changes, member_changes, member_key, member_roles, unmet
from .direct_members import accounts_of, people_of
from .engine import Engine
from .enginelog import EngineLog
from .outcome import operation, overlaid
from .passwords import given_hash, random_password
from .predict import listed
from .target import Target, is_primary_key
from .writer import HeldByAnother, Patience, Unconfirmed, Writer, address_of, alias_text, is_at

Json = t.Dict[str, t.Any]


class _Ended(Exception):
    """The matter is settled: the Outcome says how."""


class DirectSync(Engine):
    """One sync by Google's API.

    Attributes:
        before, after: Google's record before and now, or None.
        members_before, members_after: a group's members as {key: role}; None where they were not looked at.
    """

    name = "direct"

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self.log = EngineLog()
        self.provider: Json = {}
        self.target = Target("user", {"pk": 0})
        self.row: t.Optional[Json] = None
        self.writer: t.Any = None
        self.before: t.Optional[Json] = None
        self.after: t.Optional[Json] = None
        self.observed_members: t.List[Json] = []
        self.members_before: t.Optional[t.Dict[str, str]] = None
        self.members_after: t.Optional[t.Dict[str, str]] = None
        self._tried: t.Set[str] = set()
        self._tolerant: t.Optional[bool] = None

    def _sync(self) -> None:
        outcome = self.outcome
        outcome.messages = self.log.lines
        outcome.messages_source = "engine"
        try:
            self._observe_authentik()
            wanted, secret = self._observe_google()
            self._plan_and_apply(wanted, secret)
        except _Ended:
            pass
        except HeldByAnother as exc:
            outcome.fail("%s was not synced: %s" % (str(self.target).capitalize(), exc), "conflict")
        except Unconfirmed as exc:
            outcome.fail("%s was not synced as a whole: %s" % (str(self.target).capitalize(), exc), "unconfirmed")
            outcome.status = "unconfirmed"
        finally:
            self._report()
            if outcome.failure:
                self.log.error(outcome.failure)

    def run(self) -> t.Any:
        outcome = super().run()
        if outcome.failure and not any(line["log_level"] == "error" for line in self.log.lines):
            self.log.error(outcome.failure)
        return outcome

    # Observe

    def _observe_authentik(self) -> None:
        request = self.request
        self.provider = self._find_provider("This authentik")
        try:
            self.target, rule = self._find_target(self.provider)
        except AuthentikError as exc:
            if exc.kind != "not_found" or not is_primary_key(request.kind, request.object_id, request.lookup):
                raise
            self.outcome.object = {
                "model": "authentik.core.models.%s" % request.kind.capitalize(),
                "pk": request.object_id,
                "name": None,
                "google_id": None,
                "in_scope": False,
            }
            self._leave_out("%s It is left alone at Google." % exc)
        if rule is not None:
            self._leave_out("%s is not synced: %s." % (str(self.target).capitalize(), rule))
        rows = self.authentik.connections(request.kind, int(self.provider["pk"]), self.target.pk)
        # authentik takes the first row by primary key, where an old address left a second one.
        self.row = min(rows, key=lambda row: str(row.get("id"))) if rows else None

    def _leave_out(self, text: str) -> t.NoReturn:
        self.outcome.leave_out(text, self.request.out_of_scope, self.warn)
        raise _Ended

    def _observe_google(self) -> t.Tuple[Json, Json]:
        """Find the record, and what it should be: (the wanted resource, the mappings' password fields)."""
        self.directory = self.open_directory(self.provider)
        self.directory.session.notice = self.log.info
        self.writer = Writer(self.directory, self.target.kind, Patience(self.request.google_wait), self.log)
        record, key = self._connected_record()
        if record is None:
            key = default_address(self.target, self.provider)
            record = self._read(key)
        asked = self._google_id(record)
        wanted, secret = self._evaluate(asked)
        address = str(wanted.get("primaryEmail") or wanted.get("email") or "")
        if record is not None and not self._is_ours(record, key, address):
            # Found by somebody's alias: a mapping may have another address for this object.
            if address.lower() in self._tried:
                raise HeldByAnother(alias_text(self.target.kind, key, record))
            record = None
        if record is None and address.lower() not in self._tried:
            record = self._read(address)
            if record is not None and not is_at(record, address):
                raise HeldByAnother(alias_text(self.target.kind, address, record))
        if self._google_id(record) != asked:
            # authentik evaluates with the connection that there is, and without one for what it makes anew.
            wanted, secret = self._evaluate(self._google_id(record))
        self.before = self.after = record
        if self.target.kind == "group" and self.request.membership != "ignore":
            self.observed_members = (self.directory.members(str(record["id"])) or []) if record is not None else []
            self.members_before = member_roles(self.observed_members)
            self.members_after = dict(self.members_before)
        self.outcome.basis = "google"
        self.outcome.object["google_id"] = self._google_id(record)
        return wanted, secret

    def _connected_record(self) -> t.Tuple[t.Optional[Json], str]:
        """The record that the connection leads to, by immutable id first, and the key that it was found by."""
        if self.row is None:
            return None, ""
        attributes = self.row.get("attributes")
        own_id = str(attributes.get("id") or "") if isinstance(attributes, dict) else ""
        for key in (own_id, str(self.row.get("google_id") or "")):
            record = self._read(key)
            if record is None:
                continue
            if own_id and record.get("id") != own_id and not is_at(record, default_address(self.target, self.provider)):
                # The connected one is gone, and somebody else has its old address.
                continue
            return record, key
        return None, ""

    def _read(self, key: str) -> t.Optional[Json]:
        if not key or key.lower() in self._tried:
            return None
        self._tried.add(key.lower())
        return t.cast(t.Optional[Json], self.writer.read(key))

    def _is_ours(self, record: Json, key: str, address: str) -> bool:
        """Whether a record found by a key is this object's: by its id, its own address, or as the connected one."""
        attributes = (self.row or {}).get("attributes")
        own_id = str(attributes.get("id") or "") if isinstance(attributes, dict) else ""
        return (
            record.get("id") in (key, own_id)
            or is_at(record, key)
            or is_at(record, address)
            or is_at(record, default_address(self.target, self.provider))
        )

    def _google_id(self, record: t.Optional[Json]) -> t.Optional[str]:
        if record is None:
            return None
        if self.row is not None and self.row.get("google_id"):
            return str(self.row["google_id"])
        return address_of(record) if self.target.kind == "user" else str(record["id"])

    def _evaluate(self, google_id: t.Optional[str]) -> t.Tuple[Json, Json]:
        try:
            wanted, secret = evaluate(self.authentik, self.provider, self.target.kind, self.target.data, google_id)
        except MappingProblem as exc:
            if exc.kind == "skip":
                self._leave_out("%s is not synced: %s." % (str(self.target).capitalize(), exc))
            remedy = {
                "unpredictable": " Let authentik sync it (engine: server), or change the mapping.",
                "unavailable": " The direct engine needs authentik to evaluate its property mappings.",
            }.get(exc.kind, "")
            self.outcome.fail("Could not sync %s: %s.%s" % (self.target, exc, remedy), "mapping_%s" % exc.kind)
            raise _Ended from None
        if isinstance(secret.get("password"), str):
            self.keep_secret([secret["password"]])
        return wanted, secret

    # Plan

    def _plan_and_apply(self, wanted: Json, secret: Json) -> None:
        kind, record = self.target.kind, self.before
        idle = planning.unwritable(kind, wanted)
        if idle:
            self.warn("Left out, since nobody can write it at Google: %s (property mappings)." % ", ".join(idle))
        plan = planning.plan_record(kind, wanted, record)
        members = self._plan_members()
        self._refuse_values(plan)
        if self.request.check_mode or (self.provider.get("dry_run") and not self.request.override_dry_run):
            self._foretell(plan, members, wanted)
            return
        if plan.method is not None and self._write_record(plan, wanted, secret):
            members = self._plan_members()
        try:
            self._write_members(members)
        finally:
            # Whatever became of the members, the record is there.
            self._keep_row()
        self._verify(wanted)

    def _plan_members(self) -> planning.MemberPlan:
        request = self.request
        if self.target.kind != "group" or request.membership == "ignore":
            return planning.MemberPlan([], [], [])
        people = people_of(self.target)
        found, without = accounts_of(
            people, self.observed_members, t.cast(t.Any, self.directory), self.authentik, self.provider
        )
        self.outcome.skipped_members = without
        if without:
            self.warn(
                "%d of the group's members have no Google account and are left out: %s. Sync them first, then the group again."
                % (len(without), ", ".join(without))
            )
        return planning.plan_members(found, self.observed_members, request.membership, request.keep_members)

    def _refuse_values(self, plan: planning.RecordPlan) -> None:
        """End where Google is known to refuse the plan."""
        if plan.method is None:
            return
        reason = planning.refused_value(self.target.kind, plan)
        if not reason:
            outside = self._outside(plan.body)
            if outside:
                reason = "Invalid email domain: %s. The workspace has the domain%s. %s" % (
                    outside,
                    listed(t.cast(t.Any, self.directory).domains()),
                    "Change the e-mail in authentik, or add the domain at Google.",
                )
        if reason:
            self.outcome.fail("Could not sync %s: %s" % (self.target, reason), "invalid_value")
            raise _Ended

    def _outside(self, body: Json) -> str:
        """The first address to be written that is in none of the workspace's domains; empty if all are."""
        addresses = [str(body.get("primaryEmail") or body.get("email") or "")]
        addresses += [str(item.get("address") or "") for item in body.get("emails") or [] if isinstance(item, dict)]
        known = address_of(self.before).rpartition("@")[2].lower()
        return next(
            (
                item
                for item in addresses
                if item
                and item.rpartition("@")[2].lower() != known
                and not t.cast(t.Any, self.directory).is_inside(item)
            ),
            "",
        )

    def _foretell(self, plan: planning.RecordPlan, members: planning.MemberPlan, wanted: Json) -> None:
        """Check mode, or a provider in dry run: what would be done, without a write to anybody."""
        outcome, kind, record = self.outcome, self.target.kind, self.before
        address = str(plan.body.get("primaryEmail") or plan.body.get("email") or "")
        if address and not is_at(record, address):
            self._refuse_held(address, record)
        key = address_of(record) or address
        if plan.method is not None:
            outcome.operations.append(operation(plan.method, kind, key, by="module"))
            self.after = dict(record or {}, **overlaid(record, plan.body))
        group = address_of(self.after)
        for item in members.add:
            outcome.operations.append(operation("POST", "member", item, by="module", group=group))
            t.cast(t.Any, self.members_after)[item] = "MEMBER"
        for member in members.remove:
            outcome.operations.append(operation("DELETE", "member", member_key(member), by="module", group=group))
            del t.cast(t.Any, self.members_after)[member_key(member)]
        outcome.operations.extend(self._row_operations(self._row_plan(dict({"id": ""}, **(self.after or {})))))
        differs = bool(plan.changes or members.add or members.remove)
        dry = self.provider.get("dry_run") and not self.request.override_dry_run
        outcome.status = "dry_run" if dry else "synced" if differs else "unchanged"
        outcome.changed = differs and not dry
        outcome.changes = list(plan.changes)
        if self.members_before is not None and self.members_after is not None:
            outcome.changes.extend(member_changes(self.members_before, self.members_after))

    def _refuse_held(self, address: str, record: t.Optional[Json]) -> None:
        """What a real run would learn from Google's 409."""
        if record is not None:
            holder = self.writer.read(address)
            if holder is not None and holder.get("id") != record.get("id"):
                raise HeldByAnother(
                    "%s is the address or an alias of another %s at Google, %s. Free it there, or change the e-mail in "
                    "authentik." % (address, self.target.kind, address_of(holder))
                )
        holder_text = self.writer.held_by_other_kind(address)
        if holder_text:
            raise HeldByAnother(
                "%s is held by %s at Google. Free the address there, or change it in authentik."
                % (address, holder_text)
            )

    # Apply

    def _write_record(self, plan: planning.RecordPlan, wanted: Json, secret: Json) -> bool:
        """Write it; True where a record was taken over that the first look had not shown."""
        outcome, kind = self.outcome, self.target.kind
        adopted = False
        if plan.method == "POST":
            record, made = self.writer.create(self._new_body(plan.body, secret))
            self.after = record
            if made:
                outcome.operations.append(operation("POST", kind, address_of(record), by="module"))
                self.log.info("Created %s %s at Google." % (kind, address_of(record)))
                return False
            # It was there all along and our first look did not see it, or somebody else was faster.
            self._adopt(record)
            plan = planning.plan_record(kind, wanted, record)
            if plan.method is None:
                return True
            adopted = True
        key = address_of(self.before)
        try:
            self.after = self.writer.update(t.cast(Json, self.before), plan.body, wanted)
        except GoogleError as exc:
            if exc.kind == "not_found":
                exc.remedy = "It was deleted at Google a moment ago: run the task again to have it made anew."
            raise
        outcome.operations.append(operation("PUT", kind, key, by="module"))
        self.log.info("Updated %s %s at Google: %s." % (kind, key, ", ".join(sorted(plan.body))))
        return adopted

    def _adopt(self, record: Json) -> None:
        self.log.info("Took over the %s %s that Google has already." % (self.target.kind, address_of(record)))
        self.before = record
        if self.members_before is not None:
            self.observed_members = t.cast(t.Any, self.directory).members(str(record["id"])) or []
            self.members_before = member_roles(self.observed_members)
            self.members_after = dict(self.members_before)

    def _new_body(self, body: Json, secret: Json) -> Json:
        """A new account's body with a password; nothing for a group."""
        if self.target.kind == "group":
            return body
        given = given_hash(secret)
        if given is None and secret.get("hashFunction"):
            self.warn(
                "The password that a property mapping gives is no %s hash that Google takes; a random one was set."
                % str(secret["hashFunction"])[:20]
            )
        fields = given or {"password": random_password()}
        self.keep_secret([fields["password"]])
        return dict(body, **fields)

    def _write_members(self, plan: planning.MemberPlan) -> None:
        """Add, then remove; one member that Google refuses does not keep the others waiting."""
        if self.members_after is None or self.after is None:
            return
        group, address = str(self.after["id"]), address_of(self.after)
        refused = []
        for item in plan.add:
            try:
                found = self.writer.add_member(group, item)
            except GoogleError as exc:
                if not exc.concerns_one:
                    raise
                refused.append(str(exc))
                continue
            if found is None:
                # It was a member all along, and the listing trailed behind.
                self.members_after[item] = t.cast(t.Any, self.members_before)[item] = "MEMBER"
            else:
                self.members_after[item] = str(found.get("role") or "MEMBER")
                self.outcome.operations.append(operation("POST", "member", item, by="module", group=address))
                self.log.info("Added %s to group %s." % (item, address))
        for member in plan.remove:
            key = member_key(member)
            try:
                done = self.writer.remove_member(group, member)
            except GoogleError as exc:
                if not exc.concerns_one:
                    raise
                refused.append(str(exc))
                continue
            del self.members_after[key]
            if not done:
                # Somebody else was faster, or the listing trailed behind.
                del t.cast(t.Any, self.members_before)[key]
            else:
                self.outcome.operations.append(operation("DELETE", "member", key, by="module", group=address))
                self.log.info("Removed %s from group %s." % (key, address))
        if refused:
            self.outcome.fail(
                "%s was not synced as a whole: %s" % (str(self.target).capitalize(), " ".join(refused)), "members"
            )
            raise _Ended

    def _row_plan(self, record: Json) -> RowPlan:
        return plan_row(
            self.target.kind, self.row, record, self.before, bool(self.outcome.operations), self._tolerates_rows
        )

    def _tolerates_rows(self) -> bool:
        def version() -> t.Tuple[int, int]:
            found = self.authentik.version()
            self.outcome.server_version = str(found)
            return found.number

        if self._tolerant is None:
            if not self.outcome.operations and "sync_page_size" not in self.provider:
                # Not worth a request where nothing else is written: authentik finds the record by its address.
                return False
            self._tolerant = tolerates_rows(self.provider, version)
        return self._tolerant

    def _row_operations(self, plan: RowPlan) -> t.List[Json]:
        found = []
        if plan.remove is not None:
            found.append(operation("DELETE", "connection", str(plan.remove.get("google_id")), by="module"))
        if plan.google_id is not None:
            # In check mode a new group has no id yet.
            key = plan.google_id or address_of(self.after)
            found.append(operation("POST", "connection", key, by="module"))
        return found

    def _keep_row(self) -> None:
        """Let authentik know the record. It is no part of Google's state, so that a failure here is a warning."""
        if self.after is None:
            return
        try:
            plan = self._row_plan(self.after)
            apply_row(self.authentik, self.target.kind, int(self.provider["pk"]), self.target.pk, plan)
        except AuthentikError as exc:
            self.warn("authentik's connection of %s is not in step with Google. %s" % (self.target, exc))
            return
        self.outcome.operations.extend(self._row_operations(plan))
        if plan.note and self.outcome.operations:
            self.log.info(plan.note)
        if plan.google_id is not None:
            self.outcome.object["google_id"] = plan.google_id

    # Verify and report

    def _verify(self, wanted: Json) -> None:
        """Compare what Google answered with what was wanted."""
        missing = unmet(self.target.kind, wanted, self.after)
        if missing:
            self.outcome.status = "unconfirmed"
            self.warn(
                "Google took the sync of %s, but does not hold the wanted values of %s."
                % (self.target, ", ".join(item["path"] for item in missing))
            )
            return
        self.outcome.status = "unchanged" if not self._changes() else "synced"

    def _changes(self) -> t.List[Json]:
        found = changes(self.target.kind, self.before, self.after)
        if self.members_before is not None and self.members_after is not None:
            found.extend(member_changes(self.members_before, self.members_after))
        return found

    def _report(self) -> None:
        """changed, changes and the two states, from what Google answered; whatever the way that led here."""
        outcome = self.outcome
        if outcome.basis != "google":
            return
        if outcome.object.get("google_id") is None and (self.after or {}).get("id"):
            outcome.object["google_id"] = self._google_id(self.after)
        outcome.note_states(self.target.kind, self.before, self.after, self.members_before, self.members_after)
        if outcome.status == "dry_run" or (self.request.check_mode and not outcome.failure):
            return
        outcome.changes = self._changes()
        outcome.changed = bool(outcome.changes)
        if self.writer.unknown and not outcome.changed:
            outcome.changed = True
            outcome.basis = "assumed"
            self.warn(
                "Whether Google performed the last write could not be seen, so that something changed is assumed."
            )
