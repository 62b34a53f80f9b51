# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The direct engine against the server engine, by size of the directory: calls to Google and wall clock.

Google takes 20 ms for each call. The directory has as many groups for its accounts as the organisation in
tests/sandbox/data/organisation.json (750 for 1,529). What is synced is one person and one group of 50. Calls are counted
by the sandbox, tokens apart; those of a server-engine sync are authentik's and the module's own. Both engines run in turn.
"""

from __future__ import annotations

import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.sandbox.process import Sandbox
from tests.support.module import ModuleRun, reaching, run_module

SIZES = (500, 5_000, 50_000)
LATENCY_MS = 20
GROUPS_PER_ACCOUNT = 750 / 1529
MEMBERS = 50
DOMAIN = "corp.example.com"
PERSON, GROUP = "person-1", "team"
# What the direct engine may cost at most, in calls to Google: in sync, and with one difference.
BUDGET = {"user in sync": 2, "user, one field": 3, "group in sync": 2, "group, one field": 3}
# How many times fewer calls than the server engine at the largest size.
FEWER = 50


def dataset(size: int) -> dict[str, Any]:
    """Both sides: 50 people and their group in authentik, and a directory of the size at Google."""
    people = [
        {"username": f"person-{number}", "name": f"Person {number}", "email": f"person-{number}@{DOMAIN}"}
        for number in range(MEMBERS)
    ]
    names = {"givenName": "Some", "familyName": "Body"}
    return {
        "domain": DOMAIN,
        "users": people,
        "groups": [{"name": GROUP, "members": [person["username"] for person in people]}],
        "google": {
            "users": [{"primaryEmail": f"other-{n}@{DOMAIN}", "name": names} for n in range(size - MEMBERS - 1)],
            "groups": [{"email": f"others-{n}@{DOMAIN}"} for n in range(int(size * GROUPS_PER_ACCOUNT))],
        },
    }


class Trial:
    """One size's sandbox and the runs against it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def sync(self, kind: str, name: str, engine: str) -> tuple[ModuleRun, int, float]:
        """Run once: (the run, calls to Google, seconds)."""
        self.sandbox.clear_requests()
        started = time.monotonic()
        run = run_module(
            {
                **reaching(self.sandbox),
                "sync_object_model": kind,
                "sync_object_id": name,
                "engine": engine,
                "sync_timeout": 600,
                "request_timeout": 120,
            }
        )
        seconds = time.monotonic() - started
        if run.failed:
            raise SystemExit(f"{engine} {kind}: {run.result['msg']}")
        calls = [item for item in self.sandbox.google_requests() if item["path"] != "/token"]
        return run, len(calls), seconds

    def spoil(self, what: str) -> None:
        """Make the difference that a scenario is about."""
        if what == "user, one field":
            self.sandbox.control("PATCH", f"google/users/{PERSON}@{DOMAIN}", {"name": {"givenName": "Nobody"}})
        elif what == "group, one field":
            self.sandbox.control("PATCH", f"google/groups/{GROUP}@{DOMAIN}", {"name": "mate"})
        elif what == "group, one member":
            self.sandbox.control("DELETE", f"google/groups/{GROUP}@{DOMAIN}/members/{PERSON}@{DOMAIN}")


def measure(size: int, rounds: int, say: Callable[[str], None]) -> dict[tuple[str, str], tuple[int, float]]:
    """Run every scenario with both engines: {(scenario, engine): (calls, median seconds)}."""
    found: dict[tuple[str, str], tuple[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset.json"
        path.write_text(json.dumps(dataset(size)))
        # The connection of the answer waits as long as it takes: what is compared is the work.
        with Sandbox(dataset=path, google_latency_ms=LATENCY_MS, answer_ms=600_000) as sandbox:
            trial = Trial(sandbox)
            for number in range(MEMBERS):
                trial.sync("user", f"person-{number}", "direct")
            trial.sync("group", GROUP, "direct")
            for scenario in (
                "user in sync",
                "user, one field",
                "group in sync",
                "group, one field",
                "group, one member",
            ):
                kind = scenario.split()[0].rstrip(",")
                name = PERSON if kind == "user" else GROUP
                times: dict[str, list[float]] = {"direct": [], "server": []}
                for turn in range(rounds):
                    for engine in ("direct", "server"):
                        if engine == "server" and turn and size > 5_000:
                            # Once is enough where a single run takes many seconds.
                            continue
                        trial.spoil(scenario)
                        run, calls, seconds = trial.sync(kind, name, engine)
                        if run.result["changed"] != ("in sync" not in scenario):
                            raise SystemExit(f"{scenario} with {engine}: changed is {run.result['changed']}")
                        times[engine].append(seconds)
                        found[scenario, engine] = (calls, statistics.median(times[engine]))
                direct, server = found[scenario, "direct"], found[scenario, "server"]
                say(
                    f"{size:>7,}  {scenario:<18} direct {direct[0]:>4} calls {direct[1]:6.2f} s"
                    f"   server {server[0]:>4} calls {server[1]:6.2f} s"
                    f"   {server[0] / direct[0]:6.1f} times fewer calls, {server[1] / direct[1]:6.1f} times faster"
                )
    return found


def main(rounds: int, sizes: tuple[int, ...] = SIZES) -> bool:
    """Print the table; returns whether every bound is kept."""
    print(f"One object, Google at {LATENCY_MS} ms a call; accounts at Google, calls to Google, wall clock (median):")
    results = {size: measure(size, rounds, print) for size in sizes}
    kept = True
    for size, found in results.items():
        for scenario, most in BUDGET.items():
            if found[scenario, "direct"][0] > most:
                print(f"EXCEEDED: {scenario} at {size:,} accounts: more than {most} calls")
                kept = False
    largest, smallest = results[sizes[-1]], results[sizes[0]]
    if sizes[-1] >= 50_000:
        for scenario in BUDGET:
            if largest[scenario, "server"][0] < FEWER * largest[scenario, "direct"][0]:
                print(f"EXCEEDED: {scenario}: less than {FEWER} times fewer calls than the server engine")
                kept = False
    for scenario in BUDGET:
        ratio = largest[scenario, "direct"][1] / smallest[scenario, "direct"][1]
        print(f"direct, {scenario}: wall clock at {sizes[-1]:,} accounts is {ratio:.2f} times that at {sizes[0]:,}")
        kept = kept and ratio < 1.5
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Peak memory of the process that ran all modules: {peak:.0f} MiB")
    return kept
