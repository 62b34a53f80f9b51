# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each recorded situation: the sandbox answers and calls Google as the real servers did, and the module tells the truth."""

from __future__ import annotations

import contextlib
import json
import re
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from tests.contract.http import call
from tests.contract.situations import GROUP, SITUATIONS, USER, Situation, World
from tests.sandbox.process import Sandbox
from tests.support.google import unvaried
from tests.support.module import run_module

HERE = Path(__file__).parent
# A second at which real servers answer after ten.
QUICK = {"answer_ms": 800, "retry_ms": 60000}
CASES = [(situation, version) for situation in SITUATIONS for version in situation.recorded]
IDS = [f"{situation.id}-{version}" for situation, version in CASES]


@lru_cache
def recorded(version: str) -> list[dict[str, Any]]:
    """The exchanges recorded on a server of this version."""
    return json.loads((HERE / "recorded" / f"{version}.json").read_text())


def exchanges(version: str, prefix: str) -> list[dict[str, Any]]:
    """The exchanges whose name starts so."""
    return [item for item in recorded(version) if item["id"].startswith(prefix)]


@pytest.fixture(scope="module")
def servers(sandboxes):
    """Sandboxes by version, started when first asked for."""
    running: dict[str, Sandbox] = {}
    stack = contextlib.ExitStack()

    def get(version: str) -> Sandbox:
        if version not in running:
            running[version] = stack.enter_context(sandboxes(dataset=HERE / "dataset.json", authentik_version=version))
        return running[version]

    with stack:
        yield get


def arrive(situation: Situation, version: str, sandbox: Sandbox) -> World:
    """Bring a sandbox into a situation."""
    sandbox.reset()
    sandbox.control("POST", "authentik/settings", QUICK)
    world = World(sandbox, version)
    for step in situation.given:
        step(world)
    world.state = sandbox.control("GET", "authentik/state")
    sandbox.clear_requests()
    return world


def wanted_id(situation: Situation, world: World) -> str:
    pk = (
        world.pk(situation.kind, situation.name) if situation.object_id is None or "{pk}" in situation.object_id else ""
    )
    return (situation.object_id or "{pk}").replace("{pk}", pk)


def plain(text: str) -> str:
    """A message without what differs from one directory to the next: names, ids, addresses, bodies, addresses asked."""
    text = re.sub(r"\('Bad request', '.*'\)", "('Bad request', <body>)", text, flags=re.DOTALL)
    text = re.sub(r"https://\S+", "<address>", text)
    text = re.sub(r'returned ".*?"\. Details: ".*"', "returned <text>", text, flags=re.DOTALL)
    text = re.sub(r'returned ".*?"', "returned <text>", text, flags=re.DOTALL)
    text = re.sub(r"Details: .*", "<text>", text)
    text = re.sub(r"(Failed to sync (?:User |Group Group |Group )?).*?( due to)", r"\1<object>\2", text)
    text = re.sub(r"caused by (Group )?\w+", "caused by <object>", text)
    text = re.sub(r"but got '.*?'", "but got <value>", text)
    text = re.sub(r"“.*?”", "<value>", text)
    text = re.sub(r"Key \(.*?\)=\(.*?\)", "Key", text)
    return re.sub(r'constraint ".*?"', "constraint", text)


def google_calls(sandbox: Sandbox) -> list[str]:
    """What Google was asked, with what it answered; a call that is still under way is waited for."""
    deadline = time.monotonic() + 3
    requests = sandbox.google_requests()
    while any(item["ms"] is None for item in requests) and time.monotonic() < deadline:
        time.sleep(0.05)
        requests = sandbox.google_requests()
    found = []
    for item in requests:
        path = item["path"].replace("/admin/directory/v1/", "").removeprefix("/")
        path = re.sub(r"^(users|groups)/[^/]+", r"\1/{key}", path)
        path = re.sub(r"/members/[^/]+$", "/members/{key}", path)
        found.append(f"{item['method']} {path} {item['status'] or 'connection dropped'}")
    return found


@pytest.mark.parametrize(("situation", "version"), CASES, ids=IDS)
def test_the_sandbox_does_what_the_real_server_did(servers, situation, version):
    sandbox = servers(version)
    world = arrive(situation, version, sandbox)
    shown = exchanges(version, situation.recorded[version][0])[0]
    body = {"sync_object_model": situation.kind, "sync_object_id": wanted_id(situation, world), **situation.body}
    reply = world.post(body)
    assert reply.status == shown["status"]
    assert reply.content_type == shown["content_type"]
    assert reply.allow == shown.get("allow")
    if "messages" in shown:
        said = [[line["log_level"], plain(line["event"])] for line in reply.body["messages"]]
        assert said == [[level, plain(event)] for level, event in shown["messages"]]
        assert all(
            set(line) == {"timestamp", "log_level", "logger", "event", "attributes"} for line in reply.body["messages"]
        )
    else:
        assert reply.body == shown.get("body", "")
    check_google(shown, google_calls(sandbox))
    if "task" in shown and version == "2025.12.4":
        check_task(shown["task"], sandbox)


