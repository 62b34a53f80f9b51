# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two objects that want one record at Google: who is connected to it has it, else neither gets it. Pure."""

from __future__ import annotations

import typing as t

from ..._common.types import Json
from ..._objects.connection import connected_id, leads_to

# How a connection leads to a record.
BY_ID, BY_ADDRESS, NOT = 2, 1, 0


class Claim(t.NamedTuple):
    """What one object wants of Google.

    Attributes:
        pk: its primary key in authentik.
        record_id: the immutable id of the record that it is to be synced to; empty for one that is to be made.
        address: the address that is to be written for it; empty where none is.
        tie: how its connection leads to the record: BY_ID, BY_ADDRESS or NOT.
    """

    pk: str
    record_id: str
    address: str
    tie: int


class Claims:
    """Who is to have which record, for the objects of one kind."""

    def __init__(self) -> None:
        # By the id of a record, or by "@" and an address that is to be written.
        self._holders: t.Dict[str, str] = {}

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._holders

    def add(
        self, claim: Claim, connected: t.Iterable[str], tie_of: t.Callable[[str], int]
    ) -> t.Tuple[t.List[str], t.List[str]]:
        """Add a claim, unless somebody else has what it wants.

        Args:
            connected: the primary keys of others in scope that are connected to the record.
            tie_of: how the connection of the object with a primary key leads to the record.

        Returns:
            (the primary keys of those who lose to this claim, of those whom this claim loses to); whose claim is as good as
            this one's is in both: neither may have the record.
        """
        keys = [claim.record_id] if claim.record_id else []
        if claim.address:
            keys.append("@" + claim.address.lower())
        rivals = {self._holders[key] for key in keys if key in self._holders}.union(connected) - {claim.pk}
        ties = {pk: tie_of(pk) for pk in sorted(rivals)}
        lost_to = [pk for pk, tie in ties.items() if tie >= claim.tie]
        if not lost_to:
            self._holders.update(dict.fromkeys(keys, claim.pk))
        return [pk for pk, tie in ties.items() if claim.tie >= tie], lost_to


def tie(row: t.Optional[Json], record: t.Optional[Json]) -> int:
    """How a connection leads to a record: BY_ID, BY_ADDRESS or NOT."""
    if row is None or record is None:
        return NOT
    if connected_id(row) and connected_id(row) == record.get("id"):
        return BY_ID
    return BY_ADDRESS if leads_to(row, record) else NOT


def conflict_text(title: str, record: str, what: str, other: str) -> str:
    """Why an object was not synced.

    Args:
        title: the object, as the beginning of a sentence.
        record: what the record is called; what: "account" or "group".
        other: who wants it, too.
    """
    return (
        "%s was not synced: %s at Google would be the %s of %s, too. Nothing was written for it. Give one of them another "
        "address, or remove the connection in authentik that is wrong." % (title, record, what, other)
    )
