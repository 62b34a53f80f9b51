# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources of authentik's API that the collection uses, one function each, with the permission that each wants."""

from __future__ import annotations

import re
import typing as t

from .._common.kind import GROUP, USER, Kind
from .._common.types import Json
from .._common.writes import Writes
from .client import Client, Map, Response, quoted
from .errors import AuthentikError

GWS = "authentik_providers_google_workspace"
SCHEDULES = "authentik_tasks_schedules"
FULL_SYNC_ACTOR = "authentik.enterprise.providers.google_workspace.tasks.google_workspace_sync"
# The task of one object, and of one page of a full sync.
SYNC_ACTOR = FULL_SYNC_ACTOR + "_objects"
FULL_SYNC_NAME = FULL_SYNC_ACTOR.rpartition(".")[2]
# How a filter of connections names the object.
_OBJECT_FILTER = {USER: "user__id", GROUP: "group__group_uuid"}

# A listing without what each object would bring along.
_LISTING: dict[Kind, Json] = {
    USER: {"include_groups": False, "ordering": "pk"},
    GROUP: {"include_users": False, "ordering": "name"},
}

# Primary keys that no object has.
NOBODY = {USER: "2147483647", GROUP: "00000000-0000-4000-8000-000000000000"}

# What authentik lists at most on one page, unless its administrator allows more.
LISTED_PAGE = 100


class Version:
    """A server's version, e.g. 2025.12.4, comparable by its first two numbers."""

    def __init__(self, text: str) -> None:
        self.text = text
        numbers = re.findall(r"\d+", text)
        self.number = (int(numbers[0]), int(numbers[1])) if len(numbers) > 1 else (0, 0)

    def __str__(self) -> str:
        return self.text

    @property
    def has_tasks(self) -> bool:
        """From 2025.8 on authentik runs its syncs as tasks that its API shows."""
        return self.number >= (2025, 8)

    @property
    def task_uid_names_object(self) -> bool:
        """From 2025.10 on the uid of a single-object task ends in the object's id; before, in a page number."""
        return self.number >= (2025, 10)


