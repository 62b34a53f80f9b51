# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one wrong state may do to a directory in one run: each kind of damage ends in the limit that is made for it, before any
write; raising that limit alone lets it pass; and what is no damage passes with the defaults.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.truth.whole import DOMAIN, Whole, lines

OTHER = "other.example.com"
PEOPLE = [f"user{number:02}" for number in range(40)]
TEAMS = [f"team{number:02}" for number in range(10)]
SOLOS = [f"solo{number:02}" for number in range(5)]
USER = """
given, s, family = user.name.partition(" ")
r = {"name": {"givenName": given, "familyName": family, "displayName": user.name}, "suspended": not user.is_active}
%s
return r
"""
GROUP = 'return {"name": group.name%s}'
USUAL: dict[str, Any] = {"membership": "exact", "orphans": "apply"}
# What brings everybody there is no night.
FIRST = {"creations": 1000, "adoptions": 1000}


def person(name: str, domain: str = DOMAIN) -> dict[str, Any]:
    return {"username": name, "name": f"{name.title()} Example", "email": f"{name}@{domain}"}


def members_of(number: int) -> list[str]:
    return [PEOPLE[(number * 3 + place) % len(PEOPLE)] for place in range(6)]


def dataset() -> dict[str, Any]:
    groups = [{"name": name, "members": members_of(number)} for number, name in enumerate(TEAMS)]
    groups += [{"name": name, "members": [PEOPLE[number]]} for number, name in enumerate(SOLOS)]
    return {
        "domain": DOMAIN,
        "domains": [DOMAIN, OTHER],
        "users": [person(name) for name in PEOPLE],
        "groups": groups,
        "mappings": [
            {"name": "zz user", "expression": USER % "", "model": "user", "assigned": True},
            {"name": "zz group", "expression": GROUP % "", "model": "group", "assigned": True},
        ],
    }


def with_the_defaults(whole: Whole) -> Whole:
    whole.safety_limits = {}
    return whole


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    folder = tmp_path_factory.mktemp("limits")
    path = folder / "dataset.json"
    path.write_text(json.dumps(dataset()))
    with sandboxes(dataset=path) as sandbox:
        yield with_the_defaults(Whole(sandbox, folder))


@pytest.fixture
def empty(running):
    running.sandbox.reset()
    running.quiet = True
    assert running.control("POST", "authentik/settings", {"signals": False})
    return running


@pytest.fixture
def whole(empty):
    found = empty.call(**USUAL, safety_limits=FIRST).result
    assert found["status"] == "synced", found["msg"]
    return empty


def mapping(name: str, expression: str) -> Callable[[Whole], None]:
    def change(whole: Whole) -> None:
        found = whole.sandbox.control("GET", "authentik/state")["mappings"]
        pk = next(item["pk"] for item in found if item["name"] == name)
        assert whole.control("PATCH", f"authentik/mappings/{pk}", {"expression": expression})

    return change


def by_user_mapping(line: str) -> Callable[[Whole], None]:
    return mapping("zz user", USER % line)


def deactivated(*names: str) -> Callable[[Whole], None]:
    def change(whole: Whole) -> None:
        for name in names:
            assert whole.control("PATCH", f"authentik/users/{name}", {"is_active": False})

    return change


def suspended_by_hand(whole: Whole) -> None:
    for name in PEOPLE:
        assert whole.control("PATCH", f"google/users/{name}@{DOMAIN}", {"suspended": True})


def archived_by_hand(whole: Whole) -> None:
    for name in PEOPLE:
        assert whole.control("PATCH", f"google/users/{name}@{DOMAIN}", {"archived": True})


def appeared(whole: Whole) -> None:
    for number in range(51):
        assert whole.control("POST", "authentik/users", person(f"guest{number}"))


def new_groups(whole: Whole) -> None:
    for number in range(51):
        assert whole.control("POST", "authentik/groups", {"name": f"fresh{number}", "members": []})


