# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Safety limits: what is given and what is not, shares and their floor, shards, and the one line about a plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, KINDS, USER
from ansible_collections.dirsync.authentik.plugins.module_utils._sync import plan
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.guard import safety_limits as limits
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.plan_summary import plan_summary

ONE = (0, 1)
OF_EFFECTS = sorted(set(plan.EFFECTS) - {"updates", "additions"})


def totals(**found):
    """Totals with so many of an effect for each kind."""
    return {name: {kind: found.get(name, 0) for kind in KINDS} for name in plan.EFFECTS}


def of_run(found, given=None, records=100, members=100, named=False, shard=ONE, most=0, keeps=True, kinds=KINDS):
    managed = limits.Managed(dict.fromkeys(KINDS, records), members, named)
    return limits.limits_of_plan(found, managed, limits.parse_limits(given), kinds, shard, most, keeps)


def exceeded(*args, **more):
    return sorted({item.name for item in of_run(*args, **more) if item.exceeded})


def test_each_effect_but_two_has_a_limit():
    assert set(OF_EFFECTS) | {"removals_per_group", "missing"} == set(limits.DEFAULTS)
    for name in OF_EFFECTS:
        assert exceeded(totals(**{name: 10_000})) == [name]
    assert exceeded(totals(updates=10_000, additions=10_000)) == []


def test_what_is_not_given_keeps_its_default():
    default = limits.parse_limits(None)
    assert {name: limit.text for name, limit in default.limits.items()} == limits.DEFAULTS
    assert default.floor == 3
    found = limits.parse_limits({"creations": 60, "floor": 0, "changes": None})
    assert found.limits["creations"] == ("60", 60.0, False)
    assert found.floor == 0
    others = {name: limit for name, limit in found.limits.items() if name != "creations"}
    assert others == {name: limit for name, limit in default.limits.items() if name != "creations"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"suspensions": "many"}, "safety_limits.suspensions must be a whole number or a percentage"),
        ({"suspensions": "-1"}, "safety_limits.suspensions"),
        ({"deletions": "101%"}, "safety_limits.deletions"),
        ({"creations": 1.5}, "safety_limits.creations"),
        ({"renames": True}, "safety_limits.renames"),
        ({"missing": ""}, "safety_limits.missing"),
        ({"removals": "5 %%"}, "safety_limits.removals"),
        ({"floor": -1}, "safety_limits.floor"),
        ({"floor": True}, "safety_limits.floor"),
        ({"floor": "3"}, "safety_limits.floor"),
        ({"suspended": 1}, "safety_limits.suspended is not a safety limit"),
    ],
)
def test_a_value_that_is_none_is_refused(given, says):
    with pytest.raises(ValueError, match=says.replace(".", r"\.")):
        limits.parse_limits(given)


@given(
    st.sampled_from(["0", "1", "7", "50", "0%", "1%", "5%", "33.3%", "100%"]),
    st.integers(0, 5000),
    st.integers(1, 40),
    st.integers(0, 10),
)
def test_all_shards_together_are_what_one_run_may_do(text, total, shards, floor):
    limit = limits.parse_limit("x", text)
    whole = limit.of(total, floor=floor)
    assert sum(limit.of(total, (index, shards), floor) for index in range(shards)) == whole
    assert limit.of(total) <= whole


@given(
    st.sampled_from(["0", "7", "50", "0%", "1%", "33.3%", "100%"]),
    st.lists(st.integers(0, 900), min_size=1, max_size=9),
    st.integers(0, 10),
)
def test_where_each_shard_counts_its_own_all_together_do_no_more_than_one_run(text, parts, floor):
    limit = limits.parse_limit("x", text)
    allowed = [limit.of_part(part, (index, len(parts)), floor) for index, part in enumerate(parts)]
    assert sum(allowed) <= limit.of_part(sum(parts), floor=floor)


@pytest.mark.parametrize(
    ("text", "total", "floor", "allowed"),
    [
        ("5%", 40, 3, 3),
        ("5%", 100, 3, 5),
        ("5%", 101, 3, 6),
        ("5%", 0, 3, 3),
        ("100%", 2, 3, 3),
        # Whoever writes nothing means nothing.
        ("0%", 100, 3, 0),
        ("0", 100, 3, 0),
        ("1", 100, 3, 1),
        ("5%", 40, 0, 2),
    ],
)
def test_a_floor_is_for_shares(text, total, floor, allowed):
    assert limits.parse_limit("x", text).of(total, floor=floor) == allowed


