# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that runs faster for the module's own waiting, so that bounds are met without anybody waiting for them."""

from __future__ import annotations

import contextlib
import time
import types
from collections.abc import Iterator
from unittest import mock

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik import client, tasks
from ansible_collections.dirsync.authentik.plugins.module_utils._google import limiter, session
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.direct import writer
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server import (
    comparison,
    directory,
    engine,
    full_sync,
    snapshot,
)

MODULES = (client, limiter, session, comparison, directory, snapshot, full_sync, engine, tasks, writer)


def _clock(times: float) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        sleep=lambda seconds: time.sleep(seconds / times),
        monotonic=lambda: time.monotonic() * times,
        time=time.time,
    )


@contextlib.contextmanager
def pacing_faster(times: float) -> Iterator[None]:
    """Let only the waiting for a request's turn run faster in this process."""
    with mock.patch.object(limiter, "time", _clock(times)):
        yield


@contextlib.contextmanager
def running_faster(times: float) -> Iterator[None]:
    """Let sleeping and the measuring of time-outs run faster in this process; sockets and both servers keep theirs."""
    clock = _clock(times)
    with contextlib.ExitStack() as stack:
        for module in MODULES:
            stack.enter_context(mock.patch.object(module, "time", clock))
        yield
