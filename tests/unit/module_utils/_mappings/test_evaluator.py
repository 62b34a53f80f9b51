# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who evaluates a mapping, and what is said about it."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.api import Version
from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.errors import AuthentikError
from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings import evaluator as evaluation
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.desired import MappingProblem
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.evaluator import MappingEvaluator
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.local.inside import KEPT_PASSWORD
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.local.interpreter import MissingLibrary
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.direct import passwords

HASH = "pbkdf2_sha256$870000$salt$digest"
SKIP = "authentik.core.expression.exceptions.SkipObjectException: "


class Client:
    def repeated(self, call):
        return call()


class Server:
    """Stands for authentik: mappings by name, each with its expression and what authentik gives for an object."""

    def __init__(self, version="2025.12.4", **mappings):
        self.client = Client()
        self._mappings = mappings
        self._version = version
        self.asked = []
        self.versions = 0

    def mappings(self):
        return [{"pk": f"pk-{name}", "name": name, "expression": item[0]} for name, item in self._mappings.items()]

    def mapping_names(self):
        return {item["pk"]: item["name"] for item in self.mappings()}

    def version(self):
        self.versions += 1
        return Version(self._version)

    def test_mapping(self, pk, subject, context):
        name = pk.removeprefix("pk-")
        self.asked.append((name, next(iter(subject.values()))))
        answer = self._mappings[name][1](next(iter(subject.values())), context)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return {"successful": False, "result": f"Traceback (most recent call last):\n{answer}"}
        return {"successful": True, "result": json.dumps(answer)}


def people(count=6, **changes):
    return [
        (
            {
                "pk": number,
                "username": f"user{number}",
                "name": f"User {number}",
                "email": f"user{number}@example.com",
                "is_active": True,
                "attributes": {},
                "groups": [],
                **changes,
            },
            None,
        )
        for number in range(count)
    ]


def provider(*names, kind=USER):
    key = kind.mappings_field
    return {"pk": 1, "name": "gws", "default_group_email_domain": "example.com", key: [f"pk-{name}" for name in names]}


def evaluated(server, names, mode="auto", subjects=None, sample=None, kind=USER, **more):
    """(results, decisions) of an evaluator, whose process is gone afterwards."""
    subjects = people() if subjects is None else subjects
    with MappingEvaluator(server, provider(*names, kind=kind), kind, mode, **more) as evaluator:
        evaluator.prepare(subjects[:3] if sample is None else sample)
        return evaluator.evaluate(subjects), evaluator.decisions


def test_a_mapping_that_agrees_is_evaluated_here():
    server = Server(
        a=("return {'notes': {'value': user.name}}", lambda pk, _context: {"notes": {"value": f"User {pk}"}})
    )
    found, decisions = evaluated(server, ["a"])
    assert decisions == [{"mapping": "a", "evaluation": "local", "reason": ""}]
    assert server.asked == [("a", 0), ("a", 1), ("a", 2)]
    assert found[5] == ({"notes": {"value": "User 5"}, "primaryEmail": "user5@example.com"}, {})


@pytest.mark.parametrize(
    ("expression", "answer", "reason"),
    [
        ("return {'x': {'y': 1}}", {"x": {"y": 2}}, "for user user0 the mapping gives another value here: x.y"),
        ("return {'x': 1}", {"x": 1.0}, "the mapping gives another value here: x"),
        ("return {'x': 1}", {"x": True}, "the mapping gives another value here: x"),
        ("return {'x': 1}", {"x": 1, "z": None}, "the mapping gives another value here: z"),
        ("return {'x': [1, 2]}", {"x": [2, 1]}, "the mapping gives another value here: x"),
        ("return None", {"x": 1}, "the mapping gives another value here"),
        ("raise SkipObject", {"x": 1}, "the mapping leaves the object out here, and gives a record in authentik"),
        ("return {'x': 1}", SKIP, "the mapping gives a record here, and leaves the object out in authentik"),
        ("return {'x': 1}", "builtins.ValueError: x", "the mapping gives a record here, and fails in authentik"),
        ("return {'x': user.attributes['x']}", {"x": 1}, "the mapping fails here, and gives a record in authentik"),
        ("return {'password': user.password}", {"x": 1}, "the mapping gives another value here: password"),
        ("return {'password': 'x'}", {"password": HASH}, "the mapping gives another value here: password"),
        ("import os\nreturn {'x': 1}", {"x": 1}, "it imports a module"),
        ("return {'x': user.avatar}", {"x": 1}, "it uses the attribute avatar"),
        ("return {'x': sum(range(10 ** 9))}", {"x": 1}, "it took more than 0.3 seconds"),
        ("return {'x': len('x' * 10 ** 10)}", {"x": 1}, "it took more than 64 MB of memory"),
    ],
)
def test_what_does_not_agree_is_left_to_authentik(expression, answer, reason):
    server = Server(a=(expression, lambda _pk, _context: answer))
    found, decisions = evaluated(server, ["a"], seconds=0.3, memory_mb=64)
    assert decisions[0]["evaluation"] == "server"
    assert reason in decisions[0]["reason"]
    assert HASH not in str(decisions)
    assert [pk for _name, pk in server.asked[-6:]] == list(range(6))
    if isinstance(answer, dict):
        wanted = {key: value for key, value in answer.items() if value is not None and key != "password"}
        assert found[0][0] == {**wanted, "primaryEmail": "user0@example.com"}
    else:
        assert found[0].kind == ("skip" if answer is SKIP else "failed")


