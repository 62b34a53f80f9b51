# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module where it may not see everything, where answers are broken, and where Google's reads trail behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.module import run_module

HERE = Path(__file__).parent
GWS = "authentik_providers_google_workspace"
EVERYTHING = frozenset(
    (
        f"{GWS}.view_googleworkspaceprovider",
        f"{GWS}.add_googleworkspaceprovider",
        f"{GWS}.view_googleworkspaceprovideruser",
        f"{GWS}.view_googleworkspaceprovidergroup",
        f"{GWS}.view_googleworkspaceprovidermapping",
        "authentik_core.view_user",
        "authentik_core.view_group",
        "authentik_core.view_propertymapping",
        "authentik_core.add_propertymapping",
        "authentik_tasks.view_task",
    )
)


@pytest.fixture(scope="module")
def running(sandboxes):
    with sandboxes(dataset=HERE / "dataset.json", answer_ms=800) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    running.control("POST", "authentik/settings", {"answer_ms": 800, "retry_ms": 60000})
    return running


def sync(sandbox, name="alice", check=False, lacking=(), **options):
    """Run the module as somebody with every permission that the README lists, less those lacking."""
    permissions = sorted(EVERYTHING - {item for item in EVERYTHING if item.split(".")[1] in lacking})
    token = sandbox.control("POST", "authentik/tokens", {"username": "automation", "permissions": permissions})["token"]
    params = {
        "authentik_url": sandbox.authentik_url,
        "authentik_token": token,
        "google_api_endpoint": sandbox.google_api_endpoint,
        "provider_id": 1,
        "sync_object_model": "group" if name[0].isupper() else "user",
        "sync_object_id": name,
        "sync_timeout": 2,
        "request_timeout": 5,
        **options,
    }
    run = run_module(params, check=check)
    assert token not in run.output
    return run, run.result, " ".join(run.warnings)


def drift(sandbox):
    sandbox.control("PATCH", "google/users/alice@example.com", {"name": {"givenName": "Eve"}})


def test_the_permissions_of_the_readme_are_enough(sandbox):
    for name in ("alice", "bob", "carol", "Team One"):
        run, result, warned = sync(sandbox, name)
        assert (result["status"], result["changed"], warned) == ("synced", True, "")
        run, result, warned = sync(sandbox, name)
        assert (result["status"], result["changed"], warned) == ("unchanged", False, "")
        run, result, warned = sync(sandbox, name, check=True)
        assert (result["status"], result["changed"], warned) == ("unchanged", False, "")


def test_without_the_right_to_sync(sandbox):
    run, result, _warned = sync(sandbox, lacking=["add_googleworkspaceprovider"])
    assert (run.failed, result["changed"], result["basis"]) == (True, False, "nothing_sent")
    assert f"{GWS}.add_googleworkspaceprovider" in result["msg"]
    assert result["http_status"] == 403
    assert sync(sandbox, check=True, lacking=["add_googleworkspaceprovider"])[1]["changed"] is True


@pytest.mark.parametrize("permission", ["view_googleworkspaceprovider", "view_user"])
def test_without_a_right_to_read(sandbox, permission):
    run, result, _warned = sync(sandbox, lacking=[permission])
    assert run.failed
    assert permission in result["msg"]


def test_without_the_right_to_read_tasks(sandbox):
    _run, result, warned = sync(sandbox, lacking=["view_task"])
    assert (result["status"], result["changed"], result["basis"]) == ("synced", True, "google")
    assert (result["messages"], result["messages_source"]) == ([], "unavailable")
    assert "authentik_tasks.view_task" in warned


def test_without_tasks_a_slow_sync_is_seen_at_google(sandbox):
    sandbox.fault("google", method="POST", path="/users", delay_ms=1700)
    _run, result, warned = sync(sandbox, lacking=["view_task"], sync_timeout=5)
    assert (result["status"], result["changed"]) == ("synced", True)
    assert "405" in warned


def test_without_the_right_to_read_connections(sandbox):
    _run, result, warned = sync(sandbox, lacking=["view_googleworkspaceprovideruser"])
    assert (result["status"], result["changed"], result["basis"]) == ("synced", True, "google")
    assert "view_googleworkspaceprovideruser" in warned
    _run, result, warned = sync(sandbox, lacking=["view_googleworkspaceprovideruser"], verify="connection")
    assert (result["status"], result["changed"], result["basis"]) == ("unconfirmed", True, "assumed")


