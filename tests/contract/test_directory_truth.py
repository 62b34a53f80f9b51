# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs, with drift of every kind and faults in the middle of everything, held against the evidence.

Each seed is a sequence of its own and the same every time: WHOLE_SEEDS=200 runs more of them, WHOLE_FIRST=17 from there.
"""

from __future__ import annotations

import json
import os
import random

import pytest

from tests.truth import directory_oracle
from tests.truth.machine import AUTHENTIK_FAULTS, GOOGLE_FAULTS
from tests.truth.oracle import wants
from tests.truth.whole import DOMAIN, Whole, organisation

PEOPLE, GROUPS = 24, 9
FIRST = int(os.environ.get("WHOLE_FIRST", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("WHOLE_SEEDS", "12")))
GOOGLE_PLACES = (
    ("GET", r"/users/"),
    ("POST", r"/users(\?|$)"),
    ("PUT", r"/users/"),
    ("GET", r"/groups/[^/]+(\?|$)"),
    ("POST", r"/groups(\?|$)"),
    ("PUT", r"/groups/"),
    ("GET", r"/members"),
    ("POST", r"/members"),
    ("DELETE", r"/members/"),
    ("DELETE", r"/users/"),
    ("GET", r"/domains"),
    ("GET", r"/users\?"),
    ("GET", r"/groups\?"),
)
AUTHENTIK_PLACES = (
    ("POST", "/google_workspace_"),
    ("DELETE", "/google_workspace_"),
    ("POST", "/test/"),
    ("GET", "/core/users"),
    ("GET", "/core/groups"),
    ("GET", "/google_workspace_"),
)


@pytest.fixture(scope="module", params=["2025.12.4", "2024.8.1"])
def running(request, tmp_path_factory, sandboxes):
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "dataset.json"
    path.write_text(json.dumps(organisation(PEOPLE, GROUPS)))
    with sandboxes(dataset=path, authentik_version=request.param) as sandbox:
        yield Whole(sandbox, folder)


@pytest.fixture
def whole(running):
    return running.fresh()


def drift(whole, chosen, number):
    """So many changes on both sides; what the sandbox refuses is left out."""
    for _turn in range(number):
        person = f"person-{chosen.randrange(PEOPLE):02}"
        address = f"{person}@{DOMAIN}"
        other = f"person-{chosen.randrange(PEOPLE):02}"
        group = f"Group {chosen.randrange(GROUPS):02}"
        group_address = wants("group", {"name": group})
        method, path, body = chosen.choice(
            [
                ("PATCH", f"google/users/{address}", {"name": {"givenName": "Drifted"}}),
                ("PATCH", f"google/users/{address}", {"suspended": True}),
                ("PATCH", f"google/users/{address}", {"orgUnitPath": "/Staff"}),
                ("DELETE", f"google/users/{address}", None),
                ("PATCH", f"google/groups/{group_address}", {"name": "Drifted"}),
                ("PATCH", f"google/groups/{group_address}", {"description": "by hand"}),
                ("DELETE", f"google/groups/{group_address}", None),
                ("POST", f"google/groups/{group_address}/members", {"email": address}),
                ("POST", f"google/groups/{group_address}/members", {"email": f"admin@{DOMAIN}", "role": "OWNER"}),
                ("POST", f"google/groups/{group_address}/members", {"email": "guest@elsewhere.test"}),
                ("DELETE", f"google/groups/{group_address}/members/{address}", None),
                ("POST", f"google/users/{address}/aliases", {"alias": f"alias-{person}@{DOMAIN}"}),
                ("PATCH", f"authentik/users/{person}", {"name": f"Changed {chosen.randrange(99)}"}),
                ("PATCH", f"authentik/users/{person}", {"is_active": chosen.random() < 0.5}),
                ("PATCH", f"authentik/users/{person}", {"email": f"{person}.new@{DOMAIN}"}),
                ("DELETE", f"authentik/users/{person}", None),
                ("POST", "authentik/users", {"username": person, "name": "Born Again", "email": address}),
                ("POST", f"authentik/groups/{group}/members", {"username": other}),
                ("DELETE", f"authentik/groups/{group}/members/{other}", None),
                ("PATCH", f"authentik/groups/{group}", {"name": f"{group} New"}),
                ("PATCH", f"authentik/groups/{group} New", {"name": group}),
            ]
        )
        whole.control(method, path, body)


def break_things(whole, chosen, number):
    """So many faults at random places, each once or a few times."""
    whole.quiet = False
    for _turn in range(number):
        side, places, faults = chosen.choice(
            [("google", GOOGLE_PLACES, GOOGLE_FAULTS)] * 3 + [("authentik", AUTHENTIK_PLACES, AUTHENTIK_FAULTS)]
        )
        method, path = chosen.choice(places)
        fault = {**chosen.choice(faults), "method": method, "path": path}
        whole.sandbox.fault(side, **fault, times=chosen.choice([1, 1, 2, 7, -1]), skip=chosen.choice([0, 0, 1, 5]))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_claim_is_false_and_it_converges(whole, seed):
    chosen = random.Random(seed)
    membership = chosen.choice(["add", "exact"])
    options = {"membership": membership, "force": True, "orphans": chosen.choice(["report", "apply"])}
    if chosen.random() < 0.7:
        whole.converged(**options)
    drift(whole, chosen, chosen.randrange(1, 25))
    if chosen.random() < 0.4:
        explained = whole.sync(check=True, **options)
        if chosen.random() < 0.5:
            directory_oracle.same_prediction(explained.result, whole.sync(**options).result)
            drift(whole, chosen, chosen.randrange(1, 25))
    break_things(whole, chosen, chosen.randrange(1, 7))
    whole.sync(**options)
    whole.calm()
    made_before = whole.sandbox.google_state()
    healed = whole.sync(**options)
    only_conflicts(healed)
    again = whole.sync(**options)
    assert not again.result["changed"], again.result["changes"]
    assert again.result["counts"]["users"]["failed"] == healed.result["counts"]["users"]["failed"]
    nobody_twice(whole, made_before)


def only_conflicts(run):
    """What still fails fails because an address is somebody else's."""
    assert {item["code"] for item in run.result["failed_objects"]} <= {"conflict"}, run.result["failed_objects"]


def nobody_twice(whole, _before):
    """Each person has one account, whatever happened on the way."""
    state = whole.sandbox.google_state()
    names = [user["primaryEmail"] for user in state["users"]] + [group["email"] for group in state["groups"]]
    assert len(names) == len(set(names))
    people = {item["email"]: item["username"] for item in whole.sandbox.control("GET", "authentik/state")["users"]}
    owners = [people[user["primaryEmail"]] for user in state["users"] if user["primaryEmail"] in people]
    assert len(owners) == len(set(owners))
