# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which users and groups an event names, and what the rulebooks and the playbook of events may contain."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.lookup.changed_objects import LookupModule
from ansible_collections.dirsync.authentik.plugins.plugin_utils.changed_objects import from_events, from_objects
from tests.support.tree import ROOT

DIGITS = "0123456789abcdef0123456789abcdef"
UUID = "01234567-89ab-cdef-0123-456789abcdef"
SAFE = re.compile(r"[1-9][0-9]{0,9}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def event(kind="user", pk=6, **more):
    model = {"app": "authentik_core", "model_name": kind, "pk": pk}
    return {"payload": {"action": "model_updated", "model": model, **more}}


def of_model(**changed):
    found = event()
    found["payload"]["model"].update(changed)
    return found


@pytest.mark.parametrize(
    ("given", "users", "groups"),
    [
        ({"event": event()}, ["6"], []),
        ({"event": event(pk="6")}, ["6"], []),
        ({"event": event(pk=2147483647)}, ["2147483647"], []),
        ({"event": event("group", DIGITS)}, [], [UUID]),
        ({"event": event("group", UUID.upper())}, [], [UUID]),
        ({"events": {"m_0": event(), "m_1": event("group", DIGITS), "m_2": event()}}, ["6"], [UUID]),
        ({"event": event(), "events": {"m_0": event(pk=7)}}, ["6", "7"], []),
        ({"event": event("group", DIGITS, former_members=[9, 6, 9])}, ["9", "6"], [UUID]),
        ({"event": event("group", DIGITS, former_members=[])}, [], [UUID]),
    ],
)
def test_the_objects_of_events(given, users, groups):
    found = from_events(given)
    assert (found.users, found.groups, found.refused) == (users, groups, [])


WRONG_USERS: list[Any] = [
    "x",
    "",
    "0",
    "06",
    "-6",
    "6 ",
    " 6",
    "6\n",
    "6.0",
    "1e3",
    "0x6",
    "\u0666",
    "2147483648",
    "99999999999",
    UUID,
]
WRONG_USERS += [0, -6, 2**31, 6.0, True, None, [6], {"6": 6}, b"6"]
WRONG_GROUPS: list[Any] = [
    "x",
    "",
    "6",
    DIGITS[1:],
    f"{DIGITS}0",
    f"{DIGITS}\n",
    f" {UUID}",
    UUID.replace("-", "_"),
    f"{{{UUID}}}",
]
WRONG_GROUPS += [6, True, None, [UUID], f"urn:uuid:{UUID}", f"{DIGITS[:8]}-{DIGITS[8:]}"]


@pytest.mark.parametrize("pk", WRONG_USERS)
def test_what_is_not_a_primary_key_of_a_user(pk):
    found = from_events({"event": event(pk=pk)})
    assert (found.users, found.groups) == ([], [])
    assert found.refused == ["Event 1 has no primary key of a user, which is an integer from 1 to 2147483647."]


@pytest.mark.parametrize("pk", WRONG_GROUPS)
def test_what_is_not_a_primary_key_of_a_group(pk):
    found = from_events({"event": event("group", pk)})
    assert (found.users, found.groups) == ([], [])
    assert found.refused == ["Event 1 has no primary key of a group, which is a UUID or 32 hexadecimal digits."]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("text", "It is not a dictionary."),
        ([event()], "It is not a dictionary."),
        ({}, "It has no event."),
        ({"events": [event()]}, "Its events are not a dictionary."),
        ({"event": None}, "Event 1 has no payload with a model."),
        ({"event": {"payload": "text"}}, "Event 1 has no payload with a model."),
        ({"event": {"payload": {"model": "text"}}}, "Event 1 has no payload with a model."),
        ({"event": of_model(app="authentik_rbac")}, "Event 1 is about a model of another app than authentik_core."),
        ({"event": of_model(app=["authentik_core"])}, "Event 1 is about a model of another app than authentik_core."),
        ({"event": of_model(model_name="token")}, "Event 1 is neither a user nor a group."),
        ({"event": of_model(model_name=["user"])}, "Event 1 is neither a user nor a group."),
        (
            {"event": event(action="model_deleted")},
            "Event 1 has an action other than model_created and model_updated.",
        ),
    ],
)
def test_what_is_not_an_event_of_ours(given, reason):
    found = from_events(given)
    assert (found.users, found.groups, found.refused) == ([], [], [reason])


