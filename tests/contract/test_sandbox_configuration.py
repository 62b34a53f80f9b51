# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""authentik's configuration endpoints in the sandbox, against recorded refusals and the published client's models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import authentik_client
import pytest
from authentik_client.models import (
    Application,
    GoogleWorkspaceProvider,
    GoogleWorkspaceProviderMapping,
    GoogleWorkspaceProviderRequest,
    LicenseSummary,
    PaginatedPermissionList,
    UsedBy,
)

from tests.contract.http import Reply, call
from tests.sandbox.process import Sandbox

HERE = Path(__file__).parent
RECORDED = ("2024.8.1", "2025.8.6", "2025.12.4")
KNOWN = (*RECORDED, "2026.8.5", "2026.10.0")
PROVIDERS = "/providers/google_workspace/"
MAPPINGS = "/propertymappings/provider/google_workspace/"
APPLICATIONS = "/core/applications/"
GWS = "authentik_providers_google_workspace"
NEW = {
    "name": "second",
    "delegated_subject": "admin@example.com",
    "credentials": {"type": "service_account"},
    "default_group_email_domain": "example.com",
}
ENTERPRISE = {"non_field_errors": ["Enterprise is required to create/update this object."]}
NOT_ALLOWED = {"detail": "You do not have permission to perform this action."}


class Server:
    def __init__(self, sandbox: Sandbox, version: str) -> None:
        self.sandbox = sandbox
        self.version = version

    def api(self, method: str, path: str, **more: Any) -> Reply:
        return call(self.sandbox, method, "/api/v3" + path, **more)

    def token(self, *permissions: str) -> str:
        body = {"username": "somebody", "permissions": [*permissions]}
        return self.sandbox.control("POST", "authentik/tokens", body)["token"]


@pytest.fixture(scope="module", params=KNOWN)
def running(request, sandboxes):
    with sandboxes(dataset=HERE / "dataset.json", authentik_version=request.param) as sandbox:
        yield Server(sandbox, request.param)


@pytest.fixture
def server(running):
    running.sandbox.reset()
    running.sandbox.control("POST", "authentik/settings", {"licensed": True})
    return running


def recorded(version: str, start: str) -> dict:
    items = json.loads((HERE / "recorded" / f"{version}.json").read_text())
    return next(item for item in items if item["id"].startswith(start))


@pytest.mark.parametrize("start", ["51i-", "51j-"])
def test_without_a_licence_it_refuses_as_recorded(server, start):
    if server.version not in ("2025.8.6", "2025.12.4"):
        pytest.skip("not recorded for this version")
    server.sandbox.control("POST", "authentik/settings", {"licensed": False})
    shown = recorded(server.version, start)
    body = shown["request"]["body"]
    reply = server.api(shown["request"]["method"], shown["request"]["path"].removeprefix("/api/v3"), body=body)
    assert (reply.status, reply.body) == (shown["status"], shown["body"])


def test_fields_are_checked_before_the_licence(server):
    server.sandbox.control("POST", "authentik/settings", {"licensed": False})
    reply = server.api("POST", PROVIDERS, body={"name": "second"})
    assert reply.status == 400
    missing = {"delegated_subject", "default_group_email_domain"}
    assert set(reply.body) == missing | (set() if server.version == "2026.10.0" else {"credentials"})
    assert server.api("POST", PROVIDERS, body=NEW).body == ENTERPRISE
    assert server.api("GET", "/enterprise/license/summary/").body["status"] == "unlicensed"


def test_a_provider_is_made_changed_and_removed(server):
    made = server.api("POST", PROVIDERS, body=NEW)
    assert made.status == 201, made.body
    pk = made.body["pk"]
    assert made.body["property_mappings"] == made.body["property_mappings_group"] == []
    assert made.body["user_delete_action"] == made.body["group_delete_action"] == "delete"
    assert made.body["scopes"].count(",") == 3
    assert made.body.get("assigned_backchannel_application_slug") is None
    assert ("credentials" in made.body) == (server.version != "2026.10.0")
    assert server.api("GET", f"{PROVIDERS}{pk}/").body == made.body
    group = server.sandbox.control("GET", "authentik/state")["groups"][0]["pk"]
    mapping = server.api("GET", MAPPINGS).body["results"][0]["pk"]
    changes = {
        "name": "third",
        "property_mappings": [mapping],
        "property_mappings_group": [mapping],
        "scopes": "https://example.com/scope",
        "exclude_users_service_account": True,
        "filter_group": group,
        "user_delete_action": "suspend",
        "group_delete_action": "do_nothing",
        "default_group_email_domain": "example.org",
        "delegated_subject": "root@example.com",
    }
    if server.version != "2024.8.1":
        changes["dry_run"] = True
    if server.version not in ("2024.8.1", "2025.8.6"):
        changes.update(sync_page_size=7, sync_page_timeout="minutes=5;seconds=1")
    if server.version.startswith("2026"):
        changes["discovery_enabled"] = False
    changed = server.api("PATCH", f"{PROVIDERS}{pk}/", body=changes)
    assert changed.status == 200, changed.body
    assert {key: changed.body[key] for key in changes} == changes
    replaced = server.api("PUT", f"{PROVIDERS}{pk}/", body={**NEW, "filter_group": None})
    assert (replaced.status, replaced.body["filter_group"], replaced.body["name"]) == (200, None, "second")
    assert server.api("PUT", f"{PROVIDERS}{pk}/", body={"name": "x"}).status == 400
    used = server.api("GET", f"{PROVIDERS}{pk}/used_by/")
    assert [item["action"] for item in used.body] == ["cascade_many"]
    assert [item.pk for item in map(UsedBy.from_dict, used.body) if item] == [mapping]
    assert server.api("DELETE", f"{PROVIDERS}{pk}/").status == 204
    assert server.api("GET", f"{PROVIDERS}{pk}/").status == 404
    again = server.api("POST", PROVIDERS, body=NEW)
    assert again.body["pk"] > pk


