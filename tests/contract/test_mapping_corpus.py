# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mappings evaluated here give what authentik's own test of them gives, and are left to it where that is not sure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.api import Authentik
from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.client import Client
from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import USER, Kind
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings import desired
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.desired import MappingProblem
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.evaluator import MappingEvaluator
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.local.inside import KEPT_PASSWORD
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.local.interpreter import Interpreter
from tests.sandbox.authentik.state import DEFAULT_MAPPINGS
from tests.sandbox.process import Sandbox

HERE = Path(__file__).parent / "mappings"
VERSIONS = ("2024.8.1", "2025.8.6", "2025.12.4")
CORPUS = yaml.safe_load((HERE / "corpus.yml").read_text(encoding="utf-8"))
DEFAULTS = {model: expression for _name, model, expression in DEFAULT_MAPPINGS}


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class Server:
    """A sandbox, its API as the collection uses it, and everybody whom it lists."""

    def __init__(self, sandbox: Sandbox, version: str) -> None:
        self.sandbox, self.version = sandbox, version
        self.api = Authentik(Client(sandbox.authentik_url, sandbox.authentik_token))
        self.made: dict[int, str] = {}
        self.relist()

    def relist(self) -> None:
        client = self.api.client
        self.users = client.get_all("core/users/", {"include_groups": False, "page_size": 100}, what="list users")
        groups = client.get_all("core/groups/", {"include_users": False, "page_size": 100}, what="list groups")
        self.groups = {group["pk"]: group for group in groups}

    def subjects(self, kind: Kind) -> list:
        """Everybody, every second one with a connection."""
        listed = self.users if kind == "user" else list(self.groups.values())
        return [(data, None if index % 2 else f"id-{index}") for index, data in enumerate(listed)]

    def mapping(self, entry: dict) -> str:
        """A mapping of the corpus, made anew; its primary key."""
        kind = Kind(entry.get("kind", "user"))
        if entry.get("default"):
            name = f"authentik default Google Workspace Mapping: {kind.capitalize()}"
            return next(item["pk"] for item in self.api.mappings() if item["name"] == name)
        body = {"name": entry["name"], "expression": entry["expression"], "model": kind, "assigned": False}
        return self.sandbox.control("POST", "authentik/mappings", body)["pk"]

    def provider(self, kind: Kind, *mappings: str) -> dict:
        key = kind.mappings_field
        return {"pk": 1, "name": "gws", "default_group_email_domain": "example.com", key: list(mappings)}

    def tests(self) -> int:
        """How often a mapping was tried since the requests were last forgotten."""
        return sum(item["path"].endswith("/test/") for item in self.sandbox.authentik_requests())


@pytest.fixture(scope="module", params=VERSIONS)
def server(request, sandboxes):
    with sandboxes(dataset=HERE / "directory.json", authentik_version=request.param) as sandbox:
        sandbox.control("POST", "authentik/settings", {"signals": False})
        yield Server(sandbox, request.param)


@pytest.fixture
def fresh(server):
    server.sandbox.reset()
    server.sandbox.control("POST", "authentik/settings", {"signals": False})
    server.relist()
    return server


def shown(found: Any) -> Any:
    """What became of one object, in a form that can be compared: a record without the hash, or a problem."""
    if isinstance(found, MappingProblem):
        return found.kind, str(found)
    wanted, secret = found
    if str(secret.get("password", "")).startswith("pbkdf2_"):
        secret = {**secret, "password": KEPT_PASSWORD}
    return json.dumps(wanted, sort_keys=True), json.dumps(secret, sort_keys=True)


def by_authentik(server: Server, provider: dict, kind: Kind, subject: tuple) -> Any:
    """What the single-object engines get for one object."""
    try:
        return desired.evaluate(server.api, provider, kind, *subject)
    except MappingProblem as exc:
        return exc


def named(found: list, mapping: str, name: str) -> list:
    """Where one mapping is all there is, desired.evaluate does not ask for its name."""
    return [tuple(text.replace(mapping, name) for text in item) for item in found]


def meant_for(entry: dict, version: str) -> bool:
    """Whether a mapping is of use with a version; with earlier ones than the newest, whether it could differ there."""
    if number(version)[:2] < number(entry.get("since", "0.0")):
        return False
    text = entry.get("expression", "group")
    return version == VERSIONS[-1] or any(word in text for word in ("group", "joined", "last_", "uuid"))


