# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each thing that can be wrong with a provider is found, told apart and told with its remedy; nothing is written for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.http import call
from tests.sandbox.process import Sandbox
from tests.support.module import ModuleRun, reaching, run_module

HERE = Path(__file__).parent
OLD, MIDDLE, NEW = VERSIONS = ("2024.8.1", "2025.8.6", "2025.12.4")
WRITES = ("POST", "PUT", "PATCH", "DELETE")
GWS = "authentik_providers_google_workspace"
SCOPE = "https://www.googleapis.com/auth/admin.directory."


@pytest.fixture(scope="module", params=VERSIONS)
def running(request, sandboxes):
    with sandboxes(dataset=HERE / "dataset.json", authentik_version=request.param) as sandbox:
        yield sandbox, request.param


@pytest.fixture
def server(running):
    sandbox, version = running
    sandbox.reset()
    sandbox.control("POST", "authentik/settings", {"licensed": True, "answer_ms": 2000, "retry_ms": 20})
    return sandbox, version


def look(sandbox: Sandbox, **options: Any) -> ModuleRun:
    before = {side: sandbox.control("GET", f"{side}/state") for side in ("authentik", "google")}
    sandbox.clear_requests()
    done = run_module({**reaching(sandbox), **options}, module="google_workspace_sync_info")
    sent = [
        item["path"]
        for item in sandbox.authentik_requests()
        if item["method"] in WRITES and not item["path"].endswith("/test/")
    ]
    assert sent == []
    assert {item["path"] for item in sandbox.google_requests() if item["method"] in WRITES} <= {"/token"}
    assert {side: sandbox.control("GET", f"{side}/state") for side in ("authentik", "google")} == before
    key = json.loads(Path(sandbox.service_account_file).read_text())
    assert key["private_key"].splitlines()[3] not in done.output
    assert "pbkdf2_sha256$" not in done.output
    if not done.failed:
        assert done.result["calls"]["authentik"] == len(sandbox.authentik_requests())
        google = [item for item in sandbox.google_requests() if item["path"] != "/token"]
        assert "google_api_endpoint" in options or done.result["calls"]["google"] == len(google)
        errors = [item for item in done.result["findings"] if item["severity"] == "error"]
        assert done.result["healthy"] == (not errors)
    return done


def codes(done: ModuleRun, *severities: str) -> set[str]:
    return {item["code"] for item in done.result["findings"] if not severities or item["severity"] in severities}


def the(done: ModuleRun, code: str) -> dict[str, str]:
    (found,) = [item for item in done.result["findings"] if item["code"] == code]
    assert found["what"]
    assert found["meaning"]
    return found


def sync(sandbox: Sandbox, kind: str, pk: Any) -> None:
    body = {"sync_object_model": f"authentik.core.models.{kind}", "sync_object_id": str(pk)}
    call(sandbox, "POST", "/api/v3/providers/google_workspace/1/sync/object/", body=body)


def test_a_provider_that_works(server):
    sandbox, version = server
    done = look(sandbox)
    assert (done.failed, done.result["healthy"], done.result["complete"]) == (False, True, True), done.result[
        "findings"
    ]
    assert codes(done, "error", "unknown") == set()
    result = done.result
    assert result["server_version"] == version
    assert result["licence"]["status"] == "valid"
    assert result["workers"] == 1
    assert [item["granted"] for item in result["google"]["scopes"]] == [True] * 4
    assert result["google"]["domains"] == ["example.com"]
    assert result["google"]["subject"] == {"address": "admin@example.com", "administrator": True}
    assert result["google"]["may_list"] == {"user": True, "group": True}
    assert {item["outcome"] for item in result["mapping_sample"]} == {"yields"}
    assert {item["held"] for item in result["token"]["permissions"]} == {True}
    assert result["directory"]["compared"] is True
    assert (result["schedule"] is None) == (version == OLD)
    assert result["provider"]["options"]["name"] == "gws"


def provider(**changes: Any) -> Callable[[Sandbox], Any]:
    return lambda sandbox: sandbox.control("PATCH", "authentik/providers/1", changes)


def settings(side: str, **values: Any) -> Callable[[Sandbox], Any]:
    return lambda sandbox: sandbox.control("POST", f"{side}/settings", values)


def mapping(expression: str) -> Callable[[Sandbox], Any]:
    body = {"name": "broken", "expression": expression, "model": "user"}
    return lambda sandbox: sandbox.control("POST", "authentik/mappings", body)


