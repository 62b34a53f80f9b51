# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sync of the whole directory performed by authentik.

authentik answers the request to start one with an empty object. What became of it is read in the tasks that it ran, object by
object and page by page, and in both sides before and after: Google, or, if that cannot be read, authentik's connections.
"""

from __future__ import annotations

import functools
import typing as t

from ..._authentik import tasks
from ..._authentik.api import Version
from ..._authentik.errors import AuthentikError
from ..._authentik.log_events import normalise
from ..._common import waiting
from ..._common.errors import Refused, RemoteError
from ..._common.kind import KINDS, Kind
from ..._common.signals import Stopped
from ..._common.threads import Pool
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._google.limiter import RateLimiter
from ..._objects.contradictions import stale_text
from ..._objects.protection import Protection, is_protected
from ..directory import AUTHENTIK_PARALLEL, DirectoryEngine, RunEnded
from . import directory_conclusion as conclusions
from . import directory_protection
from .directory_conclusion import DirectoryConclusion, DirectoryFacts, listed
from .directory_report import DirectoryReport
from .full_sync import LONGEST_PAUSE_S, FullSync, new_run
from .snapshot import Key
from .snapshot_reader import SnapshotReader, list_objects
from .task_report import TaskReport

if t.TYPE_CHECKING:
    from ..._google.directory import Directory
# Between two questions whether another full sync still runs, at first.
FIRST_PAUSE_S = 2.0
# One that begins at the same moment takes the lock from ours: so often it is started again.
ATTEMPTS = 3


class FullServerSync(DirectoryEngine):
    """One run."""

    name = "server"

    def _sync(self) -> None:
        try:
            self._open_report()
            self._begin_report()
            with Pool(self.options.parallel) as pool, Pool(AUTHENTIK_PARALLEL) as authentik_pool:
                self._run(pool, authentik_pool)
        except RemoteError as exc:
            self.outcome.fail_by(exc)
        except Refused as exc:
            self.outcome.fail(str(exc), exc.code)
        except Exception as exc:  # noqa: BLE001
            self._fail_unexpectedly(exc)
        except Stopped as exc:
            self._note_stopped(exc)
        finally:
            self._close_report()

    def _run(self, pool: Pool, authentik_pool: Pool) -> None:
        options, outcome = self.options, self.outcome
        version = self.authentik.version()
        outcome.server_version = str(version)
        provider = self._find_provider(f"authentik {version}")
        self._report_provider(provider)
        run = new_run(self.authentik, version, provider)
        self._check(run, version, provider)
        self.progress.begin("list both sides", 0)
        objects = list_objects(self.authentik, provider, authentik_pool.map)
        for kind in KINDS:
            outcome.count(kind, "total", len(objects.names[kind]))
            outcome.count(kind, "out_of_scope", len(objects.rules[kind]))
        reader = SnapshotReader(
            self.authentik,
            int(provider["pk"]),
            objects,
            self._open_directory(provider),
            options.needs_google,
            options.google_wait,
            self.warn,
            pool.map,
            authentik_pool.map,
        )
        reader.is_protected = functools.partial(is_protected, self.protection(provider))
        report = DirectoryReport(outcome, objects, self.warn)
        if options.check_mode:
            self._predict(provider, reader)
        else:
            self._perform(run, version, provider, reader, report)
        if options.orphans == "report":
            report.add_orphans(reader.before)

    def _perform(
        self, run: FullSync, version: Version, provider: Json, reader: SnapshotReader, report: DirectoryReport
    ) -> None:
        """Start a full sync, follow it, and find out what it did."""
        options = self.options
        # What another one still writes belongs before our first read.
        self._wait_until_free(provider, waiting.now() + options.sync_timeout)
        if options.verify != "none":
            reader.read_before()
        self._refuse_protected(provider, reader)
        self._refuse_conflicts(reader)
        self._start(run, provider, waiting.now() + options.sync_timeout)
        if run.task is None:
            self._report_unknown(run, provider, reader, report)
        else:
            self._report_known(run, version, provider, reader, report)
        if self.directory is not None:
            limiter = t.cast(RateLimiter, self.directory.session.limiter)
            self.outcome.rate = {
                "queries_per_minute": limiter.reached(),
                "limit": options.queries_per_minute,
                "refusals": limiter.refusals,
            }

    # Before

    def _check(self, run: FullSync, version: Version, provider: Json) -> None:
        """See that a full sync can be started and would do something. Raises RunEnded, AuthentikError."""
        if not self.authentik.is_assigned(provider):
            raise RunEnded(
                f"authentik would sync nothing: {_called(provider)} is not assigned to an application. Add it to an application "
                "in authentik as its backchannel provider.",
                "not_assigned",
            )
        run.prepare()
        try:
            workers = self.authentik.worker_count(version)
        except AuthentikError as exc:
            if exc.kind != "forbidden":
                raise
            # Whoever may start a sync need not see the workers.
            return
        if workers == 0:
            raise RunEnded(
                "No worker of authentik is running, so a full sync would wait, and begin whenever one is started. Nothing was "
                "sent. Start authentik's worker, and run the task again.",
                "no_worker",
            )

    def _open_directory(self, provider: Json) -> Directory | None:
        if self.options.verify not in ("auto", "google") or self.options.check_mode:
            return None
        try:
            self.directory = self.open_directory(provider)
            self.directory.pace(RateLimiter(self.options.queries_per_minute, self.options.user_creations_per_second))
        except GoogleError as exc:
            if self.options.needs_google:
                raise
            self.warn(f"Google is not read, so the result is based on authentik's own record. {exc}")
        return self.directory

    def _predict(self, provider: Json, reader: SnapshotReader) -> None:
        """Check mode: what authentik would change is known to nobody before it has done so."""
        if self.options.orphans == "report":
            reader.read_before()
        self._predict_protected(provider, reader)
        outcome = self.outcome
        outcome.basis = "assumed"
        if provider.get("dry_run"):
            outcome.changed = False
            outcome.status = "dry_run"
            self.warn(
                "The provider is set to dry run, so a full sync would change nothing at Google. It was not started, since "
                "authentik links accounts that it finds even then."
            )
            return
        outcome.changed = True
        outcome.status = "unconfirmed"
        self.warn(
            "What authentik's full sync would change is not predicted object by object, so that it would change something is "
            "assumed; engine: direct predicts it."
        )

    # Protection

    @staticmethod
    def _refuse_conflicts(reader: SnapshotReader) -> None:
        found = directory_protection.conflicts(reader.objects, reader.before)
        if found:
            raise RunEnded(
                f"authentik would overwrite somebody else's record at Google: {listed(found)}. Nothing was sent. Give each object an "
                "address of its own in authentik. If a connection names an account that is the user's own, connect the two by the "
                "immutable id (google_workspace_connection, google_id); if it is not, remove the connection (state: absent). Only if "
                "nobody needs an alias, remove it at Google. engine: direct leaves these alone and syncs the others.",
                "conflict",
            )

    def _refuse_protected(self, provider: Json, reader: SnapshotReader) -> None:
        """Stop a full sync that would harm a protected account; it cannot leave a single user out."""
        if reader.before.records is None:
            self._warn_unprotected("Google was not read")
            return
        self._stop_for_protected(provider, reader, reader.before.protected, self.protection(provider))

    def _predict_protected(self, provider: Json, reader: SnapshotReader) -> None:
        """As _refuse_protected(), for check mode, which lists nothing at Google."""
        if self.options.verify not in ("auto", "google"):
            self._warn_unprotected("Google was not read")
            return
        try:
            directory = self.directory = self.open_directory(provider)
            protection = self.protection(provider)
            accounts = directory_protection.query_protected_accounts(directory, protection)
        except GoogleError as exc:
            if self.options.needs_google:
                raise
            self._warn_unprotected(str(exc))
            return
        if accounts:
            reader.read_connections_before()
        if protection.needs_listing:
            self._warn_unprotected("check mode lists nothing, and protect names an org unit or a pattern")
        self._stop_for_protected(provider, reader, accounts, protection)

    def _stop_for_protected(
        self, provider: Json, reader: SnapshotReader, accounts: t.Sequence[Json], protection: Protection
    ) -> None:
        found = directory_protection.refusals(
            self.authentik, provider, reader.objects, reader.before, accounts, protection
        )
        if found:
            raise RunEnded(
                f"These accounts at Google are protected, and a full sync would harm them: {listed(found)}. Nothing was sent. "
                "Give these users another e-mail in authentik, take them out of the provider's scope, or correct the property "
                "mapping; engine: direct leaves the accounts alone and syncs the others.",
                "protected",
            )

    def _warn_unprotected(self, why: str) -> None:
        self.warn(
            "Whether authentik takes over, suspends or renames an administrator's account is not known: %s."
            % why.rstrip(".")
        )

    # Send and follow

    def _start(self, run: FullSync, provider: Json, deadline: float) -> None:
        """Start a full sync and follow it to its end."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait_until_free(provider, deadline)
            self.progress.begin("authentik syncs", 0)
            run.start()
            # From here on something may have been written.
            self.outcome.basis = "assumed"
            try:
                run.follow(deadline)
            except AuthentikError as exc:
                # It goes on, whether we see it or not.
                run.task, run.question = None, exc
                return
            if not run.skipped:
                return
        self.outcome.basis = "nothing_sent"
        raise RunEnded(
            f"Another full sync of {_called(provider)} began each time before ours did, so that authentik skipped ours. Run the task again "
            "later.",
            "already_running",
        )

    def _wait_until_free(self, provider: Json, deadline: float) -> None:
        """Wait for the end of a full sync that runs already.

        It may have passed objects before they got their present values, so that another one is started after it.
        """
        warned = False

        def free() -> bool:
            nonlocal warned
            if not self.authentik.is_full_sync_running(int(provider["pk"])):
                return True
            if not warned:
                warned = True
                self.progress.begin("wait for another full sync", 0)
                self.warn(
                    f"A full sync of {_called(provider)} was running already. It was waited for, and then another one was "
                    "started, since the first may have passed objects before they were changed."
                )
            return False

        if not waiting.poll(free, deadline, FIRST_PAUSE_S, 1.5, LONGEST_PAUSE_S):
            raise RunEnded(
                f"A full sync of {_called(provider)} is running already, and had not ended after {self.options.sync_timeout:g} "
                "seconds. No other one was started. Run the task again later, or raise sync_timeout.",
                "already_running",
            )

    # After

    def _report_known(
        self, run: FullSync, version: Version, provider: Json, reader: SnapshotReader, report: DirectoryReport
    ) -> None:
        """Our full sync was found: what its lines and both sides show."""
        outcome = self.outcome
        for line in normalise(run.lines):
            outcome.log(line)
        outcome.messages_source = "task_log"
        lines = TaskReport(run, reader.objects, self.options.fail_on, version.has_tasks)
        if lines.unassigned:
            outcome.basis = "nothing_sent"
            outcome.fail(
                f"authentik synced nothing: {_called(provider)} is not assigned to an application (any more). Add it to an application in "
                "authentik as its backchannel provider.",
                "not_assigned",
            )
            return
        untouched = {(page.kind, pk) for page in lines.pages if page.untouched for pk in page.objects}
        if not provider.get("dry_run"):
            self._read_after(reader, lines.written)
        facts = self._facts(reader, lines.failed, lines.doubtful, untouched)
        if provider.get("dry_run"):
            self._report_dry_run(facts, lines, report)
        else:
            self._report_objects(facts, report)
        for page in lines.pages:
            report.add_page(page)
        report.warn_of_many()
        if not version.has_tasks:
            self.warn(
                f"authentik {version} does not tell when it cannot reach Google for a page of objects: what it left out then is not "
                "reported. engine: direct looks at each object."
            )
        self._write(self._conclusion(run, version, provider, lines, facts))
        if provider.get("dry_run"):
            outcome.changed = False

    def _report_unknown(self, run: FullSync, provider: Json, reader: SnapshotReader, report: DirectoryReport) -> None:
        """Which of authentik's full syncs was ours, if any, is not known."""
        outcome = self.outcome
        self._read_after(reader, lambda kind, pk: False)
        facts = self._facts(reader, {}, frozenset(), frozenset())
        self._report_objects(facts._replace(doubtful=frozenset(facts.all_keys())), report)
        if run.problem == "ambiguous":
            outcome.status = "unconfirmed"
            self.warn(
                "The messages are unavailable: two full syncs were started at the same time, and authentik's task list does not "
                "tell which was ours. Both have ended, or sync_timeout is over; whether they met errors is not known."
            )
            return
        text = f"authentik was asked to start a full sync of {_called(provider)}"
        if run.question is not None:
            outcome.http_status = run.question.http_status
            text += f", and what became of it is not known: {run.question}"
        else:
            text += " and said yes, but its task list shows none."
        outcome.fail(text + " It may still run: see authentik (System, Tasks).", "sync_unanswered")

    def _read_after(self, reader: SnapshotReader, written: t.Callable[[Kind, str], bool]) -> None:
        """Read both sides again."""
        self.progress.begin("list both sides again", 0)
        if self.options.verify == "none":
            return
        try:
            reader.read_after(written)
        except AuthentikError as exc:
            # What was sent is sent: a read that fails is no reason to forget what else is known.
            self.warn(f"authentik's records of the connections could not be read again. {exc}")

    def _facts(
        self,
        reader: SnapshotReader,
        failures: t.Mapping[Key, conclusions.Failure],
        doubtful: t.AbstractSet[Key],
        untouched: t.AbstractSet[Key],
    ) -> DirectoryFacts:
        return DirectoryFacts(
            reader.objects,
            reader.before,
            reader.after,
            failures,
            doubtful,
            untouched,
            reader.unconfirmed,
            self.options.google_wait,
        )

    def _report_objects(self, facts: DirectoryFacts, report: DirectoryReport) -> None:
        """Object by object, what changed."""
        outcome = self.outcome
        if not facts.saw_google and not facts.saw_connections:
            outcome.changed = True
            self.warn(
                "Nothing was looked at (verify: none), so whether anything changed at Google is assumed."
                if self.options.verify == "none"
                else "Neither Google nor authentik's connections could be read, so that something changed is assumed."
            )
            for key in facts.all_keys():
                report.add(conclusions.unseen(facts, key))
            return
        outcome.basis = "google" if facts.saw_google else "connection"
        for key in facts.all_keys():
            report.add(conclusions.compared(facts, key))
        if not facts.saw_google and not outcome.changed and any(facts.objects.members.values()):
            outcome.assume_changed()
            self.warn(
                "Whether members of groups were added cannot be seen without Google, so that something changed is assumed. Let "
                "the module read Google (verify: google) to know."
            )

    def _report_dry_run(self, facts: DirectoryFacts, lines: TaskReport, report: DirectoryReport) -> None:
        """A provider in dry run: what authentik would have sent, against what is there."""
        before = facts.before
        basis = "google" if before.records is not None else "connection" if before.rows else "assumed"
        self.outcome.basis = basis
        held = {(Kind(kind), pk): request for kind, pk, request in lines.dry_run}
        for key in facts.all_keys():
            report.add(conclusions.held_back(facts, key, held.get(key), basis))
        if any(facts.objects.members.values()):
            self.warn("authentik does not report the members of groups in a dry run.")

    def _conclusion(
        self, run: FullSync, version: Version, provider: Json, lines: TaskReport, facts: DirectoryFacts
    ) -> DirectoryConclusion:
        """What became of the whole, after its objects were counted."""
        outcome, called = self.outcome, _called(provider)
        if run.problem == "unfinished":
            phase = tasks.unfinished(self.authentik, version, t.cast(tasks.Task, run.task))
            stale = self._stale_texts(version, provider, lines) if conclusions.crashes(lines) else ()
            text = conclusions.unfinished(called, self.options.sync_timeout, phase, lines, stale)
            return DirectoryConclusion("failed", "sync_unfinished", text)
        if lines.pages or lines.crash is not None:
            return conclusions.pages_failed(called, lines, self._stale_texts(version, provider, lines))
        if facts.failures or facts.unconfirmed:
            return conclusions.objects_failed(facts, self.options.fail_on_objects)
        if any(counts["unconfirmed"] for counts in outcome.counts.values()) or outcome.basis == "assumed":
            return DirectoryConclusion("unconfirmed")
        if provider.get("dry_run"):
            return DirectoryConclusion("dry_run")
        if outcome.changed:
            return DirectoryConclusion("synced")
        # Before 2025.8 no line says that a page was begun.
        return DirectoryConclusion("unchanged" if lines.shows_starts else "unconfirmed")

    def _stale_texts(self, version: Version, provider: Json, lines: TaskReport) -> list[str]:
        """Texts on connections that stop every sync, if such a one stopped a page."""
        texts = [
            stale_text(self.authentik, version, provider, kind, self.directory, self.warn)
            for kind in conclusions.stopped_kinds(lines)
        ]
        return [text for text in texts if text]

    def _write(self, found: DirectoryConclusion) -> None:
        self.outcome.status = found.status
        if found.failure:
            self.outcome.fail(found.failure, found.code, found.fails_task)
            if not found.fails_task:
                self.warn(found.failure)


def _called(provider: Json) -> str:
    """A provider in words."""
    return "provider %s" % provider.get("name")
