# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The totals of a plan, as numbers and in one line. Pure."""

from __future__ import annotations

import typing as t

from .._common.kind import KINDS, Kind
from .._common.types import Json
from .guard.safety_limits import SafetyLimit

# What the line always says, and what it says where there is any.
_ALWAYS = (("creations", "create"), ("updates", "update"), ("suspensions", "suspend"), ("deletions", "delete"))
_WHERE_ANY = (
    ("reactivations", "reactivate"),
    ("renames", "rename"),
    ("adoptions", "take over"),
    ("unlinked", "unlink"),
)


def plan_summary(
    totals: t.Mapping[str, t.Mapping[Kind, int]], limits: t.Sequence[SafetyLimit], forced: bool, left_alone: int
) -> Json:
    """The totals of a plan, as the result and the report show them.

    Args:
        totals: DirectoryPlan.totals().
        limits: the safety limits of the run, and those of groups that are exceeded.
        forced: whether exceeded limits are overridden.
        left_alone: how many groups are left alone because of their own limit.

    Returns:
        {"counts": {"users", "groups": {effect: int}}, "text": str}.
    """
    counts = {kind + "s": {name: numbers[kind] for name, numbers in totals.items()} for kind in KINDS}
    return {"counts": counts, "text": _text(totals, limits, forced, left_alone)}


def _text(
    totals: t.Mapping[str, t.Mapping[Kind, int]], limits: t.Sequence[SafetyLimit], forced: bool, left_alone: int
) -> str:
    sums = {name: sum(numbers.values()) for name, numbers in totals.items()}
    parts = ["%d %s" % (sums[name], verb) for name, verb in _ALWAYS]
    parts += ["%d %s" % (sums[name], verb) for name, verb in _WHERE_ANY if sums[name]]
    parts.append("%d members to add" % sums["additions"])
    parts.append("%d to remove" % sums["removals"])
    text = "plan: %s; %s" % (", ".join(parts), _state([limit for limit in limits if limit.exceeded], forced))
    if left_alone:
        text += "; %d group%s left alone (safety_limits.removals_per_group)" % (
            left_alone,
            "" if left_alone == 1 else "s",
        )
    return text


def _state(exceeded: t.Sequence[SafetyLimit], forced: bool) -> str:
    stopping = exceeded if forced else [limit for limit in exceeded if not limit.group]
    if not stopping:
        return "within all safety limits"
    named = ", ".join("%s %d of %d allowed" % (limit.name, limit.planned, limit.allowed) for limit in stopping[:5]) + (
        " and %d more" % (len(stopping) - 5) if len(stopping) > 5 else ""
    )
    return "beyond safety limits%s: %s" % (" (overridden by force)" if forced else "", named)
