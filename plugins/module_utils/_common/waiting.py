# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to wait, and the clock that deadlines are of. A test that sets the clock replaces ``time`` here."""

from __future__ import annotations

import time
import typing as t

UNBOUNDED = float("inf")


def now() -> float:
    """Seconds on the clock that deadlines are of."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


class Pauses:
    """Pauses that grow.

    Args:
        first: seconds.
        factor: how much longer each is than the one before.
        longest: seconds.

    Attributes:
        next: float, the seconds of the next pause.
    """

    def __init__(self, first: float, factor: float, longest: float = UNBOUNDED) -> None:
        self.next = first
        self._factor = factor
        self._longest = longest

    def sleep(self, most: float = UNBOUNDED) -> float:
        """Wait for the next pause, for so many seconds at most. Returns the seconds."""
        seconds = min(self.next, most)
        sleep(seconds)
        self.next = min(self.next * self._factor, self._longest)
        return seconds


def poll(
    until: t.Callable[[], bool],
    deadline: float,
    first: float,
    factor: float,
    longest: float = UNBOUNDED,
    at_once: bool = True,
    shortest: t.Optional[float] = None,
) -> bool:
    """Ask again and again, with pauses in between, until the answer is yes or the time is over.

    Args:
        until: what is asked.
        deadline: a moment of now(). No pause begins that would end after it.
        first, factor, longest: the pauses; see Pauses.
        at_once: whether to ask before the first pause, too.
        shortest: seconds. With it the last pause is shortened to end at the deadline, to so many seconds at least, and what
            is asked then is the last question.

    Returns:
        The last answer.
    """
    pauses = Pauses(first, factor, longest)
    if at_once and until():
        return True
    while True:
        left = deadline - now()
        if left <= 0 if shortest is not None else pauses.next > left:
            return False
        pauses.sleep(UNBOUNDED if shortest is None else max(shortest, left))
        if until():
            return True
