# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose address is whose: aliases, groups, renames in a row, swaps, and two objects that want one record."""

from __future__ import annotations

import json

import pytest

from tests.truth import directory_oracle
from tests.truth.whole import DOMAIN, Whole

PEOPLE = ("ada", "bob", "carl", "dora")
BY_ID = {"models": ["user", "group"], "membership": "exact"}


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    folder = tmp_path_factory.mktemp("addresses")
    path = folder / "dataset.json"
    dataset = {
        "domain": DOMAIN,
        "users": [{"username": n, "name": f"{n.title()} One", "email": f"{n}@{DOMAIN}"} for n in PEOPLE],
        "groups": [{"name": "Team", "members": ["ada", "bob"]}],
    }
    path.write_text(json.dumps(dataset))
    with sandboxes(dataset=path) as sandbox:
        yield Whole(sandbox, folder)


@pytest.fixture
def whole(running):
    return running.fresh()


def mail(name):
    return f"{name}@{DOMAIN}"


def email(whole, name, address):
    assert whole.control("PATCH", f"authentik/users/{name}", {"email": mail(address)})


def know_ids(whole):
    """authentik has listed Google since the connections were made, and so knows the immutable ids."""
    ids = {item["primaryEmail"]: item for item in whole.sandbox.google_state()["users"]}
    for row in whole.sandbox.control("GET", "authentik/state")["connections"]:
        if row["kind"] == "user":
            body = {"attributes": ids[row["google_id"]]}
            assert whole.control("PATCH", f"authentik/connections/{row['id']}", body)


def accounts(whole):
    """{address: immutable id}."""
    return {item["primaryEmail"].partition("@")[0]: item["id"] for item in whole.sandbox.google_state()["users"]}


def predicted_and_done(whole, **options):
    """Check mode, and then the real run, which must do the same."""
    explained = whole.sync(check=True, **options)
    real = whole.sync(**options)
    directory_oracle.same_prediction(explained.result, real.result)
    told = [sorted((item["name"], item["code"]) for item in run.result["failed_objects"]) for run in (explained, real)]
    assert told[0] == told[1]
    return real


def conflicts(run):
    return {item["name"]: item["msg"] for item in run.result["failed_objects"] if item["code"] == "conflict"}


def test_an_alias_of_somebody_else_is_left_alone(whole):
    whole.control("POST", f"google/users/{mail('admin')}/aliases", {"alias": mail("ada")})
    run = predicted_and_done(whole)
    assert set(conflicts(run)) == {"ada"}
    assert mail("admin") in conflicts(run)["ada"]
    assert run.result["counts"]["users"]["created"] == 4
    # In the group she would have been her alias's owner.
    assert run.result["counts"]["groups"]["members_skipped"] == 1
    team = next(item for item in whole.sandbox.google_state()["groups"] if item["name"] == "Team")
    assert [item["email"] for item in team["members"]] == [mail("bob")]


def test_an_address_that_a_group_has(whole):
    whole.control("POST", "google/groups", {"email": mail("ada"), "name": "Taken"})
    run = predicted_and_done(whole)
    assert set(conflicts(run)) == {"ada"}
    assert "the group " + mail("ada") in conflicts(run)["ada"]


def test_a_group_s_address_that_a_person_has(whole):
    whole.control(
        "POST", "google/users", {"primaryEmail": mail("team"), "name": {"givenName": "Some", "familyName": "Body"}}
    )
    run = predicted_and_done(whole)
    assert set(conflicts(run)) == {"Team"}
    assert run.result["counts"]["users"]["created"] == 5


@pytest.mark.parametrize("order", [("ada", "bob"), ("bob", "ada")])
def test_two_people_with_one_address_and_no_account(whole, order):
    first, second = order
    email(whole, second, first)
    run = predicted_and_done(whole)
    told = conflicts(run)
    assert set(told) == {"ada", "bob"}
    assert "user bob" in told["ada"]
    assert "user ada" in told["bob"]
    assert first not in accounts(whole)
    assert not predicted_and_done(whole).result["changed"]


def test_two_people_with_one_address_in_another_batch(whole):
    """More than a batch apart, the second one is not taken for having an account because the first will get one."""
    for number in range(230):
        body = {"username": f"filler-{number:03}", "name": "Filler Example", "email": mail(f"filler-{number:03}")}
        whole.control("POST", "authentik/users", body)
    email(whole, "dora", "filler-229")
    run = predicted_and_done(whole, result_limit=1000)
    assert set(conflicts(run)) == {"dora", "filler-229"}
    assert "filler-229" not in accounts(whole)


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("newcomer", ["ada", "dora"])
def test_who_is_connected_keeps_the_account(whole, newcomer, ids):
    """Whether the other one comes before or after in authentik's list."""
    owner = "bob"
    whole.control("DELETE", f"authentik/users/{newcomer}")
    whole.converged(**BY_ID)
    if ids:
        know_ids(whole)
    before = accounts(whole)
    body = {"username": newcomer, "name": "New Comer", "email": mail(owner)}
    # New people come last; somebody whose connection was lost may stand anywhere.
    assert whole.control("POST", "authentik/users", body)
    whole.control("PATCH", f"authentik/users/{owner}", {"name": "Bob Two"})
    run = predicted_and_done(whole, **BY_ID)
    assert set(conflicts(run)) == {newcomer}
    assert f"user {owner}" in conflicts(run)[newcomer] or "user " in conflicts(run)[newcomer]
    assert accounts(whole) == before
    bob = next(item for item in whole.sandbox.google_state()["users"] if item["id"] == before[owner])
    assert bob["name"]["familyName"] == "Two"


