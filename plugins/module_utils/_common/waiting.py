# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to wait, and the clock that deadlines are of. A test that sets the clock replaces ``time`` here.

A run that is stopped waits for nothing any more: its main thread leaves by an exception, and its other threads end each pause.
"""

from __future__ import annotations

import threading
import time
import typing as t

UNBOUNDED = float("inf")
# How long a thread may not notice that the run is stopped.
SLICE_S = 0.25


class _Run:
    """Whether the run is being stopped. Set by a signal's handler, which may interrupt anything: a plain value, no lock."""

    stopping = False


def set_stopping(value: bool) -> None:
    """Note that the run is being stopped, or that there is a new one."""
    _Run.stopping = value


def is_stopping() -> bool:
    """Whether the run is being stopped."""
    return _Run.stopping


def now() -> float:
    """Seconds on the clock that deadlines are of."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def pause(seconds: float) -> bool:
    """Wait, unless the run is or gets stopped.

    Returns:
        False if it is stopped: what was waited for is not to be tried any more.
    """
    if threading.current_thread() is threading.main_thread():
        # A signal ends this sleep by an exception.
        if not is_stopping():
            sleep(seconds)
        return not is_stopping()
    left = seconds
    while left > 0 and not is_stopping():
        sleep(min(left, SLICE_S))
        left -= SLICE_S
    return not is_stopping()


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
        """Wait for the next pause, for so many seconds at most; not if the run is stopped. Returns the seconds."""
        seconds = min(self.next, most)
        pause(seconds)
        self.next = min(self.next * self._factor, self._longest)
        return seconds


def poll(
    until: t.Callable[[], bool],
    deadline: float,
    first: float,
    factor: float,
    longest: float = UNBOUNDED,
    at_once: bool = True,
    shortest: float | None = None,
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
        The last answer; False once the run is stopped.
    """
    pauses = Pauses(first, factor, longest)
    if at_once and until():
        return True
    while True:
        left = deadline - now()
        if left <= 0 if shortest is not None else pauses.next > left:
            return False
        pauses.sleep(UNBOUNDED if shortest is None else max(shortest, left))
        if is_stopping():
            return False
        if until():
            return True