CASES = [(version, entry) for version in VERSIONS for entry in CORPUS if meant_for(entry, version)]


@pytest.mark.parametrize(
    ("server", "entry"), CASES, ids=[f"{version}-{entry['name']}" for version, entry in CASES], indirect=["server"]
)
def test_here_as_in_authentik(fresh, entry):
    server, kind = fresh, Kind(entry.get("kind", "user"))
    assert not entry.get("default") or entry["default"] in DEFAULTS
    mapping = server.mapping(entry)
    provider = server.provider(kind, mapping)
    subjects = server.subjects(kind)
    expected = [by_authentik(server, provider, kind, subject) for subject in subjects]
    groups = server.groups
    with MappingEvaluator(server.api, provider, kind, "auto", groups=groups.get, memory_mb=128) as evaluator:
        evaluator.prepare(subjects)
        (decision,) = evaluator.decisions
        if "server" in entry:
            assert decision["evaluation"] == "server"
            assert entry["server"] in decision["reason"]
        else:
            assert (decision["evaluation"], decision["reason"]) == ("local", "")
        server.sandbox.clear_requests()
        found = evaluator.evaluate(subjects)
        asked = server.tests()
        # A mapping that raised an error is confirmed by authentik; a record and a skip are not.
        raised = [item for item in expected if isinstance(item, MappingProblem) and " fails: " in str(item)]
        raised += [item for item in expected if isinstance(item, MappingProblem) and item.kind == "unpredictable"]
        assert asked == (len(subjects) if "server" in entry else len(raised))
    assert named([shown(item) for item in found], mapping, entry["name"]) == named(
        [shown(item) for item in expected], mapping, entry["name"]
    )


def test_all_at_once_in_every_mode(fresh):
    """Several mappings, merged in the order of their names, some here and some in authentik."""
    server = fresh
    entries = [
        entry
        for entry in CORPUS
        if entry.get("kind", "user") == "user"
        and number(server.version)[:2] >= number(entry.get("since", "0.0"))
        and not entry["name"].startswith(
            ("fails", "a result that", "a name that", "another user", "the provider's own", "what lists", "a request")
        )
    ]
    provider = server.provider(USER, *(server.mapping(entry) for entry in entries))
    subjects = server.subjects(USER)
    found = {}
    for mode in ("server", "auto"):
        with MappingEvaluator(server.api, provider, USER, mode, groups=server.groups) as evaluator:
            evaluator.prepare(subjects[::3])
            found[mode] = [shown(item) for item in evaluator.evaluate(subjects)]
            evaluations = {item["mapping"]: item["evaluation"] for item in evaluator.decisions}
        assert set(evaluations.values()) == ({"server", "local"} if mode == "auto" else {"server"})
    assert found["auto"] == found["server"]
    assert found["server"] == [shown(by_authentik(server, provider, USER, subject)) for subject in subjects]
    kinds = [item[0] for item in found["auto"]]
    assert kinds.count("skip") > 3
    assert len(kinds) - kinds.count("skip") > 3


def test_locally_nobody_is_asked(fresh):
    server = fresh
    entries = [
        entry for entry in CORPUS if entry["name"] in ("names with everything before the last word", "an import")
    ]
    subjects = server.subjects(USER)
    provider = server.provider(USER, server.mapping(entries[0]))
    with MappingEvaluator(server.api, provider, USER, "local") as evaluator:
        server.sandbox.clear_requests()
        evaluator.prepare(subjects)
        found = evaluator.evaluate(subjects)
        assert [item["path"] for item in server.sandbox.authentik_requests()] == [
            "/api/v3/propertymappings/provider/google_workspace/"
        ]
    assert [shown(item) for item in found] == [shown(by_authentik(server, provider, USER, item)) for item in subjects]
    provider = server.provider(USER, server.mapping(entries[1]))
    with MappingEvaluator(server.api, provider, USER, "local") as evaluator:
        evaluator.prepare(subjects)
        found = evaluator.evaluate(subjects)
        (decision,) = evaluator.decisions
    assert (decision["evaluation"], "it imports a module" in decision["reason"]) == ("local", True)
    assert {shown(item)[0] for item in found} == {"unpredictable"}
    assert "Set mapping_evaluation: auto or server" in str(found[0])