# What is wrong, the code and severity of its finding, and a part of what is told.
WRONG = [
    (settings("authentik", licensed=False), "licence", "warning", "unlicensed"),
    (settings("authentik", worker=False), "no_worker", "error", "No worker"),
    (provider(property_mappings=[]), "no_mappings", "error", "property_mappings"),
    (provider(default_group_email_domain="elsewhere.test"), "group_domain", "error", "the workspace has example.com"),
    (provider(delegated_subject="nobody@example.com"), "google_token", "error", "no token"),
    (provider(credentials={}), "credentials", "error", "service account"),
    (provider(scopes=SCOPE + "user"), "scopes_differ", "warning", "group.member"),
    (settings("google", delegated_scopes=[SCOPE + "user", SCOPE + "group"]), "scopes", "error", "domain.readonly"),
    (mapping("return nothing"), "mapping_failed", "error", "nothing"),
]


@pytest.mark.parametrize(("given", "code", "severity", "says"), WRONG, ids=[item[1] for item in WRONG])
def test_what_is_wrong_is_found(server, given, code, severity, says):
    sandbox, _version = server
    given(sandbox)
    found = the(look(sandbox), code)
    assert found["severity"] == severity
    assert says in found["what"]
    assert found["remedy"]


def test_each_scope_is_told_by_itself(server):
    sandbox, _version = server
    sandbox.control("POST", "google/settings", {"delegated_scopes": [SCOPE + "user", SCOPE + "group.member"]})
    done = look(sandbox)
    granted = {item["scope"].removeprefix(SCOPE): item["granted"] for item in done.result["google"]["scopes"]}
    assert granted == {"user": True, "group": False, "group.member": True, "domain.readonly": False}
    assert done.result["google"]["token"] is False
    assert done.result["directory"]["compared"] is False


def test_without_an_application(server):
    sandbox, version = server
    sandbox.control("PATCH", "authentik/providers/1", {"application": None})
    assert the(look(sandbox), "no_application")["severity"] == ("warning" if version == OLD else "error")
    sandbox.control("PATCH", "authentik/providers/1", {"application": "gws", "main_application": True})
    assert "no_application" not in codes(look(sandbox))


def test_dry_run_is_worth_knowing(server):
    sandbox, version = server
    sandbox.control("PATCH", "authentik/providers/1", {"dry_run": True})
    assert ("dry_run" in codes(look(sandbox), "notice")) == (version != OLD)


def test_an_ordinary_account_as_subject(server):
    sandbox, _version = server
    sandbox.control("PATCH", "google/users/admin@example.com", {"isAdmin": False})
    done = look(sandbox)
    # Google may give no token for it, or a token that may do nothing: either way it is told.
    assert codes(done, "error") & {"subject", "google_token", "google_domains"}
    assert done.result["healthy"] is False


def test_google_out_of_reach(server):
    sandbox, _version = server
    done = look(sandbox, google_api_endpoint="http://127.0.0.1:1")
    assert not done.failed
    assert done.result["healthy"] is False
    assert "out of reach" in the(done, "google_domains")["meaning"]


def test_the_lines_of_the_last_tasks_are_read(server):
    sandbox, version = server
    if version == OLD:
        pytest.skip("single syncs leave no trace there")
    sync(sandbox, "User", 10)
    done = look(sandbox)
    assert "Invalid email domain: olga@elsewhere.test" in the(done, "task_messages")["what"]
    assert done.result["tasks"][0]["messages"]
    assert look(sandbox, tasks=0).result["tasks"] == []


def test_a_full_sync_with_failures(server):
    sandbox, version = server
    if version == OLD:
        # Saving the provider is what starts a first one there.
        sandbox.control("POST", "authentik/settings", {"signals": True})
        reply = call(
            sandbox, "PATCH", "/api/v3/providers/google_workspace/1/", body={"delegated_subject": "admin@example.com"}
        )
        assert reply.status == 200
    else:
        schedules = call(sandbox, "GET", "/api/v3/tasks/schedules/").body["results"]
        call(sandbox, "POST", f"/api/v3/tasks/schedules/{schedules[0]['id']}/send/")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = call(sandbox, "GET", "/api/v3/providers/google_workspace/1/sync/status/").body
        if not state["is_running"] and (state.get("last_sync_status") or state.get("tasks")):
            break
        time.sleep(0.1)
    done = look(sandbox)
    assert done.result["sync"]["is_running"] is False
    assert done.result["sync"]["last_sync_status"]
    assert "never_synced" not in codes(done)
    assert done.result["tasks"]
    assert "Invalid email domain" in the(done, "task_messages")["what"]


