# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection rows that contradict Google, found by listing both sides. Reads only.

On servers from 2024.8 to 2025.8 a row that is not exactly Google's record stops every sync of its kind. There it is looked
for after a sync has failed that way, and by google_workspace_connection and google_workspace_sync_info.
"""

from __future__ import annotations

import typing as t

from .._authentik.api import Authentik, Version
from .._common.errors import RemoteError
from .._common.kind import USER, Kind
from .._common.types import Json
from .difference import comparable

if t.TYPE_CHECKING:
    from .._google.directory import Directory
MOST_NAMED = 10


class Contradiction(t.NamedTuple):
    """One row that does not say what Google says.

    Attributes:
        row: the row.
        record: what Google has for it, or None.
        why: ``attributes``, the row's copy of the record is an old one (or none); ``volatile``, the same, but only in
            what changes by itself (a login); ``other``, the address is another
            record's by now; ``renamed``, the record has another address, and the row's is an alias of it; ``alias``, the
            row's address is an alias of somebody else's record; ``gone``, Google knows nothing by it; ``shared``, another
            object's row leads to the same record.
        stops: whether it stops every sync of its kind on servers up to 2025.8.
    """

    row: Json
    record: Json | None
    why: str
    stops: bool


def contradictions(authentik: Authentik, directory: Directory, provider: int, kind: Kind) -> list[Contradiction]:
    """The rows of a provider that contradict Google. Raises AuthentikError, GoogleError."""
    rows = list(authentik.all_connections(kind, provider))
    if not rows:
        return []
    return compare_rows(kind, rows, [record for page in directory.listed(kind) for record in page])


def compare_rows(kind: Kind, rows: t.Iterable[Json], records: t.Iterable[Json]) -> list[Contradiction]:
    """Rows against what Google lists, which trails behind for new records. Pure."""
    key = "primaryEmail" if kind == USER else "id"
    rows, records = list(rows), list(records)
    objects: dict[str, set[str]] = {}
    for row in rows:
        objects.setdefault(str(row.get("google_id")).lower(), set()).add(str(row.get(kind)))
    by_key = {str(record.get(key)): record for record in records}
    by_alias = {str(alias).lower(): record for record in records for alias in record.get("aliases") or []}
    found = []
    for row in rows:
        google_id = str(row.get("google_id"))
        attributes = row.get("attributes") if isinstance(row.get("attributes"), dict) else {}
        own_id = (attributes or {}).get("id")
        record = by_key.get(google_id)
        if len(objects[google_id.lower()]) > 1:
            found.append(Contradiction(row, record, "shared", False))
        if record is not None:
            other = bool(own_id) and own_id != record.get("id")
            if attributes != record:
                same = not other and comparable(kind, attributes or None) == comparable(kind, record)
                found.append(
                    Contradiction(row, record, "other" if other else "volatile" if same else "attributes", True)
                )
            continue
        holder = by_alias.get(google_id.lower())
        if holder is None:
            found.append(Contradiction(row, None, "gone", False))
        else:
            renamed = bool(own_id) and own_id == holder.get("id")
            found.append(Contradiction(row, holder, "renamed" if renamed else "alias", False))
    return found


def stale_rows(authentik: Authentik, provider: Json, kind: Kind, directory: Directory) -> list[Json]:
    """The rows that stop every sync of a kind before 2025.10. Raises AuthentikError, GoogleError."""
    found = contradictions(authentik, directory, int(provider["pk"]), kind)
    return [item.row for item in found if item.stops]


def stale_text(
    authentik: Authentik,
    version: Version,
    provider: Json,
    kind: Kind,
    directory: Directory | None,
    warn: t.Callable[[str], None],
) -> str:
    """Names those of a kind ("user" or "group") with the remedy; empty where there are none, or where nobody can look."""
    if version.number >= (2025, 10) or directory is None:
        return ""
    try:
        found = stale_rows(authentik, provider, kind, directory)
    except RemoteError as exc:
        warn(f"Which connections differ from Google's records could not be looked up. {exc}")
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
