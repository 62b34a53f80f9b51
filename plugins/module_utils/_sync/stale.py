# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""The connection rows that stop every sync on servers from 2024.8 to 2025.8: those that are not exactly Google's record.

Looked for only after a sync has failed that way, since it takes a listing of both sides. Reads only.
"""

from __future__ import annotations

import typing as t

from .._authentik.api import Authentik, Version
from .._authentik.errors import AuthentikError
from .._google.errors import GoogleError

if t.TYPE_CHECKING:
    from .._google.directory import Directory

Json = t.Dict[str, t.Any]
MOST_NAMED = 10


def stale_rows(authentik: Authentik, provider: Json, kind: str, directory: Directory) -> t.List[Json]:
    """The rows whose attributes differ from what Google's listing shows. Raises AuthentikError, GoogleError."""
    rows: t.Dict[str, t.List[Json]] = {}
    for row in authentik.all_connections(kind, int(provider["pk"])):
        rows.setdefault(str(row.get("google_id")), []).append(row)
    key = "primaryEmail" if kind == "user" else "id"
    return [
        row
        for page in directory.listed(kind)
        for record in page
        for row in rows.get(str(record.get(key)), [])
        if row.get("attributes") != record
    ]


def stale_text(
    authentik: Authentik,
    version: Version,
    provider: Json,
    kind: str,
    directory: t.Optional[Directory],
    warn: t.Callable[[str], None],
) -> str:
    """Names those of a kind ("user" or "group") with the remedy; empty where there are none, or where nobody can look."""
    if version.number >= (2025, 10) or directory is None:
        return ""
    try:
        found = stale_rows(authentik, provider, kind, directory)
    except (AuthentikError, GoogleError) as exc:
        warn("Which connections differ from Google's records could not be looked up. %s" % exc)
        return ""
    if not found:
        return ""
    named = ", ".join(
        "%s of %s %s (%s)" % (row.get("google_id"), kind, row.get(kind), row.get("id")) for row in found[:MOST_NAMED]
    )
    return (
        "%d connection%s differ%s from Google's records and stop%s every sync of %ss through this provider: %s%s. Delete %s in "
        "authentik (nothing is deleted at Google; the next sync links the record again), use engine: direct, or update "
        "authentik to 2025.10 or later."
        % (
            len(found),
            "s" if len(found) > 1 else "",
            "" if len(found) > 1 else "s",
            "" if len(found) > 1 else "s",
            kind,
            named,
            " and more" if len(found) > MOST_NAMED else "",
            "them" if len(found) > 1 else "it",
        )
    )
