# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Safety limits: what a whole plan, and what the plan of one group, may do before anything of it is written. Pure."""

from __future__ import annotations

import math
import re
import typing as t

from ..._common.kind import GROUP, USER, Kind
from ..._common.types import Json
from ..plan import ObjectPlan

OPTION = "safety_limits"
# The suboptions of safety_limits and their defaults; docs/safety-limits.md says what each protects against.
DEFAULTS = {
    "suspensions": "5%",
    "deletions": "1%",
    "creations": "50",
    "renames": "5%",
    "reactivations": "5%",
    "adoptions": "25",
    "removals": "20%",
    "removals_per_group": "50%",
    "unlinked": "5%",
    "changes": "50%",
    "missing": "10%",
}
FLOOR = 3
HIGHEST_FLOOR = 1000000
# The limits on the effects of a plan on records, in the order of the result; with the kinds that they are about, and in words.
_COUNTED: tuple[tuple[str, tuple[Kind, ...], str], ...] = (
    ("suspensions", (USER,), "accounts would be suspended or archived"),
    ("deletions", (USER, GROUP), "%ss would be deleted"),
    ("creations", (USER, GROUP), "%ss would be created"),
    ("renames", (USER, GROUP), "%ss would get another address"),
    ("reactivations", (USER,), "accounts would be reactivated"),
    ("adoptions", (USER, GROUP), "%ss would be taken over that no connection leads to"),
    ("unlinked", (USER, GROUP), "connections of %ss would be removed"),
    ("changes", (USER, GROUP), "%ss would be changed"),
)
# Those that are no part of what is managed so far.
_FROM_NOTHING = ("creations", "adoptions")
MOST_NAMED = 5


class Limit(t.NamedTuple):
    """A number, or a share of what is managed.

    Attributes:
        text: str, as it was given.
        number: float.
        percent: bool.
    """

    text: str
    number: float
    percent: bool

    def of(self, total: int, shard: tuple[int, int] = (0, 1), floor: int = 0) -> int:
        """What it allows of so many.

        Args:
            total: of how many, counted alike in all shards.
            shard: (index, count): the part of it that falls to one of so many runs side by side. All parts together are
                what is allowed, and never more.
            floor: what a share allows at least; 0% allows nothing.
        """
        return shared_out(max(self._share(total), floor if self.number else 0) if self.percent else self._whole, shard)

    def of_part(self, total: int, shard: tuple[int, int] = (0, 1), floor: int = 0) -> int:
        """What it allows of so many that only this shard has counted.

        All shards together allow no more than one run would; so a floor, of which each would take its part, counts only where
        there is one shard.
        """
        if not self.percent or shard[1] == 1:
            return self.of(total, shard, floor)
        return int(total * self.number / 100.0)

    def _share(self, total: int) -> int:
        return math.ceil(total * self.number / 100.0)

    @property
    def _whole(self) -> int:
        return int(self.number)


def shared_out(number: int, shard: tuple[int, int]) -> int:
    """The part of a number that falls to one of (index, count) runs."""
    index, count = shard
    return number // count + (1 if index < number % count else 0)


class SafetyLimits(t.NamedTuple):
    """All safety limits of a run.

    Attributes:
        limits: {suboption: Limit}, each of DEFAULTS.
        floor: int, what each share allows at least.
    """

    limits: t.Mapping[str, Limit]
    floor: int


def parse_limit(option: str, text: str) -> Limit:
    """A limit as users write it: ``10`` or ``5%``.

    Raises:
        ValueError: naming the option and what it wants.
    """
    match = re.match(r"^\s*(\d{1,9}(?:\.\d{1,3})?)\s*(%?)\s*$", text)
    if not match or (match.group(2) and float(match.group(1)) > 100) or (not match.group(2) and "." in match.group(1)):
        raise ValueError(
            f"{option} must be a whole number or a percentage from 0% to 100%, such as 10 or 5%, not '{text}'."
        )
    return Limit(text.strip(), float(match.group(1)), bool(match.group(2)))


def parse_limits(given: t.Mapping[str, t.Any] | None) -> SafetyLimits:
    """The option safety_limits; what is not given keeps its default.

    Args:
        given: {suboption: text, number or None}.

    Raises:
        ValueError: naming the suboption and what it wants.
    """
    values = {name: value for name, value in (given or {}).items() if value is not None}
    unknown = sorted(set(values) - set(DEFAULTS) - {"floor"})
    if unknown:
        raise ValueError(
            "%s.%s is not a safety limit; there are %s." % (OPTION, unknown[0], ", ".join([*DEFAULTS, "floor"]))
        )
    floor = values.get("floor", FLOOR)
    if isinstance(floor, bool) or not isinstance(floor, int) or not 0 <= floor <= HIGHEST_FLOOR:
        raise ValueError("%s.floor must be a whole number from 0 to %d, not %s." % (OPTION, HIGHEST_FLOOR, floor))
    limits = {
        name: parse_limit(f"{OPTION}.{name}", str(values.get(name, default))) for name, default in DEFAULTS.items()
    }
    return SafetyLimits(limits, floor)