@pytest.mark.parametrize("missing", ["view_propertymapping", "add_propertymapping"])
def test_without_the_right_to_test_mappings(sandbox, missing):
    sync(sandbox)
    _run, result, warned = sync(sandbox, lacking=[missing])
    assert (result["status"], result["changed"]) == ("unconfirmed", False)
    assert f"authentik_core.{missing}" in warned
    _run, result, warned = sync(sandbox, "bob", check=True, lacking=[missing])
    assert (result["status"], result["changed"], result["basis"]) == ("unconfirmed", True, "assumed")


def test_google_out_of_reach_for_us_alone(sandbox):
    _run, result, warned = sync(sandbox, google_api_endpoint="http://127.0.0.1:1")
    # authentik's new row would be the same for an account that was there and only taken over.
    assert (result["status"], result["changed"], result["basis"]) == ("synced", True, "assumed")
    assert "out of reach" in warned
    assert "assumed" in warned
    drift(sandbox)
    _run, result, warned = sync(sandbox, google_api_endpoint="http://127.0.0.1:1")
    # authentik repaired it, and its own record does not show that: the documentation says so.
    assert (result["status"], result["changed"], result["basis"]) == ("unchanged", False, "connection")


def test_google_lost_in_the_middle(sandbox):
    sandbox.fault("google", method="GET", path="/users/", status=403, reason="forbidden", message="x", skip=1, times=-1)
    _run, result, warned = sync(sandbox, verify="google")
    assert (result["changed"], result["basis"]) == (True, "connection")
    assert "could not be looked at" in warned


def test_reads_that_trail_behind_are_waited_for(sandbox):
    sync(sandbox)
    drift(sandbox)
    sandbox.control("POST", "google/settings", {"update_lag_ms": 900})
    _run, result, warned = sync(sandbox, sync_timeout=10)
    assert (result["status"], result["changed"], result["basis"], warned) == ("synced", True, "google", "")


def test_reads_that_never_catch_up_are_unconfirmed(sandbox):
    sync(sandbox)
    drift(sandbox)
    sandbox.control("POST", "google/settings", {"update_lag_ms": 60000})
    _run, result, warned = sync(sandbox)
    assert (result["status"], result["changed"], result["basis"]) == ("unconfirmed", True, "connection")
    assert "does not show them yet" in warned


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 502, "when": "after"},
        {"drop": True, "when": "after"},
        {"status": 200, "body": "<html>a portal</html>", "content_type": "text/html", "when": "after"},
        {"status": 200, "body": '{"messages": [', "content_type": "application/json", "when": "after"},
        {"truncate": 5, "when": "after"},
    ],
)
def test_an_answer_lost_on_the_way_is_a_question(sandbox, fault):
    """authentik did its work and the answer broke: the task tells what happened."""
    sandbox.fault("authentik", method="POST", path="sync/object", **fault)
    _run, result, _warned = sync(sandbox)
    assert (result["status"], result["changed"], result["messages_source"]) == ("synced", True, "task_log")
    posts = [item for item in sandbox.authentik_requests() if item["path"].endswith("/sync/object/")]
    assert len(posts) == 1


def test_a_request_that_never_arrived_starts_nothing(sandbox):
    sandbox.fault("authentik", method="POST", path="sync/object", status=502)
    run, result, _warned = sync(sandbox)
    assert (run.failed, result["changed"]) == (True, False)
    assert "502" in result["msg"]
    assert [user["primaryEmail"] for user in sandbox.google_state()["users"]] == ["admin@example.com"]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/steal"}}, "not followed"),
        ({"status": 200, "body": "<html>a portal</html>", "content_type": "text/html"}, "HTML"),
        ({"status": 200, "body": '{"version_current"', "content_type": "application/json"}, "not valid JSON"),
        ({"status": 200, "body": "[]", "content_type": "application/json"}, "something else than a JSON object"),
        ({"status": 406, "message": "x"}, "JSON (406)"),
        ({"status": 415, "message": "x"}, "415"),
        ({"status": 429, "message": "x", "times": -1, "headers": {"Retry-After": "0"}}, "too many requests"),
        ({"status": 500, "message": "x"}, "status 500"),
        ({"status": 403, "message": "Token invalid/expired"}, "expired"),
        ({"delay_ms": 7000}, "no answer within"),
    ],
)
def test_broken_answers_to_reads(sandbox, fault, says):
    sandbox.fault("authentik", method="GET", path="admin/version", **fault)
    run, result, _warned = sync(sandbox, request_timeout=2)
    assert run.failed
    assert says in result["msg"]
    assert result["basis"] == "nothing_sent"


