# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's quota: kept to when nobody else uses it, given way to when somebody does, and no call lost to a refusal."""

from __future__ import annotations

import json
import random
from datetime import datetime

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common import waiting
from ansible_collections.dirsync.authentik.plugins.module_utils._google import limiter as quota
from tests.support.module import reaching, run_module
from tests.truth.whole import MODULE, Whole, organisation

PEOPLE = 400
QUOTA = 2400
REFUSALS = [
    {"status": 403, "reason": "userRateLimitExceeded"},
    {"status": 403, "reason": "quotaExceeded", "message": "Request rate higher than configured."},
    {"status": 403, "reason": "RATE_LIMIT_EXCEEDED", "shape": "details"},
    {"status": 429, "reason": "rateLimitExceeded", "headers": {"Retry-After": "7"}},
    {"status": 503, "reason": "backendError", "message": "Quota exceeded for now"},
]


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    folder = tmp_path_factory.mktemp("quota")
    path = folder / "dataset.json"
    path.write_text(json.dumps(organisation(PEOPLE, 9)))
    with sandboxes(dataset=path) as sandbox:
        yield Whole(sandbox, folder)


@pytest.fixture
def whole(running):
    return running.fresh()


def moments(whole, method, path):
    """When Google got the requests, in seconds."""
    return [
        datetime.fromisoformat(item["time"]).timestamp()
        for item in whole.sandbox.google_requests()
        if item["method"] == method and path in item["path"]
    ]


def most_within(times, seconds):
    """The most requests that any window of so many seconds holds."""
    return max(sum(1 for other in times if 0 <= other - start < seconds) for start in times)


def test_the_quota_is_used_and_kept_to(whole):
    """By the real clock: some 400 changes at the default pace, ten seconds."""
    assert whole.sync().result["status"] == "synced"
    for number in range(PEOPLE):
        whole.control("PATCH", f"authentik/users/person-{number:02}", {"name": "Another Name"})
    whole.control("POST", "google/settings", {"quota_per_minute": QUOTA})
    whole.sandbox.clear_requests()
    options = {"models": ["user"], "safety_limits": {"changes": "100%"}}
    run = run_module({**reaching(whole.sandbox), **options}, module=MODULE)
    assert run.result["counts"]["users"]["updated"] == PEOPLE
    assert run.result["rate"]["refusals"] == 0
    times = moments(whole, "PUT", "/users/")
    assert len(times) == PEOPLE
    reached = (len(times) - 1) * 60 / (times[-1] - times[0])
    assert 0.95 * QUOTA <= reached <= QUOTA, reached
    # Evenly, so that no window of a minute can hold more than is allowed.
    assert most_within(times, 5) <= 1.15 * QUOTA / 60 * 5


def test_at_most_ten_people_are_made_in_a_second(whole):
    """By the real clock, for some of them."""
    names = [f"user:person-{number:02}" for number in range(45)]
    run = run_module({**reaching(whole.sandbox), "objects": names}, module=MODULE)
    assert run.result["counts"]["users"]["created"] == 45
    times = moments(whole, "POST", "/users")
    assert most_within(times, 1.0) <= 10
    assert 44 / (times[-1] - times[0]) > 8


@pytest.mark.parametrize("seed", range(2))
def test_no_call_is_lost_to_refusals(whole, seed):
    """Others use the quota, too: a fifth of all requests is refused, in every form that there is."""
    chosen = random.Random(seed)
    whole.quiet = False
    faults = [{**chosen.choice(REFUSALS), "skip": chosen.randrange(PEOPLE), "times": 1} for _turn in range(120)]
    whole.control("POST", "google/faults", [{**item, "path": "/admin/directory/"} for item in faults])
    run = whole.sync(membership="exact")
    assert run.result["status"] == "synced", run.result
    assert run.result["failed_total"] == 0
    assert run.result["counts"]["users"]["created"] == PEOPLE + 1
    refused = len([item for item in whole.sandbox.google_requests() if item["status"] in (403, 429, 503)])
    assert run.result["rate"]["refusals"] == refused >= 80
    whole.calm()
    assert whole.sync(membership="exact").result["status"] == "unchanged"


def test_refusals_slow_down_and_calm_lets_go_again(monkeypatch):
    now = [0.0]
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(waiting.time, "sleep", sleep)
    limiter = quota.RateLimiter(600, 9)

    def pace(requests):
        began = now[0]
        for _turn in range(requests):
            limiter.wait()
        return requests * 60 / (now[0] - began)

    assert pace(100) == pytest.approx(600, rel=0.02)
    limiter.refused(2.0)
    began = now[0]
    limiter.wait()
    assert now[0] - began >= 2.0
    assert pace(20) < 450
    for _turn in range(60):
        pace(100)
    assert pace(100) == pytest.approx(600, rel=0.02)


def test_a_small_quota_is_never_exceeded_because_of_a_refusal(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    limiter = quota.RateLimiter(10, 9)
    limiter.wait()
    now[0] += 10
    limiter.refused(1.0)
    times = []
    for _turn in range(30):
        limiter.wait()
        times.append(now[0])
    assert most_within(times, 60) <= 11