def test_each_mapping_is_decided_on_its_own_and_merged_in_the_order_of_names():
    server = Server(
        b=(
            "return {'name': {'givenName': 'here'}, 'list': [2]}",
            lambda _pk, _context: {"name": {"givenName": "here"}, "list": [2]},
        ),
        a=(
            "import re\nreturn {}",
            lambda _pk, _context: {"name": {"givenName": "there", "familyName": "x"}, "list": [1]},
        ),
    )
    found, decisions = evaluated(server, ["b", "a"])
    assert [(item["mapping"], item["evaluation"]) for item in decisions] == [("a", "server"), ("b", "local")]
    assert found[0][0]["name"] == {"givenName": "here", "familyName": "x"}
    assert found[0][0]["list"] == [1, 2]
    assert server.asked.count(("b", 5)) == 0


def test_skips_and_records_are_believed_and_errors_are_asked_about():
    expression = (
        "if user.pk == 3:\n    raise SkipObject\nif user.pk == 4:\n    raise ValueError('here')\nreturn {'x': user.pk}"
    )

    def answer(pk, _context):
        return {3: SKIP, 4: "builtins.ValueError: there"}.get(pk, {"x": pk})

    server = Server(a=(expression, answer))
    found, decisions = evaluated(server, ["a"])
    assert server.asked == [("a", 0), ("a", 1), ("a", 2), ("a", 4)]
    assert (found[3].kind, str(found[3])) == ("skip", "property mapping 'a' leaves it out (SkipObject)")
    assert (found[4].kind, "there" in str(found[4])) == ("failed", True)
    assert decisions[0]["evaluation"] == "local"
    assert decisions[0]["reason"] == "authentik was asked for 1 object: builtins.ValueError: here"


def test_what_takes_too_long_after_the_sample_goes_to_authentik_for_all():
    expression = "while user.pk == 4:\n    pass\nreturn {'x': user.pk}"
    server = Server(
        a=(expression, lambda pk, _context: {"x": pk}), b=("return {'y': 1}", lambda _pk, _context: {"y": 1})
    )
    found, decisions = evaluated(server, ["a", "b"], seconds=0.3)
    assert [item[0]["x"] for item in found] == list(range(6))
    assert [item[0]["y"] for item in found] == [1] * 6
    assert [item["evaluation"] for item in decisions] == ["server", "local"]
    assert decisions[0]["reason"] == "for user user4 it took more than 0.3 seconds"


def test_a_directory_of_which_every_object_hangs_ends_all_the_same():
    """With local evaluation nobody can be asked; the mapping is given up at the first that hangs."""
    server = Server(a=("while True:\n    pass", lambda _pk, _context: {}))
    found, decisions = evaluated(server, ["a"], mode="local", subjects=people(500), seconds=0.2)
    assert {item.kind for item in found} == {"unpredictable"}
    assert server.asked == []
    assert "it took more than 0.2 seconds" in decisions[0]["reason"]
    assert "it took more than 0.2 seconds" in str(found[499])


