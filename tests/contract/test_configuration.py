# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that configure: round trips, secrets compared unseen, lost answers, checked against what the sandbox holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.process import Sandbox
from tests.support.module import ModuleRun, run_module

HERE = Path(__file__).parent
VERSIONS = ("2024.8.1", "2025.8.6", "2025.12.4", "2026.8.5", "2026.10.0")
WRITES = ("POST", "PUT", "PATCH", "DELETE")
PROVIDER, MAPPING, CONNECTION = ("google_workspace_" + name for name in ("provider", "mapping", "connection"))


class Server:
    def __init__(self, sandbox: Sandbox, version: str) -> None:
        self.sandbox = sandbox
        self.version = version
        self.key = json.loads(Path(sandbox.service_account_file).read_text())

    def run(self, module: str, check: bool = False, **options: Any) -> ModuleRun:
        reach = {"authentik_url": self.sandbox.authentik_url, "authentik_token": self.sandbox.authentik_token}
        if module.startswith((CONNECTION, "google_workspace_sync_info")):
            reach["google_api_endpoint"] = self.sandbox.google_api_endpoint
        done = run_module({**reach, **options}, module=module, check=check, diff=True)
        assert self.key["private_key"].splitlines()[3] not in done.output
        assert self.sandbox.authentik_token not in done.output
        return done

    def writes(self) -> list[tuple[str, str]]:
        return [
            (item["method"], item["path"].removeprefix("/api/v3/"))
            for item in self.sandbox.authentik_requests()
            if item["method"] in WRITES and not item["path"].endswith("/test/")
        ]

    def state(self) -> dict[str, Any]:
        found = self.sandbox.control("GET", "authentik/state")
        return {key: found[key] for key in ("providers", "mappings", "applications", "connections")}


@pytest.fixture(scope="module", params=VERSIONS)
def running(request, sandboxes):
    with sandboxes(dataset=HERE / "dataset.json", authentik_version=request.param) as sandbox:
        yield Server(sandbox, request.param)


@pytest.fixture
def server(running):
    running.sandbox.reset()
    running.sandbox.control("POST", "authentik/settings", {"licensed": True})
    return running


def every_field(server: Server) -> dict[str, Any]:
    """All options of a provider that this version knows, each with another value than the default."""
    number = tuple(int(part) for part in server.version.split(".")[:2])
    wanted: dict[str, Any] = {
        "name": "other",
        "property_mappings": ["authentik default Google Workspace Mapping: Group"],
        "property_mappings_group": ["goauthentik.io/providers/google_workspace/user"],
        "delegated_subject": "root@example.com",
        "scopes": ["https://www.googleapis.com/auth/admin.directory.user"],
        "exclude_users_service_account": True,
        "filter_group": "Team One",
        "user_delete_action": "suspend",
        "group_delete_action": "do_nothing",
        "default_group_email_domain": "groups.example.com",
        "credentials": server.key,
        "application": "other",
        "create_application": True,
    }
    if number >= (2025, 4):
        wanted["dry_run"] = True
    if number >= (2025, 12):
        wanted.update(sync_page_size=7, sync_page_timeout="hours=1")
    if number >= (2026, 8):
        wanted["discovery_enabled"] = False
    return wanted


def test_check_mode_foretells_and_a_second_run_changes_nothing(server):
    wanted = every_field(server)
    before = server.state()
    explained = server.run(PROVIDER, check=True, **wanted)
    assert server.state() == before
    assert server.writes() == []
    done = server.run(PROVIDER, **wanted)
    assert not done.failed, done.result
    assert (explained.result["changed"], explained.result["operations"]) == (True, done.result["operations"])
    assert [method for method, _path in server.writes()] == ["POST", "POST"]
    shown = explained.result["diff"]["after"]
    assert {key: done.result["diff"]["after"][key] for key in shown} == shown
    server.sandbox.clear_requests()
    again = server.run(PROVIDER, **wanted)
    assert (again.result["changed"], server.writes()) == (False, [])


