# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two objects of one run that want one record or one address at Google: the better claim has it, equal ones get nothing. Pure."""

from __future__ import annotations

import sys
import typing as t

# The levels of ownership.strength().
LEVELS = 3


class Claims:
    """Who is to have which record and which address, for the objects of one kind."""

    def __init__(self) -> None:
        # By level of the claim, so that a hundred thousand of them take little memory: {key: primary key of the object}.
        self._holders: list[dict[str, str]] = [{} for _level in range(LEVELS)]

    def __contains__(self, record_id: str) -> bool:
        return self.holder(record_id) is not None

    def holder(self, key: str) -> tuple[str, int] | None:
        """(the primary key of the object that has a record or address, the level of its claim), or None."""
        for level, holders in enumerate(self._holders):
            if key in holders:
                return holders[key], level
        return None

    def add(self, pk: str, wanted: t.Mapping[str, int], others: t.Mapping[str, int]) -> tuple[list[str], list[str]]:
        """Add the claims of an object, unless somebody else has what it wants.

        Args:
            pk: the object's primary key.
            wanted: {key: level of its claim}; from keys().
            others: {primary key: level} of objects outside of this book that claim the record.

        Returns:
            (the primary keys of those who lose to this object, of those whom it loses to); whose claim is as good as its own
            is in both: neither may have the record.
        """
        rivals: dict[str, tuple[int, int]] = {}
        for key, mine in wanted.items():
            found = self.holder(key)
            if found is not None and found[0] != pk:
                rivals[found[0]] = (found[1], mine)
        for other, theirs in others.items():
            if other != pk and other not in rivals:
                rivals[other] = (theirs, max(wanted.values(), default=0))
        losing = [other for other, (theirs, mine) in sorted(rivals.items()) if mine >= theirs]
        lost_to = [other for other, (theirs, mine) in sorted(rivals.items()) if theirs >= mine]
        if not lost_to:
            for key, level in wanted.items():
                for holders in self._holders:
                    holders.pop(key, None)
                self._holders[level][sys.intern(key)] = sys.intern(pk)
        return losing, lost_to


def keys(record_id: str, address: str, to_record: int, to_address: int) -> dict[str, int]:
    """What an object claims.

    Args:
        record_id: the immutable id of the record that it is to be synced to; empty for one that is to be made.
        address: the address that it wants; may be empty.
        to_record, to_address: the levels of its claims to each.
    """
    found = {record_id: to_record} if record_id else {}
    if address:
        found["@" + address.lower()] = to_address
    return found
