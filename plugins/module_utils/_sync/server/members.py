# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group's members: whom a sync adds, whom authentik leaves out, and what cannot be known of them."""

from __future__ import annotations

import typing as t

from ..._authentik.errors import AuthentikError
from ..._common.kind import GROUP, USER
from ..._common.types import Json
from ..._objects.difference import member_key
from ..outcome import operation
from .comparison import Comparison
from .observation import Observation

# Up to so many members are asked for one by one; more are cheaper as one list.
FEW_MEMBERS = 10


def check(case: Comparison, after: Observation) -> None:
    """Name the members that authentik skipped, and do not claim those that Google does not show."""
    if case.target.kind != GROUP:
        return
    unlinked, absent = missing(case, after)
    case.outcome.skipped_members = sorted(unlinked)
    if unlinked:
        case.warn(
            "authentik left out %d of the group's members, who have no Google account through this provider: %s. Sync them "
            "first, then the group again." % (len(unlinked), ", ".join(sorted(unlinked)))
        )
    if absent and case.wait(after, lambda look: not missing(case, look)[1]) is not None:
        case.finish()
    elif absent:
        case.outcome.status = "unconfirmed"
        case.warn("Google does not show these members of %s yet: %s." % (case.target, ", ".join(sorted(absent))))


def predict(case: Comparison, creating: bool) -> None:
    """The members that a sync would insert."""
    outcome, before = case.outcome, case.before
    if case.target.kind != GROUP:
        return
    if not before.seen:
        if not creating:
            assume(case)
        return
    unlinked, absent = missing(case, before)
    outcome.skipped_members = sorted(unlinked)
    if unlinked:
        case.warn(
            "authentik would leave out %d of the group's members, who have no Google account through this provider: %s."
            % (len(unlinked), ", ".join(sorted(unlinked)))
        )
    if absent:
        addresses = sorted(
            member_key(item) for item in case.target.data.get("users_obj") or [] if item.get("username") in absent
        )
        outcome.changes.append({"path": "members", "added": addresses, "removed": []})
        group = str((before.record or case.wanted or {}).get("email") or "")
        outcome.operations.extend(operation("POST", "member", item, group=group) for item in addresses)
        outcome.changed = True
        if outcome.status == "unchanged":
            outcome.status = "synced"
        if outcome.after is not None:
            outcome.after["members"] = sorted((outcome.after.get("members") or []) + addresses)


def assume(case: Comparison) -> None:
    """A group's members are not in authentik's row: without Google nobody knows whether one was new."""
    if case.target.kind == GROUP and case.target.data.get("users") and not case.outcome.changed:
        case.outcome.changed = True
        case.outcome.basis = "assumed"
        case.warn(
            "Whether members of %s were added cannot be seen without Google, so that it changed is assumed. Let the module "
            "read Google (verify: google) to know." % case.target
        )


def missing(case: Comparison, look: Observation) -> t.Tuple[t.List[str], t.List[str]]:
    """authentik's members that Google's group lacks: (usernames without a connection, usernames with one)."""
    there = set(look.roles) | {str(item.get("id")) for item in look.members}
    lacking = [
        item
        for item in case.target.data.get("users_obj") or []
        if str(item.get("email") or "").lower() not in there or not item.get("email")
    ]
    unlinked, absent = [], []
    for person, rows in _rows_of(case, lacking):
        names = {
            str(value).lower()
            for row in rows
            for value in (
                row.get("google_id"),
                (row.get("attributes") or {}).get("id"),
                (row.get("attributes") or {}).get("primaryEmail"),
            )
            if value
        }
        if not rows:
            unlinked.append(str(person.get("username")))
        elif not names & there:
            absent.append(str(person.get("username")))
    return unlinked, absent


def _rows_of(case: Comparison, people: t.List[Json]) -> t.Iterator[t.Tuple[Json, t.List[Json]]]:
    """Each person with the rows that connect them; nobody where the rows cannot be read."""
    if case.member_rows is None:
        case.member_rows = {}
        provider = int(case.provider["pk"])
        try:
            if len(people) > FEW_MEMBERS:
                for row in case.authentik.all_connections(USER, provider):
                    case.member_rows.setdefault(str(row.get("user")), []).append(row)
            else:
                for person in people:
                    pk = str(person["pk"])
                    case.member_rows[pk] = case.authentik.connections(USER, provider, pk)
        except AuthentikError as exc:
            case.member_rows_readable = False
            case.warn(
                "Google does not show these members of %s, and whether they have a Google account cannot be told: %s. %s"
                % (case.target, ", ".join(sorted(str(item.get("username")) for item in people)), exc)
            )
    if case.member_rows_readable:
        for person in people:
            yield person, case.member_rows.get(str(person["pk"]), [])
