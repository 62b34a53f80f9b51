# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a difference."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import USER
from ansible_collections.dirsync.authentik.plugins.module_utils._objects import difference

NAME = {"givenName": "Ada", "familyName": "Example", "fullName": "Ada Example"}
ADA = {
    "id": "1",
    "primaryEmail": "ada@corp.example.com",
    "name": NAME,
    "suspended": False,
    "etag": '"x"',
    "lastLoginTime": "2026-01-01T00:00:00Z",
}

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
entries = st.dictionaries(st.sampled_from(["type", "value", "customType"]), names, min_size=1)
users = st.fixed_dictionaries(
    {"primaryEmail": st.emails(), "name": st.dictionaries(st.sampled_from(["givenName", "familyName"]), names)},
    optional={
        "suspended": st.booleans(),
        "phones": st.lists(entries, max_size=4),
        "orgUnitPath": st.sampled_from(["/", "/Staff"]),
        "customSchemas": st.dictionaries(names, st.dictionaries(names, st.integers() | names, max_size=2), max_size=2),
        "aliases": st.lists(st.emails(), max_size=2),
    },
)


def test_a_changed_field_is_one_difference_with_its_path():
    now = {**ADA, "name": {**NAME, "givenName": "Adah", "fullName": "Adah Example"}}
    assert difference.changes(USER, now, ADA) == [{"path": "name.givenName", "before": "Adah", "after": "Ada"}]


@pytest.mark.parametrize(
    "also",
    [
        {"etag": '"y"'},
        {"lastLoginTime": "2026-02-02T00:00:00Z"},
        {"isMailboxSetup": True},
        {"primaryEmail": "ADA@corp.example.com"},
        {"emails": [{"address": "ada@corp.example.com", "primary": True}]},
        {"emails": [{"address": "ada@corp.example.com.test-google-a.com"}]},
        {"suspended": None},
        {"orgUnitPath": "/"},
        {"includeInGlobalAddressList": True},
        {"phones": []},
    ],
)
def test_what_changes_by_itself_or_means_the_same_is_no_difference(also):
    assert difference.changes(USER, ADA, {**ADA, **also}) == []


@pytest.mark.parametrize(
    ("also", "path"),
    [
        ({"id": "2"}, "id"),
        ({"suspended": True}, "suspended"),
        ({"includeInGlobalAddressList": False}, "includeInGlobalAddressList"),
        ({"orgUnitPath": "/Staff"}, "orgUnitPath"),
        ({"aliases": ["a@corp.example.com"]}, "aliases"),
        ({"emails": [{"address": "ada@home.example.com", "type": "home"}]}, "emails"),
        ({"customSchemas": {"HR": {"floor": "3"}}}, "customSchemas.HR.floor"),
        ({"customSchemas": {"HR": {"keys": [{"value": "1"}]}}}, "customSchemas.HR.keys"),
        ({"customSchemas": {"HR": {"remote": True}}}, "customSchemas.HR.remote"),
    ],
)
def test_what_somebody_changed_is_a_difference(also, path):
    assert [item["path"] for item in difference.changes(USER, ADA, {**ADA, **also})] == [path]
    assert [item["path"] for item in difference.changes(USER, {**ADA, **also}, ADA)] == [path]


@pytest.mark.parametrize("path", ["phones", "customSchemas.HR.phones"])
def test_entries_of_a_list_are_told_apart_by_what_they_say(path):
    def resource(*entries):
        found: Any = list(entries)
        for key in reversed(path.split(".")):
            found = {key: found}
        return found

    one = {"type": "work", "value": "1"}
    for other in ({**one, "value": "2"}, {**one, "type": "home"}, {**one, "primary": True}, {"type": "work"}):
        assert [item["path"] for item in difference.changes(USER, resource(one), resource(other))] == [path]
        assert [item["path"] for item in difference.unmet(USER, resource(other), resource(one))] == [path]
    for idle in ({"primary": False}, {"customType": ""}, {"customType": None}):
        assert difference.changes(USER, resource(one), resource({**one, **idle})) == []
        assert difference.unmet(USER, resource({**one, **idle}), resource(one)) == []


def test_only_managed_fields_are_unmet():
    wanted = {"primaryEmail": "ada@corp.example.com", "name": {"givenName": "Ada"}, "isAdmin": True, "password": "x"}
    assert difference.unmet(USER, wanted, ADA) == []
    assert difference.unmet(USER, {**wanted, "suspended": True}, ADA) == [
        {"path": "suspended", "before": False, "after": True}
    ]


def test_numbers_in_custom_schemas_come_back_as_text():
    wanted = {"customSchemas": {"HR": {"floor": 3}}}
    assert difference.unmet(USER, wanted, {"customSchemas": {"HR": {"floor": "3"}}}) == []
    assert difference.unmet(USER, wanted, {"customSchemas": {"HR": {"floor": "4"}}}) != []


@given(users)
def test_a_state_never_differs_from_itself_in_another_order(user):
    turned = {key: list(reversed(value)) if isinstance(value, list) else value for key, value in user.items()}
    assert difference.changes(USER, user, turned) == []
    assert difference.unmet(USER, user, turned) == []


@given(users, users)
def test_differences_are_symmetric_and_vanish_once_applied(one, other):
    there = difference.changes(USER, one, other)
    back = difference.changes(USER, other, one)
    assert [item["path"] for item in there] == [item["path"] for item in back]
    assert difference.unmet(USER, other, {**one, **other}) == []


@given(
    st.dictionaries(st.emails(), st.sampled_from(["MEMBER", "OWNER"])), st.dictionaries(st.emails(), st.just("MEMBER"))
)
def test_member_changes_lead_from_one_membership_to_the_other(before, after):
    state = dict(before)
    for item in difference.member_changes(before, after):
        if item["path"] == "members":
            for key in item["removed"]:
                del state[key]
            state.update({key: after[key] for key in item["added"]})
        else:
            state[item["path"][len("members.") : -len(".role")]] = item["after"]
    assert state == after


def test_members_without_an_address_are_told_apart_by_id():
    assert difference.member_roles([{"id": "C01", "type": "CUSTOMER"}, {"email": "A@x.test", "role": "OWNER"}]) == {
        "c01": "MEMBER",
        "a@x.test": "OWNER",
    }
