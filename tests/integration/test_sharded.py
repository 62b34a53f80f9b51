# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One directory in parts side by side: several hosts in one play, and the slices of a job, run by ansible-runner as AWX does."""

from __future__ import annotations

import collections
import concurrent.futures
import json
import os
import sys
from pathlib import Path
from typing import Any

import ansible_runner
import pytest

from tests.sandbox.process import Sandbox
from tests.support.module import PREFIXES, reaching, run_module
from tests.support.playbook import interpreter, run_playbook
from tests.support.tree import ROOT

PLAYBOOK = ROOT / "playbooks" / "sync_sharded.yml"
SHARDS = 3
DOMAIN = "corp.example.com"
WRITES = ("POST", "PUT", "PATCH", "DELETE")
QUERIES_PER_MINUTE = 2340.0
MODULE = "dirsync.authentik.google_workspace_sync"
# Sixty people are created by a first run.
FIRST = {"creations": 100}


def dataset() -> dict[str, Any]:
    """Sixty people and twenty groups of three."""
    people = range(60)
    return {
        "domain": DOMAIN,
        "users": [
            {"username": f"person{number}", "name": f"Person {number}", "email": f"person{number}@{DOMAIN}"}
            for number in people
        ],
        "groups": [
            {"name": f"team{number}", "members": [f"person{(number * 3 + more) % 60}" for more in range(3)]}
            for number in range(20)
        ],
        "provider": {"name": "gws"},
    }


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    path = tmp_path_factory.mktemp("sharded") / "dataset.json"
    path.write_text(json.dumps(dataset()))
    with sandboxes(dataset=path) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    return running


def inventory(numbers: range | list[int]) -> dict[str, Any]:
    """The hosts of these parts, as AWX hands them to a slice: those of other slices are not there."""
    return {
        "all": {
            "vars": {"shard_count": SHARDS},
            "hosts": {f"shard-{number}": {"shard_index": number} for number in numbers},
        }
    }


