# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bounded number of threads, and ``map`` over them."""

from __future__ import annotations

import collections
import concurrent.futures
import typing as t

# Per thread; enough that none waits for work, few enough that a long list is not all under way at once.
AHEAD = 4


class Pool:
    """Threads for requests, as a context manager.

    Args:
        workers: how many at once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor = concurrent.futures.ThreadPoolExecutor(workers)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: t.Any, *_rest: t.Any) -> None:
        self._executor.shutdown(wait=True)

    def map(self, function: t.Callable[[t.Any], t.Any], items: t.Iterable[t.Any]) -> t.Iterator[t.Any]:
        """Like ``map``: results in the order of the items, and an exception where its result would be."""
        waiting: collections.deque[t.Any] = collections.deque()
        try:
            for item in items:
                waiting.append(self._executor.submit(function, item))
                if len(waiting) >= self._workers * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def each(self, function: t.Callable[[t.Any], t.Any], items: t.Iterable[t.Any]) -> None:
        """Call for each item, for what it does."""
        for _nothing in self.map(function, items):
            pass