def test_a_read_that_fails_for_a_moment_is_repeated(sandbox):
    sandbox.fault("authentik", method="GET", path="admin/version", status=503, message="x")
    sandbox.fault(
        "google", method="GET", path="/users/", status=429, reason="rateLimitExceeded", headers={"Retry-After": "0"}
    )
    _run, result, _warned = sync(sandbox, "bob")
    assert (result["status"], result["calls"]["authentik"]) == ("synced", len(sandbox.authentik_requests()))


def test_requests_are_as_few_as_documented(sandbox):
    _run, result, _warned = sync(sandbox)
    assert result["calls"] == {"authentik": 6, "google": 2, "google_token": 1}
    _run, result, _warned = sync(sandbox)
    assert result["calls"] == {"authentik": 7, "google": 2, "google_token": 1}
    _run, result, _warned = sync(sandbox, verify="connection")
    assert result["calls"] == {"authentik": 8, "google": 0, "google_token": 0}


def test_fail_on_does_not_change_the_truth(sandbox):
    run, result, warned = sync(sandbox, "outsider", fail_on=["error"])
    assert (run.failed, result["status"], result["changed"]) == (False, "failed", False)
    assert "Invalid email domain" in warned
    assert sync(sandbox, "outsider")[0].failed


def test_check_mode_sends_nothing_and_is_right(sandbox):
    for name in ("alice", "outsider", "mononym", "noemail", "Empty Group", "Team One"):
        sandbox.clear_requests()
        check, predicted, _warned = sync(sandbox, name, check=True)
        sent = [
            item for item in sandbox.authentik_requests() if item["method"] != "GET" and "/test/" not in item["path"]
        ]
        assert sent == []
        assert {item["path"] for item in sandbox.google_requests() if item["method"] != "GET"} <= {"/token"}
        real, result, _warned = sync(sandbox, name)
        assert (check.failed, predicted["changed"], predicted["status"]) == (
            real.failed,
            result["changed"],
            result["status"],
        )
        assert predicted["skipped_members"] == result["skipped_members"]
        assert real.failed or predicted["operations"] == result["operations"]
        assert {item["path"] for item in predicted["changes"]} == {item["path"] for item in result["changes"]}


def test_a_provider_in_dry_run_is_asked_itself(sandbox):
    sync(sandbox)
    drift(sandbox)
    sandbox.control("PATCH", "authentik/providers/1", {"dry_run": True})
    for check in (True, False):
        _run, result, _warned = sync(sandbox, check=check)
        assert (result["status"], result["changed"]) == ("dry_run", False)
        assert [item["method"] for item in result["operations"]] == ["PUT"]
        assert "name.givenName" in [item["path"] for item in result["changes"]]


def test_not_assigned_to_an_application(sandbox):
    sandbox.control("PATCH", "authentik/providers/1", {"application": None})
    run, result, _warned = sync(sandbox)
    assert (run.failed, result["changed"]) == (True, False)
    assert "not assigned to an application" in result["msg"]
    # Only check mode has to ask, and needs one permission more for it.
    assert "authentik_core.view_provider" in sync(sandbox, check=True)[1]["msg"]
    run, result, _warned = sync(sandbox, check=True, authentik_token=sandbox.authentik_token)
    assert run.failed
    assert "not assigned to an application" in result["msg"]


def test_an_address_that_a_group_holds(sandbox):
    sandbox.control("POST", "google/groups", {"email": "alice@example.com", "name": "Alice's friends"})
    for check in (True, False):
        run, result, _warned = sync(sandbox, check=check)
        assert (run.failed, result["changed"]) == (True, False)
        assert "the group alice@example.com" in result["msg"]


