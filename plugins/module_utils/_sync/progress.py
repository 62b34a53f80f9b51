# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is: phase, done of total, what differs and what was changed; told now and then, to whom was handed in."""

from __future__ import annotations

import threading
import time
import typing as t

from .._common.types import Json

TOLD_EVERY_S = 0.5


class Progress:
    """Counts, and tells at most twice a second.

    Args:
        tell: callable taking a dict: phase (str), done, total, differences, changes (int), elapsed (seconds of the
            phase, float), plan (str, the totals of the plan, or None before there is one).
    """

    def __init__(self, tell: t.Callable[[Json], None] | None = None) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._phase = ""
        self._done = self._total = self._differences = self._changes = 0
        self._began = self._told = 0.0
        self._plan: str | None = None

    def begin(self, phase: str, total: int) -> None:
        """A new phase of so many steps; 0 where nobody knows how many."""
        with self._lock:
            self._phase, self._total, self._done = phase, total, 0
            self._began = time.monotonic()
            self._say()

    def step(self, number: int = 1) -> None:
        """So many steps are done."""
        with self._lock:
            self._done += number
            if time.monotonic() - self._told >= TOLD_EVERY_S:
                self._say()

    def differ(self) -> None:
        """Another object differs."""
        with self._lock:
            self._differences += 1

    def change(self) -> None:
        """Another object, or membership, was changed."""
        with self._lock:
            self._changes += 1

    def plan(self, text: str) -> None:
        """The plan is made; told at once, since it precedes the first write."""
        with self._lock:
            self._plan = text
            self._say()

    def _say(self) -> None:
        if self._tell is None:
            return
        self._told = time.monotonic()
        line = {
            "phase": self._phase,
            "done": self._done,
            "total": self._total,
            "differences": self._differences,
            "changes": self._changes,
            "elapsed": round(self._told - self._began, 1),
            "plan": self._plan,
        }
        try:
            self._tell(line)
        except Exception:  # noqa: BLE001
            # Nobody is told any more; the run is what counts.
            self._tell = None
