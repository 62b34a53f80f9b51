# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exception of any kind at each network call, file operation and clock read: the result still says what is so."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import importlib
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
import yaml

from tests.sandbox.process import Sandbox
from tests.support.check import share
from tests.support.google import unvaried
from tests.support.module import PACKAGE, ModuleRun, reaching, run_module
from tests.support.tree import ROOT
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
# How many calls of a scenario are tried, spread over all of them, and of one that syncs nothing or is in check mode; 0 is each.
MOST = int(os.environ.get("TRUTH_EXCEPTIONS", "12"))
MOST_OF_OTHERS = MOST // 2
LONGEST_SLEEP_S = 0.01
FILE_CALLS = ("open", "fstat", "fchmod", "ftruncate", "write", "fsync", "replace", "lstat", "stat", "close")
CLOCK_CALLS = ("time", "monotonic", "sleep")
NEWEST, OLDER = "2025.12.4", "2025.8.6"
# The modules that tell in ``status`` and ``basis`` what became of a sync.
SYNCING = ("google_workspace_sync", "google_workspace_sync_object")
DOMAIN = "corp.example.com"


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
        module: its name; options: what it is given; engine: "direct", "server", or "" for a module that does not sync.
        version: authentik's.
        writes: whether a clean run changes something.
    """

    module: str
    engine: str
    options: dict[str, Any]
    version: str = NEWEST
    writes: bool = True


TRIAL = {"user": "person-00", "expect": {"notes": {"value": "person-00"}}}
MAPPING = {"name": "zz", "expression": "return {'notes': {'value': request.user.username}}", "test_against": [TRIAL]}
PROVIDER = {
    "name": "gws",
    "default_group_email_domain": "other.example.com",
    "application": "new",
    "create_application": True,
}
MEMBER = {"sync_object_model": "user", "sync_object_id": "person-01"}
GROUP = {"sync_object_model": "group", "sync_object_id": "Group 03"}
SCENARIOS = {
    "object-direct": Scenario("google_workspace_sync_object", "direct", GROUP),
    "object-server": Scenario("google_workspace_sync_object", "server", {**GROUP, "sync_timeout": 5}),
    "directory-direct": Scenario(
        "google_workspace_sync", "direct", {"parallel": 1, "orphans": "apply", "mapping_evaluation": "server"}
    ),
    "directory-server": Scenario("google_workspace_sync", "server", {"parallel": 1, "sync_timeout": 5}),
    # From another record to this one.
    "connection": Scenario("google_workspace_connection", "", {**MEMBER, "google_id": f"other@{DOMAIN}"}),
    # To the record that it leads to already, of which authentik has no copy.
    "connection-refreshed": Scenario(
        "google_workspace_connection", "", {**MEMBER, "google_id": f"person-01@{DOMAIN}", "verify": "google"}
    ),
    # By authentik's own listing.
    "connection-listing": Scenario(
        "google_workspace_connection", "", {**MEMBER, "google_id": f"person-01@{DOMAIN}"}, version=OLDER
    ),
    "connection-repaired": Scenario("google_workspace_connection", "", {"state": "repaired"}, version=OLDER),
    "mapping": Scenario("google_workspace_mapping", "", MAPPING),
    "provider": Scenario("google_workspace_provider", "", PROVIDER),
    "connection-info": Scenario("google_workspace_connection_info", "", {"compare": True}, writes=False),
    "mapping-info": Scenario(
        "google_workspace_mapping_info", "", {"evaluate_for": [{"user": "person-00"}]}, writes=False
    ),
    "provider-info": Scenario("google_workspace_provider_info", "", {}, writes=False),
    "sync-info": Scenario("google_workspace_sync_info", "", {}, writes=False),
}
# Options of the sandbox that a module does not have.
LACKING = {
    "google_workspace_mapping": ("google_api_endpoint", "provider_id"),
    "google_workspace_mapping_info": ("google_api_endpoint", "provider_id"),
    "google_workspace_provider": ("google_api_endpoint", "provider_id"),
    "google_workspace_provider_info": ("google_api_endpoint",),
}


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    """A running sandbox of a version, started when it is first asked for."""
    path = tmp_path_factory.mktemp("exceptions") / "dataset.json"
    path.write_text(json.dumps(organisation(5, 4)))
    for scenario in SCENARIOS.values():
        # What is imported later has a clock of its own.
        importlib.import_module(f"{PACKAGE}.{scenario.module}")
    found: dict[str, Sandbox] = {}
    with contextlib.ExitStack() as stack:

        def running(version: str) -> Sandbox:
            if version not in found:
                found[version] = stack.enter_context(Sandbox(dataset=path, authentik_version=version))
            return found[version]

        yield running


def always(module: str) -> set[str]:
    """The return values that a module's documentation calls always there."""
    named: dict[str, Any] = {}
    text = (ROOT / "plugins" / "modules" / f"{module}.py").read_text()
    for name, about in yaml.safe_load(text.split('RETURN = r"""')[1].split('"""')[0]).items():
        named[name] = str(about["returned"])
    return {name for name, returned in named.items() if returned.startswith("always")}


