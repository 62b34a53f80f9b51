# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Syncs of a whole directory: the sandbox's authentik starts, runs, shows and retries them as the real servers did."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.contract.http import Reply, call
from tests.contract.test_recordings import google_calls, plain
from tests.sandbox.process import Sandbox

HERE = Path(__file__).parent
OLD, MIDDLE, NEW = "2024.8.1", "2025.8.6", "2025.12.4"
RECORDED = json.loads((HERE / "recorded" / "full_sync.json").read_text())
ACTORS = "authentik.enterprise.providers.google_workspace.tasks."
SCHEDULES = "authentik_tasks_schedules"
NOT_ALLOWED = {"detail": "You do not have permission to perform this action."}
PROVIDER = "/providers/google_workspace/1/"
STATUS = PROVIDER + "sync/status/"
ROW = "/events/system_tasks/"


class Server:
    """A running sandbox, with what a full sync needs of authentik's API."""

    def __init__(self, sandbox: Sandbox, version: str) -> None:
        self.sandbox = sandbox
        self.version = version

    def api(self, method: str, path: str, **more: Any) -> Reply:
        return call(self.sandbox, method, "/api/v3" + path, **more)

    def get(self, path: str, **query: Any) -> Any:
        reply = self.api("GET", path, query=query)
        assert reply.status == 200, reply
        return reply.body

    def schedule(self) -> dict:
        query = {
            "actor_name": ACTORS + "google_workspace_sync",
            "rel_obj_content_type__app_label": "authentik_providers_google_workspace",
            "rel_obj_content_type__model": "googleworkspaceprovider",
            "rel_obj_id": "1",
        }
        (found,) = self.get("/tasks/schedules/", **query)["results"]
        return found

    def send(self, **more: Any) -> Reply:
        return self.api("POST", f"/tasks/schedules/{self.schedule()['id']}/send/", **more)

    def tasks(self, name: str = "google_workspace_sync") -> list[dict]:
        """The tasks of one kind that hang on the schedule, oldest first."""
        query = {
            "actor_name": ACTORS + name,
            "rel_obj_content_type__app_label": SCHEDULES,
            "rel_obj_content_type__model": "schedule",
            "rel_obj_id": self.schedule()["id"],
            "ordering": "mtime",
            "page_size": 100,
        }
        return self.get("/tasks/tasks/", **query)["results"]

    def pages(self) -> list[dict]:
        return self.tasks("google_workspace_sync_objects")

    def ended(self, count: int = 1, seconds: float = 10) -> None:
        """Wait until so many full syncs have ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if sum(task["state"] in ("done", "rejected") for task in self.tasks()) >= count:
                return
            time.sleep(0.03)
        raise AssertionError(self.tasks())

    def sync(self) -> None:
        """A full sync from its start to its end."""
        if self.version == OLD:
            self.first_of_old() if not self.get(ROW)["results"] else self.again_on_old()
            return
        before = len(self.tasks())
        assert self.send().status == 200
        self.ended(before + 1)

    def first_of_old(self) -> None:
        """Before there is a row, only saving the provider starts one."""
        self.set(licensed=True, signals=True)
        assert self.api("PATCH", PROVIDER, body={"name": "gws"}).status == 200
        self.set(licensed=False, signals=False)
        self.until(lambda: self.get(ROW)["results"])

    def again_on_old(self) -> None:
        (row,) = self.get(ROW)["results"]
        assert self.api("POST", f"{ROW}{row['uuid']}/run/").status == 204
        self.until(lambda: self.get(ROW)["results"][0]["start_timestamp"] != row["start_timestamp"])

    def set(self, **settings: Any) -> None:
        self.sandbox.control("POST", "authentik/settings", settings)

    def token(self, *permissions: str) -> str:
        body = {"username": "somebody", "permissions": list(permissions)}
        return self.sandbox.control("POST", "authentik/tokens", body)["token"]

    @staticmethod
    def until(condition: Any, seconds: float = 10) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()) and time.monotonic() < deadline:
            time.sleep(0.03)
        assert found
        return found


@pytest.fixture(scope="module")
def running(tmp_path_factory, sandboxes):
    """Sandboxes by version, started when first asked for, with the recorded directory's order of people."""
    data = json.loads((HERE / "dataset.json").read_text())
    data["users"].sort(key=lambda user: user["username"] in ("outsider", "noemail"))
    dataset = tmp_path_factory.mktemp("dataset") / "dataset.json"
    dataset.write_text(json.dumps(data))
    servers: dict[str, Server] = {}
    stack = contextlib.ExitStack()

    def get(version: str) -> Server:
        if version not in servers:
            sandbox = stack.enter_context(sandboxes(dataset=dataset, authentik_version=version))
            servers[version] = Server(sandbox, version)
        servers[version].sandbox.reset()
        servers[version].set(retry_ms=60000)
        return servers[version]

    with stack:
        yield get


