# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make check``: what it runs, how it ends, and what it says of its time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import check, cores, sanity, venvs
from tests.support.tree import ROOT

PLAYBOOK = ROOT / "tests" / "integration" / "targets" / "google_workspace_sync"


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """One clean check, one that finds something, and no tests but those of a folder that is given."""
    monkeypatch.setattr(check, "LOGS", tmp_path)
    monkeypatch.setattr(check, "run", lambda step: check.Step(step.name, step.make, 2.0, step.name == "lint"))
    monkeypatch.setattr(cores, "available", lambda _cores: ["2.18", "2.19", "2.21"])
    return tmp_path


def test_sanity_is_on_the_oldest_and_the_newest(monkeypatch):
    monkeypatch.setattr(cores, "available", lambda _cores: ["2.18", "2.19", "2.21"])
    assert [step.make for step in check.steps() if step.make[0] == "sanity"] == [
        ("sanity", "SANITY=--core 2.18 --ends"),
        ("sanity", "SANITY=--core 2.21 --ends"),
    ]
    monkeypatch.setattr(cores, "available", lambda _cores: ["2.19"])
    assert [step.make for step in check.steps() if step.make[0] == "sanity"] == [
        ("sanity", "SANITY=--core 2.19 --ends")
    ]


@pytest.mark.parametrize(("name", "status"), [("lint", 1), ("none", 0)])
@pytest.mark.parametrize("tests", [0, 3])
def test_a_check_that_fails_does_not_stop_the_tests_and_fails_in_the_end(quick, monkeypatch, name, status, tests):
    started = []

    def run(command, **options):
        started.append(command)
        return SimpleNamespace(returncode=tests)

    monkeypatch.setattr(check, "run", lambda step: check.Step(step.name, step.make, 2.0, step.name == name))
    monkeypatch.setattr(check.subprocess, "run", run)
    assert check.main(["tests/unit"]) == (tests or status)
    (command,) = started
    assert command[command.index("-m", 3) : command.index("-m", 3) + 2] == ["-m", "not everything"]
    assert command[-1] == "tests/unit"
    told = json.loads((quick / "times.json").read_text())
    assert [step["name"] for step in told["steps"] if step["failed"]] == ([name] if status else [])


