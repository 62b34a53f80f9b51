# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a whole directory before and after a full sync: authentik's objects, its connections, Google. Reads only.

Google's listings trail behind its writes. authentik keeps Google's answer to its last write in the connection: where the two
disagree, the record itself is asked for, and waited for within a bound.
"""

from __future__ import annotations

import json
import typing as t

from ..._authentik.api import Authentik
from ..._authentik.client import Map
from ..._authentik.errors import AuthentikError
from ..._common import waiting
from ..._common.kind import GROUP, KINDS, USER, Kind
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._mappings.desired import default_address
from ..._objects.difference import member_roles, own_addresses, unmet
from ..._objects.protection import Subject
from ..._objects.target import Target, scope
from .protection import Scoped, full_sync_refusals

if t.TYPE_CHECKING:
    from ..._google.directory import Directory
Key = t.Tuple[Kind, str]
# Up to so many records are asked for one by one; of more, the whole is listed again.
FEW_RECORDS = 200
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0


class Objects:
    """authentik's users and groups as they stood before the sync, small in memory.

    Attributes:
        names: {kind: {primary key: username or name}}, of all.
        in_scope: {kind: primary keys of those that the provider syncs, in authentik's order of pages}.
        rules: {kind: {primary key: the rule by which the provider leaves it alone}}, of the others.
        members: {primary key of a group: primary keys of its direct members}.
        addresses: {kind: {primary key: the address that it has at Google unless a mapping gives another}}, of those in scope.
    """

    def __init__(self, authentik: Authentik, provider: Json, pool_map: Map = map) -> None:
        self.names: t.Dict[Kind, t.Dict[str, str]] = {USER: {}, GROUP: {}}
        self.rules: t.Dict[Kind, t.Dict[str, str]] = {USER: {}, GROUP: {}}
        self.in_scope: t.Dict[Kind, t.List[str]] = {USER: [], GROUP: []}
        self.members: t.Dict[str, t.List[str]] = {}
        self.addresses: t.Dict[Kind, t.Dict[str, str]] = {USER: {}, GROUP: {}}
        for kind in KINDS:
            for page in authentik.listed(kind, pool_map):
                for data in page:
                    target = Target(kind, data)
                    self.names[kind][target.pk] = target.name
                    rule = scope(provider, target)
                    if rule is None:
                        self.in_scope[kind].append(target.pk)
                        self.addresses[kind][target.pk] = default_address(target, provider)
                    else:
                        self.rules[kind][target.pk] = rule
                    if kind == GROUP:
                        self.members[target.pk] = [str(pk) for pk in data.get("users") or []]
        # Lists that were read page by page may name an object twice.
        self.in_scope[USER] = sorted(set(self.in_scope[USER]), key=int)
        self.in_scope[GROUP] = sorted(set(self.in_scope[GROUP]))

    def page(self, kind: Kind, number: int, size: int) -> t.List[str]:
        """The primary keys on one page of a full sync."""
        return self.in_scope[kind][(number - 1) * size : number * size]


class Row(t.NamedTuple):
    """A connection, as much of it as matters.

    Attributes:
        id, google_id: str.
        own_id: str, the immutable id of the record that it leads to; empty if it does not tell.
        text: the attributes as JSON text, or None where Google's listing holds all that they say.
    """

    id: str
    google_id: str
    own_id: str
    text: t.Optional[str]

    @property
    def attributes(self) -> Json:
        return t.cast(Json, json.loads(self.text)) if self.text else {}


class Records:
    """Google's records of one kind, by id, address or alias; what another look has in the same form is kept once."""

    def __init__(self, earlier: t.Optional[Records] = None) -> None:
        self._earlier = earlier
        self._texts: t.Dict[str, str] = {}
        self._ids: t.Dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, record: Json) -> None:
        """Keep a record; a newer one takes the place of an older."""
        own_id = str(record.get("id") or "")
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        known = self._earlier._texts.get(own_id) if self._earlier is not None else None
        self._texts[own_id] = known if known is not None and known == text else text
        for address in own_addresses(record):
            self._ids[address] = own_id

    def get(self, key: str) -> t.Optional[Json]:
        """The record with this id, address or alias, or None."""
        text = self._texts.get(key) or self._texts.get(self._ids.get(key.lower(), ""))
        return None if text is None else t.cast(Json, json.loads(text))

    def same(self, own_id: str) -> bool:
        """Whether the other look has exactly the same record under an id."""
        return self._earlier is not None and self._texts[own_id] is self._earlier._texts.get(own_id)


