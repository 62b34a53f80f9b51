# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""authentik's side of the sandbox beyond single syncs: connections, lists, mapping tests, tasks, tokens and control."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract.http import Reply, call
from tests.sandbox.process import ControlError, Sandbox

HERE = Path(__file__).parent
OLD, MIDDLE, NEW = "2024.8.1", "2025.8.6", "2025.12.4"
QUICK = {"answer_ms": 600, "retry_ms": 60000}
MODEL = "authentik.core.models."
GWS = "authentik_providers_google_workspace"
ROWS = "/providers/google_workspace_users/"
NOT_ALLOWED = {"detail": "You do not have permission to perform this action."}
PAGE = {"status": 405, "content_type": "text/html; charset=utf-8", "allow": "GET, HEAD, OPTIONS", "body": ""}


class Server:
    """A running sandbox, with authentik's API in short."""

    def __init__(self, sandbox: Sandbox, version: str) -> None:
        self.sandbox = sandbox
        self.version = version

    def api(self, method: str, path: str, **more: Any) -> Reply:
        return call(self.sandbox, method, "/api/v3" + path, **more)

    def get(self, path: str, **query: Any) -> Any:
        reply = self.api("GET", path, query=query)
        assert reply.status == 200, reply
        return reply.body

    def results(self, path: str, **query: Any) -> list[dict]:
        return self.get(path, **query)["results"]

    def sync(self, kind: str, pk: Any, **more: Any) -> Reply:
        body = {"sync_object_model": MODEL + kind, "sync_object_id": str(pk), **more}
        return self.api("POST", "/providers/google_workspace/1/sync/object/", body=body)

    def set(self, **settings: Any) -> None:
        self.sandbox.control("POST", "authentik/settings", settings)

    def token(self, *permissions: str, **more: Any) -> str:
        body = {"username": "somebody", "permissions": list(permissions), **more}
        return self.sandbox.control("POST", "authentik/tokens", body)["token"]

    def group(self, name: str) -> str:
        return self.results("/core/groups/", name=name)[0]["pk"]

    def mapping(self, model: str) -> str:
        managed = "goauthentik.io/providers/google_workspace/" + model
        return self.results("/propertymappings/provider/google_workspace/", managed=managed)[0]["pk"]

    def google_calls(self) -> list[str]:
        return [f"{item['method']} {item['path'].rpartition('/v1/')[2]}" for item in self.sandbox.google_requests()]


@pytest.fixture(scope="module")
def running(sandboxes):
    """Sandboxes by version, started when first asked for."""
    servers: dict[str, Server] = {}
    stack = contextlib.ExitStack()

    def get(version: str) -> Server:
        if version not in servers:
            sandbox = stack.enter_context(sandboxes(dataset=HERE / "dataset.json", authentik_version=version))
            servers[version] = Server(sandbox, version)
        return servers[version]

    with stack:
        yield get


@pytest.fixture(params=[OLD, MIDDLE, NEW])
def server(running, request):
    server = running(request.param)
    server.sandbox.reset()
    server.set(**QUICK)
    return server


@pytest.fixture(params=[MIDDLE, NEW])
def tasks_server(running, request):
    server = running(request.param)
    server.sandbox.reset()
    server.set(**QUICK)
    return server


def until(condition: Callable[[], Any], seconds: float = 5) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found
    return found


# -- connections --------------------------------------------------------------------------------------------------


def test_a_connection_is_made_shown_refused_twice_and_removed(server):
    body = {"google_id": "heidi@example.com", "user": 9, "provider": 1}
    made = server.api("POST", ROWS, body=body)
    assert made.status == 201
    assert {key: made.body[key] for key in (*body, "attributes")} == {**body, "attributes": {}}
    assert server.get(f"{ROWS}{made.body['id']}/") == made.body
    again = server.api("POST", ROWS, body=body)
    assert (again.status, again.body) == (
        400,
        {"non_field_errors": ["The fields google_id, user, provider must make a unique set."]},
    )
    patched = server.api("PATCH", f"{ROWS}{made.body['id']}/", body={"google_id": "x"})
    assert (patched.status, patched.allow) == (405, "GET, DELETE, HEAD, OPTIONS")
    assert patched.body == {"detail": 'Method "PATCH" not allowed.'}
    assert server.api("DELETE", f"{ROWS}{made.body['id']}/").status == 204
    assert server.results(ROWS, provider__id=1) == []
    assert server.google_calls() == []


