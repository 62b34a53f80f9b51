# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exception of any kind at each network call, file operation and clock read: the result still says what is so."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

from tests.sandbox.process import Sandbox
from tests.support.google import unvaried
from tests.support.module import ModuleRun, reaching, run_module
from tests.truth.oracle import claim
from tests.truth.whole import organisation

OURS = "ansible_collections.dirsync.authentik.plugins.module_utils."
# The last one has a name that no list in the collection can hold.
KINDS: tuple[Callable[[], BaseException], ...] = (
    lambda: OSError(28, "No space left on device"),
    lambda: ValueError("a value"),
    lambda: RuntimeError("can't start new thread"),
    lambda: RecursionError("maximum recursion depth exceeded"),
    lambda: MemoryError(),
    lambda: KeyError("a key"),
    lambda: UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    lambda: TypeError("an odd type"),
    lambda: type("Unheard", (Exception,), {})("\ud800 of"),
)
# How many calls of a scenario are tried, spread over all of them; 0 is each.
MOST = int(os.environ.get("TRUTH_EXCEPTIONS", "12"))
LONGEST_SLEEP_S = 0.01
FILE_CALLS = ("open", "fstat", "fchmod", "ftruncate", "write", "fsync", "replace", "lstat", "stat", "close")
CLOCK_CALLS = ("time", "monotonic", "sleep")
REQUIRED = {
    "google_workspace_sync_object": {"object", "changes", "operations", "skipped_members"},
    "google_workspace_sync": {"counts", "changes", "changes_total", "failed_objects", "orphans", "safety_limits"},
}
ALWAYS = {"changed", "status", "messages", "messages_source", "basis", "calls", "engine", "duration"}


