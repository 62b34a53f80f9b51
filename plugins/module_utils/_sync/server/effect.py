# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sync of one object changed, from what was read before and after. Pure."""

from __future__ import annotations

import typing as t

from ..._common.kind import GROUP, USER, Kind
from ..._common.types import Json
from ..._objects.difference import changes, member_changes
from ..._objects.record import address_of
from ..plan import Operation
from .observation import Observation


class States(t.NamedTuple):
    """The two states that a diff shows.

    Attributes:
        before, after: Google's record, or what authentik's connection keeps of it; None if there is none.
        members_before, members_after: {member: role}, or None if a diff does not show them.
    """

    before: Json | None
    after: Json | None
    members_before: t.Mapping[str, str] | None = None
    members_after: t.Mapping[str, str] | None = None


class Effect(t.NamedTuple):
    """What changed, or would change.

    Attributes:
        changed: bool; basis: str, as the result shows them.
        changes: the differences, as the result shows them.
        operations: tuple of Operation.
        states: States.
        assumption: why what changed is assumed, for a warning; empty if it is not.
    """

    changed: bool
    basis: str
    states: States
    changes: t.Sequence[Json] = ()
    operations: t.Sequence[Operation] = ()
    assumption: str = ""


def nothing(kind: Kind, before: Observation) -> Effect:
    """What is known before anything was sent: nothing changed."""
    return Effect(False, "nothing_sent", states_of(kind, before, before))


def by_authentik(method: str, resource: str, key: str, group: str = "", body: Json | None = None) -> Operation:
    """A write of authentik's, performed or expected; see Operation.

    Args:
        method: empty if it is not known which.
    """
    return Operation(method, resource, key, body or {}, {}, group, "authentik")


def are_comparable(before: Observation, after: Observation) -> bool:
    """Whether Google was read before and after."""
    return before.seen and after.seen


def states_of(kind: Kind, before: Observation, after: Observation) -> States:
    """The states before and after: Google's if it was read both times, else authentik's record of it."""
    if not are_comparable(before, after):
        return States(before.attributes or None, after.attributes or None)
    roles = (before.roles, after.roles) if kind == GROUP else (None, None)
    return States(record_before(before, after), after.record, *roles)


def observed(kind: Kind, before: Observation, after: Observation) -> Effect:
    """What changed at Google as far as it was read before and after; else it is assumed that nothing did."""
    states = states_of(kind, before, after)
    if not are_comparable(before, after):
        return Effect(False, "assumed", states)
    found = changes(kind, states.before, after.record)
    if kind == GROUP:
        found.extend(member_changes(before.roles, after.roles))
    if before.incomplete and before.record is None and after.record is not None:
        assumption = "Whether the record was at Google before the sync is not known; that it changed is assumed."
        return Effect(bool(found), "assumed", states, found, (), assumption)
    if not was_hidden(before, after):
        return Effect(bool(found), "google", states, found, _operations(kind, before, after, states))
    if before.attributes:
        return Effect(bool(found), "connection", states, found, _operations(kind, before, after, states))
    assumption = "Google did not show the record before the sync, though it was there; that it changed is assumed."
    return Effect(bool(found), "assumed", states, found, (), assumption)


def may_have_been_hidden(before: Observation, after: Observation) -> bool:
    """Whether only the connection after the sync shows if Google did not show a record that was there."""
    return _appeared(before, after) and not before.attributes.get("id")


def was_hidden(before: Observation, after: Observation) -> bool:
    """Whether Google did not show a record that was there: authentik has kept its connection, or it has that one's very id.

    authentik removes a connection whose record is gone and makes a new one; ids are never given twice.
    """
    if not _appeared(before, after):
        return False
    if before.attributes.get("id"):
        return bool(before.attributes["id"] == (after.record or {}).get("id"))
    return after.row is not None and not is_renewed(before, after)


def record_before(before: Observation, after: Observation) -> Json | None:
    """Google's record before the sync; if Google did not show it, what authentik's connection kept of it."""
    return before.attributes or None if was_hidden(before, after) else before.record


def is_renewed(before: Observation, after: Observation) -> bool:
    """Whether authentik's connection is another one than before."""
    return bool((before.row or {}).get("id") != (after.row or {}).get("id"))


def from_connections(kind: Kind, before: Observation, after: Observation) -> Effect:
    """What changed according to authentik's connections before and after; what was written is not in them."""
    states = states_of(kind, before, after)
    if after.row is None:
        return Effect(False, "connection", states)
    if not is_renewed(before, after):
        found = changes(kind, before.attributes, after.attributes)
        if before.attributes or not after.attributes:
            return Effect(bool(found), "connection", states, found)
        # A connection without Google's answer, made by hand or by adoption: what was at Google is not known.
        assumption = "authentik kept no record of what stood at Google before, so that it changed is assumed."
        return Effect(bool(found), "assumed", states, found, (), assumption)
    if not after.attributes:
        return Effect(False, "connection", states)
    found = changes(kind, before.attributes or None, after.attributes)
    if _was_missing(before, after):
        return Effect(True, "connection", states, found)
    # Created, taken over, or found by its address when its creation was refused: the connection is the same then.
    assumption = (
        "authentik has a new connection for it, which does not tell what stood at Google before, so that it "
        "changed is assumed. Let the module read Google (verify: google) to know."
    )
    return Effect(True, "assumed", states, found, (), assumption)


def connection_operations(kind: Kind, before: Observation, after: Observation) -> t.Sequence[Operation]:
    """The write that authentik's connection proves, of a sync that is known to have written."""
    google_id = (after.row or {}).get("google_id")
    if not is_renewed(before, after):
        key = google_id if kind == USER else after.attributes.get("email") or google_id
        return (by_authentik("PUT", kind, str(key)),)
    if kind == USER:
        # Created or taken over: the connection does not show which, so no method is claimed.
        return (by_authentik("", kind, str(google_id)),)
    # A group whose creation was refused is linked as it is, and nothing is written.
    return (by_authentik("POST", kind, str(after.attributes.get("email"))),) if _was_missing(before, after) else ()


def _appeared(before: Observation, after: Observation) -> bool:
    """Whether Google shows a record after the sync only, of an object that was connected before."""
    return (
        are_comparable(before, after) and before.record is None and after.record is not None and before.row is not None
    )


def _was_missing(before: Observation, after: Observation) -> bool:
    """Whether Google was seen not to hold what authentik has a new connection for."""
    return before.seen and before.record is None and not before.incomplete and is_renewed(before, after)


def _operations(kind: Kind, before: Observation, after: Observation, states: States) -> list[Operation]:
    """The writes that two reads of Google prove."""
    if after.record is None:
        return []
    key = address_of(after.record)
    renewed = states.before is None or states.before.get("id") != after.record.get("id")
    found = []
    if renewed or changes(kind, states.before, after.record):
        found.append(by_authentik("POST" if renewed else "PUT", kind, key))
    if kind == GROUP:
        added = set(after.roles) - (set() if renewed else set(before.roles))
        found.extend(by_authentik("POST", "member", member, key) for member in sorted(added))
    return found
