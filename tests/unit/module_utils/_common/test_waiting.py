# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting: how long, how often, and that there is one place for it."""

from __future__ import annotations

import re
import threading
import time
import types

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common import waiting
from tests.support.tree import ROOT


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves; what was slept is in ``slept``."""
    found = types.SimpleNamespace(now=100.0, slept=[])

    def sleep(seconds):
        found.slept.append(seconds)
        found.now += seconds

    monkeypatch.setattr(waiting, "time", types.SimpleNamespace(monotonic=lambda: found.now, sleep=sleep))
    return found


def asked(answers):
    """A question with prepared answers, then no for ever; and how often it was asked."""
    count = []

    def until():
        count.append(1)
        return len(count) <= len(answers) and answers[len(count) - 1]

    return until, count


@pytest.mark.parametrize(
    ("answers", "how", "answer", "slept"),
    [
        ([True], {}, True, []),
        ([False, True], {}, True, [1.0]),
        ([True], {"at_once": False}, True, [1.0]),
        # No pause that would end after the deadline.
        ([], {}, False, [1.0, 2.0, 4.0]),
        ([], {"longest": 2.0}, False, [1.0, 2.0, 2.0, 2.0, 2.0]),
        ([], {"at_once": False}, False, [1.0, 2.0, 4.0]),
        # A last pause up to the deadline.
        ([], {"shortest": 0.5}, False, [1.0, 2.0, 4.0, 3.0]),
        ([], {"shortest": 3.5}, False, [1.0, 2.0, 4.0, 3.5]),
        ([False, False, False, False, True], {"shortest": 0.5}, True, [1.0, 2.0, 4.0, 3.0]),
    ],
)
def test_polling(clock, answers, how, answer, slept):
    until, count = asked(answers)
    assert waiting.poll(until, 110.0, 1.0, 2.0, **how) is answer
    assert clock.slept == slept
    assert len(count) == len(slept) + how.get("at_once", True)


@pytest.mark.parametrize("how", [{}, {"shortest": 0.5}])
def test_polling_past_the_deadline_asks_once(clock, how):
    until, count = asked([])
    assert waiting.poll(until, 99.0, 1.0, 2.0, **how) is False
    assert (len(count), clock.slept) == (1, [])


def test_a_question_that_raises_ends_the_polling(clock):
    def until():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        waiting.poll(until, 110.0, 1.0, 2.0)
    assert clock.slept == []


def test_pauses_grow_up_to_the_longest_and_are_cut_to_what_is_left(clock):
    pauses = waiting.Pauses(0.5, 1.6, 1.0)
    assert [pauses.sleep(), pauses.sleep(), pauses.sleep(), pauses.sleep(0.25)] == pytest.approx([0.5, 0.8, 1.0, 0.25])


def test_a_stopped_run_waits_for_nothing(clock):
    waiting.set_stopping(True)
    try:
        assert waiting.pause(5.0) is False
        until, count = asked([False, True])
        assert waiting.poll(until, 110.0, 1.0, 2.0) is False
        assert (len(count), clock.slept) == (1, [])
    finally:
        waiting.set_stopping(False)


def test_a_thread_notices_that_the_run_is_stopped():
    found = []
    thread = threading.Thread(target=lambda: found.append(waiting.pause(60.0)))
    thread.start()
    waiting.set_stopping(True)
    thread.join(10)
    waiting.set_stopping(False)
    assert found == [False]


def test_a_thread_waits_as_long_as_asked():
    found = []
    started = time.monotonic()
    thread = threading.Thread(target=lambda: found.append(waiting.pause(0.4)))
    thread.start()
    thread.join(10)
    assert found == [True]
    assert time.monotonic() - started >= 0.4


def test_nothing_else_sleeps():
    folder = ROOT / "plugins" / "module_utils"
    found = [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*.py"))
        if re.search(r"\btime\.sleep\b|from time import|\.Event\(\)|\.wait\(timeout", path.read_text())
    ]
    # In signals.py a thread of its own waits for the end of the run; no engine waits there.
    assert found == ["_common/signals.py", "_common/waiting.py"]
