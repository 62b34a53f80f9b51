# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The direct engine with one object: what it costs, what it names, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.module import reaching, run_module

HERE = Path(__file__).parent
TEAM = "team-one@example.com"


@pytest.fixture(scope="module")
def running(sandboxes):
    with sandboxes(dataset=HERE / "dataset.json") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    # authentik's own syncs on save would do the work before.
    running.control("POST", "authentik/settings", {"signals": False})
    return running


def sync(sandbox, name, check=False, **options):
    """Run the module with the direct engine: the run, its result, and the requests to Google, tokens apart."""
    sandbox.clear_requests()
    params = {
        **reaching(sandbox),
        "engine": "direct",
        "sync_object_model": "group" if name[0].isupper() else "user",
        "sync_object_id": name,
        "google_wait": 1,
        **options,
    }
    run = run_module(params, check=check, diff=True)
    asked = [
        (item["method"], item["path"].rpartition("/v1/")[2])
        for item in sandbox.google_requests()
        if item["path"] != "/token"
    ]
    assert run.result["calls"]["google"] == len(asked)
    return run, run.result, asked


def change(sandbox, username, values):
    pk = next(user["pk"] for user in sandbox.control("GET", "authentik/state")["users"] if user["username"] == username)
    sandbox.control("PATCH", f"authentik/users/{pk}", values)


def learn_ids(sandbox):
    """What authentik's listing does: its connections hold the immutable ids from then on."""
    ids = {user["primaryEmail"]: user["id"] for user in sandbox.control("GET", "google/state")["users"]}
    for row in sandbox.control("GET", "authentik/state")["connections"]:
        if row["kind"] == "user":
            own = {"id": ids[row["google_id"]], "primaryEmail": row["google_id"]}
            sandbox.control("PATCH", f"authentik/connections/{row['id']}", {"attributes": own})


def assign(sandbox, model, expression):
    mapping = {"name": "ours", "expression": expression, "model": model, "assigned": False}
    sandbox.control("POST", "authentik/mappings", mapping)
    key = "property_mappings" if model == "user" else "property_mappings_group"
    sandbox.control("PATCH", "authentik/providers/1", {key: ["ours"]})


def writes(asked):
    return [item for item in asked if item[0] != "GET"]


def test_a_person_costs_one_call_and_one_for_each_write(sandbox):
    _run, result, asked = sync(sandbox, "alice")
    # The domains are asked for before an address is written.
    assert sorted(method for method, _path in asked) == ["GET", "GET", "POST"]
    assert (result["status"], result["changed"]) == ("synced", True)
    _run, result, asked = sync(sandbox, "alice")
    assert [method for method, _path in asked] == ["GET"]
    assert (result["status"], result["changed"]) == ("unchanged", False)
    # An address in the domain that the account is in already needs no look at the domains.
    learn_ids(sandbox)
    change(sandbox, "alice", {"email": "alice.new@example.com"})
    _run, result, asked = sync(sandbox, "alice")
    assert "customer/my_customer/domains" not in [path for _method, path in asked]
    assert len(writes(asked)) == 1


def test_a_group_costs_two_calls_and_none_for_members_where_they_are_ignored(sandbox):
    for name in ("alice", "bob", "carol", "Team One"):
        sync(sandbox, name)
    _run, result, asked = sync(sandbox, "Team One")
    assert [path.rpartition("/")[2] for _method, path in asked][1:] == ["members"]
    assert len(asked) == 2
    _run, result, asked = sync(sandbox, "Team One", membership="ignore")
    assert len(asked) == 1
    assert (result["status"], result["changed"]) == ("unchanged", False)