def made_at_google(whole: Whole) -> None:
    """Accounts that somebody made by hand, and users who get their addresses."""
    for number in range(26):
        account = {
            "primaryEmail": f"hand{number}@{DOMAIN}",
            "name": {"givenName": "Hand", "familyName": "Made"},
            "password": "not-a-secret",
        }
        assert whole.control("POST", "google/users", account)
        assert whole.control("POST", "authentik/users", person(f"hand{number}"))


def narrowed(action: str) -> Callable[[Whole], None]:
    """The provider's filter becomes a group without anybody."""

    def change(whole: Whole) -> None:
        group = whole.sandbox.control("POST", "authentik/groups", {"name": "nobody"})["pk"]
        fields = {"filter_group": group, "user_delete_action": action}
        assert whole.control("PATCH", "authentik/providers/1", fields)

    return change


def emptied(names: list[str], number: int) -> Callable[[Whole], None]:
    def change(whole: Whole) -> None:
        for name in names:
            for member in members_of(TEAMS.index(name))[:number]:
                assert whole.control("DELETE", f"authentik/groups/{name}/members/{member}")

    return change


def both(*changes: Callable[[Whole], None]) -> Callable[[Whole], None]:
    def change(whole: Whole) -> None:
        for one in changes:
            one(whole)

    return change


LEAVERS = both(
    mapping("zz user", "if user.username in ('user38', 'user39'):\n    raise SkipObject()\n" + USER % ""),
    lambda whole: whole.sandbox.control("PATCH", "authentik/providers/1", {"user_delete_action": "suspend"}),
)
RENAMED_GROUPS = '{"name": group.name, "email": "x-" + slugify(group.name) + "@%s"}' % DOMAIN
DAMAGE: dict[str, tuple[Callable[[Whole], None], str, dict[str, Any]]] = {
    "suspended by a mapping": (by_user_mapping('r["suspended"] = True'), "suspensions", {}),
    "archived by a mapping": (by_user_mapping('r["archived"] = True'), "suspensions", {}),
    "deactivated": (deactivated(*PEOPLE), "suspensions", {}),
    "deactivated, and some archived": (
        both(deactivated("user00", "user01"), by_user_mapping('r["archived"] = user.username in ("user02", "user03")')),
        "suspensions",
        {},
    ),
    "deactivated, and some orphans": (both(deactivated("user00", "user01"), LEAVERS), "suspensions", {}),
    "named and deactivated": (
        deactivated(*PEOPLE),
        "suspensions",
        {"membership": "add", "orphans": "ignore", "objects": PEOPLE, "models": ["user"]},
    ),
    "an empty filter, suspended": (narrowed("suspend"), "suspensions", {}),
    "an empty filter, deleted": (narrowed("delete"), "deletions", {}),
    "an empty filter, unlinked": (narrowed("do_nothing"), "unlinked", {}),
    "reactivated": (suspended_by_hand, "reactivations", {}),
    "not archived any more": (
        both(
            archived_by_hand,
            by_user_mapping('r["archived"] = False'),
        ),
        "reactivations",
        {},
    ),
    "users appear": (appeared, "creations", {}),
    "groups appear": (new_groups, "creations", {}),
    "accounts are taken over": (made_at_google, "adoptions", {}),
    "all users renamed": (by_user_mapping('r["primaryEmail"] = "x-" + user.email'), "renames", {}),
    "all groups renamed": (mapping("zz group", f"return {RENAMED_GROUPS}"), "renames", {}),
    "recovery e-mail": (by_user_mapping('r["recoveryEmail"] = "somebody@elsewhere.test"'), "changes", {}),
    "recovery phone": (by_user_mapping('r["recoveryPhone"] = "+15555550100"'), "changes", {}),
    "names replaced": (
        by_user_mapping('r["name"] = {"givenName": "X", "familyName": "X", "displayName": "X"}'),
        "changes",
        {},
    ),
    "moved": (by_user_mapping('r["orgUnitPath"] = "/"; r["includeInGlobalAddressList"] = False'), "changes", {}),
    "descriptions of groups": (mapping("zz group", GROUP % ', "description": "x"'), "changes", {}),
    "groups emptied by a half": (emptied(TEAMS, 3), "removals", {}),
}


