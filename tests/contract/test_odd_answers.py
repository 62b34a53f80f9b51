# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of the right form with odd values in them, at each request of each module: a clear error of the module's own form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.check import share
from tests.support.clock import running_faster
from tests.support.module import reaching, run_module
from tests.truth.oracle import claim
from tests.truth.test_exceptions import SCENARIOS, Scenario, always, prepare, run, sandboxes, state_of

__all__ = ["sandboxes"]
# What JSON can hold, and json.dumps() does not write.
INFINITE, HUGE = "1e999", "9" * 400
LEVELS = 900
# By the modules' clock.
FASTER = 50
# What a push tries; `make test` tries all.
OFTEN = ("object-direct", "connection", "mapping", "provider-info")
JSON = "application/json"
# How Python speaks of what it did not expect.
PYTHON = re.compile(
    r"unexpected error|Traceback|object has no attribute|not subscriptable|KeyError|TypeError|RecursionError"
)
KEYS = ("pk", "id", "uuid", "num_pk")
Mutation = Callable[[Any], Any]


def nested() -> Any:
    found: Any = []
    for _level in range(LEVELS):
        found = [found]
    return found


def replacing(names: tuple[str, ...], value: Any) -> Mutation:
    """Puts a value wherever one of these keys stands."""

    def changed(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value if key in names else changed(item) for key, item in data.items()}
        return [changed(item) for item in data] if isinstance(data, list) else data

    return changed


def deep(data: Any) -> Any:
    """Something deep in each object of a list, or in the answer itself."""
    if not isinstance(data, dict):
        return nested()
    for name in ("results", "users", "groups", "members"):
        if isinstance(data.get(name), list):
            return {**data, name: [{**item, "attributes": nested()} for item in data[name]]}
    return {**data, "result": json.dumps(nested())} if "result" in data else {**data, "attributes": nested()}


MUTATIONS: dict[str, Mutation] = {
    "keys that are objects": replacing(KEYS, {"a": 1}),
    "keys that are lists": replacing(KEYS, [1, 2]),
    "keys that are null": replacing(KEYS, None),
    "keys that are huge": replacing(KEYS, HUGE),
    "counts without end": replacing(("count", "total_pages", "next"), INFINITE),
    "many levels": deep,
    "names that are objects": replacing(("name", "username", "email", "primaryEmail", "google_id"), {"a": 1}),
    "results that are objects": replacing(("results", "users", "groups", "members"), {"a": {"b": 1}}),
}
# Answers to a write that leave open what was written.
OPEN = ("keys that are objects", "keys that are lists", "keys that are null")
CONTENT_TYPES = ("text/plain", "application/octet-stream", "application/json; charset=utf-16", "")


def text_of(data: Any) -> str:
    """The JSON of an answer, with numbers that json.dumps() does not write."""
    return json.dumps(data).replace(f'"{INFINITE}"', INFINITE).replace(f'"{HUGE}"', HUGE)


