# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a run."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common import signals


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_stops_once(number):
    kept = signal.getsignal(number)
    seen = []
    with signals.stoppable():
        try:
            os.kill(os.getpid(), number)
            time.sleep(1)
        except signals.Stopped as exc:
            seen.append(str(exc))
        # A second one changes nothing.
        os.kill(os.getpid(), number)
        time.sleep(0.05)
    assert seen == [signal.Signals(number).name]
    assert signal.getsignal(number) is kept


def test_an_ignored_signal_stays_ignored():
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
    finally:
        signal.signal(signal.SIGHUP, kept)


def test_a_parent_that_is_gone_stops(monkeypatch):
    monkeypatch.setattr(signals, "LOOK_EVERY_S", 0.01)
    parent = os.getppid()
    with pytest.raises(signals.Stopped, match="SIGTERM"), signals.stoppable():
        monkeypatch.setattr(signals.os, "getppid", lambda: parent + 1)
        time.sleep(5)