@pytest.fixture(params=[OLD, MIDDLE, NEW])
def server(running, request):
    return running(request.param)


@pytest.fixture(params=[MIDDLE, NEW])
def tasks_server(running, request):
    return running(request.param)


@pytest.fixture
def old(running):
    server = running(OLD)
    # Google was kinder to names on the day of the recording.
    server.sandbox.control("POST", "google/settings", {"strict_names": False})
    return server


def shown(version: str, prefix: str) -> dict:
    (found,) = [item for item in RECORDED[version] if item["id"].startswith(prefix)]
    return found


def reduced(task: dict) -> dict:
    """A task in the form of the recording."""
    name = "logs" if "logs" in task else "messages"
    found = {
        "actor": task["actor_name"].rpartition(".")[2],
        "uid": task["uid"].rpartition(".tasks.")[2],
        "state": task["state"],
        "queue": task["queue_name"],
        "model": task["rel_obj_model"],
        "aggregated_status": task["aggregated_status"],
        "lines": [[line["log_level"], plain(line["event"]), True] for line in task["previous_" + name]]
        + [[line["log_level"], plain(line["event"]), False] for line in task[name]],
    }
    if "retries" in task:
        found["retries"] = task["retries"]
    return found


def same(found: list[dict], expected: list[dict]) -> None:
    """Tasks are the recorded ones; of a recording that was cut the rest of the lines is not known."""
    assert len(found) == len(expected)
    for task, recorded in zip(found, expected, strict=True):
        here, there = reduced(task), dict(recorded)
        there["lines"] = [[level, plain(event), previous] for level, event, previous in there["lines"]]
        if there.pop("cut", False):
            here["lines"] = here["lines"][: len(there["lines"])]
        assert here == there


def typed(body: dict) -> dict:
    return {key: "str" if key == "last_successful_sync" and value else value for key, value in body.items()}


def row_of(found: dict) -> dict:
    """A system task in the form of the recording."""
    fields = ("name", "full_name", "uid", "description", "status", "expiring")
    lines = [[line["log_level"], line["logger"], line["event"]] for line in found["messages"]]
    return {**{key: found[key] for key in fields}, "keys": list(found), "lines": lines}


# -- as recorded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [MIDDLE, NEW])
def test_the_schedule_is_shown_and_sent(running, version):
    server = running(version)
    recorded = dict(shown(version, "41a")["schedule"])
    found = {key: value for key, value in server.schedule().items() if key != "id"}
    assert (found.pop("next_run") > "2026", found.pop("last_task_status")) == (True, None)
    due = recorded.pop("next_run")
    del recorded["last_task_status"]
    assert found == recorded
    assert due.endswith(":19:00Z")
    assert server.schedule()["next_run"].endswith(":19:00Z")
    sent = shown(version, "62a")
    reply = server.send()
    assert (reply.status, reply.content_type, reply.body) == (sent["status"], sent["content_type"], sent["body"])
    unknown = shown(version, "62i")
    reply = server.api("POST", "/tasks/schedules/00000000-0000-4000-8000-000000000000/send/")
    assert (reply.status, reply.body) == (unknown["status"], unknown["body"])
    server.ended()
    # 2025.8 says what its newest task, a page, has met.
    assert server.schedule()["last_task_status"] == ("done" if version == NEW else "info")


