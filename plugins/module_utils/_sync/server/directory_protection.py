# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What authentik's full sync must not do: harm a protected account, write to somebody else's record. Reads only.

A full sync cannot leave a single object out: it is not started if it would do such a thing.
"""

from __future__ import annotations

import typing as t

from ..._authentik.api import Authentik
from ..._common.kind import GROUP, KINDS, USER, Kind
from ..._common.types import Json
from ..._mappings.desired import evaluate
from ..._objects.connection import connected_id
from ..._objects.protection import Protected, Protection, listed, standing
from ..._objects.record import address_of, addresses_of
from ..._objects.target import Target
from .protection import harm_unknown
from .snapshot import Objects, Row, Snapshot

if t.TYPE_CHECKING:
    from ..._google.directory import Directory


def conflicts(objects: Objects, before: Snapshot) -> list[str]:
    """In words: where authentik would write to a record that is not the object's own, by the rule of guard/ownership.py. Pure."""
    found: list[str] = []
    if before.records is None:
        return found
    for kind in KINDS:
        found.extend(_wanted_twice(kind, objects, before))
        for pk in objects.in_scope[kind]:
            row, address = before.row(kind, pk), objects.addresses[kind][pk]
            if kind == GROUP and (row is not None or objects.names[kind][pk] in before.named):
                # Groups are connected by an immutable id, and at first by their name.
                continue
            key = row.google_id if row is not None else address
            record = before.records[kind].get(key) if "@" in key else None
            if record is None or (row is not None and row.own_id == record.get("id")):
                continue
            own, name = address_of(record).lower(), objects.names[kind][pk]
            if row is not None and row.own_id and own != address.lower():
                found.append(
                    f"{key} of {kind} {name} (somebody else's account by now: the connected one had another id)"
                )
            elif own not in (key.lower(), address.lower()):
                found.append(f"{key} of {kind} {name} (an alias of {own})")
            elif own != address.lower():
                found.append(
                    f"{key} of {kind} {name} (its connection knows this address alone, {address or 'no address'} is wanted now, and "
                    f"the account, id {record.get('id')}, can be somebody else's by now)"
                )
    return found


def _wanted_twice(kind: Kind, objects: Objects, before: Snapshot) -> t.Iterator[str]:
    """Addresses that two objects in scope want, unless each is connected with a record of its own by an immutable id."""
    wanting: dict[str, list[str]] = {}
    for pk in objects.in_scope[kind]:
        wanting.setdefault(objects.addresses[kind][pk].lower(), []).append(pk)
    for address, pks in wanting.items():
        if address and len(pks) > 1 and len({_record_id(before.row(kind, pk)) for pk in pks} - {""}) < len(pks):
            names = sorted(f"{kind} {objects.names[kind][pk]}" for pk in pks)
            yield f"{address} of {' and '.join(names)} (each wants it)"


def _record_id(row: Row | None) -> str:
    """The immutable id of the record that a connection leads to; empty if it does not hold one."""
    if row is None:
        return ""
    return row.own_id or ("" if "@" in row.google_id else row.google_id)


def query_protected_accounts(directory: Directory, protection: Protection) -> list[Json]:
    """The protected accounts, for check mode: Google is asked for these and for nobody else. Raises GoogleError."""
    found: dict[str, Json] = {}
    if not protection.allow_admins:
        found.update((str(record.get("id")), record) for record in directory.administrators())
    for address in protection.known_addresses():
        record = directory.get(USER, address)
        if record is not None:
            found[str(record.get("id"))] = record
    return list(found.values())


def refusals(
    authentik: Authentik,
    provider: Json,
    objects: Objects,
    before: Snapshot,
    accounts: t.Sequence[Json],
    protection: Protection,
) -> list[str]:
    """In words: what a full sync must not do to protected accounts. Raises AuthentikError.

    Args:
        before: the connections before the sync.
        accounts: the protected accounts, as Google shows them.
    """
    if not accounts:
        return []
    users = (Scoped(pk, objects.addresses[USER][pk], _connection(objects, before, pk)) for pk in objects.in_scope[USER])
    return full_sync_refusals(authentik, provider, users, accounts, protection)


def _connection(objects: Objects, before: Snapshot, pk: str) -> Json | None:
    """A user's connection as authentik shows it; if none can be read, one by the address is supposed."""
    if before.rows is None:
        return {"google_id": objects.addresses[USER][pk]}
    row = before.row(USER, pk)
    if row is None:
        return None
    return {"id": row.id, "google_id": row.google_id, "attributes": {"id": row.own_id} if row.own_id else {}}


def full_sync_refusals(
    authentik: Authentik, provider: Json, users: t.Iterable[Scoped], accounts: t.Sequence[Json], protection: Protection
) -> list[str]:
    """What a full sync must not do, in words; asks authentik only for those few users who have a protected account.

    Args:
        users: those that the provider syncs.
        accounts: the protected accounts, as Google shows them.

    Raises:
        AuthentikError.
    """
    by_key: dict[str, Json] = {}
    for account in accounts:
        for key in {str(account.get("id") or ""), *addresses_of(account)} - {""}:
            by_key[key] = account
    found: list[str] = []
    for user in users:
        # authentik writes to the account that a connection leads to, and its listing makes one for the user's address, too.
        keys = [user.address.lower(), *([user.own_id, user.google_id.lower()] if user.row is not None else [])]
        for account in {id(by_key[key]): by_key[key] for key in keys if key in by_key}.values():
            found.extend(_of_full_sync(authentik, provider, user, account, protection))
    return found


class Scoped(t.NamedTuple):
    """A user whom the provider syncs.

    Attributes:
        pk, address: str; address is the e-mail.
        row: the connection as authentik shows it, or None.
    """

    pk: str
    address: str
    row: Json | None

    @property
    def own_id(self) -> str:
        return connected_id(self.row)

    @property
    def google_id(self) -> str:
        return str((self.row or {}).get("google_id") or "")


def _of_full_sync(
    authentik: Authentik, provider: Json, user: Scoped, account: Json, protection: Protection
) -> t.Iterator[str]:
    data = authentik.get(USER, user.pk)
    if data is None:
        return
    target = Target(USER, data)
    why = f"{address_of(account)} ({standing(account, protection)})"
    try:
        unknown = harm_unknown(
            account, user.row, target, protection, lambda: wanted_of(authentik, provider, target, user.row)
        )
    except Protected as exc:
        yield f"to sync {target} would {listed(exc.acts)}: {why}"
        return
    if unknown:
        yield f"what {target} would get is not known, {unknown}: {why}"


def wanted_of(authentik: Authentik, provider: Json, target: Target, row: Json | None) -> tuple[Json, Json]:
    """What the mappings yield for a user who has a connection. Raises MappingProblem, AuthentikError."""
    return evaluate(authentik, provider, USER, target.data, str((row or {}).get("google_id") or ""))
