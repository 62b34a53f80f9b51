# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every exit before a run: a sync module that refuses an option returns what its documentation says is always returned."""

from __future__ import annotations

import importlib

import pytest
import yaml

from tests.support.module import PACKAGE, run_module

SYNC, OBJECT = "google_workspace_sync", "google_workspace_sync_object"
NEEDED = {
    SYNC: {},
    OBJECT: {"sync_object_model": "user", "sync_object_id": "ada"},
}
# Nobody listens there: a refusal does not depend on it, and the last case meets it.
REACHING = {"authentik_url": "http://127.0.0.1:9/", "authentik_token": "planted-secret-value", "provider_id": 1}
TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "str": str,
    "list": list,
    "dict": dict,
    "float": (int, float),
    "int": int,
}
KEY = '{"type": "service_account"}'

# (options, what the message names); None takes an option away.
OF_BOTH = [
    # Refused by ansible-core.
    ({"engine": "neither"}, "engine"),
    ({"verify": "perhaps"}, "verify"),
    ({"membership": "some"}, "membership"),
    ({"lookup": "guess"}, "lookup"),
    ({"fail_on": ["loud"]}, "fail_on"),
    ({"keep_members": ["friends"]}, "keep_members"),
    ({"google_auth": "magic"}, "google_auth"),
    ({"sync_timeout": "soon"}, "sync_timeout"),
    ({"google_wait": ["x"]}, "google_wait"),
    ({"provider_id": "one"}, "provider_id"),
    ({"override_dry_run": "maybe"}, "override_dry_run"),
    ({"validate_certs": "maybe"}, "validate_certs"),
    ({"no_such_option": 1}, "no_such_option"),
    ({"authentik_url": None}, "authentik_url"),
    ({"authentik_token": None}, "authentik_token"),
    ({"provider_id": None}, "provider_id"),
    ({"provider_name": "Google Workspace"}, "provider_name"),
    ({"service_account_file": "/x", "service_account_contents": KEY}, "service_account_file"),
    # Refused by the module, from its options alone.
    ({"provider_name": "a\nb", "provider_id": None}, "provider_name"),
    ({"provider_name": " ", "provider_id": None}, "provider_name"),
    ({"provider_id": 0}, "provider_id"),
    ({"authentik_token": "a b"}, "authentik_token"),
    ({"authentik_token": ""}, "authentik_token"),
    ({"authentik_url": "ftp://x.test"}, "authentik_url"),
    ({"authentik_url": "http://user:planted-secret-value@x.test"}, "authentik_url"),
    ({"ca_path": "/nowhere/ca.pem"}, "ca_path"),
    ({"request_timeout": 0}, "request_timeout"),
    ({"sync_timeout": -1}, "sync_timeout"),
    ({"google_wait": 1e9}, "google_wait"),
    ({"google_api_endpoint": "http://x.test"}, "google_api_endpoint"),
    ({"service_account_contents": KEY}, "service_account_contents"),
    ({"service_account_file": "/nowhere/key.json"}, "service_account_file"),
    ({"engine": "direct", "verify": "none"}, "verify"),
    ({"engine": "server", "membership": "exact"}, "membership"),
]
OF = {
    SYNC: [
        ({"models": ["planet"]}, "models"),
        ({"parallel": "many"}, "parallel"),
        ({"models": []}, "models"),
        ({"parallel": 0}, "parallel"),
        ({"parallel": 65, "engine": "server"}, "parallel"),
        ({"queries_per_minute": 0}, "queries_per_minute"),
        ({"user_creations_per_second": 0}, "user_creations_per_second"),
        ({"mapping_sample": 0}, "mapping_sample"),
        ({"result_limit": -1}, "result_limit"),
        ({"shard_count": 0}, "shard_count"),
        ({"shard_index": 1}, "shard_index"),
        ({"safety_limits": {"suspensions": "many"}}, "safety_limits.suspensions must be"),
        ({"safety_limits": {"deletions": "-1"}}, "safety_limits.deletions must be"),
        ({"safety_limits": {"creations": 1.5}}, "safety_limits.creations must be"),
        ({"safety_limits": {"removals_per_group": "101%"}}, "safety_limits.removals_per_group must be"),
        ({"safety_limits": {"missing": ""}}, "safety_limits.missing must be"),
        ({"safety_limits": {"floor": -1}}, "safety_limits.floor must be"),
        ({"safety_limits": {"floor": "low"}}, "floor"),
        ({"safety_limits": {"suspension": 5}}, "safety_limits.suspension"),
        ({"engine": "server", "safety_limits": {"changes": "all"}}, "safety_limits.changes must be"),
        ({"objects": ["ada"], "orphans": "apply"}, "objects"),
        ({"objects": ["ada"], "shard_count": 2}, "objects"),
        ({"objects": [" "]}, "objects"),
        ({"objects": ["a\tb"]}, "objects"),
        ({"engine": "server", "objects": ["ada"]}, "objects"),
        ({"engine": "server", "models": ["user"]}, "models"),
        ({"engine": "server", "orphans": "apply"}, "orphans"),
        ({"engine": "server", "shard_count": 2}, "shard_count"),
        ({"engine": "server", "override_dry_run": True}, "override_dry_run"),
        ({"engine": "server", "journal": "/tmp/x"}, "journal"),
        ({"progress_path": "/nowhere/progress"}, "progress_path"),
        ({"report_path": "/nowhere/report"}, "report_path"),
        ({"engine": "server", "report_path": "/nowhere/report"}, "report_path"),
    ],
    OBJECT: [
        ({"sync_object_model": "planet"}, "sync_object_model"),
        ({"sync_object_id": None}, "sync_object_id"),
        ({"out_of_scope": "cry"}, "out_of_scope"),
        ({"sync_object_id": " "}, "sync_object_id"),
        ({"sync_object_id": "a\x00"}, "sync_object_id"),
        ({"sync_object_id": "ada", "lookup": "pk"}, "lookup"),
    ],
}
CASES = [(module, *case) for module in (SYNC, OBJECT) for case in OF_BOTH + OF[module]]


