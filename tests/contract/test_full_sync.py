# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""authentik's own sync of a whole directory through the collection: what the result says is what Google holds."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.api import Authentik
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.full_sync import ScheduledRun
from tests.contract.http import call
from tests.sandbox.process import Sandbox
from tests.support.clock import running_faster
from tests.support.google import unvaried
from tests.support.module import ModuleRun, reaching, run_module

HERE = Path(__file__).parent
OLD, MIDDLE, NEW = "2024.8.1", "2025.8.6", "2025.12.4"
GWS = "authentik_providers_google_workspace"
REFUSED = ("outsider", "noemail", "mononym")
EVERYTHING = {
    OLD: ("authentik_events.view_systemtask", "authentik_events.run_task"),
    MIDDLE: (
        "authentik_tasks_schedules.view_schedule",
        "authentik_tasks_schedules.send_schedule",
        # Read in authentik's source; no real server has it to give.
        "authentik_tasks_schedules.add_schedule",
        "authentik_tasks.view_task",
    ),
}
EVERYTHING[NEW] = EVERYTHING[MIDDLE]
ALWAYS = (
    f"{GWS}.view_googleworkspaceprovider",
    f"{GWS}.view_googleworkspaceprovideruser",
    f"{GWS}.view_googleworkspaceprovidergroup",
    "authentik_core.view_user",
    "authentik_core.view_group",
)


def run_full_sync(params: dict[str, Any], check: bool = False, **more: Any) -> ModuleRun:
    return run_module({"engine": "server", **params}, module="google_workspace_sync", check=check, **more)


class Server:
    """A sandbox in which everybody can be synced, on its way through a test."""

    def __init__(self, sandbox: Sandbox, version: str) -> None:
        self.sandbox = sandbox
        self.version = version
        # Requests that a test itself makes to authentik while the collection runs.
        self.own = 0

    def api(self, method: str, path: str, **more: Any) -> Any:
        self.own += 1
        reply = call(self.sandbox, method, "/api/v3" + path, **more)
        assert reply.status in (200, 204), reply
        return reply.body

    def begin(self) -> None:
        self.sandbox.reset()
        self.set(retry_ms=60000)
        for name in REFUSED:
            self.control("DELETE", f"authentik/users/{name}")

    def control(self, method: str, path: str, body: Any = None) -> Any:
        return self.sandbox.control(method, path, body)

    def set(self, **settings: Any) -> None:
        self.control("POST", "authentik/settings", settings)

    def google(self, **settings: Any) -> None:
        self.control("POST", "google/settings", settings)

    def provider(self, **fields: Any) -> None:
        self.control("PATCH", "authentik/providers/1", fields)

    def once(self) -> None:
        """A full sync that went well, some time ago: servers up to 2025.6 can only run one again."""
        self.set(licensed=True, signals=True)
        self.api("PATCH", "/providers/google_workspace/1/", body={"name": "gws"})
        self.set(licensed=False, signals=False)
        self.until(lambda: self.ended() and not self.running())
        self.fresh_rows("group")
        self.sandbox.clear_requests()

    def fresh_rows(self, kind: str) -> None:
        """Without the rows of before members came: servers before 2025.10 stop at those."""
        for row in self.control("GET", "authentik/state")["connections"]:
            if row["kind"] == kind and self.version != NEW:
                self.control("DELETE", f"authentik/connections/{row['id']}")

    def tasks(self, name: str = "google_workspace_sync") -> list[dict]:
        found = self.control("GET", "authentik/state")["tasks"]
        return [task for task in found if task["actor_name"].endswith("." + name)]

    def ended(self) -> bool:
        tasks = self.tasks()
        return bool(tasks) and all(task["state"] in ("done", "rejected") for task in tasks)

    def running(self) -> bool:
        return self.api("GET", "/providers/google_workspace/1/sync/status/")["is_running"]

    def send(self) -> None:
        """Start one past the module."""
        if self.version == OLD:
            (row,) = self.api("GET", "/events/system_tasks/")["results"]
            self.api("POST", f"/events/system_tasks/{row['uuid']}/run/")
        else:
            (schedule,) = self.api("GET", "/tasks/schedules/")["results"]
            self.api("POST", f"/tasks/schedules/{schedule['id']}/send/")

    @staticmethod
    def until(condition: Any, seconds: float = 10) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()) and time.monotonic() < deadline:
            time.sleep(0.03)
        assert found
        return found

    def sync(self, check: bool = False, **options: Any) -> ModuleRun:
        """Run it, and hold the result against what Google held before and after."""
        before = unvaried(self.sandbox.google_state())
        self.sandbox.clear_requests()
        self.own = 0
        params = {**reaching(self.sandbox), "sync_timeout": 20, "google_wait": 3, "request_timeout": 5, **options}
        if "provider_name" in options:
            del params["provider_id"]
        run = run_full_sync(params, check=check)
        result = run.result
        sent = self.sandbox.authentik_requests()
        assert result["calls"]["authentik"] == len(sent) - self.own
        if result["basis"] == "google":
            assert result["changed"] == (before != unvaried(self.sandbox.google_state()))
        if result["basis"] == "nothing_sent" or check:
            assert [item for item in sent if item["method"] != "GET" and item["status"] != 403] == []
        for kind, counts in result["counts"].items():
            parts = ("unchanged", "created", "updated", "out_of_scope", "failed", "unconfirmed")
            if result["messages_source"] != "unavailable":
                assert sum(counts[part] for part in parts) == counts["total"], (kind, counts)
        assert run.failed == (result["status"] == "failed")
        assert "msg" in result or not run.failed
        for secret in ("pbkdf2_sha256$", "PRIVATE KEY", params["authentik_token"]):
            assert secret not in run.output
        return run

    def token(self, lacking: str = "") -> str:
        permissions = [item for item in (*ALWAYS, *EVERYTHING[self.version]) if item.split(".")[1] != lacking]
        body = {"username": "robot", "permissions": permissions}
        return self.control("POST", "authentik/tokens", body)["token"]


