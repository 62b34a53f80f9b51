# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read both sides of a whole directory before and after a full sync. Nothing is written.

Google's listings trail behind its writes. authentik keeps Google's answer to its last write in the connection: if the two
differ, the record itself is read, and waited for within a bound.
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
from ..._objects.difference import member_roles, unmet
from ..._objects.target import Target
from .snapshot import Key, Objects, Records, Row, Snapshot

if t.TYPE_CHECKING:
    from ..._google.directory import Directory
# Up to so many records are read one by one; of more, all are listed again.
FEW_RECORDS = 200
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0


def list_objects(authentik: Authentik, provider: Json, authentik_map: Map = map) -> Objects:
    """authentik's users and groups. Raises AuthentikError."""
    return Objects(
        provider,
        (Target(kind, data) for kind in KINDS for page in authentik.listed(kind, authentik_map) for data in page),
    )


class SnapshotReader:
    """Reads both sides, before and after a full sync.

    Args:
        authentik: the API; provider: its primary key; objects: Objects.
        directory: Google's directory, or None if only authentik's connections are read.
        strict: whether a failing read of Google is an error (verify: google) rather than a reason to read authentik only.
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
        provider: int,
        objects: Objects,
        directory: Directory | None,
        strict: bool,
        wait: float,
        warn: t.Callable[[str], None],
        google_map: Map = map,
        authentik_map: Map = map,
    ) -> None:
        self.authentik = authentik
        self.provider = provider
        self.objects = objects
        self.directory = directory
        self.strict = strict
        self.wait = wait
        self.warn = warn
        self._google_map = google_map
        self._authentik_map = authentik_map
        self.before = Snapshot()
        self.after = Snapshot()
        self.unconfirmed: set[Key] = set()
        self._rows_refused = False
        # Tells the protected accounts among those that Google lists.
        self.is_protected: t.Callable[[Json], bool] = lambda record: False

    # Before

    def read_before(self) -> None:
        """Read both sides before anything is sent. Raises AuthentikError, and GoogleError if it is strict."""
        state = self.before
        if self.directory is not None:
            try:
                self._list_google(self.directory, state, None)
            except GoogleError as exc:
                self._read_authentik_only(exc)
        state.rows = self._list_rows(state, keep=state.records is None)
        if state.records is None:
            return
        try:
            self._confirm_before()
            self._read_members(state, [record for _pk, record in state.groups_with_members(self.objects)])
        except GoogleError as exc:
            self._read_authentik_only(exc)
            state.records = None
            state.rows = self._list_rows(state, keep=True)

    def read_connections_before(self) -> None:
        """Read authentik's connections only, if they were not read yet. Raises AuthentikError."""
        if self.before.rows is None:
            self.before.rows = self._list_rows(self.before, keep=True)

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
        for (kind, _row), record in zip(few, self._google_map(lambda pair: self._record(*pair), few)):
            if record is not None:
                records[kind].add(record)
        if len(doubtful) > FEW_RECORDS:
            # So many do not trail behind: they differ. What Google lists is what is there.
            self.warn(
                "%d of authentik's connections say something else than Google's listing, which is taken for what stands there."
                % len(doubtful)
            )

    # After

    def read_after(self, written: t.Callable[[Kind, str], bool]) -> None:
        """Read both sides after the sync.

        Args:
            written: whether authentik is known to have written an object, taking its kind and primary key: then its
                row holds Google's answer to that.

        Raises:
            AuthentikError; if Google cannot be read, authentik's connections are.
        """
        state = self.after
        if self.directory is not None and self.before.records is not None:
            try:
                self._read_google(self.directory, written)
                return
            except GoogleError as exc:
                self.strict = False
                self._read_authentik_only(exc)
                state.records = None
                self.unconfirmed = set()
        state.rows = self._list_rows(state, keep=True)

    def _read_google(self, directory: Directory, written: t.Callable[[Kind, str], bool]) -> None:
        state = self.after
        deadline = waiting.now() + self.wait
        lagging: dict[Key, Row] = {}

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
            if not self._is_shown(key, row, deadline):
                t.cast(t.Dict[str, Records], state.records)[key[0]].add(row.attributes)
                self.unconfirmed.add(key)
        self._read_late_members(written, deadline)

    def _trailing(self, written: t.Callable[[Kind, str], bool]) -> dict[Key, Row]:
        """The objects whose rows hold more than Google's listing shows."""
        found = {}
        for kind, by_pk in (self.after.rows or {}).items():
            for pk in by_pk:
                row = self.after.row(kind, pk)
                if row is not None and row.text and row.own_id and written(kind, pk):
                    found[kind, pk] = row
        return found

    def _is_shown(self, key: Key, row: Row, deadline: float) -> bool:
        """Ask for a record until Google shows what it has answered, or something that is newer still."""
        kind = key[0]
        records = t.cast(t.Dict[str, Records], self.after.records)[kind]
        answered, earlier = row.attributes, t.cast(t.Dict[str, Records], self.before.records)[kind].get(row.own_id)

        def shown() -> bool:
            record = self._record(kind, row)
            if record is None:
                return False
            shows_old = earlier is not None and not unmet(kind, record, earlier)
            if unmet(kind, answered, record) and shows_old:
                return False
            records.add(record)
            return True

        return waiting.poll(shown, deadline, FIRST_PAUSE_S, 1.6, LONGEST_PAUSE_S)

    def _read_late_members(self, written: t.Callable[[Kind, str], bool], deadline: float) -> None:
        groups = self.after.groups_with_members(self.objects)
        self._read_members(self.after, [record for _pk, record in groups])
        lagging = [
            (pk, record)
            for pk, record in groups
            if written(GROUP, pk) and self.after.absent_members(self.objects, pk, str(record["id"]))
        ]

        def shown() -> bool:
            nonlocal lagging
            self._read_members(self.after, [record for _pk, record in lagging])
            lagging = [
                (pk, record) for pk, record in lagging if self.after.absent_members(self.objects, pk, str(record["id"]))
            ]
            return not lagging

        if lagging:
            waiting.poll(shown, deadline, FIRST_PAUSE_S, 1.6, LONGEST_PAUSE_S, at_once=False)
        self.unconfirmed.update((GROUP, pk) for pk, _record in lagging)

    # Both

    def _list_google(self, directory: Directory, state: Snapshot, earlier: dict[str, Records] | None) -> None:
        found: dict[str, Records] = {}
        named: dict[str, str] = {}
        protected: list[Json] = []
        for kind in KINDS:
            records = found[kind] = Records(earlier[kind] if earlier is not None else None)
            for page in directory.listed(kind, partly=True):
                for record in page:
                    records.add(record)
                    if kind == USER and self.is_protected(record):
                        protected.append(record)
                    if kind == GROUP:
                        named.setdefault(str(record.get("name")), str(record.get("id")))
        state.records, state.named, state.protected = found, named, protected

    def _list_rows(self, state: Snapshot, keep: bool = False) -> dict[Kind, dict[str, list[Row]]] | None:
        """authentik's connections; None (and one warning) where the token may not read them.

        Args:
            keep: whether to keep what they say of Google's records, even where Google's listing says the same.
        """
        if self._rows_refused:
            return None
        found: dict[Kind, dict[str, list[Row]]] = {USER: {}, GROUP: {}}
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
            self.warn(f"authentik's records of the connections cannot be read. {exc}")
            return None
        return found

    @staticmethod
    def _compared(kind: Kind, row: Row, state: Snapshot) -> Row:
        """A row without its text, where Google's listing holds all that it says."""
        record = state.record(kind, row) if row.text else None
        return row._replace(text=None) if record is not None and not unmet(kind, row.attributes, record) else row

    def _record(self, kind: Kind, row: Row) -> Json | None:
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

    def _read_authentik_only(self, exc: GoogleError) -> None:
        """Google cannot be read: an error where that was demanded, else a reason to rest on authentik's record."""
        if self.strict:
            raise exc
        self.directory = None
        self.warn(f"Google could not be looked at, so the result rests on authentik's own record. {exc}")
