# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sandbox that is lent is as one that was just started, and its clock can be moved."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.sandbox.pool import Sandboxes
from tests.sandbox.process import ControlError
from tests.support.module import reaching, run_module

OTHER = {
    "domain": "other.example.com",
    "users": [{"username": "zoe", "name": "Zoe Other", "email": "zoe@other.example.com"}],
    "groups": [{"name": "others", "members": ["zoe"]}],
}


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(OTHER))
    return path


def addresses(sandbox):
    return [user["primaryEmail"] for user in sandbox.google_state()["users"]]


def usernames(sandbox):
    return [user["username"] for user in sandbox.control("GET", "authentik/state")["users"]]


def settings(sandbox):
    return {side: sandbox.control("GET", f"{side}/settings") for side in ("google", "authentik")}


def sync(sandbox, name, **options):
    params = {**reaching(sandbox), "sync_object_model": "user", "sync_object_id": name, **options}
    return run_module(params)


def test_the_next_one_finds_nothing_of_the_one_before(other):
    with Sandboxes() as sandboxes:
        with sandboxes() as first:
            fresh = settings(first)
            names = usernames(first)
            pid, token = first.pid, first.authentik_token
            sync(first, "ada.example", engine="direct")
            first.fault("google", status=503, times=-1)
            first.control("POST", "google/settings", {"latency_ms": 5})
            first.control("POST", "authentik/settings", {"licensed": True})
        with sandboxes(dataset=other, answer_ms=1500, google_latency_ms=1) as second:
            assert (second.pid, second.authentik_token) == (pid, token)
            assert addresses(second) == ["admin@other.example.com"]
            assert "zoe" in usernames(second)
            assert not set(usernames(second)) & (set(names) - {"AnonymousUser", "akadmin"})
            second.reset()
            assert settings(second)["authentik"] == {**fresh["authentik"], "answer_ms": 1500}
            assert settings(second)["google"] == {**fresh["google"], "latency_ms": 1}
            assert sync(second, "zoe", engine="direct").result["status"] == "synced"
            assert sync(second, "zoe", engine="server").result["status"] == "unchanged"
            assert "zoe@other.example.com" in addresses(second)
        with sandboxes() as third:
            assert third.pid == pid
            assert settings(third) == fresh
            assert usernames(third) == names
            assert third.observed()["google"]["requests"] == third.observed()["authentik"]["requests"] == []
            assert third.control("GET", "google/faults") == []


def test_whoever_has_one_has_it_alone():
    with Sandboxes() as sandboxes:
        with sandboxes() as one, sandboxes() as another:
            assert one.pid != another.pid
            sync(one, "ada.example", engine="direct")
            assert len(addresses(one)) == len(addresses(another)) + 1
        with sandboxes(authentik_version="2024.8.1") as old, sandboxes() as again:
            assert again.pid in (one.pid, another.pid)
            assert old.pid not in (one.pid, another.pid)
    assert not one.is_running() and not another.is_running() and not old.is_running()


def test_one_that_has_ended_is_not_lent_again():
    with Sandboxes() as sandboxes:
        with pytest.raises(RuntimeError, match="ended with status -9"), sandboxes(google_only=True) as one:
            os.kill(one.pid, signal.SIGKILL)
            while one.is_running():
                time.sleep(0.01)
        with sandboxes(google_only=True) as another:
            assert len(addresses(another)) == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"colour": "red"}, "unknown keys: colour"),
        ({"answer_ms": -1}, "answer_ms: wrong value"),
        ({"sync_ms": "long"}, "sync_ms: wrong value"),
        ({"dataset": {"domain": "example.com", "users": [{}]}}, "username"),
        ([1], "an object"),
    ],
)
def test_a_reset_to_nonsense_is_refused_and_changes_nothing(sandboxes, body, says):
    with sandboxes() as sandbox:
        sync(sandbox, "ada.example", engine="direct")
        before = addresses(sandbox)
        with pytest.raises(ControlError, match=says):
            sandbox.control("POST", "reset", body)
        assert addresses(sandbox) == before


@pytest.mark.parametrize("body", [{}, {"forward_ms": -1}, {"forward_ms": "1"}, {"forward_ms": True}, []])
def test_the_clock_does_not_go_back(sandboxes, body):
    with sandboxes() as sandbox, pytest.raises(ControlError, match="forward_ms"):
        sandbox.control("POST", "clock", body)


def test_a_task_that_waits_for_its_retry_is_due_when_the_clock_was_moved(sandboxes):
    with sandboxes(answer_ms=100) as sandbox:
        sandbox.control("POST", "authentik/settings", {"retry_ms": 3_600_000})
        sandbox.fault("google", method="GET", path=r"/users\?", status=503)
        sync(sandbox, "ada.example", engine="server", sync_timeout=1, verify="connection")

        def state():
            (task,) = sandbox.control("GET", "authentik/state")["tasks"]
            return task["state"]

        def until(wanted):
            deadline = time.monotonic() + 20
            while state() != wanted and time.monotonic() < deadline:
                time.sleep(0.02)
            return state()

        assert until("queued") == "queued"
        assert addresses(sandbox) == ["admin@corp.example.com"]
        sandbox.forward(2 * 3600)
        assert until("done") == "done"
        assert "ada.example@corp.example.com" in addresses(sandbox)
