# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts whose object left the scope: only those are touched, whatever else looks like one."""

from __future__ import annotations

import json

import pytest

from tests.support.module import reaching, run_module
from tests.truth import directory_oracle
from tests.truth.whole import DOMAIN, Whole

PEOPLE = ("ada", "bob", "carl", "dora")
EVERYTHING = {"suspensions": "100%", "deletions": "100%", "unlinked": "100%"}
ALL = {"orphans": "apply", "safety_limits": EVERYTHING}


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    folder = tmp_path_factory.mktemp("orphans")
    path = folder / "dataset.json"
    skip = "if user.username == 'carl':\n    raise SkipObject()\nreturn {}"
    fail = "if user.username == 'carl':\n    raise ValueError('no')\nreturn {}"
    dataset = {
        "domain": DOMAIN,
        "users": [{"username": n, "name": f"{n.title()} One", "email": f"{n}@{DOMAIN}"} for n in PEOPLE],
        "groups": [{"name": "Everybody", "members": [*PEOPLE]}, {"name": "Team", "members": ["ada"]}],
        "provider": {"filter_group": "Everybody", "user_delete_action": "suspend"},
        "mappings": [
            {"name": "zz skip carl", "model": "user", "assigned": False, "expression": skip},
            {"name": "zz fail carl", "model": "user", "assigned": False, "expression": fail},
        ],
    }
    path.write_text(json.dumps(dataset))
    with sandboxes(dataset=path) as sandbox:
        yield Whole(sandbox, folder)


@pytest.fixture(params=["suspend", "delete"])
def whole(running, request):
    running.sandbox.reset()
    running.quiet = True
    running.control("POST", "authentik/settings", {"signals": False})
    running.control("PATCH", "authentik/providers/1", {"user_delete_action": request.param})
    running.control("POST", "authentik/groups/Everybody/members", {"username": "akadmin"})
    running.converged(**ALL)
    return running


def mail(name):
    return f"{name}@{DOMAIN}"


def leave(whole, name):
    assert whole.control("DELETE", f"authentik/groups/Everybody/members/{name}")


def alive(whole):
    """The accounts that nobody has touched."""
    return {
        item["primaryEmail"].partition("@")[0]
        for item in whole.sandbox.google_state()["users"]
        if not item["suspended"]
    }


EVERYBODY = {"admin", "akadmin", *PEOPLE}


def rows(whole):
    return whole.sandbox.control("GET", "authentik/state")["connections"]


def use(whole, *mappings):
    names = ["authentik default Google Workspace Mapping: User", *mappings]
    assert whole.control("PATCH", "authentik/providers/1", {"property_mappings": names})


def test_who_left_is_dealt_with_once(whole):
    leave(whole, "bob")
    explained = whole.sync(check=True, **ALL)
    real = whole.sync(**ALL)
    directory_oracle.same_prediction(explained.result, real.result)
    assert alive(whole) == EVERYBODY - {"bob"}
    assert [item["name"] for item in real.result["orphans"]] == ["bob"]
    assert mail("bob") not in [row["google_id"] for row in rows(whole)]
    again = whole.sync(**ALL)
    assert not again.result["changed"]
    assert again.result["orphans"] == []


def test_whom_a_mapping_leaves_out(whole):
    use(whole, "zz skip carl")
    run = whole.sync(**ALL)
    assert alive(whole) == EVERYBODY - {"carl"}
    assert "SkipObject" in run.result["orphans"][0]["why"]
    assert run.result["orphans"][0]["action"] in ("suspended", "deleted")


def test_whose_mapping_fails_is_no_orphan(whole):
    use(whole, "zz fail carl")
    run = whole.sync(**ALL)
    assert alive(whole) == EVERYBODY
    assert run.result["orphans"] == []
    assert [item["name"] for item in run.result["failed_objects"]] == ["carl"]


def test_no_mapping_can_be_evaluated(whole):
    whole.sandbox.fault("authentik", status=403, method="POST", path="/test/", times=-1)
    whole.quiet = False
    run = whole.sync(mapping_evaluation="server", **ALL)
    assert run.failed
    assert alive(whole) == EVERYBODY
    whole.calm()


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_an_account_whose_address_somebody_else_wants_by_now(whole, shards):
    """bob left, and ada has his address: nothing is done about his account, in whichever shard each of them is."""
    before = {item["primaryEmail"]: item for item in whole.sandbox.google_state()["users"]}[mail("bob")]
    leave(whole, "bob")
    whole.control("DELETE", "authentik/users/ada")
    whole.control("POST", "authentik/users", {"username": "ada", "name": "Ada Two", "email": mail("bob")})
    whole.control("POST", "authentik/groups/Everybody/members", {"username": "ada"})

    def everything():
        runs = [
            whole.call(shard_index=index, shard_count=shards, **ALL) if shards > 1 else whole.sync(**ALL)
            for index in range(shards)
        ]
        told = [item for run in runs for item in run.result["orphans"]]
        failed = [item for run in runs for item in run.result["failed_objects"]]
        return told, failed

    told, failed = everything()
    assert alive(whole) == EVERYBODY
    assert {item["primaryEmail"]: item for item in whole.sandbox.google_state()["users"]}[mail("bob")] == before
    assert [item["action"] for item in told] == [None]
    assert "somebody else in scope" in told[0]["why"]
    assert [(item["name"], item["code"]) for item in failed] == [("ada", "conflict")]
    assert "user bob" in failed[0]["msg"]
    # The remedy.
    options = {"state": "absent", "sync_object_model": "user", "sync_object_id": "bob"}
    parted = run_module({**reaching(whole.sandbox), **options}, module="google_workspace_connection")
    assert parted.result["changed"]
    told, failed = everything()
    assert (told, failed) == ([], [])
    assert alive(whole) == EVERYBODY


