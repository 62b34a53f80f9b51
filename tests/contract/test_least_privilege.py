# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/least-privilege.md says about Google's scopes; the sandbox's Google takes for each request the scopes that
Google's discovery document lists.
"""

from __future__ import annotations

import pytest

from tests.sandbox.process import Sandbox
from tests.support.module import reaching, run_module

ROOT = "https://www.googleapis.com/auth/admin.directory."
READING = ("user.readonly", "group.readonly", "domain.readonly")
WRITING = ("user", "group", "domain.readonly")
PEOPLE = [("user", name) for name in ("ada.example", "grace.example", "linus.example")]


@pytest.fixture(scope="module")
def running():
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    return running


def sync(sandbox, kind, name, scopes, check=False, **options):
    given = {"sync_object_model": kind, "sync_object_id": name, "google_scopes": [ROOT + item for item in scopes]}
    return run_module({**reaching(sandbox), **given, **options}, check=check)


def written(sandbox):
    return [item for item in sandbox.google_requests() if item["method"] != "GET" and item["path"] != "/token"]


def test_reading_is_enough_where_authentik_writes(sandbox):
    for kind, name in [*PEOPLE, ("group", "engineering")]:
        done = sync(sandbox, kind, name, READING, verify="google")
        assert (done.result["status"], done.result["basis"], done.warnings) == ("synced", "google", [])


def test_reading_is_enough_for_a_look(sandbox):
    for kind, name in [*PEOPLE, ("group", "engineering")]:
        done = sync(sandbox, kind, name, READING, check=True, engine="direct")
        assert done.result["changed"] is True and not done.failed
    assert written(sandbox) == []
    refused = sync(sandbox, "user", "ada.example", READING, engine="direct")
    assert refused.failed and "scope" in refused.result["msg"]
    assert not [user for user in sandbox.google_state()["users"] if user["primaryEmail"].startswith("ada")]


def test_three_scopes_are_enough_to_write(sandbox):
    for kind, name in [*PEOPLE, ("group", "engineering")]:
        done = sync(sandbox, kind, name, WRITING, engine="direct", membership="exact")
        assert (done.result["status"], done.warnings) == ("synced", [])
    (group,) = [item for item in sandbox.google_state()["groups"] if item["name"] == "engineering"]
    assert len(group["members"]) == 3


@pytest.mark.parametrize("missing", WRITING)
def test_each_of_them_is_needed(sandbox, missing):
    scopes = [item for item in WRITING if item != missing]
    person = sync(sandbox, "user", "ada.example", scopes, engine="direct")
    group = sync(sandbox, "group", "engineering", scopes, engine="direct")
    assert person.failed == (missing != "group")
    assert group.failed
    assert "lacks a scope" in group.result["msg"] and "google_scopes" in group.result["msg"]


def test_what_is_requested_must_be_delegated(sandbox):
    sandbox.control("POST", "google/settings", {"delegated_scopes": [ROOT + item for item in WRITING]})
    done = sync(sandbox, "user", "ada.example", (*WRITING, "group.member"), engine="direct")
    assert done.failed and ROOT + "group.member" in done.result["msg"]
