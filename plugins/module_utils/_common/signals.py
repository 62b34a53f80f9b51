# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that stop a run: it ends with the outcome so far. The same holds if whoever started the module is gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import typing as t

from . import waiting

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if getattr(signal, name, None) is not None
)
LOOK_EVERY_S = 1.0


class Stopped(BaseException):
    """A signal stopped the run. It is not an Exception, so that no error handling of a single object keeps the run going."""


@contextlib.contextmanager
def stoppable() -> t.Iterator[None]:
    """Raise Stopped in the main thread at the first signal that is not ignored; further ones change nothing.

    The other threads end their pauses: see ``waiting``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()
    caught: list[int] = []

    def stop(number: int, _frame: t.Any) -> None:
        if not caught and not ended.is_set():
            caught.append(number)
            waiting.set_stopping(True)
            raise Stopped(signal.Signals(number).name)

    waiting.set_stopping(False)
    kept = {}
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            kept[number] = signal.signal(number, stop)
    watcher = threading.Thread(target=_watch, args=(ended, os.getppid()), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        waiting.set_stopping(False)
        for number, handler in kept.items():
            signal.signal(number, handler)


def _watch(ended: threading.Event, parent: int) -> None:
    """Send SIGTERM to this process once its parent, or whoever reads its output, is gone."""
    while not ended.wait(LOOK_EVERY_S):
        if os.getppid() != parent or _nobody_reads():
            if not ended.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
            return


def _nobody_reads() -> bool:
    """Whether standard output is a pipe or socket without another end."""
    try:
        poll = select.poll()
        poll.register(sys.__stdout__.fileno(), 0)  # type: ignore[union-attr]
        return any(event & (select.POLLERR | select.POLLHUP) for _handle, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):
        return False
