# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sync of one object performed by authentik.

observe → decide whether to send → one POST → read the messages → ask what decide() has to know → report. authentik's endpoint
answers 200 whatever happened and 405 whatever went wrong, so that everything the result says comes from what is read: Google
if that is allowed, else authentik's record of it, and the lines of the task that did the work.
"""

from __future__ import annotations

import time
import typing as t

from ..._authentik import tasks
from ..._authentik.errors import AuthentikError
from ..._authentik.log_events import LEVELS, normalise
from ..._common import waiting
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..engine import Engine
from .conclusion import Decision, write, write_effect
from .decide import decide
from .effect import nothing
from .facts import Facts, Question, Reply, Wanted
from .inquiry import Inquiry
from .messages import Verdict, judge
from .observation import Observation, Observer
from .predict import predict
from .protection import refusal


class ServerSync(Engine):
    """One sync through authentik."""

    name = "server"

    def _sync(self) -> None:
        inquiry = self._begin()
        facts = self._observe(inquiry) if inquiry is not None else None
        if inquiry is None or facts is None:
            return
        if self.request.check_mode and not inquiry.provider.get("dry_run"):
            self._conclude(inquiry, facts, predict)
        else:
            self._conclude(inquiry, self._send(inquiry, facts), decide)

    # Observe

    def _begin(self) -> Inquiry | None:
        """Find provider and object; None if the provider does not sync it."""
        request, outcome = self.request, self.outcome
        version = self.authentik.version()
        outcome.server_version = str(version)
        provider = self._find_provider(f"authentik {version}")
        target, rule = self._find_target(provider)
        if rule is not None:
            text = f"{target.title} is not synced: {rule}."
            outcome.leave_out(text, request.out_of_scope, self.warn)
            return None
        self._open_directory(provider)
        observer = Observer(self.authentik, provider, target, self.directory, request.needs_google, self.warn)
        return Inquiry(
            self.authentik,
            version,
            provider,
            target,
            request,
            observer,
            self.directory,
            self.warn,
            lambda: self.protection(provider),
        )

    def _open_directory(self, provider: Json) -> None:
        if self.request.verify not in ("auto", "google"):
            return
        try:
            self.directory = self.open_directory(provider)
        except GoogleError as exc:
            if self.request.needs_google:
                raise
            self.warn(f"Google is not read, so the result is based on authentik's own record. {exc}")

    def _observe(self, inquiry: Inquiry) -> Facts | None:
        """What is known before anything is sent; None if nothing may be sent."""
        outcome, target = self.outcome, inquiry.target
        before = inquiry.before() if self.request.verify != "none" else Observation()
        google_id = "" if before.adopting else before.google_id(target.kind)
        write_effect(nothing(target.kind, before), google_id, target.kind, outcome)
        if before.conflict:
            outcome.fail(f"{target.title} was not synced: {before.conflict}", "conflict")
            return None
        refused = refusal(inquiry, before)
        if refused.text:
            outcome.fail(refused.text, refused.code)
            return None
        return self._facts(inquiry, before)._replace(google_id=google_id, owners_known=refused.owners_known)

    def _facts(self, inquiry: Inquiry, before: Observation) -> Facts:
        request, target, version = self.request, inquiry.target, inquiry.version
        return Facts(
            kind=target.kind,
            title=str(target),
            address=target.email,
            name=target.name,
            before=before,
            members=target.data.get("users_obj") or (),
            has_members=bool(target.data.get("users")),
            verify=request.verify,
            check_mode=request.check_mode,
            override_dry_run=request.override_dry_run,
            google_wait=request.google_wait,
            sync_timeout=request.sync_timeout,
            server_version=str(version),
            has_tasks=version.has_tasks,
            # From 2026.8 on, which has this setting, a sync of one object lists nothing beforehand.
            lists_first="discovery_enabled" not in inquiry.provider,
            wanted=None if inquiry.wanted is None else Wanted(inquiry.wanted),
        )

    # Send

    def _send(self, inquiry: Inquiry, facts: Facts) -> Facts:
        """Post the sync, and read what authentik says of it."""
        request, target = self.request, inquiry.target
        override = request.override_dry_run and not request.check_mode
        inquiry.deadline = waiting.now() + request.sync_timeout
        since = self.authentik.client.server_time(time.time())
        reply: Reply | None = None
        answer: Json = {}
        try:
            response = self.authentik.sync_object(
                int(inquiry.provider["pk"]),
                request.kind,
                target.pk,
                override,
                request.sync_timeout,
                "sync %s through provider %s" % (target, inquiry.provider.get("name")),
            )
            answer = response.data if isinstance(response.data, dict) else {}
        except AuthentikError as exc:
            if not exc.may_have_been_applied:
                raise
            # It may have been received: what became of it is asked, and the run goes on.
            reply = Reply(exc.message, exc.http_status, exc.kind == "internal_page")
        # From here on something may have been written: what is not known is assumed, and no longer known to be nothing.
        self.outcome.basis = "assumed"
        inquiry.observer.sent = True
        return self._read_messages(inquiry, facts._replace(reply=reply, ended=False), answer, since)

    def _read_messages(self, inquiry: Inquiry, facts: Facts, answer: Json, since: float) -> Facts:
        """With what the messages say, from the answer or from the task's own log."""
        outcome, lines = self.outcome, answer.get("messages")
        if facts.reply is None and (lines or not facts.has_tasks):
            outcome.messages = normalise(lines)
            outcome.messages_source = "response"
            verdict = judge(outcome.messages, self.request.fail_on, facts.has_tasks)
            return facts._replace(verdict=verdict, ended=True)
        if not facts.has_tasks:
            self.warn(f"authentik {facts.server_version} keeps no log of single syncs, so there are no messages.")
            return facts
        try:
            found = self._follow(inquiry, facts.reply is None, since)
        except AuthentikError as exc:
            self.warn(f"The sync's messages are unavailable. {exc}")
            return facts
        if found.task is None:
            why = {
                "ambiguous": "two syncs ran at the same time, and authentik's task list does not tell which was ours",
                "none": "authentik's task list does not show the sync's task",
            }[found.problem]
            self.warn(f"The sync's messages are unavailable: {why}.")
            return facts._replace(task_problem=found.problem)
        inquiry.task = found.task
        outcome.messages = normalise(found.task.earlier + found.task.lines)
        outcome.messages_source = "task_log"
        return facts._replace(verdict=self._judge(found.task), ended=found.task.ended, task_seen=True)

    def _follow(self, inquiry: Inquiry, answered: bool, since: float) -> tasks.Found:
        """The task of the sync, followed to its end within the time allowed. Raises AuthentikError."""

        def find() -> tasks.Found:
            target = inquiry.target
            return tasks.find(
                self.authentik, inquiry.version, inquiry.provider, target.kind, target.pk, since, answered
            )

        return tasks.follow(find, waiting.now() + tasks.APPEARS_WITHIN_S if answered else inquiry.deadline)

    def _judge(self, task: tasks.Task) -> Verdict:
        """What the lines of a task say, of the attempt that counts."""
        lines = normalise(task.lines if task.ended else task.earlier + task.lines)
        verdict = judge(lines, self.request.fail_on, True)
        if not task.ended or task.state == "done" or verdict.fails_task:
            return verdict
        # authentik has given the task up: that fails whatever levels the user wants to fail on.
        all_levels = judge(lines, LEVELS[:5], True)
        failures = all_levels.failures or [f"the task's state is {task.state}"]
        return verdict._replace(
            failures=failures,
            fails_task=True,
            reason=all_levels.reason or failures[0],
            remedy=all_levels.remedy,
        )

    # Report

    def _conclude(self, inquiry: Inquiry, facts: Facts, rules: t.Callable[[Facts], Decision]) -> None:
        """Ask what the rules have to know until they conclude, and report that."""
        kind = facts.kind
        decision = rules(facts)
        while isinstance(decision, Question):
            facts = inquiry.answer(decision, facts)
            if facts.after is not None:
                # A run that is stopped meanwhile reports this.
                write_effect(facts.effect, facts.google_id, kind, self.outcome)
            decision = rules(facts)
        write(decision, kind, self.request.out_of_scope, self.outcome, self.warn)
