# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a run is given up."""

from __future__ import annotations

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._sync.direct.give_up import HOPELESS, IN_A_ROW, GiveUp
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.outcome import Outcome


def failed(code: str) -> Outcome:
    found = Outcome("direct")
    found.fail(f"it failed: {code}", code)
    return found


def done() -> Outcome:
    found = Outcome("direct")
    found.status = "synced"
    return found


@pytest.mark.parametrize("kind", sorted(HOPELESS))
def test_at_once_for_what_meets_every_object(kind):
    watch = GiveUp()
    watch.watch(failed(f"google_{kind}"))
    assert watch.reason == f"it failed: google_{kind}"


@pytest.mark.parametrize("kind", ["unreachable", "transient", "rate"])
def test_after_so_many_in_a_row(kind):
    watch = GiveUp()
    for _number in range(IN_A_ROW - 1):
        watch.watch(failed(f"google_{kind}"))
    assert watch.reason == ""
    watch.watch(done())
    for _number in range(IN_A_ROW - 1):
        watch.watch(failed(f"google_{kind}"))
    assert watch.reason == ""
    watch.watch(failed(f"google_{kind}"))
    assert watch.reason.startswith(f"{IN_A_ROW} objects in a row failed, the last one so: it failed")


@pytest.mark.parametrize("code", ["google_conflict", "google_invalid", "invalid_value", "protected", "mapping_failed"])
def test_never_for_what_concerns_one_object(code):
    watch = GiveUp()
    for _number in range(3 * IN_A_ROW):
        watch.watch(failed(code))
    assert watch.reason == ""


def test_the_first_reason_counts():
    watch = GiveUp()
    watch.because("first")
    watch.because("second")
    assert watch.reason == "first"
