# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/least-privilege.md says about authentik's permissions, and about Google's scopes; the sandbox's Google takes for
each request the scopes that Google's discovery document lists.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from tests.support.module import reaching, run_module

ROOT = "https://www.googleapis.com/auth/admin.directory."
READING = ("user.readonly", "group.readonly", "domain.readonly")
WRITING = ("user", "group", "domain.readonly")
PEOPLE = [("user", name) for name in ("ada.example", "grace.example", "linus.example")]


@pytest.fixture(scope="module")
def running(sandboxes):
    with sandboxes() as sandbox:
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


# authentik's permissions, as the tables of the page list them

GUIDE = Path(__file__).parents[2] / "docs" / "least-privilege.md"
GWS = "authentik_providers_google_workspace"
ROWS_OF_BOTH = [
    f"{GWS}.{verb}_googleworkspaceprovider{kind}" for verb in ("add", "delete") for kind in ("user", "group")
]
DIRECT = "With `engine: direct`, for one object or the whole directory:"
SERVER = "What `google_workspace_sync_object` needs with `engine: server`:"


def table(heading):
    """The rows below a heading: (permissions, what is said to happen without them)."""
    lines = GUIDE.read_text().partition(heading + "\n")[2].strip().split("\n")
    rows = []
    for line in itertools.takewhile(lambda line: line.startswith("|"), lines):
        named, without = (cell.strip() for cell in line.strip("|").split("|"))
        found = re.findall(r"`([a-z_]+\.[a-z_]+)`", named)
        if "*add* and *delete* of the same two" in named:
            found = ROWS_OF_BOTH
        if found:
            rows.append((found, without))
    return rows


def sync_with(sandbox, permissions, kind, name, **options):
    """Sync as somebody with these permissions and no others; None as name: the whole directory."""
    body = {"username": "automation", "permissions": sorted(permissions)}
    token = sandbox.control("POST", "authentik/tokens", body)["token"]
    given = {**reaching(sandbox), "authentik_token": token, **options}
    if name is None:
        return run_module({**given, "models": [kind], "fail_on_objects": False}, module="google_workspace_sync")
    return run_module({**given, "sync_object_model": kind, "sync_object_id": name})


def jobs(heading):
    if heading == SERVER:
        return [("user", "ada.example", {"engine": "server"}), ("group", "engineering", {"engine": "server"})]
    return [
        *[(kind, name, {"engine": "direct"}) for kind, name in (("user", "ada.example"), ("group", "engineering"))],
        ("user", None, {"engine": "direct"}),
        ("group", None, {"engine": "direct"}),
    ]


@pytest.mark.parametrize("heading", [SERVER, DIRECT])
def test_the_permissions_of_the_page_are_enough(sandbox, heading):
    rows = table(heading)
    assert len(rows) >= 4
    everything = [name for names, _without in rows for name in names]
    for kind, name, options in jobs(heading):
        sandbox.reset()
        done = sync_with(sandbox, everything, kind, name, **options)
        assert not done.failed and done.result["changed"], done.result
        # The sandbox has some people whom Google would refuse, whatever the permissions.
        assert {item["code"] for item in done.result.get("failed_objects", ())} <= {"invalid_value"}
        assert not any("ermission" in text for text in done.warnings), done.warnings


@pytest.mark.parametrize("heading", [SERVER, DIRECT])
def test_without_one_of_them_happens_what_the_page_says(sandbox, heading):
    rows = table(heading)
    everything = {name for names, _without in rows for name in names}
    tried = []
    for names, without in rows:
        for name in names:
            for kind, whom, options in jobs(heading):
                other = "group" if kind == "user" else "user"
                if name.endswith(f"provider{other}") or (name.endswith(f"view_{other}") and kind == "user"):
                    # The other kind's.
                    continue
                if name.endswith("view_user") and whom is not None and kind == "group":
                    continue
                sandbox.reset()
                done = sync_with(sandbox, everything - {name}, kind, whom, **options)
                tried.append((name, kind, whom))
                if without.startswith("the task fails"):
                    assert done.failed, (name, kind, whom, done.result)
                else:
                    # A warning, where the permission matters for this job at all.
                    assert not done.failed, (name, kind, whom, done.result)
    assert len(tried) > len(everything)
