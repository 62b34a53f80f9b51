# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose account it is, and who is protected: by every way into the modules, in check mode as for real."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.module import ModuleRun, reaching, run_module

DOMAIN = "corp.example.com"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


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


def connect(sandbox: Any, name: str, google_id: str, **options: Any) -> ModuleRun:
    given = {"sync_object_model": "user", "sync_object_id": name, "google_id": google_id, **options}
    return run_module({**reaching(sandbox), **given}, module="google_workspace_connection")


@pytest.mark.parametrize("engine", ["direct", "server"])
def test_the_remedy_of_a_conflict_can_be_followed(sandbox, engine):
    """Connected by the immutable id that the message gives, it is the same account, and it is renamed."""
    assert one(sandbox, "zoe").result["status"] == "synced"
    own_id = accounts(sandbox)[mail("zoe")]["id"]
    change(sandbox, "zoe", email=mail("zoe.new"))
    refused = one(sandbox, "zoe", engine=engine).result
    assert refused["code"] == "conflict" and f"google_id: '{own_id}'" in refused["msg"]
    assert not connect(sandbox, "zoe", own_id).failed
    assert one(sandbox, "zoe", engine=engine).result["status"] == "synced"
    assert accounts(sandbox)[mail("zoe.new")]["id"] == own_id
    assert mail("zoe") not in accounts(sandbox)
    assert one(sandbox, "zoe").result["status"] == "unchanged"
    if engine == "direct":
        # authentik knows it by its address again, which it needs for the members of groups.
        assert [row["google_id"] for row in sandbox.control("GET", "authentik/state")["connections"]] == [
            mail("zoe.new")
        ]


def test_an_orphan_known_by_its_address_alone_is_left_alone(sandbox):
    """Neither its account nor its connection is touched: both show whose it may be."""
    sandbox.control(
        "PATCH", "authentik/providers/1", {"user_delete_action": "delete", "exclude_users_service_account": True}
    )
    for name in ("old", "zoe"):
        assert one(sandbox, name).result["status"] == "synced"
    sandbox.control("DELETE", f"google/users/{mail('old')}")
    sandbox.control("POST", "google/users", account(mail("old"), "Hand"))
    change(sandbox, "old", type="service_account")
    before = accounts(sandbox), sandbox.control("GET", "authentik/state")["connections"]
    limits = {"deletions": "100%", "unlinked": "100%"}
    for check in (True, False):
        run = whole(sandbox, check, models=["user"], orphans="apply", safety_limits=limits)
        (orphan,) = run.result["orphans"]
        assert orphan["action"] is None and "knows only the address" in orphan["why"]
    state = accounts(sandbox), sandbox.control("GET", "authentik/state")["connections"]
    assert state[0][mail("old")] == before[0][mail("old")]
    assert before[1][0]["id"] in [row["id"] for row in state[1]]


def test_an_external_id_shows_whose_account_an_orphan_has(sandbox):
    sandbox.control(
        "PATCH", "authentik/providers/1", {"user_delete_action": "suspend", "exclude_users_service_account": True}
    )
    own: dict[str, Any] = {"ownership": "external_id"}
    assert one(sandbox, "old", **own).result["status"] == "synced"
    change(sandbox, "old", type="service_account")
    run = whole(sandbox, models=["user"], orphans="apply", safety_limits={"suspensions": 1}, **own)
    assert [item["action"] for item in run.result["orphans"]] == ["suspended"]
    assert accounts(sandbox)[mail("old")]["suspended"] is True


@pytest.mark.parametrize("options", [{"adopt": "never"}, {"ownership": "external_id"}])
def test_an_account_that_turns_up_is_taken_over_by_the_same_rules(sandbox, options):
    """Google shows it only when it refuses to create a second one with its address."""
    other = {"type": "custom", "customType": "authentik", "value": "somebody-else"}
    sandbox.control("POST", "google/users", {**account(mail("zoe"), "Hand"), "externalIds": [other]})
    before = accounts(sandbox)
    sandbox.fault("google", method="GET", path="/users/" + mail("zoe"), status=404, reason="notFound", times=1)
    run = one(sandbox, "zoe", **options)
    assert run.result["code"] == ("not_adopted" if "adopt" in options else "conflict"), run.result
    assert accounts(sandbox) == before