def test_a_wrong_part_does_not_keep_the_others():
    given = {
        "m_0": event(pk="x"),
        "m_1": event("group", DIGITS, former_members=["x", 9]),
        "m_2": event(former_members="x"),
    }
    found = from_events({"events": given})
    assert (found.users, found.groups) == (["9", "6"], [UUID])
    assert [reason.split(" has ")[0] for reason in found.refused] == ["Event 1", "Event 2, former member 1,", "Event 3"]


def test_objects_as_a_text_and_as_a_list():
    wrong = ["user", "user:", "user:x", f"user:{UUID}", "group:6", "6", ":6", "token:6", 6, None, ["user:6"]]
    for entries in (f"user:6  group:{DIGITS}\nuser:6 user:7 ", ["user:6", f"group:{UUID}", "user:7"]):
        found = from_objects(entries)
        assert (found.users, found.groups, found.refused) == (["6", "7"], [UUID], [])
    found = from_objects([*wrong, "user:6"])
    assert (found.users, found.groups) == (["6"], [])
    assert [reason.split(" has ")[0].split(" is ")[0] for reason in found.refused] == [
        f"Entry {number}" for number in range(1, len(wrong) + 1)
    ]
    assert from_objects({"user": 6}).refused == ["It is neither a text nor a list."]
    assert from_objects("").users == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["user:6", DIGITS, "user", "{{ x }}"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["event", "payload"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON, JSON, JSON, JSON)
def test_whatever_comes_only_keys_leave(anything, pk, kind, former):
    several = {"m": event(pk=pk), "n": event("group", pk, former_members=former), "o": of_model(model_name=kind)}
    for found in (
        from_events(anything),
        from_events({"event": anything, "events": anything}),
        from_events({"events": several}),
        from_objects(anything),
    ):
        assert all(type(item) is str and SAFE.fullmatch(item) for item in found.users + found.groups)
        assert all("{{" not in reason for reason in found.refused)


def test_the_lookup_prefers_what_the_rulebook_passed():
    variables = {"ansible_eda": {"event": event()}, "resync_objects": "user:7"}
    assert LookupModule().run([], variables) == [{"users": ["7"], "groups": [], "refused": []}]
    del variables["resync_objects"]
    assert LookupModule().run([], variables) == [{"users": ["6"], "groups": [], "refused": []}]


@pytest.mark.parametrize(
    ("terms", "variables", "words"),
    [
        ([], {}, "neither resync_objects nor ansible_eda is defined"),
        (["x"], {"resync_objects": "user:6"}, "takes no terms"),
    ],
)
def test_the_lookup_says_what_it_wants(terms, variables, words):
    with pytest.raises(Exception, match=words):
        LookupModule().run(terms, variables)


def rules():
    for path in sorted((ROOT / "extensions" / "eda" / "rulebooks").glob("*.yml")):
        [ruleset] = yaml.safe_load(path.read_text())
        [rule] = ruleset["rules"]
        yield path.stem, rule


def test_both_rulebooks_pass_on_the_same_under_the_same_condition():
    (_line, line), (_controller, controller) = rules()
    assert line["condition"] == controller["condition"]
    assert line["throttle"] == controller["throttle"]
    played, launched = line["action"]["run_playbook"], controller["action"]["run_job_template"]
    assert played["extra_vars"] == launched["job_args"]["extra_vars"]
    assert launched["include_events"] is False
    # Of the event, the primary keys alone.
    used = set(re.findall(r"(?:one|event)\.[a-z_.]+", str(played["extra_vars"])))
    assert used == {"one.payload.model.model_name", "one.payload.model.pk", "one.payload.former_members"}


def test_no_template_of_the_collection_names_the_event():
    files = [
        path for name in ("playbooks", "roles") for path in (ROOT / name).rglob("*") if path.suffix in (".yml", ".j2")
    ]
    assert files
    for path in files:
        lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        assert "ansible_eda" not in "\n".join(lines), path