class Point:
    """Counts calls, and raises at one of them."""

    def __init__(self, number: int = -1, error: Callable[[], BaseException] = KINDS[0], after: bool = False) -> None:
        self.number, self.error, self.after = number, error, after
        self.seen = 0
        # Which calls carried a request that may write.
        self.writes: list[int] = []
        self._lock = threading.Lock()

    def call(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            mine = self.seen == self.number
            self.seen += 1
        if mine and not self.after:
            raise self.error()
        answer = real(*args, **kwargs)
        if mine:
            raise self.error()
        return answer


class Proxy:
    """A module of Python's, some functions of which pass a Point."""

    def __init__(self, real: Any, names: tuple[str, ...], point: Point, **others: Any) -> None:
        self._real, self._names, self._point = real, names, point
        vars(self).update(others)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in self._names:
            return found
        return lambda *args, **kwargs: self._point.call(found, *args, **kwargs)


def own_modules() -> list[Any]:
    return [module for name, module in sorted(sys.modules.items()) if name.startswith(OURS)]


@contextlib.contextmanager
def at_network(point: Point) -> Iterator[None]:
    """Each answer of either side, and of the token endpoint."""
    real = http.client.HTTPConnection.getresponse

    def answered(self: Any, *args: Any) -> Any:
        if self._method != "GET":
            point.writes.append(point.seen)
        return point.call(real, self, *args)

    with unhurried(), mock.patch.object(http.client.HTTPConnection, "getresponse", answered):
        yield


@contextlib.contextmanager
def at_files(point: Point) -> Iterator[None]:
    lines = sys.modules[OURS + "_common.json_lines"]
    with unhurried(), mock.patch.object(lines, "os", Proxy(os, FILE_CALLS, point)):
        yield


@contextlib.contextmanager
def at_clocks(point: Point) -> Iterator[None]:
    """Each read of a clock in the collection's own files, and each wait."""
    day = Proxy(datetime.datetime, ("now",), point)
    with contextlib.ExitStack() as stack:
        for module in own_modules():
            if getattr(module, "time", None) is time:
                stack.enter_context(mock.patch.object(module, "time", Proxy(short_waits(), CLOCK_CALLS, point)))
            if getattr(module, "datetime", None) is datetime:
                named = Proxy(datetime, (), point, datetime=day)
                stack.enter_context(mock.patch.object(module, "datetime", named))
        yield


def short_waits() -> Any:
    return Proxy(time, (), Point(), sleep=lambda seconds: time.sleep(min(seconds, LONGEST_SLEEP_S)))


@contextlib.contextmanager
def unhurried() -> Iterator[None]:
    """Waits are short."""
    with contextlib.ExitStack() as stack:
        for module in own_modules():
            if getattr(module, "time", None) is time:
                stack.enter_context(mock.patch.object(module, "time", short_waits()))
        yield


PLACES = {"network": at_network, "files": at_files, "clocks": at_clocks}


class Scenario(NamedTuple):
    """What is run.

    Attributes:
        module: its name; options: what it is given; engine: "direct" or "server".
    """

    module: str
    engine: str
    options: dict[str, Any]


GROUP = {"sync_object_model": "group", "sync_object_id": "Group 03"}
SCENARIOS = {
    "object-direct": Scenario("google_workspace_sync_object", "direct", GROUP),
    "object-server": Scenario("google_workspace_sync_object", "server", {**GROUP, "sync_timeout": 5}),
    "directory-direct": Scenario(
        "google_workspace_sync", "direct", {"parallel": 1, "orphans": "apply", "mapping_evaluation": "server"}
    ),
    "directory-server": Scenario("google_workspace_sync", "server", {"parallel": 1, "sync_timeout": 5}),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    path = tmp_path_factory.mktemp("exceptions") / "dataset.json"
    path.write_text(json.dumps(organisation(5, 4)))
    with Sandbox(dataset=path) as sandbox:
        yield sandbox


def run(sandbox: Sandbox, folder: Path, scenario: Scenario, guard: Any, check: bool = False) -> ModuleRun:
    options: dict[str, Any] = {**reaching(sandbox), "engine": scenario.engine, "google_wait": 0.2, **scenario.options}
    if scenario.module == "google_workspace_sync":
        options["report_path"] = str(folder / "report.jsonl")
        if scenario.engine == "direct":
            options["journal"] = str(folder / "journal.jsonl")
    with guard:
        return run_module(options, module=scenario.module, check=check)


def judge(scenario: Scenario, found: ModuleRun, before: Any, after: Any, wanted: Any, what: str) -> None:
    """Hold a result against what the sandbox saw."""
    result = found.result
    missing = (ALWAYS | REQUIRED[scenario.module]) - set(result)
    claim(not missing, "the result lacks keys", what, missing, result)
    if before != after:
        claim(result["changed"], "changed is false, and Google is another one", what, result)
    elif result["changed"]:
        claim(result["basis"] == "assumed", "changed is true, and Google is the same", what, result)
    if found.failed:
        claim(bool(result["msg"] and result["code"]), "a failure without a text or a code", what, result)
        claim(result["status"] in ("failed", "unconfirmed"), "a failure that is called something else", what, result)
    elif result["status"] in ("synced", "unchanged"):
        claim(shape(after) == wanted, "the task succeeded, and Google is not as wanted", what, result)
    claim("Traceback" not in found.output, "a traceback in the output", what)


def shape(state: Any) -> Any:
    """What a run makes, without ids and times."""
    users, groups = state
    names = {user["id"]: user["primaryEmail"] for user in users}
    return (
        sorted((user["primaryEmail"], user.get("suspended")) for user in users),
        sorted((group["email"], sorted(names.get(item["id"], "?") for item in group["members"])) for group in groups),
    )


def prepare(sandbox: Sandbox, folder: Path, scenario: Scenario) -> Any:
    """The same beginning for each run; returns what stands at Google."""
    sandbox.reset()
    sandbox.control("POST", "authentik/settings", {"signals": False})
    for path in folder.iterdir():
        path.unlink()
    if scenario.module == "google_workspace_sync_object":
        # Members need accounts.
        users = Scenario("google_workspace_sync", "direct", {"parallel": 1, "models": ["user"]})
        run(sandbox, folder, users, unhurried())
        for path in folder.iterdir():
            path.unlink()
    return unvaried(sandbox.google_state())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_an_exception_anywhere(running, tmp_path, name, place):
    scenario, at = SCENARIOS[name], PLACES[place]
    if place == "files" and scenario.module == "google_workspace_sync_object":
        pytest.skip("it writes no files")
    before = prepare(running, tmp_path, scenario)
    counting = Point()
    clean = run(running, tmp_path, scenario, at(counting))
    assert not clean.failed, clean.result
    wanted = shape(unvaried(running.google_state()))
    assert wanted != shape(before)
    assert counting.seen
    for number, late, error in trials(counting, place):
        before = prepare(running, tmp_path, scenario)
        found = run(running, tmp_path, scenario, at(Point(number, error, late)))
        what = f"{type(error()).__name__} {'after' if late else 'at'} {place} call {number} of {counting.seen}"
        judge(scenario, found, before, unvaried(running.google_state()), wanted, what)


def trials(counted: Point, place: str) -> Iterator[tuple[int, bool, Callable[[], BaseException]]]:
    """Calls, whether to raise after them, and what."""
    kinds = itertools.cycle(KINDS)
    for number in spread(range(counted.seen)):
        for late in (False, True) if place == "network" else (False,):
            yield number, late, next(kinds)
    # A write that was performed and whose answer is lost for a reason that nobody listed.
    unlisted = itertools.cycle((KINDS[2], KINDS[4], KINDS[5], KINDS[8]))
    for number in spread(counted.writes):
        yield number, True, next(unlisted)


def spread(numbers: Sequence[int]) -> Sequence[int]:
    return numbers[:: max(1, len(numbers) // MOST)] if MOST else numbers