def test_an_address_that_a_person_holds(sandbox):
    sandbox.control(
        "POST", "google/users", {"primaryEmail": "team-one@example.com", "name": {"givenName": "T", "familyName": "O"}}
    )
    run, result, _warned = sync(sandbox, "Team One", check=True)
    assert (run.failed, result["changed"]) == (True, False)
    assert "the user team-one@example.com" in result["msg"]
    run, result, _warned = sync(sandbox, "Team One")
    assert (run.failed, result["changed"]) == (True, False)


def test_a_sync_that_never_began_claims_nothing(sandbox):
    sync(sandbox)
    drift(sandbox)
    sandbox.fault("google", method="GET", path="/domains", status=503, reason="backendError", message="x")
    run, result, _warned = sync(sandbox)
    assert (run.failed, result["changed"], result["code"]) == (True, False, "google_not_reached")


HIDDEN = {
    "method": "GET",
    "path": "/users/",
    "status": 404,
    "reason": "notFound",
    "message": "Resource Not Found: userKey",
}


@pytest.mark.parametrize("was_there", [False, True], ids=["the first", "in place of one that was deleted"])
def test_a_new_record_that_google_does_not_show_yet(sandbox, was_there):
    if was_there:
        sync(sandbox)
        sandbox.control("DELETE", "google/users/alice@example.com")
    sandbox.fault("google", **HIDDEN, skip=1, times=-1)
    run, result, warned = sync(sandbox, verify="google")
    assert (run.failed, result["status"], result["changed"], result["basis"]) == (
        False,
        "unconfirmed",
        True,
        "connection",
    )
    # All of the new record is new, whatever authentik had recorded of the old one.
    found = {item["path"]: (item["before"], item["after"]) for item in result["changes"]}
    assert found["primaryEmail"] == (None, "alice@example.com")
    assert found["name.givenName"][0] is None
    assert "does not show it yet" in warned


def test_a_new_record_that_google_shows_late(sandbox):
    sandbox.fault("google", **HIDDEN, times=3)
    _run, result, warned = sync(sandbox, verify="google", sync_timeout=10)
    assert (result["status"], result["changed"], result["basis"], warned) == ("synced", True, "google", "")


@pytest.mark.parametrize("verify", ["google", "connection"])
def test_who_is_left_out_before_there_is_anything(sandbox, verify):
    skip = {"name": "skips", "expression": "raise SkipObject()", "model": "user", "assigned": False}
    sandbox.control("POST", "authentik/mappings", skip)
    sandbox.control("PATCH", "authentik/providers/1", {"property_mappings": ["skips"]})
    for choice, failed in (("warn", False), ("fail", True), ("ignore", False)):
        run, result, warned = sync(sandbox, verify=verify, out_of_scope=choice)
        assert (run.failed, result["status"], result["changed"]) == (failed, "out_of_scope", False)
        assert ("SkipObject" in warned) == (choice == "warn")


@pytest.mark.parametrize("verify", ["google", "connection"])
def test_a_mapping_that_fails_is_named_without_any_log(sandbox, verify):
    fails = {"name": "fails", "expression": "return 1 / 0", "model": "user", "assigned": False}
    sandbox.control("POST", "authentik/mappings", fails)
    sandbox.control("PATCH", "authentik/providers/1", {"property_mappings": ["fails"]})
    run, result, _warned = sync(sandbox, verify=verify, lacking=["view_task"])
    assert (run.failed, result["status"], result["changed"]) == (True, "failed", False)
    assert result["code"] == "mapping_failed"
    assert "property mapping 'fails' fails" in result["msg"]


@pytest.mark.parametrize("name", ["alice", "Team One"])
def test_a_sync_that_never_began_is_seen_in_authentiks_record_alone(sandbox, name):
    sync(sandbox)
    sync(sandbox, name)
    sandbox.fault("google", method="GET", path="/domains", status=503, reason="backendError", message="x", times=-1)
    run, result, warned = sync(sandbox, name, verify="connection")
    said = (run.failed, result["status"], result["changed"], result["code"], result["basis"], warned)
    assert said == (True, "failed", False, "google_not_reached", "connection", "")