def test_the_tasks_of_a_full_sync_2025_8(running):
    server = running(MIDDLE)
    server.sync()
    server.api(
        "POST",
        PROVIDER + "sync/object/",
        body={"sync_object_model": "authentik.core.models.User", "sync_object_id": "999"},
    )
    found = server.get("/tasks/tasks/", search="google_workspace_sync", ordering="-mtime", page_size=4)["results"]
    # In the recording the single sync came first.
    same([*found[1:], found[0]], shown(MIDDLE, "62d")["tasks"])
    assert typed(server.get(STATUS)) == shown(MIDDLE, "62g")["body"]


def test_a_full_sync_that_meets_a_row_that_stops_everything_2025_8(running):
    """The page crashes and waits for its next attempt, the parent for the page, and the lock is held meanwhile."""
    server = running(MIDDLE)
    server.sync()
    server.sandbox.control("PATCH", "google/users/bob@example.com", {"name": {"givenName": "Eve"}})
    server.api(
        "POST",
        PROVIDER + "sync/object/",
        body={"sync_object_model": "authentik.core.models.Group", "sync_object_id": "0" * 32},
    )
    server.send()
    query = {"search": "google_workspace_sync", "ordering": "-mtime", "page_size": 3}
    server.until(lambda: server.get("/tasks/tasks/", **query)["results"][0]["queue_name"] == "default.DQ")
    expected = shown(MIDDLE, "62o")["tasks"]
    found = server.get("/tasks/tasks/", **query)["results"]
    same(found[:2], expected[:2])
    assert typed(server.get(STATUS)) == shown(MIDDLE, "62n")["body"]


def test_the_tasks_of_a_full_sync_2025_12(running):
    server = running(NEW)
    # Twice, since the recording's newest two pages are those of two syncs.
    server.sync()
    server.sync()
    query = shown(NEW, "62e")["query"]
    same(server.get("/tasks/tasks/", **query)["results"], shown(NEW, "62e")["tasks"])
    query = {**shown(NEW, "62d")["query"], "rel_obj_id": "1"}
    assert server.get("/tasks/tasks/", **query)["results"] == shown(NEW, "62d")["tasks"] == []
    assert typed(server.get(STATUS)) == shown(NEW, "51d")["body"]


def test_a_full_sync_calls_google_as_recorded(running):
    server = running(NEW)
    server.sync()
    server.sandbox.clear_requests()
    server.sync()
    expected = shown(NEW, "62c")["google"][:-1]
    assert google_calls(server.sandbox)[: len(expected)] == expected


def test_a_second_full_sync_beside_the_first_skips(running):
    server = running(NEW)
    server.sync()
    server.sandbox.control("POST", "google/settings", {"latency_ms": 40})
    server.send()
    server.send()
    server.ended(3)
    query = shown(NEW, "62l")["query"]
    same(server.get("/tasks/tasks/", **query)["results"], shown(NEW, "62l")["tasks"])


def test_a_page_that_crashed_on_a_second_row_is_done_after_its_retry(running):
    """Two rows for one person, whose account is gone: the first attempt crashes, the next one goes through."""
    server = running(NEW)
    server.set(retry_ms=50)
    for address in ("old@example.com", "alice@example.com"):
        server.sandbox.control(
            "POST", "authentik/connections", {"user": 6, "provider": 1, "google_id": address, "attributes": {"id": "1"}}
        )
    server.sync()
    (parent,) = server.tasks()
    (page,) = [task for task in server.pages() if task["uid"].endswith("user:1")]
    same([page], shown(NEW, "62x")["tasks"][:1])
    crash = page["previous_logs"][-1]["attributes"]["exception"]
    kinds = ["ValueError", "IntegrityError", "UniqueViolation", "NotFoundSyncException", "HttpError"]
    assert [item["exc_type"] for item in crash] == kinds
    assert [item["is_cause"] for item in crash] == [False, False, True, False, True]
    assert (parent["state"], parent["retries"]) == ("done", 0)
    assert parent["mtime"] > page["mtime"]


