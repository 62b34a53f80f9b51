# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be written so that Google holds what is wanted: plans, as plain data that can be counted, kept and compared.

Pure: no requests, no clock, no randomness. Check mode explains the operations of a plan, a real run executes the same ones.

Rules (from the Directory API's documentation): an update takes only what it names, lists are replaced whole, objects
are merged; an account needs both names; a name has at most 60 characters and no angle brackets.
"""

from __future__ import annotations

import json
import typing as t
import zlib

from .._common.kind import GROUP, USER, Kind
from .._common.types import Json
from .._objects.difference import changes, member_key, unmet, writable

LONGEST_NAME = 60
# Whom membership: exact leaves alone unless told otherwise.
KEEPABLE = ("owner", "manager", "group", "customer")


class Operation(t.NamedTuple):
    """One write.

    Attributes:
        method: "POST", "PUT" or "DELETE"; empty if it is not known which.
        resource: "user", "group", "member" or "connection".
        key: what the result calls it: an address, or an id.
        body: the fields to send, without a password.
        on: the record, member or connection that is written to, as it was read; empty for one that is to be made.
        group: the address of a member's group; else empty.
        by: who writes: "module" or "authentik".
    """

    method: str
    resource: str
    key: str
    body: Json
    on: Json
    group: str = ""
    by: str = "module"

    @property
    def step(self) -> str:
        """The step that it belongs to, of STEPS."""
        if self.resource == "member":
            return "add" if self.method == "POST" else "remove"
        return "connection" if self.resource == "connection" else "record"

    def shown(self) -> Json:
        """As the result shows it."""
        found: Json = {"method": self.method or None, "resource": self.resource, "key": self.key, "by": self.by}
        return dict(found, group=self.group) if self.group else found


# The order in which the operations of one object are carried out.
STEPS = ("record", "add", "remove", "connection")


class RecordPlan(t.NamedTuple):
    """What to do about a user or a group itself.

    Attributes:
        method: "POST" (create), "PUT" (update), "DELETE" or None (in sync).
        body: what to send, without a password.
        changes: the differences, as the result shows them.
    """

    method: str | None
    body: Json
    changes: list[Json]


class MemberPlan(t.NamedTuple):
    """What to do about a group's members.

    Attributes:
        add: the addresses to add, sorted.
        remove: the members to remove, as Google lists them, sorted by key.
        kept: the keys of members that do not belong and are left alone, sorted.
    """

    add: list[str]
    remove: list[Json]
    kept: list[str]


class ConnectionPlan(t.NamedTuple):
    """What to do about the connections in authentik.

    Attributes:
        remove: the connections to remove, as authentik shows them.
        google_id: what the connection to make calls the record, or None to make none; empty for a group that is to be made.
        note: what to tell about it; may be empty.
    """

    remove: list[Json]
    google_id: str | None
    note: str


NO_RECORD = RecordPlan(None, {}, [])
NO_MEMBERS = MemberPlan([], [], [])
NO_CONNECTION = ConnectionPlan([], None, "")


class ObjectPlan(t.NamedTuple):
    """Everything to be written for one object.

    Attributes:
        kind: Kind; pk: its primary key in authentik; name: its name there.
        address: the address that Google's record has unless a property mapping gives another.
        connection: the connection that leads to the record, as authentik shows it, or None.
        before: Google's record as it was read, or None.
        observed: a group's members as Google lists them; None where they were not read.
        wanted: the fields that Google's record should have; secret: its password fields.
        record, members, connections: what to do about each.
        skipped_members: the usernames of members without an account.
        warnings: what to tell about the object.
        adopts: whether the record was found by its address, without a connection that leads to it.
    """

    kind: Kind
    pk: str
    name: str
    address: str
    connection: Json | None
    before: Json | None
    observed: list[Json] | None
    wanted: Json
    secret: Json
    record: RecordPlan = NO_RECORD
    members: MemberPlan = NO_MEMBERS
    connections: ConnectionPlan = NO_CONNECTION
    skipped_members: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    adopts: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def operations(self, step: str = "") -> list[Operation]:
        """What is to be written, in order.

        Args:
            step: only those of this step, of STEPS.
        """
        return [item for item in self._operations() if not step or item.step == step]

    def _operations(self) -> t.Iterator[Operation]:
        kind, address = self.kind, self.kind.address(self.before)
        if self.record.method is not None:
            key = address or kind.address(self.record.body)
            yield Operation(self.record.method, str(kind), key, self.record.body, self.before or {})
        group = kind.address(self.record.body) or address
        for item in self.members.add:
            yield Operation("POST", "member", item, {"email": item}, {}, group)
        for member in self.members.remove:
            yield Operation("DELETE", "member", member_key(member), {}, member, group)
        for row in self.connections.remove:
            yield Operation("DELETE", "connection", str(row.get("google_id")), {}, row)
        if self.connections.google_id is not None:
            # A group that is to be made has no id yet.
            key = self.connections.google_id or group
            yield Operation("POST", "connection", key, {"google_id": self.connections.google_id}, {})

    @property
    def differs(self) -> bool:
        """Whether it holds anything for Google."""
        return bool(self.record.changes or self.members.add or self.members.remove)

    @property
    def action(self) -> str | None:
        """What it comes down to: "created", "deleted", "suspended", "updated" or None."""
        if self.record.method == "POST":
            return "created"
        if self.record.method == "DELETE":
            return "deleted"
        if effects(self)["suspensions"]:
            return "suspended"
        return "updated" if self.differs else None

    def expected(self) -> Json | None:
        """The record as it will be, as far as the plan tells; one that is to be made has no id. None: there will be none."""
        if self.record.method == "DELETE" or (self.before is None and self.record.method is None):
            return None
        return dict(dict({"id": ""}, **(self.before or {})), **overlaid(self.before, self.record.body))

    def pack(self) -> bytes:
        """As compressed JSON, for a plan that is kept in memory; without fields that nothing is compared with any more."""
        return zlib.compress(json.dumps(self, separators=(",", ":")).encode("ascii"), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> ObjectPlan:
        """What pack() made."""
        found = cls(*json.loads(zlib.decompress(packed).decode("ascii")))
        return found._replace(
            kind=Kind(found.kind),
            record=RecordPlan(*found.record),
            members=MemberPlan(*found.members),
            connections=ConnectionPlan(*found.connections),
            skipped_members=tuple(found.skipped_members),
            warnings=tuple(found.warnings),
        )


# What a plan may do to people and their data. All but the last two have a safety limit of the same name.
EFFECTS = (
    "creations",
    "suspensions",
    "reactivations",
    "deletions",
    "renames",
    "adoptions",
    "changes",
    "removals",
    "unlinked",
    "updates",
    "additions",
)
# The fields whose difference is an effect of its own, by the effects that count it; any other field is a change.
_ACCESS = ("suspended", "archived")


def effects(plan: ObjectPlan) -> dict[str, int]:
    """What a plan does, whatever causes it: how many of each effect.

    Each thing is counted once: a difference of a record that no effect of its own counts is a change, whichever field it is in,
    and a connection is unlinked only if its record is neither deleted nor suspended with it.

    Returns:
        {effect: int}, of EFFECTS: "suspensions" are accounts that are suspended or archived, "reactivations" the opposite;
        "adoptions" records that no connection led to; "changes" records that exist and differ otherwise; "removals" and
        "additions" members; "unlinked" connections that are removed and not replaced while the record stays as it is;
        "updates" records that are written to, or whose members are, and that are neither created, suspended nor deleted.
    """
    record = plan.record
    found = dict.fromkeys(EFFECTS, 0)
    found["creations"] = int(record.method == "POST")
    found["deletions"] = int(record.method == "DELETE")
    found["removals"], found["additions"] = len(plan.members.remove), len(plan.members.add)
    if plan.adopts and plan.before is not None:
        found["adoptions"] = 1
    if record.method == "PUT":
        found.update(_effects_of_update(plan))
    if plan.connections.google_id is None and not found["deletions"] and not found["suspensions"]:
        found["unlinked"] = len(plan.connections.remove)
    writes = record.method == "PUT" or (record.method is None and bool(plan.members.add or plan.members.remove))
    found["updates"] = int(writes and not found["suspensions"])
    return found


def _effects_of_update(plan: ObjectPlan) -> dict[str, int]:
    before, body, kind = plan.before or {}, plan.record.body, plan.kind
    rest = set(body)
    turned = [(bool(before.get(name)), bool(body[name])) for name in _ACCESS if kind == USER and name in body]
    suspends, reactivates = (False, True) in turned, (True, False) in turned
    renames = kind.address_field in body and kind.address(body).lower() != kind.address(before).lower()
    if suspends or reactivates:
        rest -= set(_ACCESS)
    if renames:
        rest.discard(kind.address_field)
    return {
        "suspensions": int(suspends),
        "reactivations": int(reactivates and not suspends),
        "renames": int(renames),
        "changes": int(bool(rest) and not plan.adopts),
    }


class DirectoryPlan:
    """The plans of a whole run, in the order in which they were added.

    A first run plans something for everybody: a hundred thousand planned users must fit, so that users are kept packed, and of
    their effects only the sums.

    Attributes:
        orphans: list of ObjectPlan, of records whose object the provider no longer syncs.
        unconnected: {Kind: int}, how many objects have a record that no connection leads to.
        members: how many members the groups that were compared have at Google.
    """

    def __init__(self) -> None:
        self._users: dict[str, bytes] = {}
        self._groups: dict[str, ObjectPlan] = {}
        self._totals = {name: {USER: 0, GROUP: 0} for name in EFFECTS}
        self.orphans: list[ObjectPlan] = []
        self.unconnected = {USER: 0, GROUP: 0}
        self.members = 0

    def observe(self, kind: Kind, row: Json | None, record: Json | None, members: t.Sequence[Json] | None) -> None:
        """Count an object that was compared, planned or not, for what shares are taken of.

        Args:
            row: its connection, or None.
            record: Google's record, or None.
            members: a group's members at Google; None where they were not read.
        """
        if row is None and record is not None:
            self.unconnected[kind] += 1
        self.members += len(members or ())

    def add(self, plan: ObjectPlan) -> None:
        """Add the plan of an object; it takes the place of an earlier one."""
        if plan.pk in (self._users if plan.kind == USER else self._groups):
            self.pop(plan.kind, plan.pk)
        self._count(plan, 1)
        if plan.kind == USER:
            self._users[plan.pk] = plan.pack()
        else:
            self._groups[plan.pk] = plan

    def get(self, kind: Kind, pk: str) -> ObjectPlan | None:
        """The plan of an object, or None."""
        if kind == GROUP:
            return self._groups.get(pk)
        packed = self._users.get(pk)
        return None if packed is None else ObjectPlan.unpack(packed)

    def pop(self, kind: Kind, pk: str) -> ObjectPlan:
        """Take a plan out, so that nothing of those that are done stays in memory."""
        plan = self._groups.pop(pk) if kind == GROUP else ObjectPlan.unpack(self._users.pop(pk))
        self._count(plan, -1)
        return plan

    def pks(self, kind: Kind) -> list[str]:
        """The primary keys of the planned objects of a kind."""
        return list(self._groups if kind == GROUP else self._users)

    def groups(self) -> list[ObjectPlan]:
        """The plans of groups."""
        return list(self._groups.values())

    def totals(self) -> dict[str, dict[Kind, int]]:
        """How many of each effect the plans that are in it have, orphans included: {effect: {Kind: int}}."""
        found = {name: dict(numbers) for name, numbers in self._totals.items()}
        for plan in self.orphans:
            for name, number in effects(plan).items():
                found[name][plan.kind] += number
        return found

    def _count(self, plan: ObjectPlan, sign: int) -> None:
        for name, number in effects(plan).items():
            if number:
                self._totals[name][plan.kind] += sign * number


def plan_record(kind: Kind, wanted: Json, record: Json | None) -> RecordPlan:
    """Compare the wanted resource with Google's (None: there is none), managed fields only."""
    if record is None:
        body = {key: value for key, value in wanted.items() if key in writable(kind)}
        return RecordPlan("POST", body, changes(kind, None, body))
    found = unmet(kind, wanted, record)
    fields = {item["path"].split(".", 1)[0] for item in found}
    body = {key: wanted[key] for key in wanted if key in fields}
    return RecordPlan("PUT" if found else None, body, found)


def refused_value(kind: Kind, plan: RecordPlan) -> str:
    """A value of a plan that Google is known to refuse, in words with the remedy; empty if there is none."""
    address = kind.address_field
    if address in plan.body or plan.method == "POST":
        value = str(plan.body.get(address) or "")
        if not value:
            return f"it has no e-mail. Give it one in authentik, or in its property mapping ({address})."
        local, at, domain = value.rpartition("@")
        if not (local and at and domain):
            return f"'{value}' is not an e-mail address. Correct it in authentik or its property mapping ({address})."
    if kind != USER or (plan.method != "POST" and "name" not in plan.body):
        return ""
    name = plan.body.get("name")
    if not isinstance(name, dict):
        name = {}
    for field in ("givenName", "familyName"):
        if plan.method != "POST" and field not in name:
            continue
        value = str(name.get(field) or "").strip()
        if not value:
            return (
                f"name.{field} is empty, which Google refuses. Correct the name in authentik or its property mapping."
            )
        if len(value) > LONGEST_NAME or "<" in value or ">" in value:
            return (
                "name.%s has more than %d characters or an angle bracket, which Google refuses. Correct the name in "
                "authentik or its property mapping." % (field, LONGEST_NAME)
            )
    return ""


def unwritable(kind: Kind, wanted: Json) -> list[str]:
    """The fields that mappings set and that nobody can write at Google, sorted."""
    return sorted(set(wanted) - writable(kind))


def plan_members(
    wanted: t.Collection[str],
    observed: t.Sequence[Json],
    membership: str,
    keep: t.Collection[str] = KEEPABLE,
) -> MemberPlan:
    """Compare a group's wanted members with those at Google.

    Args:
        wanted: ids or addresses of the accounts that belong into the group; of an account whose id is known, the id and
            the address count as one, so give what Google lists it by where it is listed.
        observed: the members as Google lists them.
        membership: "add", "exact" or "ignore".
        keep: of "owner", "manager", "group", "customer": those that "exact" does not remove.
    """
    if membership == "ignore":
        return MemberPlan([], [], [])
    names = {str(item).lower() for item in wanted}
    there: set[str] = set()
    foreign = []
    for member in observed:
        keys = {member_key(member), str(member.get("id") or "").lower()} - {""}
        there |= keys
        if not keys & names:
            foreign.append(member)
    remove, kept = [], []
    if membership == "exact":
        for member in sorted(foreign, key=member_key):
            if _is_kept(member, keep):
                kept.append(member_key(member))
            else:
                remove.append(member)
    return MemberPlan(sorted(names - there), remove, kept)


def overlaid(record: Json | None, wanted: Json) -> Json:
    """The wanted fields, nested ones laid over what is there."""
    return {
        key: dict((record or {}).get(key) or {}, **value)
        if isinstance(value, dict) and isinstance((record or {}).get(key) or {}, dict)
        else value
        for key, value in wanted.items()
    }


def _is_kept(member: Json, keep: t.Collection[str]) -> bool:
    return str(member.get("role") or "MEMBER").lower() in keep or str(member.get("type") or "USER").lower() in keep
