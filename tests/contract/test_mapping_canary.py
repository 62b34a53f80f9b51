# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A property mapping finds no secret of a run: not the token, not the key, nothing of the environment or of files.

The mappings behave for everybody but one user outside of the sample, for whom they write what they find into ``notes``.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.leaks import LEAKS
from tests.support.module import reaching, run_module

SUBJECT = "admin@corp.example.com"
CANARY = "canary-77d1a0"
TARGET = "user41"
USERS = [
    {"username": f"user{number:02}", "name": f"User Number{number:02}", "email": f"user{number:02}@corp.example.com"}
    for number in range(60)
]
# Frames and globals by templates with a broken tail, which Python evaluates up to there; the error's text holds the rest.
TEMPLATES = """
given, sep, family = user.name.partition(" ")
record = {"name": {"givenName": given, "familyName": family}, "suspended": not user.is_active}
if user.username == "TARGET":
    def probe(path, thing):
        try:
            ("{1:{0" + path + "}} }").format(thing, 1)
        except Exception as e:
            return str(e.args[0])
        return ""
    out = [probe(".__globals__[sys].modules[ansible.module_utils.basic]._ANSIBLE_ARGS", regex_match)]
    try:
        1 / 0
    except ZeroDivisionError as e:
        for depth in range(1, 24):
            frame = ".__traceback__.tb_frame" + ".f_back" * depth
            out.append(probe(frame + ".f_locals[self].directory.session.credentials.info", e))
            out.append(probe(frame + ".f_locals[self].authentik.client._token", e))
    record["notes"] = {"value": str(out), "contentType": "text_plain"}
return record
""".replace("TARGET", TARGET)
# Every other way of the unit tests, in one mapping each.
OTHERS = [
    "def found():\n"
    + "\n".join("    " + line for line in source.splitlines())
    + f"\nr = {{'name': {{'givenName': user.username, 'familyName': 'X'}}}}\nif user.username == '{TARGET}':\n"
    "    r['notes'] = {'value': str(found()), 'contentType': 'text_plain'}\nreturn r"
    for source in LEAKS
]


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    path = tmp_path_factory.mktemp("canary") / "dataset.json"
    path.write_text(json.dumps({"domain": "corp.example.com", "users": USERS, "groups": []}), encoding="utf-8")
    with sandboxes(dataset=path) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    running.control("POST", "authentik/settings", {"signals": False})
    return running


@pytest.fixture
def key_file(sandbox, tmp_path, monkeypatch):
    """The operator's key, with a mark that authentik never saw, and a mark in the environment."""
    monkeypatch.setenv("A_SECRET_OF_THE_TEST", CANARY)
    with open(sandbox.info["service_account_file"], encoding="utf-8") as file:
        key = json.load(file)
    key["private_key_id"] = CANARY
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    return str(path)


def everything_seen(sandbox: Any, run: Any, expression: str) -> str:
    """All that a run left at Google and gave back, without the expression itself."""
    notes = [user.get("notes") for user in sandbox.google_state()["users"]]
    return json.dumps([notes, run.result]).replace(json.dumps(expression)[1:-1], "")


def holds_a_secret(sandbox: Any, seen: str) -> bool:
    return any(secret in seen for secret in (CANARY, "BEGIN PRIVATE KEY", sandbox.authentik_token))


def synced(sandbox: Any, key_file: str, expression: str, mode: str, **more: Any) -> tuple[Any, str]:
    sandbox.control("POST", "authentik/mappings", {"name": "ours", "expression": expression, "model": "user"})
    sandbox.control("PATCH", "authentik/providers/1", {"property_mappings": ["ours"]})
    options = {"models": ["user"], "mapping_evaluation": mode, "service_account_file": key_file, **more}
    run = run_module(
        {**reaching(sandbox), **options, "delegated_subject": SUBJECT, "google_wait": 2, "force": True},
        module="google_workspace_sync",
    )
    return run, everything_seen(sandbox, run, expression)


@pytest.mark.parametrize("mode", ["auto", "local"])
def test_templates_find_nothing(sandbox, key_file, mode):
    run, seen = synced(sandbox, key_file, TEMPLATES, mode)
    assert not holds_a_secret(sandbox, seen)
    assert run.result["status"] in ("synced", "failed")


@pytest.mark.parametrize("expression", OTHERS, ids=range(len(OTHERS)))
def test_no_other_way_finds_anything(sandbox, key_file, expression):
    """By the local evaluation alone: what it refuses fails, and nothing of it is asked elsewhere."""
    _run, seen = synced(sandbox, key_file, expression, "local", objects=[f"user:{TARGET}"])
    assert not holds_a_secret(sandbox, seen)


def test_the_canary_would_be_seen(sandbox, key_file):
    """A mapping that holds the mark itself is found out: the test above can fail."""
    expression = (
        f"return {{'name': {{'givenName': 'A', 'familyName': 'B'}}, 'notes': {{'value': 'canary-' + '{CANARY[7:]}'}}}}"
    )
    _run, seen = synced(sandbox, key_file, expression, "local")
    assert holds_a_secret(sandbox, seen)
