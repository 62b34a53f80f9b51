# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the mappings' results become the wanted record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.errors import AuthentikError
from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings import desired

ADA = {"pk": 6, "username": "ada", "email": "ada@corp.example.com"}


def stand_in(names, answers) -> Any:
    return Mappings(names, answers)


class Mappings:
    """Stands for authentik's mapping test endpoint: texts by mapping."""

    def __init__(self, names, answers):
        self.names, self.answers, self.asked = names, answers, []

    def mapping_names(self):
        return self.names

    def test_mapping(self, pk, subject, context):
        self.asked.append((pk, subject, context))
        answer = self.answers[pk]
        if isinstance(answer, Exception):
            raise answer
        return answer


def ok(value):
    return {"successful": True, "result": json.dumps(value)}


def bad(line):
    return {"successful": False, "result": f"Traceback (most recent call last):\n  File x\n{line}\n"}


def test_merged_in_the_order_of_names_deeply():
    api: Any = Mappings(
        {"b": "1 first", "a": "2 second"},
        {
            "a": ok({"name": {"givenName": "B"}, "phones": [2]}),
            "b": ok({"name": {"givenName": "A", "x": 1}, "phones": [1]}),
        },
    )
    found, _secret = desired.evaluate(api, {"property_mappings": ["a", "b"]}, USER, ADA, None)
    assert found == {"name": {"givenName": "B", "x": 1}, "phones": [1, 2], "primaryEmail": "ada@corp.example.com"}
    assert [item[0] for item in api.asked] == ["a", "b"]
    assert api.asked[0][1] == {"user": 6}


def test_names_are_asked_for_only_where_the_order_matters():
    class Unnamed(Mappings):
        def mapping_names(self):
            raise AssertionError("not needed")

    api: Any = Unnamed({}, {"a": ok({"suspended": True}), "b": ok(None), "c": ok({"notes": {"value": "x"}})})
    found, _secret = desired.evaluate(api, {"property_mappings": ["a", "b", "c"]}, USER, ADA, None)
    assert found == {"suspended": True, "notes": {"value": "x"}, "primaryEmail": ADA["email"]}


def test_of_two_mappings_that_give_nothing_the_first_by_name_decides():
    skip, fail = bad("x.SkipObjectException:"), bad("builtins.NameError: name 'x' is not defined")
    for names, kind in (({"a": "1", "b": "2"}, "skip"), ({"a": "2", "b": "1"}, "failed")):
        with pytest.raises(desired.MappingProblem) as caught:
            desired.evaluate(
                stand_in(names, {"a": skip, "b": fail}), {"property_mappings": ["a", "b"]}, USER, ADA, None
            )
        assert caught.value.kind == kind


def test_a_mapping_that_gives_nothing_is_called_by_its_name_where_that_is_to_be_had():
    class Refusing(Mappings):
        def mapping_names(self):
            raise AuthentikError("forbidden", "You may not.")

    fail = {"a": bad("builtins.NameError: name 'x' is not defined")}
    refusing: Any = Refusing({}, fail)
    for api, name in ((stand_in({"a": "Ours"}, fail), "Ours"), (refusing, "a")):
        with pytest.raises(desired.MappingProblem, match=f"property mapping '{name}' fails") as caught:
            desired.evaluate(api, {"property_mappings": ["a"]}, USER, ADA, None)
        assert caught.value.kind == "failed"


def test_none_is_dropped_for_users_and_kept_for_groups():
    assert "notes" not in desired.combine(USER, [{"notes": None, "suspended": False}], ADA, "")[0]
    assert desired.combine(GROUP, [{"name": "x", "description": None}], {"name": "X"}, "a.test")[0] == {
        "name": "x",
        "description": None,
        "email": "x@a.test",
    }


def test_passwords_never_get_into_the_wanted_record():
    found, secret = desired.combine(
        USER, [{"password": "pbkdf2_sha256$1$a$b", "hashFunction": "MD5", "suspended": True}], ADA, ""
    )
    assert found == {"suspended": True, "primaryEmail": "ada@corp.example.com"}
    assert secret == {"password": "pbkdf2_sha256$1$a$b", "hashFunction": "MD5"}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("authentik.core.expression.exceptions.SkipObjectException:", "skip"),
        ("builtins.NameError: name 'nonsense' is not defined", "failed"),
        ("builtins.AttributeError: 'dict' object has no attribute 'google_id'", "unpredictable"),
    ],
)
def test_why_a_mapping_gives_nothing(line, kind):
    with pytest.raises(desired.MappingProblem) as caught:
        desired.evaluate(stand_in({}, {"a": bad(line)}), {"property_mappings": ["a"]}, USER, ADA, None)
    assert caught.value.kind == kind


@pytest.mark.parametrize(("mappings", "answer"), [([], None), (["a"], ok(None)), (["a"], ok({}))])
def test_no_mapping_yields_anything(mappings, answer):
    with pytest.raises(desired.MappingProblem) as caught:
        desired.evaluate(stand_in({}, {"a": answer}), {"property_mappings": mappings}, USER, ADA, None)
    assert caught.value.kind == "empty"


def test_not_allowed_to_ask():
    api: Any = Mappings({}, {"a": AuthentikError("forbidden", "No.", "Give view_propertymapping.")})
    with pytest.raises(desired.MappingProblem, match="view_propertymapping") as caught:
        desired.evaluate(api, {"property_mappings": ["a"]}, USER, ADA, None)
    assert caught.value.kind == "unavailable"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Team One", "team-one"),
        ("Ops Tëam & Co", "ops-team-co"),
        ("  spaced -- out  ", "spaced-out"),
        ("_under_score_", "under_score"),
        ("रसोई", ""),
        ("a.b", "ab"),
    ],
)
def test_slug(name, slug):
    assert desired.slug(name) == slug