def state(whole: Whole) -> Any:
    google = whole.sandbox.google_state()
    rows = whole.sandbox.control("GET", "authentik/state")["connections"]
    return google["users"], google["groups"], sorted(rows, key=lambda row: row["id"])


def over(result: dict[str, Any]) -> list[str]:
    return sorted({item["option"] for item in result["safety_limits"] if item["exceeded"]})


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_ends_in_its_limit_and_passes_if_that_is_raised(whole, name):
    change, limit, options = DAMAGE[name]
    options = {**USUAL, **options}
    change(whole)
    before = state(whole)
    foreseen, run = whole.call(check=True, **options), whole.call(**options)
    assert state(whole) == before
    for found in (foreseen, run):
        assert found.failed
        assert not found.result["changed"]
        assert (found.result["code"], found.result["status"]) == ("guard", "failed")
        assert over(found.result) == [limit]
        assert f"raise safety_limits.{limit}, or set force" in found.result["msg"]
        assert f"beyond safety limits: {limit} " in found.result["plan"]["text"]
    assert foreseen.result["safety_limits"] == run.result["safety_limits"]
    assert foreseen.result["plan"] == run.result["plan"]
    raised = whole.call(**options, safety_limits={limit: "1000"})
    assert not raised.failed, raised.result["msg"]
    assert state(whole) != before
    assert over(raised.result) == []
    again = whole.call(**options)
    assert not again.failed, again.result["msg"]
    assert not again.result["changed"]


def test_force_overrides_each_and_says_so(whole):
    both(deactivated(*PEOPLE), emptied(TEAMS[:1], 6), appeared)(whole)
    run = whole.call(**USUAL, force=True)
    assert not run.failed, run.result["msg"]
    assert over(run.result) == ["creations", "removals_per_group", "suspensions"]
    assert all(item["overridden"] == item["exceeded"] for item in run.result["safety_limits"])
    (text,) = [text for text in run.warnings if "force is set" in text]
    assert all(f"safety_limits.{name}: " in text for name in over(run.result))
    assert run.result["counts"]["users"]["suspended"] == 40
    assert run.result["counts"]["groups"]["members_removed"] == 6


def test_a_group_that_is_emptied_is_left_alone_and_the_rest_goes_on(whole):
    both(emptied(["team00"], 6), emptied(["team05"], 2), deactivated("user30"))(whole)
    assert whole.control("PATCH", f"google/groups/team00@{DOMAIN}", {"name": "Renamed by hand"})
    before = {item["email"]: item for item in whole.sandbox.google_state()["groups"]}
    foreseen, run = whole.call(check=True, **USUAL), whole.call(**USUAL)
    after = {item["email"]: item for item in whole.sandbox.google_state()["groups"]}
    assert after[f"team00@{DOMAIN}"] == before[f"team00@{DOMAIN}"]
    assert len(after[f"team05@{DOMAIN}"]["members"]) == 4
    for found in (foreseen, run):
        assert found.failed
        assert found.result["code"] == "objects"
        (failed,) = found.result["failed_objects"]
        assert (failed["name"], failed["code"]) == ("team00", "guard")
        assert (
            "6 members of group team00 would be removed (of 6), more than safety_limits.removals_per_group"
            in failed["msg"]
        )
        assert f"user00@{DOMAIN}" in failed["msg"] and "and 1 more" in failed["msg"]
        assert found.result["counts"]["groups"]["members_removed"] == 2
        assert found.result["counts"]["users"]["suspended"] == 1
        (limit,) = [item for item in found.result["safety_limits"] if item["exceeded"]]
        assert (limit["option"], limit["group"], limit["overridden"]) == ("removals_per_group", "team00", False)
    assert foreseen.result["counts"] == run.result["counts"]
    assert run.result["plan"]["text"].endswith(
        "1 suspend, 0 delete, 0 members to add, 2 to remove; within all safety limits; "
        "1 group left alone (safety_limits.removals_per_group)"
    )
    raised = whole.call(**USUAL, safety_limits={"removals_per_group": "100%"})
    assert not raised.failed, raised.result["msg"]
    assert raised.result["counts"]["groups"]["members_removed"] == 6