def test_mode_server_asks_for_everything_and_evaluates_nothing():
    server = Server(a=("raise ValueError", lambda pk, _context: {"x": pk}))
    found, decisions = evaluated(server, ["a"], mode="server")
    assert decisions == [{"mapping": "a", "evaluation": "server", "reason": ""}]
    assert [item[0]["x"] for item in found] == list(range(6))
    assert len(server.asked) == 6


def test_results_come_in_order_from_a_pool():
    server = Server(a=("import re", lambda pk, _context: {"x": pk}))
    with ThreadPoolExecutor(8) as pool:
        found, _decisions = evaluated(server, ["a"], subjects=people(450), pool_map=pool.map)
    assert [item[0]["x"] for item in found] == list(range(450))


def test_without_mappings_there_is_nothing():
    for mode in ("auto", "server", "local"):
        found, decisions = evaluated(Server(), [], mode=mode)
        assert ({item.kind for item in found}, decisions) == ({"empty"}, [])


def test_without_a_sample_nothing_is_trusted():
    server: Any = Server(a=("return {'x': 1}", lambda _pk, _context: {"x": 1}))
    _found, decisions = evaluated(server, ["a"], sample=[])
    assert decisions[0]["evaluation"] == "server"
    assert "no object to compare" in decisions[0]["reason"]
    assert len(server.asked) == 6


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    answer = ("return {'x': 1}", lambda _pk, _context: {"x": 1})
    server: Any = Server(a=answer, b=answer)
    with MappingEvaluator(server, provider("a", "b"), USER, "auto") as evaluator:
        evaluator.prepare(people(2))
        assert "0 more requests" in evaluator.warning
        evaluator.evaluate(people(600))
        assert {item["evaluation"] for item in evaluator.decisions} == {"server"}
        assert all("Install pydantic-monty there" in item["reason"] for item in evaluator.decisions)
        assert "Install pydantic-monty there" in evaluator.warning
        assert "the user property mappings: 1,200 more requests to authentik" in evaluator.warning
    with pytest.raises(MissingLibrary, match="Install pydantic-monty there"):
        evaluated(server, ["a"], mode="local")


def test_a_package_that_is_there_or_not_wanted_is_not_warned_of(monkeypatch):
    server: Any = Server(a=("return {'x': 1}", lambda _pk, _context: {"x": 1}))
    with MappingEvaluator(server, provider("a"), USER, "auto") as evaluator:
        evaluator.prepare(people(2))
        assert evaluator.warning == ""
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with MappingEvaluator(server, provider("a"), USER, "server") as evaluator:
        evaluator.prepare(people(2))
        evaluator.evaluate(people(2))
        assert evaluator.warning == ""


def test_where_authentik_does_not_show_its_mappings():
    class Silent(Server):
        def mappings(self):
            raise AuthentikError("forbidden", "No.", "Give view_googleworkspaceprovidermapping.")

    server = Silent(a=("return {'x': 1}", lambda _pk, _context: {"x": 1}))
    found, decisions = evaluated(server, ["a"])
    assert found[0][0]["x"] == 1
    assert decisions == [
        {"mapping": "pk-a", "evaluation": "server", "reason": "No. Give view_googleworkspaceprovidermapping."}
    ]
    with pytest.raises(AuthentikError, match="view_googleworkspaceprovidermapping"):
        evaluated(server, ["a"], mode="local")


def test_where_authentik_does_not_evaluate():
    server = Server(
        a=("return {'x': 1}", lambda _pk, _context: AuthentikError("forbidden", "No.", "Give view_propertymapping."))
    )
    found, decisions = evaluated(server, ["a"])
    assert {item.kind for item in found} == {"unavailable"}
    assert "could not be asked for a comparison" in decisions[0]["reason"]
    assert "Give view_propertymapping." in str(found[0])


def test_the_hash_never_gets_into_the_record():
    server = Server(
        a=(
            "record = {'suspended': False}\nif connection is None:\n    record['password'] = user.password\nreturn record",
            lambda _pk, context: {"suspended": False, **({} if context["connection"] else {"password": HASH})},
        )
    )
    subjects = [(data, "x" if data["pk"] % 2 else None) for data, _google_id in people()]
    found, decisions = evaluated(server, ["a"], subjects=subjects)
    assert decisions == [{"mapping": "a", "evaluation": "local", "reason": ""}]
    for index, (wanted, secret) in enumerate(found):
        assert wanted == {"suspended": False, "primaryEmail": f"user{index}@example.com"}
        assert secret == ({} if index % 2 else {"password": KEPT_PASSWORD})
    for function in ("MD5", "SHA-1", "crypt", None):
        assert passwords.given_hash({"password": KEPT_PASSWORD, "hashFunction": function}) is None


