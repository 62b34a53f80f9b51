# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sync of one object performed by ourselves, in the fewest calls.

authentik is asked for the provider, the object, its connection, and what its property mappings yield; Google for the one
record (and a group's members). observer.py reads, planner.py plans, plan_run.py explains or executes.
"""

from __future__ import annotations

import contextlib
import typing as t

from ..._authentik.errors import AuthentikError
from ..._common.types import Json
from ..._mappings.desired import MappingProblem, evaluate
from ..._objects.connection import first_row
from ..._objects.target import Target, as_primary_key, described, is_primary_key
from ..engine import Engine
from .attempt import Attempt
from .context import DirectContext
from .log import EngineLog
from .observer import Evaluated, Observer, Question
from .plan_run import PlanRun, note_observed
from .planner import Planner
from .reader import Reader


class DirectSync(Engine):
    """One sync by Google's API."""

    name = "direct"

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self.log = EngineLog()

    def run(self) -> t.Any:
        outcome = super().run()
        if outcome.failure and not any(line["log_level"] == "error" for line in self.log.lines):
            with contextlib.suppress(Exception):
                self.log.error(outcome.failure)
        return outcome

    def _sync(self) -> None:
        outcome = self.outcome
        outcome.messages = self.log.lines
        outcome.messages_source = "engine"
        provider = self._find_provider("This authentik")
        found = self._observe_authentik(provider)
        if found is None:
            return
        target, row = found
        self.directory = self.open_directory(provider)
        self.directory.session.notice = self.log.info
        reader = Reader(self.directory, self.authentik, provider)
        run = DirectContext(self.authentik, provider, self.request, self.directory, reader, self.protection(provider))
        attempt = Attempt(run, str(target), outcome, self.log)
        try:
            self._sync_object(run, target, row, attempt)
        finally:
            self.keep_secret(attempt.secrets)
            for text in attempt.warnings:
                self.warn(text)

    def _sync_object(self, run: DirectContext, target: Target, row: Json | None, attempt: Attempt) -> None:
        observer = Observer(run, target, row, attempt.secrets.append)
        planner = Planner(run, target, attempt)
        plans: list[PlanRun] = []

        def observe() -> None:
            question: Question | None = observer.begin()
            while question is not None:
                question = observer.go_on(self._evaluate(run, target, question))
            note_observed(observer, self.outcome)

        def plan() -> None:
            plans.append(PlanRun(run, planner.plan(observer), attempt, planner))

        def carry_out() -> None:
            plans[0].carry_out()

        try:
            attempt.step(observe, plan, carry_out)
        finally:
            if plans:
                plans[0].report()
            elif self.outcome.failure:
                self.log.error(self.outcome.failure)

    def _observe_authentik(self, provider: Json) -> tuple[Target, Json | None] | None:
        """The object and its connection; None where the provider does not sync it."""
        request, outcome = self.request, self.outcome
        try:
            target, rule = self._find_target(provider)
        except AuthentikError as exc:
            if exc.kind != "not_found" or not self._existed(provider):
                raise
            outcome.object = described(request.kind, request.object_id, None, False)
            outcome.leave_out(f"{exc} It is left alone at Google.", request.out_of_scope, self.warn)
            return None
        if rule is not None:
            text = f"{target.title} is not synced: {rule}."
            outcome.leave_out(text, request.out_of_scope, self.warn)
            return None
        return target, first_row(self.authentik.connections(request.kind, int(provider["pk"]), target.pk))

    def _existed(self, provider: Json) -> bool:
        """Whether what authentik does not know was an object once: by what the caller says, or by a connection that is left."""
        request = self.request
        if not is_primary_key(request.kind, request.object_id, request.lookup):
            return False
        if request.lookup != "auto":
            return True
        # A value that nobody called a primary key may as well be a mistyped name.
        pk = as_primary_key(request.kind, request.object_id)
        return pk is not None and bool(self.authentik.connections(request.kind, int(provider["pk"]), pk))

    def _evaluate(self, run: DirectContext, target: Target, question: Question) -> Evaluated:
        try:
            return evaluate(self.authentik, run.provider, target.kind, target.data, question.google_id)
        except MappingProblem as exc:
            return exc
