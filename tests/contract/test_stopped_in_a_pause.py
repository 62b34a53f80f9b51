# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A signal comes while a request to Google waits to be sent again: the run leaves at once and says what is known of the write."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from tests.sandbox.process import Sandbox
from tests.support.google import unvaried
from tests.support.runner import Run
from tests.truth.whole import DOMAIN, Whole, organisation

# Seconds that Google asks to wait, and in which the run leaves: a second, and what a busy machine takes to end a process.
ASKED, LEAVES_WITHIN = 40, 5
BUSY = {"status": 503, "reason": "backendError", "message": "Service unavailable"}
QUOTA = {"status": 429, "reason": "rateLimitExceeded", "message": "Quota exceeded"}
PERSON = {"sync_object_model": "user", "sync_object_id": "person-01"}
OBJECT = {"module": "google_workspace_sync_object", "engine": "direct", **PERSON}
RUNS: dict[str, dict[str, Any]] = {
    "one object": OBJECT,
    "a directory, one thread": {"parallel": 1, "models": ["user"]},
    "a directory, four threads": {"parallel": 4, "models": ["user"]},
}
EACH_RUN = pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
PUT, POST = {"method": "PUT", "path": "/users/"}, {"method": "POST", "path": r"/users(\?|$)"}
CONNECTION = {"sync_object_model": "user", "sync_object_id": "person-01", "google_id": f"admin@{DOMAIN}"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paused")
    path = folder / "dataset.json"
    path.write_text(json.dumps(organisation(6, 2)))
    with Sandbox(dataset=path) as sandbox:
        yield Whole(sandbox, folder)


@pytest.fixture
def whole(running):
    return running.fresh()


@pytest.fixture
def drifted(whole):
    """Accounts that have another name."""
    for person in ("akadmin", *(f"person-{number:02}" for number in range(6))):
        name = {"givenName": "Some", "familyName": "Body"}
        assert whole.control("POST", "google/users", {"primaryEmail": f"{person}@{DOMAIN}", "name": name})
    return whole


def in_a_pause(whole: Whole, fault: dict[str, Any], name: str, **options: Any) -> dict[str, Any]:
    """Run until Google has given the faulty answer, send a signal, and return the result."""
    whole.sandbox.fault("google", headers={"Retry-After": str(ASKED)}, times=-1, **fault)
    run = Run(whole, faster=1, **{**options, "request_timeout": 3 * ASKED})
    deadline = time.monotonic() + 60
    while not any(item["status"] == fault["status"] for item in whole.sandbox.google_requests()):
        assert time.monotonic() < deadline
        assert run.process.poll() is None, run.process.communicate()
        time.sleep(0.02)
    time.sleep(0.3)
    run.process.send_signal(getattr(signal, name))
    started = time.monotonic()
    out, errors = run.process.communicate(timeout=60)
    assert time.monotonic() - started < LEAVES_WITHIN, errors
    result = json.loads(out.strip().splitlines()[-1])
    assert result["code"] == "stopped", (result, errors)
    assert name in result["msg"]
    return result


def writes(whole: Whole) -> list[dict[str, Any]]:
    log = whole.sandbox.google_requests()
    return [item for item in log if item["method"] != "GET" and item["path"] != "/token"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
@EACH_RUN
def test_a_write_that_google_may_have_performed(drifted, options, name):
    before = unvaried(drifted.sandbox.google_state())
    result = in_a_pause(drifted, {**BUSY, **PUT}, name, **options)
    assert unvaried(drifted.sandbox.google_state()) == before
    assert result["status"] == "failed"
    # A thread may still look whether it was performed.
    assert not result["changed"] or result["basis"] == "assumed"
    assert 1 <= len(writes(drifted)) <= options.get("parallel", 1)


@EACH_RUN
def test_a_write_that_google_performed_behind_its_answer(drifted, options):
    before = unvaried(drifted.sandbox.google_state())
    result = in_a_pause(drifted, {**BUSY, **PUT, "when": "after"}, "SIGTERM", **options)
    assert unvaried(drifted.sandbox.google_state()) != before
    assert result["changed"] is True
    assert 1 <= len(writes(drifted)) <= options.get("parallel", 1)


@EACH_RUN
def test_a_write_that_google_refused(whole, options):
    before = unvaried(whole.sandbox.google_state())
    result = in_a_pause(whole, {**QUOTA, **POST}, "SIGTERM", **options)
    assert unvaried(whole.sandbox.google_state()) == before
    assert (result["changed"], result["status"]) == (False, "failed")
    assert 1 <= len(writes(whole)) <= options.get("parallel", 1)


@EACH_RUN
def test_a_read(whole, options):
    result = in_a_pause(whole, {**BUSY, "method": "GET", "path": "/users"}, "SIGTERM", **options)
    assert (result["changed"], result["status"]) == (False, "failed")
    assert writes(whole) == []


def test_a_module_that_configures(whole):
    result = in_a_pause(
        whole,
        {**BUSY, "method": "GET", "path": "/users"},
        "SIGTERM",
        module="google_workspace_connection",
        google_wait=None,
        **CONNECTION,
    )
    assert (result["changed"], result["operations"]) == (False, [])
