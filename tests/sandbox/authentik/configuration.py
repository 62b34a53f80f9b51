# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints by which authentik is configured: providers, property mappings, applications, licence, permissions."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from tests.sandbox.authentik.api import Answer, Api, ApiError, Call, Fields, number_of, ordered, uuid_of
from tests.sandbox.authentik.expressions import syntax_error
from tests.sandbox.authentik.settings import Settings
from tests.sandbox.authentik.shapes import Shapes
from tests.sandbox.authentik.state import Application, Connection, Mapping, Provider, State, stable_uuid

if TYPE_CHECKING:
    from tests.sandbox.authentik.background import Background

GWS = "authentik_providers_google_workspace"
PROVIDER = f"{GWS}.%s_googleworkspaceprovider"
MAPPING = f"{GWS}.%s_googleworkspaceprovidermapping"
APPLICATION = "authentik_core.%s_application"
ENTERPRISE = {"non_field_errors": ["Enterprise is required to create/update this object."]}
ACTIONS = ("do_nothing", "delete", "suspend")
UNIQUE = "This field must be unique."
DURATION = re.compile(r"^(microseconds|milliseconds|seconds|minutes|hours|days|weeks)=\d+$")
LICENCES = ("unlicensed", "valid", "expired", "expiry_soon", "limit_exceeded_admin", "limit_exceeded_user", "read_only")