@pytest.fixture(scope="module")
def running(sandboxes):
    """Sandboxes by version, started when first asked for."""
    servers: dict[str, Server] = {}
    stack = contextlib.ExitStack()

    def get(version: str) -> Server:
        if version not in servers:
            servers[version] = Server(
                stack.enter_context(sandboxes(dataset=HERE / "dataset.json", authentik_version=version)), version
            )
        servers[version].begin()
        return servers[version]

    with stack:
        yield get


@pytest.fixture(params=[OLD, MIDDLE, NEW])
def server(running, request):
    """A server whose directory stands at Google."""
    server = running(request.param)
    server.once()
    return server


@pytest.fixture(params=[MIDDLE, NEW])
def tasks_server(running, request):
    server = running(request.param)
    server.once()
    return server


@pytest.fixture
def new(running):
    return running(NEW)


@pytest.fixture
def old(running):
    server = running(OLD)
    server.once()
    return server


def counted(run: ModuleRun, kind: str) -> dict[str, int]:
    return {key: value for key, value in run.result["counts"][kind].items() if value}


def changed(run: ModuleRun) -> dict[str, tuple[str, list[str]]]:
    return {item["name"]: (item["action"], [c["path"] for c in item["changes"]]) for item in run.result["changes"]}


def failed(run: ModuleRun) -> dict[str, str]:
    return {item["name"]: item["code"] for item in run.result["failed_objects"]}


# -- what went well -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [MIDDLE, NEW])
def test_the_first_one_makes_everything(running, version):
    server = running(version)
    run = server.sync()
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("synced", True, "google")
    assert counted(run, "users") == {"total": 7, "created": 7}
    assert counted(run, "groups") == {"total": 4, "created": 4, "members_added": 4}
    assert changed(run)["Team One"] == ("created", ["email", "name", "members"])
    assert run.result["changes_total"] == 11
    assert run.warnings == []
    assert run.result["messages_source"] == "task_log"
    tasks = server.control("GET", "authentik/state")["tasks"]
    lines = [line for task in tasks for line in task.get("logs", task.get("messages"))]
    assert [item["timestamp"] for item in run.result["messages"]] == sorted(line["timestamp"] for line in lines)


def test_the_next_one_changes_nothing(server):
    run = server.sync()
    assert (run.result["changed"], run.result["basis"], run.failed) == (False, "google", False)
    # A server that does not tell whether it reached Google leaves it open.
    assert run.result["status"] == ("unconfirmed" if server.version == OLD else "unchanged")
    assert counted(run, "users") == {"total": 7, "unchanged": 7}
    assert counted(run, "groups") == {"total": 4, "unchanged": 4}
    assert run.result["changes"] == []
    assert ["does not tell" in text for text in run.warnings] == ([True] if server.version == OLD else [])


def test_it_costs_few_requests(tasks_server):
    run = tasks_server.sync()
    # Version, provider, schedule, baseline, workers, users, groups; rows twice; status, start; task list, the task, the
    # list again and the pages.
    assert run.result["calls"]["authentik"] <= 19
    # Two listings and the members of two groups, before and after.
    ours = [item for item in tasks_server.sandbox.google_requests() if "fields" in item["query"]]
    assert len(ours) == run.result["calls"]["google"] == 8


def test_a_drift_is_repaired_and_seen(running):
    server = running(NEW)
    server.once()
    server.control("PATCH", "google/users/bob@example.com", {"name": {"givenName": "Eve"}})
    server.control("DELETE", "google/users/carol@example.com")
    team = next(item for item in server.sandbox.google_state()["groups"] if item["name"] == "Team One")
    server.control("DELETE", f"google/groups/{team['id']}/members/alice@example.com")
    server.control("PATCH", f"google/groups/{team['id']}", {"description": "not authentik's business"})
    run = server.sync()
    assert (run.result["status"], run.result["changed"]) == ("synced", True)
    made = {"bob": ("updated", ["name.displayName", "name.givenName"]), "Team One": ("updated", ["members"])}
    found = changed(run)
    assert found.pop("carol")[0] == "created"
    assert found == made
    assert counted(run, "groups") == {"total": 4, "unchanged": 3, "updated": 1, "members_added": 2}
    (group,) = [item for item in run.result["changes"] if item["name"] == "Team One"]
    assert group["changes"] == [{"path": "members", "added": ["alice@example.com", "carol@example.com"], "removed": []}]


def test_what_authentik_changed_reaches_google(server):
    server.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    server.control("POST", "authentik/users", {"username": "zoe", "name": "Zoe Zed", "email": "zoe@example.com"})
    server.control("POST", "authentik/groups/Team One/members", {"username": "zoe"})
    run = server.sync()
    assert (run.result["status"], run.result["changed"]) == ("synced", True)
    assert changed(run)["alice"][0] == "updated"
    assert changed(run)["zoe"][0] == "created"
    assert changed(run)["Team One"] == ("updated", ["members"])
    assert counted(run, "users") == {"total": 8, "unchanged": 6, "created": 1, "updated": 1}


