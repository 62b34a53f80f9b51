# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Staying below Google's quota: one limiter for all requests of a run, slowed down by refusals.

Facts (Directory API's pages on limits): 2,400 queries a minute for a user and a project by default, and at most ten
creations of users a second for a domain.
"""

from __future__ import annotations

import threading
import typing as t

from .._common import waiting

# A refusal means that others use the quota, too: so much slower, and so much faster again with each calm stretch.
SLOWER, FASTER = 0.7, 1.05
CALM_S = 5.0
SLOWEST_PER_MINUTE = 30.0
# Turns that a busy host missed a moment ago may be made up for.
CREDIT_S = 0.25


class RateLimiter:
    """Spaces requests evenly, so that no window of a minute holds more than is allowed. Safe for threads.

    Args:
        per_minute: float, requests.
        creations_per_second: float, creations of users.

    Attributes:
        refusals: int, how often Google said that it was too fast.
    """

    def __init__(self, per_minute: float, creations_per_second: float) -> None:
        self._most = per_minute
        self._rate = per_minute
        self._creation_gap = 1.0 / creations_per_second
        self._next = 0.0
        self._next_creation = 0.0
        self._changed = 0.0
        self._sent = 0
        self._first = self._last = 0.0
        self._lock = threading.Lock()
        self.refusals = 0

    def wait(self, creation: bool = False) -> bool:
        """Wait for this request's turn.

        Args:
            creation: whether it creates a user.

        Returns:
            False if the run was stopped before it came.
        """
        with self._lock:
            now = waiting.now()
            if self._rate < self._most and now - self._changed > CALM_S:
                self._rate = min(self._most, self._rate * FASTER)
                self._changed = now
            due = max(self._next, now - CREDIT_S)
            turn = max(now, due)
            # With all of the credit at once, a minute still holds no more than is allowed.
            gap = (60.0 + CREDIT_S) / self._rate
            if creation:
                turn = max(turn, self._next_creation)
                self._next_creation = turn + self._creation_gap
            # Others may go before a creation's turn: only as much of the common time is taken as one request takes.
            self._next = due + gap
            self._first = self._first if self._sent else turn
            self._last = max(self._last, turn)
            self._sent += 1
        return turn <= now or waiting.pause(turn - now)

    def reached(self) -> float:
        """Requests a minute, from the first turn to the last; 0 for less than two."""
        if self._sent < 2 or self._last <= self._first:
            return 0.0
        return round((self._sent - 1) * 60.0 / (self._last - self._first), 1)

    def refused(self, pause: float) -> None:
        """Google refused a request because of its quota: slow down, and let nobody go for so many seconds."""
        with self._lock:
            now = waiting.now()
            self.refusals += 1
            if now - self._changed > 1.0:
                # Requests that were under way together are refused together: that is one sign, and not many.
                self._rate = max(min(SLOWEST_PER_MINUTE, self._most), self._rate * SLOWER)
                self._changed = now
            self._next = max(self._next, now + pause)


class Unlimited:
    """For a run of a few requests: nobody waits."""

    refusals = 0

    def wait(self, creation: bool = False) -> bool:
        """Go on at once."""
        return True

    def refused(self, pause: float) -> None:
        """Nothing to slow down."""


AnyLimiter = t.Union[RateLimiter, Unlimited]
