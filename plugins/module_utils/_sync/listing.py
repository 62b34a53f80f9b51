# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""What both sides list of a whole directory, small in memory, and a Reader that looks there first.

A hundred thousand accounts must fit: a record is kept as the JSON text that it came as, a page of authentik's as packed
text, and a connection as the three values that matter of it.
"""

from __future__ import annotations

import json
import sys
import threading
import typing as t
import zlib

from .connection import connected_id
from .direct_reader import Reader
from .writer import address_of

Json = t.Dict[str, t.Any]


class Pages:
    """Objects of one kind as authentik lists them, page by page."""

    def __init__(self) -> None:
        self._pages: t.List[bytes] = []
        self._seen: t.Set[t.Any] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, page: t.Iterable[Json]) -> None:
        """Keep a page; an object that moved from one page to the next while they were read is kept once."""
        fresh = [item for item in page if item.get("pk") not in self._seen]
        self._seen.update(item.get("pk") for item in fresh)
        if fresh:
            self._pages.append(zlib.compress(json.dumps(fresh).encode("utf-8"), 1))

    def __iter__(self) -> t.Iterator[t.List[Json]]:
        for page in self._pages:
            yield json.loads(zlib.decompress(page).decode("utf-8"))

    def __contains__(self, pk: t.Any) -> bool:
        return pk in self._seen


class Index:
    """Google's records of one kind, found by id, address or alias without case."""

    def __init__(self) -> None:
        self._records: t.List[str] = []
        self._places: t.Dict[str, int] = {}
        self._by_address: t.Dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Json) -> None:
        """Keep a record; a newer one takes the place of an older."""
        own_id = str(record.get("id") or "")
        names = [str(record.get("primaryEmail") or record.get("email") or "").lower()]
        names.extend(str(item).lower() for item in record.get("aliases") or [])
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        with self._lock:
            place = self._places.get(own_id) if own_id else None
            if place is None:
                place = len(self._records)
                self._records.append(text)
            else:
                self._records[place] = text
            if own_id:
                self._places[sys.intern(own_id)] = place
            for name in names:
                if name:
                    self._by_address[sys.intern(name)] = place

    def get(self, key: str) -> t.Optional[Json]:
        """The record with this id, address or alias, or None."""
        place = self._places.get(key)
        if place is None:
            place = self._by_address.get(key.lower())
        return None if place is None else t.cast(Json, json.loads(self._records[place]))

    def has(self, key: str) -> bool:
        """Whether there is a record with this id, address or alias."""
        return key in self._places or key.lower() in self._by_address


# A connection's primary key, google_id and the immutable id of its record.
_Row = t.Tuple[str, str, str]


def _listed(rows: t.Union[_Row, t.List[_Row], None]) -> t.List[_Row]:
    if rows is None:
        return []
    return rows if isinstance(rows, list) else [rows]


class Rows:
    """The connections of one kind, by the primary key of what they connect."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        # Nearly everybody has one: a list would only take memory then.
        self._rows: t.Dict[str, t.Union[_Row, t.List[_Row]]] = {}
        self._owners: t.Optional[t.Dict[str, t.List[str]]] = None

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Json) -> None:
        """Keep a row, as authentik lists it."""
        # Ids and addresses are mostly those that Google's index holds: they are kept once.
        kept = (
            str(row.get("id") or ""),
            sys.intern(str(row.get("google_id") or "")),
            sys.intern(connected_id(row)),
        )
        pk = sys.intern(str(row.get(self.kind)))
        there = self._rows.get(pk)
        if there is None:
            self._rows[pk] = kept
        else:
            self._rows[pk] = [*_listed(there), kept]

    def of(self, pk: str) -> t.List[Json]:
        """The rows of one object, with what matters of them."""
        return [
            {"id": row, "google_id": google_id, "attributes": {"id": own_id} if own_id else {}}
            for row, google_id, own_id in _listed(self._rows.get(pk))
        ]

    def pks(self) -> t.Iterator[str]:
        """The primary keys of all that is connected."""
        return iter(self._rows)

    def owners(self, record: Json) -> t.List[str]:
        """The primary keys of what is connected to a record, by its id or its address."""
        if self._owners is None:
            self._owners = {}
            for pk, rows in self._rows.items():
                for _row, google_id, own_id in _listed(rows):
                    self._owners.setdefault(own_id or google_id.lower(), []).append(pk)
        found: t.List[str] = []
        for key in (str(record.get("id") or ""), address_of(record).lower()):
            found.extend(pk for pk in self._owners.get(key, ()) if pk not in found)
        return found


class ListedReader(Reader):
    """Looks at what was listed first, and asks only about what that does not show: Google's listings trail behind.

    Attributes:
        users, groups: Index, of what was listed, read and written in this run.
        rows: {"user": Rows, "group": Rows}.
        listed: set of the kinds whose records and rows were listed as a whole.
        visits_users: bool, whether this run looks for the account of everybody whom the provider syncs, so that whoever
            has none in the index has none.
    """

    sure = False

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self.users = Index()
        self.groups = Index()
        self.rows = {"user": Rows("user"), "group": Rows("group")}
        self.listed: t.Set[str] = set()
        self.visits_users = False
        self._absent: t.Set[t.Tuple[str, str]] = set()
        # Id and address of each, by either: all that members are found by.
        self._foretold: t.Dict[str, t.Tuple[str, str]] = {}

    def index(self, kind: str) -> Index:
        """The index of "user" or "group"."""
        return self.users if kind == "user" else self.groups

    def record(self, kind: str, key: str, sure: bool = True) -> t.Optional[Json]:
        index = self.index(kind)
        found = index.get(key)
        enough = not sure and kind in self.listed and (kind != "user" or self.visits_users)
        if found is not None or enough or (kind, key.lower()) in self._absent:
            return found
        found = super().record(kind, key)
        if found is None:
            self._absent.add((kind, key.lower()))
        else:
            index.add(found)
        return found

    def account(self, key: str, sure: bool = True) -> t.Optional[Json]:
        found = self._foretold.get(key.lower())
        return {"id": found[0], "primaryEmail": found[1]} if found is not None else super().account(key, sure)

    def note(self, record: Json) -> None:
        """An account that this run wrote; what members are found by is enough of it from here on."""
        self.users.add({name: record[name] for name in ("id", "primaryEmail", "aliases") if name in record})

    def foretell(self, record: Json) -> None:
        """An account as this run will make or change it, for the groups to be planned with."""
        own = sys.intern(str(record.get("id") or "")), sys.intern(address_of(record))
        for key in (own[0], sys.intern(own[1].lower())):
            if key:
                self._foretold[key] = own

    def take_back(self, record: Json) -> None:
        """It will not come to what was foretold."""
        for key in (str(record.get("id") or ""), address_of(record).lower()):
            self._foretold.pop(key, None)

    def forget_foretold(self) -> None:
        """The users are done: what Google answered counts from now on."""
        self._foretold.clear()

    def connections(self, kind: str, pk: str) -> t.List[Json]:
        return self.rows[kind].of(pk) if kind in self.listed else super().connections(kind, pk)