# -- people whom nobody thought of ------------------------------------------------------------------------------------

# Characters that this Python's Unicode does not know yet are printable or not by the version: authentik's own Python and the
# interpreter know more of them than the Python of the sandbox.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0"), max_size=24)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KNOWN = st.fixed_dictionaries(
    {},
    optional={
        "department": TEXT | st.none(),
        "title": TEXT,
        "phone": st.text("0123456789+-() /x", max_size=18),
        "aliases": st.lists(TEXT, max_size=3) | TEXT,
        "employee_number": st.integers() | TEXT,
        "address": st.dictionaries(st.sampled_from(["street", "city", "postal_code"]), TEXT) | st.none() | TEXT,
        "settings": st.dictionaries(st.just("locale"), TEXT) | st.none(),
        "skip": st.booleans(),
    },
)
PEOPLE = st.lists(
    st.fixed_dictionaries(
        {
            "name": TEXT | st.from_regex(r"\A[A-Z][a-zé]{1,8}( [A-Z][a-z'-]{1,10}){0,3}\Z"),
            "email": st.sampled_from(["", "x@example.com", "X.Y@Example.COM", "y@elsewhere.test", "é@example.com"])
            | TEXT,
            "is_active": st.booleans(),
            "path": st.sampled_from(["users", "users/a/b", "", "é/ü"]),
            "attributes": st.builds(
                lambda known, other: {**other, **known}, KNOWN, st.dictionaries(TEXT, VALUES, max_size=3)
            ),
        }
    ),
    min_size=4,
    max_size=4,
)
SLOTS = ("ada.lovelace", "grace", "jose", "deep")


@pytest.fixture(scope="module")
def process(server):
    """All mappings of the corpus for users that are evaluated here, in one process."""
    server.sandbox.reset()
    server.sandbox.control("POST", "authentik/settings", {"signals": False})
    found = Interpreter(USER, 5.0, 128)
    numbers = {}
    for index, entry in enumerate(CORPUS):
        if entry.get("kind", "user") == "user" and "server" not in entry:
            expression = entry.get("expression") or DEFAULTS[entry["default"]]
            assert found.compile(index, expression).reason == ""
            numbers[index] = entry
            server.made[index] = server.mapping(entry)
    yield found, numbers
    found.close()


@pytest.mark.parametrize("server", VERSIONS[-1:], indirect=True)
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(people=PEOPLE)
def test_people_whom_nobody_thought_of(server, process, people):
    """Whoever it is: each mapping that is evaluated here gives what authentik gives, or says that it does not."""
    for username, changes in zip(SLOTS, people, strict=True):
        server.sandbox.control("PATCH", f"authentik/users/{username}", changes)
    server.relist()
    evaluations, numbers = process
    subjects = [item for item in server.subjects(USER) if item[0]["username"] in SLOTS]
    provider = server.provider(USER)
    page = {
        "subjects": [[sent(data), desired.context_of(provider, google_id)] for data, google_id in subjects],
        "groups": {pk: sent(data) for pk, data in server.groups.items()},
        "version": number(server.version)[:2],
    }
    tasks = [(index, entry) for index in range(len(subjects)) for entry in numbers]
    answers = evaluations.run(page, tasks)
    assert len(answers) == len(tasks)
    sure = 0
    for (index, entry), answer in zip(tasks, answers, strict=True):
        assert answer.kind != "exceeded"
        if answer.kind == "unsupported":
            continue
        sure += 1
        here = outcome({"successful": answer.kind == "ok", "result": answer.text})
        there = outcome(desired.ask(server.api, server.made[entry], provider, USER, *subjects[index]))
        assert here == there, (numbers[entry]["name"], subjects[index])
    assert sure > len(tasks) * 0.6


def sent(data: dict) -> dict:
    """An object as the evaluator gives it to the interpreter: what an expression may change as JSON."""
    return {**data, "attributes": json.dumps(data["attributes"], ensure_ascii=False)}


def outcome(answer: dict) -> Any:
    try:
        value = desired.result_of(answer, "")
    except MappingProblem as exc:
        return exc.kind, str(exc)
    if value and str(value.get("password", "")).startswith("pbkdf2_"):
        value = {**value, "password": KEPT_PASSWORD}
    return json.dumps(value, sort_keys=True)
