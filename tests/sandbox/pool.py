# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sandboxes that are started once and lent to one user after the other, for tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.sandbox.process import NEWEST, Sandbox


class Sandboxes:
    """As a context manager: a sandbox of each server version, started when one is first asked for, and ended at its end.

    ``sandboxes(dataset=…, authentik_version=…, answer_ms=…)`` is a context manager that takes the options of ``Sandbox``
    and gives one that is as if it had just been started with them. Whoever has it, has it alone: a second one of the same
    version is started only while the first one is lent.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[str, bool], list[Sandbox]] = {}

    def __enter__(self) -> Sandboxes:
        return self

    def __exit__(self, *_exc: object) -> None:
        with contextlib.ExitStack() as stack:
            for free in self._free.values():
                for sandbox in free:
                    stack.push(sandbox)
            self._free.clear()

    @contextlib.contextmanager
    def __call__(
        self, *, authentik_version: str = NEWEST, google_only: bool = False, **start: Any
    ) -> Iterator[Sandbox]:
        """Lend a sandbox."""
        free = self._free.setdefault((authentik_version, google_only), [])
        sandbox = self._taken(free)
        if sandbox is None:
            sandbox = Sandbox(authentik_version=authentik_version, google_only=google_only).__enter__()
        try:
            sandbox.begin(**start)
            yield sandbox
        finally:
            if not sandbox.is_running() or sandbox.violations():
                # Its end says what it ended with, or what was wrong, to whoever had it.
                sandbox.__exit__(None, None, None)
            else:
                free.append(sandbox)

    @staticmethod
    def _taken(free: list[Sandbox]) -> Sandbox | None:
        return free.pop() if free else None
