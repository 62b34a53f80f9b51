# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sync changed, in words for the terminal."""

from __future__ import annotations

import pytest

from ansible_collections.dirsync.authentik.plugins.plugin_utils.wording import sentences

USER = {"model": "authentik.core.models.User", "name": "ada"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "name.givenName", "before": "Adah", "after": "Ada"}, "name.givenName from Adah to Ada"),
        ({"path": "suspended", "before": False, "after": True}, "suspended from false to true"),
        ({"path": "orgUnitPath", "before": None, "after": "/a b"}, "orgUnitPath set to /a b"),
        ({"path": "recoveryEmail", "before": "a@example.com", "after": None}, "recoveryEmail a@example.com removed"),
        ({"path": "members", "added": ["a@x.test"], "removed": []}, "members added a@x.test"),
        ({"path": "members", "added": ["a"], "removed": ["b", "c"]}, "members added a, removed b, c"),
        ({"path": "emails", "before": None, "after": [{"address": "ä"}]}, 'emails set to [{"address": "ä"}]'),
        ({"path": "name.givenName", "before": "a", "after": "\x1b[31mred\n"}, r'from a to "\u001b[31mred\n"'),
        ({"path": "name.givenName", "before": "a", "after": "\u202eabc"}, r'from a to "\u202eabc"'),
    ],
)
def test_a_change(change, words):
    (text,) = sentences({"object": USER, "changes": [change]}, False)
    assert text.startswith("user ada: ") and text.endswith(words)
    assert text.isprintable()


def test_nothing_changed():
    assert sentences({"object": USER, "changes": []}, False) == []
    assert sentences({"msg": "it failed before there was a result"}, False) == []


def test_what_would_change_is_told_so():
    change = {"path": "name.givenName", "before": "a", "after": "b"}
    assert sentences({"object": USER, "changes": [change]}, True) == [
        "user ada would change: name.givenName from a to b"
    ]
    dry = {"object": USER, "changes": [change], "status": "dry_run"}
    assert sentences(dry, False) == ["user ada would change: name.givenName from a to b"]


def test_what_is_assumed_is_told_so():
    change = {"path": "name.givenName", "before": None, "after": "b"}
    (text,) = sentences({"object": USER, "changes": [change], "basis": "assumed"}, False)
    assert text == "user ada: name.givenName set to b (assumed, see the warning)"


def test_many_objects_are_cut_and_counted():
    change = {"path": "name.givenName", "before": None, "after": "b"}
    items = [{**USER, "name": f"u{number}", "action": "created", "changes": [change]} for number in range(30)]
    found = sentences({"changes": items, "changes_total": 500}, False)
    assert found[0] == "user u0: created (name.givenName set to b)"
    assert len(found) == 21
    assert found[-1] == "and 480 more"


def test_many_members_are_cut_and_counted():
    change = {"path": "members", "added": [f"m{number}" for number in range(12)], "removed": []}
    (text,) = sentences({"object": USER, "changes": [change]}, False)
    assert text.endswith("m8, m9 and 2 more")
