# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 at every kind of write, before Google performed it and after, with and without a journal; then the same task again."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any

import pytest

from tests.support.runner import Run
from tests.truth import directory_oracle
from tests.truth.whole import AS_AUTHENTIK, Whole, lines, organisation

PEOPLE, GROUPS = 30, 12
PARALLEL = 4
# method, path, how many of them a first run sends
PLACES = {
    "user": ("POST", r"/directory/v1/users(\?|$)", 31),
    "group": ("POST", r"/directory/v1/groups(\?|$)", 13),
    "member": ("POST", r"/members", 70),
    "connection": ("POST", r"/google_workspace_(users|groups)/", 44),
}
CASES = [
    pytest.param(
        *(place, when, journal, seed),
        id=f"{place}-{when}-{'journal' if journal else 'bare'}",
        marks=[] if journal else [pytest.mark.everything],
    )
    for seed, (place, when, journal) in enumerate(
        (place, when, journal) for place in PLACES for when in ("before", "after") for journal in (True, False)
    )
]


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    folder = tmp_path_factory.mktemp("killed")
    path = folder / "dataset.json"
    path.write_text(json.dumps(organisation(PEOPLE, GROUPS)))
    with sandboxes(dataset=path) as sandbox:
        yield Whole(sandbox, folder)


@pytest.fixture
def whole(running):
    return running.fresh()


def kill_at(whole, place, number, when, **options):
    """Run, and kill the process while it waits for the answer to the so-manieth write of a kind."""
    method, path, _most = PLACES[place]
    side = "authentik" if place == "connection" else "google"
    whole.sandbox.fault(side, method=method, path=path, skip=number, when=when, delay_ms=20_000, drop=True)
    run = Run(whole, parallel=PARALLEL, **AS_AUTHENTIK, **options)
    deadline = time.monotonic() + 60
    while whole.sandbox.control("GET", f"{side}/faults"):
        assert run.process.poll() is None, run.process.communicate()
        assert time.monotonic() < deadline, "the write was never sent"
        time.sleep(0.01)
    # The other requests that are under way may be anywhere.
    time.sleep(0.02)
    run.kill()


def writes(whole):
    """What was performed at Google: {(method, path, whom): times}."""
    found: Counter = Counter()
    for item in whole.sandbox.google_requests():
        if item["method"] != "GET" and item["path"] != "/token" and item["status"] in range(200, 300):
            body = item["body"] if isinstance(item["body"], dict) else {}
            found[item["method"], item["path"], body.get("primaryEmail") or body.get("email")] += 1
    return found


def in_journal(whole, path):
    """Every write that reached either side is in the journal before it."""
    noted = Counter((line["method"], line["path"]) for line in lines(path) if line["event"] == "sent")
    log = [*whole.sandbox.google_requests(), *whole.sandbox.authentik_requests()]
    sent = Counter(
        (item["method"], item["path"].removeprefix("/api/v3/"))
        for item in log
        # A sync of nobody only lets authentik list what is at Google.
        if item["method"] != "GET"
        and item["path"] != "/token"
        and not item["path"].endswith(("/test/", "/sync/object/"))
    )
    assert not sent - noted, sent - noted


@pytest.mark.parametrize(("place", "when", "journal", "seed"), CASES)
def test_the_same_task_again_does_the_rest(whole, tmp_path, place, when, journal, seed):
    number = random.Random(seed).randrange(PLACES[place][2])
    path = tmp_path / "journal.jsonl"
    options = {"membership": "exact", "orphans": "apply", **({"journal": str(path)} if journal else {})}
    whole.sandbox.clear_requests()
    kill_at(whole, place, number, when, **options)
    interrupted = writes(whole)
    if journal:
        in_journal(whole, path)
        assert [line for line in lines(path) if line["event"] == "end"] == []
    done = (
        {line["pk"] for line in lines(path) if line["event"] == "done" and line["kind"] == "group"}
        if journal
        else set()
    )
    again = whole.call(**options)
    assert again.result["status"] in ("synced", "unchanged"), again.result
    counts = again.result["counts"]
    assert counts["groups"]["skipped"] == len(done)
    assert counts["users"]["skipped"] == 0
    assert sum(counts["groups"][name] for name in directory_oracle.OUTCOMES) == counts["groups"]["total"]
    # Nothing is made twice, and nothing more is written than a run that nobody killed writes.
    everything = writes(whole)
    # The one whose answer nobody got was performed, or not.
    unseen = 1 if when == "after" and place != "connection" else 0
    assert everything.total() + unseen == (PEOPLE + 1) + (GROUPS + 1) + members(whole), everything - interrupted
    assert set(everything.values()) == {1}
    if journal:
        in_journal(whole, path)
        assert lines(path)[-1]["event"] == "end"
    final = whole.sync(membership="exact", orphans="apply")
    assert final.result["status"] == "unchanged", (
        final.result["changes"],
        again.result["changes"],
        final.result["counts"],
    )
    rows = whole.sandbox.control("GET", "authentik/state")["connections"]
    assert len(rows) == (PEOPLE + 1) + (GROUPS + 1)