def test_an_account_that_was_there_is_taken_over(tasks_server):
    server = tasks_server
    server.control("POST", "authentik/users", {"username": "zoe", "name": "Zoe Zed", "email": "zoe@example.com"})
    server.control(
        "POST", "google/users", {"primaryEmail": "zoe@example.com", "name": {"givenName": "Zo", "familyName": "Zed"}}
    )
    run = server.sync()
    assert run.result["status"] == "synced"
    assert changed(run)["zoe"] == ("updated", ["name.displayName", "name.givenName"])


def test_who_is_out_of_scope_is_counted(new):
    new.provider(exclude_users_service_account=True)
    run = new.sync()
    assert counted(run, "users") == {"total": 7, "created": 6, "out_of_scope": 1}


def test_what_a_mapping_leaves_out_is_told(new):
    body = {"name": "zz", "expression": 'if user.username == "bob":\n    raise SkipObject\nreturn {}', "model": "user"}
    new.control("POST", "authentik/mappings", body)
    run = new.sync()
    assert run.result["status"] == "synced"
    assert counted(run, "users") == {"total": 7, "created": 6, "out_of_scope": 1}
    assert any("user bob" in text and "SkipObject" in text for text in run.warnings)
    # Bob is a member of Team One, and cannot be one at Google.
    assert run.result["counts"]["groups"]["members_skipped"] == 1
    assert any("left out members" in text and "bob" in text for text in run.warnings)


def test_pages_of_another_size(new):
    new.provider(sync_page_size=2)
    run = new.sync()
    assert run.result["status"] == "synced"
    assert len(new.tasks("google_workspace_sync_objects")) == 6
    assert counted(run, "users") == {"total": 7, "created": 7}
    assert sum(item["event"].startswith("Syncing page") for item in run.result["messages"]) == 6


# -- what failed --------------------------------------------------------------------------------------------------


def test_an_object_that_fails_is_named_and_the_others_go_on(server):
    for name, email in (("olga", "olga@elsewhere.test"), ("zoe", "zoe@example.com")):
        server.control("POST", "authentik/users", {"username": name, "name": name.title() + " Zed", "email": email})
    run = server.sync()
    assert (run.failed, run.result["status"], run.result["code"]) == (True, "failed", "objects")
    assert run.result["msg"].startswith(
        "1 of 13 objects were not synced; the first, user olga: Invalid email domain: olga@elsewhere.test. "
    )
    assert failed(run) == {"olga": "sync_failed"}
    (item,) = run.result["failed_objects"]
    assert (item["pk"], item["model"], item["google_id"]) == ("15", "authentik.core.models.User", None)
    assert changed(run)["zoe"][0] == "created"
    assert counted(run, "users") == {"total": 9, "unchanged": 7, "created": 1, "failed": 1}


def test_failing_objects_need_not_fail_the_task(tasks_server):
    server = tasks_server
    server.control("POST", "authentik/users", {"username": "olga", "name": "O O", "email": "olga@elsewhere.test"})
    params = {**reaching(server.sandbox), "sync_timeout": 20}
    for option in ({"fail_on_objects": False}, {"fail_on": ["error"]}):
        run = run_full_sync({**params, **option})
        assert (run.failed, run.result["status"]) == (False, "failed")
        assert any("olga" in text for text in run.warnings)


def test_a_password_hash_in_a_message_is_masked(tasks_server):
    """Google refuses a one-word name, and authentik quotes what it sent."""
    server = tasks_server
    server.control("POST", "authentik/users", {"username": "cher", "name": "Cher", "email": "cher@example.com"})
    run = server.sync()
    (line,) = [item for item in run.result["messages"] if item["event"].startswith("Failed to sync cher")]
    assert "********" in line["event"]
    assert "********" in json.dumps(line["attributes"])
    assert failed(run) == {"cher": "sync_failed"}
    assert "Invalid Given/Family Name" in run.result["msg"]


def test_a_group_that_fails_is_named(tasks_server):
    server = tasks_server
    server.sandbox.fault(
        "google", method="POST", path=r"/members", times=1, status=403, reason="forbidden", message="Not Authorized"
    )
    run = server.sync()
    assert run.result["status"] == "failed"
    assert set(failed(run).values()) == {"sync_failed"}
    (name,) = failed(run)
    assert name in ("Team One", "authentik Admins")
    assert "Google answered 403: Not Authorized" in run.result["msg"]


def test_a_mapping_that_fails_stops_its_page(tasks_server):
    server = tasks_server
    expression = 'if user.username == "carol":\n    raise ValueError("x")\nreturn {}'
    server.control("POST", "authentik/mappings", {"name": "zz", "expression": expression, "model": "user"})
    server.control("PATCH", "authentik/users/heidi", {"name": "Heidi Other"})
    run = server.sync()
    assert run.result["status"] == "failed"
    assert failed(run) == {"carol": "sync_failed", "page 1 of users": "sync_failed"}
    # Those after her by primary key: heidi, inactive, robot; it is known that they were not written.
    assert counted(run, "users") == {"total": 7, "unchanged": 3, "failed": 4}
    assert "property mapping 'zz' fails" in run.result["msg"]
    (page,) = [item for item in run.result["failed_objects"] if item["pk"] is None]
    assert page["msg"].startswith("Page 1 of users was not synced: property mapping 'zz' fails")


