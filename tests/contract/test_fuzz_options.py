# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile and absurd values for every option of every module: a clear error or a correct run, and no secret printed."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.process import Sandbox
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
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.sampled_from(TEXTS), max_size=3),
    st.dictionaries(st.sampled_from(["type", "private_key", "x"]), st.sampled_from([SECRET, "", 1, None]), max_size=3),
)


def options():
    for name in MODULES:
        module = importlib.import_module(f"ansible_collections.dirsync.authentik.plugins.modules.{name}")
        for option in module.argument_spec():
            yield pytest.param(name, option, id=f"{name}-{option}")


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as running:
        yield running


@pytest.mark.parametrize(("module", "option"), list(options()))
def test_every_option(sandbox, module, option):
    key = json.loads(Path(sandbox.service_account_file).read_text())["private_key"].splitlines()[3]
    good = {
        **reaching(sandbox),
        "sync_object_model": "user",
        "sync_object_id": "ada.example",
        "engine": "direct",
        "request_timeout": 2,
        "google_wait": 1,
    }

    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(value=VALUES)
    def attempt(value):
        sandbox.clear_requests()
        before = unvaried(sandbox.google_state())
        given_options = {**good, option: value}
        if option == "provider_name":
            del given_options["provider_id"]
        run = run_module(given_options, module=module, check=True)
        assert "Traceback" not in run.output
        if run.failed:
            assert len(run.result["msg"]) > 15
        else:
            assert run.result["status"] in ("synced", "unchanged", "out_of_scope", "unconfirmed")
        secrets = [key, sandbox.authentik_token]
        if option in ("authentik_token", "service_account_contents") or (option in URLS and "user:" in str(value)):
            # Elsewhere it is a value like any other, and quoted where it is wrong.
            secrets.append(SECRET)
        for secret in secrets:
            assert secret not in run.output
        assert unvaried(sandbox.google_state()) == before
        for item in sandbox.authentik_requests():
            assert re.fullmatch(r"/api/v3/[\w/@.%+-]*", item["path"]), item["path"]
            assert "/../" not in item["path"]

    attempt()