def test_operations_and_diff_name_what_they_are_about(sandbox):
    for check in (True, False):
        _run, result, _asked = sync(sandbox, "alice", check=check)
        assert [(item["method"], item["resource"], item["key"]) for item in result["operations"]] == [
            ("POST", "user", "alice@example.com"),
            ("POST", "connection", "alice@example.com"),
        ]
    _run, result, _asked = sync(sandbox, "Team One", check=True)
    # A group's connection is known by Google's id for it, which there is none of yet.
    assert [(item["method"], item["resource"], item["key"]) for item in result["operations"]] == [
        ("POST", "group", TEAM),
        ("POST", "member", "alice@example.com"),
        ("POST", "connection", TEAM),
    ]
    sync(sandbox, "Team One")
    sandbox.control("DELETE", f"google/groups/{TEAM}/members/alice@example.com")
    for check in (True, False):
        _run, result, _asked = sync(sandbox, "Team One", check=check)
        assert [(item["method"], item["key"], item.get("group")) for item in result["operations"]] == [
            ("POST", "alice@example.com", TEAM)
        ]
        assert result["diff"]["before"]["members"] == []
        assert result["diff"]["after"]["members"] == ["alice@example.com"]


def test_an_account_that_was_there_is_taken_over_under_its_address(sandbox):
    body = {"primaryEmail": "alice@example.com", "name": {"givenName": "A", "familyName": "B"}}
    sandbox.control("POST", "google/users", body)
    for check in (True, False):
        _run, result, _asked = sync(sandbox, "alice", check=check)
        assert (result["changed"], result["object"]["google_id"]) == (True, "alice@example.com")


@pytest.mark.parametrize("check", [True, False])
def test_an_address_of_a_mapping_that_is_somebody_elses_alias(sandbox, check):
    sandbox.control("POST", "google/groups", {"email": "theirs@example.com", "name": "Theirs"})
    sandbox.control("POST", "google/groups/theirs@example.com/aliases", {"alias": "ours@example.com"})
    assign(sandbox, "group", "return {'name': group.name, 'email': 'ours@example.com'}")
    run, result, asked = sync(sandbox, "Team One", check=check)
    assert (run.failed, result["status"], result["changed"]) == (True, "failed", False)
    assert "ours@example.com" in result["msg"]
    assert "theirs@example.com" in result["msg"]
    assert writes(asked) == []


@pytest.mark.parametrize("check", [True, False])
def test_a_value_that_google_is_known_to_refuse_is_not_sent(sandbox, check):
    assign(sandbox, "user", "return {'name': {'givenName': user.name, 'familyName': ''}}")
    run, result, asked = sync(sandbox, "alice", check=check)
    assert (run.failed, result["status"], result["changed"], result["code"]) == (True, "failed", False, "invalid_value")
    assert "name.familyName" in result["msg"]
    assert writes(asked) == []


def test_a_write_of_which_nobody_sees_what_became(sandbox):
    """The answer is lost, and from then on Google shows nothing: that something changed is assumed, and said to be so."""
    sync(sandbox, "alice")
    change(sandbox, "alice", {"name": "Alice Other"})
    sandbox.fault("google", method="PUT", path="/users/", when="after", drop=True, times=-1)
    sandbox.fault("google", method="GET", path="/users/", status=403, reason="forbidden", message="x", skip=1, times=-1)
    run, result, _asked = sync(sandbox, "alice")
    assert run.failed is True
    assert (result["changed"], result["basis"]) == (True, "assumed")
    assert any("could not be seen, so that something changed is assumed" in text for text in run.warnings)


def test_control_characters_in_a_list_are_refused_before_anything_is_sent(sandbox):
    sandbox.clear_requests()
    params = {**reaching(sandbox), "engine": "direct", "sync_object_model": "group", "sync_object_id": "Team One"}
    run = run_module({**params, "google_scopes": ["https://scope.example.com/a", "https://scope.example.com/\x1b[2K"]})
    assert (run.failed, run.result["changed"]) == (True, False)
    assert "google_scopes[1] contains control characters" in run.result["msg"]
    assert sandbox.authentik_requests() == sandbox.google_requests() == []