def members(whole):
    return sum(len(group["members"]) for group in whole.sandbox.google_state()["groups"])


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again(whole, tmp_path, seed):
    chosen = random.Random(seed)
    path = tmp_path / "journal.jsonl"
    options = {"membership": "exact", "journal": str(path)}
    whole.sandbox.clear_requests()
    for place, most in (("user", 12), ("user", 12), ("group", 8), ("member", 20), ("member", 20)):
        kill_at(whole, place, chosen.randrange(most), chosen.choice(["before", "after"]), **options)
        whole.control("DELETE", "google/faults")
    run = whole.call(**options)
    assert run.result["status"] in ("synced", "unchanged"), run.result
    assert set(writes(whole).values()) == {1}
    in_journal(whole, path)
    assert whole.sync(membership="exact").result["status"] == "unchanged"


def test_a_group_that_has_changed_since_is_looked_at_again(whole, tmp_path):
    path = tmp_path / "journal.jsonl"
    options: dict[str, Any] = {"membership": "exact", "journal": str(path)}
    whole.converged(membership="exact")
    whole.control("PATCH", "google/groups/group-05@corp.example.com", {"name": "Drifted"})
    whole.sandbox.fault("google", method="PUT", path="/groups/", delay_ms=20_000, drop=True)
    run = Run(whole, **options)
    while whole.sandbox.control("GET", "google/faults"):
        assert run.process.poll() is None
        time.sleep(0.01)
    run.kill()
    done = {line["name"] for line in lines(path) if line["event"] == "done"}
    assert len(done) == GROUPS
    whole.control("POST", "authentik/groups/Group 06/members", {"username": "robot"})
    whole.control("POST", "authentik/groups/Group 07/members", {"username": "person-01"})
    whole.control("DELETE", "authentik/groups/Group 08/members/person-29")
    changed = {
        item["name"]
        for item in whole.sandbox.control("GET", "authentik/state")["groups"]
        if item["name"] in ("Group 06", "Group 07", "Group 08")
    }
    again = whole.call(**options)
    assert again.result["counts"]["groups"]["skipped"] in range(len(done) - len(changed), len(done) - 1)
    assert whole.sync(membership="exact").result["status"] == "unchanged"


def test_a_journal_of_another_job_or_of_yesterday_is_not_gone_on_with(whole, tmp_path):
    path = tmp_path / "journal.jsonl"
    whole.converged(membership="exact")
    groups = whole.sandbox.control("GET", "authentik/state")["groups"]
    assert whole.call(membership="exact", journal=str(path)).result["counts"]["groups"]["skipped"] == 0
    written = lines(path)
    assert len([line for line in written if line["event"] == "done"]) == len(groups)

    def unfinished(change):
        kept = [change(dict(line)) for line in written if line["event"] != "end"]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        return whole.call(membership="exact", journal=str(path)).result["counts"]["groups"]["skipped"]

    assert unfinished(lambda line: line) == len(groups)
    assert unfinished(lambda line: {**line, "time": "2020-01-01T00:00:00.000Z"}) == 0
    assert unfinished(lambda line: {**line, **({"key": "another"} if "key" in line else {})}) == 0
    assert unfinished(lambda line: {**line, **({"mark": "another"} if "mark" in line else {})}) == 0
    path.write_text("no json\n[]\n{\n" + "\x00" * 10)
    assert whole.call(membership="exact", journal=str(path)).result["status"] == "unchanged"
