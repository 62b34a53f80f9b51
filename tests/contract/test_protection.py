# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Administrators' accounts, the account that a run acts as, and objects that nobody named: left alone by every module."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.module import ModuleRun, reaching, run_module

DOMAIN = "corp.example.com"
ADMIN = f"admin@{DOMAIN}"
DELEGATED = f"helpdesk@{DOMAIN}"
DATASET = {
    "domain": DOMAIN,
    "users": [
        {"username": "ann", "name": "Ann Example", "email": f"ann@{DOMAIN}"},
        {"username": "mallory", "name": "Mallory M", "email": f"mallory@{DOMAIN}"},
    ],
    "groups": [{"name": "eng", "members": ["ann"]}],
    "google": {
        "users": [
            {
                "primaryEmail": DELEGATED,
                "name": {"givenName": "Help", "familyName": "Desk"},
                "isDelegatedAdmin": True,
                "aliases": [f"support@{DOMAIN}"],
            }
        ]
    },
}
PROTECTED = {"the administrator": ADMIN, "a delegated administrator": DELEGATED}


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    path = tmp_path_factory.mktemp("protection") / "dataset.json"
    path.write_text(json.dumps(DATASET), encoding="utf-8")
    with sandboxes(dataset=path) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    # authentik's own syncs on save would do the damage before.
    running.control("POST", "authentik/settings", {"signals": False})
    return running


def call(sandbox: Any, module: str, check: bool = False, **options: Any) -> ModuleRun:
    return run_module({**reaching(sandbox), **options}, module=module, check=check)


def one(sandbox: Any, name: str, check: bool = False, **options: Any) -> ModuleRun:
    everything = {"engine": "direct", "google_wait": 2, "sync_object_model": "user", "sync_object_id": name, **options}
    return call(sandbox, "google_workspace_sync_object", check, **everything)


def whole(sandbox: Any, check: bool = False, **options: Any) -> ModuleRun:
    return call(sandbox, "google_workspace_sync", check, **{"google_wait": 2, **options})


def pk_of(sandbox: Any, username: str) -> int:
    return next(
        item["pk"] for item in sandbox.control("GET", "authentik/state")["users"] if item["username"] == username
    )


def person(sandbox: Any, username: str, **fields: Any) -> None:
    sandbox.control("PATCH", f"authentik/users/{pk_of(sandbox, username)}", fields)


def account(sandbox: Any, address: str) -> dict[str, Any]:
    return next(item for item in sandbox.google_state()["users"] if item["primaryEmail"] == address)


def assign(sandbox: Any, line: str) -> None:
    expression = (
        'given, _, family = user.name.partition(" ")\n'
        'r = {"name": {"givenName": given, "familyName": family}, "suspended": not user.is_active}\n'
        + line
        + "\nreturn r"
    )
    sandbox.control("POST", "authentik/mappings", {"name": "ours", "expression": expression, "model": "user"})
    sandbox.control("PATCH", "authentik/providers/1", {"property_mappings": ["ours"]})


def connect(sandbox: Any, username: str, address: str, by_id: bool = True) -> None:
    attributes = {"id": account(sandbox, address)["id"]} if by_id else {}
    row = {"user": pk_of(sandbox, username), "provider": 1, "google_id": address, "attributes": attributes}
    sandbox.control("POST", "authentik/connections", row)


def writes(requests: list[dict[str, Any]]) -> list[str]:
    return [
        f"{item['method']} {item['path']}"
        for item in requests
        if item["method"] != "GET" and not item["path"].endswith(("/token", "/test/"))
    ]


def untouched(sandbox: Any, run: ModuleRun, address: str, before: Any) -> None:
    """The account is as it was, the failure says why, and nothing was connected with it."""
    assert account(sandbox, address) == before
    text = run.result["msg"] if "failed_objects" not in run.result else run.result["failed_objects"][0]["msg"]
    assert text.startswith(f"The account {address} at Google is ")
    assert "Nothing was written for it." in text
    assert writes(sandbox.google_requests()) == []


# The direct engine


@pytest.mark.parametrize("address", PROTECTED.values(), ids=PROTECTED)
@pytest.mark.parametrize("spelled", [str.lower, str.capitalize])
@pytest.mark.parametrize("active", [True, False])
def test_a_user_with_the_address_of_a_protected_account(sandbox, address, spelled, active):
    before = account(sandbox, address)
    person(sandbox, "mallory", email=spelled(address), is_active=active)
    for check in (True, False):
        sandbox.clear_requests()
        run = one(sandbox, "mallory", check)
        assert run.failed
        assert (run.result["code"], run.result["changed"]) == ("protected", False)
        untouched(sandbox, run, address, before)
    assert sandbox.control("GET", "authentik/state")["connections"] == []