def test_the_status_before_and_during_and_after_2024_8(old):
    def status(prefix: str) -> tuple:
        found = shown(OLD, prefix)
        return found["is_running"], found["rows"]

    def now() -> tuple:
        body = old.get(STATUS)
        assert list(body) == ["is_running", "tasks"]
        return body["is_running"], [row_of(item) for item in body["tasks"]]

    assert now() == status("222")
    assert [row_of(item) for item in old.get(ROW, name="google_workspace_sync")["results"]] == shown(OLD, "271")["rows"]
    old.sandbox.control("POST", "google/settings", {"latency_ms": 20})
    old.set(licensed=True, signals=True)
    assert old.api("PATCH", PROVIDER, body={"name": "gws"}).status == 200
    old.until(lambda: old.get(STATUS)["is_running"])
    assert now() == status("277")
    old.until(lambda: not old.get(STATUS)["is_running"])
    assert now() == status("278")
    assert [row_of(item) for item in old.get(ROW, name="google_workspace_sync")["results"]] == shown(OLD, "279")["rows"]
    (row,) = old.get(ROW, uid="gws")["results"]
    assert row == old.get(f"{ROW}{row['uuid']}/")
    assert row["finish_timestamp"] > row["start_timestamp"]
    assert old.api("POST", f"{ROW}{row['uuid']}/run/").status == 204
    old.until(lambda: old.get(STATUS)["is_running"])
    # The last one's row stays while the next one runs.
    assert now() == status("294")
    old.until(lambda: old.get(ROW)["results"][0]["start_timestamp"] != row["start_timestamp"])


def test_a_single_sync_waits_for_a_worker_during_a_full_sync_2024_8(old):
    """Recorded as 295: it answers 200 in the end, and takes as long as the full sync's page before it."""
    old.sandbox.control("POST", "google/settings", {"latency_ms": 20})
    old.set(licensed=True, signals=True)
    assert old.api("PATCH", PROVIDER, body={"name": "gws"}).status == 200
    old.until(lambda: old.get(STATUS)["is_running"])
    started = time.monotonic()
    body = {"sync_object_model": "authentik.core.models.User", "sync_object_id": "6"}
    reply = old.api("POST", PROVIDER + "sync/object/", body=body)
    assert (reply.status, reply.body) == (200, {"messages": []})
    # Alone it takes four calls.
    assert time.monotonic() - started > 0.2


# -- beyond the recordings: authentik's algorithm, permissions, failures --------------------------------------------


def test_each_page_lists_the_directory_writes_everything_and_inserts_every_member(server):
    if server.version != OLD:
        server.sandbox.control("PATCH", "authentik/providers/1", {"sync_page_size": 4})
    server.sync()
    group = next(item for item in server.sandbox.google_state()["groups"] if item["name"] == "Team One")
    server.sandbox.control("POST", f"google/groups/{group['id']}/members", {"email": "heidi@example.com"})
    server.sandbox.control("DELETE", f"google/groups/{group['id']}/members/alice@example.com")
    if server.version != NEW:
        # Members change a group's record, and servers before 2025.10 would stop at that.
        for row in server.get("/providers/google_workspace_groups/")["results"]:
            server.api("DELETE", f"/providers/google_workspace_groups/{row['id']}/")
    server.sandbox.clear_requests()
    server.sync()
    calls = google_calls(server.sandbox)
    # Ten people and four groups; only 2025.12 has pages of another size than 100.
    pages = {"users": 3, "groups": 1} if server.version == NEW else {"users": 1, "groups": 1}
    assert [calls.count(f"GET {kind} 200") for kind in pages] == list(pages.values())
    assert calls.count("GET customer/my_customer/domains 200") == sum(pages.values())
    assert calls.count("PUT users/{key} 200") == 7
    assert calls.count("PUT groups/{key} 200") == 4
    members = [item for item in calls if "/members" in item]
    # akadmin's group, and the three of Team One: only the one that was missing is new, and nobody is removed.
    assert sorted(members) == [*["POST groups/{key}/members 200"], *["POST groups/{key}/members 409"] * 3]
    group = next(item for item in server.sandbox.google_state()["groups"] if item["name"] == "Team One")
    names = [member["email"].partition("@")[0] for member in group["members"]]
    assert sorted(names) == ["alice", "bob", "carol", "heidi"]
    if server.version != OLD:
        uids = [task["uid"].rpartition("objects:")[2] for task in server.pages()[-sum(pages.values()) :]]
        assert sorted(uids) == sorted(
            f"gws:{kind[:-1]}:{number}" for kind, count in pages.items() for number in range(1, count + 1)
        )