def test_a_connection_with_wrong_references_is_refused_field_by_field(server):
    reply = server.api("POST", ROWS, body={"google_id": "", "user": 999, "provider": "x"})
    assert reply.status == 400
    assert reply.body == {
        "google_id": ["This field may not be blank."],
        "user": ['Invalid pk "999" - object does not exist.'],
        "provider": ["Incorrect type. Expected pk value, received str."],
    }
    path = "/providers/google_workspace_groups/"
    reply = server.api("POST", path, body={"google_id": "g", "group": "nonsense", "provider": 1})
    assert reply.body == {"group": ["“nonsense” is not a valid UUID."]}


def test_connections_are_filtered_ordered_and_paged(server):
    # Not in the order of their names.
    for pk in (8, 6, 7):
        server.sync("User", pk)
    names = ["alice", "bob", "carol"]
    assert [row["user_obj"]["username"] for row in server.results(ROWS)] == names
    assert [row["user"] for row in server.results(ROWS, ordering="-user__username")] == [8, 7, 6]
    assert [row["user"] for row in server.results(ROWS, provider__id=1, user__id=7)] == [7]
    assert [row["user"] for row in server.results(ROWS, user__username="carol")] == [8]
    assert server.results(ROWS, provider__id=2) == []
    second = server.get(ROWS, page=2, page_size=2)
    assert second["pagination"] == {
        "next": 0,
        "previous": 1,
        "count": 3,
        "current": 2,
        "total_pages": 2,
        "start_index": 3,
        "end_index": 3,
    }
    assert ("autocomplete" in second) == (server.version != OLD)
    beyond = server.api("GET", ROWS, query={"page": 99})
    assert (beyond.status, beyond.body) == (404, {"detail": "Invalid page."})


def test_a_row_made_by_hand_stops_old_servers_only(server):
    """Its attributes stay empty, so servers up to 2025.8 try to insert a second one."""
    server.sandbox.control(
        "POST",
        "google/users",
        {"primaryEmail": "heidi@example.com", "name": {"givenName": "Heidi", "familyName": "Hall"}},
    )
    server.api("POST", ROWS, body={"google_id": "heidi@example.com", "user": 9, "provider": 1})
    reply = server.sync("User", 6)
    assert reply.status == (200 if server.version == NEW else 405)
    if server.version == NEW:
        assert server.results(ROWS, user__id=9)[0]["attributes"]["primaryEmail"] == "heidi@example.com"


# -- lists --------------------------------------------------------------------------------------------------------


def test_users_are_found_as_on_real_servers(server):
    def found(**query: Any) -> list[str]:
        return [user["username"] for user in server.results("/core/users/", **query)]

    everybody = found()
    assert "akadmin" in everybody
    assert "AnonymousUser" not in everybody
    assert found(pk=6) == everybody
    assert found(username="alice") == found(email="alice@example.com") == found(search="anderson") == ["alice"]
    assert found(username="Alice") == []
    assert found(groups_by_name="Team One") == found(groups_by_pk=server.group("Team One")) == ["alice", "bob", "carol"]
    assert found(type="service_account") == ["robot"]
    assert found(is_active="false") == ["inactive"]
    assert server.results("/core/users/", username="alice", include_groups="false")[0]["groups_obj"] is None
    unknown = "Not found." if server.version == OLD else "No User matches the given query."
    for pk in (999999, 1):
        assert server.api("GET", f"/core/users/{pk}/").body == {"detail": unknown}