def test_the_first_in_the_list_is_not_connected_and_the_second_is(whole):
    whole.converged(**BY_ID)
    rows = whole.sandbox.control("GET", "authentik/state")["connections"]
    ada = next(row for row in rows if row["google_id"] == mail("ada"))
    whole.control("DELETE", f"authentik/connections/{ada['id']}")
    email(whole, "ada", "bob")
    run = predicted_and_done(whole, **BY_ID)
    assert set(conflicts(run)) == {"ada"}
    assert whole.sandbox.google_state()["users"][0]["name"] != "Ada One"
    bob = next(item for item in whole.sandbox.google_state()["users"] if item["primaryEmail"] == mail("bob"))
    assert bob["name"]["givenName"] == "Bob"


def test_an_old_address_goes_to_somebody_new_while_its_owner_is_renamed(whole):
    """Google keeps an old address as an alias of its owner: the newcomer must neither get nor overwrite the account."""
    whole.converged(**BY_ID)
    know_ids(whole)
    before = accounts(whole)
    email(whole, "bob", "robert")
    whole.control("POST", "authentik/users", {"username": "bob2", "name": "Bob Second", "email": mail("bob")})
    whole.control("POST", "authentik/groups/Team/members", {"username": "bob2"})
    run = predicted_and_done(whole, **BY_ID)
    assert set(conflicts(run)) == {"bob2"}
    assert accounts(whole)["robert"] == before["bob"]
    again = whole.sync(**BY_ID)
    assert set(conflicts(again)) == {"bob2"}
    assert "alias" in conflicts(again)["bob2"]
    assert not again.result["changed"]
    # Once the alias is gone, the newcomer gets an account.
    whole.control("DELETE", f"google/users/{mail('robert')}/aliases/{mail('bob')}")
    healed = whole.converged(**BY_ID)
    assert healed.result["counts"]["users"]["created"] == 1
    assert healed.result["counts"]["groups"]["members_added"] == 1


@pytest.mark.parametrize("ids", [False, True])
def test_two_swap_their_addresses(whole, ids):
    whole.converged(**BY_ID)
    if ids:
        know_ids(whole)
    before = accounts(whole)
    email(whole, "ada", "bob")
    email(whole, "bob", "ada")
    run = predicted_and_done(whole, **BY_ID)
    assert set(conflicts(run)) == {"ada", "bob"}
    assert accounts(whole) == before
    state = {item["id"]: item for item in whole.sandbox.google_state()["users"]}
    assert state[before["ada"]]["name"]["givenName"] == "Ada"


def test_a_chain_of_renames_ends_with_everybody_s_own_account(whole):
    """carl → free, bob → carl's, ada → bob's: what is free is taken, what is an alias is told."""
    whole.converged(**BY_ID)
    know_ids(whole)
    before = accounts(whole)
    email(whole, "carl", "charles")
    email(whole, "bob", "carl")
    email(whole, "ada", "bob")
    run = whole.sync(**BY_ID)
    assert set(conflicts(run)) == {"ada", "bob"}
    assert accounts(whole)["charles"] == before["carl"]
    for alias, owner in (("carl", "charles"),):
        whole.control("DELETE", f"google/users/{mail(owner)}/aliases/{mail(alias)}")
    run = whole.sync(**BY_ID)
    assert set(conflicts(run)) == {"ada"}
    assert accounts(whole)["carl"] == before["bob"]
    whole.control("DELETE", f"google/users/{mail('carl')}/aliases/{mail('bob')}")
    whole.converged(**BY_ID)
    assert accounts(whole)["bob"] == before["ada"]


def test_two_groups_with_one_address(whole):
    whole.control("POST", "authentik/groups", {"name": "team", "members": ["carl"]})
    run = predicted_and_done(whole, **BY_ID)
    assert set(conflicts(run)) == {"Team", "team"}
    assert not [item for item in whole.sandbox.google_state()["groups"] if item["email"] == mail("team")]
    assert not predicted_and_done(whole, **BY_ID).result["changed"]


def test_two_groups_with_one_address_of_which_one_is_connected(whole):
    whole.converged(**BY_ID)
    whole.control("POST", "authentik/groups", {"name": "team", "members": ["carl"]})
    run = predicted_and_done(whole, **BY_ID)
    assert set(conflicts(run)) == {"team"}
    team = next(item for item in whole.sandbox.google_state()["groups"] if item["email"] == mail("team"))
    assert {item["email"] for item in team["members"]} == {mail("ada"), mail("bob")}


def test_named_in_objects_they_are_told_apart_as_well(whole):
    email(whole, "bob", "ada")
    run = whole.sync(objects=["user:ada", "user:bob", "group:Team"])
    assert set(conflicts(run)) == {"ada", "bob"}
    assert "ada" not in accounts(whole)


def test_born_again_in_authentik_with_another_primary_key(whole):
    whole.converged(**BY_ID)
    before = accounts(whole)
    whole.control("DELETE", "authentik/users/ada")
    whole.control("POST", "authentik/users", {"username": "ada", "name": "Ada Two", "email": mail("ada")})
    run = whole.converged(orphans="apply", **BY_ID)
    assert run.result["counts"]["users"]["updated"] == 1
    assert run.result["orphans"] == []
    assert accounts(whole) == before
