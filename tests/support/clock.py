# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that runs faster for the module's own waiting, so that bounds are met without anybody waiting for them."""

from __future__ import annotations

import contextlib
import time
import types
from collections.abc import Iterator
from unittest import mock

from ansible_collections.dirsync.authentik.plugins.module_utils._common import waiting
from ansible_collections.dirsync.authentik.plugins.module_utils._google import limiter


def _clock(times: float) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        sleep=lambda seconds: time.sleep(seconds / times),
        monotonic=lambda: time.monotonic() * times,
    )


@contextlib.contextmanager
def pacing_faster(times: float) -> Iterator[None]:
    """Let only the waiting for a request's turn run faster in this process."""
    clock = _clock(times)

    def pause(seconds: float) -> bool:
        clock.sleep(seconds)
        return True

    with mock.patch.object(limiter, "waiting", types.SimpleNamespace(now=clock.monotonic, pause=pause)):
        yield


@contextlib.contextmanager
def running_faster(times: float) -> Iterator[None]:
    """Let sleeping and the measuring of time-outs run faster in this process; sockets and both servers keep theirs."""
    with mock.patch.object(waiting, "time", _clock(times)):
        yield