def test_a_team_of_two_is_replaced(whole):
    assert whole.control("POST", "authentik/groups", {"name": "pair", "members": ["user00", "user01"]})
    assert not whole.call(**USUAL).failed
    for name in ("user00", "user01"):
        assert whole.control("DELETE", f"authentik/groups/pair/members/{name}")
    for name in ("user02", "user03"):
        assert whole.control("POST", "authentik/groups/pair/members", {"username": name})
    run = whole.call(**USUAL)
    assert not run.failed, run.result["msg"]
    counts = run.result["counts"]["groups"]
    assert (counts["members_added"], counts["members_removed"]) == (2, 2)


def test_a_named_group_may_lose_what_its_own_limit_allows(whole):
    emptied(["team00", "team03"], 3)(whole)
    run = whole.call(membership="exact", objects=["group:team00"])
    assert not run.failed, run.result["msg"]
    assert run.result["counts"]["groups"]["members_removed"] == 3


def test_named_objects_that_all_differ_are_synced(whole):
    for name in PEOPLE[:8]:
        assert whole.control("PATCH", f"authentik/users/{name}", {"name": "Other Name"})
    run = whole.call(objects=PEOPLE[:8], models=["user"])
    assert not run.failed, run.result["msg"]
    assert run.result["counts"]["users"]["updated"] == 8


def test_a_usual_night_passes(whole):
    deactivated("user00", "user01")(whole)
    appear = [person(f"new{number}") for number in range(5)]
    for user in appear:
        assert whole.control("POST", "authentik/users", user)
    for name in PEOPLE[10:20]:
        assert whole.control("PATCH", f"authentik/users/{name}", {"name": "Married Name"})
    assert whole.control("PATCH", "authentik/users/user30", {"email": f"renamed@{DOMAIN}"})
    emptied(["team01", "team07"], 1)(whole)
    run = whole.call(**USUAL)
    assert not run.failed, run.result["msg"]
    assert over(run.result) == []


def test_a_domain_is_renamed_with_one_limit_raised(whole):
    for name in PEOPLE:
        assert whole.control("PATCH", f"authentik/users/{name}", {"email": f"{name}@{OTHER}"})
    assert whole.control("PATCH", "authentik/providers/1", {"default_group_email_domain": OTHER})
    stopped = whole.call(**USUAL)
    assert over(stopped.result) == ["renames"]
    run = whole.call(**USUAL, safety_limits={"renames": "100%"})
    assert not run.failed, run.result["msg"]
    google = whole.sandbox.google_state()
    assert {f"{name}@{OTHER}" for name in PEOPLE} <= {item["primaryEmail"] for item in google["users"]}
    assert f"team00@{OTHER}" in {item["email"] for item in google["groups"]}


def test_a_first_run_of_sixty_users_needs_creations_alone(empty):
    for number in range(20):
        assert empty.control("POST", "authentik/users", person(f"more{number:02}"))
    deactivated(*PEOPLE[:6])(empty)
    stopped = empty.call(**USUAL)
    assert stopped.result["code"] == "guard"
    assert over(stopped.result) == ["creations"]
    assert "users would be created, more than safety_limits.creations: 50 allows (50)" in stopped.result["msg"]
    run = empty.call(**USUAL, safety_limits={"creations": 100})
    assert not run.failed, run.result["msg"]
    assert run.result["counts"]["users"]["created"] > 60


