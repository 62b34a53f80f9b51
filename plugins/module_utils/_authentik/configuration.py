# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources that configure authentik, one function each, with the permission that each wants."""

from __future__ import annotations

import typing as t

from .._common.types import Json
from .api import GWS, _missing, _needs
from .client import Client, quoted
from .errors import AuthentikError

PROVIDERS = "providers/google_workspace/"
MAPPINGS = "propertymappings/provider/google_workspace/"
APPLICATIONS = "core/applications/"
CORE = "authentik_core"
VALID_LICENCES = ("valid", "expiry_soon")
FULL_SYNC_ACTOR = "authentik.enterprise.providers.google_workspace.tasks.google_workspace_sync"


class ConfigurationApi:
    """authentik's configuration by name. Every method raises AuthentikError with a remedy."""

    def __init__(self, client: Client) -> None:
        self.client = client

    # Providers

    def providers(self) -> list[Json]:
        """Every Google Workspace provider that the token's user may see."""
        with _needs("view_googleworkspaceprovider", "providers"):
            return self.client.get_all(PROVIDERS, {"page_size": 100}, what="list the providers")

    def providers_named(self, name: str) -> list[Json]:
        """The Google Workspace providers with exactly this name."""
        with _needs("view_googleworkspaceprovider", "providers"):
            found = self.client.get_page(PROVIDERS, {"name": name, "page_size": 2}, what=f"look up provider '{name}'")[
                "results"
            ]
        return [item for item in found if item.get("name") == name]

    def create_provider(self, body: Json) -> Json:
        """Make a provider. authentik starts a full sync by itself."""
        with _needs("add_googleworkspaceprovider", "new providers"):
            return self._write("POST", PROVIDERS, body, "create provider '%s'" % body.get("name"))

    def change_provider(self, pk: int, body: Json) -> Json:
        """Change fields of a provider. authentik starts a full sync by itself, whatever was changed."""
        with _needs("change_googleworkspaceprovider", "changes of the provider"):
            return self._write("PATCH", "%s%d/" % (PROVIDERS, pk), body, "change provider %d" % pk)

    def delete_provider(self, pk: int) -> None:
        """Remove a provider and its connections; nothing is deleted at Google."""
        with _needs("delete_googleworkspaceprovider", "the removal of providers"):
            self._delete("%s%d/" % (PROVIDERS, pk), "remove provider %d" % pk)

    # Property mappings

    def create_mapping(self, body: Json) -> Json:
        with _needs("add_googleworkspaceprovidermapping", "new property mappings"):
            return self._write("POST", MAPPINGS, body, "create property mapping '%s'" % body.get("name"))

    def change_mapping(self, pk: str, body: Json) -> Json:
        with _needs("change_googleworkspaceprovidermapping", "changes of property mappings"):
            return self._write("PATCH", f"{MAPPINGS}{quoted(pk)}/", body, f"change property mapping {pk}")

    def delete_mapping(self, pk: str) -> None:
        """Remove a property mapping; providers lose it."""
        with _needs("delete_googleworkspaceprovidermapping", "the removal of property mappings"):
            self._delete(f"{MAPPINGS}{quoted(pk)}/", f"remove property mapping {pk}")

    def mapping_users(self, pk: str) -> list[Json]:
        """What uses a property mapping: {app, model_name, pk, name, action} each."""
        with _needs("view_googleworkspaceprovidermapping", "property mappings"):
            data = self.client.get(f"{MAPPINGS}{quoted(pk)}/used_by/", what=f"see what uses property mapping {pk}").data
        return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []

    # Applications

    def application(self, slug: str) -> Json | None:
        """An application by its slug, or None."""
        with _needs("view_application", "applications", CORE):
            try:
                return self.client.get_object(f"{APPLICATIONS}{quoted(slug)}/", what=f"read application {slug}")
            except AuthentikError as exc:
                if exc.kind == "not_found" and not exc.remedy:
                    return None
                raise

    def applications_named(self, name: str) -> list[Json]:
        """The applications with exactly this name, those too that the token's user may not open."""
        with _needs("view_application", "applications", CORE):
            found = self.client.get_page(
                APPLICATIONS,
                {"name": name, "superuser_full_list": True, "page_size": 10},
                what=f"look up application '{name}'",
            )["results"]
        return [item for item in found if item.get("name") == name]

    def create_application(self, body: Json) -> Json:
        with _needs("add_application", "new applications", CORE):
            return self._write("POST", APPLICATIONS, body, "create application %s" % body.get("slug"))

    def change_application(self, slug: str, body: Json) -> Json:
        with _needs("change_application", "changes of the application", CORE):
            return self._write("PATCH", f"{APPLICATIONS}{quoted(slug)}/", body, f"change application {slug}")

    # Licence, who we are, what runs

    def licence(self) -> Json:
        """The summary of the enterprise licence; any valid token may read it."""
        return self.client.get_object("enterprise/license/summary/", what="read the licence")

    def me(self) -> Json:
        """The token's user as authentik shows it to itself."""
        user = self.client.get_object("core/users/me/", what="see whose token this is").get("user")
        return user if isinstance(user, dict) else {}

    def role_permissions(self, role: str) -> list[str]:
        """What a role permits on every object, as ``app.codename``; any valid token may ask."""
        found = self.client.get_all(
            "rbac/permissions/", {"role": role, "page_size": 100}, what=f"read the permissions of role {role}"
        )
        return ["%s.%s" % (item.get("app_label"), item.get("codename")) for item in found]

    def allowed_methods(self, path: str) -> list[str]:
        """Which of POST and PUT the token's user has the right to at a path, as the answer to OPTIONS tells."""
        data = self.client.request("OPTIONS", path, what="see what the token's user may do").data
        actions = data.get("actions") if isinstance(data, dict) else None
        return sorted(actions) if isinstance(actions, dict) else []

    def readable(self, path: str) -> bool:
        """Whether the token's user may read a list."""
        try:
            self.client.get_page(path, {"page_size": 1}, what=f"see whether {path} is readable")
        except AuthentikError as exc:
            if exc.kind != "forbidden":
                raise
            return False
        return True

    def sync_status(self, pk: int) -> Json:
        """What authentik says of a provider's full syncs; see docs/architecture.md for its forms."""
        with _needs("view_googleworkspaceprovider", "the state of syncs"), _missing(
            "authentik has no Google Workspace provider with the id %d." % pk, "Check provider_id."
        ):
            return self.client.get_object("%s%d/sync/status/" % (PROVIDERS, pk), what="read the state of syncs")

    def schedules(self, pk: int) -> list[Json]:
        """The schedules of a provider's full syncs (2025.8 and later)."""
        query = {
            "actor_name": FULL_SYNC_ACTOR,
            "rel_obj_content_type__app_label": GWS,
            "rel_obj_content_type__model": "googleworkspaceprovider",
            "rel_obj_id": pk,
            "page_size": 10,
        }
        with _needs("view_schedule", "the schedule of full syncs", "authentik_tasks_schedules"):
            return self.client.get_page("tasks/schedules/", query, what="read the schedule of full syncs")["results"]

    def tasks(self, **query: t.Any) -> list[Json]:
        """Tasks (2025.8 and later), newest first."""
        with _needs("view_task", "tasks", "authentik_tasks"):
            return self.client.get_page(
                "tasks/tasks/", dict({"ordering": "-mtime", "page_size": 10}, **query), what="read the last tasks"
            )["results"]

    def _write(self, method: str, path: str, body: Json, what: str) -> Json:
        data = self.client.request(method, path, body=body, what=what).data
        if not isinstance(data, dict):
            raise AuthentikError("json", f"Could not {what}: the answer is no JSON object.", sent=True)
        self.client.check_keys(data, what)
        return data

    def _delete(self, path: str, what: str) -> None:
        """What is gone already counts as done."""
        try:
            self.client.request("DELETE", path, what=what)
        except AuthentikError as exc:
            if exc.kind != "not_found" or exc.remedy:
                raise
