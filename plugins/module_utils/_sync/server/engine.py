# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sync of one object performed by authentik, and the truth about it.

observe → plan → apply → verify → report: the endpoint behind ``apply`` answers 200 whatever happened and 405 whatever
went wrong, so that everything the result says comes from looking: at Google where it may be read, at authentik's record
of it otherwise, and at the lines of the task that did the work.
"""

from __future__ import annotations

import time
import typing as t

from ..._authentik import tasks
from ..._authentik.errors import AuthentikError
from ..._authentik.log_events import LEVELS, normalise
from ..._common import waiting
from ..._common.texts import listed
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._mappings.desired import MappingProblem
from ..._objects.contradictions import stale_text
from ..._objects.difference import changes, unmet
from ..engine import Engine
from ..plan import overlaid
from . import conclude, members
from .comparison import Comparison
from .messages import Verdict, judge
from .observation import Observation, Observer
from .predict import predict
from .protection import refusal


class ServerSync(Engine):
    """One sync through authentik."""

    name = "server"

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self.task: t.Optional[tasks.Task] = None
        self.task_problem = ""

    def _sync(self) -> None:
        case = self._observe()
        if case is not None:
            if self.request.check_mode and not case.provider.get("dry_run"):
                predict(case)
            else:
                self._apply(case)

    def _observe(self) -> t.Optional[Comparison]:
        """Provider, object, scope and the first look; None when that already ended the matter."""
        request, outcome = self.request, self.outcome
        version = self.authentik.version()
        outcome.server_version = str(version)
        provider = self._find_provider("authentik %s" % version)
        target, rule = self._find_target(provider)
        observer = Observer(self.authentik, provider, target, request.verify == "google", self.warn)
        case = Comparison(self.authentik, request, version, provider, target, outcome, observer, self.warn)
        if rule is not None:
            case.leave_out("is not synced: %s" % rule)
            return None
        if request.verify != "none":
            self._open_eyes(case)
            case.before = observer.before(case.wanted_group)
        case.note_google_id(case.before)
        outcome.note_states(request.kind, *case.states(case.before, case.before))
        if case.before.conflict:
            outcome.fail("%s was not synced: %s" % (str(target).capitalize(), case.before.conflict), "conflict")
            return None
        refused = refusal(case)
        if refused is not None:
            outcome.fail(*refused)
            return None
        return case

    def _open_eyes(self, case: Comparison) -> None:
        if self.request.verify not in ("auto", "google"):
            return
        try:
            self.directory = case.observer.directory = self.open_directory(case.provider)
        except GoogleError as exc:
            if self.request.verify == "google":
                raise
            self.warn("Google is not read, so the result is based on authentik's own record. %s" % exc)

    def _apply(self, case: Comparison) -> None:
        """Post the sync, find out what authentik did, and look again."""
        request, outcome = self.request, self.outcome
        override = request.override_dry_run and not request.check_mode
        deadline = waiting.now() + request.sync_timeout
        since = self.authentik.client.server_time(time.time())
        question: t.Optional[AuthentikError] = None
        answer: Json = {}
        try:
            response = self.authentik.sync_object(
                int(case.provider["pk"]),
                request.kind,
                case.target.pk,
                override,
                request.sync_timeout,
                "sync %s through provider %s" % (case.target, case.provider.get("name")),
            )
            answer = response.data if isinstance(response.data, dict) else {}
        except AuthentikError as exc:
            if not exc.may_have_been_applied:
                raise
            # It may have been received: what became of it is a question, and not an end.
            question = exc
        # From here on something may have been written: what is not known is assumed, and no longer known to be nothing.
        outcome.basis = "assumed"
        case.observer.sent = True
        verdict, ended = self._recover_messages(case, answer, question, since, deadline)
        if verdict.dry_run:
            self._report_dry_run(case, verdict)
            return
        after = case.look_again()
        if question is not None and not ended:
            self._report_unanswered(case, question, after, deadline)
        elif verdict.failures:
            self._report_failed(case, verdict, after)
        else:
            conclude.conclude(case, after, verdict)

    def _recover_messages(
        self, case: Comparison, answer: Json, question: t.Optional[AuthentikError], since: float, deadline: float
    ) -> t.Tuple[Verdict, bool]:
        """Fill in the messages, from the answer or from the task's own log.

        Returns:
            (what they say, whether the task is known to have ended).
        """
        outcome, version = self.outcome, case.version
        lines = answer.get("messages")
        if question is None and (lines or not version.has_tasks):
            outcome.messages = normalise(lines)
            outcome.messages_source = "response"
            return judge(outcome.messages, self.request.fail_on, version.has_tasks), True
        if not version.has_tasks:
            self.warn("authentik %s keeps no log of single syncs, so there are no messages." % version)
            return Verdict(), False

        def look() -> tasks.Found:
            return tasks.find(
                self.authentik, version, case.provider, case.target.kind, case.target.pk, since, question is None
            )

        try:
            found = tasks.follow(look, deadline if question else waiting.now() + tasks.APPEARS_WITHIN_S)
        except AuthentikError as exc:
            self.warn("The sync's messages are unavailable. %s" % exc)
            return Verdict(), False
        self.task, self.task_problem = found.task, found.problem
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
        verdict = judge(normalise(counts), self.request.fail_on, True)
        if found.task.ended and found.task.state != "done" and not verdict.fails_task:
            # authentik has given the task up: that fails whatever levels the user wants to fail on.
            everything = judge(normalise(counts), LEVELS[:5], True)
            verdict.failures = everything.failures or ["the task's state is %s" % found.task.state]
            verdict.reason = everything.reason or verdict.failures[0]
            verdict.remedy = everything.remedy
            verdict.fails_task = True
        return verdict, found.task.ended

    def _report_dry_run(self, case: Comparison, verdict: Verdict) -> None:
        """A provider in dry run: what authentik would have sent, against what stands there."""
        outcome, kind = self.outcome, case.target.kind
        outcome.status = "dry_run"
        outcome.operations = [
            {"method": item["method"], "resource": item["resource"], "key": item["key"], "by": "authentik"}
            for item in verdict.dry_run
        ]
        record = case.before.record if case.before.seen else case.before.attributes or None
        outcome.basis = "google" if case.before.seen else "connection" if case.before.rows is not None else "assumed"
        for item in verdict.dry_run:
            if item["resource"] == kind:
                outcome.changes.extend(
                    changes(kind, None, item["body"]) if record is None else unmet(kind, item["body"], record)
                )
                outcome.note_states(kind, record, dict(record or {}, **overlaid(record, item["body"])))
        if self.request.check_mode and self.request.override_dry_run:
            # A real run would override the dry run and write this.
            outcome.changed = bool(outcome.changes) or record is None
            outcome.status = "synced" if outcome.changed else "unchanged"
            if not outcome.changed:
                # authentik writes it all the same; only what differs is told as an operation after a real run, too.
                outcome.operations = []
            members.predict(case, record is None)

    def _report_failed(self, case: Comparison, verdict: Verdict, after: Observation) -> None:
        remedy = verdict.remedy
        if verdict.bad_domain and self.directory is not None and after.seen:
            try:
                remedy = "The workspace has the domain%s. %s" % (listed(self.directory.domains()), remedy)
            except GoogleError:
                # The remedy without the list is still a remedy.
                pass
        if verdict.rows_stop:
            remedy = self._stale_text(case) or remedy
        self._note_partial(case, after)
        self.outcome.fail(
            "authentik could not sync %s to Google Workspace: %s. %s"
            % (case.target, verdict.reason.rstrip("."), remedy or "See messages."),
            "sync_failed",
            verdict.fails_task,
        )
        if not verdict.fails_task:
            self.warn(self.outcome.failure)

    def _note_partial(self, case: Comparison, after: Observation) -> None:
        """A failed sync may have written before it failed; without Google only authentik's row can tell."""
        if after.seen and case.before.seen:
            return
        if case.before.rows is None or after.rows is None:
            self.outcome.basis = "assumed"
            return
        self.outcome.basis = "connection"
        assumption = case.compare_rows(after)
        if assumption:
            self.warn(assumption)

    def _report_unanswered(
        self, case: Comparison, question: AuthentikError, after: Observation, deadline: float
    ) -> None:
        """The call gave no usable answer, and the task has not ended or is not to be seen."""
        outcome = self.outcome
        self._note_partial(case, after)
        start = "The sync of %s did not end well: %s" % (case.target, question.message)
        outcome.http_status = question.http_status
        task = self.task
        if task is not None:
            verdict = judge(normalise(task.earlier + task.lines), self.request.fail_on, True)
            remedy = (self._stale_text(case) if verdict.rows_stop else "") or verdict.remedy
            reason = " Its last error: %s. %s" % (verdict.reason.rstrip("."), remedy) if verdict.reason else ""
            outcome.fail(
                "%s After %g seconds %s.%s"
                % (
                    start,
                    self.request.sync_timeout,
                    tasks.unfinished(self.authentik, case.version, task),
                    reason.rstrip(),
                ),
                "sync_unfinished",
            )
            return
        if (
            case.version.has_tasks
            and after.seen
            and self.task_problem != "none"
            and self._becomes_wanted(case, after, deadline)
        ):
            outcome.status = "synced" if outcome.changed else "unconfirmed"
            self.warn(
                "%s Google has the expected values%s." % (start, " now" if outcome.changed else ", as it did before")
            )
            return
        outcome.fail("%s %s" % (start, self._unanswered_remedy(case, question)), "sync_unanswered")

    def _unanswered_remedy(self, case: Comparison, question: AuthentikError) -> str:
        if case.version.has_tasks:
            return (
                "Without its task it is not known whether the sync is still running; find it in authentik (System, Tasks), or "
                "give the token's user the permission authentik_tasks.view_task."
            )
        if question.kind == "internal_page":
            return self._stale_text(case) or (
                "On authentik %s a 405 means that the sync crashed: a member's account is gone at Google, an address is held "
                "by something else, Google refuses the provider's credentials, or a stored connection differs from Google's "
                "record (then every sync of this kind fails until that row is deleted). See authentik's worker log and its "
                "event log (system_exception)." % case.version
            )
        return (
            "On authentik %s the call waits for a worker: check that one is running (admin/workers). The sync is queued and "
            "may still run." % case.version
        )

    def _stale_text(self, case: Comparison) -> str:
        return stale_text(self.authentik, case.version, case.provider, case.target.kind, self.directory, self.warn)

    def _becomes_wanted(self, case: Comparison, after: Observation, deadline: float) -> bool:
        """Wait until Google holds what the mappings give; for a sync whose task cannot be seen."""
        try:
            wanted = case.wanted_now(creating=case.before.record is None)
        except MappingProblem:
            return False

        def holds(look: Observation) -> bool:
            return look.record is not None and not unmet(case.target.kind, wanted, look.record)

        return holds(after) or waiting.poll(lambda: holds(case.look_again()), deadline, 0.5, 1.5, 5.0, at_once=False)