def test_google_out_of_reach_for_authentik(tasks_server):
    """Its pages end without a word, and the task is done."""
    server = tasks_server
    server.sandbox.fault("google", method="GET", path="/domains", times=-1, status=503, reason="backendError")
    run = server.sync()
    assert (run.result["status"], run.result["changed"], run.result["code"]) == ("failed", False, "google_not_reached")
    assert "page 1 of users, page 1 of groups: authentik did not begin with it" in run.result["msg"]
    assert counted(run, "users") == {"total": 7, "failed": 7}


def test_google_out_of_reach_for_a_server_that_tells_nothing(old):
    old.sandbox.fault("google", method="GET", path="/domains", times=-1, status=503, reason="backendError")
    run = old.sync()
    assert (run.result["status"], run.result["changed"]) == ("unconfirmed", False)
    assert any("does not tell when it cannot reach Google" in text for text in run.warnings)


def test_one_page_out_of_reach(new):
    new.once()
    new.provider(sync_page_size=3)
    # Pages are worked at one after the other, as the parent keeps one of two workers.
    new.sandbox.fault("google", method="GET", path="/domains", skip=1, status=503, reason="backendError")
    new.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    run = new.sync()
    assert (run.result["status"], run.result["changed"]) == ("failed", True)
    assert failed(run) == {"page 2 of users": "google_not_reached"}
    assert counted(run, "users") == {"total": 7, "unchanged": 3, "updated": 1, "failed": 3}


def test_a_page_that_crashes_and_is_given_up(new):
    new.once()
    new.provider(sync_page_size=3)
    new.set(retry_ms=1)
    # The second page of users, in each of its six attempts, and its parent's five further ones.
    new.sandbox.fault(
        "google", method="PUT", path=r"/users/heidi", times=-1, status=409, reason="duplicate", message="exists"
    )
    new.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    new.control("PATCH", "authentik/users/carol", {"name": "Carol Other"})
    with running_faster(5):
        run = new.sync(sync_timeout=120)
    assert (run.result["status"], run.result["changed"], run.result["code"]) == ("failed", True, "sync_failed")
    assert changed(run)["alice"][0] == changed(run)["carol"][0] == "updated"
    codes = failed(run)
    assert codes["page 2 of users"] == codes["groups"] == "crashed"
    # Carol stands on the page that crashed: that she changed is seen, that it was all is not.
    assert codes["carol"] == "unconfirmed"
    assert "page 2 of users: Google answered 409: exists" in run.result["msg"]
    assert "groups: the full sync crashed: actor raised ObjectExistsSyncException" in run.result["msg"]
    (page,) = [item for item in run.result["failed_objects"] if item["name"] == "page 2 of users"]
    assert page["msg"].endswith("Left in doubt: carol, heidi, inactive.")


def test_a_page_that_goes_through_at_its_second_attempt(new):
    new.once()
    new.set(retry_ms=200)
    new.sandbox.fault("google", method="GET", path=r"/users(\?|$)", status=500, reason="backendError", skip=1)
    new.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    run = new.sync()
    assert (run.result["status"], run.result["changed"]) == ("synced", True)
    assert sum(item["event"] == "Task will be retried" for item in run.result["messages"]) == 1
    assert any(item["log_level"] == "error" for item in run.result["messages"])


def test_a_row_that_stops_everything_is_named(running):
    server = running(MIDDLE)
    server.once()
    server.control("PATCH", "google/users/bob@example.com", {"name": {"givenName": "Eve"}})
    run = server.sync(sync_timeout=2)
    assert (run.result["status"], run.result["code"], run.result["changed"]) == ("failed", "sync_unfinished", False)
    assert "1 connection differs from Google's records and stops every sync of users" in run.result["msg"]
    assert "bob@example.com of user 7" in run.result["msg"]
    assert "may still run" in run.result["msg"]


def test_a_row_that_stops_everything_ends_the_whole_sync_2024_8(old):
    old.control("PATCH", "google/users/bob@example.com", {"name": {"givenName": "Eve"}})
    run = old.sync()
    assert (run.result["status"], run.result["code"], run.result["changed"]) == ("failed", "sync_failed", False)
    assert "users, groups: the full sync crashed" in run.result["msg"]
    assert "bob@example.com of user 7" in run.result["msg"]
    assert counted(run, "users") == {"total": 7, "unconfirmed": 7}
    (line,) = run.result["messages"]
    assert line["log_level"] == "error"


# -- before it begins ---------------------------------------------------------------------------------------------


def test_without_a_worker_nothing_is_sent(server):
    server.set(worker=False)
    run = server.sync()
    assert (run.result["status"], run.result["code"], run.result["basis"]) == ("failed", "no_worker", "nothing_sent")
    assert "No worker of authentik is running" in run.result["msg"]


def test_without_an_application_nothing_is_sent(server):
    server.provider(application=None)
    run = server.sync()
    assert (run.result["status"], run.result["code"], run.result["basis"]) == ("failed", "not_assigned", "nothing_sent")
    assert "backchannel provider" in run.result["msg"]


def test_the_main_provider_of_an_application_is_synced(tasks_server):
    tasks_server.provider(main_application=True)
    assert tasks_server.sync().result["status"] == "unchanged"