def test_the_version_is_asked_for_only_where_it_matters():
    same = lambda _pk, _context: {"x": 0}  # noqa: E731
    server = Server(version="2026.2.1", a=("return {'x': user.ak_groups.count()}", same))
    _found, decisions = evaluated(server, ["a"], groups={})
    assert (decisions[0]["evaluation"], server.versions) == ("local", 0)
    server = Server(version="2026.2.1", a=("return {'x': user.groups.count()}", same))
    _found, decisions = evaluated(server, ["a"], groups={})
    assert (decisions[0]["evaluation"], server.versions) == ("local", 1)
    server = Server(version="2025.12.4", a=("return {'x': user.groups.count()}", same))
    _found, decisions = evaluated(server, ["a"], groups={})
    assert (decisions[0]["evaluation"], server.versions) == ("server", 1)
    assert "before authentik 2026.2" in decisions[0]["reason"]


GROUPS: dict[str, dict] = {
    "00000000-0000-4000-8000-00000000000a": {
        "name": "A",
        "parents": ["00000000-0000-4000-8000-00000000000b"],
        "attributes": {"x": 1},
    },
    "00000000-0000-4000-8000-00000000000b": {"name": "B", "parents": [], "attributes": {"x": 2, "y": [1]}},
}
for _pk, _group in GROUPS.items():
    _group.update(pk=_pk, num_pk=1, is_superuser=False, users=[1, 2])


def local(expression, subjects=None, kind=USER, **more):
    """What an expression gives here for the first object: the record, or the reason why there is none."""
    server = Server(a=(expression, None))
    found, _decisions = evaluated(server, ["a"], mode="local", subjects=subjects or people(1), kind=kind, **more)
    return str(found[0]) if isinstance(found[0], MappingProblem) else found[0][0].get("x")


@pytest.mark.parametrize("groups", [GROUPS, GROUPS.get])
def test_groups_come_from_the_index(groups):
    subjects = people(1, groups=list(GROUPS)[:1])
    names = "sorted(group.name for group in user.%s.all())"
    assert local("return {'x': %s}" % (names % "ak_groups"), subjects, groups=groups) == ["A"]
    assert local("return {'x': %s}" % (names % "all_groups()"), subjects, groups=groups) == ["A", "B"]
    assert local("return {'x': user.group_attributes()}", subjects, groups=groups) == {"x": 2, "y": [1]}


def test_groups_that_are_not_listed_are_not_guessed():
    subjects = people(1, groups=["00000000-0000-4000-8000-00000000000c"])
    assert "does not show group" in local("return {'x': user.ak_groups.exists()}", subjects, groups=GROUPS)
    assert local("return {'x': user.name}", subjects, groups=GROUPS) == "User 0"
    shown = [{**GROUPS[pk], "parents": None} for pk in list(GROUPS)[:1]]
    for item in shown:
        del item["parents"]
    subjects = people(1, groups=list(GROUPS)[:1], groups_obj=shown)
    assert local("return {'x': user.ak_groups.first().name}", subjects) == "A"
    assert "does not show group.parent" in local("return {'x': user.all_groups().exists()}", subjects)


def test_a_group_that_is_reached_twice_before_2025_12():
    """authentik's old releases give a group once for each way that leads to it; what depends on that is left to them."""
    pks = [f"00000000-0000-4000-8000-00000000000{letter}" for letter in "abc"]
    groups: dict[str, dict] = {
        pk: {"pk": pk, "name": name, "parent": parent, "attributes": attributes, "num_pk": 1, "is_superuser": False}
        for pk, name, parent, attributes in (
            (pks[0], "child", pks[2], {"a": 1}),
            (pks[1], "other", pks[2], {"b": 1}),
            (pks[2], "parent", None, {"c": 1}),
        )
    }
    subjects = people(1, groups=pks[:2])
    assert local("return {'x': ak_is_group_member(user, name='parent')}", subjects, groups=groups) is True
    assert local("return {'x': user.group_attributes()}", subjects, groups=groups) == {"a": 1, "b": 1, "c": 1}
    assert "more than once" in local("return {'x': user.all_groups().count()}", subjects, groups=groups)
    groups[pks[2]]["attributes"] = {"c": [1]}
    assert "more than once" in local("return {'x': user.group_attributes()}", subjects, groups=groups)


