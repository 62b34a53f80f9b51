# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which identifiers are accepted, and who is in a provider's scope."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.errors import AuthentikError
from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER
from ansible_collections.dirsync.authentik.plugins.module_utils._objects import target

UUID = "7315970f-01bf-4fec-881a-14e0169091cb"


class People:
    """Stands for authentik's look-ups: users as dicts; notes what was asked."""

    def __init__(self, *users):
        self.people, self.asked = users, []

    def get(self, kind, pk):
        assert kind is USER
        self.asked.append(pk)
        return next((item for item in self.people if str(item["pk"]) == pk), None)

    def users(self, **filters):
        self.asked.append(filters)
        return [item for item in self.people if all(item.get(key) == value for key, value in filters.items())]

    def similar(self, kind, text):
        assert kind is USER
        return [item for item in self.people if text.lower() in json.dumps(item).lower()]


ADA = {"pk": 6, "username": "ada", "email": "ada@x.test", "name": "Ada", "uuid": UUID}


@pytest.mark.parametrize(
    ("value", "lookup"),
    [
        ("6", "auto"),
        ("6", "pk"),
        ("ada", "auto"),
        ("ada@x.test", "auto"),
        (UUID, "auto"),
        (UUID.upper(), "uuid"),
        ("Ada", "auto"),
    ],
)
def test_one_person_by_many_names(value, lookup):
    people: Any = People(ADA)
    assert target.find(people, USER, value, lookup).pk == "6"


def test_an_address_that_means_two_people_is_ambiguous():
    other = {"pk": 7, "username": "ada@x.test", "email": "other@x.test", "name": "Other"}
    people: Any = People(ADA, other)
    with pytest.raises(AuthentikError, match=r"ada \(pk 6.*ada@x.test \(pk 7|ada@x.test \(pk 7.*ada \(pk 6") as caught:
        target.find(people, USER, "ada@x.test", "auto")
    assert caught.value.kind == "ambiguous"


NAMED = {"username": "9", "email": "nine@x.test", "name": "Nine", "uuid": "00000000-0000-4000-8000-000000000009"}


def test_a_username_of_digits_that_is_nobodys_key_is_found():
    people: Any = People({**NAMED, "pk": 12})
    assert target.find(people, USER, "9", "auto").pk == "12"


def test_a_username_of_digits_that_is_its_own_key_is_one_user():
    people: Any = People({**NAMED, "pk": 9})
    assert target.find(people, USER, "9", "auto").pk == "9"


@pytest.mark.parametrize("field", ["username", "name"])
def test_digits_that_are_a_key_and_a_name_of_another_are_ambiguous(field):
    other = {**NAMED, "pk": 12, "username": "zoe", "name": "Zoe", field: "6"}
    people: Any = People(ADA, other)
    with pytest.raises(AuthentikError) as caught:
        target.find(people, USER, "6", "auto")
    assert caught.value.kind == "ambiguous"
    assert "ada (pk 6, ada@x.test; lookup: pk)" in str(caught.value)
    assert f"{other['username']} (pk 12, nine@x.test; lookup: {field})" in str(caught.value)
    # What the message says leads to each of them.
    assert target.find(people, USER, "6", "pk").pk == "6"
    assert target.find(people, USER, "6", field).pk == "12"


def test_digits_with_zeros_before_them_are_no_key():
    people: Any = People(ADA)
    with pytest.raises(AuthentikError, match="no user '006'"):
        target.find(people, USER, "006", "auto")


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        ("adda", "ada"),
        ("ADA", "ada"),
        ("adah@x.test", "ada"),
        ("grcae", "grace, grace2"),
        ("gracf", "grace, grace2"),
        ("zzz", ""),
    ],
)
def test_the_nearest_are_named(value, nearest):
    more = (
        {**ADA, "pk": pk, "username": name, "email": "", "name": name} for pk, name in ((7, "grace"), (8, "grace2"))
    )
    people: Any = People(ADA, *more)
    with pytest.raises(AuthentikError) as caught:
        target.find(people, USER, value, "auto")
    assert str(caught.value).partition("The nearest: ")[2].partition(". ")[0] == nearest


def test_a_uuid_that_is_a_username_of_another_is_ambiguous():
    people: Any = People(ADA, {**NAMED, "pk": 12, "username": UUID})
    with pytest.raises(AuthentikError, match=r"lookup: uuid.*lookup: username"):
        target.find(people, USER, UUID, "auto")


class Groups:
    """Stands for authentik's look-ups of groups."""

    def __init__(self, *groups):
        self.all = groups

    def get(self, kind, pk):
        assert kind is GROUP
        return next((item for item in self.all if item["pk"] == pk), None)

    def groups(self, name):
        return [item for item in self.all if item["name"] == name]


def test_a_group_name_like_a_uuid():
    plain = UUID.replace("-", "")
    first, second = {"pk": UUID, "name": "Team"}, {"pk": "00000000-0000-4000-8000-000000000001", "name": plain}
    groups: Any = Groups(first, second)
    with pytest.raises(AuthentikError, match=r"Team .*lookup: pk.*lookup: name"):
        target.find(groups, GROUP, plain, "auto")
    assert target.find(groups, GROUP, plain, "name").pk == second["pk"]
    alone: Any = Groups(second)
    assert target.find(alone, GROUP, plain, "auto").pk == second["pk"]


@pytest.mark.parametrize(
    ("kind", "value", "lookup"),
    [
        ("user", "ada", "pk"),
        ("user", "0", "pk"),
        ("user", "99999999999", "pk"),
        ("user", "6", "uuid"),
        ("group", "Team", "pk"),
        ("group", "a@x.test", "email"),
        ("group", "ada", "username"),
    ],
)
def test_what_cannot_fit_is_refused_beforehand(kind, value, lookup):
    assert "lookup" in (target.check_lookup(kind, value, lookup) or "")


@pytest.mark.parametrize(
    ("provider", "user", "rule"),
    [
        ({}, {}, None),
        ({"exclude_users_service_account": True}, {"type": "internal"}, None),
        ({"exclude_users_service_account": True}, {"type": "service_account"}, "exclude_users_service_account"),
        ({"exclude_users_service_account": True}, {"type": "internal_service_account"}, "internal service account"),
        ({"exclude_users_service_account": False}, {"type": "service_account"}, None),
        ({"filter_group": UUID}, {"groups": [UUID]}, None),
        ({"filter_group": UUID}, {"groups": []}, "filter_group"),
        ({}, {"username": "AnonymousUser"}, "anonymous"),
    ],
)
def test_scope(provider, user, rule):
    found = target.scope({"name": "gws", **provider}, target.Target(USER, {**ADA, **user}))
    assert (found is None) if rule is None else (rule in str(found))


def test_a_filter_group_does_not_restrict_groups():
    assert target.scope({"filter_group": UUID}, target.Target(GROUP, {"pk": "x", "name": "Other"})) is None