def test_numbers_and_shares_hold_for_users_and_groups_separately():
    found = totals(renames=3)
    assert exceeded(found, records=10) == []
    found["renames"][GROUP] = 4
    (over,) = [item for item in of_run(found, records=10) if item.exceeded]
    assert (over.planned, over.allowed, over.total) == (4, 3, 10)
    assert "groups would get another address (of 10), more than safety_limits.renames: 5% allows (3)" in over.text()
    assert exceeded(found, records=10, kinds=(USER,)) == []


def test_named_objects_are_what_shares_are_of_and_changes_are_meant():
    assert exceeded(totals(suspensions=40), records=40, named=True) == ["suspensions"]
    assert exceeded(totals(changes=40), records=40, named=True) == []
    assert exceeded(totals(changes=40), records=40) == ["changes"]
    assert exceeded(totals(changes=40), {"changes": 39}, records=40, named=True) == ["changes"]


def test_a_single_group_within_its_own_limit_does_not_stop_a_run():
    found = totals(removals=8)
    assert exceeded(found, members=20) == ["removals"]
    assert exceeded(found, members=20, most=8) == []
    assert exceeded(found, {"removals": 7}, members=20, most=8) == ["removals"]
    assert exceeded(found, {"removals": "0%"}, members=20, most=8) == ["removals"]
    # Of several shards each would allow itself as many.
    assert exceeded(found, members=20, most=8, shard=(0, 2)) == ["removals"]


def test_adoptions_are_limited_where_connections_are_kept():
    assert exceeded(totals(adoptions=26)) == ["adoptions"]
    assert exceeded(totals(adoptions=26), keeps=False) == []


def group(size, removed, name="team"):
    observed = [{"email": f"m{number}@b.test"} for number in range(size)]
    members = plan.MemberPlan([], observed[:removed], [])
    return plan.ObjectPlan(GROUP, name, name, "", None, {"id": name}, observed, {}, {}, members=members)


@pytest.mark.parametrize(
    ("size", "removed", "over"), [(2, 2, False), (3, 3, False), (4, 4, True), (6, 3, False), (20, 11, True)]
)
def test_a_small_team_is_replaced_and_a_large_one_is_not(size, removed, over):
    found = limits.limit_of_group(group(size, removed), limits.parse_limits(None))
    assert found.exceeded == over
    assert found.shown(False)["group"] == "team"


def test_what_the_result_shows():
    (found,) = [item for item in of_run(totals(deletions=9), kinds=(USER,)) if item.exceeded]
    assert found.shown(True) == {
        "option": "deletions",
        "limit": "1%",
        "allowed": 3,
        "planned": 9,
        "of": 100,
        "what": "users would be deleted",
        "exceeded": True,
        "overridden": True,
    }
    assert found.shown(False)["overridden"] is False
    # What is to be made is no part of what there is.
    (made,) = [item for item in of_run(totals(creations=60), records=0, kinds=(USER,)) if item.exceeded]
    assert made.text() == "60 users would be created, more than safety_limits.creations: 50 allows (50)"
    assert limits.raise_text([made, found, made]) == "safety_limits.creations and safety_limits.deletions"


def test_the_line_about_a_plan():
    found = totals()
    for number, (name, kind) in enumerate([("creations", USER), ("updates", GROUP), ("suspensions", USER)], 1):
        found[name][kind] = number
    found["additions"][GROUP], found["removals"][GROUP] = 3, 1
    summary = plan_summary(found, of_run(found), False, 0)
    assert summary["text"] == (
        "plan: 1 create, 2 update, 3 suspend, 0 delete, 3 members to add, 1 to remove; within all safety limits"
    )
    assert summary["counts"]["users"]["suspensions"] == 3
    assert summary["counts"]["groups"]["additions"] == 3
    found["renames"][USER] = 9
    over = of_run(found)
    text = plan_summary(found, over, False, 2)["text"]
    assert "0 delete, 9 rename, 3 members to add" in text
    assert text.endswith(
        "beyond safety limits: renames 9 of 5 allowed; 2 groups left alone (safety_limits.removals_per_group)"
    )
    assert "(overridden by force)" in plan_summary(found, over, True, 0)["text"]


@pytest.mark.parametrize("name", OF_EFFECTS)
@pytest.mark.parametrize("number", [3, 4, 50, 51])
def test_the_line_and_the_limits_agree(name, number):
    found = totals(**{name: number})
    over = of_run(found, records=10, members=10)
    text = plan_summary(found, over, False, 0)["text"]
    assert ("within all" in text) == (not any(item.exceeded for item in over))
