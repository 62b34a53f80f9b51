# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a provider works: everything that is known of it on both sides, and what to do about what is wrong. Reads only."""

from __future__ import annotations

import functools
import typing as t

from .._authentik.configuration import VALID_LICENCES
from .._common.errors import RemoteError
from .._common.kind import GROUP, KINDS, USER, Kind
from .._common.masking import mask
from .._common.types import Json
from .._google.credentials import AnyCredentials
from .._google.errors import GoogleError
from .._mappings.desired import MappingProblem, evaluate
from .._objects.connection import tolerates_rows
from .._objects.contradictions import compare_rows
from . import compare, google_look
from .findings import Findings
from .info import InfoWork
from .names import Names, need_provider
from .rights import effective
from .shown import options_of

if t.TYPE_CHECKING:
    from .._google.directory import Directory
T = t.TypeVar("T")
BAD = ("warning", "warn", "error", "exception", "critical")
FAILED = ("error", "rejected", "warning")


def problem(options: Json) -> str | None:
    """What is wrong with the options by themselves, naming the option; None if nothing is."""
    for name, most in (("sample", 100), ("tasks", 100)):
        if not 0 <= options[name] <= most:
            return "%s must be at least 0 and at most %d, not %d." % (name, most, options[name])
    return None


def _nothing() -> None:
    """Not known yet."""