@pytest.mark.parametrize("address", PROTECTED.values(), ids=PROTECTED)
def test_nothing_that_differs_is_still_a_take_over(sandbox, address):
    """An account that is as the mappings want it would be connected, and be written to by the next run."""
    name = account(sandbox, address)["name"]
    assign(sandbox, 'r = {"name": %r}' % {key: name[key] for key in ("givenName", "familyName")})
    person(sandbox, "mallory", email=address)
    run = one(sandbox, "mallory")
    assert run.result["code"] == "protected"
    assert sandbox.control("GET", "authentik/state")["connections"] == []


@pytest.mark.parametrize("options", [{}, {"objects": ["mallory", "ann"]}, {"models": ["user"]}], ids=str)
def test_the_others_of_a_run_are_synced(sandbox, options):
    before = account(sandbox, ADMIN)
    person(sandbox, "mallory", email=ADMIN, is_active=False)
    for check in (True, False):
        run = whole(sandbox, check, **options)
        assert run.failed
        assert account(sandbox, ADMIN) == before
        assert [(item["name"], item["code"]) for item in run.result["failed_objects"]] == [("mallory", "protected")]
        assert "ann" in [item["name"] for item in run.result["changes"]]
        assert "mallory" not in [item["name"] for item in run.result["changes"]]
    assert account(sandbox, f"ann@{DOMAIN}")


def test_an_address_that_only_a_mapping_gives(sandbox):
    before = account(sandbox, DELEGATED)
    assign(sandbox, 'r["primaryEmail"] = "%s" if user.username == "mallory" else user.email' % DELEGATED)
    for run in (one(sandbox, "mallory", True), one(sandbox, "mallory")):
        assert run.result["code"] == "protected"
        assert account(sandbox, DELEGATED) == before
    # A connection without an immutable id, as authentik makes it after Google's 409, proves nothing here.
    connect(sandbox, "mallory", DELEGATED, by_id=False)
    assert one(sandbox, "mallory").result["code"] == "protected"
    assert account(sandbox, DELEGATED) == before


HARM = {
    "suspended": ('r["suspended"] = True', "suspend it"),
    "archived": ('r["archived"] = True', "archive it"),
    "renamed": ('r["primaryEmail"] = "x-" + user.email', "rename it"),
    "recovery e-mail": ('r["recoveryEmail"] = "mallory@evil.test"', "set its recovery e-mail"),
    "recovery phone": ('r["recoveryPhone"] = "+15550100"', "set its recovery phone"),
}


@pytest.mark.parametrize("address", PROTECTED.values(), ids=PROTECTED)
@pytest.mark.parametrize(("line", "said"), HARM.values(), ids=HARM)
@pytest.mark.parametrize("engine", ["direct", "server"])
def test_what_a_mapping_must_not_do_to_a_connected_administrator(sandbox, address, line, said, engine):
    person(sandbox, "mallory", email=address)
    connect(sandbox, "mallory", address)
    assign(sandbox, line)
    before = account(sandbox, address)
    for check in (True, False):
        sandbox.clear_requests()
        run = one(sandbox, "mallory", check, engine=engine)
        assert run.result["code"] == "protected", run.result
        assert f"because that would {said}" in run.result["msg"]
        untouched(sandbox, run, address, before)
        assert not [item for item in sandbox.authentik_requests() if item["path"].endswith("/sync/object/")]


@pytest.mark.parametrize("engine", ["direct", "server"])
def test_a_connected_administrator_is_synced_otherwise(sandbox, engine):
    person(sandbox, "mallory", email=DELEGATED, name="New Name")
    connect(sandbox, "mallory", DELEGATED)
    run = one(sandbox, "mallory", engine=engine)
    assert (run.result["status"], run.failed) == ("synced", False), run.result
    assert account(sandbox, DELEGATED)["name"]["familyName"] == "Name"


def test_the_account_that_the_run_acts_as_needs_no_role(sandbox):
    """Google tells the run's own account by its address, an alias or its id: the role is not what protects it."""
    sandbox.control("PATCH", f"google/users/{DELEGATED}", {"isDelegatedAdmin": False})
    sandbox.control("PATCH", "authentik/providers/1", {"delegated_subject": f"Support@{DOMAIN}"})
    before = account(sandbox, DELEGATED)
    person(sandbox, "mallory", email=DELEGATED, is_active=False)
    run = one(sandbox, "mallory", delegated_subject=ADMIN)
    assert run.result["code"] == "protected"
    assert "is the account that this run acts as" in run.result["msg"]
    assert account(sandbox, DELEGATED) == before
    # Without that it is an account like any other, which a user with its address takes over.
    sandbox.control("PATCH", "authentik/providers/1", {"delegated_subject": ADMIN})
    assert one(sandbox, "mallory").result["status"] == "synced"
    assert account(sandbox, DELEGATED)["suspended"] is True