def test_unknown_fields_are_ignored_as_older_servers_do(server):
    """What makes the modules look for themselves: a field that a server does not know is no error to it."""
    reply = server.api("PATCH", f"{PROVIDERS}1/", body={"discovery_enabled": False, "dry_run": True, "colour": "red"})
    assert reply.status == 200
    assert ("dry_run" in reply.body) == (server.version != "2024.8.1")
    assert ("discovery_enabled" in reply.body) == server.version.startswith("2026")
    assert "colour" not in reply.body


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("name", "", "This field may not be blank."),
        ("name", None, "This field may not be null."),
        ("name", "gws", "This field must be unique."),
        ("delegated_subject", "nobody", "Enter a valid email address."),
        ("credentials", "text", "Value must be a dictionary, and not have any duplicate keys."),
        ("property_mappings", "text", 'Expected a list of items but got type "str".'),
        ("property_mappings", ["00000000-0000-4000-8000-000000000000"], "object does not exist."),
        ("filter_group", "Team One", "is not a valid UUID."),
        ("user_delete_action", "forget", '"forget" is not a valid choice.'),
        ("exclude_users_service_account", "perhaps", "Must be a valid boolean."),
    ],
)
def test_wrong_values_are_named(server, field, value, text):
    reply = server.api("POST", PROVIDERS, body={**NEW, field: value})
    assert reply.status == 400
    assert list(reply.body) == [field]
    assert text in reply.body[field][0]


def test_mappings_are_checked_for_syntax_and_kept(server):
    broken = server.api("POST", MAPPINGS, body={"name": "broken", "expression": "return {"})
    assert broken.status == 400
    assert broken.body["expression"][0].startswith("Expression Syntax Error: ")
    made = server.api("POST", MAPPINGS, body={"name": "mine", "expression": 'return {"notes": user.name}'})
    assert (made.status, made.body["managed"]) == (201, None)
    mapping = GoogleWorkspaceProviderMapping.from_dict(made.body)
    assert mapping and mapping.name == "mine"
    path = f"{MAPPINGS}{made.body['pk']}/"
    changed = server.api("PATCH", path, body={"expression": 'return {"notes": "x"}', "managed": "mine"})
    assert (changed.status, changed.body["managed"], changed.body["name"]) == (200, "mine", "mine")
    tested = server.api("POST", f"/propertymappings/all/{made.body['pk']}/test/", body={"user": 6})
    assert tested.body == {"result": '{"notes": "x"}', "successful": True}
    assert server.api("POST", MAPPINGS, body={"name": "mine", "expression": "return {}"}).body == {
        "name": ["This field must be unique."]
    }
    server.api("PATCH", f"{PROVIDERS}1/", body={"property_mappings": [made.body["pk"]]})
    assert [item["pk"] for item in server.api("GET", path + "used_by/").body] == ["1"]
    assert server.api("DELETE", path).status == 204
    assert server.api("GET", f"{PROVIDERS}1/").body["property_mappings"] == []


def test_an_application_carries_each_provider_once(server):
    server.sandbox.control(
        "POST", "authentik/applications", {"slug": "files", "others": {"77": "scim"}, "hidden": True}
    )
    slugs = [item["slug"] for item in server.api("GET", APPLICATIONS).body["results"]]
    assert slugs == ["gws"]
    every = server.api("GET", APPLICATIONS, query={"superuser_full_list": "true"}).body["results"]
    assert [item["slug"] for item in every] == ["files", "gws"]
    moved = server.api("PATCH", f"{APPLICATIONS}files/", body={"backchannel_providers": [77, 1]})
    assert (moved.status, moved.body["backchannel_providers"]) == (200, [1, 77])
    assert server.api("GET", f"{APPLICATIONS}gws/").body["backchannel_providers"] == []
    assert server.api("GET", f"{PROVIDERS}1/").body["assigned_backchannel_application_slug"] == "files"
    unknown = server.api("PATCH", f"{APPLICATIONS}files/", body={"backchannel_providers": [4711]})
    assert unknown.body == {"backchannel_providers": ['Invalid pk "4711" - object does not exist.']}
    made = server.api("POST", APPLICATIONS, body={"name": "New", "slug": "new", "backchannel_providers": [1]})
    assert (made.status, made.body["backchannel_providers"]) == (201, [1])
    assert server.api("GET", f"{APPLICATIONS}files/").body["backchannel_providers"] == [77]
    assert server.api("POST", APPLICATIONS, body={"name": "x", "slug": "a b"}).status == 400
    assert server.api("DELETE", f"{APPLICATIONS}new/").status == 204
    assert server.api("GET", f"{PROVIDERS}1/").body.get("assigned_backchannel_application_slug") is None


