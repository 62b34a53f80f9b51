# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""Keeping authentik's connection row in step with what the direct engine does at Google.

Servers from 2024.8 to 2025.8 stop every sync of a kind as soon as one row's attributes are not exactly Google's, and a
row made through the API starts with none. So there no row is made, and one that our write has outdated is removed:
authentik links the record again, by its address, the next time it syncs.
"""

from __future__ import annotations

import typing as t

from .._authentik.api import Authentik
from .writer import address_of

Json = t.Dict[str, t.Any]


class RowPlan(t.NamedTuple):
    """What to do about the row.

    Attributes:
        remove: the row to remove, or None.
        google_id: what the row to make calls the record, or None to make none.
        note: what to tell about it; may be empty.
    """

    remove: t.Optional[Json]
    google_id: t.Optional[str]
    note: str


def tolerates_rows(provider: Json, version: t.Callable[[], t.Tuple[int, int]]) -> bool:
    """Whether the server goes on syncing when a row's attributes are not Google's (2025.10 and later).

    Args:
        provider: as authentik shows it; its fields tell most versions without a request.
        version: gives the version's first two numbers, for a request.
    """
    if "sync_page_size" in provider:
        return True
    return "dry_run" in provider and version() >= (2025, 10)


def plan_row(
    kind: str,
    row: t.Optional[Json],
    record: Json,
    earlier: t.Optional[Json],
    written: bool,
    tolerant: t.Callable[[], bool],
) -> RowPlan:
    """Compare the row with the record that stands at Google now. Pure, but for asking ``tolerant`` where it matters.

    Args:
        record: the record now; earlier: the same record before this run, or None.
        written: whether this run writes to the record or its members.
        tolerant: see tolerates_rows.
    """
    if row is not None and not written and leads_to(row, record, earlier):
        return RowPlan(None, None, "")
    if not tolerant():
        if row is None:
            return RowPlan(
                None,
                None,
                "No connection was made in authentik: on servers up to 2025.8 it would stop every later sync.",
            )
        return RowPlan(
            row,
            None,
            "The connection in authentik was removed, since on servers up to 2025.8 one that is not exactly as Google's record "
            "stops every later sync; authentik makes it anew.",
        )
    if row is not None and leads_to(row, record, earlier):
        return RowPlan(None, None, "")
    google_id = address_of(record) if kind == "user" else str(record["id"])
    return RowPlan(row, google_id, "")


def apply_row(authentik: Authentik, kind: str, provider: int, pk: str, plan: RowPlan) -> None:
    """Carry a plan out. Raises AuthentikError."""
    if plan.remove is not None:
        authentik.delete_connection(kind, str(plan.remove["id"]))
    if plan.google_id is not None:
        authentik.create_connection(kind, provider, pk, plan.google_id)


def first_row(rows: t.Sequence[Json]) -> t.Optional[Json]:
    """The row that authentik uses: the first by primary key, where an old address left a second one."""
    return min(rows, key=lambda row: str(row.get("id")), default=None)


def connected_id(row: t.Optional[Json]) -> str:
    """The immutable id of the record that a row leads to, as its attributes tell; empty if they do not."""
    attributes = (row or {}).get("attributes")
    return str(attributes.get("id") or "") if isinstance(attributes, dict) else ""


def leads_to(row: Json, record: Json, earlier: t.Optional[Json] = None) -> bool:
    """Whether authentik, using the row's google_id, reaches this very record."""
    names = {str(record.get("id")).lower(), address_of(record).lower()}
    names.update(str(item).lower() for item in record.get("aliases") or [])
    if earlier is not None and earlier.get("id") == record.get("id"):
        # Google keeps the old address as an alias, and may not show it yet.
        names.add(address_of(earlier).lower())
    return str(row.get("google_id") or "").lower() in names


def proves(row: t.Optional[Json], record: Json, address: str) -> bool:
    """Whether a connection proves that a protected account is the object's own.

    An immutable id does. A connection that only knows an address (authentik makes such a one when Google refuses to create an
    account because its address is taken) does so for an object that has this very address as its e-mail.

    Args:
        row: the connection as authentik shows it, or None.
        address: the object's e-mail in authentik.
    """
    if row is None:
        return False
    own_id = str(record.get("id") or "")
    if connected_id(row):
        return connected_id(row) == own_id
    google_id = str(row.get("google_id") or "").lower()
    if own_id and google_id == own_id.lower():
        return True
    return google_id == str(record.get("primaryEmail") or "").lower() == address.lower()