def test_groups_are_found_as_on_real_servers(server):
    assert [group["name"] for group in server.results("/core/groups/", members_by_pk=6)] == ["Team One"]
    assert server.results("/core/groups/", name="team one") == []
    assert [group["name"] for group in server.results("/core/groups/", search="team")] == ["Team One"]
    bare = server.results("/core/groups/", name="Team One", include_users="false")[0]
    assert (bare["users"], bare["users_obj"]) == ([6, 7, 8], None)
    assert ("parents" in bare, "parent" in bare) == (server.version == NEW, server.version != NEW)
    assert server.api("GET", "/core/groups/nonsense/").body == {"detail": "Not found."}


def test_a_refused_change_changes_nothing(server):
    reply = server.api("PATCH", "/core/users/6/", body={"name": "Other", "username": " "})
    assert (reply.status, reply.body) == (400, {"username": ["This field may not be blank."]})
    reply = server.api("PATCH", "/core/users/6/", body={"username": "bob"})
    assert (reply.status, reply.body) == (400, {"username": ["This field must be unique."]})
    user = server.get("/core/users/6/")
    assert (user["username"], user["name"]) == ("alice", "Alice Anderson")


def test_an_application_may_use_the_provider_either_way(server):
    kept = "assigned_backchannel_application_slug"
    assert server.get("/providers/google_workspace/1/")[kept] == "gws"
    server.sandbox.control("PATCH", "authentik/providers/1", {"main_application": True})
    assert server.get("/providers/google_workspace/1/").get(kept) is None
    assert server.get("/providers/all/1/")["assigned_application_slug"] == "gws"
    assert server.sync("User", 6).status == 200
    assert len(server.results(ROWS)) == 1


# -- the mapping test ---------------------------------------------------------------------------------------------


def try_mapping(server: Server, model: str, body: dict, **more: Any) -> Reply:
    return server.api("POST", f"/propertymappings/all/{server.mapping(model)}/test/", body=body, **more)


def test_mappings_are_tried_as_on_real_servers(server):
    made = try_mapping(server, "user", {"user": 6, "context": {"connection": None}}).body
    assert made["successful"]
    resource = json.loads(made["result"])
    assert list(resource) == ["name", "suspended", "password"]
    assert resource["password"].startswith("pbkdf2_sha256$")
    names = {"fullName": "Alice Anderson", "familyName": "Anderson", "givenName": "Alice"}
    assert resource["name"] == {**names, "displayName": "Alice Anderson"}
    other = {"connection": {"google_id": "x"}, "request": {"user": {"name": "X Y"}}}
    changed = try_mapping(server, "user", {"user": 6, "context": other}).body
    assert json.loads(changed["result"]) == {"name": resource["name"], "suspended": False}
    indented = try_mapping(server, "group", {"group": server.group("Team One")}, query={"format_result": "true"}).body
    assert indented["result"] == '{\n    "name": "Team One"\n}'


@pytest.mark.parametrize(
    ("model", "body", "missing"),
    [("user", {"user": 6}, "connection"), ("user", {}, "connection"), ("group", {}, "group")],
)
def test_a_mapping_that_misses_a_name_fails_inside_a_200(server, model, body, missing):
    reply = try_mapping(server, model, body)
    assert reply.status == 200
    assert not reply.body["successful"]
    assert reply.body["result"].startswith("Traceback (most recent call last):\n")
    assert reply.body["result"].endswith(f"builtins.NameError: name '{missing}' is not defined")


def test_what_a_mapping_test_refuses(server):
    assert try_mapping(server, "user", {"user": 999999}).body == {
        "user": ['Invalid pk "999999" - object does not exist.']
    }
    nothing = "/propertymappings/all/00000000-0000-4000-8000-000000000000/test/"
    named = "Not found." if server.version == OLD else "No PropertyMapping matches the given query."
    assert server.api("POST", nothing, body={"user": 6}).body == {"detail": named}
    assert vars(try_mapping(server, "user", {"user": 6}, token=server.token())) == PAGE
    view, add = "authentik_core.view_propertymapping", "authentik_core.add_propertymapping"
    for given in ([view], [add], [view, "authentik_core.view_user"]):
        assert vars(try_mapping(server, "user", {"user": 6}, token=server.token(*given))) == PAGE
    # Who may try mappings may not thereby see every user.
    blind = try_mapping(server, "user", {"user": 6}, token=server.token(view, add))
    assert (blind.status, blind.body) == (403, NOT_ALLOWED)