def test_what_a_failing_check_said_is_shown_and_what_any_skipped(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(check, "LOGS", tmp_path)
    (tmp_path / "Makefile").write_text(
        "good:\n\t@echo quiet; echo SKIPPED: python 3.99\nbad:\n\t@echo something is wrong; exit 1\n"
    )
    monkeypatch.setattr(check, "ROOT", tmp_path)
    assert not check.run(check.Step("good", ("good",))).failed
    assert check.run(check.Step("bad", ("bad",))).failed
    said = capsys.readouterr().out
    assert "SKIPPED: python 3.99" in said
    assert "quiet" not in said
    assert "something is wrong" in said
    assert "bad: FAILED" in said


def test_the_table():
    times = {
        "begun": 1000.0,
        "checks_begun": 1030.0,
        "checks_ended": 1100.0,
        "tests_begun": 1100.0,
        "steps": [
            {"name": "lint", "seconds": 40.4, "failed": True},
            {"name": "types", "seconds": 60.0, "failed": False},
        ],
    }
    lines = check.table(times, {"tests/unit": (7, 12.0), "tests/contract": (1, 100.0)}, 1600.0)
    assert [line.split("  ")[0].strip() or line.split()[0] for line in lines][0] == "installing"
    found = {" ".join(line.split()) for line in lines}
    assert "installing 30 s" in found
    assert "lint 40 s FAILED" in found
    assert "types 60 s" in found
    assert "tests/unit 12 s 7 tests" in found
    assert f"checks, {check.AT_A_TIME} at a time 70 s beside the tests" in found
    assert f"tests, {check.WORKERS} at a time 500 s" in found
    assert " ".join(lines[-1].split()) == "make check 600 s 10.0 minutes"


def test_it_is_told_in_front_of_the_closing_line(tmp_path):
    times = {"begun": 0.0, "checks_begun": 0.0, "checks_ended": 0.0, "tests_begun": 0.0, "steps": []}
    file = tmp_path / "times.json"
    file.write_text(json.dumps(times))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "tests/unit/module_utils/_common/test_listing.py",
    ]
    environment = {"PATH": "/usr/bin:/bin", check.TIMES: str(file)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *_before, told, closing = done.stdout.splitlines()
    assert told.startswith("make check")
    assert " passed" in closing
    without = subprocess.run(
        command, cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert "what took how long" not in without.stdout


def test_the_table_waits_for_the_checks_and_not_for_ever(tmp_path, monkeypatch):
    file = tmp_path / "times.json"
    times = {"begun": 0.0, "checks_begun": 0.0, "checks_ended": 4.0, "tests_begun": 0.0, "steps": []}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(check.Pace, file)
        time.sleep(0.3)
        assert not waiting.done()
        file.write_text(json.dumps(times))
        assert waiting.result(10).lines([])[-1].startswith("make check")
    file.write_text("{}")
    assert check.Pace(file).lines([]) == ["The checks could not be run."]
    # Whoever ran them is gone.
    file.unlink()
    parents = iter([1, 2])
    monkeypatch.setattr(check.os, "getppid", lambda: next(parents))
    with pytest.raises(FileNotFoundError):
        check.Pace(file)


def test_checks_run_beside_the_tests(quick, monkeypatch):
    order = []

    def checked(step):
        order.append("check")
        deadline = time.monotonic() + 10
        while "tests" not in order and time.monotonic() < deadline:
            time.sleep(0.01)
        return check.Step(step.name, step.make, 2.0)

    def run(command, **options):
        while "check" not in order:
            time.sleep(0.01)
        order.append("tests")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(check, "run", checked)
    monkeypatch.setattr(check.subprocess, "run", run)
    assert check.main([]) == 0
    assert order[: check.AT_A_TIME + 1].count("tests") == 1
    assert len(order) == len(check.steps()) + 1


def test_sanity_at_the_ends_leaves_out_the_pythons_between_and_pylint_once(monkeypatch, tmp_path):
    monkeypatch.setattr(sanity.cores, "ends", lambda: ["2.18", "2.21"])
    monkeypatch.setattr(sanity, "pythons", lambda: {"3.8": "", "3.9": "", "3.11": "", "3.13": ""})
    monkeypatch.setattr(sanity, "supported", lambda _code: ["3.7", "3.8", "3.9", "3.11", "3.12", "3.13"])
    assert sanity.parts("2.18", tmp_path, ["--lint"], False) == [["--lint"]]
    rest, oldest, own = sanity.parts("2.18", tmp_path, ["--lint"], True)
    left_out = [item for name in ("import", "compile", "pylint") for item in ("--skip-test", name)]
    assert rest == [*left_out, "--lint"]
    assert sanity.parts("2.21", tmp_path, ["--lint"], True)[0] == [*left_out[:4], "--lint"]
    assert oldest == ["--test", "import", "--test", "compile", "--python", "3.8", "--lint"]
    assert own == ["--test", "import", "--test", "compile", "--python", "3.11", "--lint"]
    # One Python for both needs one call.
    monkeypatch.setattr(sanity, "pythons", lambda: {"3.11": ""})
    assert len(sanity.parts("2.18", tmp_path, [], True)) == 2


def test_two_processes_that_want_one_environment_make_it_once(monkeypatch, tmp_path):
    made = []

    def run(command, **_options):
        made.append(command[2])
        place = tmp_path / "venvs" / "tools" / "bin"
        place.mkdir(parents=True, exist_ok=True)
        # Long enough for the other one to come in the middle of it.
        time.sleep(0.1)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(venvs, "VENVS", tmp_path / "venvs")
    monkeypatch.setattr(venvs, "subprocess", SimpleNamespace(run=run))
    # A lock of a file is held by whoever opened it, threads of one process apart from each other.
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(lambda _turn: venvs.environment("tools", ["something"]), range(3)))
    assert found == {tmp_path / "venvs" / "tools" / "bin"}
    assert made == ["venv", "pip"]


class Item:
    """What the hook sees of a test."""

    def __init__(self, name: str, **parameters: object) -> None:
        self.nodeid = f"{name}[{len(parameters)}]"
        self.callspec = SimpleNamespace(params=parameters)
        self.marks: list[str] = []

    def add_marker(self, mark) -> None:
        self.marks.append(mark.name)


def test_playbooks_are_repeated_on_older_servers_by_make_test_alone():
    from tests.conftest import pytest_collection_modifyitems

    def playbook(stem: str) -> Path:
        return PLAYBOOK / f"{stem}.yml"

    name = "tests/integration/test_x.py::test_playbook"
    items = [
        Item(name, server=version, playbook=playbook(stem), engine=engine)
        for version in ("2024.8.1", "2025.12.4", "2025.8.6")
        for stem in ("lifecycle", "groups")
        for engine in ("server", "direct")
    ]
    # Each of these is the only one of its kind; the contract has every version.
    alone = [
        Item("tests/integration/test_x.py::test_pipeline", version="2024.8.1", steps="github"),
        Item("tests/integration/test_x.py::test_pipeline", version="2025.12.4", steps="gitlab"),
        Item("tests/integration/test_x.py::test_other", number=3),
        Item("tests/contract/test_x.py::test_it", server="2024.8.1"),
        Item("tests/contract/test_x.py::test_it", server="2025.12.4"),
    ]
    found: list[Any] = [*items, *alone]
    pytest_collection_modifyitems(found)
    left = {(item.callspec.params["server"], item.callspec.params["playbook"].stem) for item in items if not item.marks}
    assert left == {
        ("2025.12.4", "lifecycle"),
        ("2025.12.4", "groups"),
        ("2024.8.1", "lifecycle"),
        ("2025.8.6", "lifecycle"),
    }
    assert sum(item.marks == ["everything"] for item in items) == 4
    assert [item for item in alone if item.marks] == []
