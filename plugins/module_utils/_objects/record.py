# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's record of a user or a group: its address, and the texts that name it. Pure."""

from __future__ import annotations

import typing as t

from .._common.types import Json


def address_of(record: t.Optional[Json]) -> str:
    """A record's address as Google writes it; empty if it has none."""
    return str((record or {}).get("primaryEmail") or (record or {}).get("email") or "")


def is_at(record: t.Optional[Json], address: str) -> bool:
    """Whether an address is a record's own, and not only an alias of it."""
    return bool(address) and address_of(record).lower() == address.lower()


def alias_text(kind: str, address: str, record: Json) -> str:
    """Why a record found by an alias is not written to, and what to do."""
    return (
        "%s is an alias of another %s at Google, %s, which is left alone. Nothing was written. Change the address in authentik. "
        "Only if nobody needs the alias, remove it at Google." % (address, kind, address_of(record))
    )


def held_text(address: str, kind: str, holder: Json) -> str:
    """Why a record cannot get an address that another one of its kind has, and what to do."""
    return (
        "%s is the address or an alias of another %s at Google, %s. Change the address in authentik. Only if it is an alias that "
        "nobody needs, remove it at Google."
        % (
            address,
            kind,
            address_of(holder),
        )
    )
