# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile and absurd values for every option of every module: a clear error or a correct run, and no secret printed."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._module import (
    authentik_arguments,
    google_arguments,
    provider_arguments,
)
from tests.support.check import share
from tests.support.clock import pacing_faster
from tests.support.google import unvaried
from tests.support.module import reaching, run_module
from tests.support.tree import ROOT

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")
SECRET = "planted-secret-value"
URLS = ("authentik_url", "google_api_endpoint")
TEXTS = [
    "",
    " ",
    "\x00",
    "ada\x00",
    "a\nb",
    "\x1b[31m",
    "x" * 100_000,
    "../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "/",
    "~root",
    "$HOME",
    "%s%s%n",
    "{{ 7 * 7 }}",
    "'; DROP TABLE users; --",
    "1/../../2",
    "1?x=y#z",
    "%2e%2e%2f",
    "\ud800",
    "Ünïcödé ✓ 日本",
    "\u202eoverride",
    "null",
    "true",
    "-1",
    "0",
    "1e9",
    "99999999999999999999999999",
    "NaN",
    "0x10",
    "file:///etc/passwd",
    "gopher://127.0.0.1:1/",
    "ftp://example.com/",
    "javascript:alert(1)",
    "http://",
    "https://[::1",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:1/",
    f"http://user:{SECRET}@127.0.0.1:1/",
    "https://127.0.0.1:1/?token=x",
    "http://127.0.0.1:1/#x",
    "HTTP://LOCALHOST:1",
    '{"type": "service_account", "private_key": "' + SECRET + '"}',
    "[" * 5000,
]
VALUES = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=40),
    st.integers(),
    # ansible-core itself stumbles over an infinite number where an integer is wanted, before any module is asked.
    st.floats(allow_infinity=False),
    st.booleans(),
    st.none(),
    st.lists(st.sampled_from(TEXTS), max_size=3),
    st.dictionaries(st.sampled_from(["type", "private_key", "x"]), st.sampled_from([SECRET, "", 1, None]), max_size=3),
)


# What an option holds while another one is in question, in whatever module it is; the others have their defaults.
USUAL = {
    "sync_object_model": "user",
    "sync_object_id": "ada.example",
    "engine": "direct",
    "name": "fuzzed",
    "expression": "return {}",
    "delegated_subject": "admin@corp.example.com",
    "default_group_email_domain": "corp.example.com",
    "request_timeout": 2,
    "sync_timeout": 10,
    "google_wait": 1,
}
# Two ways to say the same, of which one may be given.
INSTEAD_OF = {"provider_name": "provider_id"}
# A module that takes one of the two, too.
OF_ONE_PROVIDER = "google_workspace_provider_info"
# The options that all modules have, and the module that tries them out in full.
COMMON = {*authentik_arguments(), *google_arguments(), *provider_arguments()}
FULLY = "google_workspace_sync_object"
# One request a minute is a value, too, and nobody should have to wait for it.
UNHURRIED = 10_000
# How a sync that did not fail may end.
STATUSES = ("synced", "unchanged", "out_of_scope", "unconfirmed")


def spec_of(module):
    return importlib.import_module(f"ansible_collections.dirsync.authentik.plugins.modules.{module}").argument_spec()


def options():
    """Each option of each module, and each option inside one that has some, as (module, option, inner option)."""
    for module in MODULES:
        for option, about in spec_of(module).items():
            yield pytest.param(module, option, None, id=f"{module}-{option}")
            for inner in about.get("options", {}):
                yield pytest.param(module, option, inner, id=f"{module}-{option}.{inner}")


def usual(sandbox, module, option):
    """Parameters with which the module runs, but for the option in question."""
    known = {**USUAL, **reaching(sandbox)}
    left_out = INSTEAD_OF.get(option)
    if module == OF_ONE_PROVIDER:
        left_out = "provider_id" if option == "name" else "name"
    return {name: value for name, value in known.items() if name in spec_of(module) and name != left_out}


