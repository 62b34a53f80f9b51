# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a directory's run: every object is observed and compared, and nobody gets a record that is somebody else's.

Absence in a listing is confirmed by a look at Google before anything is created or destroyed for it.
"""

from __future__ import annotations

import functools
import itertools
import typing as t

from ..._common.kind import GROUP, KINDS, USER, Kind
from ..._common.threads import Pool
from ..._common.types import Json
from ..._mappings.desired import MappingProblem
from ..._mappings.evaluator import MappingEvaluator, MissingLibrary, choose_sample
from ..._objects.connection import first_row, tie
from ..._objects.record import is_at
from ..._objects.target import Target, scope
from ..directory import RunEnded
from ..directory_outcome import DirectoryOutcome
from ..guard.claims import Claims, keys
from ..guard.ownership import contested_text, strength
from ..options import DirectoryOptions
from ..outcome import Outcome
from ..plan import DirectoryPlan, ObjectPlan
from ..progress import Progress
from .attempt import Attempt
from .context import DirectContext
from .give_up import GiveUp
from .listed_reader import ListedReader
from .log import EngineLog
from .observer import Evaluated, Observer, Question
from .orphans import Orphan, Orphans
from .planner import Planner, connections_of
from .reports import ObjectReports
from .scope import Scope
from .snapshot import Snapshot

# Objects that are evaluated and compared together.
BATCH = 200
# So few that asking authentik about each costs less than finding out who else could be asked.
FEW_OBJECTS = 50


class Candidate:
    """An object that is being observed.

    Attributes:
        target: Target; attempt: Attempt; observer: Observer; planner: Planner.
        question: Question that its observation waits with, or None.
    """

    def __init__(self, run: DirectContext, target: Target, row: Json | None) -> None:
        self.target = target
        outcome = Outcome("direct")
        outcome.object = target.described(True)
        self.attempt = Attempt(run, str(target), outcome, EngineLog())
        self.observer = Observer(run, target, row, self.attempt.secrets.append)
        self.planner = Planner(run, target, self.attempt)
        self.question: Question | None = None

    def look(self, given: Evaluated | None) -> None:
        """Observe until the next question, or to the end."""
        self.question = None

        def move() -> None:
            self.question = self.observer.begin() if given is None else self.observer.go_on(given)

        if self.attempt.step(move) and self.question is None:
            self.attempt.outcome.basis = "google"
            self.attempt.outcome.object["google_id"] = self.observer.google_id()


class DirectoryPlanner:
    """Makes the plan of one run.

    Args:
        run: DirectContext.
        snapshot: Snapshot.
        objects: Scope.
        reports: ObjectReports, for those that nothing is to be done about.
        give_up: GiveUp.
        pool, asking: Pool, for requests to Google and to authentik.
        outcome: DirectoryOutcome.
        progress: Progress.
        warn: callable taking a text.

    Attributes:
        plan: DirectoryPlan.
        targets: {primary key: Target} of the groups in the plan.
        orphans: list of Orphan.
    """

    def __init__(
        self,
        run: DirectContext,
        snapshot: Snapshot,
        objects: Scope,
        reports: ObjectReports,
        give_up: GiveUp,
        pools: tuple[Pool, Pool],
        outcome: DirectoryOutcome,
        progress: Progress,
        warn: t.Callable[[str], None],
    ) -> None:
        self.plan = DirectoryPlan()
        self.targets: dict[str, Target] = {}
        self.orphans: list[Orphan] = []
        self._run = run
        self._snapshot = snapshot
        self._objects = objects
        self._reports = reports
        self._give_up = give_up
        self._pool, self._asking = pools
        self._outcome = outcome
        self._progress = progress
        self._warn = warn
        # Users who are not active and have no account.
        self._inactive = 0
        self._claims = {kind: Claims() for kind in KINDS}
        self._reader.holder_of = self._claims[USER].holder

    @property
    def _options(self) -> DirectoryOptions:
        return t.cast(DirectoryOptions, self._run.options)

    @property
    def _reader(self) -> ListedReader:
        return t.cast(ListedReader, self._run.reader)

    def add_kind(self, kind: Kind, targets: t.Iterable[Target]) -> None:
        """Observe and plan all objects of a kind; keep the plans that hold something. Raises RunEnded."""
        total = len(targets) if isinstance(targets, list) else self._snapshot.count(kind)
        self._progress.begin(f"compare {kind}s", total)
        with self._evaluator(kind) as evaluator:
            iterator = iter(targets)
            while True:
                batch = list(itertools.islice(iterator, BATCH))
                if not batch:
                    break
                several = self._asking.map if self._options.objects else map
                candidates = list(several(self._candidate, batch))
                self._observe(candidates, evaluator)
                for candidate in candidates:
                    self._take(kind, candidate)
                self._progress.step(len(batch))
            if self._inactive:
                self._reports.note(
                    "%d users are not active and have no account at Google: left out. create_inactive: true creates their accounts, "
                    "suspended." % self._inactive
                )
                self._inactive = 0
            self._outcome.mapping_evaluation.extend(dict(entry, model=str(kind)) for entry in evaluator.decisions)
            if evaluator.warning:
                self._warn(evaluator.warning)

    def add_orphans(self) -> None:
        """Find the records whose object the provider no longer syncs, and plan its delete actions where they apply."""
        finder = Orphans(self._run, self._snapshot, self._reader, self._claims)
        for kind in self._options.models:
            pks = [pk for pk in self._reader.rows[kind].pks() if pk not in self._snapshot.kept[kind]]
            mine = [pk for pk in pks if self._objects.is_mine(kind, pk)]
            self._progress.begin(f"look at {kind}s out of scope", len(mine))
            for found in self._asking.map(functools.partial(finder.find, kind), mine):
                self._progress.step()
                self.orphans.extend(found)
                self._outcome.count(kind, "orphans", len(found))
        if self._options.orphans == "apply":
            for orphan in self.orphans:
                orphan.decide(self._run)
            self.plan.orphans = [orphan.plan for orphan in self.orphans if orphan.plan is not None]

    def _candidate(self, target: Target) -> Candidate:
        return Candidate(self._run, target, first_row(self._reader.connections(target.kind, target.pk)))

    def _evaluator(self, kind: Kind) -> MappingEvaluator:
        options = self._options
        mode = options.mapping_evaluation
        if mode == "auto" and options.objects and len(options.objects) <= FEW_OBJECTS:
            mode = "server"
        evaluator = MappingEvaluator(
            self._run.authentik,
            self._run.provider,
            kind,
            mode,
            groups=self._snapshot.group,
            pool_map=self._asking.map,
        )
        try:
            evaluator.prepare(self._sample(kind) if mode == "auto" else [])
        except MissingLibrary as exc:
            raise RunEnded(f"mapping_evaluation: local is not possible here. {exc}", "libraries") from None
        return evaluator

    def _sample(self, kind: Kind) -> list[tuple[Json, str | None]]:
        """Objects to try the mappings with, chosen from some of each page."""
        size = self._options.mapping_sample
        candidates: list[tuple[Json, str | None]] = []
        pages = max(1, self._snapshot.count(kind) // 100)
        for page in self._snapshot.pages(kind):
            targets = [target for target in (Target(kind, data) for data in page) if self._is_in_scope(target)]
            subjects = [
                (target.data, self._objects.connected_as(target, self._listed_row(target))) for target in targets
            ]
            candidates.extend(choose_sample(subjects, max(2, 10 * size // pages)))
        return choose_sample(candidates, size)

    def _is_in_scope(self, target: Target) -> bool:
        return scope(self._run.provider, target) is None

    def _listed_row(self, target: Target) -> Json | None:
        if target.kind not in self._reader.listed:
            return None
        return first_row(self._reader.connections(target.kind, target.pk))

    def _observe(self, candidates: t.Sequence[Candidate], evaluator: MappingEvaluator) -> None:
        """Observe many objects together, so that their mappings are evaluated together."""
        waiting = list(candidates)
        given: t.Sequence[Evaluated | None] = [None] * len(waiting)
        while waiting:
            self._pool.each(self._look, zip(waiting, given))
            if self._give_up.reason:
                raise RunEnded(f"The run was given up before anything was written: {self._give_up.reason}", "given_up")
            asked = [(item, item.question) for item in waiting if item.question is not None]
            waiting = [item for item, _question in asked]
            if asked:
                given = evaluator.evaluate([(item.target.data, question.google_id) for item, question in asked])
                refused = [
                    found for found in given if isinstance(found, MappingProblem) and found.kind == "unavailable"
                ]
                if len(refused) == len(given):
                    raise RunEnded(f"The property mappings cannot be evaluated: {refused[0]}", "mapping_unavailable")

    def _look(self, pair: tuple[Candidate, Evaluated | None]) -> None:
        candidate, given = pair
        if not self._give_up.reason:
            candidate.look(given)
            self._give_up.watch(candidate.attempt.outcome)

    def _take(self, kind: Kind, candidate: Candidate) -> None:
        """Plan for an observed object, and keep the plan if there is something to do."""
        attempt, target = candidate.attempt, candidate.target
        plans: list[ObjectPlan] = []
        attempt.step(lambda: plans.append(candidate.planner.plan(candidate.observer)))
        outcome = attempt.outcome
        if outcome.status == "out_of_scope" and not outcome.failure:
            if attempt.skipped_by_mapping:
                self._snapshot.left_out[kind].add(target.pk)
                self._snapshot.kept[kind].discard(target.pk)
            else:
                self._inactive += 1
            self._outcome.count(kind, "out_of_scope")
            return
        record = candidate.observer.record
        self.plan.observe(kind, candidate.observer.row, record, candidate.observer.members)
        if plans:
            self._claim(plans[0], attempt)
        if record is None:
            self._objects.claim(target)
        elif not attempt.active:
            self._snapshot.claimed[kind].add(str(record.get("id")))
        if not attempt.active:
            self._reports.finish(kind, target.pk, target.name, attempt)
            return
        self._keep(plans[0], candidate)

    def _keep(self, plan: ObjectPlan, candidate: Candidate) -> None:
        kind, target, attempt = plan.kind, candidate.target, candidate.attempt
        if kind == USER and plan.record.method is not None:
            self._reader.explain(t.cast(Json, plan.expected()))
        if plan.differs:
            self._progress.differ()
        self._run.note_connection(kind, plan.connection or {}, plan.before, plan.address)
        if plan.differs or self._connection_differs(plan):
            self.plan.add(plan)
            if kind == GROUP:
                self.targets[plan.pk] = target
            return
        attempt.outcome.status = "unchanged"
        if attempt.warnings:
            self._reports.finish(kind, plan.pk, plan.name, attempt, mark=target)
        else:
            # Most objects of most runs: they need no line of their own.
            self._outcome.count(kind, "unchanged")
            self._reports.note_done(kind, plan.pk, plan.name, "unchanged", target)

    def _connection_differs(self, plan: ObjectPlan) -> bool:
        """Whether authentik's connection of a record that is there is not in step. May ask for authentik's version."""
        if plan.before is None:
            return False
        found = connections_of(self._run, plan, plan.before, False)
        return bool(found.remove) or found.google_id is not None

    # Two objects, one record

    def _claim(self, plan: ObjectPlan, attempt: Attempt) -> None:
        """See that no two objects write to one record, nor want one address: the better claim has it, equal ones get nothing."""
        kind, record = plan.kind, plan.before
        address = kind.address(plan.wanted)
        how, is_there = tie(plan.connection, record), is_at(record, address)
        own_id = "" if record is None else str(record.get("id"))
        wanted = keys(own_id, address, strength(how, is_there), strength(how, True) if is_there else 0)
        losing, lost_to = self._claims[kind].add(plan.pk, wanted, self._others(plan, address))
        winners = [self._called(kind, pk) for pk in lost_to]
        for pk in losing:
            if self.plan.get(kind, pk) is not None:
                self._take_out(self.plan.pop(kind, pk), address, str(plan))
        if winners:
            self._end_in_conflict(plan, attempt, address, winners)

    def _others(self, plan: ObjectPlan, address: str) -> dict[str, int]:
        """{primary key: level of the claim} of the objects that have to do with the record, claimed or not: of all shards."""
        kind, record = plan.kind, plan.before
        if kind not in self._reader.listed:
            return {}
        found: dict[str, int] = {}
        for pk in self._reader.owners(kind, record) if record is not None else ():
            wants = pk in self._reader.sharing(kind, kind.address(record))
            found[pk] = max(strength(tie(row, record), wants) for row in self._reader.rows[kind].of(pk))
        if self._options.shard_count > 1:
            for pk in self._reader.sharing(kind, address):
                if not self._objects.is_mine(kind, pk):
                    found.setdefault(pk, 0)
        return found

    def _called(self, kind: Kind, pk: str) -> str:
        other = self.plan.get(kind, pk)
        return str(other) if other else self._reader.called(kind, pk)

    def _take_out(self, plan: ObjectPlan, address: str, other: str) -> None:
        """An object in the plan that loses to a later one."""
        if plan.kind == USER and plan.record.method is not None:
            self._reader.forget(t.cast(Json, plan.expected()))
        attempt = planned_attempt(self._run, plan)
        self._end_in_conflict(plan, attempt, address, [other])
        self._reports.finish(plan.kind, plan.pk, plan.name, attempt)

    def _end_in_conflict(self, plan: ObjectPlan, attempt: Attempt, address: str, others: t.Sequence[str]) -> None:
        record = plan.kind.address(plan.before) or address or "its record"
        attempt.fail(contested_text(attempt.title, plan.kind, record, others), "conflict")


def planned_attempt(run: DirectContext, plan: ObjectPlan) -> Attempt:
    """An attempt that goes on where planning ended."""
    outcome = Outcome("direct")
    target = target_of(plan)
    outcome.object = target.described(True)
    if plan.before is not None:
        row = plan.connection or {}
        outcome.object["google_id"] = str(row.get("google_id") or plan.kind.google_id(plan.before))
    outcome.basis = "google"
    outcome.skipped_members = list(plan.skipped_members)
    attempt = Attempt(run, str(plan), outcome, EngineLog())
    attempt.warnings.extend(plan.warnings)
    if isinstance(plan.secret.get("password"), str):
        attempt.secrets.append(plan.secret["password"])
    return attempt


def target_of(plan: ObjectPlan) -> Target:
    """The object of a plan, as far as the plan knows it."""
    return Target(plan.kind, {"pk": plan.pk, plan.kind.name_field: plan.name, "email": plan.address})
