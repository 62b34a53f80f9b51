# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole directories: calls to Google, wall clock, memory, and how much of the quota is used, by size.

``make bench BENCH='--only directory'`` measures the organisation of tests/sandbox/data/organisation.json from nothing to
everything, and 10,000 generated people with 750 groups; ``--sizes 1529,10000,50000`` what is asked for. Google takes 50 ms
for each call. What it is held against:

* authentik's own full sync, as the sandbox performs it (held against recordings): calls by its log. At 10,000 people
  and more without the 50 ms, since it makes its calls one after the other: its calls are measured there, its time is not.
* a loop over google_workspace_sync_object: measured for some objects, and multiplied, which is said.
* a play with one task for 50 objects against one with 50 tasks, both by ansible-playbook.

Calls are those that the sandbox saw, tokens apart.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.engines import DOMAIN
from tests.sandbox import process
from tests.sandbox.process import Sandbox
from tests.support.demo import ORGANISATION
from tests.support.module import reaching, run_module
from tests.support.playbook import run_playbook
from tests.support.runner import Run
from tests.truth.whole import Whole

PLAYS = Path(__file__).parent / "plays"
LATENCY_MS = 50
GROUPS = 750
MEMBERSHIPS = 3_532
PEOPLE_OF_ORGANISATION = 1_529
QUOTA = 2_400
SAMPLE = 20
OBJECTS = 50
CHANGES = 5_000
# What the module has by default.
PACE: dict[str, Any] = {"queries_per_minute": 2340, "user_creations_per_second": 9}
UNHURRIED = {"queries_per_minute": 1_000_000, "user_creations_per_second": 10_000}
# At least so many times fewer calls than authentik's algorithm with 1 % drift at 10,000 people, and so much faster.
FEWER_USERS, FEWER_ALL, FASTER_OBJECTS = 90, 15, 10
QUOTA_SHARE = 0.95
PEAK_MB = 250
PEAK_PEOPLE = 100_000

Json = dict[str, Any]


def generated(people: int, groups: int = GROUPS) -> Json:
    """A dataset with so many people, on both sides already, in groups with as many members as the organisation's."""
    chosen = random.Random(people)
    names = [f"person-{number:06}" for number in range(people)]
    users = [{"username": name, "name": f"Person {name[7:]}", "email": f"{name}@{DOMAIN}"} for name in names]
    records = [
        {
            "primaryEmail": user["email"],
            "name": {"givenName": "Person", "familyName": user["name"].partition(" ")[2], "displayName": user["name"]},
        }
        for user in users
    ]
    members = [chosen.sample(names, min(people, round(MEMBERSHIPS / GROUPS))) for _group in range(groups)]
    rooms = [f"group-{number:05}" for number in range(groups)]
    return {
        "domain": DOMAIN,
        "users": users,
        "groups": [{"name": room, "members": of} for room, of in zip(rooms, members, strict=True)],
        "google": {
            "users": records,
            "groups": [
                {
                    "email": f"{room}@{DOMAIN}",
                    "name": room,
                    "members": [{"email": f"{name}@{DOMAIN}"} for name in of],
                }
                for room, of in zip(rooms, members, strict=True)
            ],
        },
    }