def test_who_may_start_one(tasks_server):
    server = tasks_server
    schedule = server.schedule()["id"]
    path = f"/tasks/schedules/{schedule}/"
    send, add = f"{SCHEDULES}.send_schedule", f"{SCHEDULES}.add_schedule"
    for permissions in ((), (send,), (add,), (f"{SCHEDULES}.view_schedule",)):
        reply = server.api("POST", path + "send/", token=server.token(*permissions))
        assert (reply.status, reply.body) == (403, NOT_ALLOWED)
    assert server.tasks() == []
    assert server.api("POST", path + "send/", token=server.token(send, add)).status == 200
    see, change = f"{SCHEDULES}.view_schedule", f"{SCHEDULES}.change_schedule"
    for listing in (path, "/tasks/schedules/"):
        assert server.api("GET", listing, token=server.token()).body == NOT_ALLOWED
        assert server.api("GET", listing, token=server.token(see)).status == 200
    rights: list[tuple[tuple[str, ...], int]] = [((see,), 403), ((change,), 403), ((see, change), 200)]
    for given, status in rights:
        assert server.api("PATCH", path, body={"paused": True}, token=server.token(*given)).status == status
    if server.version == MIDDLE:
        recorded = shown(MIDDLE, "62h")
        reply = server.api("POST", path + "send/", token=server.token())
        assert (reply.status, reply.body) == (recorded["status"], recorded["body"])


def test_who_may_run_one_again_2024_8(old):
    old.sync()
    (row,) = old.get(ROW)["results"]
    see, run = "authentik_events.view_systemtask", "authentik_events.run_task"
    for permissions, status in (((), 403), ((see,), 403), ((run,), 403), ((see, run), 204)):
        assert old.api("POST", f"{ROW}{row['uuid']}/run/", token=old.token(*permissions)).status == status
    assert old.api("GET", ROW, token=old.token()).body == NOT_ALLOWED
    provider = "authentik_providers_google_workspace.view_googleworkspaceprovider"
    assert old.api("GET", STATUS, token=old.token(provider)).body["tasks"] == []
    assert len(old.api("GET", STATUS, token=old.token(provider, see)).body["tasks"]) == 1
    nothing = old.api("POST", f"{ROW}00000000-0000-4000-8000-000000000000/run/")
    assert (nothing.status, nothing.body) == (404, {"detail": "Not found."})


def test_a_schedule_is_paused_and_moved_and_can_be_sent_all_the_same(tasks_server):
    server = tasks_server
    path = f"/tasks/schedules/{server.schedule()['id']}/"
    changed = server.api("PATCH", path, body={"crontab": "*/20 1-3 * * 0,6"}).body
    assert (changed["crontab"], changed["next_run"][11:13] in ("01", "02", "03")) == ("*/20 1-3 * * 0,6", True)
    paused = server.api("PATCH", path, body={"paused": True}).body
    assert (paused["paused"], paused["next_run"]) == (True, "1970-01-01T00:00:00Z")
    for wrong in ("every day", "61 * * * *", "* * * *", "*/0 * * * *"):
        reply = server.api("PATCH", path, body={"crontab": wrong})
        assert (reply.status, reply.body) == (400, {"crontab": [f"{wrong} is not a valid crontab"]})
    assert server.get(path) == paused
    assert server.get("/tasks/schedules/", paused="false")["results"] == []
    server.sync()
    assert server.tasks()[0]["state"] == "done"


