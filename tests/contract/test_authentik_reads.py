# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads: the sandbox's authentik shows what the real servers showed, and the published client takes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import authentik_client
import pytest

from tests.contract.http import call
from tests.sandbox.process import Sandbox

HERE = Path(__file__).parent
VERSIONS = ("2024.8.1", "2025.8.6", "2025.12.4")
# The recorded reads that the sandbox serves: part of the path, and the query that finds the like here.
READS: tuple[tuple[str, dict], ...] = (
    (r"/admin/version/$", {}),
    (r"/admin/workers/$", {}),
    (r"/core/users/me/$", {}),
    (r"/core/users/$", {"username": "alice"}),
    (r"/core/users/\d+/$", {}),
    (r"/core/groups/$", {"name": "Team One"}),
    (r"/core/groups/[0-9a-f-]{36}/$", {}),
    (r"/providers/google_workspace/$", {"name": "gws"}),
    (r"/providers/google_workspace/1/$", {}),
    (r"/providers/google_workspace/1/used_by/$", {}),
    (r"/core/applications/$", {"superuser_full_list": "true"}),
    (r"/core/applications/[a-z-]+/$", {}),
    (r"/enterprise/license/summary/$", {}),
    (r"/providers/all/$", {}),
    (r"/providers/google_workspace_users/$", {"provider__id": 1}),
    (r"/providers/google_workspace_groups/$", {"provider__id": 1}),
    (r"/propertymappings/provider/google_workspace/$", {}),
    (r"/propertymappings/all/[0-9a-f-]{36}/test/$", {}),
    (r"/tasks/schedules/$", {"rel_obj_id": 1}),
    (r"/tasks/tasks/$", {"search": "gws:"}),
    (r"/tasks/tasks/status/$", {}),
    (r"/tasks/workers$", {}),
)


@pytest.fixture(scope="module", params=VERSIONS)
def server(request, sandboxes):
    with sandboxes(dataset=HERE / "dataset.json", authentik_version=request.param, answer_ms=2000) as sandbox:
        for kind, name in (("users", "alice"), ("groups", "Team One")):
            pk = next(
                i["pk"]
                for i in sandbox.control("GET", "authentik/state")[kind]
                if name in (i.get("username"), i["name"])
            )
            model = "User" if kind == "users" else "Group"
            body = {"sync_object_model": f"authentik.core.models.{model}", "sync_object_id": str(pk)}
            assert call(sandbox, "POST", "/api/v3/providers/google_workspace/1/sync/object/", body=body).status == 200
        yield sandbox, request.param


def here(sandbox: Sandbox, path: str) -> str:
    """A recorded path with the keys that the objects have here."""
    state = sandbox.control("GET", "authentik/state")
    group = next(item["pk"] for item in state["groups"] if item["name"] == "Team One")
    mapping = next(item["pk"] for item in state["mappings"] if item["model"] == "user")
    path = re.sub(r"/core/groups/[0-9a-f-]{36}/", f"/core/groups/{group}/", path)
    path = re.sub(r"/core/applications/[a-z-]+/", "/core/applications/gws/", path)
    return re.sub(r"/all/[0-9a-f-]{36}/", f"/all/{mapping}/", path)


def differences(shown: Any, found: Any, where: str = "") -> list[str]:
    """Keys that are missing or too many, and values of another type; None says nothing about the type."""
    if shown == "*" or shown is None or found is None or shown == "NoneType":
        return []
    if isinstance(shown, dict):
        if not isinstance(found, dict):
            return [f"{where}: no object"]
        wrong = [f"{where}.{key}: {'missing' if key in shown else 'too many'}" for key in set(shown) ^ set(found)]
        return wrong + [
            line for key in set(shown) & set(found) for line in differences(shown[key], found[key], f"{where}.{key}")
        ]
    if isinstance(shown, list):
        if not isinstance(found, list):
            return [f"{where}: no list"]
        return differences(shown[0], found[0], f"{where}[]") if shown and found else []
    return [] if type(found).__name__ == shown else [f"{where}: {type(found).__name__} instead of {shown}"]


def test_shapes_are_the_recorded_ones(server):
    sandbox, version = server
    compared = set()
    for item in json.loads((HERE / "recorded" / f"{version}.json").read_text()):
        request = item.get("request", {})
        path = request.get("path", "").partition("?")[0]
        if item.get("status") != 200 or "shape" not in item:
            continue
        for pattern, query in READS:
            if not re.search(pattern, path) or request["method"] not in ("GET", "POST"):
                continue
            if "full-sync" in item["id"] or "crash" in item["id"]:
                continue
            body = {"user": 6, "context": {"connection": None}} if "/test/" in path else None
            query = {
                **query,
                **{key: value for key, value in request.get("query", {}).items() if key.startswith("include_")},
            }
            if "include_users=false" in request["path"]:
                query["include_users"] = "false"
            if "include_groups=false" in request["path"]:
                query["include_groups"] = "false"
            reply = call(sandbox, request["method"], here(sandbox, path), query=query, body=body)
            assert reply.status == 200, item["id"]
            assert differences(item["shape"], reply.body) == [], item["id"]
            compared.add(pattern)
    # The recording of 2025.8.6 holds fewer reads than the others.
    assert len(compared) >= (9 if version == "2025.8.6" else 12)


def test_the_published_client_takes_the_answers(sandboxes):
    """authentik-client's newest models against the newest version's answers, over real HTTP."""
    with sandboxes(dataset=HERE / "dataset.json") as sandbox:
        configuration = authentik_client.Configuration(host=f"{sandbox.authentik_url}/api/v3")
        configuration.access_token = sandbox.authentik_token
        with authentik_client.ApiClient(configuration) as client:
            providers = authentik_client.ProvidersApi(client)
            core = authentik_client.CoreApi(client)
            assert authentik_client.AdminApi(client).admin_version_retrieve().version_current == "2025.12.4"
            assert core.core_users_list(username="alice").results[0].pk == 6
            group = core.core_groups_list(name="Team One").results[0]
            assert group.users == [6, 7, 8]
            assert providers.providers_google_workspace_retrieve(1).name == "gws"
            request = authentik_client.SyncObjectRequest(
                sync_object_model=authentik_client.SyncObjectModelEnum("authentik.core.models.User"), sync_object_id="6"
            )
            assert providers.providers_google_workspace_sync_object_create(1, request).messages == []
            row = providers.providers_google_workspace_users_list(provider__id=1).results[0]
            assert row.google_id == "alice@example.com"
            assert providers.providers_google_workspace_sync_status_retrieve(1).is_running is False
            mappings = authentik_client.PropertymappingsApi(client)
            assert len(mappings.propertymappings_provider_google_workspace_list().results) == 2
            (schedule,) = authentik_client.TasksApi(client).tasks_schedules_list(rel_obj_id="1").results
            assert schedule.description == "Full sync for Google Workspace provider."
            task = authentik_client.TasksApi(client).tasks_tasks_list().results[0]
            assert [line.event for line in task.logs][0] == "Task has been queued"