def test_a_provider_that_is_not_there(server):
    run = server.sync(provider_id=99)
    assert (run.failed, run.result["code"]) == (True, "authentik_not_found")
    run = server.sync(provider_name="other")
    assert (run.failed, run.result["code"]) == (True, "authentik_not_found")
    assert server.sync(provider_name="gws").failed is False


def test_a_paused_schedule_is_sent_all_the_same(tasks_server):
    (schedule,) = tasks_server.api("GET", "/tasks/schedules/")["results"]
    tasks_server.api("PATCH", f"/tasks/schedules/{schedule['id']}/", body={"paused": True})
    assert tasks_server.sync().result["status"] == "unchanged"


def test_an_old_server_that_never_ran_one(running):
    server = running(OLD)
    run = server.sync()
    assert (run.result["status"], run.result["code"], run.result["basis"]) == (
        "failed",
        "no_full_sync_yet",
        "nothing_sent",
    )
    assert "Save the provider once in authentik" in run.result["msg"]
    assert server.tasks() == []


def test_two_providers_that_an_old_server_cannot_tell_apart(old):
    old.control("POST", "authentik/providers", {"name": "GWS", "application": "other"})
    run = old.sync()
    assert (run.result["code"], run.result["basis"]) == ("ambiguous", "nothing_sent")
    assert "the providers gws and GWS" in run.result["msg"]


def test_one_that_runs_already_is_waited_for(server, monkeypatch):
    asked = Authentik.is_full_sync_running

    def seen(self, provider):
        found = asked(self, provider)
        if found:
            # From then on nothing need be slow.
            server.google(latency_ms=0)
        return found

    monkeypatch.setattr(Authentik, "is_full_sync_running", seen)
    server.google(latency_ms=200)
    server.sandbox.clear_requests()
    server.send()
    server.until(lambda: any("akadmin" in item["path"] for item in server.sandbox.google_requests()))
    # The first one has passed akadmin by now, and ours has not.
    server.control("PATCH", "authentik/users/akadmin", {"name": "Other Admin"})
    with running_faster(5):
        run = server.sync(sync_timeout=100)
    assert (run.result["status"], run.result["changed"]) == ("synced", True)
    assert changed(run) == {"akadmin": ("updated", ["name.displayName", "name.familyName", "name.givenName"])}
    assert any("was running already. It was waited for" in text for text in run.warnings)
    assert len(server.tasks()) == 3


def test_one_that_runs_for_too_long(tasks_server):
    server = tasks_server
    server.google(latency_ms=300)
    server.send()
    server.until(server.running)
    run = server.sync(sync_timeout=1)
    assert (run.result["code"], run.result["basis"]) == ("already_running", "nothing_sent")
    assert "No other one was started" in run.result["msg"]


def test_one_that_takes_the_lock_at_the_same_moment(new, monkeypatch):
    """Between our look and our start another one begins: ours is skipped, and started again after it."""
    new.once()
    start = ScheduledRun.start
    starts = []

    def too_late(self):
        starts.append(self)
        if len(starts) == 1:
            new.google(latency_ms=900)
            new.send()
            new.until(new.running)
            # So long before ours that it cannot be taken for it, also where the server's clock was read late.
            time.sleep(6)
            before = {task["message_id"] for task in new.tasks()}
            start(self)
            # Ours has found the lock taken once it has ended. From then on nothing need be slow.
            new.until(lambda: [t for t in new.tasks() if t["message_id"] not in before and t["state"] == "done"])
            assert new.running()
            new.google(latency_ms=0)
        else:
            start(self)

    monkeypatch.setattr(ScheduledRun, "start", too_late)
    with running_faster(5):
        run = new.sync(sync_timeout=200)
    assert len(starts) == 2
    assert run.result["status"] == "unchanged"
    assert any("was running already" in text for text in run.warnings)


def test_two_that_cannot_be_told_apart(new, monkeypatch):
    """Somebody else starts one within the same second: both are followed to the end, and no messages are claimed."""
    new.once()
    new.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    send = Authentik.send_schedule

    def twice(self, schedule):
        send(self, schedule)
        new.send()

    monkeypatch.setattr(Authentik, "send_schedule", twice)
    run = new.sync()
    assert (run.result["status"], run.result["changed"], run.failed) == ("unconfirmed", True, False)
    assert (run.result["messages"], run.result["messages_source"]) == ([], "unavailable")
    assert any("does not tell which was ours" in text for text in run.warnings)
    assert changed(run)["alice"][0] == "updated"
    assert new.ended()


# -- permissions --------------------------------------------------------------------------------------------------


def test_with_every_permission_it_works(server):
    assert server.sync(authentik_token=server.token()).failed is False


NEEDED = [
    (version, permission.split(".")[1])
    for version in (OLD, MIDDLE, NEW)
    for permission in (*EVERYTHING[version], f"{GWS}.view_googleworkspaceprovider", *ALWAYS[3:])
]


@pytest.mark.parametrize(("version", "lacking"), NEEDED)
def test_a_permission_that_is_needed(running, version, lacking):
    server = running(version)
    server.once()
    token = server.token(lacking)
    run = server.sync(authentik_token=token)
    assert (run.failed, run.result["changed"]) == (True, False)
    assert run.result["code"] in ("authentik_forbidden", "authentik_not_found")
    name = "send_schedule" if lacking == "add_schedule" else lacking
    assert f".{name} " in run.result["msg"]
    assert token not in run.output
    if lacking in ("add_schedule", "send_schedule"):
        assert "superuser" in run.result["msg"]
    assert len(server.tasks()) == 1