def test_what_the_info_modules_tell_changes_nothing(server):
    server.run(PROVIDER, **every_field(server))
    server.run(MAPPING, name="mine", expression="return None", managed="example.com/mine")
    before = server.state()
    server.sandbox.clear_requests()
    for module, key in ((PROVIDER, "providers"), (MAPPING, "mappings")):
        found = server.run(module + "_info").result[key]
        assert len(found) == (2 if module == PROVIDER else 3)
        for item in found:
            back = server.run(module, **item["options"])
            assert (back.failed, back.result["changed"]) == (False, False), back.result
    assert server.writes() == []
    assert server.state() == before


def test_what_the_info_module_tells_of_connections_changes_nothing(server):
    if server.version in ("2024.8.1", "2025.8.6"):
        pytest.skip("a row made by the API is refused there")
    server.sandbox.control(
        "POST", "google/users", {"primaryEmail": "x@example.com", "name": {"givenName": "X", "familyName": "Y"}}
    )
    given = {"service_account_file": server.sandbox.service_account_file, "delegated_subject": "admin@example.com"}
    linked = server.run(
        CONNECTION, provider_id=1, sync_object_model="user", sync_object_id="alice", google_id="x@example.com", **given
    )
    assert linked.result["changed"], linked.result
    server.sandbox.clear_requests()
    (found,) = server.run(CONNECTION + "_info", provider_id=1).result["connections"]
    back = server.run(CONNECTION, **found["options"], **given)
    assert (back.failed, back.result["changed"]) == (False, False), back.result
    assert server.writes() == []


def test_the_service_account_is_compared_without_being_shown(server):
    other = {**server.key, "private_key_id": "0123456789abcdef"}
    hidden = server.version == "2026.10.0"
    same = server.run(PROVIDER, name="gws", credentials=server.key)
    assert same.result["changed"] is False
    assert bool(same.warnings) == hidden
    changed = server.run(PROVIDER, name="gws", credentials=other)
    assert "0123456789abcdef" not in changed.output.replace(json.dumps(other), "")
    if hidden:
        assert (changed.result["changed"], server.writes()) == (False, [])
        assert "cannot be seen" in changed.warnings[0]
        assert "update_credentials" in changed.warnings[0]
    else:
        assert changed.result["changed"] is True
        diff = changed.result["diff"]
        assert diff["before"]["credentials"] != diff["after"]["credentials"]
        assert server.writes() == [("PATCH", "providers/google_workspace/1/")]
    server.sandbox.clear_requests()
    quiet = server.run(PROVIDER, name="gws", credentials=server.key, update_credentials="on_create")
    assert (quiet.result["changed"], quiet.warnings, server.writes()) == (False, [], [])
    always = server.run(PROVIDER, name="gws", credentials=server.key, update_credentials="always")
    assert always.result["changed"] is True
    assert always.warnings == []


def test_a_reference_to_a_managed_secret_is_for_servers_that_have_it(server):
    done = server.run(PROVIDER, name="gws", credentials_ref="11111111-2222-4333-8444-555555555555")
    if server.version == "2026.10.0":
        assert done.result["changed"] is True
        assert done.result["diff"]["after"]["credentials_ref"] == "11111111-2222-4333-8444-555555555555"
        assert server.run(PROVIDER + "_info", name="gws").result["providers"][0]["service_account_shown"] is False
    else:
        assert (done.failed, done.result["code"], server.writes()) == (True, "version", [])
        assert f"authentik {server.version} does not know credentials_ref (since 2026.10)" in done.result["msg"]


def test_a_lost_answer_is_told_as_not_known(server):
    server.sandbox.fault("authentik", method="PATCH", path="/providers/google_workspace/1/", when="after", drop=True)
    done = server.run(PROVIDER, name="gws", filter_group="Team One")
    assert done.failed
    assert done.result["changed"] is True
    assert "may have been done nevertheless" in done.result["msg"]
    again = server.run(PROVIDER, name="gws", filter_group="Team One")
    assert (again.failed, again.result["changed"]) == (False, False)