@pytest.mark.parametrize(
    ("method", "path", "body", "permission"),
    [
        ("POST", PROVIDERS, NEW, f"{GWS}.add_googleworkspaceprovider"),
        ("PATCH", f"{PROVIDERS}1/", {}, f"{GWS}.change_googleworkspaceprovider"),
        ("DELETE", f"{PROVIDERS}1/", None, f"{GWS}.delete_googleworkspaceprovider"),
        ("POST", MAPPINGS, {"name": "n", "expression": "return {}"}, f"{GWS}.add_googleworkspaceprovidermapping"),
        ("GET", f"{APPLICATIONS}gws/", None, "authentik_core.view_application"),
        ("PATCH", f"{APPLICATIONS}gws/", {}, "authentik_core.change_application"),
        ("POST", APPLICATIONS, {"name": "n", "slug": "n"}, "authentik_core.add_application"),
    ],
)
def test_each_wants_its_permission(server, method, path, body, permission):
    app, _, codename = permission.partition(".")
    view = f"{app}.view_{codename.partition('_')[2]}"
    without = server.api(method, path, body=body, token=server.token(*({view} - {permission})))
    assert (without.status, without.body) == (403, NOT_ALLOWED)
    assert server.api(method, path, body=body, token=server.token(view, permission)).status in (200, 201, 204)


def test_options_tell_which_rights_the_caller_has(server):
    """As recorded for akadmin (087-method-options of 2024.8.1): the answer names the methods under "actions"."""
    view, change, add = (f"{GWS}.{verb}_googleworkspaceprovider" for verb in ("view", "change", "add"))
    for token, path, expected in (
        ("", PROVIDERS, ["POST"]),
        ("", f"{PROVIDERS}1/", ["PUT"]),
        (server.token(view, change), PROVIDERS, []),
        (server.token(view, change), f"{PROVIDERS}1/", ["PUT"]),
        (server.token(change), f"{PROVIDERS}1/", []),
        (server.token(add), PROVIDERS, ["POST"]),
        (server.token(), "/providers/google_workspace_users/", []),
        (server.token(f"{GWS}.add_googleworkspaceprovideruser"), "/providers/google_workspace_users/", ["POST"]),
    ):
        reply = server.api("OPTIONS", path, token=token)
        assert (path, reply.status, list(reply.body.get("actions", {}))) == (path, 200, expected)


def test_a_role_tells_its_permissions_to_anybody(server):
    token = server.token(f"{GWS}.delete_googleworkspaceprovider")
    me = server.api("GET", "/core/users/me/", token=token).body["user"]
    if "roles" not in me:
        assert server.version in ("2024.8.1", "2025.8.6")
        return
    shown = server.api("GET", "/rbac/permissions/", query={"role": me["roles"][0]["pk"]}, token=token)
    assert [item["codename"] for item in shown.body["results"]] == ["delete_googleworkspaceprovider"]
    listed = PaginatedPermissionList.from_dict(shown.body)
    assert listed and listed.results[0].app_label == GWS


def test_the_newest_published_models_take_what_is_shown(server):
    if server.version != "2026.8.5":
        pytest.skip("the installed client is of 2026.8")
    GoogleWorkspaceProvider.from_dict(server.api("GET", f"{PROVIDERS}1/").body)
    Application.from_dict(server.api("GET", f"{APPLICATIONS}gws/").body)
    LicenseSummary.from_dict(server.api("GET", "/enterprise/license/summary/").body)
    configuration = authentik_client.Configuration(host=f"{server.sandbox.authentik_url}/api/v3")
    configuration.access_token = server.sandbox.authentik_token
    with authentik_client.ApiClient(configuration) as client:
        providers = authentik_client.ProvidersApi(client)
        new: dict[str, Any] = NEW
        made = providers.providers_google_workspace_create(
            GoogleWorkspaceProviderRequest(**new, discovery_enabled=False, sync_page_size=3)
        )
        assert (made.discovery_enabled, made.sync_page_size, made.dry_run) == (False, 3, False)
        providers.providers_google_workspace_destroy(made.pk)
