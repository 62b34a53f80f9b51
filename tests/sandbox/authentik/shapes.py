# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON that authentik makes of its objects, release by release."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.sandbox.authentik.full_sync import NAME
from tests.sandbox.authentik.releases import Release
from tests.sandbox.authentik.schedules import Schedule
from tests.sandbox.authentik.state import Application, Connection, Group, Mapping, Provider, State, User
from tests.sandbox.authentik.tasks import ACTORS, DESCRIPTIONS, Task, aggregated

AVATAR = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4="
PROVIDER_NAMES = {
    "verbose_name": "Google Workspace Provider",
    "verbose_name_plural": "Google Workspace Providers",
    "meta_model_name": "authentik_providers_google_workspace.googleworkspaceprovider",
}


def column(kind: str, nullable: bool = False, options: list | None = None, **more: str) -> dict:
    return {"type": kind, "nullable": nullable, "options": options, **more}


USER_AUTOCOMPLETE = {
    "current_model": "authentik_core.user",
    "models": {
        "authentik_core.user": {
            **{name: column("str") for name in ("username", "name", "email", "path")},
            "is_active": column("bool", True),
            "type": column("str", options=["internal", "external", "service_account", "internal_service_account"]),
            "attributes": column("relation", relation="authentik_core.user_attributes"),
        }
    },
}
GROUP_AUTOCOMPLETE = {
    "current_model": "authentik_core.group",
    "models": {
        "authentik_core.group": {
            "name": column("str"),
            "is_superuser": column("bool", True),
            "attributes": column("relation", relation="authentik_core.group_attributes"),
        }
    },
}


