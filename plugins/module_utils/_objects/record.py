# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's record of a user or a group: its address, and the texts that name it. Pure."""

from __future__ import annotations

import typing as t

from .._common.types import Json


def address_of(record: Json | None) -> str:
    """A record's address as Google writes it; empty if it has none."""
    return str((record or {}).get("primaryEmail") or (record or {}).get("email") or "")


def addresses_of(record: Json | None) -> set[str]:
    """Every address that leads to a record, in lower case: its own, its aliases, and those that Google adds for alias domains."""
    found = record or {}
    more = [item for name in ("aliases", "nonEditableAliases") for item in _listed(found.get(name))]
    return {str(item).lower() for item in (found.get("primaryEmail"), found.get("email"), *more) if item}


def _listed(value: t.Any) -> t.Sequence[t.Any]:
    return value if isinstance(value, list) else ()


def is_at(record: Json | None, address: str) -> bool:
    """Whether an address is a record's own, and not only an alias of it."""
    return bool(address) and address_of(record).lower() == address.lower()


def held_text(
    address: str,
    another: str,
    holder: Json,
    left: str = "which is left alone",
    setting: str = "the address in authentik",
) -> str:
    """Why a record cannot get an address that another one at Google has, and what to do.

    Args:
        another: what the holder is: "another user", or "the group" for one of the other kind.
        holder: the record that has it.
        left: what becomes, or would have become, of the holder.
        setting: what to change.
    """
    held, needed, freed = (
        ("the address", "it", "free") if is_at(holder, address) else ("an alias", "the alias", "remove")
    )
    who = ("%s at Google, %s" if another.startswith("another") else "%s %s at Google") % (another, address_of(holder))
    return f"{address} is {held} of {who}, {left}. Change {setting}. Only if nobody needs {needed} there, {freed} it at Google."
