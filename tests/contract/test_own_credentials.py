# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service account of the operator's own does is said by the operator alone; secrets go to encrypted addresses only."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.module import reaching, run_module
from tests.support.playbook import run_task
from tests.support.tree import ROOT

SUBJECT = "admin@corp.example.com"
CALENDAR = "https://www.googleapis.com/auth/calendar"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
PERSON = {"sync_object_model": "user", "sync_object_id": "ada.example"}
# The modules that may ask Google, each with options with which it does.
ASKING: dict[str, dict[str, Any]] = {
    "google_workspace_sync": {"engine": "direct", "objects": ["ada.example"], "models": ["user"]},
    "google_workspace_sync_info": {"compare": False},
    "google_workspace_connection": {**PERSON, "google_id": "ada.example@corp.example.com"},
    "google_workspace_connection_info": {"compare": True},
    "google_workspace_sync_object": {**PERSON, "engine": "direct"},
}
USUAL = {
    **ASKING,
    "google_workspace_mapping": {"name": "m", "expression": "return {}"},
    "google_workspace_provider": {"name": "gws"},
}


def spec_of(module):
    return importlib.import_module(f"ansible_collections.dirsync.authentik.plugins.modules.{module}").argument_spec()


def asked(sandbox, module, **options):
    everything = {**reaching(sandbox), **USUAL.get(module, {}), **options}
    return {name: value for name, value in everything.items() if name in spec_of(module)}


def nothing_was_sent(sandbox):
    return sandbox.google_requests() + sandbox.authentik_requests() == []


@pytest.fixture(scope="module")
def running(sandboxes):
    with sandboxes() as found:
        yield found


@pytest.fixture
def sandbox(running):
    running.reset()
    return running


@pytest.fixture
def key(sandbox):
    return json.loads(Path(sandbox.service_account_file).read_text())


def own(sandbox, way):
    path = sandbox.service_account_file
    return {"service_account_file": path} if way == "file" else {"service_account_contents": Path(path).read_text()}


def changed(sandbox):
    """A provider whose editor wants another scope, and another account to act as; it has a connection."""
    run_module({**reaching(sandbox), **PERSON})
    sandbox.clear_requests()
    sandbox.control("PATCH", "authentik/providers/1", {"scopes": CALENDAR, "delegated_subject": "ceo@corp.example.com"})


def problems(done):
    found = done.result.get("findings") or []
    return [done.result.get("msg")] if done.failed else [item["code"] for item in found if item["severity"] == "error"]


def test_the_modules_that_may_ask_google_are_those_tried_here():
    assert set(ASKING) == {module for module in MODULES if "service_account_file" in spec_of(module)}


@pytest.mark.parametrize("module", ASKING)
@pytest.mark.parametrize("way", ["file", "contents"])
def test_a_changed_provider_chooses_neither_scope_nor_subject(sandbox, module, way):
    changed(sandbox)
    done = run_module(asked(sandbox, module, **own(sandbox, way), delegated_subject=SUBJECT), module=module)
    # What is asked for is in the delegation, and the subject is an account: neither is so of the provider's.
    assert problems(done) == [], done.result
    assert [item["status"] for item in sandbox.google_requests() if item["path"] == "/token"].count(200) >= 1
    assert {item["status"] for item in sandbox.google_requests() if item["path"] == "/token"} == {200}


@pytest.mark.parametrize("module", ASKING)
def test_the_providers_own_credentials_do_as_the_provider_says(sandbox, module):
    changed(sandbox)
    run_module(asked(sandbox, module), module=module)
    statuses = {item["status"] for item in sandbox.google_requests() if item["path"] == "/token"}
    assert statuses and 200 not in statuses


@pytest.mark.parametrize("module", ASKING)
@pytest.mark.parametrize("way", ["file", "contents"])
@pytest.mark.parametrize("check", [True, False])
def test_a_missing_subject_is_named_before_anything_is_sent(sandbox, module, way, check):
    done = run_module(asked(sandbox, module, **own(sandbox, way)), module=module, check=check)
    assert done.failed and not done.result["changed"]
    for text in ("delegated_subject is missing", "service_account_" + way, "GOOGLE_WORKSPACE_DELEGATED_SUBJECT"):
        assert text in done.result["msg"]
    assert nothing_was_sent(sandbox)


def test_the_environment_may_name_the_subject(sandbox):
    environment = {
        "GCP_SERVICE_ACCOUNT_FILE": sandbox.service_account_file,
        "GOOGLE_WORKSPACE_DELEGATED_SUBJECT": SUBJECT,
    }
    done = run_module(asked(sandbox, "google_workspace_sync_object"), env=environment)
    assert done.result["status"] == "synced"