def test_connections_that_contradict_google(server):
    sandbox, version = server
    sync(sandbox, "User", 6)
    sandbox.control("PATCH", "google/users/alice@example.com", {"name": {"givenName": "Other"}})
    sandbox.control("POST", "google/users/alice@example.com/aliases", {"alias": "al@example.com"})
    for user, google_id in ((7, "al@example.com"), (8, "gone@example.com"), (6, "second@example.com")):
        row = {"user": user, "provider": 1, "google_id": google_id, "attributes": {"id": "1"}}
        sandbox.control("POST", "authentik/connections", row)
    done = look(sandbox)
    assert the(done, "connections_alias")["severity"] == "error"
    assert "al@example.com" in the(done, "connections_alias")["what"]
    assert "gone@example.com" in the(done, "connections_gone")["what"]
    assert "two_connections" in codes(done)
    assert ("rows_stop_syncs" in codes(done, "error")) == (version != NEW)
    assert "connections_alias" not in codes(look(sandbox, compare=False))


def test_members_without_an_account_and_people_without_a_connection(server):
    sandbox, _version = server
    sync(sandbox, "User", 6)
    sandbox.control(
        "POST", "google/users", {"primaryEmail": "bob@example.com", "name": {"givenName": "B", "familyName": "B"}}
    )
    done = look(sandbox)
    assert "bob" in the(done, "not_linked")["what"]
    assert done.result["directory"]["members_without_account"]["Team One"] == ["bob", "carol"]
    assert "Team One (bob, carol)" in the(done, "members_without_account")["what"]


PERMISSIONS = {
    "read the provider": f"{GWS}.view_googleworkspaceprovider",
    "sync through authentik": f"{GWS}.add_googleworkspaceprovider",
    "change the provider": f"{GWS}.change_googleworkspaceprovider",
    "remove a provider": f"{GWS}.delete_googleworkspaceprovider",
    "find users": "authentik_core.view_user",
    "find property mappings": "authentik_core.view_propertymapping",
    "evaluate property mappings": "authentik_core.add_propertymapping",
    "make connections of users": f"{GWS}.add_googleworkspaceprovideruser",
    "remove connections of users": f"{GWS}.delete_googleworkspaceprovideruser",
    "read applications": "authentik_core.view_application",
    "see whether a worker is alive": "authentik_rbac.view_system_info",
}


def test_what_the_token_may_do(server):
    """Never claimed to be held where it is not, nor the other way round; unknown where only trying would tell."""
    sandbox, version = server
    base = {f"{GWS}.view_googleworkspaceprovider"}
    for what, permission in PERMISSIONS.items():
        for held in (True, False):
            given = sorted(
                base | {permission} if held else base - {permission} | {f"{GWS}.view_googleworkspaceprovider"}
            )
            body = {"username": f"clerk-{held}", "permissions": given}
            token = sandbox.control("POST", "authentik/tokens", body)["token"]
            done = look(sandbox, authentik_token=token, compare=False, sample=0)
            assert not done.failed, done.result
            told = {item["what"]: item["held"] for item in done.result["token"]["permissions"]}[what]
            expected = held or permission in base
            assert told in (expected, None), what
            if told is None:
                # What neither a list nor OPTIONS tells, before roles are told.
                assert what.startswith(("remove", "evaluate")) or what == "sync through authentik", what
            elif version == NEW and held:
                assert told is True
            if told is False:
                assert permission in json.dumps(done.result["findings"])


def test_it_fails_only_where_there_is_nothing_to_tell(server):
    sandbox, _version = server
    done = run_module({**reaching(sandbox), "provider_id": 4711}, module="google_workspace_sync_info")
    assert (done.failed, done.result["code"]) == (True, "authentik_not_found")
    wrong = run_module({**reaching(sandbox), "sample": -1}, module="google_workspace_sync_info")
    assert "sample must be at least 0" in wrong.result["msg"]


def test_what_cannot_be_looked_at_is_unknown(server):
    sandbox, _version = server
    sandbox.fault("authentik", method="GET", path="/enterprise/license/summary/", status=403, times=-1)
    done = look(sandbox)
    assert (done.result["healthy"], done.result["complete"], done.result["licence"]) == (True, False, None)
    assert "licence" in the(done, "not_looked_at")["what"]
