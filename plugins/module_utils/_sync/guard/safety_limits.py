# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceilings on damage, held against a whole plan before anything of it is written. Pure."""

from __future__ import annotations

import math
import re
import typing as t

from ..._common.kind import KINDS, USER, Kind
from ..._common.types import Json
from ..plan import ObjectPlan


class Limit(t.NamedTuple):
    """A number, or a share of what Google has.

    Attributes:
        text: str, as it was given.
        number: float.
        percent: bool.
    """

    text: str
    number: float
    percent: bool

    def of(self, total: int, shard: t.Tuple[int, int] = (0, 1)) -> int:
        """What it allows of so many.

        Args:
            shard: (index, count): the part of it that falls to one of so many runs side by side. All parts together are
                what is allowed, and never more.
        """
        whole = math.ceil(total * self.number / 100.0) if self.percent else int(self.number)
        index, count = shard
        return whole // count + (1 if index < whole % count else 0)


def parse_limit(option: str, text: str) -> Limit:
    """A limit as users write it: ``10`` or ``5%``.

    Raises:
        ValueError: naming the option and what it wants.
    """
    match = re.match(r"^\s*(\d{1,9}(?:\.\d{1,3})?)\s*(%?)\s*$", text)
    if not match or (match.group(2) and float(match.group(1)) > 100) or (not match.group(2) and "." in match.group(1)):
        raise ValueError(
            "%s must be a whole number or a percentage from 0%% to 100%%, such as 10 or 5%%, not '%s'." % (option, text)
        )
    return Limit(text.strip(), float(match.group(1)), bool(match.group(2)))


class Guard(t.NamedTuple):
    """One ceiling and what is planned.

    Attributes:
        option: str, the option that sets it.
        limit: Limit; allowed: int, what it allows here.
        planned: int; total: int, of so many.
        what: str, what is counted, in words.
    """

    option: str
    limit: Limit
    allowed: int
    planned: int
    total: int
    what: str

    @property
    def exceeded(self) -> bool:
        return self.planned > self.allowed

    def text(self) -> str:
        """In words."""
        return "%d %s (of %d), more than %s: %s allows (%d)" % (
            self.planned,
            self.what,
            self.total,
            self.option,
            self.limit.text,
            self.allowed,
        )

    def shown(self, forced: bool) -> Json:
        """As the result shows it."""
        return {
            "option": self.option,
            "limit": self.limit.text,
            "allowed": self.allowed,
            "planned": self.planned,
            "total": self.total,
            "what": self.what,
            "exceeded": self.exceeded,
            "overridden": self.exceeded and forced,
        }


def held_against(
    option: str, limit: Limit, planned: int, total: int, what: str, shard: t.Tuple[int, int] = (0, 1)
) -> Guard:
    """A ceiling held against a plan.

    Args:
        planned: how many are planned; total: of how many.
        shard: (index, count), see Limit.of.
    """
    return Guard(option, limit, limit.of(total, shard), planned, total, what)


def limits_of_plan(
    totals: t.Mapping[str, t.Mapping[Kind, int]],
    found: t.Mapping[Kind, int],
    limits: t.Mapping[str, Limit],
    kinds: t.Collection[Kind],
    named: bool,
    shard: t.Tuple[int, int],
) -> t.List[Guard]:
    """The safety limits of a whole run.

    Args:
        totals: DirectoryPlan.totals().
        found: how many records of each kind Google lists.
        limits: {option: Limit}.
        kinds: those that the run is about.
        named: whether the run is about named objects; who is named is not listed: there is nothing to take a share of.
        shard: (index, count), see Limit.of.
    """
    guards: t.List[Guard] = []
    limit = limits["max_suspensions"]
    if not (named and limit.percent):
        text, planned = "accounts would be suspended", totals["suspensions"][USER]
        guards.append(held_against("max_suspensions", limit, planned, found[USER], text, shard))
    for kind in () if named else tuple(kind for kind in KINDS if kind in kinds):
        text, planned = "%ss would be deleted" % kind, totals["deletions"][kind]
        guards.append(held_against("max_deletions", limits["max_deletions"], planned, found[kind], text, shard))
    return guards


def limits_of_group(plan: ObjectPlan, limits: t.Mapping[str, Limit]) -> Guard:
    """The safety limit of one group's removals."""
    return held_against(
        "max_removals_per_group",
        limits["max_removals_per_group"],
        len(plan.members.remove),
        len(plan.observed or []),
        "members of group %s would be removed" % plan.name,
    )


def exceeded_text(texts: t.Sequence[str]) -> str:
    """The first five of so many limits that are exceeded."""
    return "; ".join(texts[:5]) + (" and %d more" % (len(texts) - 5) if len(texts) > 5 else "")