class SyncInfo(InfoWork):
    """One provider's health."""

    always = {"healthy": _nothing, "complete": _nothing, "findings": list, "provider": dict}

    def _work(self) -> None:
        self.findings = Findings()
        values = self.report.values
        try:
            self.provider = need_provider(self)
            self.pk = int(self.provider["pk"])
            self._look_at_authentik()
            self._look_at_google()
            self._look_at_both()
            self._evaluate_sample()
        finally:
            values["findings"] = self.findings.listed
        values["healthy"] = self.findings.healthy
        values["complete"] = self.findings.complete

    def _try(self, what: str, look: t.Callable[[], T]) -> T | None:
        """A look that may fail without ending the others; then it is a finding."""
        try:
            return look()
        except RemoteError as exc:
            self.findings.unknown(what, exc)
            return None

    # authentik

    def _look_at_authentik(self) -> None:
        values, provider = self.report.values, self.provider
        # Many of the looks depend on it.
        self.report.server_version = str(self.version)
        names = Names(self)
        values["provider"] = {
            "pk": self.pk,
            "name": provider.get("name"),
            "options": self._try("The provider's groups and mappings", lambda: options_of(provider, names)) or {},
        }
        self._judge_provider()
        values["licence"] = self._try("The licence", self._licence)
        values["workers"] = self._try("The number of workers", self._workers)
        values["schedule"] = self._try("The schedule of full syncs", self._schedule) if self.version.has_tasks else None
        values["sync"] = self._try("The state of full syncs", self._sync_status)
        values["tasks"] = self._try("The last tasks", self._tasks) or []
        me = self._try("The token's user", self.api.me) or {}
        values["token"] = {
            "username": me.get("username"),
            "superuser": me.get("is_superuser"),
            "permissions": self._permissions(me),
        }

    def _judge_provider(self) -> None:
        provider, add = self.provider, self.findings.add
        if provider.get("dry_run"):
            add(
                "notice",
                "dry_run",
                "The provider is in dry run.",
                "authentik writes nothing at Google; its log has the first request that each object would need.",
                "Switch dry_run off when the log shows what you want.",
            )
        if not provider.get("assigned_backchannel_application_slug"):
            slug = self._try("The application of the provider", lambda: self.authentik.application_slug(self.pk))
            if not slug:
                add(
                    "error" if self.version.has_tasks else "warning",
                    "no_application",
                    "No application carries the provider as a backchannel provider.",
                    "From 2025.8 on authentik then syncs nothing, and says so in the task's log alone.",
                    "Give google_workspace_provider the option application.",
                )
        for key, kind in (("property_mappings", "users"), ("property_mappings_group", "groups")):
            if not provider.get(key):
                add(
                    "error",
                    "no_mappings",
                    f"The provider has no {key}.",
                    f"Every sync of {kind} stops: No mappings configured.",
                    f"Give google_workspace_provider the option {key}, for example authentik's own mapping.",
                )

    def _licence(self) -> Json:
        licence = self.api.licence()
        if licence.get("status") not in VALID_LICENCES:
            self.findings.add(
                "warning",
                "licence",
                "authentik's enterprise licence is not valid: %s." % licence.get("status"),
                "The provider goes on syncing, but authentik refuses to create or change providers.",
                "Install a valid licence in authentik (admin interface, Enterprise, Licenses).",
            )
        elif licence.get("status") == "expiry_soon":
            self.findings.add(
                "warning",
                "licence",
                "authentik's enterprise licence ends soon (%s)." % licence.get("latest_valid"),
                "After that providers cannot be changed.",
                "Renew it.",
            )
        return {key: licence.get(key) for key in ("status", "latest_valid", "internal_users", "external_users")}

    def _workers(self) -> int:
        count = self.authentik.worker_count(self.version)
        if count == 0:
            self.findings.add(
                "error",
                "no_worker",
                "No worker of authentik is alive.",
                "Syncs are queued and wait; the sync endpoint answers 405 after ten seconds, or hangs up to 2025.6.",
                "Start authentik's worker and see its log. engine: direct does without it.",
            )
        return count

    def _schedule(self) -> Json | None:
        found = self.api.schedules(self.pk)
        if not found:
            self.findings.add(
                "warning",
                "no_schedule",
                "authentik has no schedule for full syncs of this provider, or does not show it.",
                "Then only changes of single objects reach Google.",
                "Save the provider in authentik once, which makes the schedule.",
            )
            return None
        shown = {key: found[0].get(key) for key in ("id", "crontab", "paused", "next_run", "last_task_status")}
        if shown["paused"]:
            self.findings.add(
                "warning",
                "schedule_paused",
                "The schedule of full syncs is paused.",
                "No full sync starts by itself.",
                "Resume it in authentik (admin interface, Dashboards, System Tasks).",
            )
        return shown

    def _sync_status(self) -> Json:
        status = self.api.sync_status(self.pk)
        shown: Json = {
            "is_running": status.get("is_running"),
            "last_successful_sync": status.get("last_successful_sync"),
            "last_sync_status": status.get("last_sync_status"),
        }
        old = [item for item in status.get("tasks") or [] if isinstance(item, dict)]
        if old:
            last = max(old, key=lambda item: str(item.get("start_timestamp")))
            shown["last_sync_status"] = last.get("status")
            shown["last_successful_sync"] = last.get("finish_timestamp") if last.get("status") == "successful" else None
            self._old_tasks = [
                _task(
                    item,
                    str(item.get("full_name")),
                    item.get("messages") or [],
                    str(item.get("status")),
                    item.get("finish_timestamp"),
                )
                for item in old
            ]
        if shown["last_sync_status"] is None and shown["last_successful_sync"] is None:
            self.findings.add(
                "notice",
                "never_synced",
                "authentik shows no full sync of this provider.",
                "None has run yet, or its record is gone.",
            )
        elif shown["last_sync_status"] in FAILED:
            self.findings.add(
                "warning",
                "last_sync",
                "The last full sync ended with %s." % shown["last_sync_status"],
                "Some objects were not synced; tasks has the lines.",
                "See tasks, or sync a single object with google_workspace_sync_object, which reports the reason.",
            )
        return shown

    _old_tasks: t.Sequence[Json] = ()

    def _tasks(self) -> list[Json]:
        most = self.options["tasks"]
        if not most:
            return []
        if not self.version.has_tasks:
            found = list(self._old_tasks)[:most]
        else:
            related = [("googleworkspaceprovider", str(self.pk))]
            schedule = self.report.values.get("schedule")
            if schedule:
                related.append(("schedule", str(schedule["id"])))
            raw = []
            for model, pk in related:
                raw.extend(self.api.tasks(rel_obj_content_type__model=model, rel_obj_id=pk, page_size=most))
            raw.sort(key=lambda item: str(item.get("mtime")), reverse=True)
            found = [
                _task(item, str(item.get("uid")), _lines(item), str(item.get("state")), item.get("mtime"))
                for item in raw[:most]
            ]
        bad = [task for task in found if any(line["log_level"] in BAD for line in task["messages"])]
        if bad:
            lines = [line["event"] for task in bad for line in task["messages"] if line["log_level"] in BAD]
            self.findings.add(
                "warning",
                "task_messages",
                "Of the last %d tasks %d have warnings or errors: %s." % (len(found), len(bad), " / ".join(lines[:5])),
                "authentik logs a failed sync of an object as a warning, and still calls the task done.",
                "Sync the object with google_workspace_sync_object, which reports the reason and the remedy.",
            )
        return found

    def _permissions(self, me: Json) -> list[Json]:
        if not me:
            return []
        mapping = next(iter(self.provider.get("property_mappings") or []), None)
        found = self._try("The permissions of the token", lambda: effective(self, me, self.provider, mapping)) or []
        missing = [item for item in found if item["held"] is False]
        for needed, severity in ((True, "warning"), (False, "notice")):
            some = [
                "%s (%s)" % (item["permission"], item["what"]) for item in missing if item["needed_to_sync"] == needed
            ]
            if some:
                self.findings.add(
                    severity,
                    "permissions",
                    "The token's user %s lacks %s." % (me.get("username"), ", ".join(some)),
                    "What syncs an object needs them." if needed else "Only the modules that configure need them.",
                    "Give them to a role of the user in authentik, globally.",
                )
        unknown = [item["permission"] for item in found if item["held"] is None]
        if unknown:
            self.findings.add(
                "notice",
                "permissions_unknown",
                "Whether the token's user has %s cannot be seen without trying." % ", ".join(unknown),
                "authentik shows it only to users who may manage roles, or from 2025.12 on.",
            )
        return found

    # Google

    def _look_at_google(self) -> None:
        self.report.values["google"] = None
        try:
            self.directory = t.cast(t.Any, self.open_directory)(self.provider)
        except GoogleError as exc:
            if exc.kind == "libraries":
                self.findings.unknown("Google", exc)
            else:
                self.findings.add(
                    "unknown" if not isinstance(self.provider.get("credentials"), dict) else "error",
                    "credentials",
                    exc.message,
                    "Google cannot be looked at with it.",
                    exc.remedy,
                )
            return
        directory = t.cast(t.Any, self.directory)
        before = []

        def opened(credentials: AnyCredentials) -> Directory:
            other = directory.with_credentials(credentials)
            before.append(other)
            return t.cast("Directory", other)

        self.report.values["google"] = google_look.look(directory, self.provider, self.findings, opened)
        directory.session.token_calls += sum(other.token_calls for other in before)

    # Both sides

    def _look_at_both(self) -> None:
        facts: Json = {"compared": False}
        self.report.values["directory"] = facts
        if not self.options["compare"]:
            return
        rows = {kind: self._try(f"The connections of {kind}s", functools.partial(self._rows, kind)) for kind in KINDS}
        people = self._try("The users of authentik", self._all_users)
        groups = self._try("The groups of authentik", self._all_groups)
        google = self.report.values.get("google") or {}
        records: dict[Kind, list[Json] | None] = {USER: None, GROUP: None}
        if google.get("token"):
            for kind in KINDS:
                if (google.get("may_list") or {}).get(kind):
                    records[kind] = self._try(f"The {kind}s at Google", functools.partial(self._listed, kind))
        tolerant = tolerates_rows(self.provider, lambda: self.version.number)
        facts["contradictions"] = []
        for kind in KINDS:
            self._compare_kind(kind, rows[kind], people if kind == USER else groups, records[kind], tolerant, facts)
        connected = rows[USER]
        if connected is not None and people is not None and groups is not None:
            self._members(groups, connected, people, facts)
        self._people, self._groups = people, groups
        facts["compared"] = None not in (rows[USER], rows[GROUP], people, groups, records[USER], records[GROUP])

    _people: list[Json] | None = None
    _groups: list[Json] | None = None

    def _all_users(self) -> list[Json]:
        return [
            user for page in self.authentik.listed(USER) for user in page if user.get("username") != "AnonymousUser"
        ]

    def _all_groups(self) -> list[Json]:
        return [group for page in self.authentik.listed(GROUP) for group in page]

    def _rows(self, kind: Kind) -> list[Json]:
        return list(self.authentik.all_connections(kind, self.pk))

    def _listed(self, kind: Kind) -> list[Json]:
        return [record for page in t.cast(t.Any, self.directory).listed(kind) for record in page]

    def _compare_kind(
        self,
        kind: Kind,
        rows: list[Json] | None,
        objects: list[Json] | None,
        records: list[Json] | None,
        tolerant: bool,
        facts: Json,
    ) -> None:
        if rows is None:
            return
        facts[f"{kind}_connections"] = len(rows)
        twice = compare.doubled(rows, kind)
        if twice:
            self.findings.add(
                "warning",
                "two_connections",
                "%d %ss have more than one connection: %s." % (len(twice), kind, compare.named(twice)),
                "authentik uses one of them, and a full sync can crash over the other.",
                "Remove the old one with google_workspace_connection (state: absent with google_id).",
            )
        if records is not None:
            facts["contradictions"] += compare.find_contradictions(
                kind, compare_rows(kind, rows, records), tolerant, self.findings
            )
        if objects is None:
            return
        if kind == USER:
            objects = compare.in_scope(self.provider, objects)
        lacking = compare.without_row(objects, rows, kind)
        facts[f"{kind}s_in_scope"] = len(objects)
        there, absent = compare.unlinked_at_google(lacking, records or [], kind)
        key = f"{kind}s_without_connection"
        facts[key] = there + absent
        if records is not None and there:
            self.findings.add(
                "notice",
                "not_linked",
                "%d %ss exist on both sides without a connection: %s." % (len(there), kind, compare.named(there)),
                "authentik links them by itself the next time it syncs.",
            )
        if absent:
            self.findings.add(
                "notice",
                "not_synced",
                "%d %ss have no connection%s: %s."
                % (len(absent), kind, "" if records is None else " and no record at Google", compare.named(absent)),
                "They have not been synced yet, a property mapping leaves them out, or their sync fails.",
                "Sync one with google_workspace_sync_object, which tells.",
            )

    def _members(self, groups: list[Json], rows: list[Json], people: list[Json], facts: Json) -> None:
        found = compare.members_without_account(groups, rows, people)
        facts["members_without_account"] = found
        if found:
            self.findings.add(
                "warning",
                "members_without_account",
                "Members of %d groups have no connection: %s."
                % (
                    len(found),
                    compare.named([f"{group} ({compare.named(names)})" for group, names in sorted(found.items())]),
                ),
                "authentik leaves them out of the group at Google without a word.",
                "Sync these people first, then the group.",
            )

    # Mappings

    def _evaluate_sample(self) -> None:
        most = self.options["sample"]
        shown: list[Json] = []
        self.report.values["mapping_sample"] = shown
        if not most:
            return
        people = self._people if self._people is not None else self._try("A sample of users", self._all_users)
        groups = self._groups if self._groups is not None else self._try("A sample of groups", self._all_groups)
        for kind, objects in ((USER, compare.in_scope(self.provider, people or [])), (GROUP, groups or [])):
            for item in objects[:most]:
                name = str(item.get(kind.name_field))
                try:
                    evaluate(self.authentik, self.provider, kind, item, None)
                    shown.append({"model": kind, "name": name, "outcome": "yields", "reason": None})
                except MappingProblem as exc:
                    shown.append({"model": kind, "name": name, "outcome": exc.kind, "reason": str(exc)})
        for outcome, severity in (("failed", "error"), ("unavailable", "unknown"), ("unpredictable", "notice")):
            some = [item for item in shown if item["outcome"] == outcome]
            if some:
                self.findings.add(
                    severity,
                    "mapping_%s" % outcome,
                    "Property mappings for %s: %s."
                    % (compare.named([item["name"] for item in some]), some[0]["reason"]),
                    "A sync of them does the same and stops."
                    if outcome == "failed"
                    else "What it yields in a sync is not known.",
                    "Correct the mapping; google_workspace_mapping tries it before it is saved."
                    if outcome == "failed"
                    else "",
                )


def _lines(task: Json) -> list[Json]:
    """A task's lines, whatever the server's version calls them, in order of time."""
    found: list[Json] = []
    for key in ("previous_logs", "logs", "previous_messages", "messages"):
        found.extend(line for line in task.get(key) or [] if isinstance(line, dict))
    return sorted(found, key=lambda line: str(line.get("timestamp")))


def _task(task: Json, name: str, lines: list[Json], state: str, when: t.Any) -> Json:
    return {
        "name": name,
        "state": state,
        "time": when,
        "messages": [
            {
                "timestamp": line.get("timestamp"),
                "log_level": str(line.get("log_level")),
                "event": str(mask(line.get("event"))),
            }
            for line in lines
            if isinstance(line, dict)
        ],
    }