class Trial:
    """One directory's sandbox and the runs against it."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.whole = Whole(sandbox, folder)
        self.kept = True

    def latency(self, milliseconds: float) -> None:
        self.sandbox.control("POST", "google/settings", {"latency_ms": milliseconds})

    def run(self, title: str, check: bool = False, **options: Any) -> tuple[Json, Json]:
        """Run the module in a process of its own: (its result, the calls to both sides by the sandbox's log)."""
        self.sandbox.clear_requests()
        started = time.monotonic()
        result = Run(self.whole, faster=1, request_timeout=120, check=check, **options).result(timeout=7200)
        seconds = time.monotonic() - started
        calls = self.calls()
        print(
            f"  {title:<34} {calls['google']:>7,} calls to Google {calls['authentik']:>7,} to authentik {seconds:8.1f} s"
            f" {result['peak_memory'] / 1024:6.0f} MB  {result['status']}",
            flush=True,
        )
        if result["status"] not in ("synced", "unchanged"):
            raise SystemExit(str(result.get("msg")))
        return result, {**calls, "seconds": seconds}

    def calls(self) -> Json:
        google = [item for item in self.sandbox.google_requests() if item["path"] != "/token"]
        return {"google": len(google), "authentik": len(self.sandbox.authentik_requests())}

    def bound(self, text: str, found: float, bound: float, most: bool = True) -> None:
        """Print a figure and its bound."""
        held = found <= bound if most else found >= bound
        self.kept = self.kept and held
        word = "at most" if most else "at least"
        print(f"  {text}: {found:,.2f} ({word} {bound:,.2f})  {'ok' if held else 'EXCEEDED'}", flush=True)

    def pages(self, kinds: tuple[str, ...] = ("user", "group")) -> int:
        """The calls to Google of a run in which nothing differs."""
        state = self.sandbox.google_state()
        found = -(-len(state["users"]) // 500)
        if "group" in kinds:
            found += -(-len(state["groups"]) // 200)
            found += sum(max(1, -(-len(group["members"]) // 200)) for group in state["groups"])
        return found

    def quota_share(self) -> None:
        """How much of Google's quota is used while only writing, from the first write to the last."""
        times = [
            datetime.fromisoformat(item["time"]).timestamp()
            for item in self.sandbox.google_requests()
            if item["method"] in ("PUT", "DELETE") or (item["method"] == "POST" and item["path"].endswith("members"))
        ]
        if len(times) > 300:
            share = (len(times) - 1) * 60 / (times[-1] - times[0]) / QUOTA
            self.bound(
                f"share of the quota of {QUOTA:,} a minute over {len(times):,} writes", share, QUOTA_SHARE, most=False
            )

    def spoil(self, number: int) -> None:
        """So many people are edited at Google."""
        for user in self.sandbox.google_state()["users"][5 : 5 + number]:
            body = {"name": {**user["name"], "givenName": "Drifted"}}
            self.sandbox.control("PATCH", f"google/users/{user['id']}", body)

    def server(self, title: str) -> tuple[int, float]:
        """authentik's own full sync: (calls to Google, seconds)."""
        self.sandbox.clear_requests()
        started = time.monotonic()
        run = run_module(
            {**reaching(self.sandbox), "engine": "server", "verify": "none", "sync_timeout": 7200},
            module="google_workspace_sync",
        )
        seconds = time.monotonic() - started
        calls = self.calls()["google"]
        print(
            f"  {title:<34} {calls:>7,} calls to Google {seconds:28.1f} s            {run.result['status']}", flush=True
        )
        if run.failed:
            raise SystemExit(str(run.result.get("msg")))
        return calls, seconds

    def users_of_server(self) -> int:
        """Of the last full sync's calls, those of its pages of users."""
        requests = [item for item in self.sandbox.google_requests() if item["path"] != "/token"]
        first = next((n for n, item in enumerate(requests) if item["path"].endswith("/groups")), len(requests))
        # The page of groups that lists them has asked for the domains before.
        return first - (1 if first < len(requests) else 0)


def organisation(folder: Path, loops: bool) -> bool:
    """From nothing to everything at the default pace, and what comes after."""
    print(f"The organisation: {PEOPLE_OF_ORGANISATION:,} people, {GROUPS} groups; Google at {LATENCY_MS} ms a call")
    with Sandbox(dataset=ORGANISATION, google_latency_ms=LATENCY_MS, answer_ms=600_000) as sandbox:
        trial = Trial(sandbox, folder)
        sandbox.control("POST", "authentik/settings", {"signals": False})
        _first, calls = trial.run("first run, default pace", membership="exact", **PACE)
        trial.quota_share()
        result, still = trial.run("no drift, default pace", membership="exact", **PACE)
        trial.bound("calls to Google without drift", still["google"], trial.pages() + 1)
        trial.run("no drift, no pace", membership="exact")
        number = PEOPLE_OF_ORGANISATION // 100
        trial.spoil(number)
        _result, drifted = trial.run("1 % of the people drifted", membership="exact", **PACE)
        trial.bound("calls with 1 % drift", drifted["google"], trial.pages() + 1 + number)
        theirs, seconds = trial.server("authentik's own full sync")
        print(
            f"  no drift: {theirs / still['google']:.1f} times fewer calls than authentik's own,"
            f" {seconds / still['seconds']:.1f} times faster"
        )
        if loops:
            loop(trial, PEOPLE_OF_ORGANISATION + GROUPS, still["seconds"])
    return trial.kept


def loop(trial: Trial, objects: int, ours: float) -> None:
    """A loop over google_workspace_sync_object, for some objects."""
    people = [user["pk"] for user in trial.sandbox.control("GET", "authentik/state")["users"][10 : 10 + SAMPLE]]
    trial.sandbox.clear_requests()
    started = time.monotonic()
    for pk in people:
        run_module(
            {**reaching(trial.sandbox), "sync_object_model": "user", "sync_object_id": str(pk), "engine": "direct"}
        )
    each = (time.monotonic() - started) / SAMPLE
    calls = trial.calls()["google"] / SAMPLE
    print(
        f"  a loop over single objects, from a sample of {SAMPLE} people without Ansible's own time for a task:"
        f" {calls:.1f} calls and {each:.2f} s each, {each * objects:,.0f} s for {objects:,} objects,"
        f" {each * objects / ours:.1f} times as long"
    )


def large(people: int, groups: int, folder: Path) -> bool:
    """A generated directory that stands at Google already."""
    print(f"Generated: {people:,} people, {groups:,} groups; Google at {LATENCY_MS} ms a call")
    path = folder / f"{people}.json"
    path.write_text(json.dumps(generated(people, groups)))
    with Sandbox(dataset=path, answer_ms=7_200_000) as sandbox:
        trial = Trial(sandbox, folder)
        sandbox.control("POST", "authentik/settings", {"signals": False})
        connect(sandbox)
        trial.latency(LATENCY_MS)
        finish = trial.run("what the generator left to do")
        _result, still = trial.run("no drift", membership="exact")
        trial.bound("calls to Google without drift", still["google"], trial.pages() + 1)
        number = people // 100
        trial.spoil(number)
        _result, users = trial.run("1 % drift, users alone", models=["user"])
        trial.bound("calls, users alone", users["google"], trial.pages(("user",)) + 1 + number)
        trial.spoil(number)
        _result, whole = trial.run("1 % drift, all", membership="exact")
        trial.latency(0)
        theirs, _seconds = trial.server("authentik's own full sync, no delay")
        theirs_users = trial.users_of_server()
        if people >= 10_000:
            text = "times fewer calls than authentik's algorithm with 1 % drift"
            trial.bound(f"users alone, {text}", theirs_users / users["google"], FEWER_USERS, most=False)
            if groups <= GROUPS:
                trial.bound(f"all, {text}", theirs / whole["google"], FEWER_ALL, most=False)
            else:
                print(f"  all, {text}: {theirs / whole['google']:.1f}")
        del finish
    return trial.kept


def connect(sandbox: Sandbox) -> None:
    """authentik knows every record of Google's, as after a full sync."""
    state = sandbox.google_state()
    users = {item["primaryEmail"]: item for item in state["users"]}
    groups = {item["name"]: item for item in state["groups"]}
    authentik = sandbox.control("GET", "authentik/state")
    rows: list[Json] = []
    for user in authentik["users"]:
        record = users.get(user["email"])
        if record is not None:
            rows.append({"provider": 1, "user": user["pk"], "google_id": user["email"], "attributes": record})
    for group in authentik["groups"]:
        record = groups.get(group["name"])
        if record is not None:
            shown = {key: value for key, value in record.items() if key != "members"}
            rows.append({"provider": 1, "group": group["pk"], "google_id": record["id"], "attributes": shown})
    for start in range(0, len(rows), 5_000):
        sandbox.control("POST", "authentik/connections", rows[start : start + 5_000])


def memory(people: int, folder: Path) -> bool:
    """The most memory that the module's process has: where nothing differs, and where everybody is to be made."""
    print(f"Memory: {people:,} people, {GROUPS} groups; Google without delay")
    data = generated(people)
    kept = True
    path = folder / "memory.json"
    path.write_text(json.dumps(data))
    with Sandbox(dataset=path) as sandbox:
        trial = Trial(sandbox, folder)
        sandbox.control("POST", "authentik/settings", {"signals": False})
        connect(sandbox)
        trial.run("what the generator left to do")
        result, _calls = trial.run("no drift", membership="exact")
        trial.bound(f"MB at the peak for {people:,} people", result["peak_memory"] / 1024, PEAK_MB)
        kept = trial.kept
    path.write_text(json.dumps({**data, "google": {}}))
    with Sandbox(dataset=path) as sandbox:
        trial = Trial(sandbox, folder)
        sandbox.control("POST", "authentik/settings", {"signals": False})
        result, _calls = trial.run("first run, check mode", check=True)
        trial.bound(f"MB at the peak for {people:,} people", result["peak_memory"] / 1024, PEAK_MB)
        result, _calls = trial.run("first run")
        trial.bound(f"MB at the peak for {people:,} people", result["peak_memory"] / 1024, PEAK_MB)
    return kept and trial.kept


def quota(folder: Path) -> bool:
    """Some 5,000 changes at the default pace, which creates nobody: Google has a bound of its own for that."""
    print(f"The quota: {CHANGES:,} changes at the default pace; Google at {LATENCY_MS} ms a call")
    path = folder / "quota.json"
    path.write_text(json.dumps(generated(2_000)))
    with Sandbox(dataset=path, google_latency_ms=LATENCY_MS) as sandbox:
        trial = Trial(sandbox, folder)
        sandbox.control("POST", "authentik/settings", {"signals": False})
        connect(sandbox)
        trial.run("what the generator left to do", membership="exact")
        gone = 0
        for group in sandbox.google_state()["groups"]:
            for member in group["members"] if gone < CHANGES - 1_500 else ():
                sandbox.control("DELETE", f"google/groups/{group['id']}/members/{member['email']}")
                gone += 1
        trial.spoil(CHANGES - gone)
        sandbox.control("POST", "google/settings", {"quota_per_minute": QUOTA})
        limits = {"creations": "1000", "changes": "100%"}
        result, _calls = trial.run("everything repaired", membership="exact", safety_limits=limits, **PACE)
        trial.bound("refused calls", result["rate"]["refusals"], 0)
        trial.quota_share()
    return trial.kept


def objects(folder: Path) -> bool:
    """50 objects by one task against 50 tasks, by ansible-playbook."""
    print(f"{OBJECTS} people in sync, one task against a loop, by ansible-playbook; Google at {LATENCY_MS} ms a call")
    path = folder / "objects.json"
    path.write_text(json.dumps(generated(200, 10)))
    with Sandbox(dataset=path, google_latency_ms=LATENCY_MS) as sandbox:
        trial = Trial(sandbox, folder)
        connect(sandbox)
        names = [f"person-{number:06}" for number in range(OBJECTS)]
        times = []
        for play in ("objects.yml", "loop.yml"):
            started = time.monotonic()
            done = run_playbook(PLAYS / play, {"sandbox": sandbox.info, "names": names})
            times.append(time.monotonic() - started)
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
            print(f"  {play:<12} {times[-1]:8.1f} s, {trial.calls()['google']} calls to Google")
            sandbox.clear_requests()
        trial.bound("times faster by objects", times[1] / times[0], FASTER_OBJECTS, most=False)
    return trial.kept


def main(arguments: list[str]) -> bool:
    """Print the tables; returns whether every bound is kept."""
    # A hundred thousand people take their time to be read.
    process.START_WITHIN_S = 600
    parser = argparse.ArgumentParser(prog="make bench BENCH='--only directory'")
    parser.add_argument("--sizes", default="1529,10000", help="people, with commas (1529: the organisation)")
    parser.add_argument(
        "--groups", type=int, default=GROUPS, help=f"groups of a generated directory (default {GROUPS})"
    )
    parser.add_argument(
        "--memory", type=int, default=PEAK_PEOPLE, help="people for the peak of memory; 0: not measured"
    )
    parser.add_argument("--no-objects", action="store_true", help="without the plays for 50 objects")
    parser.add_argument("--no-quota", action="store_true", help="without 5,000 changes at the default pace")
    parser.add_argument("--no-loops", action="store_true", help="without the loop over single objects")
    chosen = parser.parse_args(arguments)
    kept = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in [int(item) for item in chosen.sizes.split(",") if item]:
            if size == PEOPLE_OF_ORGANISATION:
                kept = organisation(folder, not chosen.no_loops) and kept
            else:
                kept = large(size, chosen.groups, folder) and kept
        if chosen.memory:
            kept = memory(chosen.memory, folder) and kept
        if not chosen.no_quota:
            kept = quota(folder) and kept
        if not chosen.no_objects:
            kept = objects(folder) and kept
    return kept
