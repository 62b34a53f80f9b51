# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose record at Google it is. Pure.

A record belongs to the object whose connection leads to it by its immutable id; else to the only object that wants its present
address. A connection that knows an address alone proves nothing about a record whose address its object does not want: that is
a rename, or somebody else has got an address that was given up.
"""

from __future__ import annotations

import typing as t

from ..._common.kind import Kind
from ..._common.types import Json
from ..._objects.connection import BY_ADDRESS, BY_ID, NOT

# What follows for an object: the record is its own, somebody else's, wanted by two, or nobody can tell.
OWN, THEIRS, CONTESTED, UNDECIDED = "own", "theirs", "contested", "undecided"
# The type of the external id that marks a record as an object's (option ownership).
MARK = "authentik"


class Rivals(t.NamedTuple):
    """The other objects that have to do with a record, by what messages call them.

    Attributes:
        by_id: those connected with it by its immutable id.
        by_address: those whose connection knows its address alone.
        wanting: those that want its present address.
    """

    by_id: tuple[str, ...] = ()
    by_address: tuple[str, ...] = ()
    wanting: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """All of them."""
        return sorted({*self.by_id, *self.by_address, *self.wanting})


NO_RIVALS = Rivals()


def verdict(how: str, wants: bool, rivals: Rivals) -> str:
    """What follows for an object.

    Args:
        how: how its connection leads to the record; from tie().
        wants: whether the record's present address is the one that it wants.
        rivals: the others.

    Returns:
        OWN, THEIRS, CONTESTED or UNDECIDED.
    """
    if how == BY_ID:
        return CONTESTED if rivals.by_id else OWN
    if rivals.by_id:
        return CONTESTED if wants else THEIRS
    if wants:
        # Without a connection of its own, it could be the account of somebody whose address has just changed.
        return CONTESTED if rivals.wanting or (how == NOT and rivals.by_address) else OWN
    return THEIRS if rivals.wanting or rivals.by_address else UNDECIDED


def strength(how: str, wants: bool) -> int:
    """How good a claim to a record is, to compare two of them: by id, connected and wanting, anything else."""
    return 2 if how == BY_ID else 1 if how == BY_ADDRESS and wants else 0


def mark_of(record: Json | None) -> str:
    """The UUID that marks a record as an object's; empty if none does."""
    for item in (record or {}).get("externalIds") or []:
        if isinstance(item, dict) and item.get("type") == "custom" and item.get("customType") == MARK:
            return str(item.get("value") or "")
    return ""


def marked(wanted: Json, record: Json | None, uuid: str) -> Json:
    """The wanted fields with the mark of an object; the record's other external ids stay, unless a mapping sets them."""
    given = wanted.get("externalIds")
    others = given if isinstance(given, list) else (record or {}).get("externalIds") or []
    kept = [item for item in others if not (isinstance(item, dict) and item.get("customType") == MARK)]
    return dict(wanted, externalIds=[*kept, {"type": "custom", "customType": MARK, "value": uuid}])


def unmarked(wanted: Json) -> Json:
    """Wanted fields as they were before marked(); without external ids if the mark was the only one."""
    kept = [item for item in wanted.get("externalIds") or [] if item.get("customType") != MARK]
    return {
        **{name: value for name, value in wanted.items() if name != "externalIds"},
        **({"externalIds": kept} if kept else {}),
    }


def contested_text(title: str, kind: Kind, record: str, others: t.Sequence[str]) -> str:
    """Why an object was not synced to a record that another object has to do with.

    Args:
        title: the object, as the beginning of a sentence.
        record: what the record is called, or the address that is wanted.
        others: what the other objects are called.
    """
    return (
        "The %s %s at Google is wanted by, or connected with, %s of authentik, too. %s was not synced, because two objects would "
        "write to one %s. Nothing was written for it. Give one of them another %s in authentik, or take it out of the provider's "
        "scope. Only if the other one has given the %s up, remove its connection (google_workspace_connection, state: absent)."
        % (
            kind.record,
            record,
            " and ".join(sorted(others)),
            title,
            kind.record,
            "e-mail" if kind == Kind.USER else "name or address",
            kind.record,
        )
    )


def undecided_text(title: str, kind: Kind, record: Json, wanted: str) -> str:
    """Why an object was not synced to a record that its connection knows by an address alone.

    Args:
        wanted: the address that the object wants.
    """
    return (
        "The connection of %s knows the address %s alone, and %s is wanted now. So %s at Google can be the account that was "
        "connected, or somebody else's that has got the address since. %s was not synced; nothing was written for it. If it is "
        "the same account, connect the two by its immutable id (google_workspace_connection, google_id: '%s'); if it is not, "
        "remove the connection (state: absent)."
        % (
            title[:1].lower() + title[1:],
            kind.address(record),
            wanted or "no address",
            kind.address(record),
            title,
            record.get("id"),
        )
    )