def run(sandbox: Sandbox, folder: Path, scenario: Scenario, guard: Any, check: bool = False) -> ModuleRun:
    options: dict[str, Any] = {**reaching(sandbox), **scenario.options}
    for name in LACKING.get(scenario.module, ()):
        del options[name]
    if scenario.module in SYNCING:
        options.update(engine=scenario.engine, google_wait=0.2)
    if scenario.module == "google_workspace_sync":
        options["report_path"] = str(folder / "report.jsonl")
        if scenario.engine == "direct":
            options["journal"] = str(folder / "journal.jsonl")
    with guard:
        return run_module(options, module=scenario.module, check=check)


def judge(scenario: Scenario, found: ModuleRun, before: Any, after: Any, wanted: Any, what: str) -> None:
    """Hold a result against what the sandbox saw."""
    result = found.result
    judge_form(scenario, found, what)
    syncing = scenario.module in SYNCING
    if not scenario.writes:
        claim(before == after and not result.get("changed"), "a module that reads wrote something", what, result)
        return
    if before != after:
        claim(result["changed"], "changed is false, and something is another one", what, result)
    elif result["changed"] and syncing:
        claim(result["basis"] == "assumed", "changed is true, and Google is the same", what, result)
    elif result["changed"]:
        claim(found.failed, "changed is true, all is the same, and the task succeeded", what, result)
    if not found.failed and (not syncing or result["status"] in ("synced", "unchanged")):
        claim(shape(after) == wanted, "the task succeeded, and all is not as wanted", what, result)


def judge_form(scenario: Scenario, found: ModuleRun, what: str) -> None:
    """Whatever was raised: the module's own form, and a reason."""
    result = found.result
    missing = always(scenario.module) - set(result)
    claim(not missing, "the result lacks keys", what, missing, result)
    if found.failed:
        claim(bool(result["msg"] and result["code"]), "a failure without a text or a code", what, result)
        claim(len(result["msg"].split(". ")) > 1, "a failure without a remedy", what, result)
        known = result.get("status", "failed") in ("failed", "unconfirmed")
        claim(known, "a failure that is called something else", what, result)
    claim("Traceback" not in found.output, "a traceback in the output", what)


def judge_check(scenario: Scenario, found: ModuleRun, states: Any, written: Any, predicted: bool, what: str) -> None:
    """Hold a result of check mode against what the sandbox saw."""
    before, after = states
    judge_form(scenario, found, what)
    claim(before == after, "check mode changed something", what, found.result)
    claim(not written, "check mode wrote", what, written)
    if not found.failed and scenario.writes:
        claim(found.result["changed"] == predicted, "changed is predicted wrongly", what, predicted, found.result)


def state_of(sandbox: Sandbox, scenario: Scenario) -> Any:
    """What a module writes to: a sync to Google, the others to authentik."""
    if scenario.module in SYNCING:
        return unvaried(sandbox.google_state())
    authentik = sandbox.control("GET", "authentik/state")
    return [unvaried(sandbox.google_state()), *(authentik[name] for name in CONFIGURED)]


CONFIGURED = ("providers", "mappings", "applications", "connections")


def shape(state: Any) -> Any:
    """What a run makes, without ids and times."""
    if len(state) > 2:
        google, providers, mappings, applications, connections = state
        return (
            shape(google),
            [(item["name"], item["default_group_email_domain"]) for item in providers],
            sorted((item["name"], item["expression"]) for item in mappings),
            sorted((item["slug"], str(item["backchannel_providers"])) for item in applications),
            sorted((row["kind"], str(row["obj"]), row["google_id"], bool(row["attributes"])) for row in connections),
        )
    users, groups = state
    names = {user["id"]: user["primaryEmail"] for user in users}
    return (
        sorted((user["primaryEmail"], user.get("suspended")) for user in users),
        sorted((group["email"], sorted(names.get(item["id"], "?") for item in group["members"])) for group in groups),
    )


def writes_of(sandbox: Sandbox) -> list[Any]:
    """The requests since the last reset that may have written; a mapping that is tried is only evaluated."""
    log = [*sandbox.google_requests(), *sandbox.authentik_requests()]
    return [
        item
        for item in log
        if item["method"] not in ("GET", "OPTIONS") and item["path"] != "/token" and not item["path"].endswith("/test/")
    ]