@pytest.mark.parametrize("kind", ["user", "group"])
def test_connections_that_may_not_be_read(tasks_server, kind):
    """Google is looked at by addresses and names then."""
    server = tasks_server
    server.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    server.control("POST", "authentik/groups/Team One/members", {"username": "heidi"})
    run = server.sync(authentik_token=server.token(f"view_googleworkspaceprovider{kind}"))
    assert (run.result["status"], run.result["basis"]) == ("synced", "google")
    assert changed(run)["alice"][0] == "updated"
    assert changed(run)["Team One"] == ("updated", ["members"])
    assert any("connections cannot be read" in text for text in run.warnings)


def test_neither_connections_nor_google(tasks_server):
    run = tasks_server.sync(authentik_token=tasks_server.token("view_googleworkspaceprovideruser"), verify="connection")
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("unconfirmed", True, "assumed")
    assert any("Neither Google nor authentik's connections" in text for text in run.warnings)


# -- where it looks -----------------------------------------------------------------------------------------------


def test_by_authentiks_record_alone(tasks_server):
    server = tasks_server
    server.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    server.control("POST", "authentik/users", {"username": "zoe", "name": "Zoe Zed", "email": "zoe@example.com"})
    run = server.sync(verify="connection")
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("synced", True, "connection")
    assert changed(run)["alice"] == ("updated", ["name.displayName", "name.familyName"])
    assert changed(run)["zoe"][0] == "created"
    assert run.result["calls"]["google"] == 0


def test_members_are_not_in_authentiks_record(new):
    new.once()
    run = new.sync(verify="connection")
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("unconfirmed", True, "assumed")
    assert any("Whether members of groups were added cannot be seen" in text for text in run.warnings)
    for name in ("Team One", "authentik Admins"):
        new.control("DELETE", f"authentik/groups/{name}")
    run = new.sync(verify="connection")
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("unchanged", False, "connection")


def test_without_a_look_nothing_is_claimed(tasks_server):
    run = tasks_server.sync(verify="none")
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("unconfirmed", True, "assumed")
    assert run.result["calls"]["google"] == 0


def test_without_a_look_a_failure_is_told_all_the_same(tasks_server):
    server = tasks_server
    server.control("POST", "authentik/users", {"username": "olga", "name": "O O", "email": "olga@elsewhere.test"})
    run = server.sync(verify="none")
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("failed", True, "assumed")
    (olga,) = run.result["failed_objects"]
    listed = server.control("GET", "authentik/state")["users"]
    assert olga["pk"] == next(str(user["pk"]) for user in listed if user["username"] == "olga")
    assert (olga["name"], olga["code"]) == ("olga", "sync_failed")
    assert counted(run, "users") == {"total": 8, "unconfirmed": 7, "failed": 1}


def test_google_that_may_not_be_read(tasks_server):
    server = tasks_server
    server.google(delegated_scopes=[])
    run = server.sync(verify="google")
    assert (run.failed, run.result["basis"]) == (True, "nothing_sent")
    assert run.result["code"].startswith("google_")
    assert server.tasks()[-1]["state"] == "done"
    assert len(server.tasks()) == 1


def test_google_that_gets_lost_before_the_first_look(new):
    new.once()
    new.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    new.sandbox.fault("google", method="GET", path=r"/groups/[^/]+/members", times=-1, status=403, reason="forbidden")
    run = new.sync()
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("synced", True, "connection")
    assert changed(run)["alice"] == ("updated", ["name.displayName", "name.familyName"])
    run = new.sync(verify="google")
    assert (run.failed, run.result["basis"], run.result["changed"]) == (True, "nothing_sent", False)


def test_google_that_gets_lost_between_the_looks(new):
    new.once()
    new.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    # Ours alone: authentik's listings name no fields.
    new.sandbox.fault(
        "google", method="GET", path=r"/groups/[^/]+/members", skip=2, times=-1, status=403, reason="forbidden"
    )
    run = new.sync()
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("synced", True, "connection")
    assert changed(run)["alice"] == ("updated", ["name.displayName", "name.familyName"])
    assert any("Google could not be looked at" in text for text in run.warnings)


def test_reads_that_trail_behind_are_waited_for(new):
    new.once()
    new.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    new.control("POST", "authentik/users", {"username": "zoe", "name": "Zoe Zed", "email": "zoe@example.com"})
    new.control("POST", "authentik/groups/Team One/members", {"username": "zoe"})
    new.google(update_lag_ms=1500, lag_ms=0)
    with running_faster(3):
        run = new.sync(google_wait=20)
    assert (run.result["status"], run.result["changed"]) == ("synced", True)
    assert changed(run)["alice"][0] == "updated"
    assert changed(run)["Team One"] == ("updated", ["members"])


def test_reads_that_trail_behind_for_too_long_are_not_claimed(new):
    new.once()
    new.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    new.google(update_lag_ms=60000)
    with running_faster(5):
        run = new.sync(google_wait=5)
    assert (run.result["status"], run.result["changed"], run.result["code"]) == ("failed", True, "objects")
    assert counted(run, "users") == {"total": 7, "unchanged": 6, "unconfirmed": 1}
    assert failed(run) == {"alice": "unconfirmed"}
    assert (
        "1 of 11 objects were not synced or could not be confirmed; the first, user alice: Google answered"
        in (run.result["msg"])
    )
    # What Google answered authentik is told all the same.
    assert changed(run)["alice"][0] == "updated"


