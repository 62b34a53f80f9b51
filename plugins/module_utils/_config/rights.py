# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the token's user may do, thing by thing, without trying it.

A list is readable or it is not. The answer to OPTIONS names POST and PUT where the user has the right to create or change
(recorded on 2024.8.1 and Django REST framework's own doing). From 2025.12 on authentik tells a user's roles, and what a role
permits. A superuser may do everything. What none of these tells is unknown.
"""

from __future__ import annotations

import typing as t

from .._authentik.api import GWS
from .._authentik.configuration import APPLICATIONS, MAPPINGS, PROVIDERS
from .._authentik.errors import AuthentikError
from .._common.types import Json
from .work import Work

USERS, GROUPS = "providers/google_workspace_users/", "providers/google_workspace_groups/"
TASKS, SCHEDULES = "tasks/tasks/", "tasks/schedules/"


class Thing(t.NamedTuple):
    """Something that the collection does.

    Attributes:
        what: str, in words.
        permission: str, ``app.codename``.
        how: ``read`` (a list that is readable), ``create`` or ``change`` (what OPTIONS tells), ``role`` (only a role tells).
        path: str, where to look; ``{provider}``, ``{mapping}`` and ``{application}`` stand for one of each.
        needed: whether syncing an object or a directory needs it.
        tasks: whether it is there from 2025.8 on only.
    """

    what: str
    permission: str
    how: str
    path: str
    needed: bool = False
    tasks: bool = False


THINGS = (
    Thing("read the provider", GWS + ".view_googleworkspaceprovider", "read", PROVIDERS, True),
    Thing("sync through authentik", GWS + ".add_googleworkspaceprovider", "create", PROVIDERS, True),
    Thing("create a provider", GWS + ".add_googleworkspaceprovider", "create", PROVIDERS),
    Thing("change the provider", GWS + ".change_googleworkspaceprovider", "change", PROVIDERS + "{provider}/"),
    Thing("remove a provider", GWS + ".delete_googleworkspaceprovider", "role", ""),
    Thing("find users", "authentik_core.view_user", "read", "core/users/", True),
    Thing("find groups", "authentik_core.view_group", "read", "core/groups/", True),
    Thing("read property mappings", GWS + ".view_googleworkspaceprovidermapping", "read", MAPPINGS),
    Thing("create property mappings", GWS + ".add_googleworkspaceprovidermapping", "create", MAPPINGS),
    Thing(
        "change property mappings", GWS + ".change_googleworkspaceprovidermapping", "change", MAPPINGS + "{mapping}/"
    ),
    Thing("remove property mappings", GWS + ".delete_googleworkspaceprovidermapping", "role", ""),
    Thing("find property mappings", "authentik_core.view_propertymapping", "read", "propertymappings/all/", True),
    Thing("evaluate property mappings", "authentik_core.add_propertymapping", "role", "", True),
    Thing("read connections of users", GWS + ".view_googleworkspaceprovideruser", "read", USERS, True),
    Thing("make connections of users", GWS + ".add_googleworkspaceprovideruser", "create", USERS),
    Thing("remove connections of users", GWS + ".delete_googleworkspaceprovideruser", "role", ""),
    Thing("read connections of groups", GWS + ".view_googleworkspaceprovidergroup", "read", GROUPS, True),
    Thing("make connections of groups", GWS + ".add_googleworkspaceprovidergroup", "create", GROUPS),
    Thing("remove connections of groups", GWS + ".delete_googleworkspaceprovidergroup", "role", ""),
    Thing("read applications", "authentik_core.view_application", "read", APPLICATIONS),
    Thing("create applications", "authentik_core.add_application", "create", APPLICATIONS),
    Thing("change the application", "authentik_core.change_application", "change", APPLICATIONS + "{application}/"),
    Thing("read tasks", "authentik_tasks.view_task", "read", TASKS, True, True),
    Thing("read the schedule", "authentik_tasks_schedules.view_schedule", "read", SCHEDULES, False, True),
    Thing("start a full sync", "authentik_tasks_schedules.send_schedule", "role", "", False, True),
    Thing("see whether a worker is alive", "authentik_rbac.view_system_info", "system", ""),
)


def effective(work: Work, me: Json, provider: Json, mapping: str | None) -> list[Json]:
    """What the token's user may do: {what, permission, held, needed_to_sync} each; held is None for unknown."""
    superuser = bool(me.get("is_superuser"))
    held = None if superuser else _of_roles(work, me)
    values = {
        "provider": str(provider.get("pk")),
        "mapping": mapping or "",
        "application": str(provider.get("assigned_backchannel_application_slug") or ""),
    }
    asked: dict[str, bool | None] = {}
    found = []
    for thing in THINGS:
        if thing.tasks and not work.version.has_tasks:
            continue
        answer: bool | None = True
        if not superuser:
            answer = _one(work, thing, me, held, values, asked)
        found.append(
            {"what": thing.what, "permission": thing.permission, "held": answer, "needed_to_sync": thing.needed}
        )
    return found


def _of_roles(work: Work, me: Json) -> set[str] | None:
    """What the user's roles permit on every object; None where authentik does not tell."""
    roles = me.get("roles")
    if not isinstance(roles, list):
        return None
    held: set[str] = set()
    for role in roles:
        try:
            held.update(work.api.role_permissions(str(role.get("pk"))))
        except AuthentikError:
            return None
    return held


def _one(
    work: Work,
    thing: Thing,
    me: Json,
    held: set[str] | None,
    values: dict[str, str],
    asked: dict[str, bool | None],
) -> bool | None:
    if thing.how == "system":
        return thing.permission.partition(".")[2] in (me.get("system_permissions") or [])
    if held is not None and thing.permission in held:
        return True
    if thing.how == "role":
        # The right to a provider may also be given for that one alone, which no role's list tells.
        return None if held is None or thing.permission.endswith("_googleworkspaceprovider") else False
    path = thing.path.format(**values)
    if path.endswith("//"):
        return None
    key = f"{thing.how} {path}"
    if key not in asked:
        try:
            if thing.how == "read":
                asked[key] = work.api.readable(path)
            else:
                method = "POST" if thing.how == "create" else "PUT"
                asked[key] = method in work.api.allowed_methods(path)
        except AuthentikError:
            asked[key] = None
    if asked[key] is False and thing.what == "sync through authentik":
        # The right may be given for this provider alone, which only a sync tells.
        return None
    return asked[key]
