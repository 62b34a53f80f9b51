# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shards: side by side they are the whole, none of it twice, the same in every run; ceilings and quota are shared out."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._sync.direct import directory_planner
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.guard.safety_limits import parse_limit
from tests.support.google import unvaried
from tests.truth.whole import DOMAIN, Whole, lines, organisation

PEOPLE, GROUPS = 60, 25


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    folder = tmp_path_factory.mktemp("shards")
    path = folder / "dataset.json"
    path.write_text(json.dumps(organisation(PEOPLE, GROUPS)))
    with sandboxes(dataset=path) as sandbox:
        yield Whole(sandbox, folder)


@pytest.fixture
def whole(running):
    return running.fresh()


def parts(whole, count, **options):
    """The names of what each shard would do something about, by kind."""
    found = []
    for index in range(count):
        path = whole.folder / f"part-{index}.jsonl"
        run = whole.call(check=True, shard_index=index, shard_count=count, report_path=str(path), **options)
        assert not run.failed, run.result
        found.append({(line["model"], line["name"]) for line in lines(path) if line["kind"] == "object"})
        counts = run.result["counts"]
        assert len(found[-1]) == counts["users"]["created"] + counts["groups"]["created"]
    return found


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_union_is_the_whole_and_nothing_is_in_two(whole, count):
    (everything,) = parts(whole, 1)
    assert len(everything) == PEOPLE + 1 + GROUPS + 1
    found = parts(whole, count)
    assert set().union(*found) == everything
    assert sum(len(part) for part in found) == len(everything)
    assert all(found)
    # What comes and goes on either side does not move anybody to another shard.
    whole.control("DELETE", "authentik/users/person-03")
    whole.control("POST", "authentik/users", {"username": "later", "name": "Later Example", "email": f"later@{DOMAIN}"})
    whole.control("PATCH", "authentik/users/person-05", {"email": f"moved@{DOMAIN}", "name": "Moved Example"})
    for before, after in zip(found, parts(whole, count), strict=True):
        later = {item for item in after if item[1] == "later"}
        assert after - later == {item for item in before if item[1] != "person-03"}


def test_side_by_side_they_do_what_one_run_does(whole):
    assert whole.sync(membership="exact").result["status"] == "synced"
    at_once = unvaried_by_address(whole)
    whole.sandbox.reset()
    whole.control("POST", "authentik/settings", {"signals": False})
    for model in ("user", "group"):
        results: list[Any] = []

        def one(index, model=model, results=results):
            options = {
                "models": [model],
                "membership": "exact",
                "shard_index": index,
                "shard_count": 3,
                "create_inactive": True,
            }
            results.append(subprocess_run(whole, options))

        threads = [threading.Thread(target=one, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [result["status"] for result in results] == ["synced"] * 3, results
    assert unvaried_by_address(whole) == at_once
    created = [item["body"]["primaryEmail"] for item in posted(whole, "/users")]
    assert len(created) == len(set(created)) == PEOPLE + 1
    assert len(posted(whole, "/groups")) == GROUPS + 1
    assert whole.sync(membership="exact").result["status"] == "unchanged"


def posted(whole, end):
    return [item for item in whole.sandbox.google_requests() if item["method"] == "POST" and item["path"].endswith(end)]


def unvaried_by_address(whole):
    """What stands at Google, by addresses: the ids depend on who came first."""
    users, groups = unvaried(whole.sandbox.google_state())
    people = {item["primaryEmail"]: (item["name"], item["suspended"]) for item in users}
    return people, {item["email"]: (item["name"], {member["email"] for member in item["members"]}) for item in groups}


def subprocess_run(whole, options):
    from tests.support.runner import Run

    return Run(whole, **options).result()


@pytest.mark.parametrize("text", ["0", "1", "2", "7", "10", "100", "0%", "1%", "33%", "50%", "100%"])
@pytest.mark.parametrize("shards", [1, 2, 3, 10, 64])
@pytest.mark.parametrize("total", [0, 1, 13, 1530])
def test_a_ceiling_is_shared_out_exactly(text, shards, total):
    limit = parse_limit("safety_limits.deletions", text)
    assert sum(limit.of(total, (index, shards)) for index in range(shards)) == limit.of(total)


def test_a_ceiling_holds_for_all_shards_together(whole):
    assert whole.sync().result["status"] == "synced"
    for number in range(20):
        whole.control("PATCH", f"authentik/users/person-{number:02}", {"is_active": False})
    for ceiling in ("5", "5%"):
        before = whole.sandbox.google_state()
        for index in range(4):
            whole.call(models=["user"], safety_limits={"suspensions": ceiling}, shard_index=index, shard_count=4)
        after = whole.sandbox.google_state()
        more = sum(item["suspended"] for item in after["users"]) - sum(item["suspended"] for item in before["users"])
        assert more <= 5


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_an_account_of_somebody_who_is_listed_later_is_nobody_else_s(whole, monkeypatch, shards):
    """Whose an account is does not depend on how far a run is: its owner may be in a later batch, or in another shard."""
    monkeypatch.setattr(directory_planner, "BATCH", 5)
    assert whole.sync().result["status"] == "synced"
    first, last, address = "person-00", "person-50", f"person-50@{DOMAIN}"
    owned = account(whole, address)
    users = {user["username"]: user["pk"] for user in whole.sandbox.control("GET", "authentik/state")["users"]}
    row = next(
        row for row in whole.sandbox.control("GET", "authentik/state")["connections"] if row["obj"] == users[first]
    )
    whole.control("DELETE", f"authentik/connections/{row['id']}")
    whole.control("DELETE", f"google/users/{first}@{DOMAIN}")
    whole.control("PATCH", f"authentik/users/{users[last]}", {"email": f"moved@{DOMAIN}"})
    whole.control("PATCH", f"authentik/users/{users[first]}", {"email": address})
    for index in range(shards):
        options = {"shard_index": index, "shard_count": shards} if shards > 1 else {}
        whole.call(models=["user"], **options)
        found = next(
            user for user in whole.sandbox.control("GET", "google/state")["users"] if user["id"] == owned["id"]
        )
        assert (found["name"], found["suspended"]) == (owned["name"], owned["suspended"]), index
    assert account(whole, f"moved@{DOMAIN}")["id"] == owned["id"]


def account(whole, address):
    return next(
        user for user in whole.sandbox.control("GET", "google/state")["users"] if user["primaryEmail"] == address
    )