def test_skipping_is_a_failure_of_the_test_and_silence_in_the_sync(server):
    server.sandbox.control(
        "POST", "authentik/mappings", {"name": "aa", "expression": "raise SkipObject", "model": "user"}
    )
    mapping = server.results("/propertymappings/provider/google_workspace/", name="aa")[0]["pk"]
    result = server.api("POST", f"/propertymappings/all/{mapping}/test/", body={"user": 6}).body["result"]
    assert result.endswith("\nauthentik.core.expression.exceptions.SkipObjectException:")
    assert server.sync("User", 6).status == 200
    assert server.results(ROWS) == []


# -- tokens and addresses -----------------------------------------------------------------------------------------


def test_what_a_token_may_see(server):
    see = f"{GWS}.view_googleworkspaceprovider"
    one = server.token(object_permissions={"1": [see]})
    assert server.api("GET", "/providers/google_workspace/1/", token=one).status == 200
    # Connections want a right of their own.
    assert server.api("GET", ROWS, token=one).body == NOT_ALLOWED
    assert server.api("GET", ROWS, token=server.token(f"{see}user")).status == 200
    for path in ("/core/users/", "/core/groups/", "/providers/google_workspace/", "/providers/google_workspace/1/"):
        reply = server.api("GET", path, token=server.token())
        assert (path, reply.status, reply.body) == (path, 403, NOT_ALLOWED)
    assert server.api("GET", "/core/users/me/", token=one).body["user"]["username"] == "somebody"
    assert server.api("GET", "/admin/version/", token=one).body["version_current"] == server.version
    stranger = server.api("GET", "/admin/version/", token=None)
    assert (stranger.status, stranger.body) == (403, {"detail": "Authentication credentials were not provided."})
    late = server.api("GET", "/admin/version/", token=server.token(expired=True))
    assert (late.status, late.body) == (403, {"detail": "Token invalid/expired"})
    assert server.api("GET", "/root/config/", token=None).status == 200


def test_unknown_addresses_meet_pages_instead_of_json(server):
    absent = "/tasks/tasks/" if server.version == OLD else "/admin/workers/"
    for path in (absent, "/nothing/", "/core/users"):
        reply = server.api("GET", path)
        assert (path, reply.status, reply.content_type) == (path, 404, PAGE["content_type"])
        assert vars(server.api("POST", path, body={})) == PAGE


def test_providers_change_only_with_a_licence(server):
    reply = server.api("PATCH", "/providers/google_workspace/1/", body={"delegated_subject": "root@example.com"})
    error = {"non_field_errors": ["Enterprise is required to create/update this object."]}
    assert (reply.status, reply.body) == (400, error)
    server.set(licensed=True)
    reply = server.api("PATCH", "/providers/google_workspace/1/", body={"delegated_subject": "root@example.com"})
    assert (reply.status, reply.body["delegated_subject"]) == (200, "root@example.com")


# -- tasks --------------------------------------------------------------------------------------------------------


def lines(task: dict, which: str = "") -> list[str]:
    """The events of a task's lines, wherever this release keeps them."""
    return [line["event"] for line in task.get(which + "logs", task.get(which + "messages")) or []]


