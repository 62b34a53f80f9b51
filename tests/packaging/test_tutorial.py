# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tutorial, followed as it stands there: each file saved, each command typed, each shown line of output seen."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import time

import pytest

from tests.support.module import PREFIXES
from tests.support.tree import ROOT

PAGE = ROOT / "docs" / "tutorial.md"
STARTS_WITHIN_S = 60


def steps():
    """Yield ("save", path, content) and ("type", command, expected lines) in the order of the page."""
    text = PAGE.read_text()
    for found in re.finditer(r"^```(yaml|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if found[1] == "yaml":
            said = re.findall(r"Save this as `([^`]+)`", text[: found.start()])
            yield "save", said[-1], found[2]
            continue
        for part in re.split(r"^\$ ", found[2], flags=re.MULTILINE)[1:]:
            # A command goes on below a line that ends with a backslash.
            command, *expected = re.sub(r"\\\n +", "", part).rstrip("\n").split("\n")
            yield "type", command, expected


@pytest.fixture
def terminal():
    """The environment of a person who started the sandbox on a terminal and copied the exports that it printed."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "SANDBOX", *PREFIXES))}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(["make", "sandbox"], cwd=ROOT, stdout=theirs, stderr=theirs, env=kept, process_group=0)
    os.close(theirs)
    printed = ""
    until = time.monotonic() + STARTS_WITHIN_S
    try:
        while "curl $SANDBOX" not in printed and time.monotonic() < until:
            printed += os.read(ours, 4096).decode()
        exports = dict(re.findall(r"^\s*export (\w+)=(\S+)", printed.replace("\r", ""), re.MULTILINE))
        assert len(exports) == 4, printed
        yield {**kept, **exports, "ANSIBLE_NOCOLOR": "1"}
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
        os.close(ours)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial uses curl, which is not on this machine")
def test_the_tutorial(terminal):
    saved = []
    typed = 0
    try:
        for kind, what, rest in steps():
            if kind == "save":
                assert what.startswith(".build/"), "the tutorial leaves files only where Git ignores them"
                (ROOT / what).write_text(rest)
                saved.append(ROOT / what)
                continue
            if what.startswith("export "):
                name, _equals, value = what.partition(" ")[2].partition("=")
                terminal[name] = value
                continue
            done = subprocess.run(
                ["bash", "-c", what], cwd=ROOT, env=terminal, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, f"{what}\n{done.stdout}{done.stderr}"
            typed += 1
            place = 0
            for line in rest:
                found = done.stdout.find(line, place)
                assert found >= 0, f"{what}\n{line!r} does not follow in\n{done.stdout}{done.stderr}"
                place = found + len(line)
    finally:
        for path in saved:
            path.unlink()
    assert typed >= 10 and len(saved) >= 2
