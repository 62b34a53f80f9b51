# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is printed of a sequence replays it: the printed commands, typed in a checkout, give the same results."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.playbook import keeping_results, kept_results
from tests.support.tree import ROOT
from tests.truth.machine import Step, Truth, walk
from tests.truth.world import VERSIONS

# By the clock of everybody: what ends with a lag or with somebody's patience may end otherwise in another run.
# A fault for ever is waited for, which the clock of the sequences makes short, and nobody's else.
UNSTEADY = ("lag", "unconfirmed", "'times': -1")


def generated() -> list[list[Step]]:
    """The first sequences of the machine."""
    stories: list[list[Step]] = []

    class Kept(Truth):
        def teardown(self) -> None:
            stories.append(self.story)

    run_state_machine_as_test(
        Kept,
        settings=settings(
            max_examples=60,
            stateful_step_count=10,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
    return stories


@pytest.fixture(scope="module")
def stories():
    return generated()


def brief(result):
    keys = ("status", "changed", "basis", "changes", "operations", "skipped_members", "engine", "code", "object")
    return {key: result.get(key) for key in keys}


def is_telling(world, version):
    """Whether a sequence has enough in it: several runs, one that changed something, one that did not; no endless fault."""
    changed = [result["changed"] for result in world.results]
    steady = not any(word in str([world.steps, world.results]) for word in UNSTEADY)
    return world.version == version and len(changed) > 2 and any(changed) and not all(changed) and steady


@pytest.mark.parametrize("version", VERSIONS)
def test_the_printed_playbook_gives_the_same_results(stories, version, tmp_path):
    walked = (walk(story) for story in stories if story[0] == ("begin", {"version": version}))
    world = next(item for item in walked if is_telling(item, version))
    script = world.script(str(tmp_path))
    (tmp_path / "replay.yml").write_text(script)
    commands = [line.removeprefix("# ") for line in script.splitlines() if line.startswith("# ")]
    done = subprocess.run(
        ["bash", "-c", "\n".join(commands)],
        cwd=ROOT,
        env={**os.environ, **keeping_results(tmp_path / "results.jsonl")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for secret in world.secrets:
        assert secret not in done.stdout
    replayed = [item["result"] for item in kept_results(tmp_path / "results.jsonl") if item["task"].endswith(" Sync")]
    assert [brief(result) for result in replayed] == [brief(result) for result in world.results]