class Authentik:
    """authentik's API by name. Every method raises AuthentikError with a remedy.

    Attributes:
        audit: callable taking a dict, told of every connection's creation or removal before it is sent and when it has
            been answered.
        syncs: Writes, the syncs that authentik may have begun because of a request of ours.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.audit: t.Callable[[Json], None] | None = None
        self.syncs = Writes()

    def version(self) -> Version:
        """The server's version; any valid token may read it."""
        data = self.client.get_object("admin/version/", what="read authentik's version")
        if not isinstance(data.get("version_current"), str):
            raise AuthentikError(
                "json",
                f"{self.client.url} does not say which version of authentik it runs.",
                "Check that authentik_url points at an authentik server.",
            )
        return Version(data["version_current"])

    def provider(self, pk: int) -> Json:
        """A Google Workspace provider by its primary key."""
        with _needs("view_googleworkspaceprovider", "the provider"), _missing(
            "authentik has no Google Workspace provider with the id %d." % pk,
            "Check provider_id: it is the number in the provider's address in the admin interface. provider_name takes a "
            "name instead. authentik also answers so when the token's user may not see the provider.",
        ):
            return self.client.get_object("providers/google_workspace/%d/" % pk, what="read provider %d" % pk)

    def provider_by_name(self, name: str) -> Json:
        """The one Google Workspace provider with exactly this name."""
        with _needs("view_googleworkspaceprovider", "providers"):
            found = self.client.get_page(
                "providers/google_workspace/", {"name": name, "page_size": 2}, what=f"look up provider '{name}'"
            )["results"]
        found = [item for item in found if item.get("name") == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise AuthentikError(
                "ambiguous",
                "More than one Google Workspace provider is named '%s': ids %s."
                % (name, ", ".join(str(item.get("pk")) for item in found)),
                "Give provider_id instead of provider_name.",
            )
        raise AuthentikError(
            "not_found",
            f"authentik has no Google Workspace provider named '{name}'.",
            "Check provider_name (the case counts), or give provider_id.",
        )

    def application_slug(self, pk: int) -> str | None:
        """The slug of the application that a provider serves as its main provider, or None."""
        with _needs("view_provider", "the application of a provider", "authentik_core"):
            data = self.client.get_object("providers/all/%d/" % pk, what="read the application of provider %d" % pk)
        return data.get("assigned_application_slug") or data.get("assigned_backchannel_application_slug") or None

    def is_assigned(self, provider: Json) -> bool:
        """Whether an application has a provider, as its backchannel provider or (rarely) as its main one."""
        backchannel = provider.get("assigned_backchannel_application_slug")
        return bool(backchannel or self.application_slug(int(provider["pk"])))

    def providers(self) -> list[Json]:
        """Every Google Workspace provider that the token's user may see."""
        with _needs("view_googleworkspaceprovider", "providers"):
            return self.client.get_all(
                "providers/google_workspace/", {"page_size": LISTED_PAGE}, what="list the providers"
            )

    def get(self, kind: Kind, pk: str) -> Json | None:
        """A user or group by primary key, or None; a group with its direct members."""
        with _needs(f"view_{kind}", f"{kind}s", "authentik_core"):
            return self._get_or_none(f"core/{kind}s/{quoted(pk)}/", f"read {kind} {pk}")

    def users(self, **filters: str) -> list[Json]:
        """The users that match exactly, at most 11."""
        with _needs("view_user", "users", "authentik_core"):
            query = dict(filters, include_groups=False, page_size=11)
            return self.client.get_page("core/users/", query, what="look up a user")["results"]

    def searched(self, kind: Kind, text: str) -> list[Json]:
        """The users or groups that authentik's search finds for a text; a group without its members."""
        with _needs(f"view_{kind}", f"{kind}s", "authentik_core"):
            query = dict(_LISTING[kind], search=text, page_size=LISTED_PAGE)
            return self.client.get_all(f"core/{kind}s/", query, what=f"search a {kind}")

    def similar(self, kind: Kind, text: str) -> list[Json]:
        """The first hundred users or groups that authentik's search finds for a text; a group without its members."""
        with _needs(f"view_{kind}", f"{kind}s", "authentik_core"):
            query = dict(_LISTING[kind], search=text, page_size=LISTED_PAGE)
            return self.client.get_page(f"core/{kind}s/", query, what=f"search a {kind}")["results"]

    def groups(self, name: str) -> list[Json]:
        """The groups with exactly this name, at most 11, their direct members included."""
        with _needs("view_group", "groups", "authentik_core"):
            query = {"name": name, "page_size": 11}
            return self.client.get_page("core/groups/", query, what="look up a group")["results"]

    def listed(self, kind: Kind, pool_map: Map = map) -> t.Iterator[list[Json]]:
        """All users with the primary keys of their groups, or all groups with those of their direct members, by page."""
        query = dict(_LISTING[kind], page_size=LISTED_PAGE)
        with _needs(f"view_{kind}", f"{kind}s", "authentik_core"):
            yield from self.client.get_pages(f"core/{kind}s/", query, pool_map, what=f"list the {kind}s")

    def connections(self, kind: Kind, provider: int, pk: str) -> list[Json]:
        """The rows that link one user or group to Google through a provider.

        Args:
            kind: Kind.
            provider: the provider's primary key.
            pk: the object's primary key.
        """
        with _needs(f"view_googleworkspaceprovider{kind}", f"the provider's {kind} connections"):
            return self.client.get_page(
                f"providers/google_workspace_{kind}s/",
                {"provider__id": provider, _OBJECT_FILTER[kind]: pk, "page_size": 20},
                what=f"read the connection of {kind} {pk}",
            )["results"]

    def all_connections(self, kind: Kind, provider: int, pool_map: Map = map) -> t.Iterator[Json]:
        """Every row that links users (or groups) to Google through a provider."""
        query = {"provider__id": provider, "page_size": LISTED_PAGE}
        with _needs(f"view_googleworkspaceprovider{kind}", f"the provider's {kind} connections"):
            pages = self.client.get_pages(
                f"providers/google_workspace_{kind}s/",
                query,
                pool_map,
                what=f"read the provider's {kind} connections",
            )
            for page in pages:
                yield from page

    def create_connection(self, kind: Kind, provider: int, pk: str, google_id: str) -> None:
        """Link one user or group to a record at Google; a row that is there already counts as done."""
        body: Json = {"google_id": google_id, "provider": provider, str(kind): int(pk) if kind == USER else pk}
        with _needs(f"add_googleworkspaceprovider{kind}", f"new {kind} connections"):
            try:
                self._audited(
                    "POST",
                    f"providers/google_workspace_{kind}s/",
                    body=body,
                    what=f"connect {kind} {pk} with {google_id}",
                )
            except AuthentikError as exc:
                if exc.http_status != 400 or "unique set" not in str(exc.errors):
                    raise

    def delete_connection(self, kind: Kind, row: str) -> None:
        """Unlink; nothing is touched at Google. A row that is gone counts as done."""
        with _needs(f"delete_googleworkspaceprovider{kind}", f"the removal of {kind} connections"):
            try:
                self._audited(
                    "DELETE",
                    f"providers/google_workspace_{kind}s/{quoted(row)}/",
                    what=f"remove the {kind} connection {row}",
                )
            except AuthentikError as exc:
                if exc.kind != "not_found":
                    raise

    def sync_object(
        self, provider: int, kind: Kind, pk: str, override_dry_run: bool, timeout: float, what: str
    ) -> Response:
        """POST the sync of one object. Its answer says next to nothing: see the engine."""
        body: Json = {"sync_object_model": kind.model, "sync_object_id": pk}
        if override_dry_run:
            body["override_dry_run"] = True
        with _needs(
            "add_googleworkspaceprovider",
            "syncs of a single object",
            also="The endpoint wants add besides view, globally or on this provider; view and change are not enough.",
        ):
            path = "providers/google_workspace/%d/sync/object/" % provider
            with self.syncs.sending(_is_refusal):
                return self.client.request("POST", path, body=body, what=what, timeout=timeout)

    def list_google(self, provider: int, kind: Kind, timeout: float) -> None:
        """Let authentik list the records at Google, and note their ids in its connections; nothing is written at Google.

        A sync of an object that does not exist does that, on servers before 2026.8. What it answers says nothing.

        Args:
            timeout: seconds to wait for the answer; authentik goes on without us.
        """
        body: Json = {"sync_object_model": kind.model, "sync_object_id": NOBODY[kind]}
        path = "providers/google_workspace/%d/sync/object/" % provider
        with _needs("add_googleworkspaceprovider", "syncs of a single object"):
            self.client.request("POST", path, body=body, what=f"let authentik list the {kind}s", timeout=timeout)

    def sync_tasks(self, provider: int, search: str) -> list[Json]:
        """The newest tasks of single-object syncs of a provider (2025.8 and later), newest first.

        Args:
            search: a part of the uid; may be empty.
        """
        query: Json = {
            "actor_name": SYNC_ACTOR,
            "rel_obj_content_type__app_label": GWS,
            "rel_obj_content_type__model": "googleworkspaceprovider",
            "rel_obj_id": provider,
            "ordering": "-mtime",
            "page_size": 10,
        }
        if search:
            query["search"] = search
        with _needs("view_task", "tasks", "authentik_tasks"):
            return self.client.get_page("tasks/tasks/", query, what="read the sync's task")["results"]

    def is_full_sync_running(self, provider: int) -> bool:
        """Whether a full sync of a provider holds its lock.

        authentik finds out by taking the lock for a moment: a full sync that begins in that moment skips itself. So this
        is not for the time between starting one and its beginning.
        """
        path = "providers/google_workspace/%d/sync/status/" % provider
        with _needs("view_googleworkspaceprovider", "the status of a provider's sync"):
            return bool(self.client.get_object(path, what="read the status of the provider's sync").get("is_running"))

    def full_sync_schedule(self, provider: int) -> Json | None:
        """The schedule of a provider's full sync (2025.8 and later), or None."""
        query = {
            "actor_name": FULL_SYNC_ACTOR,
            "rel_obj_content_type__app_label": GWS,
            "rel_obj_content_type__model": "googleworkspaceprovider",
            "rel_obj_id": provider,
            "page_size": 2,
        }
        with _needs("view_schedule", "the schedule of the full sync", SCHEDULES):
            found = self.client.get_page("tasks/schedules/", query, what="find the schedule of the full sync")[
                "results"
            ]
        return found[0] if found else None

    def send_schedule(self, schedule: str) -> None:
        """POST the start of what a schedule does, now, whether it is paused or not. 200 (or, by its schema, 204)."""
        with _needs(
            "send_schedule",
            "starting a full sync",
            SCHEDULES,
            also="As far as its source tells, authentik wants the permission add_schedule besides, which it does not offer: "
            "then only the token of a superuser will do. engine: direct needs neither.",
        ):
            path = f"tasks/schedules/{quoted(schedule)}/send/"
            with self.syncs.sending(_is_refusal):
                self.client.request("POST", path, what="start the full sync of the provider")

    def full_sync_tasks(self, schedule: str) -> list[Json]:
        """The newest full syncs of a schedule, newest first; their pages are not among them."""
        query = self._tasks_of_schedule(schedule, FULL_SYNC_ACTOR, 10)
        with _needs("view_task", "following a full sync", "authentik_tasks"):
            return self.client.get_page("tasks/tasks/", query, what="read the tasks of the full sync")["results"]

    def full_sync_pages(self, schedule: str) -> t.Iterator[Json]:
        """The page tasks of a schedule's full syncs, the last changed first; asked for as far as they are taken."""
        # A page on which every object fails has lines of some megabytes: few of them go into one answer.
        query = self._tasks_of_schedule(schedule, SYNC_ACTOR, 10)
        with _needs("view_task", "following a full sync", "authentik_tasks"):
            # Ordered by time: what is written to while it is read comes into sight again.
            for page in self.client.get_pages(
                "tasks/tasks/", query, what="read the pages of the full sync", repeats=True
            ):
                yield from page

    def task(self, message_id: str) -> Json:
        """A task by its id (2025.8 and later)."""
        with _needs("view_task", "following a full sync", "authentik_tasks"):
            return self.client.get_object(f"tasks/tasks/{quoted(message_id)}/", what="read the task of the full sync")

    def full_sync_row(self, uid: str) -> Json | None:
        """What servers up to 2025.6 keep of the last full sync that has ended, or None.

        Args:
            uid: the provider's name as a slug.
        """
        query: Json = {"name": FULL_SYNC_NAME, "uid": uid, "page_size": 2}
        with _needs("view_systemtask", "full syncs", "authentik_events"):
            found = self.client.get_page("events/system_tasks/", query, what="read the last full sync")["results"]
        return found[0] if found else None

    def run_system_task(self, uuid: str) -> None:
        """POST that a task is to run again (up to 2025.6). 204."""
        with _needs("run_task", "starting a full sync", "authentik_events"):
            path = f"events/system_tasks/{quoted(uuid)}/run/"
            with self.syncs.sending(_is_refusal):
                self.client.request("POST", path, what="start the full sync of the provider")

    @staticmethod
    def _tasks_of_schedule(schedule: str, actor: str, page_size: int) -> Json:
        return {
            "actor_name": actor,
            "rel_obj_content_type__app_label": SCHEDULES,
            "rel_obj_content_type__model": "schedule",
            "rel_obj_id": schedule,
            "ordering": "-mtime",
            "page_size": page_size,
        }

    def worker_count(self, version: Version) -> int:
        """How many workers are alive."""
        if not version.has_tasks:
            return int(self.client.get_object("admin/workers/", what="count the workers").get("count") or 0)
        path = "tasks/workers/" if version.number >= (2026, 5) else "tasks/workers"
        data = self.client.get(path, what="list the workers").data
        return len(data) if isinstance(data, list) else 0

    def mappings(self) -> list[Json]:
        """The Google Workspace property mappings, each with ``pk``, ``name``, ``expression``: one listing."""
        with _needs("view_googleworkspaceprovidermapping", "property mappings"):
            return self.client.get_all(
                "propertymappings/provider/google_workspace/", {"page_size": 100}, what="read the property mappings"
            )

    def mapping_names(self) -> dict[str, str]:
        """The names of the Google Workspace property mappings by primary key."""
        return {str(item.get("pk")): str(item.get("name")) for item in self.mappings()}

    def test_mapping(self, mapping: str, subject: Json, context: Json) -> Json:
        """Let authentik evaluate one property mapping; nothing is stored.

        Args:
            mapping: the mapping's primary key.
            subject: {"user": pk} or {"group": uuid}.
            context: further variables of the expression.

        Returns:
            {"result": str, "successful": bool}: JSON text, or the traceback.
        """
        what = f"evaluate property mapping {mapping}"
        try:
            kind = "user" if "user" in subject else "group"
            with _needs(f"view_{kind}", f"{kind}s", "authentik_core"):
                path = f"propertymappings/all/{quoted(mapping)}/test/"
                data = self.client.request("POST", path, body=dict(subject, context=context), what=what).data
        except AuthentikError as exc:
            if exc.kind != "internal_page":
                raise
            # authentik refuses this one with its page for internal errors instead of a 403.
            raise AuthentikError(
                "forbidden",
                exc.message,
                "The token's user probably lacks the permission authentik_core.view_propertymapping or "
                "authentik_core.add_propertymapping; authentik wants both for trying a mapping out.",
                http_status=exc.http_status,
            ) from None
        if not isinstance(data, dict) or not isinstance(data.get("result"), str):
            raise AuthentikError("json", f"Could not {what}: the answer has no result.")
        return data

    def _audited(self, method: str, path: str, *, what: str, body: t.Any = None) -> None:
        """A request that writes, noted before it is sent, and again with what became of it."""
        line = {"method": method, "path": path, "what": what}
        note = self.audit or (lambda line: None)
        note(dict(line, event="sent"))
        try:
            self.client.request(method, path, body=body, what=what)
        except AuthentikError as exc:
            note(dict(line, event="answered", result="error", error=exc.message, maybe_done=exc.may_have_been_applied))
            raise
        note(dict(line, event="answered", result="ok"))

    def _get_or_none(self, path: str, what: str) -> Json | None:
        try:
            return self.client.get_object(path, what=what)
        except AuthentikError as exc:
            if exc.kind == "not_found" and exc.remedy == "":
                return None
            raise


def _is_refusal(exc: BaseException) -> bool:
    """Whether what was raised says that authentik did not act upon the request."""
    return isinstance(exc, AuthentikError) and not exc.may_have_been_applied


class _needs:
    """Completes a 403 with the permission that is missing."""

    def __init__(self, permission: str, things: str, app: str = GWS, also: str = "") -> None:
        self.permission = f"{app}.{permission}"
        self.things = things
        self.also = also

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: t.Any, exc: t.Any, trace: t.Any) -> None:
        if isinstance(exc, AuthentikError) and exc.kind == "forbidden" and not exc.remedy:
            exc.remedy = (
                f"Give the token's user the permission {self.permission} (it is needed for {self.things}), by a role "
                f"in authentik. {self.also}"
            )
            exc.remedy = exc.remedy.strip()


class _missing:
    """Replaces the text of authentik's own 404 (not that of a foreign page) by what it means here."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message = message
        self.remedy = remedy

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: t.Any, exc: t.Any, trace: t.Any) -> None:
        if isinstance(exc, AuthentikError) and exc.kind == "not_found" and not exc.remedy:
            exc.message, exc.remedy = self.message, self.remedy
