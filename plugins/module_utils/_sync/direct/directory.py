# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sync of many objects performed by ourselves: list both sides, plan, compare the plan with the safety limits, carry it out.

Both sides are listed once, in full pages. A failed listing ends the run before any write.
"""

from __future__ import annotations

import typing as t

from ..._common.endings import STOPPED, stopped_text
from ..._common.errors import Refused, RemoteError
from ..._common.kind import GROUP, KINDS, USER, Kind
from ..._common.signals import Stopped
from ..._common.threads import Pool
from ..._common.types import Json
from ..._google.limiter import RateLimiter
from ..._objects.difference import member_key
from ..directory import AUTHENTIK_PARALLEL, DirectoryEngine, RunEnded, check_different_files
from ..directory_outcome import MOST_MESSAGES
from ..guard.safety_limits import (
    MOST_NAMED,
    Managed,
    SafetyLimit,
    exceeded_text,
    limit_of_group,
    limit_of_listing,
    limits_of_plan,
    raise_text,
)
from ..plan import ObjectPlan
from ..plan_summary import plan_summary
from .context import DirectContext
from .directory_planner import DirectoryPlanner, planned_attempt
from .directory_run import DirectoryRun
from .give_up import GiveUp
from .listed_reader import ListedReader
from .log import EngineLog
from .reports import ObjectReports
from .run_journal import RunJournal, job_key
from .scope import Scope
from .snapshot import Snapshot


class DirectorySync(DirectoryEngine):
    """One run.

    Args:
        journal_path: str or None, the file to write.
    """

    name = "direct"

    def __init__(self, *args: t.Any, journal_path: str | None = None, **more: t.Any) -> None:
        super().__init__(*args, **more)
        self.log = EngineLog(MOST_MESSAGES)
        self._give_up = GiveUp()
        self._journal = RunJournal(None if self.options.check_mode else journal_path, self._give_up, self.warn)
        self._journal_path = journal_path
        self._running: DirectoryRun | None = None

    def _sync(self) -> None:
        outcome = self.outcome
        outcome.messages = self.log.lines
        outcome.messages_source = "engine"
        try:
            self._open_files()
            self._run()
        except RemoteError as exc:
            # A listing failed, or what comes before it: nothing was written.
            outcome.fail_by(exc)
        except Refused as exc:
            outcome.changed = False
            outcome.fail(str(exc), exc.code)
        except Exception as exc:  # noqa: BLE001
            self._finish_begun()
            self._fail_unexpectedly(exc)
        except Stopped as exc:
            self._finish_begun()
            self._note_stopped(exc)
        finally:
            try:
                if outcome.failure:
                    self.log.end(outcome.failure)
            finally:
                self._close_report()
                self._journal.close(outcome.status, outcome.code == STOPPED)

    def _open_files(self) -> None:
        check_different_files(journal=self._journal_path, report_path=self._report_path)
        self._open_report()
        self._journal.open(job_key(self.authentik.client.url, self.options))
        self._begin_report()

    def _run(self) -> None:
        options = self.options
        provider = self._find_provider("This authentik")
        self._report_provider(provider)
        if options.objects is not None and not options.objects:
            self._sync_nothing()
            return
        directory = self.directory = self.open_directory(provider)
        limiter = RateLimiter(
            options.queries_per_minute / options.shard_count, options.user_creations_per_second / options.shard_count
        )
        directory.pace(limiter)
        directory.session.notice = self.log.info
        self._journal.is_about(provider)
        if self._journal.is_kept:
            directory.session.audit = self._journal.audit
            self.authentik.audit = self._journal.audit
        reader = ListedReader(directory, self.authentik, provider)
        reader.visits_users = USER in options.models and options.shard_count == 1
        run = DirectContext(self.authentik, provider, options, directory, reader, self.protection(provider))
        with Pool(options.parallel) as pool, Pool(AUTHENTIK_PARALLEL) as asking:
            try:
                self._plan_and_carry_out(run, reader, pool, asking)
            except Stopped as exc:
                # Before the threads are waited for: whoever is still to be written is left alone.
                self._give_up.reason = stopped_text(exc)
                raise
            finally:
                self.outcome.server_version = run.server_version
                self.outcome.rate = {
                    "queries_per_minute": limiter.reached(),
                    "limit": options.queries_per_minute / options.shard_count,
                    "refusals": limiter.refusals,
                }

    def _sync_nothing(self) -> None:
        """No object was named. A list that somebody computed and that came out empty does not mean everybody."""
        self.outcome.status = "unchanged"
        self.warn("objects is an empty list, so no object was synced. To sync the whole directory, leave objects out.")

    def _plan_and_carry_out(self, run: DirectContext, reader: ListedReader, pool: Pool, asking: Pool) -> None:
        snapshot = Snapshot(self.authentik, run.provider, reader, pool, asking, self.progress)
        reports = ObjectReports(self.outcome, self.log, self._journal, run.explains)
        objects = Scope(run, snapshot, self._journal, self.outcome, self.log, asking, self.progress, self.warn)
        planner = DirectoryPlanner(
            run,
            snapshot,
            objects,
            reports,
            self._give_up,
            (pool, asking),
            self.outcome,
            self.progress,
            self.warn,
        )
        options = self.options
        self._plan(planner, objects, snapshot, reader)
        exceeded = self._check_plan(run, planner, reader, reports)
        self._running = DirectoryRun(
            run,
            planner,
            reports,
            self._give_up,
            pool,
            self.outcome,
            self.progress,
            lambda plan: limit_of_group(plan, self.options.safety_limits),
            self.log.info,
        )
        if not exceeded or options.check_mode:
            # What exceeds the limits can be looked at in check mode; a real run would change nothing.
            self._running.carry_out()
            self._running.finish_begun()
            self._running.report_orphans()
            if options.objects is None and not run.explains and not self._give_up.reason:
                run.list_missing_ids(self.log)
        if exceeded:
            raise RunEnded(exceeded, "guard")
        self._conclude(run)

    # Plan

    def _plan(self, planner: DirectoryPlanner, objects: Scope, snapshot: Snapshot, reader: ListedReader) -> None:
        options = self.options
        if options.objects is not None:
            named = objects.named()
            for kind in options.models:
                planner.add_kind(kind, [target for target in named if target.kind == kind])
            return
        snapshot.list_all(options.models, options.mapping_evaluation != "server")
        for kind in options.models:
            self.log.info(
                "Listed %d %ss in authentik, %d connections and %d %ss at Google."
                % (snapshot.count(kind), kind, len(reader.rows[kind]), len(reader.index(kind)), kind)
            )
        self._check_listings(snapshot, reader)
        for kind in options.models:
            planner.add_kind(kind, objects.listed(kind))
        if options.orphans != "ignore":
            planner.add_orphans()

    def _check_listings(self, snapshot: Snapshot, reader: ListedReader) -> None:
        """A listing that came back empty or too short must not be taken for what there is."""
        limits: list[SafetyLimit] = []
        for kind in self.options.models:
            rows, index = reader.rows[kind], reader.index(kind)
            if kind == USER and not len(index):
                self._stop_by("Google lists no user at all, though every workspace has an administrator")
            if len(rows) and not snapshot.count(kind):
                self._stop_by("authentik lists no %s, though %d are connected to Google" % (kind, len(rows)))
            missing = sum(1 for pk in rows.pks() if not _is_listed(reader, kind, pk))
            # With an object authentik removes its connections: what is connected is there.
            hidden = sum(1 for pk in rows.pks() if not snapshot.has(kind, pk))
            limits += [
                limit_of_listing(kind, side, number, len(rows), self.options.safety_limits)
                for number, side in ((missing, "Google"), (hidden, "authentik"))
            ]
        exceeded = self._hold(limits)
        if exceeded:
            raise RunEnded(exceeded, "guard")

    def _stop_by(self, what: str) -> None:
        if self.options.force:
            self.warn(f"{what}; continuing, because force is set.")
            return
        raise RunEnded(
            f"{what}. Nothing was written. See whether the permissions of the token and of the delegated subject show everything; "
            "force: true continues nevertheless.",
            "guard",
        )

    # Safety limits

    def _check_plan(
        self, run: DirectContext, planner: DirectoryPlanner, reader: ListedReader, reports: ObjectReports
    ) -> str:
        """Compare the plan with the safety limits, and say what it holds; return why the run must not go on, or an empty text."""
        forced, plan = self.options.force, planner.plan
        groups = [(item, limit_of_group(item, self.options.safety_limits)) for item in plan.groups()]
        large = [(item, limit) for item, limit in groups if limit.exceeded]
        if not forced:
            for item, limit in large:
                self._leave_alone(run, plan.pop(GROUP, item.pk), limit, reports)
        most = max((limit.planned for _item, limit in groups if not limit.exceeded), default=0)
        limits = self._limits_of_run(run, planner, reader, most)
        limits += [limit for _item, limit in large]
        stopping = self._hold(limits)
        summary = plan_summary(plan.totals(), limits, forced, 0 if forced else len(large))
        self.outcome.note_plan(summary)
        self.log.info(summary["text"])
        self.progress.plan(summary["text"])
        return stopping

    def _limits_of_run(
        self, run: DirectContext, planner: DirectoryPlanner, reader: ListedReader, most_of_group: int
    ) -> list[SafetyLimit]:
        options, plan = self.options, planner.plan
        if options.objects is not None:
            records = {kind: self.outcome.counts[kind + "s"]["total"] for kind in KINDS}
        else:
            records = {kind: len(reader.rows[kind]) + plan.unconnected[kind] for kind in KINDS}
        totals = plan.totals()
        return limits_of_plan(
            totals,
            Managed(records, plan.members, options.objects is not None),
            options.safety_limits,
            options.models,
            (options.shard_index, options.shard_count),
            most_of_group,
            not any(totals["adoptions"].values()) or run.tolerates_rows(True),
        )

    def _leave_alone(self, run: DirectContext, plan: ObjectPlan, limit: SafetyLimit, reports: ObjectReports) -> None:
        """A group whose own limit is exceeded; the others are synced."""
        attempt = planned_attempt(run, plan)
        keys = [member_key(member) for member in plan.members.remove]
        attempt.fail(
            f"{attempt.title} was not synced: {limit.text()}: {named(keys)}. Nothing was written for it. If that is meant, "
            f"raise {raise_text([limit])}, or set force: true for one run.",
            "guard",
        )
        reports.finish(GROUP, plan.pk, plan.name, attempt, None, None)

    def _hold(self, limits: t.Sequence[SafetyLimit]) -> str:
        """Report safety limits; return why the run must not go on, or an empty text."""
        forced = self.options.force
        self.outcome.safety_limits.extend(limit.shown(forced) for limit in limits)
        exceeded = [limit for limit in limits if limit.exceeded and (forced or not limit.group)]
        if not exceeded:
            return ""
        if forced:
            self.warn(f"Continuing beyond the safety limits, because force is set: {exceeded_text(exceeded)}.")
            return ""
        return (
            f"Stopped before anything was written: {exceeded_text(exceeded)}. See with check mode whether that is meant; if so, "
            f"raise {raise_text(exceeded)}, or set force: true for this run."
        )

    # Report

    def _finish_begun(self) -> None:
        if self._running is not None:
            self._running.finish_begun()

    def _conclude(self, run: DirectContext) -> None:
        outcome, options = self.outcome, self.options
        for text in outcome.warnings:
            self.warn(text)
        if outcome.warnings_total > len(outcome.warnings):
            self.warn(
                "%d more warnings about single objects are in the report (report_path)."
                % (outcome.warnings_total - len(outcome.warnings))
            )
        if outcome.basis == "nothing_sent":
            outcome.basis = "google"
        failed = sum(counts["failed"] + counts["unconfirmed"] for counts in outcome.counts.values())
        outcome.status = "dry_run" if run.dry else "synced" if outcome.changed else "unchanged"
        if run.dry:
            outcome.changed = False
        if self._give_up.reason:
            outcome.fail(f"The run was given up: {self._give_up.reason}", "given_up")
        elif failed:
            text = "%d of %d objects were not synced; the first: %s" % (
                failed,
                sum(counts["total"] for counts in outcome.counts.values()),
                outcome.failed_objects[0]["msg"] if outcome.failed_objects else "see the report.",
            )
            outcome.fail(text, "objects", options.fail_on_objects)
            if not options.fail_on_objects:
                self.warn(text)


def named(keys: t.Sequence[str]) -> str:
    """The first five of so many members."""
    return ", ".join(keys[:MOST_NAMED]) + (" and %d more" % (len(keys) - MOST_NAMED) if len(keys) > MOST_NAMED else "")


def _is_listed(reader: ListedReader, kind: Kind, pk: str) -> bool:
    """Whether Google lists the record that one of an object's connections leads to."""
    keys: t.Iterator[tuple[Json, str]] = (
        (row, key) for row in reader.rows[kind].of(pk) for key in (row["attributes"].get("id") or "", row["google_id"])
    )
    return any(reader.index(kind).has(key) for _row, key in keys if key)
