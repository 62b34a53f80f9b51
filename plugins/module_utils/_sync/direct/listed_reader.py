# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Reader that looks at what was listed first, and asks only about what that does not show."""

from __future__ import annotations

import sys
import threading
import typing as t

from ..._common.kind import GROUP, USER, Kind
from ..._common.types import Json
from ..._mappings.desired import default_address
from ..._objects.connection import BY_ID, NOT, tie
from ..._objects.index import ConnectionIndex, RecordIndex
from ..._objects.record import address_of
from ..._objects.target import Target, scope
from ..guard.ownership import Rivals
from .reader import Reader


class ListedReader(Reader):
    """Looks at what was listed first, and asks only about what that does not show: Google's listings trail behind.

    Attributes:
        users, groups: RecordIndex, of what was listed, read and written in this run.
        rows: {"user": ConnectionIndex, "group": Rows}.
        listed: set of the kinds whose records and rows were listed as a whole.
        visits_users: bool, whether this run looks for the account of everybody whom the provider syncs, so that whoever
            has none in the index has none.
    """

    sure = False

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self.users = RecordIndex()
        self.groups = RecordIndex()
        self.rows = {USER: ConnectionIndex(USER), GROUP: ConnectionIndex(GROUP)}
        self.listed: set[str] = set()
        self.visits_users = False
        # Once somebody asks: who of those that the provider syncs, of all shards, has which address.
        self.pages: t.Callable[[Kind], t.Iterable[list[Json]]] = lambda kind: ()
        # Who claims an account in this run; see guard/claims.py.
        self.holder_of: t.Callable[[str], tuple[str, int] | None] = lambda record_id: None
        self._addresses: dict[Kind, dict[str, list[str]]] = {}
        self._indexing = threading.Lock()
        self._absent: set[tuple[Kind, str]] = set()
        # Id and address of each, by either: all that members are found by.
        self._predicted: dict[str, tuple[str, str]] = {}

    def index(self, kind: Kind) -> RecordIndex:
        """The index of "user" or "group"."""
        return self.users if kind == USER else self.groups

    def record(self, kind: Kind, key: str, sure: bool = True) -> Json | None:
        index = self.index(kind)
        found = index.get(key)
        enough = not sure and kind in self.listed and (kind != USER or self.visits_users)
        if found is not None or enough or (kind, key.lower()) in self._absent:
            return found
        found = super().record(kind, key)
        if found is None:
            self._absent.add((kind, key.lower()))
        else:
            index.add(found)
        return found

    def account(self, key: str, sure: bool = True) -> Json | None:
        found = self._predicted.get(key.lower())
        return {"id": found[0], "primaryEmail": found[1]} if found is not None else super().account(key, sure)

    def note(self, record: Json) -> None:
        """An account that this run wrote; what members are found by is enough of it from here on."""
        self.users.add({name: record[name] for name in ("id", "primaryEmail", "aliases") if name in record})

    def explain(self, record: Json) -> None:
        """An account as this run will make or change it, for the groups to be planned with."""
        own = sys.intern(str(record.get("id") or "")), sys.intern(address_of(record))
        for key in (own[0], sys.intern(own[1].lower())):
            if key:
                self._predicted[key] = own

    def forget(self, record: Json) -> None:
        """It will not come to what was predicted."""
        for key in (str(record.get("id") or ""), address_of(record).lower()):
            self._predicted.pop(key, None)

    def forget_predicted(self) -> None:
        """The users are done: what Google answered counts from now on."""
        self._predicted.clear()

    def rivals(self, target: Target, record: Json) -> Rivals:
        kind = target.kind
        if kind not in self.listed:
            return super().rivals(target, record)
        by_id: list[str] = []
        by_address: list[str] = []
        for pk in self.owners(kind, record):
            if pk != target.pk:
                how = [tie(row, record) for row in self.rows[kind].of(pk)]
                (by_id if BY_ID in how else by_address).append(self.called(kind, pk))
        return Rivals(tuple(by_id), tuple(by_address), self._sharing(target, kind.address(record)))

    def is_known_owner(self, pk: str, record_id: str) -> bool:
        found = self.holder_of(record_id)
        return found is not None and found[0] == pk

    def owners(self, kind: Kind, record: Json) -> list[str]:
        """The primary keys of the objects whose connection leads to a record, those out of scope included: it is theirs still."""
        return [
            pk
            for pk in self.rows[kind].owners(record)
            if any(tie(row, record) != NOT for row in self.rows[kind].of(pk))
        ]

    def called(self, kind: Kind, pk: str) -> str:
        """What messages call an object that authentik lists."""
        found = (Target(kind, data) for page in self.pages(kind) for data in page if str(data.get("pk")) == pk)
        return str(next(found, f"{kind} {pk}"))

    def sharing(self, kind: Kind, address: str) -> list[str]:
        """The primary keys of the objects in scope that have an address unless a mapping gives another."""
        return self._by_address(kind).get(address.lower(), []) if address else []

    def _by_address(self, kind: Kind) -> dict[str, list[str]]:
        with self._indexing:
            if kind not in self._addresses:
                found: dict[str, list[str]] = {}
                for page in self.pages(kind):
                    for target in (Target(kind, data) for data in page):
                        if scope(self.provider, target) is None:
                            own = default_address(target, self.provider).lower()
                            found.setdefault(sys.intern(own), []).append(sys.intern(target.pk))
                self._addresses[kind] = found
            return self._addresses[kind]

    def _sharing(self, target: Target, address: str) -> tuple[str, ...]:
        return tuple(self.called(target.kind, pk) for pk in self.sharing(target.kind, address) if pk != target.pk)

    def connections(self, kind: Kind, pk: str) -> list[Json]:
        return self.rows[kind].of(pk) if kind in self.listed else super().connections(kind, pk)