def test_two_connections_of_one_person(whole):
    account = next(item for item in whole.sandbox.google_state()["users"] if item["primaryEmail"] == mail("bob"))
    whole.control("POST", f"google/users/{mail('bob')}/aliases", {"alias": mail("robert")})
    pk = next(row["obj"] for row in rows(whole) if row["google_id"] == mail("bob"))
    body = {"provider": 1, "user": pk, "google_id": mail("robert"), "attributes": account}
    assert whole.control("POST", "authentik/connections", body)
    # In scope they are one account, and nothing is written.
    assert not whole.sync(**ALL).result["changed"]
    leave(whole, "bob")
    run = whole.sync(**ALL)
    assert alive(whole) == EVERYBODY - {"bob"}
    assert run.result["counts"]["users"]["orphans"] == 1
    assert pk not in [row["obj"] for row in rows(whole)]
    assert not whole.sync(**ALL).result["changed"]


def test_back_in_scope_when_it_is_looked_at_again(whole):
    leave(whole, "bob")
    state = whole.sandbox.control("GET", "authentik/state")
    bob = next(item for item in state["users"] if item["username"] == "bob")
    everybody = next(item["pk"] for item in state["groups"] if item["name"] == "Everybody")
    body = {**bob, "groups": [*bob["groups"], everybody]}
    whole.sandbox.fault("authentik", body=body, method="GET", path=rf"core/users/{bob['pk']}/", times=-1)
    run = whole.call(**ALL)
    assert alive(whole) == EVERYBODY
    assert run.result["orphans"] == []
    whole.calm()


def test_a_look_that_fails_keeps_nobody_waiting(whole):
    leave(whole, "bob")
    leave(whole, "carl")
    pk = next(row["obj"] for row in rows(whole) if row["google_id"] == mail("bob"))
    whole.sandbox.fault("authentik", status=500, body="<html>", method="GET", path=rf"core/users/{pk}/", times=-1)
    whole.quiet = False
    run = whole.sync(**ALL)
    assert run.failed
    assert alive(whole) == EVERYBODY - {"carl"}
    assert [item["pk"] for item in run.result["failed_objects"]] == [str(pk)]
    whole.calm()
    whole.sync(**ALL)
    assert alive(whole) == EVERYBODY - {"bob", "carl"}


def test_what_google_refuses_is_not_called_done(whole):
    leave(whole, "bob")
    whole.sandbox.fault("google", status=403, reason="forbidden", path=r"/users/\d+", method="PUT", times=-1)
    whole.sandbox.fault("google", status=403, reason="forbidden", path=r"/users/\d+", method="DELETE", times=-1)
    whole.quiet = False
    run = whole.sync(**ALL)
    assert run.failed
    assert not run.result["changed"]
    assert run.result["changes"] == []
    assert [item["action"] for item in run.result["orphans"]] == [None]
    assert alive(whole) == EVERYBODY
    assert mail("bob") in [row["google_id"] for row in rows(whole)]
    whole.calm()


def test_the_account_that_the_run_acts_as(whole):
    """akadmin is connected to the delegated subject's account and leaves: nobody saws off the branch they sit on."""
    row = next(row for row in rows(whole) if row["google_id"] == mail("akadmin"))
    own = next(
        user for user in whole.sandbox.control("GET", "google/state")["users"] if user["primaryEmail"] == mail("admin")
    )
    found = {"google_id": mail("admin"), "attributes": {"id": own["id"], "primaryEmail": mail("admin")}}
    whole.control("PATCH", f"authentik/connections/{row['id']}", found)
    leave(whole, "akadmin")
    for check in (True, False):
        run = whole.sync(check=check, **ALL)
        assert run.failed
        assert alive(whole) == EVERYBODY
        assert [item["action"] for item in run.result["orphans"]] == [None]
        assert [item["code"] for item in run.result["failed_objects"]] == ["protected"]
        assert "acts as" in run.result["failed_objects"][0]["msg"]
    # What is not done is not called done, and the connection stays to tell whose account it was.
    assert mail("admin") in [item["google_id"] for item in rows(whole)]


@pytest.mark.parametrize("flag", ["isAdmin", "isDelegatedAdmin"])
def test_an_administrator_who_leaves(whole, flag):
    whole.control("PATCH", f"google/users/{mail('bob')}", {flag: True})
    leave(whole, "bob")
    leave(whole, "carl")
    run = whole.sync(**ALL)
    assert run.failed
    assert alive(whole) == EVERYBODY - {"carl"}
    assert [(item["name"], item["code"]) for item in run.result["failed_objects"]] == [("bob", "protected")]
    # The role was taken away: now the account is nobody's special one.
    whole.control("PATCH", f"google/users/{mail('bob')}", {flag: False})
    whole.sync(**ALL)
    assert alive(whole) == EVERYBODY - {"bob", "carl"}


def test_safety_limits_are_about_what_is_managed(whole):
    for name in PEOPLE:
        leave(whole, name)
    before = whole.sandbox.google_state()
    held = whole.sync(**{**ALL, "safety_limits": {"suspensions": "50%", "deletions": "50%"}})
    assert held.failed
    assert held.result["code"] == "guard"
    assert whole.sandbox.google_state() == before
    limit = next(item for item in held.result["safety_limits"] if item["exceeded"])
    assert (limit["planned"], limit["allowed"], limit["of"]) == (4, 3, 5)
    whole.sync(**ALL)
    assert alive(whole) == EVERYBODY - set(PEOPLE)
