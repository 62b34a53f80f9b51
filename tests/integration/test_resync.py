# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook resync_on_change without a rulebook: both engines, the members of groups, check mode, and wrong input."""

from __future__ import annotations

import pytest

from tests.support.playbook import run_playbook
from tests.support.tree import ROOT

PLAYBOOK = ROOT / "playbooks" / "resync_on_change.yml"
GROUP = "engineering"


@pytest.fixture(scope="module")
def running(sandboxes):
    with sandboxes() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    return running


def group(sandbox):
    (found,) = [item for item in sandbox.control("GET", "authentik/state")["groups"] if item["name"] == GROUP]
    return found


def run(sandbox, objects, *arguments, **variables):
    environment = {
        "AUTHENTIK_URL": f"{sandbox.authentik_url}/",
        "AUTHENTIK_TOKEN": sandbox.authentik_token,
        "GOOGLE_WORKSPACE_API_ENDPOINT": sandbox.google_api_endpoint,
    }
    given = {"resync_provider_name": "gws", "resync_retries": 1, "resync_delay": 0, **variables}
    if objects is not None:
        given["resync_objects"] = objects
    done = run_playbook(PLAYBOOK, given, *arguments, environment=environment)
    assert sandbox.authentik_token not in done.stdout + done.stderr
    return done


def addresses(sandbox):
    return {user["primaryEmail"] for user in sandbox.google_state()["users"]} - {"admin@corp.example.com"}


def members(sandbox):
    """The addresses of the members of the group at Google; None if it is not there."""
    found = [item["members"] for item in sandbox.google_state()["groups"] if item["name"] == GROUP]
    return {member["email"] for member in found[0]} if found else None


def wanted(sandbox):
    users = {user["pk"]: user["email"] for user in sandbox.control("GET", "authentik/state")["users"]}
    return {users[pk] for pk in group(sandbox)["users"]}


@pytest.mark.parametrize("engine", ["direct", "server"])
def test_a_group_and_its_members(sandbox, engine):
    done = run(sandbox, f"group:{group(sandbox)['pk']}", resync_engine=engine)
    assert done.returncode == 0, done.stdout[-3000:]
    assert wanted(sandbox) and addresses(sandbox) == members(sandbox) == wanted(sandbox)
    read = [item["path"] for item in sandbox.authentik_requests() if "/core/groups/" in item["path"]]
    # Once for the members, and once for its own sync.
    assert len(read) == 2


def test_a_limit_of_0_syncs_no_members(sandbox):
    done = run(sandbox, f"group:{group(sandbox)['pk']} user:6", resync_members_limit=0)
    assert done.returncode == 0, done.stdout[-3000:]
    assert len(addresses(sandbox)) == 1 and members(sandbox) == addresses(sandbox) & wanted(sandbox)


def test_check_mode_reads_the_members_and_writes_nothing(sandbox):
    done = run(sandbox, f"group:{group(sandbox)['pk']}", "--check")
    assert done.returncode == 0, done.stdout[-3000:]
    assert addresses(sandbox) == set() and members(sandbox) is None
    read = {item["path"] for item in sandbox.authentik_requests()}
    assert {f"/api/v3/core/users/{pk}/" for pk in group(sandbox)["users"]} <= read


def test_a_group_that_was_deleted_is_named_and_the_others_go_on(sandbox):
    gone = "01234567-89ab-cdef-0123-456789abcdef"
    done = run(sandbox, f"group:{gone} user:6")
    assert len(addresses(sandbox)) == 1
    # The direct engine takes a primary key that authentik does not know for an object that was deleted.
    assert done.returncode == 0, done.stdout[-3000:]
    assert gone in done.stdout


def test_members_that_cannot_be_read_fail_the_run_and_not_the_others(sandbox):
    fault = {"method": "GET", "path": "core/groups/", "status": 403, "body": '{"detail": "no"}', "times": -1}
    sandbox.control("POST", "authentik/faults", fault)
    done = run(sandbox, f"group:{group(sandbox)['pk']} user:6")
    assert done.returncode != 0 and "Not in sync, after 1 retries" in done.stdout
    assert len(addresses(sandbox)) == 1


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ("user:6 user:x", "the event was not understood: Entry 2 has no primary key of a user"),
        (None, "neither resync_objects nor ansible_eda is defined"),
    ],
)
def test_wrong_input(sandbox, objects, words):
    done = run(sandbox, objects)
    assert done.returncode != 0
    assert words in " ".join((done.stdout + done.stderr).split())
    assert len(addresses(sandbox)) == (1 if objects else 0)