def test_a_provider_without_an_application(server):
    if server.version == OLD:
        server.sync()
        before = server.get(ROW)["results"]
        server.sandbox.control("PATCH", "authentik/providers/1", {"application": None})
        server.sandbox.clear_requests()
        assert server.api("POST", f"{ROW}{before[0]['uuid']}/run/").status == 204
        server.until(lambda: len(server.sandbox.control("GET", "authentik/state")["tasks"]) > 3)
        assert server.get(ROW)["results"] == before
    else:
        server.sandbox.control("PATCH", "authentik/providers/1", {"application": None})
        server.sync()
        (task,) = server.tasks()
        (line,) = [line for line in reduced(task)["lines"] if line[0] == "warning"]
        assert line[1] == "No provider found. Is it assigned to an application?"
        assert server.pages() == []
    assert server.sandbox.google_requests() == []


def test_a_page_that_is_given_up_takes_its_parent_along(tasks_server):
    """By dramatiq's rules: waiting for a result that is a failure raises, so no group is synced, and all is retried."""
    server = tasks_server
    server.set(retry_ms=1)
    server.sandbox.fault("google", method="GET", path=r"/users(\?|$)", times=-1, status=500, reason="backendError")
    server.send()
    server.ended(seconds=30)
    (parent,) = server.tasks()
    assert parent["state"] == "rejected"
    name = "logs" if server.version == NEW else "messages"
    error = next(line for line in parent[name] if line["log_level"] == "error")
    assert error["event"].startswith("actor raised HttpError: <HttpError 500 when requesting")
    assert len(server.pages()) == 6
    assert {task["state"] for task in server.pages()} == {"rejected"}
    assert server.get(STATUS)["is_running"] is False
    assert server.get(STATUS)["last_sync_status"] == "rejected"


def test_a_page_that_crashes_ends_everything_2024_8(old):
    old.sync()
    old.sandbox.control("PATCH", "google/users/bob@example.com", {"name": {"givenName": "Eve"}})
    old.sandbox.clear_requests()
    old.sync()
    (row,) = old.get(ROW)["results"]
    assert row["status"] == "error"
    (line,) = row["messages"]
    assert (line["log_level"], line["logger"]) == ("error", "google_workspace_sync")
    assert line["event"].startswith("Traceback (most recent call last):\n")
    assert "duplicate key value violates unique constraint" in line["event"]
    assert "GET groups 200" not in google_calls(old.sandbox)


def test_a_dry_run_writes_rows_and_nothing_else(running):
    server = running(NEW)
    server.sandbox.control("PATCH", "authentik/providers/1", {"dry_run": True})
    server.sandbox.control(
        "POST",
        "google/users",
        {"primaryEmail": "heidi@example.com", "name": {"givenName": "Heidi", "familyName": "Hall"}},
    )
    server.sync()
    assert {item.split()[0] for item in google_calls(server.sandbox)} == {"POST", "GET"}
    assert [item for item in google_calls(server.sandbox) if item.startswith("POST")] == ["POST token 200"] * 2
    (row,) = server.get("/providers/google_workspace_users/")["results"]
    assert row["google_id"] == "heidi@example.com"
    (page,) = [task for task in server.pages() if task["uid"].endswith("user:1")]
    dropped = [line for line in page["logs"] if line["event"] == "Dropping mutating request due to dry run"]
    assert len(dropped) == 8


def test_a_reset_ends_a_full_sync_and_frees_its_lock(running):
    server = running(NEW)
    server.sandbox.control("POST", "google/settings", {"latency_ms": 200})
    server.send()
    server.until(lambda: server.get(STATUS)["is_running"])
    server.sandbox.reset()
    assert server.get(STATUS) == {"is_running": False}
    server.sync()
    assert server.tasks()[0]["state"] == "done"
    assert len(server.pages()) == 2


def test_saving_a_provider_starts_one(tasks_server):
    server = tasks_server
    server.set(licensed=True, signals=True)
    assert server.api("PATCH", PROVIDER, body={"name": "gws"}).status == 200
    server.ended()
    assert len(server.pages()) == 2