def test_an_application_step_that_fails_tells_what_was_done_before(server):
    server.sandbox.fault("authentik", method="POST", path="/core/applications/", status=500)
    done = server.run(PROVIDER, **every_field(server))
    assert (done.failed, done.result["changed"]) == (True, True)
    assert [item["resource"] for item in done.result["operations"]] == ["provider"]
    assert done.result["provider"]["application"] is None
    again = server.run(PROVIDER, **every_field(server))
    assert [item["resource"] for item in again.result["operations"]] == ["application"]


def test_an_ignored_field_is_no_success(server):
    """A server that answers 200 and keeps the old value."""
    shown = {**server.sandbox.control("GET", "authentik/state")["providers"][0], "credentials": server.key}
    server.sandbox.fault(
        "authentik", method="PATCH", path="/providers/google_workspace/1/", status=200, body=json.dumps(shown)
    )
    done = server.run(PROVIDER, name="gws", filter_group="Team One")
    assert (done.failed, done.result["code"]) == (True, "not_taken")
    assert "filter_group" in done.result["msg"]


def test_a_trial_that_cannot_be_removed_is_named(server):
    server.sandbox.fault("authentik", method="DELETE", path="/propertymappings/", status=403, times=1)
    done = server.run(
        MAPPING, name="mine", expression="return None", test_against=[{"user": "alice", "outcome": "nothing"}]
    )
    assert not done.failed, done.result
    assert "made for a trial, could not be removed" in done.warnings[0]
    names = [item["name"] for item in server.state()["mappings"]]
    assert len([name for name in names if name.startswith("mine (trial")]) == 1


def test_names_stand_for_what_is_still_to_be_made_in_check_mode_alone(server):
    asked = {"name": "gws", "property_mappings": ["not yet"]}
    explained = server.run(PROVIDER, check=True, **asked)
    assert (explained.result["changed"], explained.result["diff"]["after"]["property_mappings"]) == (True, ["not yet"])
    assert "Unless an earlier task makes it" in explained.warnings[0]
    done = server.run(PROVIDER, **asked)
    assert (done.failed, done.result["code"], server.writes()) == (True, "not_found", [])


@pytest.mark.parametrize("subject", ["provider", "mapping", "connection", "sync"])
def test_check_mode_reads_as_any_run_does(server, subject):
    """What only reads runs in check mode, too; it is not skipped."""
    module = "google_workspace_%s_info" % subject
    options = {} if subject == "mapping" else {"provider_id": server.sandbox.provider_id}
    read, checked = (server.run(module, check=check, **options) for check in (False, True))
    assert not read.failed and "skipped" not in checked.result
    assert checked.result.keys() == read.result.keys() and len(read.result) > 1
    assert (checked.result["changed"], server.writes()) == (False, [])


@pytest.mark.parametrize("subject", ["connection", "sync"])
def test_what_is_of_one_provider_wants_it_named(server, subject):
    module = "google_workspace_%s_info" % subject
    server.sandbox.clear_requests()
    run = server.run(module)
    assert run.failed
    assert "one of the following is required: provider_id, provider_name" in run.result["msg"]
    assert server.sandbox.authentik_requests() == []


def test_what_a_mapping_is_expected_to_give_may_have_several_lines(server):
    """Not so the name of whom it is tried for: that one goes into messages."""
    wanted = {"notes": {"value": "alice\nat work"}}
    mapping = {
        "name": "notes",
        "expression": "return {'notes': {'value': user.username + '\\nat work'}}",
        "test_against": [{"user": "alice", "expect": wanted}],
    }
    assert server.run(MAPPING, **mapping).result.get("msg") is None
    for pair in ({"user": "al\nice", "expect": wanted}, {"user": "al\x1bice"}):
        run = server.run(MAPPING, **{**mapping, "test_against": [pair]})
        assert run.failed and "test_against[0].user contains control characters" in run.result["msg"]