class Snapshot:
    """What one look found.

    Attributes:
        records: {kind: Records}, or None where Google was not read.
        rows: {kind: {primary key: list of Row}}, or None where authentik's connections could not be read.
        named: {name of a group at Google: its id}.
        administrators: Google's records of those users who are administrators.
        roles: {id of a group at Google: {member: role}}; present: {id of a group: ids and addresses of its members}.
    """

    def __init__(self) -> None:
        self.records: t.Optional[t.Dict[str, Records]] = None
        self.rows: t.Optional[t.Dict[Kind, t.Dict[str, t.List[Row]]]] = None
        self.named: t.Dict[str, str] = {}
        self.administrators: t.List[Json] = []
        self.roles: t.Dict[str, t.Dict[str, str]] = {}
        self.present: t.Dict[str, t.Set[str]] = {}

    def row(self, kind: Kind, pk: str) -> t.Optional[Row]:
        """The row that authentik uses: the first by its id, where an old address left a second one."""
        rows = (self.rows or {}).get(kind, {}).get(pk)
        return min(rows, key=lambda row: row.id) if rows else None

    def record(self, kind: Kind, row: t.Optional[Row]) -> t.Optional[Json]:
        """The record that a row leads to, or None."""
        if row is None or self.records is None:
            return None
        return self.records[kind].get(row.own_id) if row.own_id else self.records[kind].get(row.google_id)

    def said(self, kind: Kind, row: t.Optional[Row]) -> Json:
        """Google's last answer as authentik's row keeps it; empty where it keeps none."""
        if row is None or row.text is not None or not row.own_id:
            return row.attributes if row is not None else {}
        return self.record(kind, row) or {}