def test_nobody_elses_account(new):
    new.once()
    new.control("POST", "google/users/bob@example.com/aliases", {"alias": "zoe@example.com"})
    new.control("POST", "authentik/users", {"username": "zoe", "name": "Zoe Zed", "email": "zoe@example.com"})
    run = new.sync()
    assert (run.result["code"], run.result["basis"]) == ("conflict", "nothing_sent")
    assert "zoe@example.com of user zoe (an alias of bob@example.com)" in run.result["msg"]
    new.control(
        "POST", "authentik/connections", {"user": 15, "provider": 1, "google_id": "zoe@example.com", "attributes": {}}
    )
    assert new.sync().result["code"] == "conflict"


def test_an_account_renamed_at_google_is_its_owners(new):
    new.once()
    new.control("PATCH", "google/users/bob@example.com", {"primaryEmail": "robert@example.com"})
    run = new.sync()
    assert run.result["status"] == "synced"
    assert changed(run)["bob"][0] == "updated"


# -- dry run and check mode ---------------------------------------------------------------------------------------


def test_a_dry_run_tells_what_it_would_send(tasks_server):
    server = tasks_server
    server.provider(dry_run=True)
    server.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    server.control("POST", "authentik/users", {"username": "zoe", "name": "Zoe Zed", "email": "zoe@example.com"})
    server.control("POST", "authentik/users", {"username": "olga", "name": "O O", "email": "olga@elsewhere.test"})
    run = server.sync()
    assert (run.result["changed"], run.result["status"]) == (False, "failed")
    assert failed(run) == {"olga": "sync_failed"}
    server.control("DELETE", "authentik/users/olga")
    run = server.sync()
    assert (run.result["changed"], run.result["status"], run.failed) == (False, "dry_run", False)
    assert changed(run)["alice"] == ("updated", ["name.displayName", "name.familyName"])
    assert changed(run)["zoe"][0] == "created"
    assert counted(run, "users") == {"total": 8, "unchanged": 6, "created": 1, "updated": 1}
    assert counted(run, "groups") == {"total": 4, "unchanged": 4}
    assert any("does not report the members of groups" in text for text in run.warnings)
    written = [item for item in server.sandbox.google_requests() if item["method"] not in ("GET",)]
    assert {item["path"] for item in written} == {"/token"}
    # What authentik would not send stays as it is at Google, in the diff, too.
    diff = run_full_sync(reaching(server.sandbox), diff=True).result["diff"]
    before, after = diff["before"]["user alice"], diff["after"]["user alice"]
    assert set(before) == set(after)
    assert [key for key in before if before[key] != after[key]] == ["name.displayName", "name.familyName"]


def test_a_dry_run_whose_page_crashes(new):
    """Whom authentik has not come to is left in doubt, not left out."""
    new.once()
    new.provider(dry_run=True, sync_page_size=3)
    new.set(retry_ms=1)
    new.sandbox.fault(
        "google", method="GET", path=r"/users(\?|$)", times=-1, status=409, reason="duplicate", message="x"
    )
    with running_faster(5):
        # The sandbox makes hundreds of requests until the last retry has failed, as fast as the machine is.
        run = new.sync(sync_timeout=600)
    assert (run.result["status"], run.result["changed"]) == ("failed", False)
    assert counted(run, "users") == {"total": 7, "unconfirmed": 7}
    assert counted(run, "groups") == {"total": 4, "unconfirmed": 4}
    assert failed(run)["page 2 of users"] == failed(run)["groups"] == "crashed"
    assert not any("left out" in text for text in run.warnings)


def test_check_mode_sends_nothing_and_predicts_nothing(server):
    run = server.sync(check=True)
    assert (run.result["status"], run.result["changed"], run.result["basis"]) == ("unconfirmed", True, "assumed")
    assert any("engine: direct predicts it" in text for text in run.warnings)
    assert run.result["counts"]["users"]["total"] == 7
    assert len(server.tasks()) == 1
    server.set(worker=False)
    assert server.sync(check=True).result["code"] == "no_worker"


def test_check_mode_of_a_provider_in_dry_run(tasks_server):
    tasks_server.provider(dry_run=True)
    run = tasks_server.sync(check=True)
    assert (run.result["status"], run.result["changed"]) == ("dry_run", False)


@pytest.mark.parametrize(
    "option",
    [
        {"override_dry_run": True},
        {"objects": ["alice"]},
        {"models": ["user"]},
        {"membership": "exact"},
        {"orphans": "apply"},
        {"shard_count": 2},
        {"journal": "/tmp/journal"},
    ],
)
def test_what_authentiks_own_sync_has_no_switch_for(new, option):
    params = {**reaching(new.sandbox), **option}
    run = run_full_sync(params)
    assert (run.failed, run.result["code"], run.result["calls"]["authentik"]) == (True, "invalid_option", 0)
    assert next(iter(option)) in run.result["msg"]
    assert "engine: direct" in run.result["msg"]


def test_connections_out_of_scope_are_reported(new):
    new.once()
    new.provider(exclude_users_service_account=True)
    for check in (False, True):
        run = new.sync(check=check)
        (orphan,) = run.result["orphans"]
        assert (orphan["name"], orphan["google_id"], orphan["action"]) == ("robot", "robot@example.com", None)
        assert "exclude_users_service_account" in orphan["why"]
        assert run.result["counts"]["users"]["orphans"] == 1
    assert new.sync(orphans="ignore").result["orphans"] == []