def test_health_says_whose_credentials_were_looked_at(sandbox):
    given = own(sandbox, "file")
    done = run_module(
        asked(sandbox, "google_workspace_sync_info", **given, delegated_subject=SUBJECT),
        module="google_workspace_sync_info",
    )
    (found,) = [item for item in done.result["findings"] if item["code"] == "own_credentials"]
    assert found["severity"] == "notice" and SUBJECT in found["what"] and "service_account_file" in found["remedy"]
    without = run_module(asked(sandbox, "google_workspace_sync_info"), module="google_workspace_sync_info")
    assert "own_credentials" not in [item["code"] for item in without.result["findings"]]


TOKEN_URIS = [
    "http://oauth2.example.com/token",
    "http://127.0.0.1.example.com/token",
    "ftp://127.0.0.1/token",
    "file:///etc/passwd",
    "https://",
    "https://user:hidden-password@oauth2.example.com/token",
    "https://oauth2.example.com/\ntoken",
    "https://oauth2.example.com/token?hidden-password",
    "not a URL",
    {"x": 1},
]


@pytest.mark.parametrize("token_uri", TOKEN_URIS)
def test_a_token_uri_that_is_not_encrypted_is_refused_before_anything_is_sent(sandbox, key, tmp_path, token_uri):
    path = tmp_path / "key.json"
    path.write_text(json.dumps({**key, "token_uri": token_uri}))
    for given in ({"service_account_file": str(path)}, {"service_account_contents": path.read_text()}):
        done = run_module(asked(sandbox, "google_workspace_sync_object", **given, delegated_subject=SUBJECT))
        judged_token_uri(done, key, next(iter(given)))
    for given in ({"credentials_file": str(path)}, {"credentials": path.read_text()}):
        module = "google_workspace_provider"
        done = run_module(asked(sandbox, module, **given), module=module)
        judged_token_uri(done, key, next(iter(given)))
    assert nothing_was_sent(sandbox)


def judged_token_uri(done, key, origin):
    assert done.failed and not done.result["changed"]
    assert f"token_uri in the service account of {origin}" in done.result["msg"]
    assert "must be an https:// URL" in done.result["msg"]
    assert "hidden-password" not in done.result["msg"] and "example.com/" not in done.result["msg"]
    assert key["private_key"].splitlines()[3] not in done.output


@pytest.mark.parametrize("module", ASKING)
@pytest.mark.parametrize("token_uri", ["http://oauth2.example.com/token", None])
def test_that_of_the_provider_is_refused_too(sandbox, key, module, token_uri):
    pasted = "https://oauth2.example.com/" + key["private_key"].splitlines()[3]
    sandbox.control("PATCH", "authentik/providers/1", {"credentials": {**key, "token_uri": token_uri or pasted}})
    done = run_module(asked(sandbox, module), module=module)
    assert "token_uri in the service account of the provider in authentik" in done.output
    assert sandbox.google_requests() == []
    assert key["private_key"].splitlines()[3] not in done.output


UNENCRYPTED = "the token travels unencrypted to authentik.example.test"


@pytest.mark.parametrize("module", MODULES)
def test_a_token_that_travels_unencrypted_is_warned_of_once(sandbox, module):
    away = run_module({**asked(sandbox, module), "authentik_url": "http://authentik.example.test"}, module=module)
    assert away.failed
    (warning,) = [text for text in away.warnings if "unencrypted" in text]
    assert UNENCRYPTED in warning and "https://" in warning
    assert sandbox.authentik_token not in warning
    encrypted = run_module({**asked(sandbox, module), "authentik_url": "https://authentik.example.test"}, module=module)
    here = run_module(asked(sandbox, module), module=module)
    assert not [text for text in [*encrypted.warnings, *here.warnings] if "unencrypted" in text]


def test_google_over_http_is_refused(sandbox):
    for endpoint in ("http://admin.example.com", "http://127.0.0.1.example.com", "https://a:b@admin.example.com"):
        given = {**asked(sandbox, "google_workspace_sync_object"), "google_api_endpoint": endpoint}
        done = run_module(given)
        assert done.failed and "google_api_endpoint must be an https:// URL" in done.result["msg"]
    assert nothing_was_sent(sandbox)


def test_nothing_of_the_key_is_printed_by_a_real_playbook(sandbox, key, tmp_path):
    line = key["private_key"].splitlines()[3]
    path = tmp_path / "key.json"
    path.write_text(json.dumps({**key, "token_uri": "https://oauth2.example.com/" + line}))
    for given in (
        {"service_account_file": str(path), "delegated_subject": SUBJECT},
        {"service_account_file": sandbox.service_account_file},
        {"service_account_file": sandbox.service_account_file, "google_auth": "application_default"},
        {"service_account_file": sandbox.service_account_file, "delegated_subject": SUBJECT},
    ):
        done = run_task(asked(sandbox, "google_workspace_sync_object", **given))
        assert done.failed == (given.get("delegated_subject") is None or "key.json" in given["service_account_file"])
        assert line not in done.output and "PRIVATE KEY" not in done.output
