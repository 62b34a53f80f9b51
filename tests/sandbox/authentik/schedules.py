# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the full sync of a provider is due: shown and changed by the API, but no time passes in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

CRONTAB = "19 */4 * * *"
# Minute, hour, day of the month, month, day of the week.
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
# The moment that pausing sets a schedule back to.
EPOCH = "1970-01-01T00:00:00Z"


@dataclass
class Schedule:
    """A provider's schedule. ``send`` works whether it is paused or not."""

    id: str
    provider: int
    crontab: str = CRONTAB
    paused: bool = False
    next_run: str = ""

    def __post_init__(self) -> None:
        self.next_run = self.next_run or next_run(self.crontab)

    def change(self, crontab: str | None, paused: bool | None) -> None:
        """Take over what a request changes; raises ValueError for a crontab that is none."""
        if crontab is not None and crontab != self.crontab:
            self.next_run = next_run(crontab)
            self.crontab = crontab
        if paused is not None:
            if paused and not self.paused:
                self.next_run = EPOCH
            self.paused = paused


def next_run(crontab: str) -> str:
    """The next minute at which a crontab is due, as authentik writes times."""
    parts = crontab.split()
    if len(parts) != len(BOUNDS):
        raise ValueError(crontab)
    minutes, hours, days, months, weekdays = (
        _values(part, *bounds) for part, bounds in zip(parts, BOUNDS, strict=True)
    )
    moment = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    for _ in range(366 * 24 * 60):
        moment += timedelta(minutes=1)
        if (
            moment.minute in minutes
            and moment.hour in hours
            and moment.day in days
            and moment.month in months
            and moment.isoweekday() % 7 in weekdays
        ):
            break
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _values(part: str, low: int, high: int) -> set[int]:
    """What one field of a crontab stands for: ``*``, numbers, ranges and steps, separated by commas."""
    found: set[int] = set()
    for item in part.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        start = low if span == "*" else int(first)
        end = high if span == "*" or (step and not last) else int(last or first)
        if not low <= start <= end <= high or (step and int(step) < 1):
            raise ValueError(part)
        found.update(range(start, end + 1, int(step or 1)))
    return found