class SnapshotReader:
    """Looks twice.

    Args:
        authentik: the API; provider: the provider as authentik shows it; objects: Objects.
        directory: Google's directory, or None where only authentik's connections are looked at.
        strict: whether a failing look at Google is an error (verify: google) rather than a reason to look elsewhere.
        wait: float, seconds to wait after the sync for what Google has confirmed.
        warn: callable taking a text.
        google_map, authentik_map: like ``map``, for requests to Google and to authentik; may work in several threads.

    Attributes:
        before, after: Snapshot.
        unconfirmed: set of (kind, primary key): Google has answered authentik with what it does not show yet.
    """

    def __init__(
        self,
        authentik: Authentik,
        provider: Json,
        objects: Objects,
        directory: t.Optional[Directory],
        strict: bool,
        wait: float,
        warn: t.Callable[[str], None],
        google_map: Map = map,
        authentik_map: Map = map,
    ) -> None:
        self.authentik = authentik
        self.provider = int(provider["pk"])
        self._shown = provider
        self.objects = objects
        self.directory = directory
        self.strict = strict
        self.wait = wait
        self.warn = warn
        self._google_map = google_map
        self._authentik_map = authentik_map
        self.before = Snapshot()
        self.after = Snapshot()
        self.unconfirmed: t.Set[Key] = set()
        self._rows_refused = False

    # Before

    def look_before(self) -> None:
        """The look before anything is sent. Raises AuthentikError, and GoogleError where it is strict."""
        state = self.before
        if self.directory is not None:
            try:
                self._list_google(self.directory, state, None)
            except GoogleError as exc:
                self._lose_sight(exc)
        state.rows = self._list_rows(state, keep=state.records is None)
        if state.records is None:
            return
        try:
            self._confirm_before()
            self._read_members(state, [record for _pk, record in self._groups_with_members(state)])
        except GoogleError as exc:
            self._lose_sight(exc)
            state.records = None
            state.rows = self._list_rows(state, keep=True)

    def conflicts(self) -> t.List[str]:
        """In words: the addresses at which authentik would take somebody else's record for an object in scope."""
        found: t.List[str] = []
        if self.before.records is None:
            return found
        for kind in KINDS:
            for pk in self.objects.in_scope[kind]:
                row, address = self.before.row(kind, pk), self.objects.addresses[kind][pk]
                if kind == GROUP and (row is not None or self.objects.names[kind][pk] in self.before.named):
                    # Groups are connected by an immutable id, and at first by their name.
                    continue
                key = row.google_id if row is not None else address
                record = self.before.records[kind].get(key) if "@" in key else None
                if record is None or (row is not None and row.own_id == record.get("id")):
                    continue
                own = str(record.get("primaryEmail") or record.get("email") or "").lower()
                if own not in (key.lower(), address.lower()):
                    found.append("%s of %s %s (an alias of %s)" % (key, kind, self.objects.names[kind][pk], own))
        return found

    def protected(self, subjects: t.Sequence[str], subject: Subject) -> t.List[str]:
        """In words: what a full sync must not do to an administrator's account, or to one that somebody acts as.

        Args:
            subjects: the addresses of the latter; subject: the same as Subject.

        Raises:
            AuthentikError.
        """
        if self.before.records is None:
            return []
        accounts: t.Dict[str, Json] = {str(record.get("id")): record for record in self.before.administrators}
        for address in subjects:
            record = self.before.records[USER].get(address)
            if record is not None:
                accounts[str(record.get("id"))] = record
        return self._protected(list(accounts.values()), subject)

    def protected_by_query(self, directory: Directory, subjects: t.Sequence[str], subject: Subject) -> t.List[str]:
        """As protected(), for check mode: Google is asked for its administrators and for nobody else.

        Raises:
            AuthentikError, GoogleError.
        """
        accounts = {str(record.get("id")): record for record in directory.administrators()}
        for address in subjects:
            record = directory.get(USER, address)
            if record is not None:
                accounts[str(record.get("id"))] = record
        if accounts and self.before.rows is None:
            self.before.rows = self._list_rows(self.before, keep=True)
        return self._protected(list(accounts.values()), subject)

    def _protected(self, accounts: t.Sequence[Json], subject: Subject) -> t.List[str]:
        if not accounts:
            return []
        addresses = self.objects.addresses[USER]
        users = (Scoped(pk, addresses[pk], self._connection(pk)) for pk in self.objects.in_scope[USER])
        return full_sync_refusals(self.authentik, self._shown, users, accounts, subject)

    def _connection(self, pk: str) -> t.Optional[Json]:
        """A user's connection before the sync, as authentik shows it; where none can be read, one by the address is supposed."""
        if self.before.rows is None:
            return {"google_id": self.objects.addresses[USER][pk]}
        row = self.before.row(USER, pk)
        if row is None:
            return None
        return {"id": row.id, "google_id": row.google_id, "attributes": {"id": row.own_id} if row.own_id else {}}

    def record(self, state: Snapshot, kind: Kind, pk: str) -> t.Optional[Json]:
        """The record at Google of an object: the one that its connection leads to.

        Without a connection, or where none can be read, it is the one that authentik would connect: a group's by its name,
        or else the one with the object's address.
        """
        row = state.row(kind, pk)
        if row is not None or state.records is None:
            return state.record(kind, row)
        own_id = state.named.get(self.objects.names[kind].get(pk, "")) if kind == GROUP else None
        return state.records[kind].get(own_id or self.objects.addresses[kind].get(pk, ""))

    def _confirm_before(self) -> None:
        """Where authentik's row says something else than Google's listing, one of them is old: ask for the record."""
        state = self.before
        records = t.cast(t.Dict[str, Records], state.records)
        doubtful = [
            (kind, row)
            for kind, found in (state.rows or {}).items()
            for rows in found.values()
            for row in rows
            if row.text
        ]
        few = doubtful[:FEW_RECORDS]
        for (kind, _row), record in zip(few, self._google_map(lambda pair: self._ask(*pair), few)):
            if record is not None:
                records[kind].add(record)
        if len(doubtful) > FEW_RECORDS:
            # So many do not trail behind: they differ. What Google lists is what is there.
            self.warn(
                "%d of authentik's connections say something else than Google's listing, which is taken for what stands there."
                % len(doubtful)
            )

    # After

    def look_after(self, written: t.Callable[[Kind, str], bool]) -> None:
        """The look after the sync.

        Args:
            written: whether authentik is known to have written an object, taking its kind and primary key: then its
                row holds Google's answer to that.

        Raises:
            AuthentikError; a failing look at Google is a reason to rest on authentik's rows.
        """
        state = self.after
        if self.directory is not None and self.before.records is not None:
            try:
                self._look_at_google(self.directory, written)
                return
            except GoogleError as exc:
                self.strict = False
                self._lose_sight(exc)
                state.records = None
                self.unconfirmed = set()
        state.rows = self._list_rows(state, keep=True)

    @property
    def saw_google(self) -> bool:
        """Whether Google was read before and after."""
        return self.before.records is not None and self.after.records is not None

    def _look_at_google(self, directory: Directory, written: t.Callable[[Kind, str], bool]) -> None:
        state = self.after
        deadline = waiting.now() + self.wait
        lagging: t.Dict[Key, Row] = {}

        def shown() -> bool:
            nonlocal lagging
            self._list_google(directory, state, self.before.records)
            # Once more than that only Google is listed: authentik's rows do not change any more.
            state.rows = (
                self._list_rows(state)
                if state.rows is None
                else {
                    kind: {pk: [self._compared(kind, row, state) for row in rows] for pk, rows in found.items()}
                    for kind, found in state.rows.items()
                }
            )
            lagging = self._trailing(written)
            return len(lagging) <= FEW_RECORDS

        waiting.poll(shown, deadline, FIRST_PAUSE_S, 1.6, LONGEST_PAUSE_S)
        for key, row in lagging.items():
            if not self._settle(key, row, deadline):
                t.cast(t.Dict[str, Records], state.records)[key[0]].add(row.attributes)
                self.unconfirmed.add(key)
        self._look_at_members(written, deadline)

    def _trailing(self, written: t.Callable[[Kind, str], bool]) -> t.Dict[Key, Row]:
        """The objects whose rows hold more than Google's listing shows."""
        found = {}
        for kind, by_pk in (self.after.rows or {}).items():
            for pk in by_pk:
                row = self.after.row(kind, pk)
                if row is not None and row.text and row.own_id and written(kind, pk):
                    found[kind, pk] = row
        return found

    def _settle(self, key: Key, row: Row, deadline: float) -> bool:
        """Ask for a record until Google shows what it has answered, or something that is newer still."""
        kind = key[0]
        records = t.cast(t.Dict[str, Records], self.after.records)[kind]
        answered, earlier = row.attributes, t.cast(t.Dict[str, Records], self.before.records)[kind].get(row.own_id)

        def shown() -> bool:
            record = self._ask(kind, row)
            if record is None:
                return False
            shows_old = earlier is not None and not unmet(kind, record, earlier)
            if unmet(kind, answered, record) and shows_old:
                return False
            records.add(record)
            return True

        return waiting.poll(shown, deadline, FIRST_PAUSE_S, 1.6, LONGEST_PAUSE_S)

    def _look_at_members(self, written: t.Callable[[Kind, str], bool], deadline: float) -> None:
        groups = self._groups_with_members(self.after)
        self._read_members(self.after, [record for _pk, record in groups])
        lagging = [
            (pk, record) for pk, record in groups if written(GROUP, pk) and self.absent_members(pk, str(record["id"]))
        ]

        def shown() -> bool:
            nonlocal lagging
            self._read_members(self.after, [record for _pk, record in lagging])
            lagging = [(pk, record) for pk, record in lagging if self.absent_members(pk, str(record["id"]))]
            return not lagging

        if lagging:
            waiting.poll(shown, deadline, FIRST_PAUSE_S, 1.6, LONGEST_PAUSE_S, at_once=False)
        self.unconfirmed.update((GROUP, pk) for pk, _record in lagging)

    def _groups_with_members(self, state: Snapshot) -> t.List[t.Tuple[str, Json]]:
        """The groups in scope that have members in authentik and a record at Google: authentik adds members to no other."""
        found = []
        for pk in self.objects.in_scope[GROUP]:
            record = self.record(state, GROUP, pk) if self.objects.members.get(pk) else None
            if record is not None:
                found.append((pk, record))
        return found

    def absent_members(self, pk: str, group: str) -> t.List[str]:
        """The usernames of a group's members that have a connection and that Google's group lacks."""
        there = self.after.present.get(group, set())
        return sorted(
            self.objects.names[USER].get(member, member)
            for member in self.objects.members[pk]
            for rows in [(self.after.rows or {}).get(USER, {}).get(member)]
            if rows and not any(row.google_id.lower() in there or (row.own_id and row.own_id in there) for row in rows)
        )

    def unlinked_members(self, pk: str) -> t.List[str]:
        """The usernames of a group's members that have no connection, whom authentik leaves out."""
        if self.after.rows is None:
            return []
        return sorted(
            self.objects.names[USER].get(member, member)
            for member in self.objects.members.get(pk, ())
            if not self.after.rows[USER].get(member)
        )

    # Both

    @staticmethod
    def _list_google(directory: Directory, state: Snapshot, earlier: t.Optional[t.Dict[str, Records]]) -> None:
        found: t.Dict[str, Records] = {}
        named: t.Dict[str, str] = {}
        administrators: t.List[Json] = []
        for kind in KINDS:
            records = found[kind] = Records(earlier[kind] if earlier is not None else None)
            for page in directory.listed(kind, partly=True):
                for record in page:
                    records.add(record)
                    if record.get("isAdmin") or record.get("isDelegatedAdmin"):
                        administrators.append(record)
                    if kind == GROUP:
                        named.setdefault(str(record.get("name")), str(record.get("id")))
        state.records, state.named, state.administrators = found, named, administrators

    def _list_rows(self, state: Snapshot, keep: bool = False) -> t.Optional[t.Dict[Kind, t.Dict[str, t.List[Row]]]]:
        """authentik's connections; None (and one warning) where the token may not read them.

        Args:
            keep: whether to keep what they say of Google's records, even where Google's listing says the same.
        """
        if self._rows_refused:
            return None
        found: t.Dict[Kind, t.Dict[str, t.List[Row]]] = {USER: {}, GROUP: {}}
        try:
            for kind in KINDS:
                for data in self.authentik.all_connections(kind, self.provider, self._authentik_map):
                    attributes = data.get("attributes")
                    # authentik stores whatever Google answered, even what is no object.
                    attributes = attributes if isinstance(attributes, dict) else {}
                    row = Row(
                        str(data.get("id") or ""),
                        str(data.get("google_id") or ""),
                        str(attributes.get("id") or ""),
                        json.dumps(attributes) if attributes else None,
                    )
                    if not keep:
                        row = self._compared(kind, row, state)
                    found[kind].setdefault(str(data.get(kind)), []).append(row)
        except AuthentikError as exc:
            if exc.kind != "forbidden":
                raise
            self._rows_refused = True
            self.warn("authentik's records of the connections cannot be read. %s" % exc)
            return None
        return found

    @staticmethod
    def _compared(kind: Kind, row: Row, state: Snapshot) -> Row:
        """A row without its text, where Google's listing holds all that it says."""
        record = state.record(kind, row) if row.text else None
        return row._replace(text=None) if record is not None and not unmet(kind, row.attributes, record) else row

    def _ask(self, kind: Kind, row: Row) -> t.Optional[Json]:
        """The record that a row leads to, as Google shows it by itself."""
        directory = t.cast("Directory", self.directory)
        # Just after its creation a record may be found by its address and not yet by its id.
        address = row.google_id if kind == USER else str(row.attributes.get("email") or "")
        for key in (row.own_id, address):
            record = directory.get(kind, key) if key else None
            if record is not None and (not row.own_id or record.get("id") == row.own_id):
                return record
        return None

    def _read_members(self, state: Snapshot, groups: t.Sequence[Json]) -> None:
        directory = t.cast("Directory", self.directory)
        ids = [str(record["id"]) for record in groups]
        # None: Google shows a new group before it lists its members.
        for own_id, members in zip(ids, self._google_map(lambda own_id: directory.members(own_id) or [], ids)):
            state.roles[own_id] = member_roles(members)
            state.present[own_id] = set(state.roles[own_id]) | {str(item.get("id")) for item in members}

    def _lose_sight(self, exc: GoogleError) -> None:
        """Google cannot be read: an error where that was demanded, else a reason to rest on authentik's record."""
        if self.strict:
            raise exc
        self.directory = None
        self.warn("Google could not be looked at, so the result rests on authentik's own record. %s" % exc)