def check_google(shown: dict[str, Any], calls: list[str]) -> None:
    """The same calls in the same order; where a recording was cut, as far as it goes, and per member as often as needed."""
    expected = shown.get("google", [])
    if "..." in expected:
        expected = expected[: expected.index("...")]
        calls = calls[: len(expected)]
    fixed = [item for item in expected if "/members" not in item]
    assert [item for item in calls if "/members" not in item] == fixed
    # How many members a group has is the dataset's matter; what becomes of the first is the situation's.
    assert [item for item in calls if "/members" in item][:1] == [item for item in expected if "/members" in item][:1]


def check_task(shown: dict[str, Any], sandbox: Sandbox) -> None:
    task = max(sandbox.control("GET", "authentik/state")["tasks"], key=lambda item: item["mtime"])
    lines = [[line["log_level"], plain(line["event"]), True] for line in task["previous_logs"]]
    lines += [[line["log_level"], plain(line["event"]), False] for line in task["logs"]]
    expected = [[level, plain(event), previous] for level, event, previous in shown["lines"]]
    # A task that outlives the answer is finished in the recording, which was read later.
    assert lines == expected[: len(lines)] if task["state"] == "running" else lines == expected
    assert task["state"] in (shown["state"], "running")


@pytest.mark.parametrize(("situation", "version"), CASES, ids=IDS)
def test_the_module_says_what_a_person_would(servers, situation, version):
    sandbox = servers(version)
    world = arrive(situation, version, sandbox)
    before = sandbox.google_state()
    run = run_module(
        {
            "authentik_url": sandbox.authentik_url,
            "authentik_token": sandbox.authentik_token,
            "google_api_endpoint": sandbox.google_api_endpoint,
            "provider_id": 1,
            "sync_object_model": situation.kind,
            "sync_object_id": wanted_id(situation, world),
            "sync_timeout": 6 if "slow" in situation.id else 1.6,
            "request_timeout": 5,
            **situation.body,
        }
    )
    result = run.result
    after = sandbox.google_state()
    told = (result["status"], result["changed"], run.failed)
    assert told == (situation.status, situation.changed, situation.status == "failed"), result.get("msg", run.warnings)
    assert result["changed"] == (unvaried(before) != unvaried(after))
    assert situation.says in result.get("msg", "")
    assert situation.warns in " ".join(run.warnings)
    posts = [item for item in sandbox.authentik_requests() if item["path"].endswith("/sync/object/")]
    assert len(posts) == (0 if situation.unsent else 1)
    assert result["calls"]["authentik"] == len(sandbox.authentik_requests())
    assert "pbkdf2_sha256$" not in run.output
    assert sandbox.authentik_token not in run.output
    if not situation.unsent and version == "2025.12.4":
        check_messages(result, sandbox)


def check_messages(result: dict[str, Any], sandbox: Sandbox) -> None:
    task = max(sandbox.control("GET", "authentik/state")["tasks"], key=lambda item: item["mtime"])
    lines = sorted(task["previous_logs"] + task["logs"], key=lambda line: line["timestamp"])
    assert [item["timestamp"] for item in result["messages"]] == [line["timestamp"] for line in lines]
    assert result["messages_source"] == "task_log"


def test_every_recorded_sync_is_accounted_for():
    """Each recorded POST to the endpoint is a situation, an answer without a sync, or listed with the reason why not."""
    known = json.loads((HERE / "not_reproduced.json").read_text())
    for version in ("2024.8.1", "2025.8.6", "2025.12.4"):
        covered = {
            item["id"]
            for situation in SITUATIONS
            for prefix in situation.recorded.get(version, [])
            for item in exchanges(version, prefix)
        }
        answered = {item["id"] for item in recorded(version) if _answers_at_once(item)}
        left = (
            {item["id"] for item in recorded(version) if _is_sync(item)}
            - covered
            - answered
            - set(known.get(version, {}))
        )
        assert left == set()
        for situation in SITUATIONS:
            for prefix in situation.recorded.get(version, []):
                assert exchanges(version, prefix), (situation.id, prefix)


def _is_sync(item: dict[str, Any]) -> bool:
    return item.get("request", {}).get("method") == "POST" and "sync/object" in item["request"]["path"]


def _answers_at_once(item: dict[str, Any]) -> bool:
    return (
        _is_sync(item)
        and item.get("status") in (400, 403, 404, 406, 415)
        or item.get("request", {}).get("path", "").endswith("sync/object")
    )


