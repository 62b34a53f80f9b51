# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which other objects of authentik are connected with a record. Reads only."""

from __future__ import annotations

from .._authentik.api import Authentik
from .._common.kind import Kind
from .._common.types import Json
from .._objects.connection import BY_ADDRESS, BY_ID, NOT, tie
from .guard.ownership import Rivals


def connected_rivals(authentik: Authentik, kind: Kind, provider: int, pk: str, record: Json) -> Rivals:
    """The others that are connected with a record; authentik cannot search for them, so that it lists all connections.

    Args:
        provider: the provider's primary key.
        pk: the primary key of the object that is asked for.

    Raises:
        AuthentikError.
    """
    found: dict[str, set[str]] = {BY_ID: set(), BY_ADDRESS: set(), NOT: set()}
    for row in authentik.all_connections(kind, provider):
        if str(row.get(kind)) != pk:
            obj = row.get(f"{kind}_obj")
            name = (obj or {}).get(kind.name_field) if isinstance(obj, dict) else None
            found[tie(row, record)].add(f"{kind} {name or row.get(kind)}")
    return Rivals(tuple(sorted(found[BY_ID])), tuple(sorted(found[BY_ADDRESS])))