def test_an_account_that_turns_up_keeps_its_other_external_ids(sandbox):
    number = {"type": "organization", "value": "7"}
    sandbox.control("POST", "google/users", {**account(mail("zoe"), "Hand"), "externalIds": [number]})
    sandbox.fault("google", method="GET", path="/users/" + mail("zoe"), status=404, reason="notFound", times=1)
    assert one(sandbox, "zoe", ownership="external_id").result["status"] == "synced"
    found = accounts(sandbox)[mail("zoe")]["externalIds"]
    assert number in found and len(found) == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [("adopt", "never"), ("ownership", "external_id"), ("protect", ["ceo"]), ("protect", ["group:ceo"])],
)
@pytest.mark.parametrize("module", ["google_workspace_sync_object", "google_workspace_sync"])
def test_what_cannot_be_kept_is_refused_before_anything_is_sent(sandbox, module, option, value):
    sandbox.clear_requests()
    given = {"engine": "server", option: value}
    if module == "google_workspace_sync_object":
        given.update(sync_object_model="user", sync_object_id="zoe")
    run = run_module({**reaching(sandbox), **given}, module=module)
    assert run.result["code"] == "invalid_option" and option in run.result["msg"]
    assert not sandbox.authentik_requests() and not sandbox.google_requests()


@pytest.mark.parametrize("engine", ["direct", "server"])
@pytest.mark.parametrize("way", ["one", "whole"])
def test_a_group_of_protect_that_is_not_there_ends_the_run(sandbox, engine, way):
    """A typing error must not leave somebody without protection."""
    before = accounts(sandbox)
    options = {"engine": engine, "protect": ["group:leadres@corp.example.com"]}
    run = one(sandbox, "zoe", **options) if way == "one" else whole(sandbox, **options)
    assert run.result["code"] == "invalid_option" and "leadres@corp.example.com" in run.result["msg"], run.result
    assert accounts(sandbox) == before


def test_protect_wants_google_to_be_readable(sandbox):
    sandbox.fault("google", method="POST", path="/token", status=503, times=-1)
    run = one(sandbox, "zoe", engine="server", protect=[mail("boss")])
    assert run.failed and mail("zoe") not in accounts(sandbox)
    run = one(sandbox, "zoe", engine="server", protect=[mail("boss")], verify="connection")
    assert run.result["code"] == "invalid_option" and "verify" in run.result["msg"]


def test_an_inactive_user_whose_account_is_gone_is_no_orphan(sandbox):
    assert one(sandbox, "zoe").result["status"] == "synced"
    sandbox.control("DELETE", f"google/users/{mail('zoe')}")
    change(sandbox, "zoe", is_active=False)
    rows = sandbox.control("GET", "authentik/state")["connections"]
    run = whole(sandbox, models=["user"], orphans="apply")
    assert run.result["orphans"] == []
    assert rows[0]["id"] in [row["id"] for row in sandbox.control("GET", "authentik/state")["connections"]]
    assert any("1 users are not active" in line["event"] for line in run.result["messages"])


def test_messages_name_objects_as_they_are_written(sandbox):
    for engine in ("direct", "server"):
        sandbox.reset()
        sandbox.control("POST", "authentik/users", {"username": "Ada.Big", "name": "Ada Big", "email": mail("admin")})
        run = one(sandbox, "Ada.Big", engine=engine)
        assert "User Ada.Big was not synced" in run.result["msg"]


def test_after_a_directory_the_connections_hold_ids(sandbox):
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
        (["other@corp.example.com", "/Exec", "group:others@corp.example.com"], False),
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
    sandbox.control("POST", "google/groups", {"email": mail("others"), "name": "others"})
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


@pytest.mark.parametrize("check", [True, False])
def test_an_unknown_primary_key_may_be_a_mistyped_name(sandbox, check):
    for value in ("4711", UNKNOWN, UNKNOWN.replace("-", "")):
        for model in ("user", "group"):
            run = one(sandbox, value, check, model=model)
            assert (run.failed, run.result["code"]) == (True, "authentik_not_found"), (model, value)
    for lookup, value in (("pk", "4711"), ("uuid", UNKNOWN)):
        run = one(sandbox, value, check, lookup=lookup)
        assert (run.failed, run.result["status"]) == (False, "out_of_scope")


@pytest.mark.parametrize(
    ("model", "name", "nearest"),
    [
        ("user", "zoo", "zoe"),
        ("user", "bose", "boss"),
        ("user", "Zoe", "zoe"),
        ("user", "zoe@corp.example.co", "zoe"),
        ("user", "Zoe Exampel", "zoe"),
        ("group", "boards", "board"),
        ("group", "Board", "board"),
    ],
)
@pytest.mark.parametrize("engine", ["direct", "server"])
def test_an_unknown_name_names_the_nearest(sandbox, engine, model, name, nearest):
    text = one(sandbox, name, model=model, engine=engine).result["msg"]
    assert f"The nearest: {nearest}" in text


def test_a_name_that_nothing_is_like_names_nobody(sandbox):
    for name in ("qqqqqq", "???", "nobody@elsewhere.test"):
        assert "nearest" not in one(sandbox, name).result["msg"]
