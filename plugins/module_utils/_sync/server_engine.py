# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""A sync of one object performed by authentik, and the truth about it.

observe → plan → apply → verify → report: the endpoint behind ``apply`` answers 200 whatever happened and 405 whatever
went wrong, so that everything the result says comes from looking: at Google where it may be read, at authentik's record
of it otherwise, and at the lines of the task that did the work.
"""

from __future__ import annotations

import time
import typing as t

from .._authentik.api import Authentik
from .._authentik.errors import AuthentikError
from .._google.directory import Directory
from .._google.errors import GoogleError
from . import tasklog
from .desired import MappingProblem, evaluate, slug
from .difference import changes, member_changes, member_key, unmet
from .messages import Verdict, judge, normalise
from .observe import Look, Observer
from .outcome import Outcome
from .target import find, scope

Json = t.Dict[str, t.Any]
# Reads of a fresh or changed record may trail at Google by this much before we say that we do not know.
LAG_S = 20.0
# Up to so many members are asked for one by one; more are cheaper as one list.
FEW_MEMBERS = 10
# Longer than any name or address that authentik takes.
LONGEST_NAME = 512


class Request:
    """What a user asks for.

    Attributes:
        provider_id: int or None; provider_name: str or None: exactly one of them.
        kind: "user" or "group".
        object_id, lookup: str.
        override_dry_run: bool.
        verify: "auto", "google", "connection" or "none".
        out_of_scope: "warn", "fail" or "ignore".
        fail_on: collection of log levels.
        sync_timeout: float, seconds for the sync itself, following its task included.
        check_mode: bool.
    """

    def __init__(self, **values: t.Any) -> None:
        self.provider_id: t.Optional[int] = values["provider_id"]
        self.provider_name: t.Optional[str] = values["provider_name"]
        self.kind: str = values["kind"]
        self.object_id: str = values["object_id"]
        self.lookup: str = values["lookup"]
        self.override_dry_run: bool = values["override_dry_run"]
        self.verify: str = values["verify"]
        self.out_of_scope: str = values["out_of_scope"]
        self.fail_on: t.FrozenSet[str] = frozenset(values["fail_on"])
        self.sync_timeout: float = values["sync_timeout"]
        self.check_mode: bool = values["check_mode"]

    def problem(self) -> t.Optional[str]:
        """What is wrong with the values by themselves, naming the option; None if nothing is."""
        if not self.object_id:
            return "sync_object_id is empty; give the primary key, or what lookup says."
        for name, value in (("sync_object_id", self.object_id), ("provider_name", self.provider_name or "")):
            if len(value) > LONGEST_NAME:
                return "%s is longer than %d characters." % (name, LONGEST_NAME)
            if any(ord(char) < 32 or ord(char) == 127 for char in value):
                return "%s contains control characters." % name
        if self.provider_name is not None and not self.provider_name.strip():
            return "provider_name is empty; give the provider's name, or provider_id."
        if self.provider_id is not None and not 0 < self.provider_id <= 2147483647:
            return "provider_id must be a positive integer (at most 2147483647), not %d." % self.provider_id
        return None


class ServerSync:
    """One sync through authentik.

    Args:
        authentik: the API.
        request: what is asked for.
        open_directory: callable taking the provider and returning a Directory; raises GoogleError.
        warn: callable taking a text.
        keep_secret: callable taking a list of texts that must never be printed.
    """

    def __init__(
        self,
        authentik: Authentik,
        request: Request,
        open_directory: t.Callable[[Json], Directory],
        warn: t.Callable[[str], None],
        keep_secret: t.Callable[[t.Iterable[str]], None],
    ) -> None:
        self.authentik = authentik
        self.request = request
        self.open_directory = open_directory
        self.warn = warn
        self.keep_secret = keep_secret
        self.outcome = Outcome("server")
        self.directory: t.Optional[Directory] = None
        self._wanted: t.Optional[Json] = None

    # observe ---------------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Do it. What goes wrong ends in the Outcome; nothing is raised but programming errors."""
        started = time.monotonic()
        try:
            self._run()
        except AuthentikError as exc:
            self.outcome.errors = exc.errors
            self.outcome.http_status = exc.http_status
            self.outcome.fail(str(exc), "authentik_%s" % exc.kind)
        except GoogleError as exc:
            self.outcome.http_status = exc.status
            self.outcome.fail(str(exc), "google_%s" % exc.kind)
        self.outcome.duration = time.monotonic() - started
        self.outcome.calls = {
            "authentik": self.authentik.client.calls,
            "google": self.directory.calls if self.directory else 0,
            "google_token": self.directory.token_calls if self.directory else 0,
        }
        return self.outcome

    def _run(self) -> None:
        request, outcome = self.request, self.outcome
        self.version = self.authentik.version()
        outcome.server_version = str(self.version)
        if request.provider_id is not None:
            self.provider = self.authentik.provider(request.provider_id)
        else:
            self.provider = self.authentik.provider_by_name(str(request.provider_name))
        self._hide_credentials()
        if request.override_dry_run and "dry_run" not in self.provider:
            raise AuthentikError(
                "version",
                "authentik %s has no dry run, so override_dry_run cannot be used." % self.version,
                "Leave override_dry_run out, or update authentik to 2025.4 or later.",
            )
        self.target = find(self.authentik, request.kind, request.object_id, request.lookup)
        rule = scope(self.provider, self.target)
        outcome.object = {
            "model": "authentik.core.models.%s" % request.kind.capitalize(),
            "pk": self.target.pk,
            "name": self.target.name,
            "google_id": None,
            "in_scope": rule is None,
        }
        if rule is not None:
            self._leave_out("%s is not synced: %s" % (str(self.target).capitalize(), rule))
            return
        self.observer = self._observer()
        self.before = self.observer.before(self._wanted_group) if request.verify != "none" else Look()
        self._note_google_id(self.before)
        outcome.note_states(request.kind, *self._states(self.before, self.before))
        if self.before.conflict:
            outcome.basis = "google"
            outcome.fail("%s was not synced: %s" % (str(self.target).capitalize(), self.before.conflict), "conflict")
            return
        if request.check_mode and not self.provider.get("dry_run"):
            self._predict()
        else:
            self._apply()

    def _hide_credentials(self) -> None:
        key = self.provider.get("credentials")
        if isinstance(key, dict):
            self.keep_secret([str(key[name]) for name in ("private_key", "private_key_id") if key.get(name)])

    def _observer(self) -> Observer:
        strict = self.request.verify == "google"
        if self.request.verify in ("auto", "google"):
            try:
                self.directory = self.open_directory(self.provider)
            except GoogleError as exc:
                if strict:
                    raise
                self.warn("Google is not looked at, so the result rests on authentik's own record. %s" % exc)
        return Observer(self.authentik, self.provider, self.target, self.directory, strict, self.warn)

    def _wanted_now(self, creating: bool) -> Json:
        """The record that authentik's mappings give; evaluated once. Raises MappingProblem."""
        if self._wanted is None:
            row = None if creating else self.before.row or {"google_id": ""}
            self._wanted = evaluate(self.authentik, self.provider, self.target.kind, self.target.data, row)
        return self._wanted

    def _wanted_group(self) -> Json:
        """A group's wanted record, or what it is by default, marked as guessed where the mappings cannot be asked."""
        try:
            self._wanted = evaluate(self.authentik, self.provider, "group", self.target.data, None)
            return self._wanted
        except MappingProblem as exc:
            domain = self.provider.get("default_group_email_domain")
            return {"email": "%s@%s" % (slug(self.target.name), domain), "guessed": exc.kind != "skip"}

    def _note_google_id(self, look: Look) -> None:
        row, record = look.row or {}, look.record or {}
        found = row.get("google_id") or (record.get("primaryEmail") if self.target.kind == "user" else record.get("id"))
        if found and not (look.adopting and look is self.before):
            self.outcome.object["google_id"] = found

    def _leave_out(self, text: str) -> None:
        """An object that the provider does not sync: as out_of_scope says."""
        self.outcome.status = "out_of_scope"
        # Nothing was asked for at Google, so nothing changed there: known without a look.
        self.outcome.basis = "google" if self.before_seen() else "connection"
        if self.request.out_of_scope == "fail":
            self.outcome.failure = text + "."
            self.outcome.code = "out_of_scope"
            self.outcome.fails_task = True
        elif self.request.out_of_scope == "warn":
            self.warn(text + ".")

    def before_seen(self) -> bool:
        before = getattr(self, "before", None)
        return before is not None and before.seen

    # apply -----------------------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        """Post the sync, find out what authentik did, and look again."""
        request = self.request
        override = request.override_dry_run and not request.check_mode
        deadline = time.monotonic() + request.sync_timeout
        since = self.authentik.client.server_time(time.time())
        question: t.Optional[AuthentikError] = None
        answer: Json = {}
        try:
            response = self.authentik.sync_object(
                int(self.provider["pk"]),
                request.kind,
                self.target.pk,
                override,
                request.sync_timeout,
                "sync %s through provider %s" % (self.target, self.provider.get("name")),
            )
            answer = response.data if isinstance(response.data, dict) else {}
        except AuthentikError as exc:
            if not exc.sent:
                raise
            # It may have been received: what became of it is a question, and not an end.
            question = exc
        verdict, ended = self._recover_messages(answer, question, since, deadline)
        if verdict.dry_run:
            self._report_dry_run(verdict)
            return
        after = self._look_again()
        if question is not None and not ended:
            self._report_unanswered(question, after, deadline)
        elif verdict.failures:
            self._report_failed(verdict, after)
        elif request.verify == "none":
            self.outcome.changed = True
            self.outcome.status = "unconfirmed"
            self.warn("Nothing was looked at (verify: none), so whether anything changed at Google is assumed.")
        elif after.seen and self.before.seen and not self.before.incomplete:
            self._conclude_from_google(after, verdict)
        else:
            self._conclude_from_connection(after, verdict)

    def _recover_messages(
        self, answer: Json, question: t.Optional[AuthentikError], since: float, deadline: float
    ) -> t.Tuple[Verdict, bool]:
        """Fill in the messages, from the answer or from the task's own log.

        Returns:
            (what they say, whether the task is known to have ended).
        """
        outcome, version = self.outcome, self.version
        lines = answer.get("messages")
        if question is None and (lines or not version.has_tasks):
            outcome.messages = normalise(lines)
            outcome.messages_source = "response"
            return judge(outcome.messages, self.request.fail_on, version.has_tasks), True
        if not version.has_tasks:
            self.warn("authentik %s keeps no log of single syncs, so there are no messages." % version)
            return Verdict(), False

        def look() -> tasklog.Found:
            return tasklog.find(
                self.authentik, version, self.provider, self.target.kind, self.target.pk, since, question is None
            )

        try:
            found = tasklog.follow(look, deadline if question else time.monotonic() + tasklog.APPEARS_WITHIN_S)
        except AuthentikError as exc:
            self.warn("The sync's messages are unavailable. %s" % exc)
            return Verdict(), False
        self._task = found.task
        if found.task is None:
            why = {
                "ambiguous": "two syncs ran at the same time, and authentik's task list does not tell which was ours",
                "none": "authentik's task list does not show the sync's task",
            }[found.problem]
            self.warn("The sync's messages are unavailable: %s." % why)
            return Verdict(), False
        outcome.messages = normalise(found.task.earlier + found.task.lines)
        outcome.messages_source = "task_log"
        counts = found.task.lines if found.task.ended else found.task.earlier + found.task.lines
        return judge(normalise(counts), self.request.fail_on, True), found.task.ended

    def _look_again(self) -> Look:
        if self.request.verify == "none":
            return Look()
        address = self.target.email if self.target.kind == "user" else str((self._wanted or {}).get("email") or "")
        if not address and self.target.kind == "group":
            # A group whose record was there before is found by its id; this is for one made anew.
            address = str(self.before.attributes.get("email") or "")
        after = self.observer.after(self.before, address)
        self._note_google_id(after)
        self._note_difference(after)
        return after

    def _note_difference(self, after: Look) -> None:
        """Fill in changed, changes, operations and basis from two looks of the same kind."""
        kind, outcome, before = self.target.kind, self.outcome, self.before
        outcome.note_states(kind, *self._states(before, after))
        if not (before.seen and after.seen):
            return
        found = changes(kind, before.record, after.record)
        if kind == "group":
            found.extend(member_changes(before.roles, after.roles))
        outcome.basis = "google"
        outcome.changes = found
        outcome.changed = bool(found)
        outcome.operations = self._writes(before, after)

    def _states(self, before: Look, after: Look) -> t.Tuple[t.Any, ...]:
        if before.seen and after.seen:
            group = self.target.kind == "group"
            return before.record, after.record, before.roles if group else None, after.roles if group else None
        return before.attributes or None, after.attributes or None

    def _writes(self, before: Look, after: Look) -> t.List[Json]:
        """The writes that two looks at Google prove."""
        kind = self.target.kind
        if after.record is None:
            return []
        key = str(after.record.get("primaryEmail") or after.record.get("email") or "")
        renewed = before.record is None or before.record.get("id") != after.record.get("id")
        found = []
        if renewed or changes(kind, before.record, after.record):
            found.append(_operation("POST" if renewed else "PUT", kind, key))
        if kind == "group":
            added = set(after.roles) - (set() if renewed else set(before.roles))
            found.extend(_operation("POST", "member", member, group=key) for member in sorted(added))
        return found

    # report ----------------------------------------------------------------------------------------------------------

    def _report_dry_run(self, verdict: Verdict) -> None:
        """A provider in dry run: what authentik would have sent, against what stands there."""
        outcome, kind = self.outcome, self.target.kind
        outcome.status = "dry_run"
        outcome.operations = [
            {"method": item["method"], "resource": item["resource"], "key": item["key"], "by": "authentik"}
            for item in verdict.dry_run
        ]
        record = self.before.record if self.before.seen else self.before.attributes or None
        outcome.basis = "google" if self.before.seen else "connection" if self.before.rows is not None else "assumed"
        for item in verdict.dry_run:
            if item["resource"] == kind:
                outcome.changes.extend(
                    changes(kind, None, item["body"]) if record is None else unmet(kind, item["body"], record)
                )
                outcome.note_states(kind, record, dict(record or {}, **_overlaid(record, item["body"])))
        if self.request.check_mode and self.request.override_dry_run:
            # A real run would override the dry run and write this.
            outcome.changed = bool(outcome.changes) or record is None
            self._predict_members(record is None)

    def _report_failed(self, verdict: Verdict, after: Look) -> None:
        remedy = verdict.remedy
        if verdict.bad_domain and self.directory is not None and after.seen:
            try:
                remedy = "The workspace has the domain%s. %s" % (_listed(self.directory.domains()), remedy)
            except GoogleError:
                # The remedy without the list is still a remedy.
                pass
        self._note_partial(after)
        self.outcome.fail(
            "authentik could not sync %s to Google Workspace: %s. %s"
            % (self.target, verdict.reason.rstrip("."), remedy or "See messages."),
            "sync_failed",
            verdict.fails_task,
        )
        if not verdict.fails_task:
            self.warn(self.outcome.failure)

    def _note_partial(self, after: Look) -> None:
        """A failed sync may have written before it failed; without Google only authentik's row can tell."""
        if after.seen and self.before.seen:
            return
        if self.before.rows is None or after.rows is None:
            self.outcome.basis = "assumed"
            return
        self.outcome.basis = "connection"
        self._compare_rows(after)

    def _report_unanswered(self, question: AuthentikError, after: Look, deadline: float) -> None:
        """The call gave no usable answer, and the task has not ended or is not to be seen."""
        outcome = self.outcome
        self._note_partial(after)
        start = "The sync of %s did not end well: %s" % (self.target, question.message)
        outcome.http_status = question.http_status
        task = getattr(self, "_task", None)
        if task is not None:
            verdict = judge(normalise(task.earlier + task.lines), self.request.fail_on, True)
            reason = " Its last error: %s. %s" % (verdict.reason.rstrip("."), verdict.remedy) if verdict.reason else ""
            outcome.fail(
                "%s After %g seconds %s.%s"
                % (
                    start,
                    self.request.sync_timeout,
                    tasklog.unfinished(self.authentik, self.version, task),
                    reason.rstrip(),
                ),
                "sync_unfinished",
            )
            return
        if self.version.has_tasks and after.seen and self._becomes_wanted(after, deadline):
            outcome.status = "synced" if outcome.changed else "unconfirmed"
            self.warn(
                "%s Google holds the wanted values%s." % (start, " now" if outcome.changed else ", as it did before")
            )
            return
        outcome.fail("%s %s" % (start, self._unanswered_remedy(question)), "sync_unanswered")

    def _unanswered_remedy(self, question: AuthentikError) -> str:
        if self.version.has_tasks:
            return (
                "Whether the sync still runs cannot be told without its task; look for it in authentik (System, Tasks), or "
                "give the token's user the permission authentik_tasks.view_task."
            )
        if question.kind == "internal_page":
            return (
                "On authentik %s a 405 means that the sync crashed: a member's account is gone at Google, an address is held "
                "by something else, Google refuses the provider's credentials, or a stored connection differs from Google's "
                "record (then every sync of this kind fails until that row is deleted). See authentik's worker log and its "
                "event log (system_exception)." % self.version
            )
        return (
            "On authentik %s the call waits for a worker: check that one is running (admin/workers). The sync is queued and "
            "may still run." % self.version
        )

    def _becomes_wanted(self, after: Look, deadline: float) -> bool:
        """Wait until Google holds what the mappings give; for a sync whose task cannot be seen."""
        try:
            wanted = self._wanted_now(creating=self.before.record is None)
        except MappingProblem:
            return False
        pause = 0.5
        while unmet(self.target.kind, wanted, after.record) or after.record is None:
            if time.monotonic() + pause > deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 5.0)
            after = self._look_again()
        return True

    # verify: Google --------------------------------------------------------------------------------------------------

    def _conclude_from_google(self, after: Look, verdict: Verdict) -> None:
        outcome = self.outcome
        if after.record is None:
            self._conclude_missing(after)
            return
        if outcome.changed and not self.before.adopting:
            outcome.status = "synced"
            self._check_members(after)
            return
        try:
            missing = unmet(self.target.kind, self._wanted_now(creating=False), after.record)
        except MappingProblem as exc:
            self._conclude_unmapped(exc, verdict)
            return
        if missing:
            self._conclude_unmet(missing, after, verdict)
            return
        if verdict.started is False:
            outcome.fail(self._not_reached(), "google_not_reached")
            return
        outcome.status = "synced" if outcome.changed else "unchanged"
        self._check_members(after)

    def _not_reached(self) -> str:
        return (
            "authentik did not begin to sync %s and gave no reason: it could not reach Google (its list of domains) or was "
            "refused there for the moment. Nothing was written. See authentik's worker log, and run the task again later."
            % self.target
        )

    def _conclude_missing(self, after: Look) -> None:
        """authentik reported nothing bad, and Google shows no record."""
        outcome = self.outcome
        if after.rows is None:
            after.rows = self.observer.rows()
        if after.attributes.get("id"):
            # Google has answered authentik with the record: reads trail behind the write.
            if self._wait(after, lambda fresh: fresh.record is not None):
                outcome.status = "synced"
                return
            outcome.changed = True
            outcome.basis = "connection"
            outcome.changes = changes(self.target.kind, None, after.attributes)
            self._unconfirmed("Google answered authentik with the new record, but does not show it yet")
            return
        self._conclude_nothing("Google has no such %s after the sync" % self.target.kind, linked=after.row is not None)

    def _conclude_nothing(self, found: str, linked: bool) -> None:
        """Nothing was written, silently: name why, as far as it can be known."""
        try:
            self._wanted_now(creating=True)
        except MappingProblem as exc:
            if exc.kind == "skip":
                self._leave_out("%s is not synced: %s" % (str(self.target).capitalize(), exc))
                return
            if exc.kind in ("failed", "empty"):
                self.outcome.fail("authentik could not sync %s: %s." % (self.target, exc), "mapping_%s" % exc.kind)
                return
        self.outcome.fail(
            "authentik reported success for %s, but %s. %s"
            % (
                self.target,
                found,
                "Its address is held by something else there (a group or another account), which authentik then links "
                "without writing: free the address at Google and delete the connection in authentik."
                if linked
                else "authentik could not reach Google, or was refused there for the moment, which it does not report: see its "
                "worker log, and run the task again later.",
            ),
            "not_written",
        )

    def _conclude_unmapped(self, exc: MappingProblem, verdict: Verdict) -> None:
        """Nothing changed (or a record was adopted), and what was wanted is not known."""
        outcome = self.outcome
        if exc.kind == "skip" and not outcome.changed:
            self._leave_out("%s is not synced: %s" % (str(self.target).capitalize(), exc))
            return
        if exc.kind in ("failed", "empty") and not verdict.started:
            outcome.fail("authentik could not sync %s: %s." % (self.target, exc), "mapping_%s" % exc.kind)
            return
        if verdict.started is False:
            outcome.fail(self._not_reached(), "google_not_reached")
            return
        outcome.status = "unconfirmed"
        self.warn("Whether Google holds what authentik wants could not be checked: %s." % exc)

    def _conclude_unmet(self, missing: t.List[Json], after: Look, verdict: Verdict) -> None:
        """The sync reported nothing bad, and Google does not hold what is wanted."""
        outcome, kind = self.outcome, self.target.kind
        fields = ", ".join(item["path"] for item in missing)
        after.rows = self.observer.rows()
        wanted = self._wanted or {}
        answered = after.attributes
        if answered and not unmet(kind, wanted, answered) and unmet(kind, wanted, self.before.attributes or None):
            # Google's own answer to authentik's write shows the wanted values: reads trail behind.
            if self._wait(after, lambda fresh: not unmet(kind, wanted, fresh.record)):
                outcome.status = "synced"
                return
            outcome.changed = True
            outcome.basis = "connection"
            outcome.changes = changes(kind, self.before.record, answered)
            self._unconfirmed(
                "Google answered authentik with the wanted values, but does not show them yet (%s)" % fields
            )
            return
        pushed = verdict.started and answered and not self.before.adopting
        if pushed:
            outcome.status = "unconfirmed"
            self.warn("Google took the sync of %s, but does not hold the wanted values of %s." % (self.target, fields))
            return
        outcome.fail(
            "authentik reported success for %s, but Google does not hold the wanted values of %s. %s"
            % (
                self.target,
                fields,
                "authentik only linked the record that Google already had and wrote nothing: run the task again."
                if self.before.adopting or (after.row is not None and not answered)
                else "authentik could not reach Google, or was refused there for the moment, which it does not report: see "
                "its worker log, and run the task again later.",
            ),
            "not_written",
        )

    def _unconfirmed(self, text: str) -> None:
        self.outcome.status = "unconfirmed"
        self.warn("%s: %s after %g seconds." % (str(self.target).capitalize(), text, LAG_S))

    def _wait(self, after: Look, done: t.Callable[[Look], bool]) -> bool:
        """Read Google again until it shows what it has confirmed, within a bound."""
        deadline = time.monotonic() + min(LAG_S, self.request.sync_timeout)
        pause = 0.5
        while time.monotonic() + pause < deadline:
            time.sleep(pause)
            pause *= 1.6
            try:
                fresh = self.observer.again(after)
            except GoogleError as exc:
                self.warn(str(exc))
                return False
            if done(fresh):
                self._note_difference(fresh)
                self._note_google_id(fresh)
                return True
        return False

    def _check_members(self, after: Look) -> None:
        """Name the members that authentik skipped, and do not claim those that Google does not show."""
        if self.target.kind != "group":
            return
        unlinked, absent = self._missing_members(after)
        self.outcome.skipped_members = sorted(unlinked)
        if unlinked:
            self.warn(
                "authentik left out %d of the group's members, who have no Google account through this provider: %s. Sync them "
                "first, then the group again." % (len(unlinked), ", ".join(sorted(unlinked)))
            )
        if absent and self._wait(after, lambda fresh: not self._missing_members(fresh)[1]):
            self.outcome.status = "synced"
        elif absent:
            self.outcome.status = "unconfirmed"
            self.warn("Google does not show these members of %s yet: %s." % (self.target, ", ".join(sorted(absent))))

    def _missing_members(self, look: Look) -> t.Tuple[t.List[str], t.List[str]]:
        """authentik's members that Google's group lacks: (usernames without a connection, usernames with one)."""
        there = set(look.roles) | {str(item.get("id")) for item in look.members}
        lacking = [
            item
            for item in self.target.data.get("users_obj") or []
            if str(item.get("email") or "").lower() not in there or not item.get("email")
        ]
        unlinked, absent = [], []
        for person, rows in self._rows_of(lacking):
            names = {
                str(value).lower()
                for row in rows
                for value in (
                    row.get("google_id"),
                    (row.get("attributes") or {}).get("id"),
                    (row.get("attributes") or {}).get("primaryEmail"),
                )
                if value
            }
            if not rows:
                unlinked.append(str(person.get("username")))
            elif not names & there:
                absent.append(str(person.get("username")))
        return unlinked, absent

    def _rows_of(self, people: t.List[Json]) -> t.Iterator[t.Tuple[Json, t.List[Json]]]:
        if not hasattr(self, "_member_rows"):
            self._member_rows: t.Dict[str, t.List[Json]] = {}
            provider = int(self.provider["pk"])
            if len(people) > FEW_MEMBERS:
                for row in self.authentik.all_connections("user", provider):
                    self._member_rows.setdefault(str(row.get("user")), []).append(row)
            else:
                for person in people:
                    pk = str(person["pk"])
                    self._member_rows[pk] = self.authentik.connections("user", provider, pk)
        for person in people:
            yield person, self._member_rows.get(str(person["pk"]), [])

    # verify: authentik's own record ----------------------------------------------------------------------------------

    def _compare_rows(self, after: Look) -> None:
        """changed, changes and operations from authentik's rows before and after."""
        outcome, kind, before = self.outcome, self.target.kind, self.before
        old, new = before.row, after.row
        if new is None:
            return
        if old is None or old.get("id") != new.get("id"):
            outcome.changed = bool(after.attributes)
            outcome.changes = changes(kind, before.attributes or None, after.attributes)
        else:
            outcome.changes = changes(kind, before.attributes, after.attributes)
            outcome.changed = bool(outcome.changes)
            if not before.attributes and after.attributes:
                # A row without a record of Google's answer, made by hand or by adoption: what stood there is unknown.
                outcome.basis = "assumed"
                self.warn("authentik kept no record of what stood at Google before, so that it changed is assumed.")
        if outcome.changed:
            key = new.get("google_id") if kind == "user" else after.attributes.get("email") or new.get("google_id")
            outcome.operations = [
                _operation("PUT" if old is not None and old.get("id") == new.get("id") else "POST", kind, str(key))
            ]
            if old is None:
                # Created or adopted: the row does not tell, so the method is not claimed.
                outcome.operations = [{"method": None, "resource": kind, "key": str(key), "by": "authentik"}]

    def _conclude_from_connection(self, after: Look, verdict: Verdict) -> None:
        outcome = self.outcome
        if after.rows is None:
            after.rows = self.observer.rows()
        if self.before.rows is None or after.rows is None:
            outcome.changed = True
            outcome.status = "unconfirmed"
            outcome.basis = "assumed"
            self.warn("Neither Google nor authentik's connection could be read, so that something changed is assumed.")
            return
        outcome.basis = "connection"
        outcome.changed = False
        if after.row is None:
            self._conclude_nothing("authentik has no connection for it after the sync", linked=False)
            return
        self._compare_rows(after)
        if not after.attributes:
            outcome.changed = False
            self._conclude_nothing(
                "authentik only linked it to %s and has no answer of Google's" % after.row.get("google_id"), True
            )
            return
        if outcome.changed:
            outcome.status = "synced"
        elif not self._conclude_unchanged_row(after, verdict):
            return
        self._assume_members()

    def _conclude_unchanged_row(self, after: Look, verdict: Verdict) -> bool:
        """Status for a row that is as it was; False when that ended the matter."""
        outcome = self.outcome
        if verdict.started is False:
            outcome.fail(self._not_reached(), "google_not_reached")
            return False
        try:
            missing = unmet(self.target.kind, self._wanted_now(creating=False), after.attributes)
        except MappingProblem as exc:
            self._conclude_unmapped(exc, verdict)
            return outcome.status == "unconfirmed"
        if missing:
            self._conclude_unmet_row(missing, verdict)
            return outcome.status == "unconfirmed"
        if verdict.started is None:
            outcome.status = "unconfirmed"
            self.warn(
                "authentik's record of %s is as it was and as it should be; whether this sync reached Google cannot be seen "
                "in it." % self.target
            )
        else:
            outcome.status = "unchanged"
        return True

    def _conclude_unmet_row(self, missing: t.List[Json], verdict: Verdict) -> None:
        fields = ", ".join(item["path"] for item in missing)
        if verdict.started:
            self.outcome.status = "unconfirmed"
            self.warn("Google took the sync of %s, but does not hold the wanted values of %s." % (self.target, fields))
            return
        self.outcome.fail(
            "authentik reported nothing for %s, but its record of Google's last answer does not have the wanted values of %s. "
            "authentik could not reach Google, or was refused there for the moment: see its worker log, and run the task "
            "again later." % (self.target, fields),
            "not_written",
        )

    def _assume_members(self) -> None:
        """A group's members are not in authentik's row: without Google nobody knows whether one was new."""
        if self.target.kind == "group" and self.target.data.get("users") and not self.outcome.changed:
            self.outcome.changed = True
            self.outcome.basis = "assumed"
            self.warn(
                "Whether members of %s were added cannot be seen without Google, so that it changed is assumed. Let the module "
                "read Google (verify: google) to know." % self.target
            )

    # check mode ------------------------------------------------------------------------------------------------------

    def _predict(self) -> None:
        """What a real run would do, without posting anything that could write."""
        outcome, before, kind = self.outcome, self.before, self.target.kind
        if self.version.has_tasks and not self.provider.get("assigned_backchannel_application_slug"):
            if not self.authentik.application_slug(int(self.provider["pk"])):
                outcome.fail(
                    "authentik would not sync %s: the provider is not assigned to an application. Add it to an application in "
                    "authentik as its backchannel provider." % self.target,
                    "not_assigned",
                )
                return
        record = before.record if before.seen else before.attributes or None
        creating = record is None and (before.row is None or before.seen)
        try:
            wanted = self._wanted_now(creating)
        except MappingProblem as exc:
            if exc.kind == "skip":
                self._leave_out("%s would not be synced: %s" % (str(self.target).capitalize(), exc))
            elif exc.kind in ("failed", "empty"):
                outcome.fail("authentik could not sync %s: %s." % (self.target, exc), "mapping_%s" % exc.kind)
            else:
                self._cannot_predict(str(exc))
            return
        if self.request.verify == "none" or (not before.seen and before.rows is None):
            self._cannot_predict("neither Google nor authentik's connection was read")
            return
        if before.row is not None and not before.seen and not before.attributes:
            self._cannot_predict("authentik's connection holds no record of what stands at Google")
            return
        outcome.basis = "google" if before.seen else "connection"
        if not self._would_be_accepted(wanted, creating):
            return
        found = changes(kind, None, wanted) if record is None else unmet(kind, wanted, record)
        outcome.changes = found
        outcome.changed = bool(found)
        key = str(wanted.get("primaryEmail") or wanted.get("email") or "")
        if found:
            old = str((record or {}).get("primaryEmail") or (record or {}).get("email") or key)
            outcome.operations = [_operation("POST" if record is None else "PUT", kind, key if record is None else old)]
        outcome.note_states(kind, record, dict(record or {}, **_overlaid(record, wanted)))
        outcome.status = "synced" if outcome.changed else "unchanged"
        self._predict_members(record is None)

    def _cannot_predict(self, why: str) -> None:
        self.outcome.changed = True
        self.outcome.status = "unconfirmed"
        self.outcome.basis = "assumed"
        self.warn(
            "What a sync of %s would change cannot be predicted, so that it would is assumed: %s." % (self.target, why)
        )

    def _would_be_accepted(self, wanted: Json, creating: bool) -> bool:
        """Whether authentik and Google would take the wanted record, as far as that is known beforehand."""
        if self.target.kind == "user":
            addresses = [str(wanted.get("primaryEmail") or "")]
            addresses += [
                str(item.get("address") or "") for item in wanted.get("emails") or [] if isinstance(item, dict)
            ]
        else:
            addresses = [str(wanted.get("email") or "")]
        outside = ""
        if self.directory is not None and self.before.seen:
            known = _domain(
                str((self.before.record or {}).get("primaryEmail") or (self.before.record or {}).get("email") or "")
            )
            if not all(known and _domain(item) == known for item in addresses):
                domains = self.directory.domains()
                # authentik's own rule: the end of the address, with its case.
                outside = next((item for item in addresses if not item.endswith(tuple(domains)) or not item), "")
                if outside or not addresses[0]:
                    self.outcome.fail(
                        "authentik could not sync %s: Invalid email domain: %s. The workspace has the domain%s. Change the "
                        "e-mail in authentik, or add the domain at Google."
                        % (self.target, outside or "(no e-mail)", _listed(domains)),
                        "sync_failed",
                    )
                    return False
        elif not addresses[0]:
            self.outcome.fail("authentik could not sync %s: it has no e-mail." % self.target, "sync_failed")
            return False
        name = wanted.get("name") if self.target.kind == "user" else None
        if creating and isinstance(name, dict):
            empty = [field for field in ("givenName", "familyName") if not str(name.get(field) or "").strip()]
            if empty:
                self.outcome.fail(
                    "Google would reject the values for %s: name.%s is empty. Correct the name in authentik or its mapping."
                    % (self.target, empty[0]),
                    "sync_failed",
                )
                return False
        return True

    def _predict_members(self, creating: bool) -> None:
        """The members that a sync would insert."""
        outcome, before = self.outcome, self.before
        if self.target.kind != "group":
            return
        if not before.seen:
            if not creating:
                self._assume_members()
            return
        unlinked, absent = self._missing_members(before)
        outcome.skipped_members = sorted(unlinked)
        if unlinked:
            self.warn(
                "authentik would leave out %d of the group's members, who have no Google account through this provider: %s."
                % (len(unlinked), ", ".join(sorted(unlinked)))
            )
        if absent:
            addresses = sorted(
                member_key(item) for item in self.target.data.get("users_obj") or [] if item.get("username") in absent
            )
            outcome.changes.append({"path": "members", "added": addresses, "removed": []})
            outcome.operations.extend(_operation("POST", "member", item) for item in addresses)
            outcome.changed = True
            if outcome.status == "unchanged":
                outcome.status = "synced"
            if outcome.after is not None:
                outcome.after["members"] = sorted(outcome.after.get("members") or list(before.roles)) + addresses


def _operation(method: str, resource: str, key: str, **more: str) -> Json:
    return dict({"method": method, "resource": resource, "key": key, "by": "authentik"}, **more)


def _overlaid(record: t.Optional[Json], wanted: Json) -> Json:
    """The wanted fields, nested ones laid over what is there."""
    return {
        key: dict((record or {}).get(key) or {}, **value)
        if isinstance(value, dict) and isinstance((record or {}).get(key) or {}, dict)
        else value
        for key, value in wanted.items()
    }


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _listed(domains: t.Sequence[str]) -> str:
    return "%s %s" % ("s" if len(domains) > 1 else "", ", ".join(sorted(domains)))
