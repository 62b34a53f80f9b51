# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which identifiers are accepted, and who is in a provider's scope."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.errors import AuthentikError
from ansible_collections.dirsync.authentik.plugins.module_utils._sync import target

UUID = "7315970f-01bf-4fec-881a-14e0169091cb"


class People:
    """Stands for authentik's look-ups: users as dicts; notes what was asked."""

    def __init__(self, *users):
        self.people, self.asked = users, []

    def user(self, pk):
        self.asked.append(pk)
        return next((item for item in self.people if item["pk"] == pk), None)

    def users(self, **filters):
        self.asked.append(filters)
        return [item for item in self.people if all(item.get(key) == value for key, value in filters.items())]


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
    assert target.find(people, "user", value, lookup).pk == "6"


def test_an_address_that_means_two_people_is_ambiguous():
    other = {"pk": 7, "username": "ada@x.test", "email": "other@x.test", "name": "Other"}
    people: Any = People(ADA, other)
    with pytest.raises(AuthentikError, match=r"ada \(pk 6.*ada@x.test \(pk 7|ada@x.test \(pk 7.*ada \(pk 6") as caught:
        target.find(people, "user", "ada@x.test", "auto")
    assert caught.value.kind == "ambiguous"


def test_an_integer_is_never_taken_for_a_name():
    people: Any = People({**ADA, "username": "77"})
    with pytest.raises(AuthentikError, match="no user '77'"):
        target.find(people, "user", "77", "auto")
    assert people.asked == [77]


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
    found = target.scope({"name": "gws", **provider}, target.Target("user", {**ADA, **user}))
    assert (found is None) if rule is None else (rule in str(found))


def test_a_filter_group_does_not_restrict_groups():
    assert target.scope({"filter_group": UUID}, target.Target("group", {"pk": "x", "name": "Other"})) is None
