# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both sides side by side: connections, people, groups and members that do not find each other. Pure."""

from __future__ import annotations

import typing as t

from .._common.kind import USER, Kind
from .._common.types import Json
from .._objects.contradictions import Contradiction
from .._objects.record import address_of
from .._objects.target import Target, scope
from .connection import described
from .findings import Findings

MOST_NAMED = 10


def named(items: t.Sequence[str]) -> str:
    """Some names, and how many more there are."""
    shown = ", ".join(items[:MOST_NAMED])
    return "%s and %d more" % (shown, len(items) - MOST_NAMED) if len(items) > MOST_NAMED else shown


def in_scope(provider: Json, people: t.Iterable[Json]) -> list[Json]:
    """The people whom a provider syncs."""
    return [person for person in people if scope(provider, Target(USER, person)) is None]


def without_row(objects: t.Iterable[Json], rows: t.Iterable[Json], kind: Kind) -> list[Json]:
    """The objects that have no connection."""
    linked = {str(row.get(kind)) for row in rows}
    return [item for item in objects if str(item.get("pk")) not in linked]


def members_without_account(
    groups: t.Iterable[Json], rows: t.Iterable[Json], people: t.Iterable[Json]
) -> dict[str, list[str]]:
    """By group, the usernames of direct members who have no connection, and whom authentik leaves out silently."""
    linked = {int(row["user"]) for row in rows}
    names = {int(person["pk"]): str(person.get("username")) for person in people}
    found: dict[str, list[str]] = {}
    for group in groups:
        lacking = sorted(names.get(pk, str(pk)) for pk in group.get("users") or [] if pk not in linked)
        if lacking:
            found[str(group.get("name"))] = lacking
    return found


def doubled(rows: t.Iterable[Json], kind: Kind) -> list[str]:
    """The objects that have more than one connection, over which a full sync can stumble."""
    seen: dict[str, int] = {}
    for row in rows:
        seen[str(row.get(kind))] = seen.get(str(row.get(kind)), 0) + 1
    return sorted(pk for pk, count in seen.items() if count > 1)


def find_contradictions(kind: Kind, found: t.Sequence[Contradiction], tolerant: bool, findings: Findings) -> list[Json]:
    """The contradictions as facts; what they mean goes into the findings."""
    shown = [described(kind, item, tolerant) for item in found if item.why != "volatile" or not tolerant]
    stopping = [item["google_id"] for item in shown if item["stops_syncs"]]
    if stopping:
        findings.add(
            "error",
            "rows_stop_syncs",
            "%d connections of %ss are not exactly Google's records: %s." % (len(stopping), kind, named(stopping)),
            f"On servers from 2024.8 to 2025.8 each of them stops every sync of {kind}s: the endpoint answers 405.",
            "Run google_workspace_connection with state: repaired, use engine: direct, or update authentik to 2025.10 or later.",
        )
    for code, severity, meaning, remedy in (
        (
            "alias",
            "error",
            "The next sync would overwrite another account.",
            "Remove the connection (google_workspace_connection, state: absent) and give the object another address in authentik.",
        ),
        (
            "other",
            "warning",
            "The account that authentik linked is gone, and another one has its address now.",
            "Check whose it is; remove the connection if it is somebody else's.",
        ),
        (
            "gone",
            "warning",
            "The next sync creates it again; a group gets a new id.",
            "Sync the object, or remove the connection.",
        ),
        ("renamed", "notice", "authentik reaches it as long as Google keeps the old address as an alias.", ""),
    ):
        items = [item["google_id"] for item in shown if item["code"] == code]
        if items:
            what = "%d connections of %ss: %s. %s." % (len(items), kind, named(items), shown_why(shown, code))
            findings.add(severity, f"connections_{code}", what, meaning, remedy)
    return shown


def shown_why(shown: t.Sequence[Json], code: str) -> str:
    text = next(item["why"] for item in shown if item["code"] == code)
    return text[:1].upper() + text[1:]


def unlinked_at_google(objects: t.Iterable[Json], records: t.Iterable[Json], kind: Kind) -> tuple[list[str], list[str]]:
    """Of objects without a connection: (those whose account or group exists at Google, those that are not there)."""
    if kind == USER:
        known = {address_of(record).lower() for record in records}
        there = [(str(item.get("username")), str(item.get("email") or "").lower() in known) for item in objects]
    else:
        known = {str(record.get("name")) for record in records}
        there = [(str(item.get("name")), str(item.get("name")) in known) for item in objects]
    return [name for name, found in there if found], [name for name, found in there if not found]
