# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose account it is, and who is protected: by every way into the modules, in check mode as for real."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.module import ModuleRun, reaching, run_module

DOMAIN = "corp.example.com"


def mail(name: str) -> str:
    return f"{name}@{DOMAIN}"


@pytest.fixture(scope="module")
def running(sandboxes, tmp_path_factory):
    people = [
        {"username": name, "name": f"{name.title()} Example", "email": mail(name)}
        for name in ("old", "new", "zoe", "boss")
    ]
    groups = [{"name": "board", "members": ["old"]}]
    path = tmp_path_factory.mktemp("ownership") / "dataset.json"
    path.write_text(json.dumps({"domain": DOMAIN, "users": people, "groups": groups}))
    with sandboxes(dataset=path) as found:
        yield found


@pytest.fixture
def sandbox(running):
    running.reset()
    running.control("POST", "authentik/settings", {"signals": False})
    return running


def one(sandbox: Any, name: str, check: bool = False, model: str = "user", **options: Any) -> ModuleRun:
    given = {"sync_object_model": model, "sync_object_id": name, "engine": "direct", "google_wait": 2, **options}
    return run_module({**reaching(sandbox), **given}, check=check)


def whole(sandbox: Any, check: bool = False, **options: Any) -> ModuleRun:
    given = {"google_wait": 2, **options}
    return run_module({**reaching(sandbox), **given}, module="google_workspace_sync", check=check)


def accounts(sandbox: Any) -> dict[str, dict[str, Any]]:
    return {user["primaryEmail"]: user for user in sandbox.control("GET", "google/state")["users"]}


def change(sandbox: Any, name: str, **values: Any) -> None:
    pk = next(user["pk"] for user in sandbox.control("GET", "authentik/state")["users"] if user["username"] == name)
    sandbox.control("PATCH", f"authentik/users/{pk}", values)


def account(address: str, given: str) -> dict[str, Any]:
    return {"primaryEmail": address, "name": {"givenName": given, "familyName": "Hand"}}


def recycled(sandbox: Any, by_hand: bool) -> dict[str, Any]:
    """old leaves, and the address goes to new, or to an account that somebody makes at Google."""
    assert one(sandbox, "old").result["status"] == "synced"
    sandbox.control("DELETE", f"google/users/{mail('old')}")
    change(sandbox, "old", email=mail("left"), is_active=False)
    if by_hand:
        sandbox.control("POST", "google/users", account(mail("old"), "Newcomer"))
    else:
        change(sandbox, "new", email=mail("old"))
        assert one(sandbox, "new").result["status"] == "synced"
    return accounts(sandbox)[mail("old")]


@pytest.mark.parametrize("by_hand", [False, True], ids=["somebody in authentik", "made by hand"])
@pytest.mark.parametrize("way", ["one", "named", "whole"])
def test_a_recycled_address(sandbox, by_hand, way):
    theirs = recycled(sandbox, by_hand)
    for check in (True, False):
        if way == "one":
            run = one(sandbox, "old", check)
        else:
            run = whole(sandbox, check, models=["user"], **({"objects": ["user:old"]} if way == "named" else {}))
        assert accounts(sandbox)[mail("old")] == theirs
        if by_hand:
            # Nobody in authentik wants the address: whether it is the same account cannot be told.
            assert run.failed
            told = run.result["msg"] if way == "one" else run.result["failed_objects"][0]["msg"]
            assert all(part in told for part in ("User old", mail("old"), mail("left"), theirs["id"], "state: absent"))
    assert mail("left") not in accounts(sandbox)


def test_the_remedy_of_a_conflict_decides(sandbox):
    """Connected by the immutable id, it is the same account, and it is renamed."""
    assert one(sandbox, "zoe").result["status"] == "synced"
    own_id = accounts(sandbox)[mail("zoe")]["id"]
    change(sandbox, "zoe", email=mail("zoe.new"))
    assert one(sandbox, "zoe").result["code"] == "conflict"
    row = sandbox.control("GET", "authentik/state")["connections"][0]
    sandbox.control("PATCH", f"authentik/connections/{row['id']}", {"attributes": {"id": own_id}})
    assert one(sandbox, "zoe").result["status"] == "synced"
    assert accounts(sandbox)[mail("zoe.new")]["id"] == own_id


def test_a_directory_lets_authentik_learn_the_ids(sandbox):
    sandbox.control("POST", "authentik/settings", {"signals": False})
    assert whole(sandbox, models=["user"]).result["status"] == "synced"
    ids = {address: user["id"] for address, user in accounts(sandbox).items()}
    rows = sandbox.control("GET", "authentik/state")["connections"]
    assert {row["google_id"]: row["attributes"].get("id") for row in rows} == {
        row["google_id"]: ids[row["google_id"]] for row in rows
    }
    change(sandbox, "zoe", email=mail("zoe.new"))
    assert one(sandbox, "zoe").result["status"] == "synced"
    assert accounts(sandbox)[mail("zoe.new")]["id"] == ids[mail("zoe")]


