# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both sides of a whole directory as they were at one moment: authentik's objects and connections, Google's records. Pure."""

from __future__ import annotations

import json
import typing as t

from ..._common.kind import GROUP, USER, Kind
from ..._common.types import Json
from ..._mappings.desired import default_address
from ..._objects.record import addresses_of
from ..._objects.target import Target, scope

Key = t.Tuple[Kind, str]


class Objects:
    """authentik's users and groups as they were before the sync, small in memory.

    Attributes:
        names: {kind: {primary key: username or name}}, of all.
        in_scope: {kind: primary keys of those that the provider syncs, in authentik's order of pages}.
        rules: {kind: {primary key: the rule by which the provider does not sync it}}, of the others.
        members: {primary key of a group: primary keys of its direct members}.
        addresses: {kind: {primary key: the address that it has at Google unless a mapping gives another}}, of those in scope.

    Args:
        provider: as authentik shows it; it decides what is in scope.
        listed: the objects.
    """

    def __init__(self, provider: Json, listed: t.Iterable[Target]) -> None:
        self.names: dict[Kind, dict[str, str]] = {USER: {}, GROUP: {}}
        self.rules: dict[Kind, dict[str, str]] = {USER: {}, GROUP: {}}
        self.in_scope: dict[Kind, list[str]] = {USER: [], GROUP: []}
        self.members: dict[str, list[str]] = {}
        self.addresses: dict[Kind, dict[str, str]] = {USER: {}, GROUP: {}}
        for target in listed:
            self._add(provider, target)
        # Lists that were read page by page may name an object twice.
        self.in_scope[USER] = sorted(set(self.in_scope[USER]), key=int)
        self.in_scope[GROUP] = sorted(set(self.in_scope[GROUP]))

    def _add(self, provider: Json, target: Target) -> None:
        kind = target.kind
        self.names[kind][target.pk] = target.name
        rule = scope(provider, target)
        if rule is None:
            self.in_scope[kind].append(target.pk)
            self.addresses[kind][target.pk] = default_address(target, provider)
        else:
            self.rules[kind][target.pk] = rule
        if kind == GROUP:
            self.members[target.pk] = [str(pk) for pk in target.data.get("users") or []]

    def page(self, kind: Kind, number: int, size: int) -> list[str]:
        """The primary keys on one page of a full sync."""
        return self.in_scope[kind][(number - 1) * size : number * size]


class Row(t.NamedTuple):
    """A connection, as much of it as matters.

    Attributes:
        id, google_id: str.
        own_id: str, the immutable id of the record that it leads to; empty if it is not known.
        text: the attributes as JSON text, or None where Google's listing holds all that they say.
    """

    id: str
    google_id: str
    own_id: str
    text: str | None

    @property
    def attributes(self) -> Json:
        return t.cast(Json, json.loads(self.text)) if self.text else {}


class Records:
    """Google's records of one kind, by id, address or alias; what an earlier one has in the same form is kept once."""

    def __init__(self, earlier: Records | None = None) -> None:
        self._earlier = earlier
        self._texts: dict[str, str] = {}
        self._ids: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, record: Json) -> None:
        """Keep a record; a newer one takes the place of an older."""
        own_id = str(record.get("id") or "")
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        known = self._earlier._texts.get(own_id) if self._earlier is not None else None
        self._texts[own_id] = known if known is not None and known == text else text
        for address in addresses_of(record):
            self._ids[address] = own_id

    def get(self, key: str) -> Json | None:
        """The record with this id, address or alias, or None."""
        text = self._texts.get(key) or self._texts.get(self._ids.get(key.lower(), ""))
        return None if text is None else t.cast(Json, json.loads(text))

    def same(self, own_id: str) -> bool:
        """Whether the earlier ones hold exactly the same record under an id."""
        return self._earlier is not None and self._texts[own_id] is self._earlier._texts.get(own_id)


class Snapshot:
    """What one read of both sides found.

    Attributes:
        records: {kind: Records}, or None where Google was not read.
        rows: {kind: {primary key: list of Row}}, or None where authentik's connections could not be read.
        named: {name of a group at Google: its id}.
        protected: Google's records of the protected accounts.
        roles: {id of a group at Google: {member: role}}; present: {id of a group: ids and addresses of its members}.
    """

    def __init__(self) -> None:
        self.records: dict[str, Records] | None = None
        self.rows: dict[Kind, dict[str, list[Row]]] | None = None
        self.named: dict[str, str] = {}
        self.protected: list[Json] = []
        self.roles: dict[str, dict[str, str]] = {}
        self.present: dict[str, set[str]] = {}

    def row(self, kind: Kind, pk: str) -> Row | None:
        """The row that authentik uses: the first by its id, where an old address left a second one."""
        rows = (self.rows or {}).get(kind, {}).get(pk)
        return min(rows, key=lambda row: row.id) if rows else None

    def record(self, kind: Kind, row: Row | None) -> Json | None:
        """The record that a row leads to, or None."""
        if row is None or self.records is None:
            return None
        return self.records[kind].get(row.own_id) if row.own_id else self.records[kind].get(row.google_id)

    def said(self, kind: Kind, row: Row | None) -> Json:
        """Google's last answer as authentik's row keeps it; empty where it keeps none."""
        if row is None or row.text is not None or not row.own_id:
            return row.attributes if row is not None else {}
        return self.record(kind, row) or {}

    def record_of(self, objects: Objects, kind: Kind, pk: str) -> Json | None:
        """The record at Google of an object: the one that its connection leads to.

        Without a connection, or if none can be read, it is the one that authentik would connect: a group's by its name,
        or else the one with the object's address.
        """
        row = self.row(kind, pk)
        if row is not None or self.records is None:
            return self.record(kind, row)
        own_id = self.named.get(objects.names[kind].get(pk, "")) if kind == GROUP else None
        return self.records[kind].get(own_id or objects.addresses[kind].get(pk, ""))

    def absent_members(self, objects: Objects, pk: str, group: str) -> list[str]:
        """The usernames of a group's members that have a connection and that Google's group lacks.

        Args:
            pk: the group's primary key; group: its id at Google.
        """
        there = self.present.get(group, set())
        return sorted(
            objects.names[USER].get(member, member)
            for member in objects.members[pk]
            for rows in [(self.rows or {}).get(USER, {}).get(member)]
            if rows and not any(row.google_id.lower() in there or (row.own_id and row.own_id in there) for row in rows)
        )

    def unlinked_members(self, objects: Objects, pk: str) -> list[str]:
        """The usernames of a group's members that have no connection, whom authentik leaves out."""
        if self.rows is None:
            return []
        return sorted(
            objects.names[USER].get(member, member)
            for member in objects.members.get(pk, ())
            if not self.rows[USER].get(member)
        )

    def groups_with_members(self, objects: Objects) -> list[tuple[str, Json]]:
        """(primary key, record) of the groups in scope that have members in authentik and a record at Google."""
        found = []
        for pk in objects.in_scope[GROUP]:
            record = self.record_of(objects, GROUP, pk) if objects.members.get(pk) else None
            if record is not None:
                found.append((pk, record))
        return found
