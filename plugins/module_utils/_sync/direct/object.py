# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One user or group on its way through a sync performed by ourselves: observe → plan → apply → verify → report.

Who calls decides where is looked (one object: Google and authentik are asked; a whole directory: their listings, and
Google where those do not know) and in which order the steps of many objects run; what is done about one object is
decided here and nowhere else. Nothing is written that does not differ. Google's answer to a write is the reliable
state, as its reads trail behind: that answer is what is verified.
"""

from __future__ import annotations

import threading
import typing as t

from ..._authentik.api import Authentik
from ..._authentik.errors import AuthentikError
from ..._common.errors import RemoteError
from ..._common.kind import GROUP, Kind
from ..._common.texts import listed
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._mappings.desired import MappingProblem, default_address
from ..._objects.connection import connected_id, proves, tolerates_rows
from ..._objects.difference import changes, member_changes, member_key, member_roles, unmet
from ..._objects.protection import Protected, Subject
from ..._objects.record import address_of, held_text, is_at
from ..._objects.target import Target
from .. import plan as planning
from ..directory import RunEnded
from ..options import SyncOptions
from ..outcome import Outcome, operation, overlaid
from .connection import RowPlan, apply_row, plan_row
from .executor import Executor, HeldByAnother, Unconfirmed, WaitBudget
from .log import EngineLog
from .members import accounts_of, people_of
from .passwords import given_hash, random_password
from .reader import Reader

if t.TYPE_CHECKING:
    from ..._google.directory import Directory
# What the mappings give for one object: (the wanted resource, its password fields), or why that is not known.
Evaluated = t.Union[t.Tuple[Json, Json], MappingProblem]


class Ended(Exception):
    """The matter is settled: the Outcome says how."""


class DirectContext:
    """What the objects of one run share.

    Attributes:
        authentik: Authentik.
        provider: dict, as authentik shows it.
        options: SyncOptions.
        directory: Directory, to write to.
        reader: Reader, to look things up with.
        server_version: str or None, where it had to be asked for.
        subject: Subject, the accounts that the run and authentik act as.
    """

    def __init__(
        self,
        authentik: Authentik,
        provider: Json,
        options: SyncOptions,
        directory: Directory,
        reader: Reader,
    ) -> None:
        self.authentik = authentik
        self.provider = provider
        self.options = options
        self.directory = directory
        self.reader = reader
        self.subject = Subject(directory.session.credentials.subject, provider.get("delegated_subject"))
        self.server_version: t.Optional[str] = None
        self._tolerant: t.Optional[bool] = None
        self._lock = threading.Lock()

    def executor(self, kind: Kind, log: EngineLog) -> Executor:
        """What writes one object of this run."""
        budget = WaitBudget(self.options.google_wait)
        return Executor(self.authentik, self.directory, kind, budget, log, self.subject)

    @property
    def dry(self) -> bool:
        """Whether the provider is in dry run, and stays so in this run."""
        return bool(self.provider.get("dry_run")) and not self.options.override_dry_run

    @property
    def predicts(self) -> bool:
        """Whether nothing may be written: the plan is the result."""
        return self.options.check_mode or self.dry

    def tolerates_rows(self, written: bool) -> bool:
        """Whether authentik goes on syncing when a connection's attributes are not Google's.

        Args:
            written: whether something else is written, too.
        """
        with self._lock:
            if self._tolerant is None:
                if not written and "sync_page_size" not in self.provider:
                    # Not worth a request where nothing else is written: authentik finds the record by its address.
                    return False
                self._tolerant = tolerates_rows(self.provider, self._version)
            return self._tolerant

    def _version(self) -> t.Tuple[int, int]:
        found = self.authentik.version()
        self.server_version = str(found)
        return found.number


class DirectObject:
    """One user or group.

    Args:
        run: DirectContext.
        target: Target.
        row: the connection in authentik, or None.
        outcome: Outcome, filled in on the way.
        log: EngineLog.
        warn: callable taking a text.
        keep_secret: callable taking texts that must never be printed.

    Attributes:
        before, after: Google's record before and now, or None.
        members_observed: a group's members as Google lists them.
        members_before, members_after: a group's members as {key: role}; None where they were not looked at.
        record_plan, member_plan: what is to be written.
    """

    def __init__(
        self,
        run: DirectContext,
        target: Target,
        row: t.Optional[Json],
        outcome: Outcome,
        log: EngineLog,
        warn: t.Callable[[str], None],
        keep_secret: t.Callable[[t.Iterable[str]], None],
    ) -> None:
        self.run = run
        self.keep_secret = keep_secret
        self.target = target
        self.row = row
        self.outcome = outcome
        self.log = log
        self.warn = warn
        self.executor = run.executor(target.kind, log)
        self.before: t.Optional[Json] = None
        self.after: t.Optional[Json] = None
        self.members_before: t.Optional[t.Dict[str, str]] = None
        self.members_after: t.Optional[t.Dict[str, str]] = None
        self.record_plan = planning.RecordPlan(None, {}, [])
        self.member_plan = planning.MemberPlan([], [], [])
        self.members_observed: t.List[Json] = []
        self._wanted: Json = {}
        self._secret: Json = {}
        self._refused: t.List[str] = []
        self._tried: t.Set[str] = set()

    def attempt(self, *steps: t.Callable[[], t.Any]) -> bool:
        """Run steps in order; what settles the matter or goes wrong ends in the Outcome. Whether none did."""
        title = str(self.target).capitalize()
        sent, shown = self.run.directory.session.writes.of_thread, self._shown_writes()
        try:
            for step in steps:
                step()
            return True
        except Ended:
            pass
        except Protected as exc:
            self.outcome.fail(exc.text("%s was not synced" % title), "protected")
        except HeldByAnother as exc:
            self.outcome.fail("%s was not synced: %s" % (title, exc), "conflict")
        except Unconfirmed as exc:
            self.outcome.fail("%s was not synced as a whole: %s" % (title, exc), "unconfirmed")
            self.outcome.status = "unconfirmed"
        except RemoteError as exc:
            self.outcome.fail_by(exc)
        except RunEnded as exc:
            self.outcome.fail("%s was not synced as a whole: %s" % (title, exc), exc.code)
        except Exception as exc:  # noqa: BLE001
            self.executor.unknown = self.executor.unknown or self._unshown_writes(sent, shown)
            self.outcome.fail_unexpectedly(exc)
        return False

    def _unshown_writes(self, sent: int, shown: int) -> bool:
        """Whether this thread sent more writes than operations were noted since."""
        return self.run.directory.session.writes.of_thread - sent > self._shown_writes() - shown

    def _shown_writes(self) -> int:
        return sum(1 for item in self.outcome.operations if item["resource"] != "connection")

    @property
    def differs(self) -> bool:
        """Whether the plan holds anything for Google."""
        return bool(self.record_plan.changes or self.member_plan.add or self.member_plan.remove)

    @property
    def suspends(self) -> bool:
        """Whether the plan takes an account away from somebody who has one."""
        body, before = self.record_plan.body, self.before
        return before is not None and bool(body.get("suspended")) and not before.get("suspended")

    @property
    def action(self) -> t.Optional[str]:
        """What the plan comes down to: "created", "suspended", "updated" or None."""
        if self.record_plan.method == "POST":
            return "created"
        if self.suspends:
            return "suspended"
        return "updated" if self.differs else None

    def row_differs(self) -> bool:
        """Whether authentik's connection of a record that is there is not in step. May ask for authentik's version."""
        if self.before is None:
            return False
        plan = self._row_plan(self.before)
        return plan.remove is not None or plan.google_id is not None

    def explained(self) -> Json:
        """The record as it will be, as far as the plan tells; one that is to be made has no id."""
        return dict(dict({"id": ""}, **(self.before or {})), **overlaid(self.before, self.record_plan.body))

    # Observe

    def observe(self) -> t.Generator[t.Optional[str], Evaluated, None]:
        """Find the record and what it should be.

        A generator, so that the mappings of many objects can be evaluated together: it yields what authentik's
        connection calls the record (None for one to be made), and wants what the mappings give for that.
        """
        record, key = self._connected_record()
        if record is None:
            key = default_address(self.target, self.run.provider)
            record = self._read(key)
        asked = self._google_id(record)
        self._take((yield asked))
        address = self.target.kind.address(self._wanted)
        if record is not None and not self._is_ours(record, key, address):
            # Found by somebody's alias: a mapping may have another address for this object.
            if address.lower() in self._tried:
                raise HeldByAnother(held_text(key, "another %s" % self.target.kind, record))
            record = None
        if record is None and address.lower() not in self._tried:
            record = self._read(address)
            if record is not None and not is_at(record, address):
                raise HeldByAnother(held_text(address, "another %s" % self.target.kind, record))
        if self._google_id(record) != asked:
            # authentik evaluates with the connection that there is, and without one for what it makes anew.
            self._take((yield self._google_id(record)))
        self.before = self.after = record
        if self.target.kind == GROUP and self.run.options.membership != "ignore":
            self._observe_members()
        self.outcome.basis = "google"
        self.outcome.object["google_id"] = self._google_id(record)

    def _connected_record(self) -> t.Tuple[t.Optional[Json], str]:
        """The record that the connection leads to, by immutable id first, and the key that it was found by."""
        if self.row is None:
            return None, ""
        own_id = connected_id(self.row)
        for key in (own_id, str(self.row.get("google_id") or "")):
            record = self._read(key)
            if record is None:
                continue
            if (
                own_id
                and record.get("id") != own_id
                and not is_at(record, default_address(self.target, self.run.provider))
            ):
                # The connected one is gone, and somebody else has its old address.
                continue
            return record, key
        return None, ""

    def _read(self, key: str) -> t.Optional[Json]:
        if not key or key.lower() in self._tried:
            return None
        self._tried.add(key.lower())
        return self.run.reader.record(self.target.kind, key)

    def _is_ours(self, record: Json, key: str, address: str) -> bool:
        """Whether a record found by a key is this object's: by its id, its own address, or as the connected one."""
        return (
            record.get("id") in (key, connected_id(self.row))
            or is_at(record, key)
            or is_at(record, address)
            or is_at(record, default_address(self.target, self.run.provider))
        )

    def _google_id(self, record: t.Optional[Json]) -> t.Optional[str]:
        if record is None:
            return None
        if self.row is not None and self.row.get("google_id"):
            return str(self.row["google_id"])
        return self.target.kind.google_id(record)

    def _take(self, given: Evaluated) -> None:
        """What the mappings give."""
        if isinstance(given, MappingProblem):
            if given.kind == "skip":
                self.leave_out("%s is not synced: %s." % (str(self.target).capitalize(), given))
            remedy = {
                "unpredictable": " Let authentik sync it (engine: server), or change the mapping.",
                "unavailable": " The direct engine needs authentik to evaluate its property mappings.",
            }.get(given.kind, "")
            self.outcome.fail("Could not sync %s: %s.%s" % (self.target, given, remedy), "mapping_%s" % given.kind)
            raise Ended
        self._wanted, self._secret = given
        if isinstance(self._secret.get("password"), str):
            self.keep_secret([self._secret["password"]])

    def leave_out(self, text: str) -> t.NoReturn:
        """End with an object that the provider does not sync."""
        self.outcome.leave_out(text, self.run.options.out_of_scope, self.warn)
        raise Ended

    def _observe_members(self) -> None:
        key = str(self.before["id"]) if self.before is not None else ""
        self.members_observed = self.run.reader.members(key) if key else []
        self.members_before = member_roles(self.members_observed)
        self.members_after = dict(self.members_before)

    # Plan

    def plan(self) -> None:
        """Compare; end where Google is known to refuse what would be written."""
        kind = self.target.kind
        idle = planning.unwritable(kind, self._wanted)
        if idle:
            self.warn("Left out, since nobody can write it at Google: %s (property mappings)." % ", ".join(idle))
        self.record_plan = planning.plan_record(kind, self._wanted, self.before)
        self._refuse_protected()
        self.plan_members()
        self._refuse_values()

    def _refuse_protected(self) -> None:
        """Leave a protected account alone: with nothing to write it would still be connected."""
        record = self.before
        if record is not None:
            takes_over = not proves(self.row, record, default_address(self.target, self.run.provider))
            self.executor.check(record, self.record_plan.body, takes_over)

    def plan_members(self) -> None:
        """Compare a group's members, as they were observed, with those in authentik."""
        options = self.run.options
        if self.target.kind != GROUP or options.membership == "ignore":
            return
        reader = self.run.reader
        people = people_of(self.target)
        without = self._compare_members(people, reader.sure)
        if without and self.member_plan.remove and not reader.sure:
            # Somebody without a visible account may be the one who would be removed under another address.
            without = self._compare_members(people, True)
        self.outcome.skipped_members = without
        if without:
            self.warn(
                "%d of the group's members have no Google account and are left out: %s. Sync them first, then the group again."
                % (len(without), ", ".join(without))
            )

    def _compare_members(self, people: t.Sequence[Json], sure: bool) -> t.List[str]:
        """Plan, and return the usernames of those without an account."""
        options = self.run.options
        found, without = accounts_of(people, self.members_observed, self.run.reader, sure)
        self.member_plan = planning.plan_members(found, self.members_observed, options.membership, options.keep_members)
        return without

    def _refuse_values(self) -> None:
        plan = self.record_plan
        if plan.method is None:
            return
        reason = planning.refused_value(self.target.kind, plan)
        if not reason:
            outside = self._outside(plan.body)
            if outside:
                reason = "Invalid email domain: %s. The workspace has the domain%s. %s" % (
                    outside,
                    listed(self.run.directory.domains()),
                    "Change the e-mail in authentik, or add the domain at Google.",
                )
        if reason:
            self.outcome.fail("Could not sync %s: %s" % (self.target, reason), "invalid_value")
            raise Ended

    def _outside(self, body: Json) -> str:
        """The first address to be written that is in none of the workspace's domains; empty if all are."""
        addresses = [self.target.kind.address(body)]
        addresses += [str(item.get("address") or "") for item in body.get("emails") or [] if isinstance(item, dict)]
        known = address_of(self.before).rpartition("@")[2].lower()
        return next(
            (
                item
                for item in addresses
                if item and item.rpartition("@")[2].lower() != known and not self.run.directory.is_inside(item)
            ),
            "",
        )

    def explain(self) -> None:
        """Check mode, or a provider in dry run: what would be done, without a write to anybody."""
        outcome, kind, record, plan = self.outcome, self.target.kind, self.before, self.record_plan
        address = kind.address(plan.body)
        if address and not is_at(record, address):
            self._refuse_held(address, record)
        key = address_of(record) or address
        if plan.method is not None:
            outcome.operations.append(operation(plan.method, kind, key, by="module"))
            self.after = dict(record or {}, **overlaid(record, plan.body))
        group = address_of(self.after)
        for item in self.member_plan.add:
            outcome.operations.append(operation("POST", "member", item, by="module", group=group))
            t.cast(t.Any, self.members_after)[item] = "MEMBER"
        for member in self.member_plan.remove:
            outcome.operations.append(operation("DELETE", "member", member_key(member), by="module", group=group))
            del t.cast(t.Any, self.members_after)[member_key(member)]
        outcome.operations.extend(self._row_operations(self._row_plan(dict({"id": ""}, **(self.after or {})))))
        dry = self.run.dry
        outcome.status = "dry_run" if dry else "synced" if self.differs else "unchanged"
        outcome.changed = self.differs and not dry
        outcome.changes = list(plan.changes)
        if self.members_before is not None and self.members_after is not None:
            outcome.changes.extend(member_changes(self.members_before, self.members_after))

    def _refuse_held(self, address: str, record: t.Optional[Json]) -> None:
        """What a real run would learn from Google's 409."""
        if record is not None:
            holder = self.run.reader.record(self.target.kind, address)
            if holder is not None and holder.get("id") != record.get("id"):
                raise HeldByAnother(held_text(address, "another %s" % self.target.kind, holder))
        other = self.target.kind.other
        holder = self.run.reader.record(other, address, self.run.reader.sure)
        if holder is not None:
            raise HeldByAnother(held_text(address, "the %s" % other, holder))

    # Planned, and put aside

    def planned(self) -> Json:
        """What was found out about a user, as JSON takes it: the planned steps can be taken from there."""
        found: Json = {"plan": list(self.record_plan), "wanted": self._wanted, "secret": self._secret}
        if self.before is not None:
            found["before"] = self.before
        if self.after != self.before:
            found["after"] = self.after
        return found

    def take_planned(self, found: Json) -> None:
        """Take up what planned() gave, for a DirectObject made anew."""
        self.record_plan = planning.RecordPlan(*found["plan"])
        self._wanted, self._secret = found["wanted"], found["secret"]
        self.before = found.get("before")
        self.after = found.get("after", self.before)

    # Apply

    def apply(self) -> None:
        """Carry the plan out, or predict it."""
        if self.run.predicts:
            self.explain()
            return
        self.write_record()
        try:
            self.add_members()
            self.remove_members()
            self.settle_members()
        finally:
            # Whatever became of the members, the record is there.
            self.keep_row()
        self.verify()

    def write_record(self) -> None:
        """Write the record, if it differs."""
        plan, outcome, kind = self.record_plan, self.outcome, self.target.kind
        if plan.method is None:
            return
        if plan.method == "POST":
            record, made = self.executor.create(self._new_body(plan.body))
            self.after = record
            if made:
                outcome.operations.append(operation("POST", kind, address_of(record), by="module"))
                self.log.info("Created %s %s at Google." % (kind, address_of(record)))
                return
            # It was there all along and our first look did not see it, or somebody else was faster.
            self._adopt(record)
            plan = self.record_plan
            if plan.method is None:
                return
        key = address_of(self.before)
        try:
            self.after = self.executor.update(t.cast(Json, self.before), plan.body, self._wanted)
        except GoogleError as exc:
            if exc.kind == "not_found":
                exc.remedy = "It was deleted at Google a moment ago: run the task again to create it."
            raise
        outcome.operations.append(operation("PUT", kind, key, by="module"))
        self.log.info("Updated %s %s at Google: %s." % (kind, key, ", ".join(sorted(plan.body))))

    def _adopt(self, record: Json) -> None:
        """Plan anew for a record that the first look had not shown."""
        self.log.info("Took over the %s %s that Google has already." % (self.target.kind, address_of(record)))
        self.before = record
        self.record_plan = planning.plan_record(self.target.kind, self._wanted, record)
        self._refuse_protected()
        if self.members_before is not None:
            self._observe_members()
            self.plan_members()

    def _new_body(self, body: Json) -> Json:
        """A new account's body with a password; nothing for a group."""
        if self.target.kind == GROUP:
            return body
        given = given_hash(self._secret)
        if given is None and self._secret.get("hashFunction"):
            self.warn(
                "The password that a property mapping gives is no %s hash that Google takes; a random one was set."
                % str(self._secret["hashFunction"])[:20]
            )
        fields = given or {"password": random_password()}
        self.keep_secret([fields["password"]])
        return dict(body, **fields)

    def add_members(self) -> None:
        """Add who is missing; one member that Google refuses does not keep the others waiting."""
        for item in self.member_plan.add:
            self.add_member(item)

    def add_member(self, item: str) -> None:
        """Add one of those of the plan."""
        members, record = t.cast(t.Any, self.members_after), t.cast(Json, self.after)
        try:
            found = self.executor.add_member(str(record["id"]), item)
        except GoogleError as exc:
            if exc.affects_all:
                raise
            self._refused.append(str(exc))
            return
        if found is None:
            # It was a member all along, and the listing trailed behind.
            members[item] = t.cast(t.Any, self.members_before)[item] = "MEMBER"
            return
        members[item] = str(found.get("role") or "MEMBER")
        self.outcome.operations.append(operation("POST", "member", item, by="module", group=address_of(record)))
        self.log.info("Added %s to group %s." % (item, address_of(record)))

    def remove_members(self) -> None:
        """Remove who does not belong, where that is wanted."""
        for member in self.member_plan.remove:
            self.remove_member(member)

    def remove_member(self, member: Json) -> None:
        """Remove one of those of the plan."""
        record, key = t.cast(Json, self.after), member_key(member)
        try:
            done = self.executor.remove_member(str(record["id"]), member)
        except GoogleError as exc:
            if exc.affects_all:
                raise
            self._refused.append(str(exc))
            return
        del t.cast(t.Any, self.members_after)[key]
        if not done:
            # Somebody else was faster, or the listing trailed behind.
            del t.cast(t.Any, self.members_before)[key]
            return
        self.outcome.operations.append(operation("DELETE", "member", key, by="module", group=address_of(record)))
        self.log.info("Removed %s from group %s." % (key, address_of(record)))

    def settle_members(self) -> None:
        """End where Google refused members."""
        if self._refused:
            self.outcome.fail(
                "%s was not synced as a whole: %s" % (str(self.target).capitalize(), " ".join(self._refused)), "members"
            )
            raise Ended

    def _row_plan(self, record: Json) -> RowPlan:
        written = bool(self.outcome.operations)
        return plan_row(
            self.target.kind, self.row, record, self.before, written, lambda: self.run.tolerates_rows(written)
        )

    def _row_operations(self, plan: RowPlan) -> t.List[Json]:
        found = []
        if plan.remove is not None:
            found.append(operation("DELETE", "connection", str(plan.remove.get("google_id")), by="module"))
        if plan.google_id is not None:
            # In check mode a new group has no id yet.
            key = plan.google_id or address_of(self.after)
            found.append(operation("POST", "connection", key, by="module"))
        return found

    def keep_row(self) -> None:
        """Let authentik know the record. It is no part of Google's state, so that a failure here is a warning."""
        if self.after is None:
            return
        try:
            plan = self._row_plan(self.after)
            apply_row(self.executor, int(self.run.provider["pk"]), self.target.pk, plan)
        except AuthentikError as exc:
            self.warn("authentik's connection of %s is not in step with Google. %s" % (self.target, exc))
            return
        self.outcome.operations.extend(self._row_operations(plan))
        if plan.note and self.outcome.operations:
            self.log.info(plan.note)
        if plan.google_id is not None:
            self.outcome.object["google_id"] = plan.google_id

    # Verify and report

    def verify(self) -> None:
        """Compare what Google answered with what was wanted."""
        missing = unmet(self.target.kind, self._wanted, self.after)
        if missing:
            self.outcome.status = "unconfirmed"
            self.warn(
                "Google accepted the update of %s, but these fields do not have the expected values: %s."
                % (self.target, ", ".join(item["path"] for item in missing))
            )
            return
        self.outcome.status = "unchanged" if not self._changes() else "synced"

    def _changes(self) -> t.List[Json]:
        found = changes(self.target.kind, self.before, self.after)
        if self.members_before is not None and self.members_after is not None:
            found.extend(member_changes(self.members_before, self.members_after))
        return found

    def report(self) -> None:
        """changed, changes and the two states, from what Google answered; whatever the way that led here."""
        outcome = self.outcome
        outcome.server_version = outcome.server_version or self.run.server_version
        if outcome.basis == "google":
            self._report_states()
        if outcome.failure:
            self.log.error(outcome.failure)

    def _report_states(self) -> None:
        outcome = self.outcome
        if outcome.object.get("google_id") is None and (self.after or {}).get("id"):
            outcome.object["google_id"] = self._google_id(self.after)
        if self.run.predicts and outcome.failure:
            # Nothing was written, whatever was planned by then.
            self.after, self.members_after = self.before, self.members_before
        outcome.note_states(self.target.kind, self.before, self.after, self.members_before, self.members_after)
        if outcome.status == "dry_run" or (self.run.predicts and not outcome.failure):
            return
        outcome.changes = self._changes()
        outcome.changed = bool(outcome.changes)
        if self.executor.unknown and not outcome.changed:
            outcome.changed = True
            outcome.basis = "assumed"
            self.warn(
                "Whether Google performed the last write could not be seen, so that something changed is assumed."
            )
