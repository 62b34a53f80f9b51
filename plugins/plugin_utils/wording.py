# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sync changed, as a person would write it down, for the terminal."""

from __future__ import annotations

import json
import typing as t

from ..module_utils._common.types import Json

OBJECTS_SHOWN = 20
MEMBERS_SHOWN = 10
LONGEST = 100


def sentences(result: Json, explained: bool) -> list[str]:
    """A line for each object that changed, or would.

    Args:
        result: of google_workspace_sync_object or google_workspace_sync.
        predicted: whether nothing was written: check mode.

    Returns:
        list of str without control characters; empty where nothing changed.
    """
    if "object" in result:
        items: t.Sequence[Json] = [dict(result["object"] or {}, changes=result.get("changes"))]
        more = 0
    else:
        items = t.cast(t.Sequence[Json], result.get("changes") or [])
        more = int(result.get("changes_total") or 0) - min(len(items), OBJECTS_SHOWN)
    explained = explained or result.get("status") == "dry_run"
    found = [_sentence(item, explained) for item in items[:OBJECTS_SHOWN] if item.get("changes")]
    if "object" in result and result.get("basis") == "assumed":
        found = [f"{text} (assumed, see the warning)" for text in found]
    if more > 0:
        found.append("and %d more" % more)
    return found


def _sentence(item: Json, explained: bool) -> str:
    kind = str(item.get("model") or "").rpartition(".")[2].lower() or "object"
    action = item.get("action")
    text = "; ".join(_difference(change) for change in item["changes"])
    if action and action != "updated":
        text = "%s (%s)" % (action, text)
    return "%s %s%s: %s" % (kind, _value(item.get("name")), " would change" if explained else "", text)


def _difference(change: Json) -> str:
    path = str(change.get("path"))
    if path == "members":
        parts = ["%s %s" % (word, _listed(change.get(word) or ())) for word in ("added", "removed") if change.get(word)]
        return "members %s" % ", ".join(parts)
    before, after = change.get("before"), change.get("after")
    if before in (None, "", [], {}):
        return f"{path} set to {_value(after)}"
    if after in (None, "", [], {}):
        return f"{path} {_value(before)} removed"
    return f"{path} from {_value(before)} to {_value(after)}"


def _listed(members: t.Sequence[t.Any]) -> str:
    shown = ", ".join(_value(item) for item in members[:MEMBERS_SHOWN])
    return shown + (" and %d more" % (len(members) - MEMBERS_SHOWN) if len(members) > MEMBERS_SHOWN else "")


def _value(value: t.Any) -> str:
    """A value on one line; what a directory holds must not steer a terminal."""
    text = value if isinstance(value, str) and value == value.strip() else json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
