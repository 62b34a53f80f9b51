# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the evaluation of property mappings costs: here, and by authentik with some milliseconds a request.

.venv/bin/python -m tests.bench.mappings --people 10000 --milliseconds 20
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.api import Authentik
from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.client import Client
from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import USER
from ansible_collections.dirsync.authentik.plugins.module_utils._mappings.evaluator import (
    MappingEvaluator,
    choose_sample,
)
from tests.sandbox.process import Sandbox

PAGE = 100
SERVER_OBJECTS = 400
GROUPS_MAPPING = """\
names = sorted(group.name for group in user.ak_groups.all())
return {
    "organizations": [{"department": user.attributes.get("department"), "costCenter": user.group_attributes().get("cost")}],
    "customSchemas": {"Groups": {"all": ";".join(names), "team": ak_is_group_member(user, name__startswith="Team")}},
}
"""


def directory(count: int) -> tuple[list[dict], dict[str, dict]]:
    """People in three groups each, one of which has a parent, in the form of authentik's lists."""
    pks = [f"00000000-0000-4000-8000-{number:012d}" for number in range(750)]
    groups = {
        pk: {
            "pk": pk,
            "num_pk": 10000 + number,
            "name": f"Team {number:03d}",
            "is_superuser": False,
            "parents": [pks[number // 10]] if number >= 10 else [],
            "attributes": {"cost": str(number), "description": "x" * 100},
            "users": [],
        }
        for number, pk in enumerate(pks)
    }
    people = [
        {
            "pk": number,
            "username": f"person{number}",
            "name": f"Person Number {number}",
            "email": f"person{number}@example.com",
            "is_active": number % 50 != 0,
            "type": "internal",
            "path": "users",
            "uid": f"{number:064x}",
            "uuid": f"00000000-0000-4000-9000-{number:012d}",
            "is_superuser": False,
            "attributes": {"department": f"Department {number % 40}", "phone": "+44 20 7946 0958", "notes": "x" * 200},
            "groups": [pks[number % 750], pks[(number * 7) % 750], pks[(number * 13) % 750]],
            "avatar": "x" * 200,
            "last_login": None,
            "date_joined": "2026-01-01T00:00:00.000000Z",
        }
        for number in range(6, count + 6)
    ]
    return people, groups


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory_of(pid: int) -> dict[str, float]:
    """MB that a process holds at its most, and how much of what it holds is its own."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    smaps = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    own = sum(int(smaps[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))
    return {"peak": int(status["VmHWM"].split()[0]) / 1024, "own": own / 1024}


def process_of(evaluator: MappingEvaluator) -> int:
    assert evaluator._interpreter is not None and evaluator._interpreter.pid is not None
    return evaluator._interpreter.pid


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mappings")
    parser.add_argument("--people", type=int, default=10000)
    parser.add_argument("--milliseconds", type=int, default=20, help="what authentik takes for a request")
    parser.add_argument("--threads", type=int, default=8)
    arguments = parser.parse_args()
    with Sandbox() as sandbox:
        api = Authentik(Client(sandbox.authentik_url, sandbox.authentik_token))
        body = {"name": "groups", "expression": GROUPS_MAPPING, "model": "user", "assigned": False}
        mappings = {"default": "authentik default Google Workspace Mapping: User", "groups": "groups"}
        sandbox.control("POST", "authentik/mappings", body)
        keys = {item["name"]: item["pk"] for item in api.mappings()}
        start = peak_mb()
        people, groups = directory(arguments.people)
        listed = peak_mb()
        print(f"{arguments.people} people in lists: {listed - start:.0f} MB above {start:.0f} MB")
        for label, name in mappings.items():
            provider = {"pk": 1, "name": "gws", "property_mappings": [keys[name]]}
            before = peak_mb()
            with MappingEvaluator(api, provider, USER, "local", groups=groups) as evaluator:
                started = time.monotonic()
                evaluator.prepare([])
                ready = time.monotonic()
                for index in range(0, len(people), PAGE):
                    page = [(data, None) for data in people[index : index + PAGE]]
                    assert all(isinstance(item, tuple) for item in evaluator.evaluate(page))
                taken = time.monotonic() - ready
                child = memory_of(process_of(evaluator))
            print(
                f"{label}, here: {len(people) / taken:.0f} evaluations a second, ready after {ready - started:.2f} s; "
                f"parent {peak_mb() - before:+.0f} MB, process {child['peak']:.0f} MB at most, {child['own']:.0f} MB its own"
            )
        started = time.monotonic()
        choose_sample([(data, None) for data in people], 20)
        print(f"sample of 20 chosen in {time.monotonic() - started:.2f} s")
        sandbox.fault("authentik", method="POST", path="/test/$", times=-1, delay_ms=arguments.milliseconds)
        pk = sandbox.control("GET", "authentik/state")["users"][-1]["pk"]
        few = [({**people[0], "pk": pk}, None)] * SERVER_OBJECTS
        provider = {"pk": 1, "name": "gws", "property_mappings": [keys[mappings["default"]]]}
        for threads in (1, arguments.threads):
            with ThreadPoolExecutor(threads) as pool:
                evaluator = MappingEvaluator(api, provider, USER, "server", pool_map=pool.map)
                evaluator.prepare([])
                started = time.monotonic()
                found = evaluator.evaluate(few)
                taken = time.monotonic() - started
            if not all(isinstance(item, tuple) for item in found):
                print(next(item for item in found if not isinstance(item, tuple)))
                return 1
            print(
                f"default, by authentik at {arguments.milliseconds} ms, {threads} at a time: {len(few) / taken:.0f} a second"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
