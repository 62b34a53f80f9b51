# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all tests."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.sandbox.pool import Sandboxes
from tests.support.check import TIMES, Pace
from tests.support.piecemeal import import_piecemeal
from tests.support.tree import ROOT
from tests.support.warm import Warm

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

# Before any test imports it.
import_piecemeal("authentik_client", "authentik_client.api", "authentik_client.models")

VERSION = re.compile(r"20\d\d\.\d+\.\d+")
# A real playbook costs as much as 40 runs in process, and tests/contract has every server version.
PLAYBOOKS = ("tests/integration/", "tests/truth/")
ON_EVERY_SERVER = "lifecycle"
# Tasks of playbooks need not compile what they import: see there.
BYTECODE = ROOT / "tests" / "support" / "bytecode"


def pytest_configure() -> None:
    """Give it to every Python that a test starts and does not give a PYTHONPATH of its own."""
    os.environ["PYTHONPATH"] = str(BYTECODE)


@pytest.fixture(scope="session")
def sandboxes() -> Iterator[Sandboxes]:
    """A sandbox of each server version for this process: ``with sandboxes(dataset=…, authentik_version=…) as sandbox``."""
    with Sandboxes() as pool:
        yield pool


@pytest.fixture(scope="session", autouse=True)
def warm_interpreter() -> Iterator[None]:
    """``make check`` starts no Python anew for each task of a playbook: see warm.py."""
    if TIMES not in os.environ:
        yield
        return
    with Warm() as warm, pytest.MonkeyPatch.context() as patch:
        for name, value in warm.environment.items():
            patch.setenv(name, value)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to ``make test`` what repeats a playbook on an older server; the lifecycles are run on each of them."""
    newest: dict[Any, tuple[int, ...]] = {}
    found = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        parameters = dict(callspec.params) if callspec else {}
        versions = [name for name, value in parameters.items() if isinstance(value, str) and VERSION.fullmatch(value)]
        if not item.nodeid.startswith(PLAYBOOKS) or len(versions) != 1:
            continue
        version = tuple(int(part) for part in parameters.pop(versions[0]).split("."))
        same = (item.nodeid.partition("[")[0], repr(sorted(parameters.items(), key=lambda entry: entry[0])))
        newest[same] = max(version, newest.get(same, version))
        stems = {value.stem for value in parameters.values() if isinstance(value, Path)}
        if ON_EVERY_SERVER not in stems:
            found.append((item, same, version))
    for item, same, version in found:
        if version != newest[same]:
            item.add_marker(pytest.mark.everything)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Iterator[None]:
    """After everything else, in front of pytest's closing line: what took how long."""
    result = yield
    file = os.environ.get(TIMES)
    if file:
        reports = [item for stats in terminalreporter.stats.values() for item in stats if hasattr(item, "duration")]
        lines = Pace(Path(file)).lines(reports)
        terminalreporter.section("what took how long")
        for line in lines:
            terminalreporter.write_line(line)
    return result