def test_a_sync_that_never_began_fails_also_where_nobody_knows_what_is_wanted(sandbox):
    sync(sandbox)
    sandbox.fault("google", method="GET", path="/domains", status=503, reason="backendError", message="x", times=-1)
    run, result, _warned = sync(sandbox, verify="google", lacking=["view_propertymapping"])
    assert (run.failed, result["status"], result["code"]) == (True, "failed", "google_not_reached")


def test_members_are_not_in_authentiks_record(sandbox):
    for name in ("alice", "Team One"):
        sync(sandbox, name)
    _run, result, warned = sync(sandbox, verify="connection")
    assert (result["status"], result["changed"], result["basis"], warned) == ("unchanged", False, "connection", "")
    _run, result, warned = sync(sandbox, "Team One", verify="connection")
    assert (result["changed"], result["basis"]) == (True, "assumed")
    assert "Whether members of" in warned


def test_members_that_google_shows_late_are_waited_for(sandbox):
    for name in ("alice", "bob", "carol", "Team One"):
        sync(sandbox, name)
    for member in sandbox.google_state()["groups"][0]["members"]:
        sandbox.control("DELETE", f"google/groups/team-one@example.com/members/{member['email']}")
    sandbox.control("POST", "google/settings", {"update_lag_ms": 900})
    _run, result, warned = sync(sandbox, "Team One", sync_timeout=10)
    assert (result["status"], result["changed"], result["basis"], warned) == ("synced", True, "google", "")
    assert [item["path"] for item in result["changes"]] == ["members"]


def test_a_record_that_google_hid_at_first_is_no_new_one(sandbox):
    sync(sandbox)
    sandbox.fault("google", **HIDDEN, times=2)
    _run, result, warned = sync(sandbox, verify="google")
    assert (result["status"], result["changed"], result["changes"]) == ("unchanged", False, [])
    assert result["basis"] == "connection"
    assert "assumed" not in warned


def test_a_record_that_google_hid_and_authentik_has_not_recorded(sandbox):
    sync(sandbox)
    [row] = sandbox.control("GET", "authentik/state")["connections"]
    sandbox.control("PATCH", f"authentik/connections/{row['id']}", {"attributes": {}})
    sandbox.fault("google", **HIDDEN, times=2)
    _run, result, warned = sync(sandbox, verify="google")
    assert (result["changed"], result["basis"], result["operations"]) == (True, "assumed", [])
    assert "that it changed is assumed" in warned


def test_without_tasks_a_slow_sync_of_what_is_in_sync_is_unconfirmed(sandbox):
    sync(sandbox)
    sandbox.fault("google", method="PUT", path="/users", delay_ms=1700)
    _run, result, warned = sync(sandbox, lacking=["view_task"], sync_timeout=5)
    assert (result["status"], result["changed"]) == ("unconfirmed", False)
    assert "as it did before" in warned


def test_the_longest_time_that_can_be_asked_for(sandbox):
    run, result, _warned = sync(sandbox, request_timeout=86400, sync_timeout=86400)
    assert (run.failed, result["status"]) == (False, "synced")
    for value in (0, 86401):
        run, result, _warned = sync(sandbox, request_timeout=value)
        assert run.failed
        assert "request_timeout must be more than 0 and at most 86400 seconds" in result["msg"]


@pytest.mark.parametrize(
    ("refusal", "remedy", "later"),
    [
        ((403, "forbidden", "Not authorized to update this user"), "must be an administrator", False),
        ((403, "accessNotConfigured", "Admin SDK API is deactivated"), "Enable the Admin SDK API", False),
        ((403, "insufficientPermissions", "Not authenticated for this"), "the provider's scopes in authentik", False),
        ((403, "userRateLimitExceeded", "Slow down"), "Too many requests", True),
    ],
)
def test_what_google_refuses_to_authentik_is_explained_by_googles_reason(sandbox, refusal, remedy, later):
    sync(sandbox)
    drift(sandbox)
    status, reason, message = refusal
    sandbox.fault("google", method="PUT", path="/users/", status=status, reason=reason, message=message, times=9)
    run, result, _ = sync(sandbox, sync_timeout=5)
    assert run.failed
    assert f"Google answered {status}: {message}" in result["msg"]
    assert remedy in result["msg"]
    assert ("later" in result["msg"]) is later