def test_an_account_that_google_shows_only_after_its_409(sandbox):
    before = account(sandbox, DELEGATED)
    person(sandbox, "mallory", email=DELEGATED, is_active=False)
    sandbox.fault("google", method="GET", path="/users/" + DELEGATED, status=404, reason="notFound", times=1)
    run = one(sandbox, "mallory", create_inactive=True)
    assert run.result["code"] == "protected", run.result
    assert run.result["changed"] is False
    assert account(sandbox, DELEGATED) == before


# The server engine


@pytest.mark.parametrize("address", PROTECTED.values(), ids=PROTECTED)
@pytest.mark.parametrize("linked", [False, True], ids=["unconnected", "connected elsewhere"])
@pytest.mark.parametrize("all_of_it", [False, True], ids=["one object", "full sync"])
def test_authentik_is_not_asked(sandbox, address, linked, all_of_it):
    if linked:
        assert one(sandbox, "mallory").result["status"] == "synced"
    before = sandbox.google_state()
    person(sandbox, "mallory", email=address, is_active=False)
    for check in (True, False):
        sandbox.clear_requests()
        run = whole(sandbox, check, engine="server") if all_of_it else one(sandbox, "mallory", check, engine="server")
        assert run.failed
        assert run.result["code"] == "protected", run.result
        assert address in run.result["msg"]
        assert "mallory" in run.result["msg"]
        assert writes(sandbox.authentik_requests()) == []
        assert sandbox.google_state() == before


@pytest.mark.parametrize("all_of_it", [False, True], ids=["one object", "full sync"])
def test_what_cannot_be_known_is_said(sandbox, all_of_it):
    sync = whole if all_of_it else lambda *args, **more: one(args[0], "ann", **more)
    run = sync(sandbox, engine="server", verify="none")
    assert any("administrator's account" in text and "not known" in text for text in run.warnings)
    run = sync(sandbox, engine="server", verify="google")
    assert not any("administrator's account" in text for text in run.warnings)


def test_the_subject_is_known_without_google(sandbox):
    person(sandbox, "mallory", email=ADMIN.upper())
    sandbox.clear_requests()
    run = one(sandbox, "mallory", engine="server", verify="none")
    assert run.result["code"] == "protected"
    assert writes(sandbox.authentik_requests()) == []


def test_a_full_sync_with_a_harmful_mapping_for_a_connected_administrator(sandbox):
    person(sandbox, "mallory", email=DELEGATED)
    connect(sandbox, "mallory", DELEGATED)
    assign(sandbox, 'r["recoveryEmail"] = "mallory@evil.test"')
    before = sandbox.google_state()
    run = whole(sandbox, engine="server")
    assert run.result["code"] == "protected"
    assert "set its recovery e-mail" in run.result["msg"]
    assert sandbox.google_state() == before


def test_two_users_with_one_address(sandbox):
    """authentik links the second one to the first one's account, and writes to it with the next sync."""
    for name in ("ann", "mallory"):
        person(sandbox, name, email=f"shared@{DOMAIN}")
    assert one(sandbox, "ann", engine="server").result["status"] == "synced"
    before = sandbox.google_state()
    for check in (True, False, False):
        run = one(sandbox, "mallory", check, engine="server")
        assert run.result["code"] == "conflict"
        assert "user ann" in run.result["msg"]
        assert "again" not in run.result["msg"]
        assert sandbox.google_state() == before
    assert not one(sandbox, "ann", engine="server").failed


# The connection module


def test_an_administrator_is_connected_by_id_only(sandbox):
    own_id = account(sandbox, DELEGATED)["id"]
    options: dict[str, Any] = {"sync_object_model": "user", "sync_object_id": "ann", "state": "present"}
    for check in (True, False):
        run = call(sandbox, "google_workspace_connection", check, google_id=DELEGATED, **options)
        assert run.result["code"] == "protected"
        assert own_id in run.result["msg"]
    for google_id in (ADMIN, account(sandbox, ADMIN)["id"]):
        run = call(sandbox, "google_workspace_connection", google_id=google_id, **options)
        assert run.result["code"] == "protected"
    assert sandbox.control("GET", "authentik/state")["connections"] == []
    run = call(sandbox, "google_workspace_connection", google_id=own_id, **options)
    assert run.result["changed"], run.result