class Shapes:
    """Shows objects. The caller holds the state's lock."""

    def __init__(self, state: State, release: Release) -> None:
        self._state = state
        self._release = release

    # -- people -------------------------------------------------------------------------------------------------

    def user(self, user: User, include_groups: bool = True) -> dict:
        release = self._release
        groups = self._state.groups_of(user)
        shown = {
            "pk": user.pk,
            "username": user.username,
            "name": user.name,
            "is_active": user.is_active,
            "last_login": None,
        }
        if release.user_dates:
            shown["date_joined"] = user.created
        shown["is_superuser"] = self._state.is_superuser(user)
        shown["groups"] = [group.pk for group in groups]
        shown["groups_obj"] = [self.partial_group(group) for group in groups] if include_groups else None
        if release.group_parents:
            shown.update(roles=[], roles_obj=[])
        shown.update(
            email=user.email,
            avatar=AVATAR,
            attributes=user.attributes,
            uid=user.uid,
            path=user.path,
            type=user.type,
            uuid=user.uuid,
        )
        if release.user_dates:
            shown.update(password_change_date=user.created, last_updated=user.updated)
        return shown

    def me(self, user: Any, token: Any) -> dict:
        shown = {
            "pk": user.pk,
            "username": user.username,
            "name": user.name,
            "is_active": user.is_active,
            "is_superuser": self._state.is_superuser(user),
            "groups": [{"name": group.name, "pk": group.pk} for group in self._state.groups_of(user)],
        }
        if self._release.group_parents:
            role = {"name": "role of " + user.username, "pk": token.role}
            shown["roles"] = [role] if token.permissions else []
        system = {"authentik_rbac.view_system_info", "authentik_rbac.view_system_settings"}
        held = system if user.is_superuser else system & token.permissions
        shown.update(
            email=user.email,
            avatar=AVATAR,
            uid=user.uid,
            settings={},
            type=user.type,
            system_permissions=sorted(name.partition(".")[2] for name in held),
        )
        return {"user": shown}

    def partial_user(self, user: User) -> dict:
        return {
            "pk": user.pk,
            "username": user.username,
            "name": user.name,
            "is_active": user.is_active,
            "last_login": None,
            "email": user.email,
            "attributes": user.attributes,
            "uid": user.uid,
        }

    # -- groups -------------------------------------------------------------------------------------------------

    def group(
        self,
        group: Group,
        include_users: bool = True,
        include_children: bool = False,
        include_parents: bool = False,
    ) -> dict:
        release = self._release
        members = [self._state.users[pk] for pk in group.users]
        shown = {
            "pk": group.pk,
            "num_pk": group.num_pk,
            "name": group.name,
            "is_superuser": group.is_superuser,
        }
        if release.group_parents:
            parents = [self._state.groups[pk] for pk in group.parents]
            shown["parents"] = list(group.parents)
            shown["parents_obj"] = [self.partial_group(each) for each in parents] if include_parents else None
        else:
            shown.update(self._parent(group))
        shown["users"] = [user.pk for user in members]
        shown["users_obj"] = [self.partial_user(user) for user in members] if include_users else None
        shown.update(attributes=group.attributes, roles=[], roles_obj=[])
        if release.group_parents:
            shown["inherited_roles_obj"] = None
        if release.tasks_api:
            children = [each for each in self._state.groups.values() if group.pk in each.parents]
            shown["children"] = [each.pk for each in children]
            shown["children_obj"] = [self.partial_group(each) for each in children] if include_children else None
        return shown

    def partial_group(self, group: Group) -> dict:
        shown = {"pk": group.pk, "num_pk": group.num_pk, "name": group.name, "is_superuser": group.is_superuser}
        if not self._release.group_parents:
            shown.update(self._parent(group))
        shown["attributes"] = group.attributes
        return shown

    def _parent(self, group: Group) -> dict:
        parent = self._state.groups[group.parents[0]] if group.parents else None
        return {"parent": parent.pk if parent else None, "parent_name": parent.name if parent else None}

    # -- providers, mappings, connections -----------------------------------------------------------------------

    def provider(self, provider: Provider) -> dict:
        shown = {
            "pk": provider.pk,
            "name": provider.name,
            "property_mappings": list(provider.property_mappings),
            "property_mappings_group": list(provider.property_mappings_group),
            "component": "ak-provider-google-workspace-form",
            **self._backchannel(provider),
            **PROVIDER_NAMES,
            "delegated_subject": provider.delegated_subject,
            "credentials": provider.credentials,
            "scopes": provider.scopes,
            "exclude_users_service_account": provider.exclude_users_service_account,
            "filter_group": provider.filter_group,
            "user_delete_action": provider.user_delete_action,
            "group_delete_action": provider.group_delete_action,
            "default_group_email_domain": provider.default_group_email_domain,
        }
        if self._release.page_settings:
            shown.update(sync_page_size=provider.sync_page_size, sync_page_timeout=provider.sync_page_timeout)
        if self._release.dry_run:
            shown["dry_run"] = provider.dry_run
        if self._release.discovery_setting:
            shown["discovery_enabled"] = provider.discovery_enabled
        if self._release.secrets_elsewhere:
            del shown["credentials"]
            shown["credentials_ref"] = provider.credentials_ref
        return shown

    def application(self, application: Application) -> dict:
        state = self._state
        own = [item for item in state.providers.values() if item.application == application.slug]
        main = next((item for item in own if item.main_application), None)
        backchannel = {item.pk: self._bare(item.pk, item.name, application) for item in own if item is not main}
        for item in own:
            if item is not main:
                backchannel[item.pk]["property_mappings"] = list(item.property_mappings)
        backchannel.update({pk: self._bare(pk, name, application) for pk, name in application.others.items()})
        shown = {
            "pk": application.pk,
            "name": application.name,
            "slug": application.slug,
            "provider": main.pk if main else None,
            "provider_obj": self.any_provider(main) if main else None,
            "backchannel_providers": sorted(backchannel),
            "backchannel_providers_obj": [backchannel[pk] for pk in sorted(backchannel)],
            "launch_url": None,
            "open_in_new_tab": False,
            "meta_launch_url": "",
            "meta_icon": "" if self._release.group_parents else None,
        }
        if self._release.group_parents:
            shown.update(meta_icon_url=None, meta_icon_themed_urls=None)
        shown.update(
            meta_description=application.meta_description,
            meta_publisher=application.meta_publisher,
            policy_engine_mode="any",
            group=application.group,
        )
        if self._release.discovery_setting:
            shown.update(meta_hide=False, pbm_uuid=application.pk)
        return shown

    def _bare(self, pk: int, name: str, application: Application) -> dict:
        """A provider as an application shows it: without what is particular to its kind."""
        shown: dict[str, Any] = {"pk": pk, "name": name, "authentication_flow": None, "authorization_flow": None}
        if self._release.tasks_api:
            shown["invalidation_flow"] = None
        shown.update(
            property_mappings=[],
            component="",
            assigned_application_slug=None,
            assigned_application_name=None,
            assigned_backchannel_application_slug=application.slug,
            assigned_backchannel_application_name=application.name,
            verbose_name="provider",
            verbose_name_plural="providers",
            meta_model_name="authentik_core.provider",
        )
        return shown

    def any_provider(self, provider: Provider) -> dict:
        """A provider in the list of providers of all kinds."""
        slug = provider.application if provider.main_application else None
        shown: dict[str, Any] = {
            "pk": provider.pk,
            "name": provider.name,
            "authentication_flow": None,
            "authorization_flow": None,
        }
        if self._release.tasks_api:
            shown["invalidation_flow"] = None
        shown.update(
            property_mappings=list(provider.property_mappings),
            component="ak-provider-google-workspace-form",
            assigned_application_slug=slug,
            assigned_application_name=self._application_name(slug),
            **self._backchannel(provider),
            **PROVIDER_NAMES,
        )
        return shown

    def _backchannel(self, provider: Provider) -> dict:
        slug = None if provider.main_application else provider.application
        if slug is None and self._release.drops_unassigned:
            return {}
        return {
            "assigned_backchannel_application_slug": slug,
            "assigned_backchannel_application_name": self._application_name(slug),
        }

    def _application_name(self, slug: str | None) -> str | None:
        return None if slug is None else self._state.applications[slug].name

    @staticmethod
    def mapping(mapping: Mapping) -> dict:
        return {
            "pk": mapping.pk,
            "managed": mapping.managed,
            "name": mapping.name,
            "expression": mapping.expression,
            "component": "ak-property-mapping-provider-google-workspace-form",
            "verbose_name": "Google Workspace Provider Mapping",
            "verbose_name_plural": "Google Workspace Provider Mappings",
            "meta_model_name": "authentik_providers_google_workspace.googleworkspaceprovidermapping",
        }

    def connection(self, row: Connection) -> dict:
        if row.kind == "user":
            obj = {"user": row.obj, "user_obj": self.partial_user(self._state.users[row.obj])}
        else:
            obj = {"group": row.obj, "group_obj": self.partial_group(self._state.groups[row.obj])}
        return {
            "id": row.id,
            "google_id": row.google_id,
            **obj,
            "provider": row.provider,
            "attributes": row.attributes,
        }

    # -- tasks --------------------------------------------------------------------------------------------------

    def task(self, task: Task) -> dict:
        release = self._release
        app_label, model, pk = task.rel_obj
        seen = vars(task) if release.task_logs else task.stored
        shown: dict[str, Any] = {
            "message_id": task.message_id,
            "queue_name": task.queue,
            "actor_name": task.actor_name,
            "state": task.state,
            "mtime": task.mtime,
        }
        if release.task_logs:
            shown.update(retries=task.retries, eta=task.eta)
        shown.update(rel_obj_app_label=app_label, rel_obj_model=model, rel_obj_id=pk, uid=seen["uid"])
        lines = "logs" if release.task_logs else "messages"
        shown[lines] = list(seen["logs"])
        shown["previous_" + lines] = list(seen["previous_logs"])
        shown.update(aggregated_status=aggregated(task, release), description=task.description)
        return shown

    def schedule(self, schedule: Schedule, last: Task | None) -> dict:
        """A schedule with the last of its tasks."""
        provider = self._state.providers[schedule.provider]
        return {
            "id": schedule.id,
            "identifier": str(provider.pk),
            "uid": "%s%s:%s" % (ACTORS, NAME, provider.name),
            "actor_name": ACTORS + NAME,
            "rel_obj_app_label": "authentik_providers_google_workspace",
            "rel_obj_model": "googleworkspaceprovider",
            "rel_obj_id": str(provider.pk),
            "crontab": schedule.crontab,
            "paused": schedule.paused,
            "next_run": schedule.next_run,
            "description": DESCRIPTIONS[NAME],
            "last_task_status": aggregated(last, self._release) if last is not None else None,
        }

    @staticmethod
    def system_task(row: Any) -> dict:
        """The last full sync, up to 2025.6."""
        return {
            "uuid": row.uuid,
            "name": NAME,
            "full_name": "%s:%s" % (NAME, row.uid),
            "uid": row.uid,
            "description": "Run full sync for Google Workspace provider",
            "start_timestamp": moment(row.started),
            "finish_timestamp": moment(row.finished),
            "duration": (row.finished - row.started).total_seconds(),
            "status": row.status,
            "messages": row.messages,
            "expires": moment(row.expires),
            "expiring": True,
        }


def moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