def prepare(sandbox: Sandbox, folder: Path, scenario: Scenario) -> Any:
    """The same beginning for each run; returns what stands there."""
    sandbox.reset()
    sandbox.control("POST", "authentik/settings", {"signals": False, "licensed": True})
    for path in folder.iterdir():
        path.unlink()
    if scenario.module != "google_workspace_sync":
        # Members need accounts, and connections records.
        users = Scenario("google_workspace_sync", "direct", {"parallel": 1, "models": ["user"]})
        run(sandbox, folder, users, unhurried())
        for path in folder.iterdir():
            path.unlink()
    if scenario.module == "google_workspace_connection":
        prepare_connections(sandbox, scenario)
    sandbox.clear_requests()
    return state_of(sandbox, scenario)


def prepare_connections(sandbox: Sandbox, scenario: Scenario) -> None:
    name = {"givenName": "Other", "familyName": "Body"}
    sandbox.control("POST", "google/users", {"primaryEmail": f"other@{DOMAIN}", "name": name})
    # Without a copy of Google's record, which stops every sync of an older server.
    state = sandbox.control("GET", "authentik/state")
    (person,) = [item for item in state["users"] if item["username"] == MEMBER["sync_object_id"]]
    rows = [row for row in state["connections"] if (row["kind"], row["obj"]) == ("user", person["pk"])]
    for row in rows:
        sandbox.control("PATCH", f"authentik/connections/{row['id']}", {"attributes": {}})
    if not rows:
        row = {"user": person["pk"], "provider": sandbox.provider_id, "google_id": person["email"]}
        sandbox.control("POST", "authentik/connections", row)


# Only the sync of a directory writes files.
OFTEN_THERE = (("object-direct", "network"), ("directory-direct", "network"))
EVERYWHERE = pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param(name, place, marks=[] if (name, place) in OFTEN_THERE else [pytest.mark.everything])
        for name, scenario in SCENARIOS.items()
        for place in PLACES
        if place != "files" or scenario.module == "google_workspace_sync"
    ],
)


@EVERYWHERE
def test_an_exception_anywhere(sandboxes, tmp_path, name, place):
    scenario, at = SCENARIOS[name], PLACES[place]
    sandbox = sandboxes(scenario.version)
    before = prepare(sandbox, tmp_path, scenario)
    counting = Point()
    clean = run(sandbox, tmp_path, scenario, at(counting))
    assert not clean.failed, clean.result
    wanted = shape(state_of(sandbox, scenario))
    assert (wanted != shape(before)) == scenario.writes
    assert counting.seen
    for number, late, error in trials(counting, place, share(MOST if scenario.engine else MOST_OF_OTHERS)):
        before = prepare(sandbox, tmp_path, scenario)
        found = run(sandbox, tmp_path, scenario, at(Point(number, error, late)))
        what = described(number, late, error, place, counting)
        judge(scenario, found, before, state_of(sandbox, scenario), wanted, what)


@EVERYWHERE
def test_an_exception_anywhere_in_check_mode(sandboxes, tmp_path, name, place):
    scenario, at = SCENARIOS[name], PLACES[place]
    sandbox = sandboxes(scenario.version)
    before = prepare(sandbox, tmp_path, scenario)
    counting = Point()
    clean = run(sandbox, tmp_path, scenario, at(counting), check=True)
    assert not clean.failed, clean.result
    predicted = bool(clean.result.get("changed"))
    assert predicted == scenario.writes
    judge_check(scenario, clean, (before, state_of(sandbox, scenario)), writes_of(sandbox), predicted, "clean")
    for number, late, error in trials(counting, place, share(MOST_OF_OTHERS)):
        # Nothing is written, so that one beginning serves all.
        sandbox.clear_requests()
        found = run(sandbox, tmp_path, scenario, at(Point(number, error, late)), check=True)
        states = before, state_of(sandbox, scenario)
        what = described(number, late, error, place, counting)
        judge_check(scenario, found, states, writes_of(sandbox), predicted, what)


def described(number: int, late: bool, error: Callable[[], BaseException], place: str, counted: Point) -> str:
    return f"{type(error()).__name__} {'after' if late else 'at'} {place} call {number} of {counted.seen}"


def trials(counted: Point, place: str, most: int) -> Iterator[tuple[int, bool, Callable[[], BaseException]]]:
    """Calls, so many or a few more, whether to raise after them, and what."""
    kinds = itertools.cycle(KINDS)
    for number in spread(range(counted.seen), most):
        for late in (False, True) if place == "network" else (False,):
            yield number, late, next(kinds)
    # A write that was performed and whose answer is lost for a reason that nobody listed.
    unlisted = itertools.cycle((KINDS[2], KINDS[4], KINDS[5], KINDS[8]))
    for number in spread(counted.writes, most):
        yield number, True, next(unlisted)


def spread(numbers: Sequence[int], most: int) -> Sequence[int]:
    return numbers[:: max(1, len(numbers) // most)] if most else numbers