@pytest.mark.parametrize("state", ["absent", "repaired"])
@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize("option", ["google_id", "sync_object_id"])
def test_an_empty_value_does_not_mean_all(sandbox, option, empty, state):
    assert one(sandbox, "ann").result["status"] == "synced"
    options: dict[str, Any] = {"state": state, "sync_object_model": "user", "sync_object_id": "ann", option: empty}
    run = call(sandbox, "google_workspace_connection", **options)
    assert (run.failed, run.result["code"]) == (True, "invalid_option")
    assert option in run.result["msg"]
    assert len(sandbox.control("GET", "authentik/state")["connections"]) == 1


# Nobody named


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("more", [{}, {"membership": "exact"}, {"models": ["group"], "force": True}], ids=str)
def test_an_empty_list_of_objects_syncs_nothing(sandbox, check, more):
    before = sandbox.google_state()
    sandbox.clear_requests()
    run = whole(sandbox, check, objects=[], **more)
    assert not run.failed
    assert (run.result["status"], run.result["changed"], run.result["changes"]) == ("unchanged", False, [])
    assert any("objects is an empty list" in text for text in run.warnings)
    assert sandbox.google_state() == before
    assert writes(sandbox.authentik_requests()) == []


@pytest.mark.parametrize("more", [{"orphans": "apply"}, {"engine": "server"}, {"shard_count": 2}], ids=str)
def test_an_empty_list_is_a_list_of_objects(sandbox, more):
    run = whole(sandbox, objects=[], **more)
    assert (run.failed, run.result["code"]) == (True, "invalid_option")
    assert "objects" in run.result["msg"]


def test_no_models_are_refused(sandbox):
    run = whole(sandbox, models=[])
    assert (run.failed, run.result["code"]) == (True, "invalid_option")


# Digits


def by_name(sandbox: Any, value: str, lookup: str) -> dict[str, ModuleRun]:
    """What each module makes of an identifier of a user."""
    of_object: dict[str, Any] = {"sync_object_model": "user", "sync_object_id": value, "lookup": lookup}
    mapping = {"mapping_id": "goauthentik.io/providers/google_workspace/user"}
    return {
        "object": one(sandbox, value, True, lookup=lookup),
        "object, server": one(sandbox, value, True, lookup=lookup, engine="server"),
        "directory": whole(sandbox, True, objects=[f"user:{value}"], lookup=lookup),
        "connection": call(
            sandbox, "google_workspace_connection", True, google_id=f"ann@{DOMAIN}", verify="none", **of_object
        ),
        "removal": call(sandbox, "google_workspace_connection", True, state="absent", **of_object),
        "connections": call(sandbox, "google_workspace_connection_info", **of_object),
        "mapping": run_module(
            {
                **_reaching_authentik(sandbox),
                "name": "trial",
                "expression": "return {}",
                "test_against": [{"user": value, "lookup": lookup}],
            },
            module="google_workspace_mapping",
            check=True,
        ),
        "mappings": run_module(
            {**_reaching_authentik(sandbox), **mapping, "evaluate_for": [{"user": value, "lookup": lookup}]},
            module="google_workspace_mapping_info",
        ),
    }


def _reaching_authentik(sandbox: Any) -> dict[str, Any]:
    return {name: value for name, value in reaching(sandbox).items() if name.startswith("authentik")}


def _message(run: ModuleRun) -> str:
    found = run.result.get("failed_objects")
    return found[0]["msg"] if found else run.result["msg"]


@pytest.mark.parametrize("field", ["username", "name"])
def test_digits_that_two_users_answer_to(sandbox, field):
    ann = pk_of(sandbox, "ann")
    fields = {"username": "zoe", "name": "Zoe Z", "email": f"zoe@{DOMAIN}", field: str(ann)}
    sandbox.control("POST", "authentik/users", fields)
    for module, run in by_name(sandbox, str(ann), "auto").items():
        assert run.failed, module
        text = _message(run)
        assert f"ann (pk {ann}, ann@{DOMAIN}; lookup: pk)" in text, module
        assert f"{fields['username']} (pk " in text, module
        assert f"lookup: {field})" in text, module
    # What the message says leads to each of the two.
    for lookup, name in (("pk", "ann"), (field, fields["username"])):
        run = one(sandbox, str(ann), True, lookup=lookup)
        assert run.result["object"]["name"] == name
        for module, found in by_name(sandbox, str(ann), lookup).items():
            assert "matches more than one" not in found.output, module


def test_a_username_of_digits_is_found(sandbox):
    sandbox.control(
        "POST", "authentik/users", {"username": "1234567", "name": "Stu Dent", "email": f"student@{DOMAIN}"}
    )
    run = one(sandbox, "1234567")
    assert (run.result["status"], run.result["object"]["name"]) == ("synced", "1234567")