class Configuration:
    """The views; ``routes`` are part of the server's API."""

    def __init__(self, state: State, api: Api, settings: Settings, shapes: Shapes, background: Background) -> None:
        self.state = state
        self.api = api
        self.release = api.release
        self.settings = settings
        self.shapes = shapes
        self.background = background

    def routes(self) -> list[Route]:
        route = self.api.route
        return [
            route(
                "/providers/google_workspace/",
                shown=self._creating(PROVIDER),
                get=self.providers,
                post=self.create_provider,
            ),
            route(
                "/providers/google_workspace/{pk}/",
                shown=self._changing(self._provider, PROVIDER),
                get=self.provider,
                put=self.replace_provider,
                patch=self.change_provider,
                delete=self.delete_provider,
            ),
            route("/providers/google_workspace/{pk}/used_by/", get=self.provider_used_by),
            route(
                "/propertymappings/provider/google_workspace/",
                shown=self._creating(MAPPING),
                get=self.mappings,
                post=self.create_mapping,
            ),
            route(
                "/propertymappings/provider/google_workspace/{pk}/",
                shown=self._changing(self._mapping, MAPPING),
                get=self.mapping,
                put=self.replace_mapping,
                patch=self.change_mapping,
                delete=self.delete_mapping,
            ),
            route("/propertymappings/provider/google_workspace/{pk}/used_by/", get=self.mapping_used_by),
            route("/propertymappings/all/", get=self.all_mappings),
            route(
                "/core/applications/",
                shown=self._creating(APPLICATION),
                get=self.applications,
                post=self.create_application,
            ),
            route(
                "/core/applications/{slug}/",
                shown=self._changing(self._application, APPLICATION),
                get=self.application,
                put=self.replace_application,
                patch=self.change_application,
                delete=self.delete_application,
            ),
            route("/enterprise/license/summary/", model=False, get=self.licence),
            route("/rbac/permissions/", model=False, get=self.permissions),
        ]

    # -- what OPTIONS tells about rights ---------------------------------------------------------------------------

    def _creating(self, permission: str) -> Callable[[Call], list[str]]:
        return lambda call: ["POST"] if call.may(permission % "add") else []

    def _changing(self, find: Callable[[Call], Any], permission: str) -> Callable[[Call], list[str]]:
        def shown(call: Call) -> list[str]:
            with self.state.lock:
                try:
                    found = find(call)
                except ApiError:
                    return []
            return ["PUT"] if call.may(permission % "change", getattr(found, "pk", None)) else []

        return shown

    # -- providers -------------------------------------------------------------------------------------------------

    def _provider(self, call: Call) -> Provider:
        pk = number_of(call.path["pk"])
        call.demand(PROVIDER % "view", pk)
        provider = self.state.providers.get(pk)
        if provider is None:
            raise self.api.not_found("GoogleWorkspaceProvider")
        return provider

    def providers(self, call: Call) -> Answer:
        query = call.query
        with self.state.lock:
            seen = [item for item in self.state.providers.values() if call.may(PROVIDER % "view", item.pk)]
            if not seen and not call.may(PROVIDER % "view"):
                raise ApiError(403, {"detail": "You do not have permission to perform this action."})
            found = [
                item
                for item in seen
                if all(
                    query.get(key, getattr(item, key)) == getattr(item, key) for key in ("name", "delegated_subject")
                )
                and query.get("filter_group", item.filter_group) == item.filter_group
                and query.get("search", "").lower() in item.name.lower()
            ]
            found = ordered(found, query.get("ordering", "name"), {"name": lambda item: item.name})
            return self.api.page(call, found, self.shapes.provider)

    def provider(self, call: Call) -> Answer:
        with self.state.lock:
            return Answer(self.shapes.provider(self._provider(call)))

    def create_provider(self, call: Call) -> Answer:
        call.demand(PROVIDER % "add")
        with self.state.lock:
            values = self._provider_values(call, None, required=True)
            provider = self.state.new_provider(values)
            shown = self.shapes.provider(provider)
        self.background.provider_saved(provider.pk)
        return Answer(shown, 201)

    def replace_provider(self, call: Call) -> Answer:
        return self._change_provider(call, required=True)

    def change_provider(self, call: Call) -> Answer:
        return self._change_provider(call, required=False)

    def _change_provider(self, call: Call, required: bool) -> Answer:
        with self.state.lock:
            provider = self._provider(call)
            call.demand(PROVIDER % "change", provider.pk)
            for key, value in self._provider_values(call, provider, required).items():
                setattr(provider, key, value)
            shown = self.shapes.provider(provider)
        self.background.provider_saved(provider.pk)
        return Answer(shown)

    def _provider_values(self, call: Call, provider: Provider | None, required: bool) -> dict[str, Any]:
        fields = Fields(call.data())
        given = fields.data
        names = {item.name for item in self.state.providers.values() if item is not provider}
        names |= {name for app in self.state.applications.values() for name in app.others.values()}
        values: dict[str, Any] = {
            "name": fields.text("name", required),
            "property_mappings": fields.uuids("property_mappings", self.state.mappings),
            "property_mappings_group": fields.uuids("property_mappings_group", self.state.mappings),
            "delegated_subject": fields.email("delegated_subject", required),
            "credentials": fields.dictionary("credentials", required and not self.release.secrets_elsewhere),
            "scopes": fields.text("scopes", False),
            "exclude_users_service_account": fields.boolean("exclude_users_service_account"),
            "user_delete_action": fields.choice("user_delete_action", ACTIONS, False),
            "group_delete_action": fields.choice("group_delete_action", ACTIONS, False),
            "default_group_email_domain": fields.text("default_group_email_domain", required),
        }
        if given.get("filter_group") is not None:
            values["filter_group"] = fields.uuid("filter_group", self.state.groups, False)
        elif "filter_group" in given:
            values["filter_group"] = None
        if self.release.dry_run:
            values["dry_run"] = fields.boolean("dry_run")
        if self.release.page_settings:
            values["sync_page_size"] = fields.whole("sync_page_size")
            values["sync_page_timeout"] = fields.text("sync_page_timeout", False)
            if given.get("sync_page_timeout") and not all(
                DURATION.match(part) for part in str(given["sync_page_timeout"]).split(";")
            ):
                text = "%s is not in the correct format of 'hours=3;minutes=1'." % given["sync_page_timeout"]
                fields.errors["sync_page_timeout"] = [text]
        if self.release.discovery_setting:
            values["discovery_enabled"] = fields.boolean("discovery_enabled")
        if self.release.secrets_elsewhere:
            values["credentials_ref"] = given.get("credentials_ref")
        if values["name"] in names:
            fields.errors.setdefault("name", [UNIQUE])
        fields.check()
        if not self.settings.licensed:
            # Looked at last: fields that are wrong are named first.
            raise ApiError(400, ENTERPRISE)
        return {key: value for key, value in values.items() if key in given}

    def delete_provider(self, call: Call) -> Answer:
        with self.state.lock:
            provider = self._provider(call)
            call.demand(PROVIDER % "delete", provider.pk)
            self.state.remove_provider(provider)
        return Answer(status=204)

    def provider_used_by(self, call: Call) -> Answer:
        with self.state.lock:
            provider = self._provider(call)
            found = []
            for kind in ("group", "user"):
                rows = self.state.rows(kind, provider.pk)
                found += [used(GWS, f"googleworkspaceprovider{kind}", row.id, row_name(row), "cascade") for row in rows]
            for pk in sorted({*provider.property_mappings, *provider.property_mappings_group}):
                name = "Property Mapping %s" % self.state.mappings[pk].name
                found.append(used("authentik_core", "propertymapping", pk, name, "cascade_many"))
            return Answer(found)

    # -- property mappings -----------------------------------------------------------------------------------------

    def _mapping(self, call: Call) -> Mapping:
        call.demand(MAPPING % "view")
        mapping = self.state.mappings.get(uuid_of(call.path["pk"]))
        if mapping is None:
            raise self.api.not_found("GoogleWorkspaceProviderMapping")
        return mapping

    def mappings(self, call: Call) -> Answer:
        call.demand(MAPPING % "view")
        query = call.query
        with self.state.lock:
            managed = call.many("managed")
            found = [
                item
                for item in self.state.mappings.values()
                if (not managed or item.managed in managed)
                and query.get("name", item.name) == item.name
                and query.get("pm_uuid", item.pk) == item.pk
                and query.get("search", "").lower() in item.name.lower()
            ]
            found = ordered(found, query.get("ordering", "name"), {"name": lambda item: item.name})
            return self.api.page(call, found, self.shapes.mapping)

    def all_mappings(self, call: Call) -> Answer:
        """Property mappings of every kind, which here are all of one."""
        call.demand("authentik_core.view_propertymapping")
        with self.state.lock:
            found = sorted(self.state.mappings.values(), key=lambda item: item.name)
            return self.api.page(call, found, self.shapes.mapping)

    def mapping(self, call: Call) -> Answer:
        with self.state.lock:
            return Answer(self.shapes.mapping(self._mapping(call)))

    def create_mapping(self, call: Call) -> Answer:
        call.demand(MAPPING % "add")
        with self.state.lock:
            values = self._mapping_values(call, None, required=True)
            mapping = Mapping(str(uuid.uuid4()), values["name"], values["expression"], "", values.get("managed"))
            self.state.mappings[mapping.pk] = mapping
            return Answer(self.shapes.mapping(mapping), 201)

    def replace_mapping(self, call: Call) -> Answer:
        return self._change_mapping(call, required=True)

    def change_mapping(self, call: Call) -> Answer:
        return self._change_mapping(call, required=False)

    def _change_mapping(self, call: Call, required: bool) -> Answer:
        with self.state.lock:
            mapping = self._mapping(call)
            call.demand(MAPPING % "change")
            for key, value in self._mapping_values(call, mapping, required).items():
                setattr(mapping, key, value)
            return Answer(self.shapes.mapping(mapping))

    def _mapping_values(self, call: Call, mapping: Mapping | None, required: bool) -> dict[str, Any]:
        fields = Fields(call.data())
        others = [item for item in self.state.mappings.values() if item is not mapping]
        values: dict[str, Any] = {
            "name": fields.text("name", required),
            "expression": fields.text("expression", required),
        }
        if fields.data.get("managed") is not None:
            values["managed"] = fields.text("managed", False)
        elif "managed" in fields.data:
            values["managed"] = None
        wrong = syntax_error(values["expression"]) if values["expression"] else ""
        if wrong:
            fields.errors["expression"] = ["Expression Syntax Error: %s" % wrong]
        for key in ("name", "managed"):
            if values.get(key) and values[key] in [getattr(item, key) for item in others]:
                fields.errors.setdefault(key, [UNIQUE])
        fields.check()
        return {key: value for key, value in values.items() if key in fields.data}

    def delete_mapping(self, call: Call) -> Answer:
        with self.state.lock:
            mapping = self._mapping(call)
            call.demand(MAPPING % "delete")
            self.state.remove_mapping(mapping)
        return Answer(status=204)

    def mapping_used_by(self, call: Call) -> Answer:
        with self.state.lock:
            mapping = self._mapping(call)
            found = [
                used(
                    GWS,
                    "googleworkspaceprovider",
                    str(item.pk),
                    f"Google Workspace Provider {item.name}",
                    "cascade_many",
                )
                for item in self.state.providers.values()
                if mapping.pk in (*item.property_mappings, *item.property_mappings_group)
            ]
            return Answer(found)

    # -- applications ----------------------------------------------------------------------------------------------

    def _application(self, call: Call) -> Application:
        call.demand(APPLICATION % "view")
        application = self.state.applications.get(call.path["slug"])
        if application is None:
            raise self.api.not_found("Application")
        return application

    def applications(self, call: Call) -> Answer:
        """Without superuser_full_list those that the caller may open; here that is every one without a policy."""
        call.demand(APPLICATION % "view")
        query = call.query
        with self.state.lock:
            found = [
                item
                for item in self.state.applications.values()
                if (call.flag("superuser_full_list", False) or not item.hidden)
                and query.get("name", item.name) == item.name
                and query.get("slug", item.slug) == item.slug
                and query.get("search", "").lower() in f"{item.name} {item.slug}".lower()
            ]
            found = ordered(found, query.get("ordering", "name"), {"name": lambda item: item.name})
            return self.api.page(call, found, self.shapes.application)

    def application(self, call: Call) -> Answer:
        with self.state.lock:
            return Answer(self.shapes.application(self._application(call)))

    def create_application(self, call: Call) -> Answer:
        call.demand(APPLICATION % "add")
        with self.state.lock:
            values = self._application_values(call, None, required=True)
            application = Application(stable_uuid("application", values["slug"]), values["slug"], values["name"])
            self.state.applications[application.slug] = application
            self._set_application(application, values)
            return Answer(self.shapes.application(application), 201)

    def replace_application(self, call: Call) -> Answer:
        return self._change_application(call, required=True)

    def change_application(self, call: Call) -> Answer:
        return self._change_application(call, required=False)

    def _change_application(self, call: Call, required: bool) -> Answer:
        with self.state.lock:
            application = self._application(call)
            call.demand(APPLICATION % "change")
            self._set_application(application, self._application_values(call, application, required))
            return Answer(self.shapes.application(application))

    def _application_values(self, call: Call, application: Application | None, required: bool) -> dict[str, Any]:
        fields = Fields(call.data())
        known = {
            **self.state.providers,
            **{pk: name for app in self.state.applications.values() for pk, name in app.others.items()},
        }
        values: dict[str, Any] = {
            "name": fields.text("name", required),
            "slug": fields.slug("slug", required),
            "backchannel_providers": fields.numbers("backchannel_providers", known),
            "group": fields.text("group", False, blank=True),
            "meta_description": fields.text("meta_description", False, blank=True),
            "meta_publisher": fields.text("meta_publisher", False, blank=True),
        }
        slugs = {slug for slug, item in self.state.applications.items() if item is not application}
        if values["slug"] in slugs:
            fields.errors["slug"] = [UNIQUE]
        fields.check()
        return {key: value for key, value in values.items() if key in fields.data}

    def _set_application(self, application: Application, values: dict[str, Any]) -> None:
        if "slug" in values and values["slug"] != application.slug:
            self.state.rename_application(application, values["slug"])
        for key in ("name", "group", "meta_description", "meta_publisher"):
            if key in values:
                setattr(application, key, values[key])
        if "backchannel_providers" in values:
            self.state.set_backchannel(application, values["backchannel_providers"])

    def delete_application(self, call: Call) -> Answer:
        with self.state.lock:
            application = self._application(call)
            call.demand(APPLICATION % "delete")
            self.state.remove_application(application)
        return Answer(status=204)

    # -- licence and permissions -----------------------------------------------------------------------------------

    def licence(self, _call: Call) -> Answer:
        valid = self.settings.licensed
        return Answer(
            {
                "internal_users": 1000 if valid else 0,
                "external_users": 0,
                "status": "valid" if valid else "unlicensed",
                "latest_valid": "2099-01-01T00:00:00Z" if valid else "1970-01-01T00:00:00Z",
                "license_flags": [],
            }
        )

    def permissions(self, call: Call) -> Answer:
        """Permissions by name; with a role, those that it gives on every object. Anybody may ask."""
        with self.state.lock:
            role = call.query.get("role")
            names = sorted({name for item in self.state.tokens.values() for name in item.permissions})
            if role is not None:
                held = [item for item in self.state.tokens.values() if item.role == role]
                if not held:
                    text = "Select a valid choice. That choice is not one of the available choices."
                    raise ApiError(400, {"role": [text]})
                names = sorted(held[0].permissions)
            return self.api.page(call, list(enumerate(names, 1)), described_permission)


def described_permission(item: tuple[int, str]) -> dict:
    number, name = item
    app, _, codename = name.partition(".")
    verb, _, model = codename.partition("_")
    return {
        "id": number,
        "name": f"Can {verb} {model}",
        "codename": codename,
        "model": model,
        "app_label": app,
        "app_label_verbose": app.replace("_", " "),
        "model_verbose": model,
    }


def used(app: str, model: str, pk: str, name: str, action: str) -> dict:
    return {"app": app, "model_name": model, "pk": pk, "name": name, "action": action}


def row_name(row: Connection) -> str:
    return f"Google Workspace Provider {row.kind.capitalize()} {row.obj} to {row.provider}"