def test_tasks_are_found_and_tell_what_they_did(tasks_server):
    server = tasks_server
    server.sync("User", 6)
    server.sync("User", 10)
    actor = f"{GWS.replace('authentik_', 'authentik.enterprise.').replace('providers_', 'providers.')}.tasks."
    query = {
        "actor_name": actor + "google_workspace_sync_objects",
        "rel_obj_content_type__app_label": GWS,
        "rel_obj_content_type__model": "googleworkspaceprovider",
        "rel_obj_id": "1",
        "ordering": "-mtime",
    }
    found = server.results("/tasks/tasks/", **query)
    assert [task["state"] for task in found] == ["done", "done"]
    end = ["gws:user:10:manual", "gws:user:6:manual"] if server.version == NEW else ["gws:user:1", "gws:user:1"]
    assert [task["uid"].partition("objects:")[2] for task in found] == end
    assert [task["aggregated_status"] for task in found] == (
        ["done", "done"] if server.version == NEW else ["warning", "info"]
    )
    assert lines(found[1]) == [
        "Task has been queued",
        "Task is being processed",
        "Syncing page 1 or Users",
        "Task finished processing without errors",
    ]
    assert server.get(f"/tasks/tasks/{found[0]['message_id']}/") == found[0]
    assert len(server.results("/tasks/tasks/", search="gws:user:6:manual")) == (1 if server.version == NEW else 0)
    assert len(server.results("/tasks/tasks/", aggregated_status="warning")) == (0 if server.version == NEW else 1)
    assert server.results("/tasks/tasks/", rel_obj_id__isnull="true") == []
    assert server.api("GET", "/tasks/tasks/", token=server.token()).body == NOT_ALLOWED
    assert server.api("GET", "/tasks/tasks/", token=server.token("authentik_tasks.view_task")).status == 200


def test_a_task_that_crashes_is_retried_and_at_last_rejected(tasks_server):
    server = tasks_server
    assert vars(server.sync("User", "alice")) == PAGE
    (task,) = server.results("/tasks/tasks/")
    error = "Field 'id' expected a number but got 'alice'."
    assert lines(task) == ["Task will be retried"]
    assert lines(task, "previous_") == ["Task has been queued", "Task is being processed", error]
    if server.version == NEW:
        assert (task["state"], task["queue_name"], task["retries"]) == ("queued", "default", 1)
        assert task["eta"]
    else:
        assert (task["state"], task["queue_name"]) == ("consumed", "default.DQ")
    assert "GET customer/my_customer/domains" in server.google_calls()
    assert "GET users" not in server.google_calls()

    server.sandbox.reset()
    server.set(answer_ms=3000, retry_ms=5)
    assert vars(server.sync("User", "alice")) == PAGE
    (task,) = server.results("/tasks/tasks/")
    assert task["state"] == task["aggregated_status"] == "rejected"
    assert lines(task) == ["Task will be retried", "Task is being processed", error]
    assert lines(task, "previous_").count(error) == 5


def test_a_stopped_worker_runs_the_task_when_it_is_back(tasks_server):
    server = tasks_server
    server.set(worker=False)
    assert vars(server.sync("User", 6)) == PAGE
    assert server.get("/tasks/workers") == []
    (task,) = server.results("/tasks/tasks/")
    assert (task["state"], lines(task)) == ("queued", ["Task has been queued"])
    assert task["uid"].endswith("gws:user:6:manual" if server.version == NEW else "google_workspace_sync_objects")
    server.set(worker=True)
    assert len(server.get("/tasks/workers")) == 1
    until(lambda: server.results("/tasks/tasks/")[0]["state"] == "done")
    assert server.results(ROWS)[0]["google_id"] == "alice@example.com"


def test_many_waiting_calls_do_not_keep_others_out(running):
    """A server whose worker stands still goes on answering everything else."""
    server = running(OLD)
    server.sandbox.reset()
    server.set(worker=False)
    waiting = [threading.Thread(target=server.sync, args=("User", 6)) for _ in range(60)]
    for thread in waiting:
        thread.start()
    until(lambda: len(server.sandbox.control("GET", "authentik/state")["tasks"]) == 60)
    assert server.get("/admin/workers/") == {"count": 0}
    server.sandbox.reset()
    for thread in waiting:
        thread.join(5)
    assert not any(thread.is_alive() for thread in waiting)


# -- control ------------------------------------------------------------------------------------------------------


