# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which accounts are protected, what must not be done to them, and that every write at Google asks."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER
from ansible_collections.dirsync.authentik.plugins.module_utils._objects import protection
from ansible_collections.dirsync.authentik.plugins.module_utils._objects.connection import proves

ROOT = Path(__file__).parents[4] / "plugins"
BOSS = {
    "id": "100",
    "primaryEmail": "Boss@x.test",
    "aliases": ["chief@x.test"],
    "nonEditableAliases": ["boss@alias.test"],
}
NOBODY = protection.Protection("", None)


@pytest.mark.parametrize("address", ["boss@x.test", "BOSS@X.TEST", " chief@x.test ", "boss@alias.test"])
def test_the_subject_is_known_by_each_address(address):
    found = protection.Protection(None, address)
    assert "acts as" in protection.standing(BOSS, found)
    assert not protection.standing({"id": "101", "primaryEmail": "other@x.test"}, found)
    # From then on also by its id, under an address that nobody knew.
    assert "acts as" in protection.standing({"id": "100", "primaryEmail": "renamed@x.test"}, found)


@pytest.mark.parametrize("flag", ["isAdmin", "isDelegatedAdmin"])
def test_administrators(flag):
    assert flag in protection.standing({**BOSS, flag: True}, NOBODY)
    assert protection.standing({**BOSS, flag: False}, NOBODY) == ""
    assert protection.standing(BOSS, NOBODY) == ""


@pytest.mark.parametrize(
    "body",
    [
        {"suspended": True},
        {"archived": True},
        {"primaryEmail": "x-boss@x.test"},
        {"primaryEmail": "chief@x.test"},
        {"primaryEmail": None},
        {"password": "x"},
        {"hashFunction": "MD5"},
        {"recoveryEmail": "mallory@evil.test"},
        {"recoveryPhone": "+1"},
        {"name": {"givenName": "X"}, "suspended": True},
    ],
    ids=str,
)
def test_what_must_not_be_written(body):
    with pytest.raises(protection.Protected) as caught:
        protection.check(USER, {**BOSS, "isAdmin": True}, body, NOBODY)
    text = caught.value.text("User m was not synced")
    assert text.startswith("The account Boss@x.test at Google is an administrator's")
    # It is about accounts that are protected, and about accounts alone.
    protection.check(USER, BOSS, body, NOBODY)
    protection.check(GROUP, {**BOSS, "isAdmin": True}, body, NOBODY)
    protection.check(USER, None, body, NOBODY)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": {"givenName": "X"}},
        {"suspended": False, "archived": None},
        {"primaryEmail": "boss@x.test"},
        {"recoveryEmail": "", "recoveryPhone": None},
    ],
    ids=str,
)
def test_what_may_be_written(body):
    protection.check(USER, {**BOSS, "isAdmin": True}, body, NOBODY)


def test_what_is_so_already_is_not_done():
    record = {**BOSS, "isAdmin": True, "suspended": True, "archived": True, "recoveryEmail": "A@x.test"}
    protection.check(USER, record, {"suspended": True, "archived": True, "recoveryEmail": "a@x.test"}, NOBODY)


@pytest.mark.parametrize("act", [{"takes_over": True}, {"deletes": True}])
def test_taking_over_and_deleting(act):
    with pytest.raises(protection.Protected):
        protection.check(USER, {**BOSS, "isDelegatedAdmin": True}, {}, NOBODY, **act)
    protection.check(USER, BOSS, {}, NOBODY, **act)


def row(google_id: str, own_id: str = "") -> dict[str, Any]:
    return {"id": "r", "google_id": google_id, "attributes": {"id": own_id} if own_id else {}}


@pytest.mark.parametrize(
    ("connection", "address", "proven"),
    [
        (None, "boss@x.test", False),
        (row("boss@x.test", "100"), "m@x.test", True),
        (row("old@x.test", "100"), "m@x.test", True),
        (row("boss@x.test", "99"), "boss@x.test", False),
        (row("boss@x.test"), "BOSS@x.test", True),
        (row("boss@x.test"), "m@x.test", False),
        (row("chief@x.test"), "chief@x.test", False),
        (row("100"), "m@x.test", True),
        (row(""), "", False),
    ],
)
def test_which_connection_proves_whose_account_it_is(connection, address, proven):
    assert proves(connection, BOSS, address) is proven


WRITING = (
    "create",
    "update",
    "delete",
    "add_member",
    "remove_member",
    "create_connection",
    "delete_connection",
)


def test_one_file_of_the_engines_writes():
    """Who adds a way to a write has to put it into the executor, which asks protection.py before each."""
    writing: dict[str, set[str]] = {}
    for path in sorted((ROOT / "module_utils").rglob("*.py")):
        name = str(path.relative_to(ROOT / "module_utils"))
        if name.startswith(("_google/", "_authentik/")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in WRITING and _is_client(node.value):
                writing.setdefault(name, set()).add(node.attr)
    assert set(writing) == {"_sync/direct/executor.py", "_config/connection.py"}
    assert writing["_sync/direct/executor.py"] == set(WRITING)
    # What a user asks of the connection module; it asks protection.py itself.
    assert writing["_config/connection.py"] == {"create_connection", "delete_connection"}


def _is_client(node):
    """Whether a value is Google's directory or authentik's API, by the name that they have everywhere."""
    return getattr(node, "attr", getattr(node, "id", "")) in ("directory", "authentik")
