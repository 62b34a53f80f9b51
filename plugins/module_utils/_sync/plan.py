# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be written so that Google holds what is wanted. Pure: no requests, no clock, no randomness.

Rules (from the Directory API's documentation): an update takes only what it names, lists are replaced whole, objects
are merged; an account needs both names; a name has at most 60 characters and no angle brackets.
"""

from __future__ import annotations

import typing as t

from .._common.kind import USER, Kind
from .._common.types import Json
from .._objects.difference import changes, member_key, unmet, writable

LONGEST_NAME = 60
# Whom membership: exact leaves alone unless told otherwise.
KEEPABLE = ("owner", "manager", "group", "customer")


class RecordPlan(t.NamedTuple):
    """What to do about a user or a group itself.

    Attributes:
        method: "POST" (create), "PUT" (update) or None (in sync).
        body: what to send, without a password.
        changes: the differences, as the result shows them.
    """

    method: t.Optional[str]
    body: Json
    changes: t.List[Json]


class MemberPlan(t.NamedTuple):
    """What to do about a group's members.

    Attributes:
        add: the addresses to add, sorted.
        remove: the members to remove, as Google lists them, sorted by key.
        kept: the keys of members that do not belong and are left alone, sorted.
    """

    add: t.List[str]
    remove: t.List[Json]
    kept: t.List[str]


def plan_record(kind: Kind, wanted: Json, record: t.Optional[Json]) -> RecordPlan:
    """Compare the wanted resource with Google's (None: there is none), managed fields only."""
    if record is None:
        body = {key: value for key, value in wanted.items() if key in writable(kind)}
        return RecordPlan("POST", body, changes(kind, None, body))
    found = unmet(kind, wanted, record)
    fields = {item["path"].split(".", 1)[0] for item in found}
    body = {key: wanted[key] for key in wanted if key in fields}
    return RecordPlan("PUT" if found else None, body, found)


def refused_value(kind: Kind, plan: RecordPlan) -> str:
    """A value of a plan that Google is known to refuse, in words with the remedy; empty if there is none."""
    address = kind.address_field
    if address in plan.body or plan.method == "POST":
        value = str(plan.body.get(address) or "")
        if not value:
            return "it has no e-mail. Give it one in authentik, or in its property mapping (%s)." % address
        local, at, domain = value.rpartition("@")
        if not (local and at and domain):
            return "'%s' is not an e-mail address. Correct it in authentik or its property mapping (%s)." % (
                value,
                address,
            )
    if kind != USER or (plan.method != "POST" and "name" not in plan.body):
        return ""
    name = plan.body.get("name")
    if not isinstance(name, dict):
        name = {}
    for field in ("givenName", "familyName"):
        if plan.method != "POST" and field not in name:
            continue
        value = str(name.get(field) or "").strip()
        if not value:
            return (
                "name.%s is empty, which Google refuses. Correct the name in authentik or its property mapping." % field
            )
        if len(value) > LONGEST_NAME or "<" in value or ">" in value:
            return (
                "name.%s has more than %d characters or an angle bracket, which Google refuses. Correct the name in "
                "authentik or its property mapping." % (field, LONGEST_NAME)
            )
    return ""


def unwritable(kind: Kind, wanted: Json) -> t.List[str]:
    """The fields that mappings set and that nobody can write at Google, sorted."""
    return sorted(set(wanted) - writable(kind))


def plan_members(
    wanted: t.Collection[str],
    observed: t.Sequence[Json],
    membership: str,
    keep: t.Collection[str] = KEEPABLE,
) -> MemberPlan:
    """Compare a group's wanted members with those at Google.

    Args:
        wanted: ids or addresses of the accounts that belong into the group; of an account whose id is known, the id and
            the address count as one, so give what Google lists it by where it is listed.
        observed: the members as Google lists them.
        membership: "add", "exact" or "ignore".
        keep: of "owner", "manager", "group", "customer": those that "exact" does not remove.
    """
    if membership == "ignore":
        return MemberPlan([], [], [])
    names = {str(item).lower() for item in wanted}
    there: t.Set[str] = set()
    foreign = []
    for member in observed:
        keys = {member_key(member), str(member.get("id") or "").lower()} - {""}
        there |= keys
        if not keys & names:
            foreign.append(member)
    remove, kept = [], []
    if membership == "exact":
        for member in sorted(foreign, key=member_key):
            if _is_kept(member, keep):
                kept.append(member_key(member))
            else:
                remove.append(member)
    return MemberPlan(sorted(names - there), remove, kept)


def _is_kept(member: Json, keep: t.Collection[str]) -> bool:
    return str(member.get("role") or "MEMBER").lower() in keep or str(member.get("type") or "USER").lower() in keep