def test_the_report_holds_everything(new, tmp_path):
    path = tmp_path / "report.jsonl"
    outside = ["olga", "orla", "otto"]
    for name in outside:
        new.control("POST", "authentik/users", {"username": name, "name": "O O", "email": f"{name}@elsewhere.test"})
    run = new.sync(report_path=str(path), result_limit=2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines][:2] == ["run", "provider"]
    assert lines[-1]["kind"] == "summary"
    assert lines[-1]["counts"] == run.result["counts"]
    shown = [line for line in lines if line["kind"] == "object"]
    assert len([line for line in shown if line["changed"]]) == run.result["changes_total"] == 11
    assert sorted(line["name"] for line in shown if line["status"] == "failed") == outside
    assert {line["basis"] for line in shown if line["changed"]} == {"google"}
    # The result itself is bounded.
    assert len(run.result["changes"]) == len(run.result["failed_objects"]) == 2
    assert run.result["failed_total"] == 3
    assert lines[0]["check_mode"] is False


def test_the_diff_shows_both_states(new):
    new.once()
    new.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    run = run_full_sync({**reaching(new.sandbox)}, diff=True)
    assert run.result["diff"]["before"]["user alice"]["name.familyName"] == "Anderson"
    assert run.result["diff"]["after"]["user alice"]["name.familyName"] == "Other"


# -- time and lost answers ----------------------------------------------------------------------------------------


def test_a_sync_that_takes_too_long_goes_on(server):
    server.control("PATCH", "authentik/users/akadmin", {"name": "Other Admin"})
    server.sandbox.fault("google", method="PUT", path=r"/users/alice", delay_ms=2500)
    run = server.sync(sync_timeout=1)
    assert (run.result["status"], run.result["code"]) == ("failed", "sync_unfinished")
    assert (
        "did not end within 1 seconds: its task is still running (1 worker is running), and may still run"
        in (run.result["msg"])
    )
    assert "Raise sync_timeout" in run.result["msg"]
    # What is done so far is told, and so is what is left in doubt.
    assert run.result["changed"] is True
    assert run.result["counts"]["users"]["unconfirmed"] == 7
    server.until(lambda: server.ended() and not server.running())


def test_a_worker_that_comes_back_late(tasks_server):
    server = tasks_server
    server.control("PATCH", "authentik/users/alice", {"name": "Alice Other"})
    count = Authentik.worker_count

    def stops(self, version):
        found = count(self, version)
        server.set(worker=False)
        threading.Timer(1.5, lambda: server.set(worker=True)).start()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Authentik, "worker_count", stops)
        run = server.sync()
    assert (run.result["status"], run.result["changed"]) == ("synced", True)


def test_a_worker_that_does_not_come_back(tasks_server):
    server = tasks_server
    count = Authentik.worker_count

    def stops(self, version):
        found = count(self, version)
        server.set(worker=False)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Authentik, "worker_count", stops)
        run = server.sync(sync_timeout=1.5)
    assert (run.result["status"], run.result["changed"]) == ("failed", False)
    assert "its task is still queued (no worker is running), and may still run" in run.result["msg"]
    server.set(worker=True)
    server.until(server.ended)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_gets_lost(tasks_server, when):
    """It may have been received: whether it was is seen in the tasks."""
    server = tasks_server
    server.sandbox.fault("authentik", method="POST", path="/send/", when=when, status=502)
    with running_faster(3):
        run = server.sync()
    if when == "after":
        assert run.result["status"] == "unchanged"
    else:
        assert (run.result["status"], run.result["code"]) == ("failed", "sync_unanswered")
        assert "what became of it is not known" in run.result["msg"]
    assert len(server.tasks()) == (2 if when == "after" else 1)


def test_authentik_restarts_while_it_is_followed(tasks_server):
    server = tasks_server
    server.google(latency_ms=30)
    server.sandbox.fault("authentik", method="GET", path=r"/tasks/tasks/[0-9a-f-]{36}/$", times=4, drop=True)
    with running_faster(3):
        run = server.sync(sync_timeout=60)
    assert run.result["status"] == "unchanged"


def test_a_large_directory_is_paged(tmp_path, sandboxes):
    """Three pages of users, and lists of authentik's and of Google's with several pages."""
    people = [
        {"username": f"p{number}", "name": f"P{number} Person", "email": f"p{number}@example.com"}
        for number in range(230)
    ]
    groups = [{"name": "everybody", "members": [person["username"] for person in people]}]
    dataset = tmp_path / "many.json"
    dataset.write_text(json.dumps({"domain": "example.com", "users": people, "groups": groups}))
    with sandboxes(dataset=dataset) as sandbox:
        server = Server(sandbox, NEW)
        run = server.sync(sync_timeout=120, result_limit=5)
        assert run.result["status"] == "synced"
        assert counted(run, "users") == {"total": 231, "created": 231}
        assert counted(run, "groups") == {"total": 2, "created": 2, "members_added": 231}
        assert (len(run.result["changes"]), run.result["changes_total"]) == (5, 233)
        run = server.sync(sync_timeout=120)
        assert (run.result["status"], run.result["changed"]) == ("unchanged", False)
