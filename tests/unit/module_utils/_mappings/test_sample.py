# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects mappings are tried with."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.sample import choose_sample

TEXT = st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
PEOPLE = st.fixed_dictionaries(
    {"pk": st.integers(1, 10**6), "username": TEXT, "name": TEXT, "email": TEXT, "is_active": st.booleans()},
    optional={
        "type": st.sampled_from(["internal", "external", "service_account"]),
        "attributes": st.dictionaries(TEXT, VALUES, max_size=4),
        "groups": st.lists(st.uuids().map(str), max_size=4),
        "last_login": st.none() | TEXT,
    },
)
SUBJECTS = st.lists(st.tuples(PEOPLE, st.none() | TEXT), max_size=40)


def plain(number, **changes):
    """One of many people who differ in nothing but their name."""
    return {
        "pk": number,
        "username": f"person{chr(97 + number % 26)}",
        "name": f"Person {chr(65 + number % 26)}",
        "email": "person@example.com",
        "is_active": True,
        "type": "internal",
        "path": "users",
        "attributes": {"department": "Sales"},
        "groups": ["g1"],
        **changes,
    }


@given(SUBJECTS, st.integers(-1, 50))
def test_as_many_as_asked_for_in_order_and_the_same_again(subjects, size):
    before = copy.deepcopy(subjects)
    chosen = choose_sample(subjects, size)
    assert subjects == before
    assert len(chosen) == max(0, min(size, len(subjects)))
    indexes = [next(index for index, item in enumerate(subjects) if item is one) for one in chosen]
    assert indexes == sorted(set(indexes))
    assert chosen == choose_sample(subjects, size)


@given(st.lists(st.integers(0, 999), min_size=1, max_size=8, unique=True), st.integers(0, 2**32))
def test_each_oddity_is_found_wherever_it_stands(places, seed):
    oddities: list[dict] = [
        {"name": ""},
        {"name": "Cher"},
        {"name": "Zoë Åström"},
        {"name": "Person A2"},
        {"email": ""},
        {"is_active": False},
        {"type": "service_account"},
        {"attributes": {"department": "Sales", "unheard_of": 1}},
        {"groups": ["g1", "g2", "g3", "g4"]},
    ]
    people = [plain(number) for number in range(1000)]
    odd = {}
    for place, changes in zip(places, oddities[seed % 9 :] + oddities[: seed % 9], strict=False):
        people[place] = plain(place, **changes)
        odd[place] = changes
    chosen = {item["pk"] for item, _google_id in choose_sample([(item, "x") for item in people], 20)}
    assert set(odd) <= chosen


def test_values_of_attributes_and_groups_are_spread_too():
    departments = ["Sales", "Engineering", "Legal", "People"]
    people = [
        (plain(number, attributes={"department": departments[number % 4]}, groups=[f"g{number % 3}"]), None)
        for number in range(400)
    ]
    chosen = choose_sample(people, 20)
    assert {item["attributes"]["department"] for item, _google_id in chosen} == set(departments)
    assert {item["groups"][0] for item, _google_id in chosen} == {"g0", "g1", "g2"}


def test_those_with_a_connection_and_those_without():
    people = [(plain(number), None if number == 77 else "x") for number in range(500)]
    assert 77 in {item["pk"] for item, _google_id in choose_sample(people, 6)}


def test_the_largest_are_among_them():
    people = [(plain(number), None) for number in range(300)]
    people[123] = (plain(123, name="Person " + "x" * 400), None)
    people[222] = (plain(222, attributes={"department": "Sales " * 900}), None)
    assert {123, 222} <= {item["pk"] for item, _google_id in choose_sample(people, 9)}


def test_people_like_each_other_are_taken_from_all_over_the_list():
    people = [(plain(0, pk=number), None) for number in range(1000)]
    chosen = [item["pk"] for item, _google_id in choose_sample(people, 9)]
    assert chosen[0] == 0
    assert chosen[-1] == 999
    assert max(right - left for left, right in zip(chosen, chosen[1:], strict=False)) <= 250


def test_groups():
    groups: list = [
        ({"pk": f"g{number}", "name": f"group {number % 10}", "users": [1], "parents": [], "attributes": {}}, None)
        for number in range(300)
    ]
    groups[5] = ({**groups[5][0], "name": "Ops Tëam & Co"}, None)
    groups[6] = ({**groups[6][0], "users": []}, None)
    groups[7] = ({**groups[7][0], "parents": ["g1"]}, None)
    groups[8] = ({**groups[8][0], "is_superuser": True}, None)
    groups[9] = ({**groups[9][0], "users": list(range(5000))}, None)
    assert {"g5", "g6", "g7", "g8", "g9"} <= {item["pk"] for item, _google_id in choose_sample(groups, 12)}