def test_a_sync_that_outlives_a_reset_leaves_no_trace(running):
    server = running(NEW)
    server.sandbox.reset()
    server.set(answer_ms=50)
    server.sandbox.fault("google", method="GET", path="/users", delay_ms=400)
    assert server.sync("User", 6).status == 405
    server.sandbox.reset()
    time.sleep(0.8)
    assert server.sandbox.control("GET", "authentik/state")["connections"] == []
    assert [user["primaryEmail"] for user in server.sandbox.google_state()["users"]] == ["admin@example.com"]
    assert "POST users" not in server.google_calls()
    # The worker is free again.
    server.set(answer_ms=5000)
    assert server.sync("User", 6).status == 200


@pytest.mark.parametrize("version", [OLD, MIDDLE, NEW])
def test_a_full_sync_that_outlives_a_reset_leaves_no_trace(running, version):
    """Its pages are tasks of their own: those that it would still send are not in the world that follows."""
    server = running(version)
    for _turn in range(3):
        server.sandbox.reset()
        server.set(licensed=True, signals=True)
        server.sandbox.control("POST", "google/settings", {"latency_ms": 40})
        server.api("PATCH", "/providers/google_workspace/1/", body={"name": "gws"})
        until(lambda: len(server.google_calls()) > 3)
        server.sandbox.reset()
        assert server.google_calls() == []
        time.sleep(0.2)
        state = server.sandbox.control("GET", "authentik/state")
        assert (state["connections"], state["tasks"]) == ([], [])
        assert [user["primaryEmail"] for user in server.sandbox.google_state()["users"]] == ["admin@example.com"]
        assert server.google_calls() == []
        status = server.get("/providers/google_workspace/1/sync/status/")
        assert status["is_running"] is False
        assert not status.get("tasks") and not status.get("last_sync_status")


def test_control_refuses_nonsense_and_changes_nothing_then(running):
    server = running(NEW)
    server.sandbox.reset()
    before = server.sandbox.control("GET", "authentik/state")
    for method, path, body in (
        ("POST", "authentik/settings", {"answer": 1}),
        ("POST", "authentik/settings", {"worker": 1}),
        ("POST", "authentik/users", {"username": "alice"}),
        ("POST", "authentik/users", {"username": "new", "shoe_size": 43}),
        ("PATCH", "authentik/users/6", {"shoe_size": 43}),
        ("POST", "authentik/providers", {"name": "other", "filter_group": "No Such Group"}),
        ("PATCH", "authentik/providers/1", {"dry_run": True, "colour": "red"}),
        ("DELETE", "authentik/groups/nothing", None),
    ):
        with pytest.raises(ControlError):
            server.sandbox.control(method, path, body)
    assert server.sandbox.control("GET", "authentik/state") == before
    assert "PRIVATE KEY" not in json.dumps(before)


def test_what_control_changes_is_silent(running):
    server = running(NEW)
    server.sandbox.reset()
    server.set(signals=True)
    control = server.sandbox.control
    control("POST", "authentik/users", {"username": "new", "name": "New One", "email": "new@example.com"})
    control("PATCH", "authentik/users/new", {"name": "New Two"})
    control("POST", "authentik/groups", {"name": "New Group", "members": ["new"], "parent": "Team One"})
    control("POST", "authentik/groups/New Group/members", {"username": "alice"})
    control("DELETE", "authentik/groups/New Group/members/new")
    control("DELETE", "authentik/users/new")
    control(
        "POST",
        "authentik/connections",
        {"user": 6, "provider": 1, "google_id": "a@example.com", "attributes": {"a": 1}},
    )
    state = control("GET", "authentik/state")
    group = next(group for group in state["groups"] if group["name"] == "New Group")
    assert (group["users"], group["parents"]) == ([6], [server.group("Team One")])
    assert [row["attributes"] for row in state["connections"]] == [{"a": 1}]
    assert all(user["username"] != "new" for user in state["users"])
    assert state["tasks"] == []
    assert server.google_calls() == []
