# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceilings on damage, held against a whole plan before anything of it is written. Pure."""

from __future__ import annotations

import math
import re
import typing as t

from ..._common.types import Json


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