class SafetyLimit(t.NamedTuple):
    """One safety limit and what is planned.

    Attributes:
        name: str, the suboption that sets it.
        limit: Limit; allowed: int, what it allows here.
        planned: int; total: int, of so many.
        what: str, what is counted, in words.
        group: str, the name of the group that it is about; empty for one of the run.
    """

    name: str
    limit: Limit
    allowed: int
    planned: int
    total: int
    what: str
    group: str = ""

    @property
    def exceeded(self) -> bool:
        return self.planned > self.allowed

    def text(self) -> str:
        """In words."""
        return "%d %s%s, more than %s.%s: %s allows (%d)" % (
            self.planned,
            self.what,
            "" if self.name in _FROM_NOTHING else " (of %d)" % self.total,
            OPTION,
            self.name,
            self.limit.text,
            self.allowed,
        )

    def shown(self, forced: bool) -> Json:
        """As the result shows it."""
        found: Json = {
            "option": self.name,
            "limit": self.limit.text,
            "allowed": self.allowed,
            "planned": self.planned,
            "of": self.total,
            "what": self.what,
            "exceeded": self.exceeded,
            "overridden": self.exceeded and forced,
        }
        return dict(found, group=self.group) if self.group else found


class Managed(t.NamedTuple):
    """What shares are taken of.

    Attributes:
        records: {Kind: int}, the connections of the provider, and the records that its objects have without one; or the objects
            that were named.
        members: how many members the groups of this run have at Google.
        named: whether the run is about named objects.
    """

    records: t.Mapping[Kind, int]
    members: int
    named: bool


def limits_of_plan(
    totals: t.Mapping[str, t.Mapping[Kind, int]],
    managed: Managed,
    limits: SafetyLimits,
    kinds: t.Collection[Kind],
    shard: tuple[int, int],
    most_of_group: int = 0,
    keeps_connections: bool = True,
) -> list[SafetyLimit]:
    """The safety limits of a whole run. A number, and a share, hold for users and for groups separately.

    Args:
        totals: DirectoryPlan.totals().
        managed: Managed.
        limits: SafetyLimits.
        kinds: those that the run is about.
        shard: (index, count), see Limit.of.
        most_of_group: how many members are to be removed from a single group within its own limit: a share of all members
            allows at least as many.
        keeps_connections: whether the server keeps connections of the direct engine; where it does not, to find a record by
            its address is no adoption.
    """
    found: list[SafetyLimit] = []
    for name, about, text in _COUNTED:
        limit = limits.limits[name]
        if name == "adoptions" and not keeps_connections:
            continue
        if name == "changes" and managed.named and limit.percent:
            # Whoever names objects does so because they differ.
            continue
        for kind in (kind for kind in about if kind in kinds):
            total = managed.records[kind]
            what = text % kind if "%s" in text else text
            allowed = limit.of(total, shard, limits.floor)
            found.append(SafetyLimit(name, limit, allowed, totals[name][kind], total, what))
    if GROUP in kinds:
        found.append(_removals(totals["removals"][GROUP], managed.members, limits, shard, most_of_group))
    return found


def _removals(
    planned: int, members: int, limits: SafetyLimits, shard: tuple[int, int], most_of_group: int
) -> SafetyLimit:
    limit = limits.limits["removals"]
    allowed = limit.of_part(members, shard, limits.floor)
    if limit.percent and limit.number and shard[1] == 1:
        allowed = max(allowed, most_of_group)
    return SafetyLimit("removals", limit, allowed, planned, members, "members would be removed from groups")


def limit_of_group(plan: ObjectPlan, limits: SafetyLimits) -> SafetyLimit:
    """The safety limit of one group's removals."""
    limit, total = limits.limits["removals_per_group"], len(plan.observed or [])
    what = f"members of group {plan.name} would be removed"
    allowed = limit.of(total, floor=limits.floor)
    return SafetyLimit("removals_per_group", limit, allowed, len(plan.members.remove), total, what, plan.name)


def limit_of_listing(kind: Kind, side: str, missing: int, connected: int, limits: SafetyLimits) -> SafetyLimit:
    """The safety limit of what a listing does not show.

    Args:
        side: whose listing, "Google" or "authentik".
        missing: how many connected records or objects it does not show; connected: of how many.
    """
    limit = limits.limits["missing"]
    what = f"connected {kind}s are missing in {side}'s listing"
    return SafetyLimit("missing", limit, limit.of(connected, floor=limits.floor), missing, connected, what)


def exceeded_text(found: t.Sequence[SafetyLimit]) -> str:
    """The first five of so many limits that are exceeded."""
    texts = [limit.text() for limit in found]
    more = " and %d more" % (len(texts) - MOST_NAMED) if len(texts) > MOST_NAMED else ""
    return "; ".join(texts[:MOST_NAMED]) + more


def raise_text(found: t.Sequence[SafetyLimit]) -> str:
    """The suboptions to raise where limits are exceeded, each once."""
    names = list(dict.fromkeys(f"{OPTION}.{limit.name}" for limit in found))
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
