# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Google accounts a group's members in authentik have. Reads only."""

from __future__ import annotations

import typing as t

from ..._authentik.errors import AuthentikError
from ..._common.kind import USER
from ..._common.types import Json
from ..._objects.connection import BY_ADDRESS, BY_ID, connected_id, tie
from ..._objects.difference import member_key
from ..._objects.record import is_at
from ..._objects.target import Target
from .reader import Reader


def people_of(target: Target) -> list[Json]:
    """A group's direct members as authentik shows them.

    Raises:
        AuthentikError: authentik does not show all of them, so that nobody may be added or removed by the list.
    """
    people = target.data.get("users_obj") or []
    if len(people) != len(target.data.get("users") or []):
        raise AuthentikError(
            "json",
            "authentik does not show all members of %s (%d of %d)."
            % (target, len(people), len(target.data.get("users") or [])),
            "Check the permissions of the token's user, or sync the group with membership: ignore.",
        )
    return t.cast(t.List[Json], people)


def accounts_of(
    people: t.Sequence[Json], observed: t.Sequence[Json], reader: Reader, sure: bool = True
) -> tuple[list[str], list[str]]:
    """The accounts that belong into a group.

    Whoever Google lists under the address that authentik knows costs no look. Anybody else costs one at Google,
    since an address may be somebody else's alias, and only without an account there one at authentik's connections.

    Args:
        people: the members in authentik.
        observed: the members at Google.
        reader: looks the others up.
        sure: whether "no account" must be Google's own answer, and not only that of a listing.

    Returns:
        (ids or addresses as plan_members wants them, usernames of those without an account).
    """
    there = {member_key(item) for item in observed if str(item.get("type") or "USER") == "USER"}
    ids = {str(item.get("id")) for item in observed}
    wanted, without = [], []
    for person in people:
        address = str(person.get("email") or "").lower()
        if address and address in there:
            wanted.append(address)
            continue
        account = _account(person, address, reader, sure)
        if account is None:
            without.append(str(person.get("username")))
        elif str(account.get("id")) in ids:
            wanted.append(str(account["id"]))
        else:
            wanted.append(str(account["primaryEmail"]).lower())
    return wanted, sorted(without)


def _account(person: Json, address: str, reader: Reader, sure: bool) -> Json | None:
    """A user's account: the one whose own address is the user's, else the one that the user is surely connected to."""
    found = reader.account(address, sure) if address else None
    if found is not None and is_at(found, address):
        return found
    for row in reader.connections(USER, str(person["pk"])):
        own_id = connected_id(row)
        for key in (own_id, str(row.get("google_id") or "")):
            found = reader.account(key, sure) if key else None
            how = tie(row, found)
            if found is not None and (
                how == BY_ID or (how == BY_ADDRESS and reader.is_known_owner(str(person["pk"]), str(found.get("id"))))
            ):
                return found
    return None
