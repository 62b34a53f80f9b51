# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the playbook: one variable file, from nothing to a first dry run, and then nothing more to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.integration.test_targets import DATASET, WRITES
from tests.sandbox.process import Sandbox
from tests.support.playbook import run_playbook
from tests.support.tree import ROOT

VERSIONS = ("2024.8.1", "2025.8.6", "2025.12.4")
PLAYBOOK = ROOT / "playbooks" / "setup.yml"
SETTINGS = {
    "google_workspace_setup_application": "staff",
    "google_workspace_setup_application_name": "Google for staff",
    "google_workspace_setup_mappings": [
        {
            "name": "Staff notes",
            "expression": 'return {"notes": {"value": user.username}}',
            "test_against": [{"user": "ada.example", "expect": {"notes": {"value": "ada.example"}}}],
        },
        {"name": "An old one", "state": "absent"},
    ],
    "google_workspace_setup_provider": {
        "name": "Staff",
        "delegated_subject": "admin@corp.example.com",
        "default_group_email_domain": "corp.example.com",
        "property_mappings": ["goauthentik.io/providers/google_workspace/user", "Staff notes"],
        "exclude_users_service_account": True,
        "filter_group": "engineering",
        "user_delete_action": "suspend",
    },
}


@pytest.fixture(params=VERSIONS)
def nothing(request, sandboxes):
    """An authentik with people and groups, and no provider or application."""
    with sandboxes(dataset=DATASET, authentik_version=request.param) as sandbox:
        sandbox.control("POST", "authentik/settings", {"licensed": True})
        sandbox.control("DELETE", "authentik/providers/1")
        sandbox.control("DELETE", "authentik/applications/gws")
        sandbox.control(
            "POST", "authentik/mappings", {"name": "An old one", "expression": "return {}", "model": "user"}
        )
        sandbox.clear_requests()
        yield sandbox, request.param


def run(sandbox: Sandbox, variables: Path, *arguments: str):
    environment = {
        "AUTHENTIK_URL": sandbox.authentik_url,
        "AUTHENTIK_TOKEN": sandbox.authentik_token,
        "GCP_SERVICE_ACCOUNT_CONTENTS": Path(sandbox.service_account_file).read_text(),
        "GOOGLE_WORKSPACE_API_ENDPOINT": sandbox.google_api_endpoint,
    }
    done = run_playbook(PLAYBOOK, {}, "-e", f"@{variables}", *arguments, environment=environment)
    printed = done.stdout + done.stderr
    assert json.loads(environment["GCP_SERVICE_ACCOUNT_CONTENTS"])["private_key"].splitlines()[3] not in printed
    assert sandbox.authentik_token not in printed
    return done


def recap(done) -> dict[str, int]:
    line = re.findall(r"^localhost .*$", done.stdout, re.MULTILINE)[-1]
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", line)}


def test_from_nothing_to_a_dry_run_and_then_nothing_more(nothing, tmp_path):
    sandbox, version = nothing
    variables = tmp_path / "google_workspace.yml"
    settings = json.loads(json.dumps(SETTINGS))
    if version != "2024.8.1":
        settings["google_workspace_setup_provider"]["dry_run"] = True
    variables.write_text(yaml.safe_dump(settings))

    plan = run(sandbox, variables, "--check", "--diff")
    assert plan.returncode == 0, plan.stdout[-5000:]
    # The mapping, the provider with its application, and the old mapping.
    assert recap(plan)["changed"] == 3
    assert '+    "delegated_subject": "admin@corp.example.com"' in plan.stdout
    assert [item["path"] for item in sandbox.authentik_requests() if item["method"] in WRITES] == []

    applied = run(sandbox, variables, "--diff")
    assert applied.returncode == 0, applied.stdout[-5000:] + applied.stderr[-1000:]
    assert recap(applied)["changed"] == 3
    state = sandbox.control("GET", "authentik/state")
    (provider,) = state["providers"]
    assert provider["assigned_backchannel_application_slug"] == "staff"
    assert "An old one" not in [item["name"] for item in state["mappings"]]
    assert "user ada.example: " + ("synced" if version == "2024.8.1" else "dry_run") in applied.stdout
    assert [user["primaryEmail"] for user in sandbox.google_state()["users"]] == ["admin@corp.example.com"]

    sandbox.clear_requests()
    again = run(sandbox, variables, "--diff")
    assert again.returncode == 0, again.stdout[-5000:]
    assert recap(again)["changed"] == 0
    sent = {item["path"] for item in sandbox.authentik_requests() if item["method"] in WRITES}
    assert not [path for path in sent if not path.endswith(("/test/", "/sync/object/"))]


def test_a_wrong_variable_file_is_refused_before_anything_is_sent(tmp_path, sandboxes):
    variables = tmp_path / "google_workspace.yml"
    variables.write_text(yaml.safe_dump({"google_workspace_setup_provider": {"name": "Staff", "colour": "red"}}))
    with sandboxes(dataset=DATASET) as sandbox:
        done = run(sandbox, variables)
        assert done.returncode != 0
        assert "colour" in done.stdout
        assert sandbox.authentik_requests() == []
