# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of a group: added, left out by authentik, not shown yet. Pure."""

from __future__ import annotations

import typing as t

from ..._common.kind import GROUP
from ..._common.types import Json
from ..._objects.difference import member_key
from ..._objects.record import address_of
from .conclusion import Decision, concluded
from .effect import Effect, by_authentik
from .facts import Facts, Question
from .observation import Observation

ASSUMED = (
    "Whether members of %s were added cannot be seen without Google, so that it changed is assumed. Let the module "
    "read Google (verify: google) to know."
)


class Missing(t.NamedTuple):
    """authentik's members of a group that Google does not show.

    Attributes:
        unlinked: the usernames of those without a connection, whom authentik leaves out, sorted.
        absent: the usernames of the others, sorted.
        addresses: the addresses of the absent ones, sorted.
    """

    unlinked: t.Sequence[str] = ()
    absent: t.Sequence[str] = ()
    addresses: t.Sequence[str] = ()


def shown(facts: Facts) -> Decision:
    """What a sync did after which the record has the wanted values, with its members."""
    effect, after = facts.effect, facts.seen_after
    status = "synced" if effect.changed else "unchanged"
    if facts.kind != GROUP:
        return concluded(facts, effect, status)
    if _are_connections_open(facts, after):
        return Question.MEMBER_CONNECTIONS
    found = missing(facts, after)
    if found.absent and Question.MEMBERS_SHOWN not in facts.answered:
        return Question.MEMBERS_SHOWN
    warnings = []
    if found.unlinked:
        warnings.append(
            "authentik left out %d of the group's members, who have no Google account through this provider: %s. Sync them "
            "first, then the group again." % (len(found.unlinked), ", ".join(found.unlinked))
        )
    if found.absent:
        status = "unconfirmed"
        warnings.append("Google does not show these members of %s yet: %s." % (facts.title, ", ".join(found.absent)))
    return concluded(facts, effect, status, *warnings)._replace(skipped_members=found.unlinked)


def predicted(facts: Facts, effect: Effect, creating: bool) -> Decision:
    """What a sync would do, with the members that it would add.

    Args:
        effect: without them.
        creating: whether the group would be created.
    """
    before = facts.before
    status = "synced" if effect.changed else "unchanged"
    if facts.kind != GROUP:
        return concluded(facts, effect, status)
    if not before.seen:
        effect, warnings = (effect, ()) if creating else assumed(facts, effect)
        return concluded(facts, effect, status, *warnings)
    if _are_connections_open(facts, before):
        return Question.MEMBER_CONNECTIONS
    found = missing(facts, before)
    warnings = ()
    if found.unlinked:
        text = (
            "authentik would leave out %d of the group's members, who have no Google account through this provider: %s."
        )
        warnings = (text % (len(found.unlinked), ", ".join(found.unlinked)),)
    if found.absent:
        status = "synced"
        effect = _with_added(effect, found.addresses, address_of(before.record or facts.wanted_record))
    return concluded(facts, effect, status, *warnings)._replace(skipped_members=found.unlinked)


def _with_added(effect: Effect, addresses: t.Sequence[str], group: str) -> Effect:
    states = effect.states
    added = dict.fromkeys(addresses, "MEMBER")
    return effect._replace(
        changed=True,
        changes=[*effect.changes, {"path": "members", "added": list(addresses), "removed": []}],
        operations=[*effect.operations, *(by_authentik("POST", "member", item, group) for item in addresses)],
        states=states._replace(members_after=dict(states.members_after or {}, **added)),
    )


def _are_connections_open(facts: Facts, found: Observation) -> bool:
    return Question.MEMBER_CONNECTIONS not in facts.answered and bool(not_shown(facts, found))


def not_shown(facts: Facts, found: Observation) -> list[Json]:
    """authentik's members of a group that Google does not list by their e-mail."""
    there = _names_of(found)
    return [
        item for item in facts.members if str(item.get("email") or "").lower() not in there or not item.get("email")
    ]


def missing(facts: Facts, found: Observation) -> Missing:
    """authentik's members of a group that Google does not show; empty if their connections are not readable."""
    if facts.member_connections is None:
        return Missing()
    there = _names_of(found)
    unlinked, absent = [], []
    for item in not_shown(facts, found):
        rows = facts.member_connections.get(str(item["pk"]), ())
        if not rows:
            unlinked.append(item)
        elif not _names_in(rows) & there:
            absent.append(item)
    return Missing(
        sorted(str(item.get("username")) for item in unlinked),
        sorted(str(item.get("username")) for item in absent),
        sorted(member_key(item) for item in absent),
    )


def assumed(facts: Facts, effect: Effect) -> tuple[Effect, tuple[str, ...]]:
    """A group's members are not in authentik's connection: without Google nobody knows whether one was added.

    Returns:
        (the effect with that, warnings).
    """
    if facts.kind != GROUP or not facts.has_members or effect.changed:
        return effect, ()
    return effect._replace(changed=True, basis="assumed"), (ASSUMED % facts.title,)


def _names_of(found: Observation) -> set[str]:
    return set(found.roles) | {str(item.get("id")) for item in found.members}


def _names_in(rows: t.Sequence[Json]) -> set[str]:
    """What members with these connections are called at Google."""
    return {
        str(value).lower()
        for row in rows
        for value in (
            row.get("google_id"),
            (row.get("attributes") or {}).get("id"),
            (row.get("attributes") or {}).get("primaryEmail"),
        )
        if value
    }
