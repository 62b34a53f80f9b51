# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of a long run: what a person sees on a terminal, what a log gets, and who is not disturbed by it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
from pathlib import Path

import pytest

from ansible_collections.dirsync.authentik.plugins.action import google_workspace_sync as action
from tests.support.module import PREFIXES, reaching, run_module
from tests.support.playbook import PROGRAM, interpreter
from tests.support.tree import ROOT

DATASET = Path(__file__).parents[1] / "contract" / "dataset.json"
LINE = re.compile(
    r"^  ([a-z ]+): (\d+)(?: of (\d+) \(\d+%\))?, (\d+) (change|difference)s? so far(?:, about .+ left)?$"
)


@pytest.fixture(scope="module")
def running(sandboxes):
    with sandboxes(dataset=DATASET) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running):
    running.reset()
    running.control("POST", "authentik/settings", {"signals": False})
    return running


def on_a_terminal(sandbox, tmp_path, task="", options="", **environment):
    """Run a playbook whose standard error is a terminal: (standard output, lines of the terminal)."""
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(
        f"""
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Everybody
      dirsync.authentik.google_workspace_sync:
        authentik_url: "{sandbox.authentik_url}"
        authentik_token: "{sandbox.authentik_token}"
        google_api_endpoint: "{sandbox.google_api_endpoint}"
        provider_id: {sandbox.provider_id}
        fail_on_objects: false
        {options}
      {task}
"""
    )
    kept = {key: value for key, value in os.environ.items() if key != "CI" and not key.startswith(PREFIXES)}
    own = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build"),
        "TERM": "xterm",
    }
    command = [PROGRAM, "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={interpreter()}"]
    ours, theirs = pty.openpty()
    seen = bytearray()

    def watch():
        try:
            while piece := os.read(ours, 4096):
                seen.extend(piece)
        except OSError:
            # The last one who had the terminal has closed it.
            return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        done = subprocess.run(
            [*command, str(playbook)],
            cwd=ROOT,
            env={**kept, **own, "ANSIBLE_NOCOLOR": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            timeout=300,
            check=False,
        )
    finally:
        os.close(theirs)
        thread.join(10)
        os.close(ours)
    assert done.returncode == 0, done.stdout
    shown = seen.decode().replace("\r", "").splitlines()
    assert not [line for line in done.stdout.splitlines() if LINE.match(line)]
    return done.stdout, [line for line in shown if "so far" in line]


def test_a_person_sees_it_move(sandbox, tmp_path):
    sandbox.control("POST", "google/settings", {"latency_ms": 1200})
    _stdout, lines = on_a_terminal(sandbox, tmp_path)
    found = [match for match in map(LINE.match, lines) if match]
    assert len(found) == len(lines) >= 2, lines
    assert all(match[3] is None or int(match[2]) <= int(match[3]) for match in found)
    counted = [int(match[4]) for match in found if match[5] == "change"]
    assert counted == sorted(counted) and counted[-1] > 0, lines


@pytest.mark.parametrize(
    ("task", "options", "environment"),
    [
        ("no_log: true", "", {}),
        pytest.param("", "show_progress: false", {}, marks=pytest.mark.everything),
        pytest.param("", "", {"DIRSYNC_SHOW_PROGRESS": "false"}, marks=pytest.mark.everything),
        # A log gets a line every half a minute: of a run as short as this one, none.
        ("", "", {"CI": "true"}),
    ],
)
def test_who_is_not_disturbed(sandbox, tmp_path, task, options, environment):
    sandbox.control("POST", "google/settings", {"latency_ms": 500})
    stdout, lines = on_a_terminal(sandbox, tmp_path, task, options, **environment)
    assert lines == []
    assert "changed=1" in stdout


@pytest.mark.parametrize("check", [True, False])
def test_what_is_told_adds_up(sandbox, tmp_path, check):
    """The last line of each phase, and what differs and was changed in the end, against the result."""
    path = tmp_path / "progress"
    sandbox.control("POST", "google/settings", {"latency_ms": 700})
    params = {**reaching(sandbox), "progress_path": str(path), "result_limit": 1000, "fail_on_objects": False}
    result = run_module(params, module="google_workspace_sync", check=check).result
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert {"phase", "done", "total", "differences", "changes", "elapsed", "plan"} == set(told[-1])
    assert all(line["done"] <= line["total"] or line["total"] == 0 for line in told)
    last = told[-1]
    assert last["plan"] == result["plan"]["text"]
    assert result["changes_total"] > 5
    assert last["differences"] >= result["changes_total"]
    assert (last["changes"] == 0) == check


@pytest.mark.parametrize(
    ("environment", "target", "every"),
    [
        ({"CI": "true"}, "/dev/pts/1", action.LOG_EVERY_S),
        ({}, "/dev/pts/1", action.TERMINAL_EVERY_S),
        ({}, "/dev/tty1", action.TERMINAL_EVERY_S),
        ({}, "pipe:[1]", action.LOG_EVERY_S),
        ({"TERM": "xterm"}, None, action.TERMINAL_EVERY_S),
        ({}, None, action.LOG_EVERY_S),
    ],
)
def test_how_often(monkeypatch, environment, target, every):
    for name in ("CI", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def readlink(path):
        assert path == f"/proc/{os.getppid()}/fd/2"
        if target is None:
            raise OSError("no such file")
        return target

    monkeypatch.setattr(action.os, "readlink", readlink)
    assert action.interval() == every


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"total": 0}, "  write users: 5, 0 differences so far"),
        ({"total": 20, "changes": 1, "elapsed": 6}, "  write users: 5 of 20 (25%), 1 change so far, about 18 s left"),
        ({"total": 20, "differences": 2}, "  write users: 5 of 20 (25%), 2 differences so far"),
        ({"total": 605, "elapsed": 6}, "  write users: 5 of 605 (0%), 0 differences so far, about 12 min left"),
        ({"total": 10000, "elapsed": 6}, "  write users: 5 of 10000 (0%), 0 differences so far, about 3 h 19 min left"),
        ({"phase": None, "total": "x"}, ""),
    ],
)
def test_the_words(state, words):
    line = {"phase": "write users", "done": 5, "differences": 0, "changes": 0, "elapsed": 0.4, **state}
    assert action.shown(json.dumps(line)) == words
    assert action.shown(json.dumps(line)[:-3]) == ""
