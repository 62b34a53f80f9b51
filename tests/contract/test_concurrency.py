# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs for one object at once, from two processes: nothing twice, nothing lost, both results true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.support.module import reaching
from tests.support.tree import ROOT

# Both wait for the same word, so that neither is done before the other has begun.
RUNNER = """
import json, sys
from tests.support.module import run_module
from ansible_collections.dirsync.authentik.plugins.module_utils._google import deps
parameters = json.loads(sys.stdin.readline())
deps.load()
print("ready", flush=True)
sys.stdin.readline()
run = run_module(parameters)
print(json.dumps({"result": run.result, "warnings": run.warnings}))
"""
PEOPLE = ("ada.example", "grace.example", "linus.example")


@pytest.fixture(scope="module")
def running(sandboxes):
    # A slow Google, so that the runs overlap in each of their steps.
    with sandboxes(google_latency_ms=30) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    running.control("POST", "google/settings", {"latency_ms": 30})
    return running


def parameters(sandbox, kind, name, engine, **more):
    return {
        **reaching(sandbox),
        "sync_object_model": kind,
        "sync_object_id": name,
        "engine": engine,
        **more,
    }


def at_once(*calls):
    """Run each in a process of its own, at the same time; their results in order."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RUNNER],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / '.build'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _call in calls
    ]
    for process, call in zip(processes, calls, strict=True):
        assert process.stdin
        process.stdin.write(json.dumps(call) + "\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.close()
        process.stdin = None
    found = []
    for process in processes:
        output, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors[-2000:]
        found.append(json.loads(output.splitlines()[-1])["result"])
    return found


ENGINES = [("direct", "direct"), ("server", "server"), ("direct", "server")]
DIRECT = {"direct": {"engine": "direct"}, "exact": {"engine": "direct", "membership": "exact"}}


def judged(sandbox, results):
    """Each result is true by itself: what it claims to have done was done, and what it calls in sync is."""
    performed = Counter(
        (item["method"], item["path"].rpartition("/")[2] if item["method"] == "POST" else "")
        for item in sandbox.google_requests()
        if item["method"] != "GET" and item["path"] != "/token" and item["status"] in (200, 204)
    )
    told: Counter[tuple[str, str]] = Counter()
    for result in results:
        if result.get("failed") or result["status"] == "unconfirmed":
            # A run that met the other one in the middle may say that it failed or does not know, never that it did it all.
            continue
        assert result["status"] in ("synced", "unchanged"), result
        assert result["changed"] == (result["status"] == "synced") == bool(result["changes"]), result
        if result["engine"] == "direct":
            own = [item for item in result["operations"] if item["resource"] != "connection"]
            assert bool(own) == result["changed"], result
            told.update((item["method"], item["resource"] + "s" if item["method"] == "POST" else "") for item in own)
    assert not told - performed, (told, performed)
    assert any(result["changed"] for result in results)
    return told, performed


@pytest.mark.parametrize("engines", ENGINES, ids="-".join)
def test_one_person(sandbox, engines):
    results = at_once(*[parameters(sandbox, "user", PEOPLE[0], engine) for engine in engines])
    users = [user for user in sandbox.google_state()["users"] if user["primaryEmail"].startswith(PEOPLE[0])]
    assert len(users) == 1
    assert users[0]["name"]["givenName"] == "Ada"
    told, performed = judged(sandbox, results)
    assert performed["POST", "users"] == 1
    if engines == ("direct", "direct"):
        assert sorted(result["status"] for result in results) == ["synced", "unchanged"]
        assert told["POST", "users"] == 1
    rows = [row for row in sandbox.control("GET", "authentik/state")["connections"] if row["kind"] == "user"]
    assert len(rows) == 1


@pytest.mark.parametrize("engines", ENGINES, ids="-".join)
def test_one_person_whose_account_differs(sandbox, engines):
    """Both find the same difference; it is written, and nothing else is."""
    at_once(parameters(sandbox, "user", PEOPLE[0], "server"))
    sandbox.control("PATCH", f"google/users/{PEOPLE[0]}@corp.example.com", {"name": {"givenName": "Drifted"}})
    sandbox.clear_requests()
    results = at_once(*[parameters(sandbox, "user", PEOPLE[0], engine) for engine in engines])
    [user] = [user for user in sandbox.google_state()["users"] if user["primaryEmail"].startswith(PEOPLE[0])]
    assert user["name"]["givenName"] == "Ada"
    _told, performed = judged(sandbox, results)
    assert performed["POST", "users"] == 0
    for result in results:
        assert {item["path"] for item in result["changes"]} <= {"name.givenName", "name.displayName"}, result


@pytest.mark.parametrize(
    "ways",
    [("direct", "direct"), ("exact", "exact"), ("direct", "exact"), ("server", "server"), ("direct", "server")],
    ids="-".join,
)
def test_one_group(sandbox, ways):
    at_once(*[parameters(sandbox, "user", name, "direct") for name in PEOPLE])
    sandbox.clear_requests()
    results = at_once(
        *[parameters(sandbox, "group", "engineering", **DIRECT.get(way, {"engine": way})) for way in ways]
    )
    groups = [item for item in sandbox.google_state()["groups"] if item["email"].startswith("engineering")]
    assert len(groups) == 1
    assert {item["email"].split("@")[0] for item in groups[0]["members"]} == set(PEOPLE)
    told, performed = judged(sandbox, results)
    if "server" not in ways:
        assert not [result for result in results if result.get("failed")], results
        assert told == performed
