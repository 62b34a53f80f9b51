# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping authentik's connection row in step with what the direct engine does at Google.

Servers from 2024.8 to 2025.8 stop every sync of a kind as soon as one row's attributes are not exactly Google's, and a
row made through the API starts with none. So there no row is made, and one that our write has outdated is removed:
authentik links the record again, by its address, the next time it syncs.
"""

from __future__ import annotations

import typing as t

from ..._common.kind import USER, Kind
from ..._common.types import Json
from ..._objects.connection import connected_id, leads_to
from ..plan import NO_CONNECTION, ConnectionPlan


def plan_connection(
    kind: Kind,
    row: Json | None,
    record: Json,
    earlier: Json | None,
    written: bool,
    tolerant: t.Callable[[], bool],
) -> ConnectionPlan:
    """Compare the row with the record that stands at Google now. Pure, but for asking ``tolerant`` where it matters.

    Args:
        record: the record now; earlier: the same record before this run, or None.
        written: whether this run writes to the record or its members.
        tolerant: see tolerates_rows.
    """
    in_step = row is not None and _is_in_step(kind, row, record, earlier, written)
    if in_step and not written:
        return NO_CONNECTION
    if not tolerant():
        if row is None:
            return ConnectionPlan(
                [],
                None,
                "No connection was made in authentik: on servers up to 2025.8 it would stop every later sync.",
            )
        return ConnectionPlan(
            [row],
            None,
            "The connection in authentik was removed, since on servers up to 2025.8 one that is not exactly as Google's record "
            "stops every later sync; authentik creates it again.",
        )
    if in_step:
        return NO_CONNECTION
    google_id = kind.google_id(record)
    return ConnectionPlan([] if row is None else [row], google_id, "")


def _is_in_step(kind: Kind, row: Json, record: Json, earlier: Json | None, written: bool) -> bool:
    own_id = str(record.get("id"))
    if not leads_to(row, record, earlier) or connected_id(row) not in ("", own_id):
        # With another record's id it is an old one: what it leads to was made after that record had gone.
        return False
    # authentik calls an account by its address. One that was connected by its id, to show whose it is, has the address now.
    return not (kind == USER and written and row.get("google_id") == own_id)
