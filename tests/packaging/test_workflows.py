# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's own workflows run the commands that a person runs, with actions of a known content, and may only read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support import check
from tests.support.cores import CANDIDATES, CORES
from tests.support.tree import ROOT

PLACE = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(path.name for path in PLACE.glob("*.yml"))
DIGEST = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def content(name: str) -> dict[Any, Any]:
    return yaml.safe_load((PLACE / name).read_text())


def steps(name: str) -> Iterator[dict[str, Any]]:
    for job in content(name)["jobs"].values():
        yield from job["steps"]


def commands(name: str) -> list[str]:
    """Every command of a workflow, once for each value of its matrix."""
    found = []
    for job in content(name)["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        assert len(matrix) <= 1
        for step in job["steps"]:
            values = [str(value) for entries in matrix.values() for value in entries]
            uses = "${{ matrix." in step.get("run", "")
            if "run" in step:
                found += [
                    re.sub(r"\$\{\{ matrix\.\w+ \}\}", value, step["run"]) for value in (values if uses else [""])
                ]
    return found


def test_there_are_a_push_s_and_the_night_s():
    assert WORKFLOWS == ["ci.yml", "everything.yml"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_have_a_known_content(name):
    used = [step["uses"] for step in steps(name) if "uses" in step]
    assert used
    assert [item for item in used if not DIGEST.fullmatch(item)] == []
    # A person reads the version beside the digest, and one action is not used in two versions.
    lines = re.findall(r"uses: (\S+)( # v\d+\.\d+\.\d+)?$", (PLACE / name).read_text(), re.MULTILINE)
    assert len(lines) == len(used)
    assert all(version for _action, version in lines)


def test_one_action_has_one_content():
    used = {step["uses"] for name in WORKFLOWS for step in steps(name) if "uses" in step}
    assert len(used) == len({item.partition("@")[0] for item in used})


@pytest.mark.parametrize("name", WORKFLOWS)
def test_they_may_only_read(name):
    workflow = content(name)
    assert workflow["permissions"] == {"contents": "read"}
    assert [job for job, entry in workflow["jobs"].items() if "permissions" in entry] == []
    assert "secrets." not in (PLACE / name).read_text()
    for step in steps(name):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_their_commands_are_those_of_the_makefile(name):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands(name):
        program, target, *_rest = command.split()
        assert program == "make", command
        assert target in targets, command


def test_a_push_runs_what_make_check_runs():
    found = commands("ci.yml")
    cores = [core for core in CORES if core not in CANDIDATES]
    wanted = [f"make sanity SANITY='--core {core} --ends'" for core in (cores[0], cores[-1])]
    wanted += [f"make {name}" for name in check.CHECKS]
    tests = [command for command in found if command.startswith("make test ")]
    assert sorted(set(found) - set(tests) - {"make setup"}) == sorted(wanted)
    folders = [folder for command in tests for folder in re.findall(r"tests/\w+", command)]
    assert len(folders) == len(set(folders))
    configured = re.search(r"testpaths = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert configured
    assert set(folders) == set(re.findall(r"tests/\w+", configured[1]))
    assert all(" ".join([check.QUICK[0], f'"{check.QUICK[1]}"']) in command for command in tests)


def test_the_night_runs_everything():
    assert {command.split()[1] for command in commands("everything.yml")} == {"test", "gates", "lies", "truth"}
    # "on" is true in YAML 1.1.
    workflow = content("everything.yml")
    assert "schedule" in (workflow.get("on") or workflow[True])