def run(
    sandbox: Sandbox,
    folder: Path,
    numbers: range | list[int],
    variables: dict[str, Any] | None = None,
    cmdline: str = "",
) -> ansible_runner.Runner:
    """Run the playbook on some of the hosts."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIXES)}
    kept.update(
        ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"),
        ANSIBLE_COLLECTIONS_PATH=str(ROOT / ".build"),
        PATH=os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]]),
        ANSIBLE_PYTHON_INTERPRETER=interpreter(),
        AUTHENTIK_URL=sandbox.authentik_url,
        AUTHENTIK_TOKEN=sandbox.authentik_token,
        GOOGLE_WORKSPACE_API_ENDPOINT=sandbox.google_api_endpoint,
    )
    folder.mkdir(parents=True, exist_ok=True)
    return ansible_runner.run(
        private_data_dir=str(folder),
        playbook=str(PLAYBOOK),
        inventory=inventory(numbers),
        extravars={
            "provider": str(sandbox.provider_id),
            "state_dir": str(folder / "state"),
            "safety_limits": FIRST,
            **(variables or {}),
        },
        envvars=kept,
        cmdline=cmdline or None,
        quiet=True,
    )


def results(runner: ansible_runner.Runner) -> list[tuple[str, list[str], dict[str, Any]]]:
    """(host, models, result) of each run of the module that was well."""
    return [
        (
            event["event_data"]["host"],
            event["event_data"]["res"]["invocation"]["module_args"]["models"],
            event["event_data"]["res"],
        )
        for event in runner.events
        if event["event"] == "runner_on_ok" and event["event_data"].get("resolved_action") == MODULE
    ]


def said(runner: ansible_runner.Runner) -> str:
    return runner.stdout.read()[-5000:]


def holds(sandbox: Sandbox) -> dict[str, Any]:
    """What stands at Google, without what Google makes up."""
    state = sandbox.google_state()
    return {
        "users": {user["primaryEmail"]: user["name"]["fullName"] for user in state["users"]},
        "groups": {
            group["email"]: (group["name"], sorted(member["email"] for member in group["members"]))
            for group in state["groups"]
        },
    }


def writes(sandbox: Sandbox) -> collections.Counter[tuple[str, str, str]]:
    """How often each thing was written at Google."""
    return collections.Counter(
        (
            item["method"],
            item["path"],
            str((item["body"] or {}).get("primaryEmail") or (item["body"] or {}).get("email")),
        )
        for item in sandbox.google_requests()
        if item["method"] in WRITES and item["path"] != "/token"
    )


def wanted(sandbox: Sandbox) -> dict[str, Any]:
    """What one run over everything makes of an empty Google, kept for comparison; the sandbox is as before then."""
    options = {"membership": "exact", "user_creations_per_second": 1000, "queries_per_minute": 1000000}
    done = run_module({**reaching(sandbox), **options, "safety_limits": FIRST}, module="google_workspace_sync")
    assert not done.failed, done.result
    found = holds(sandbox)
    sandbox.reset()
    return found


@pytest.mark.everything
def test_several_hosts_in_one_play(sandbox, tmp_path):
    expected = wanted(sandbox)
    first = run(sandbox, tmp_path / "first", range(SHARDS))
    assert first.rc == 0, said(first)
    assert holds(sandbox) == expected
    written = writes(sandbox)
    assert max(written.values()) == 1
    done = results(first)
    assert sorted((host, models) for host, models, _result in done) == sorted(
        (f"shard-{number}", [kind]) for number in range(SHARDS) for kind in ("user", "group")
    )
    # Each object belongs to one part, and no part is empty.
    for kind, number in (("user", 61), ("group", 21)):
        totals = [result["counts"][kind + "s"]["total"] for _host, models, result in done if models == [kind]]
        assert sum(totals) == number
        assert min(totals) > 0
    changed = [
        (line["model"], line["pk"])
        for path in sorted((tmp_path / "first" / "state").glob("*.jsonl"))
        if "journal" not in path.name
        for line in map(json.loads, path.read_text().splitlines())
        if line["kind"] == "object" and line["action"]
    ]
    assert len(changed) == len(set(changed)) == 61 + 21
    # The quota is shared.
    assert {result["rate"]["limit"] for _host, _models, result in done} == {QUERIES_PER_MINUTE / SHARDS}
    # Users of all parts before the groups of any.
    order = [item["path"].rsplit("/", 1)[-1] for item in sandbox.google_requests() if item["method"] == "POST"]
    assert max(index for index, name in enumerate(order) if name == "users") < min(
        index for index, name in enumerate(order) if name == "groups"
    )
    sandbox.clear_requests()
    second = run(sandbox, tmp_path / "second", range(SHARDS))
    assert second.rc == 0, said(second)
    assert not writes(sandbox)
    assert [result["changed"] for _host, _models, result in results(second)] == [False] * 2 * SHARDS
    assert holds(sandbox) == expected


def test_a_person_that_google_refuses_keeps_no_group_waiting(sandbox, tmp_path):
    expected = wanted(sandbox)
    sandbox.control(
        "POST", "authentik/users", {"username": "outsider", "name": "Out Sider", "email": "out@elsewhere.test"}
    )
    job = run(sandbox, tmp_path, range(SHARDS))
    assert job.rc == 2
    assert holds(sandbox) == expected
    failed = [event["event_data"]["host"] for event in job.events if event["event"] == "runner_on_failed"]
    assert len(failed) == 1
    assert "Could not sync user outsider: Invalid email domain" in said(job)


@pytest.mark.everything
def test_slices_of_a_job_as_two_nodes_of_a_workflow(sandbox, tmp_path):
    expected = wanted(sandbox)
    for round_number, more in ((1, True), (2, False)):
        sandbox.clear_requests()
        for kind in ("user", "group"):
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                slices = list(
                    pool.map(
                        lambda number, kind=kind, round_number=round_number: run(
                            sandbox, tmp_path / f"{round_number}-{kind}-{number}", [number], {"sync_models": [kind]}
                        ),
                        range(SHARDS),
                    )
                )
            assert [job.rc for job in slices] == [0] * SHARDS, said(slices[0])
        assert holds(sandbox) == expected
        assert bool(writes(sandbox)) == more
        assert not [key for key, times in writes(sandbox).items() if times > 1]


def test_a_slice_that_would_do_people_and_groups_is_refused(sandbox, tmp_path):
    job = run(sandbox, tmp_path, [1])
    assert job.rc == 2
    assert "This job has 1 of 3 shards" in said(job)
    assert sandbox.google_requests() == []
    assert sandbox.authentik_requests() == []


def test_a_part_that_failed_can_be_run_again_by_limit(sandbox, tmp_path):
    job = run(sandbox, tmp_path, range(SHARDS), cmdline="--limit shard-2 --check")
    assert job.rc == 0, said(job)
    assert {host for host, _models, _result in results(job)} == {"shard-2"}


@pytest.mark.parametrize("numbers", [[0, 3], [1, -1]], ids=["too high", "negative"])
def test_numbers_that_are_no_parts_are_refused(sandbox, tmp_path, numbers):
    job = run(sandbox, tmp_path, numbers, {"sync_models": ["user"]})
    assert job.rc == 2
    assert "a shard_index of its own from 0 to shard_count - 1" in said(job)
    assert sandbox.google_requests() == []


def test_two_hosts_with_one_number_are_refused(sandbox, tmp_path):
    job = run(sandbox, tmp_path, range(SHARDS), {"shard_index": 1})
    assert job.rc == 2
    assert sandbox.google_requests() == []


def test_the_nightly_playbook(sandbox, tmp_path):
    """The whole in one run: all is made, then nothing is to be done; the environment says where."""
    expected = wanted(sandbox)
    environment = {
        "AUTHENTIK_URL": sandbox.authentik_url,
        "AUTHENTIK_TOKEN": sandbox.authentik_token,
        "GOOGLE_WORKSPACE_API_ENDPOINT": sandbox.google_api_endpoint,
        "DIRSYNC_PROVIDER": "gws",
        "DIRSYNC_STATE": str(tmp_path / "state"),
    }
    playbook = ROOT / "playbooks" / "sync_all.yml"
    empty = holds(sandbox)
    stopped = run_playbook(playbook, {}, environment=environment)
    assert stopped.returncode == 2
    assert "raise safety_limits.creations" in stopped.stdout
    assert (
        "plan: 82 create, " in stopped.stderr and "beyond safety limits: creations 61 of 50 allowed" in stopped.stderr
    )
    assert holds(sandbox) == empty
    first = {"safety_limits": FIRST}
    explained = run_playbook(playbook, first, "--check", "--diff", environment=environment)
    assert explained.returncode == 0, explained.stdout[-4000:]
    assert holds(sandbox) == empty
    done = run_playbook(playbook, first, environment=environment)
    assert done.returncode == 0, done.stdout[-4000:]
    assert holds(sandbox) == expected
    assert "synced: 82 objects changed, 0 failed" in done.stdout
    again = run_playbook(playbook, {}, environment=environment)
    assert again.returncode == 0, again.stdout[-4000:]
    assert "changed=0 " in again.stdout
    assert {item.name: item.stat().st_mode & 0o777 for item in (tmp_path / "state").iterdir()} == {
        "report.jsonl": 0o600,
        "journal.jsonl": 0o600,
    }
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    sandbox.control(
        "POST", "authentik/users", {"username": "outsider", "name": "Out Sider", "email": "out@elsewhere.test"}
    )
    failed = run_playbook(playbook, {}, environment=environment)
    assert failed.returncode == 2
    assert "0 objects changed, 1 failed" in failed.stdout
    assert "Could not sync user outsider: Invalid email domain" in failed.stdout
    tolerant = run_playbook(playbook, {"fail_on_objects": False}, environment=environment)
    assert tolerant.returncode == 0
    missing = run_playbook(playbook, {}, environment={**environment, "DIRSYNC_PROVIDER": ""})
    assert missing.returncode == 2
    assert "No provider is named" in missing.stdout
