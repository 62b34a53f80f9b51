# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many writes may have been performed: what ``changed`` rests on when a run ends by an error that nobody listed."""

from __future__ import annotations

import contextlib
import threading
import typing as t


class Writes:
    """Counts writes from before they are sent, unless they are known not to have been performed. Safe for threads.

    Attributes:
        total: int, of all threads.
    """

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()
        self._own = threading.local()

    @property
    def of_thread(self) -> int:
        """Those of the calling thread."""
        return int(getattr(self._own, "count", 0))

    @contextlib.contextmanager
    def sending(self, refused: t.Callable[[BaseException], bool]) -> t.Iterator[None]:
        """Count one write.

        Args:
            refused: tells of what was raised whether the write is known not to have been performed.
        """
        self._add(1)
        try:
            yield
        except BaseException as exc:
            if refused(exc):
                self._add(-1)
            raise

    def _add(self, number: int) -> None:
        with self._lock:
            self.total += number
        self._own.count = self.of_thread + number