def documented(module):
    """RETURN: its keys, with when they are returned and their types."""
    return yaml.safe_load(importlib.import_module(f"{PACKAGE}.{module}").RETURN)


def has_the_modules_form(module, result):
    """Hold a failed run's result against RETURN."""
    about = documented(module)
    always = {key for key, value in about.items() if value["returned"].startswith("always")}
    on_failure = {key for key, value in about.items() if value["returned"] == "on failure"}
    assert len(always) > 12
    assert on_failure == {"msg", "errors", "code", "http_status"}
    assert always | on_failure <= set(result)
    assert set(result) - set(about) <= {"failed", "exception"}
    for key in always | on_failure:
        assert result[key] is None or isinstance(result[key], TYPES[about[key]["type"]]), key
    assert (result["changed"], result["status"], result["basis"]) == (False, "failed", "nothing_sent")
    assert result["engine"] in ("server", "direct")


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(("module", "options", "named"), CASES)
def test_a_refused_option_ends_in_the_modules_own_form(module, options, named, check):
    asked = {**REACHING, **NEEDED[module], **options}
    run = run_module({key: value for key, value in asked.items() if value is not None}, module=module, check=check)
    assert run.failed
    has_the_modules_form(module, run.result)
    assert named in run.result["msg"]
    assert run.result["code"] == "invalid_option"
    assert run.result["calls"] == {"authentik": 0, "google": 0, "google_token": 0}
    assert "planted-secret-value" not in run.output


def test_a_journal_that_cannot_be_written_ends_in_the_modules_own_form():
    """Check mode writes none."""
    run = run_module({**REACHING, "journal": "/nowhere/journal"}, module=SYNC)
    has_the_modules_form(SYNC, run.result)
    assert (run.result["code"], "journal" in run.result["msg"]) == ("invalid_option", True)


@pytest.mark.parametrize("engine", ["server", "direct"])
@pytest.mark.parametrize("module", [SYNC, OBJECT])
def test_the_result_names_the_engine_that_was_asked_for(module, engine):
    run = run_module({**REACHING, **NEEDED[module], "engine": engine, "request_timeout": 0}, module=module)
    assert run.result["engine"] == engine


@pytest.mark.parametrize("engine", ["server", "direct"])
@pytest.mark.parametrize("module", [SYNC, OBJECT])
def test_an_authentik_out_of_reach_ends_in_the_modules_own_form(module, engine):
    run = run_module({**REACHING, **NEEDED[module], "engine": engine}, module=module)
    assert run.failed
    has_the_modules_form(module, run.result)
    assert run.result["code"] == "authentik_refused"