@pytest.mark.parametrize("version", ["2024.8.1", "2025.8.6", "2025.12.4"])
def test_answers_without_a_sync(servers, version):
    """Bodies, identifiers, methods, tokens and permissions that are refused: the same status and the same words."""
    sandbox = servers(version)
    sandbox.reset()
    view = "authentik_providers_google_workspace.view_googleworkspaceprovider"
    powerless = sandbox.control("POST", "authentik/tokens", {"username": "powerless"})["token"]
    viewer = sandbox.control("POST", "authentik/tokens", {"username": "viewer", "permissions": [view]})["token"]
    checked = 0
    for item in recorded(version):
        request = item.get("request", {})
        if not (
            _answers_at_once(item)
            or (_is_sync(item) is False and "sync/object" in request.get("path", "") and item["status"] == 405)
        ):
            continue
        name = item["id"]
        headers: dict[str, str] = {}
        token: str | None = ""
        if "form-encoded" in name:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
        elif "text-plain" in name:
            headers = {"Content-Type": "text/plain"}
        elif "accept-" in name:
            headers = {"Accept": "text/html" if "html" in name else "application/xml"}
        elif "no-token" in name or "empty-bearer" in name:
            token = None
        elif "auth-invalid" in name or "invalid-token" in name:
            token = "nonsense"
        elif "auth-scheme-token" in name:
            headers = {"Authorization": "Token x"}
        elif (
            "noperm" in name
            or "without-permission" in name
            or name.endswith("-add")
            or name.endswith("-change")
            and "view" not in name
        ):
            token = powerless
        elif item["status"] == 403:
            token = viewer
        reply = call(
            sandbox, request["method"], request["path"], body=request.get("body"), headers=headers, token=token
        )
        assert (name, reply.status) == (name, item["status"])
        assert (name, reply.content_type) == (name, item["content_type"])
        assert (name, reply.allow) == (name, item.get("allow"))
        assert (name, reply.body) == (name, item.get("body", ""))
        checked += 1
    assert checked > 8
    assert sandbox.google_requests() == []


def test_an_old_server_without_a_worker_gives_no_answer_at_all(servers):
    """Recorded as 202 and zz: the call hangs, and the sync still runs when the worker is back."""
    sandbox = servers("2024.8.1")
    sandbox.reset()
    sandbox.control("POST", "authentik/settings", {"worker": False})
    run = run_module(
        {
            "authentik_url": sandbox.authentik_url,
            "authentik_token": sandbox.authentik_token,
            "google_api_endpoint": sandbox.google_api_endpoint,
            "provider_id": 1,
            "sync_object_model": "user",
            "sync_object_id": "alice",
            "sync_timeout": 1,
        }
    )
    assert (run.failed, run.result["status"], run.result["changed"]) == (True, "failed", False)
    assert "may still run" in run.result["msg"]
    sandbox.control("POST", "authentik/settings", {"worker": True})
    deadline = time.monotonic() + 5
    while len(sandbox.google_state()["users"]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [user["primaryEmail"] for user in sandbox.google_state()["users"]] == [
        "admin@example.com",
        "alice@example.com",
    ]


# What saving something in authentik starts by itself: the recording, what was there before, the request.
SAVED: tuple[tuple[str, str, list[str], str, str, dict | None], ...] = (
    ("2024.8.1", "027", ["Team One"], "POST", "core/groups/{team}/add_user/", {"pk": "{heidi}"}),
    ("2024.8.1", "298", [], "DELETE", "core/users/{alice}/", None),
    ("2025.8.6", "07b", ["Team One"], "POST", "core/groups/{team}/remove_user/", {"pk": "{alice}"}),
    ("2025.8.6", "07c", ["Team One"], "POST", "core/groups/{team}/add_user/", {"pk": "{heidi}"}),
    ("2025.12.4", "07b", ["Team One"], "POST", "core/groups/{team}/remove_user/", {"pk": "{alice}"}),
    ("2025.12.4", "07c", ["Team One"], "POST", "core/groups/{team}/add_user/", {"pk": "{heidi}"}),
    ("2025.12.4", "61a", [], "PATCH", "core/users/{alice}/", {"name": "Alice Other"}),
    ("2025.12.4", "61b", ["gone"], "PATCH", "core/users/{alice}/", {"is_active": False}),
    ("2025.12.4", "61c", [], "DELETE", "core/users/{alice}/", None),
)


@pytest.mark.parametrize(("version", "prefix", "also", "method", "path", "body"), SAVED)
def test_saving_syncs_in_the_background(servers, version, prefix, also, method, path, body):
    sandbox = servers(version)
    sandbox.reset()
    world = World(sandbox, version)
    for name in ("alice", "heidi"):
        world.post({"sync_object_model": USER, "sync_object_id": world.pk(USER, name)})
    if "Team One" in also:
        world.post({"sync_object_model": GROUP, "sync_object_id": world.pk(GROUP, "Team One")})
    if "gone" in also:
        sandbox.control("DELETE", "google/users/alice@example.com")
    sandbox.control("POST", "authentik/settings", {"signals": True})
    sandbox.clear_requests()
    keys = {"team": world.pk(GROUP, "Team One"), "alice": world.pk(USER, "alice"), "heidi": world.pk(USER, "heidi")}
    if body and "pk" in body:
        body = {"pk": int(body["pk"].format(**keys))}
    shown = next(item for item in exchanges(version, prefix) if "sync/object" not in item["request"]["path"])
    assert call(sandbox, method, "/api/v3/" + path.format(**keys), body=body).status == shown["status"]
    deadline = time.monotonic() + 5
    while len(google_calls(sandbox)) < len(shown["google"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert google_calls(sandbox) == shown["google"]