def test_the_newcomer_does_not_get_into_the_leaver_s_groups(sandbox):
    assert one(sandbox, "old").result["status"] == "synced"
    recycled_id = one(sandbox, "board", model="group").result["object"]["google_id"]
    sandbox.control("DELETE", f"google/users/{mail('old')}")
    change(sandbox, "old", email=mail("left"))
    change(sandbox, "new", email=mail("old"))
    assert one(sandbox, "new").result["status"] == "synced"
    run = one(sandbox, "board", model="group", membership="exact")
    assert run.result["skipped_members"] == ["old"]
    group = next(item for item in sandbox.control("GET", "google/state")["groups"] if item["id"] == recycled_id)
    assert group["members"] == []


def test_an_external_id_decides_from_then_on(sandbox):
    own: dict[str, Any] = {"ownership": "external_id"}
    assert one(sandbox, "zoe", **own).result["status"] == "synced"
    marked = accounts(sandbox)[mail("zoe")]["externalIds"]
    assert [item["customType"] for item in marked] == ["authentik"]
    assert one(sandbox, "zoe", **own).result["status"] == "unchanged"
    # The address alone would prove nothing; the mark does.
    change(sandbox, "zoe", email=mail("zoe.new"))
    assert one(sandbox, "zoe", **own).result["status"] == "synced"
    # Somebody else cannot have it, even by its present address.
    change(sandbox, "zoe", email=mail("zoe.gone"))
    change(sandbox, "new", email=mail("zoe.new"))
    before = accounts(sandbox)
    assert one(sandbox, "new", **own).result["code"] == "conflict"
    assert accounts(sandbox) == before


@pytest.mark.parametrize("way", ["one", "whole"])
@pytest.mark.parametrize(
    ("protect", "named"),
    [
        (["boss@corp.example.com"], True),
        (["B*@Corp.example.com"], True),
        (["/Executives"], True),
        (["group:leaders@corp.example.com"], True),
        (["other@corp.example.com", "/Exec", "group:nobody@corp.example.com"], False),
    ],
)
def test_protect(sandbox, protect, named, way):
    unit = {
        "primaryEmail": mail("boss"),
        "name": {"givenName": "Boss", "familyName": "Example"},
        "orgUnitPath": "/Executives/Board",
    }
    sandbox.control("POST", "google/users", unit)
    sandbox.control("POST", "google/groups", {"email": mail("leaders"), "name": "leaders"})
    sandbox.control("POST", f"google/groups/{mail('leaders')}/members", {"email": mail("boss")})
    assert one(sandbox, "boss").result["status"] in ("synced", "unchanged")
    change(sandbox, "boss", is_active=False)
    for check in (True, False):
        before = accounts(sandbox)[mail("boss")]["suspended"]
        if way == "one":
            run = one(sandbox, "boss", check, protect=protect)
            code = run.result.get("code")
        else:
            run = whole(sandbox, check, objects=["user:boss"], protect=protect, safety_limits={"suspensions": "100%"})
            code = (run.result["failed_objects"] or [{}])[0].get("code")
        assert (code == "protected") == named, run.result
        if named:
            assert accounts(sandbox)[mail("boss")]["suspended"] == before is False
    assert accounts(sandbox)[mail("boss")]["suspended"] != named


@pytest.mark.parametrize("engine", ["direct", "server"])
def test_allow_admins_lifts_it_for_administrators_and_never_for_the_own_account(sandbox, engine):
    change(sandbox, "boss", email=mail("admin"))
    before = accounts(sandbox)[mail("admin")]
    run = one(sandbox, "boss", engine=engine, allow_admins=True)
    assert run.result["code"] == "protected"
    assert accounts(sandbox)[mail("admin")] == before
    sandbox.control("POST", "google/users", {**account(mail("zoe"), "Other"), "isAdmin": True})
    assert one(sandbox, "zoe", engine=engine).result["code"] == "protected"
    assert one(sandbox, "zoe", engine=engine, allow_admins=True).result["status"] in ("synced", "unconfirmed")


@pytest.mark.parametrize("check", [True, False])
def test_adopt_never(sandbox, check):
    sandbox.control("POST", "google/users", account(mail("zoe"), "Hand"))
    before = accounts(sandbox)
    assert one(sandbox, "zoe", check, adopt="never").result["code"] == "not_adopted"
    assert accounts(sandbox) == before
    assert one(sandbox, "new", adopt="never").result["status"] == "synced"


def test_an_inactive_user_gets_no_account(sandbox):
    change(sandbox, "zoe", is_active=False)
    for check in (True, False):
        run = one(sandbox, "zoe", check)
        assert (run.result["status"], run.result["changed"], run.failed) == ("out_of_scope", False, False)
        assert any("create_inactive" in text for text in run.warnings)
    assert mail("zoe") not in accounts(sandbox)
    assert one(sandbox, "zoe", create_inactive=True).result["status"] == "synced"
    assert accounts(sandbox)[mail("zoe")]["suspended"] is True
