# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""authentik's connection row: which one counts, and which record at Google it leads to. Pure."""

from __future__ import annotations

import typing as t

from .._common.types import Json
from .record import address_of, addresses_of

# How a connection leads to a record.
BY_ID, BY_ADDRESS, NOT = "by_id", "by_address", "not"


def tolerates_rows(provider: Json, version: t.Callable[[], tuple[int, int]]) -> bool:
    """Whether the server goes on syncing when a row's attributes are not Google's (2025.10 and later).

    Args:
        provider: as authentik shows it; its fields tell most versions without a request.
        version: gives the version's first two numbers, for a request.
    """
    if "sync_page_size" in provider:
        return True
    return "dry_run" in provider and version() >= (2025, 10)


def first_row(rows: t.Sequence[Json]) -> Json | None:
    """The row that authentik uses: the first by primary key, where an old address left a second one."""
    return min(rows, key=lambda row: str(row.get("id")), default=None)


def connected_id(row: Json | None) -> str:
    """The immutable id of the record that a row leads to, as its attributes tell; empty if they do not."""
    attributes = (row or {}).get("attributes")
    return str(attributes.get("id") or "") if isinstance(attributes, dict) else ""


def leads_to(row: Json, record: Json, earlier: Json | None = None) -> bool:
    """Whether authentik, using the row's google_id, reaches this very record."""
    names = {str(record.get("id")).lower(), *addresses_of(record)}
    if earlier is not None and earlier.get("id") == record.get("id"):
        # Google keeps the old address as an alias, and may not show it yet.
        names.add(address_of(earlier).lower())
    return str(row.get("google_id") or "").lower() in names


def tie(row: Json | None, record: Json | None) -> str:
    """How a connection leads to a record: BY_ID, BY_ADDRESS or NOT."""
    if row is None or record is None:
        return NOT
    own_id = connected_id(row)
    if own_id:
        # If it is another record's, the address is one that was given up.
        return BY_ID if own_id == record.get("id") else NOT
    if record.get("id") and row.get("google_id") == record["id"]:
        return BY_ID
    return BY_ADDRESS if leads_to(row, record) else NOT


def proves(row: Json | None, record: Json, address: str) -> bool:
    """Whether a connection proves that a protected account is the object's own.

    An immutable id does. A connection that only knows an address (authentik makes such a one when Google refuses to create an
    account because its address is taken) does so for an object that has this very address as its e-mail.

    Args:
        row: the connection as authentik shows it, or None.
        address: the object's e-mail in authentik.
    """
    how = tie(row, record)
    google_id = str((row or {}).get("google_id") or "").lower()
    return how == BY_ID or (how == BY_ADDRESS and google_id == address_of(record).lower() == address.lower())
