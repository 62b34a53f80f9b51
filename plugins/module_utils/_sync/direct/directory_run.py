# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying out the plan of a directory's run: users before groups, groups before members, removals after additions, orphans last.

Check mode explains the same steps in the same order. A failed object does not keep the others waiting.
"""

from __future__ import annotations

import contextlib
import itertools
import typing as t

from ..._common.endings import unexpected_text
from ..._common.errors import Refused
from ..._common.kind import GROUP, USER, Kind
from ..._common.threads import Pool
from ..._objects.difference import member_key
from ..directory_outcome import DirectoryOutcome
from ..guard.safety_limits import SafetyLimit
from ..options import DirectoryOptions
from ..plan import ObjectPlan, Operation
from ..progress import Progress
from .context import DirectContext
from .directory_planner import DirectoryPlanner, planned_attempt, target_of
from .give_up import GiveUp
from .listed_reader import ListedReader
from .orphans import Orphan
from .plan_run import PlanRun
from .planner import Planner
from .reports import ObjectReports


class DirectoryRun:
    """Takes the steps of all plans.

    Args:
        run: DirectContext.
        planned: DirectoryPlanner, with its plan.
        reports: ObjectReports.
        give_up: GiveUp.
        pool: Pool, for requests to Google.
        outcome: DirectoryOutcome.
        progress: Progress.
        removals: callable taking an ObjectPlan of a group and returning the safety limit of its removals.
        notice: callable taking a text.
    """

    def __init__(
        self,
        run: DirectContext,
        planned: DirectoryPlanner,
        reports: ObjectReports,
        give_up: GiveUp,
        pool: Pool,
        outcome: DirectoryOutcome,
        progress: Progress,
        removals: t.Callable[[ObjectPlan], SafetyLimit],
        notice: t.Callable[[str], None],
    ) -> None:
        self._run = run
        self._plan = planned.plan
        self._targets = planned.targets
        self._orphans = planned.orphans
        self._reports = reports
        self._give_up = give_up
        self._pool = pool
        self._outcome = outcome
        self._progress = progress
        self._removals = removals
        self._notice = notice
        # What is being carried out, or was when something unexpected happened.
        self._begun: dict[tuple[Kind, str], PlanRun] = {}

    @property
    def _options(self) -> DirectoryOptions:
        return t.cast(DirectoryOptions, self._run.options)

    @property
    def _reader(self) -> ListedReader:
        return t.cast(ListedReader, self._run.reader)

    def carry_out(self) -> None:
        """Take all steps."""
        self._phase("write users", self._plan.pks(USER), self._write_user)
        if not self._run.explains:
            self._reader.forget_predicted()
        groups = [self._begin(self._plan.pop(GROUP, pk)) for pk in self._plan.pks(GROUP)]
        self._phase("write groups", groups, self._write_group)
        pairs = [[(run, item) for item in run.plan.operations("add")] for run in groups if run.attempt.active]
        # A fresh group refuses members for a while: one is tried before the others follow.
        self._phase("add members", [found[0] for found in pairs if found], self._write_member)
        self._phase("add members", _in_turn([found[1:] for found in pairs]), self._write_member)
        pairs = [[(run, item) for item in run.plan.operations("remove")] for run in groups if run.attempt.active]
        self._phase("remove members", _in_turn(pairs), self._write_member)
        self._phase("finish groups", groups, self._finish_group)
        if self._options.orphans == "apply":
            self._phase("apply delete actions", [item for item in self._orphans if item.plan], self._apply_orphan)

    def report_orphans(self) -> None:
        """Take the orphans into the result."""
        applied = self._options.orphans == "apply"
        for orphan in self._orphans:
            self._outcome.add_orphan(orphan.kind, orphan.outcome, orphan.action if applied else None, orphan.why)

    def finish_begun(self) -> None:
        """What was being written when something unexpected happened: what is known of it goes into the result."""
        for run in list(self._begun.values()):
            with contextlib.suppress(Exception):
                run.attempt.give_up(self._give_up.reason or "an unexpected error stopped it")
                self._finish(run)

    def _phase(self, name: str, things: t.Sequence[t.Any], step: t.Callable[[t.Any], t.Any]) -> None:
        """Take a step for each of so many things."""
        if not things:
            return
        if self._run.explains:
            # One after the other, so that the same plan is always shown in the same order.
            for thing in things:
                step(thing)
            return
        self._progress.begin(name, len(things))
        self._notice("%s: %d." % (name.capitalize(), len(things)))

        def one(thing: t.Any) -> None:
            try:
                step(thing)
                if name != "finish groups":
                    self._progress.change()
                self._progress.step()
            except Exception as exc:  # noqa: BLE001
                # Whoever else is to be written is reported as not tried.
                self._give_up.because(unexpected_text(exc))

        self._pool.each(one, things)

    def _begin(self, plan: ObjectPlan) -> PlanRun:
        attempt = planned_attempt(self._run, plan)
        target = self._targets.get(plan.pk) if plan.kind == GROUP else None
        found = PlanRun(self._run, plan, attempt, Planner(self._run, target or target_of(plan), attempt))
        self._begun[plan.kind, plan.pk] = found
        return found

    def _write_user(self, pk: str) -> None:
        # Each is unpacked when its turn has come, and nothing of those that are done stays in memory.
        run = self._begin(self._plan.pop(USER, pk))
        expected = run.plan.expected()
        if self._try(run, run.record):
            run.attempt.step(run.connect, run.verify)
        elif self._run.explains and expected is not None:
            # It will not come to what the groups were planned with.
            self._reader.forget(expected)
        if run.after is not None and not self._run.explains:
            self._reader.note(run.after)
        self._finish(run)

    def _write_group(self, run: PlanRun) -> None:
        foreseen = {member_key(member) for member in run.plan.members.remove}

        def guard_removals() -> None:
            limit = self._removals(run.plan)
            fresh = {member_key(member) for member in run.plan.members.remove} - foreseen
            if not fresh or not limit.exceeded:
                return
            # Google has shown a group that nobody had seen before.
            self._outcome.note_limit(limit.shown(self._options.force))
            if not self._options.force:
                raise Refused(f"Members of it were left alone: {limit.text()}; force: true overrides that.", "guard")

        # Who has an account is known for certain only now.
        self._try(run, run.record, run.plan_members, guard_removals)

    def _write_member(self, pair: tuple[PlanRun, Operation]) -> None:
        run, operation = pair
        self._try(run, lambda: run.perform_one(operation))

    def _try(self, run: PlanRun, *steps: t.Callable[[], t.Any]) -> bool:
        """Take steps that write, unless its sync has ended or the run is given up."""
        if self._give_up.reason:
            run.attempt.give_up(self._give_up.reason)
        if not run.attempt.active:
            return False
        run.attempt.step(*steps)
        self._give_up.watch(run.attempt.outcome)
        return run.attempt.active

    def _finish_group(self, run: PlanRun) -> None:
        attempt = run.attempt
        attempt.step(run.end_members)
        # Whatever became of the members, the record is there.
        attempt.active = attempt.end(run.connect) and attempt.active
        attempt.step(run.verify)
        self._finish(run)

    def _apply_orphan(self, orphan: Orphan) -> None:
        if self._give_up.reason:
            text = f"Not tried, since the run was given up: {self._give_up.reason}"
            orphan.attempt.fail(text, "not_tried")
            return
        run = PlanRun(self._run, t.cast(ObjectPlan, orphan.plan), orphan.attempt)
        orphan.attempt.step(run.record, lambda: run.perform("connection"), run.end_orphan)
        run.report()
        self._give_up.watch(orphan.outcome)

    def _finish(self, run: PlanRun) -> None:
        """An object is done: into the result, the report and the journal."""
        run.report()
        plan = run.plan
        self._reports.finish(plan.kind, plan.pk, plan.name, run.attempt, plan.action, self._targets.get(plan.pk))
        self._begun.pop((plan.kind, plan.pk), None)


def _in_turn(lists: t.Sequence[t.Sequence[t.Any]]) -> list[t.Any]:
    """One of each list in turn, so that requests that run side by side concern different groups."""
    gone = object()
    return [item for row in itertools.zip_longest(*lists, fillvalue=gone) for item in row if item is not gone]