def asked_for(module, option, inner, value):
    if inner is None:
        return value
    return [{inner: value}] if spec_of(module)[option].get("type") == "list" else {inner: value}


@pytest.fixture(scope="module")
def sandbox(sandboxes):
    with sandboxes() as running:
        yield running


@pytest.fixture(autouse=True, scope="module")
def a_folder_of_its_own(tmp_path_factory):
    """Some options name files: relative ones are written into the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fuzz"))
        yield


def judged(sandbox, run, option, value, key):
    """What holds of every run, whatever it was asked for."""
    assert "Traceback" not in run.output
    if run.failed:
        assert len(run.result["msg"]) > 15
    elif "status" in run.result:
        # fail_on_objects: false lets the task succeed, and not the objects.
        assert run.result["status"] in (*STATUSES, *(["failed"] if option == "fail_on_objects" else []))
    secrets = [key, sandbox.authentik_token]
    if option in ("authentik_token", "service_account_contents") or (option in URLS and "user:" in str(value)):
        # Elsewhere it is a value like any other, and quoted where it is wrong.
        secrets.append(SECRET)
    for secret in secrets:
        assert secret not in run.output
    for item in sandbox.authentik_requests():
        assert re.fullmatch(r"/api/v3/[\w/@.%+-]*", item["path"]), item["path"]
        assert "/../" not in item["path"]
        assert not re.search(r"[\x00-\x1f\x7f]", "".join(map(str, item["query"].values()))), item["query"]
    for item in sandbox.google_requests():
        # Shown with its escapes resolved; a name's own slash was sent as %2F.
        assert re.fullmatch(r"/token|/admin/directory/v1/[^\x00-\x1f\x7f]*", item["path"]), item["path"]


def examples_of(module, option, usual):
    """Fewer for what all modules have in common: it is read in one place, which the first module tries out in full."""
    return usual if module == FULLY or option not in COMMON else max(usual // 6, 2)


def fuzzed(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )


@pytest.mark.parametrize(("module", "option", "inner"), list(options()))
def test_every_option_in_check_mode(sandbox, module, option, inner):
    key = json.loads(Path(sandbox.service_account_file).read_text())["private_key"].splitlines()[3]
    sandbox.reset()

    @fuzzed(examples_of(module, option, share(24)))
    @given(value=VALUES)
    def attempt(value):
        sandbox.clear_requests()
        before = unvaried(sandbox.google_state())
        parameters = {**usual(sandbox, module, option), option: asked_for(module, option, inner, value)}
        with pacing_faster(UNHURRIED):
            run = run_module(parameters, module=module, check=True)
        judged(sandbox, run, option, value, key)
        assert unvaried(sandbox.google_state()) == before
        sent = [item for item in sandbox.authentik_requests() if item["method"] not in ("GET", "HEAD", "OPTIONS")]
        assert [item["path"] for item in sent if not item["path"].endswith("/test/")] == []

    attempt()


@pytest.mark.parametrize(("module", "option", "inner"), list(options()))
def test_every_option_for_real(sandbox, module, option, inner):
    """A clear error, or a run that did what it was asked: then there is nothing left for a second one to do."""
    key = json.loads(Path(sandbox.service_account_file).read_text())["private_key"].splitlines()[3]

    @fuzzed(examples_of(module, option, share(6)))
    @given(value=VALUES)
    def attempt(value):
        sandbox.reset()
        parameters = {**usual(sandbox, module, option), option: asked_for(module, option, inner, value)}
        with pacing_faster(UNHURRIED):
            run = run_module(parameters, module=module)
        judged(sandbox, run, option, value, key)
        if not run.failed:
            with pacing_faster(UNHURRIED):
                again = run_module(parameters, module=module)
            assert not again.failed, again.result["msg"]
            assert not again.result["changed"], again.result

    attempt()