def endpoints(sandbox: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each kind of request since the last reset, with a real answer."""
    seen = set()
    for side, log in (("google", sandbox.google_requests()), ("authentik", sandbox.authentik_requests())):
        for item in log:
            kind = (side, item["method"], re.sub(r"[0-9a-f-]{8,}|\d+|[^/]+@[^/]+", "*", item["path"]))
            if kind not in seen and item["status"] in range(200, 300) and item["reply"] not in (None, ""):
                seen.add(kind)
                yield side, item


def faults(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    where = {"method": item["method"], "path": f"{re.escape(item['path'])}(\\?|$)", "times": -1}
    for name, mutation in MUTATIONS.items():
        changed = mutation(item["reply"])
        if changed != item["reply"]:
            # A write is performed, and the answer is odd.
            yield name, {**where, "when": "after", "status": 200, "body": text_of(changed), "content_type": JSON}
    for content_type in CONTENT_TYPES:
        body = json.dumps(item["reply"])
        yield f"content type {content_type!r}", {**where, "when": "after", "body": body, "content_type": content_type}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in OFTEN else [pytest.mark.everything]) for name in SCENARIOS]
)
def test_odd_values(sandboxes, tmp_path, name):  # noqa: F811
    scenario = SCENARIOS[name]
    sandbox = sandboxes(scenario.version)
    prepare(sandbox, tmp_path, scenario)
    clean = run(sandbox, tmp_path, scenario, running_faster(FASTER))
    assert not clean.failed, clean.result
    found = [(side, item, how, fault) for side, item in endpoints(sandbox) for how, fault in faults(item)]
    assert found
    # Another part of them in each scenario.
    step = len(found) // share(len(found))
    found = found[len(name) % step :: step]
    wrong = []
    for side, item, how, fault in found:
        before = prepare(sandbox, tmp_path, scenario)
        sandbox.control("POST", f"{side}/faults", fault)
        what = f"{side} {item['method']} {item['path']}: {how}"
        try:
            result = judge(scenario, sandbox, tmp_path, what)
            # Of a read that is made up nobody can know better, nor of a write that names another object.
            if item["method"] != "GET" and how in OPEN and before != state_of(sandbox, scenario):
                claim(result["changed"], "changed is false, and something is another one", what, result.get("msg"))
        except AssertionError as exc:
            wrong.append(str(exc))
        except Exception as exc:  # noqa: BLE001 - a module that ends in no result at all, among the others
            wrong.append(f"{what}: {exc!r}")
    assert not wrong, f"{len(wrong)} of {len(found)}: " + "\n".join(wrong)


def judge(scenario: Scenario, sandbox: Any, folder: Path, what: str) -> dict[str, Any]:
    found = run(sandbox, folder, scenario, running_faster(FASTER))
    result = found.result
    missing = always(scenario.module) - set(result)
    claim(not missing, "the result lacks keys", what, missing)
    said = " ".join([str(result.get("msg")), *found.warnings, json.dumps(result.get("failed_objects"))])
    claim(not PYTHON.search(said), "Python's words", what, said[:500])
    claim(result.get("code") != "unexpected", "an unexpected error", what, said[:500])
    if found.failed:
        claim(bool(result["msg"]) and bool(result["code"]), "a failure without a reason", what, result)
    return result


@pytest.mark.parametrize(
    "module", ["google_workspace_sync_object", "google_workspace_connection", "google_workspace_sync_info"]
)
@pytest.mark.parametrize(
    "form", ["ftp://{host}/token", "https://{host}/{key}", "{key}", "https://u:{key}@{host}/", "5"]
)
def test_an_odd_address_for_tokens(sandboxes, tmp_path, module, form):  # noqa: F811
    scenario = next(item for item in SCENARIOS.values() if item.module == module)
    sandbox = sandboxes(scenario.version)
    before = prepare(sandbox, tmp_path, scenario)
    key = json.loads(Path(sandbox.service_account_file).read_text())
    secret = "".join(line for line in key["private_key"].splitlines() if "-" not in line)
    key["token_uri"] = 5 if form == "5" else form.format(host="localhost:1", key=secret)
    options = {"service_account_contents": json.dumps(key), "delegated_subject": "admin@corp.example.com"}
    if module == "google_workspace_sync_object":
        options["engine"] = "direct"
    if module == "google_workspace_connection":
        options["verify"] = "google"
    found = run_module({**reaching(sandbox), **scenario.options, **options}, module=module)
    assert secret not in found.output
    assert secret[:60] not in found.output
    assert not PYTHON.search(found.output.split('"invocation"')[0]), found.output[-2000:]
    assert before == state_of(sandbox, scenario)
    if module != "google_workspace_sync_info":
        assert found.failed
        assert "token_uri" in found.result["msg"]
        assert found.result["code"] != "unexpected"
