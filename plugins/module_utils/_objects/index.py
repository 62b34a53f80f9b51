# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both sides list of a whole directory, small in memory.

A hundred thousand accounts must fit: a record is kept as the JSON text that it came as, a page of authentik's as packed
text, and a connection as the three values that matter of it.
"""

from __future__ import annotations

import json
import sys
import threading
import typing as t
import zlib

from .._common.kind import Kind
from .._common.types import Json
from .connection import connected_id
from .record import address_of, addresses_of


class Pages:
    """Objects of one kind as authentik lists them, page by page."""

    def __init__(self) -> None:
        self._pages: list[bytes] = []
        self._seen: set[t.Any] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, page: t.Iterable[Json]) -> None:
        """Keep a page; an object that moved from one page to the next while they were read is kept once."""
        fresh = [item for item in page if item.get("pk") not in self._seen]
        self._seen.update(item.get("pk") for item in fresh)
        if fresh:
            self._pages.append(zlib.compress(json.dumps(fresh).encode("utf-8"), 1))

    def __iter__(self) -> t.Iterator[list[Json]]:
        for page in self._pages:
            yield json.loads(zlib.decompress(page).decode("utf-8"))

    def __contains__(self, pk: t.Any) -> bool:
        return pk in self._seen


class RecordIndex:
    """Google's records of one kind, found by id, address or alias without case."""

    def __init__(self) -> None:
        self._records: list[str] = []
        self._places: dict[str, int] = {}
        self._by_address: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Json) -> None:
        """Keep a record; a newer one takes the place of an older."""
        own_id = str(record.get("id") or "")
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
            for name in addresses_of(record):
                self._by_address[sys.intern(name)] = place

    def get(self, key: str) -> Json | None:
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


def _listed(rows: _Row | list[_Row] | None) -> list[_Row]:
    if rows is None:
        return []
    return rows if isinstance(rows, list) else [rows]


class ConnectionIndex:
    """The connections of one kind, by the primary key of what they connect."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        # Nearly everybody has one: a list would only take memory then.
        self._rows: dict[str, _Row | list[_Row]] = {}
        self._owners: dict[str, list[str]] | None = None

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

    def of(self, pk: str) -> list[Json]:
        """The rows of one object, with what matters of them."""
        return [
            {"id": row, "google_id": google_id, "attributes": {"id": own_id} if own_id else {}}
            for row, google_id, own_id in _listed(self._rows.get(pk))
        ]

    def pks(self) -> t.Iterator[str]:
        """The primary keys of all that is connected."""
        return iter(self._rows)

    def owners(self, record: Json) -> list[str]:
        """The primary keys of what is connected to a record, by its id or its address."""
        if self._owners is None:
            self._owners = {}
            for pk, rows in self._rows.items():
                for _row, google_id, own_id in _listed(rows):
                    self._owners.setdefault(own_id or google_id.lower(), []).append(pk)
        found: list[str] = []
        for key in (str(record.get("id") or ""), address_of(record).lower()):
            found.extend(pk for pk in self._owners.get(key, ()) if pk not in found)
        return found