def test_all_shards_together_suspend_what_one_run_may(whole):
    deactivated(*PEOPLE)(whole)
    for given, allowed in (({}, 3), ({"suspensions": "20%"}, 9), ({"suspensions": "7"}, 7)):
        found = [
            whole.call(check=True, models=["user"], safety_limits=given, shard_index=index, shard_count=4).result
            for index in range(4)
        ]
        held = [item for result in found for item in result["safety_limits"] if item["option"] == "suspensions"]
        assert sum(item["planned"] for item in held) == 40
        assert sum(item["allowed"] for item in held) == allowed


def test_the_plan_is_in_the_report_the_messages_and_the_progress_before_the_first_write(whole, tmp_path):
    deactivated("user00")(whole)
    report, progress = tmp_path / "report.jsonl", tmp_path / "progress"
    run = whole.call(**USUAL, report_path=str(report), progress_path=str(progress))
    found = run.result["plan"]
    assert found["text"] == (
        "plan: 0 create, 0 update, 1 suspend, 0 delete, 0 members to add, 0 to remove; within all safety limits"
    )
    assert found["counts"]["users"]["suspensions"] == 1
    kinds = [line["kind"] for line in lines(report)]
    assert kinds.index("plan") < kinds.index("object")
    assert next(line for line in lines(report) if line["kind"] == "plan") == {"kind": "plan", **found}
    events = [line["event"] for line in run.result["messages"]]
    assert events.index(found["text"]) < events.index("Write users: 1.")
    told = [(line["phase"], line["plan"]) for line in lines(progress)]
    assert told.index(("write users", found["text"])) > [plan for _phase, plan in told].index(found["text"])
    assert told[0][1] is None


@pytest.fixture(scope="module")
def small(tmp_path_factory, sandboxes):
    folder = tmp_path_factory.mktemp("small")
    path = folder / "dataset.json"
    strangers = [
        {"primaryEmail": f"other{number:03}@{DOMAIN}", "name": {"givenName": "O", "familyName": "T"}}
        for number in range(160)
    ]
    path.write_text(
        json.dumps({"domain": DOMAIN, "users": [person(name) for name in PEOPLE[:8]], "google": {"users": strangers}})
    )
    with sandboxes(dataset=path) as sandbox:
        yield with_the_defaults(Whole(sandbox, folder))


def test_a_small_managed_part_of_a_large_workspace(small):
    assert small.control("POST", "authentik/settings", {"signals": False})
    assert not small.call().failed
    deactivated(*PEOPLE[:8])(small)
    run = small.call()
    assert over(run.result) == ["suspensions"]
    (limit,) = [item for item in run.result["safety_limits"] if item["exceeded"]]
    assert limit["of"] < 12
    assert not [item for item in small.sandbox.google_state()["users"] if item["suspended"]]


@pytest.mark.parametrize("version", ["2024.8.1", "2025.8.6"])
def test_where_authentik_keeps_no_connections_a_night_passes_and_damage_does_not(tmp_path, sandboxes, version):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(dataset()))
    with sandboxes(dataset=path, authentik_version=version) as sandbox:
        old = with_the_defaults(Whole(sandbox, tmp_path))
        assert old.control("POST", "authentik/settings", {"signals": False})
        assert not old.call(**USUAL).failed
        for _turn in range(2):
            # More than adoptions would allow, of a half that may differ.
            for number, name in enumerate(PEOPLE[:20]):
                assert old.control("PATCH", f"authentik/users/{name}", {"name": f"Turn{_turn} Number{number}"})
            emptied([TEAMS[_turn]], 1)(old)
            run = old.call(**USUAL)
            assert not run.failed, run.result["msg"]
            assert run.result["counts"]["users"]["updated"] == 20
        deactivated(*PEOPLE)(old)
        run = old.call(**USUAL)
        assert over(run.result) == ["suspensions"]
        (limit,) = [item for item in run.result["safety_limits"] if item["exceeded"]]
        assert limit["of"] >= 40