def test_a_relation_is_no_list_before_it_is_asked_for_one():
    """Django's manager of a relation is neither iterated nor counted: such a mapping fails in authentik."""
    people_of = people(1, groups=list(GROUPS)[:1])
    groups_of = [(group, None) for group in GROUPS.values()]
    assert "without all()" in local("return {'x': [g.name for g in user.ak_groups]}", people_of, groups=GROUPS)
    for relation in ("parents", "users"):
        text = local("return {'x': len(group.%s)}" % relation, groups_of, kind=GROUP, groups=GROUPS)
        assert "without all()" in text, relation
    assert local("return {'x': len(group.parents.all())}", groups_of, kind=GROUP, groups=GROUPS) == 1


def test_objects_go_to_the_process_in_portions():
    """No portion grows beyond what a message may have, by number or by what its objects hold; none is left out."""
    small = people(2 * evaluation.PAGE_OBJECTS + 1)
    assert [len(page) for page in evaluation._pages(small)] == [evaluation.PAGE_OBJECTS] * 2 + [1]
    large = people(7, attributes={"x": "y" * (evaluation.PAGE_CHARS // 3)})
    assert [len(page) for page in evaluation._pages(large)] == [2, 2, 2, 1]
    assert [subject for page in evaluation._pages(large) for subject in page] == large
    (alone,) = evaluation._pages(people(1, attributes={"x": "y" * (evaluation.PAGE_CHARS + 1)}))
    assert len(alone) == 1


def test_members_of_groups():
    subjects = [(group, None) for group in GROUPS.values()]
    assert local("return {'x': group.users.count()}", subjects, kind=GROUP) == 2
    assert "does not show user.username" in local(
        "return {'x': [u.email for u in group.users.all()]}", subjects, kind=GROUP
    )
    known = [
        ({**group, "users_obj": [{"pk": 1, "email": "b"}, {"pk": 2, "email": "a"}]}, None)
        for group, _google_id in subjects
    ]
    assert local("return {'x': sorted(u.email for u in group.users.all())}", known, kind=GROUP) == ["a", "b"]
    assert local("return {'x': [u.email for u in group.users.order_by('pk')]}", known, kind=GROUP) == ["b", "a"]
    assert "order_by()" in local("return {'x': [u.email for u in group.users.all()]}", known, kind=GROUP)
    assert local("return {'x': group.parents.first().name}", subjects, kind=GROUP, groups=GROUPS) == "B"


def test_the_process_is_gone_when_the_evaluator_is():
    server = Server(a=("return {'x': 1}", lambda _pk, _context: {"x": 1}))
    evaluator: Any = MappingEvaluator(cast(Any, server), provider("a"), USER, "auto")
    evaluator.prepare(people(2))
    assert evaluator._interpreter is not None
    pid = evaluator._interpreter.pid
    evaluator.close()
    evaluator.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_order_of_rows_matters_only_where_it_is_read():
    """What gives the same in every order is evaluated with one; a set of rows may be read in an order of its own."""
    groups = {pk: {**data, "name": name} for (pk, data), name in zip(GROUPS.items(), ("Alpha", "Beta"), strict=True)}
    subjects = people(1, groups=list(groups))
    for expression, expected in (
        ("sorted(g.name for g in user.ak_groups.all())", ["Alpha", "Beta"]),
        ("sorted({g.name.lower() for g in user.ak_groups.all()}, reverse=True)", ["beta", "alpha"]),
        ("max(user.ak_groups.values_list('name', flat=True))", "Beta"),
        ("sum(len(g.name) for g in user.ak_groups.all() if g.name != 'Alpha')", 4),
    ):
        assert local(f"return {{'x': {expression}}}", subjects, groups=groups) == expected
    for expression in (
        "list({g.name for g in user.ak_groups.all()})",
        "list(set(g.name for g in user.ak_groups.all()))",
        "[g.name for g in user.ak_groups.all()]",
        "sorted((g.name for g in user.ak_groups.all()), key=lambda name: 1)",
        "sorted([seen.append(g.name) or len(seen) for g in user.ak_groups.all()]) and seen",
    ):
        assert "order_by()" in local(f"seen = []\nreturn {{'x': {expression}}}", subjects, groups=groups)
