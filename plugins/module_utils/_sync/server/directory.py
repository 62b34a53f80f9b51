# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sync of the whole directory performed by authentik, and the truth about it.

authentik answers the request to start one with an empty object. What became of it is read in the tasks that it ran, object by
object and page by page, and seen by looking at Google (or, where that cannot be read, at authentik's connections) before and
after.
"""

from __future__ import annotations

import typing as t

from ..._authentik import tasks
from ..._authentik.errors import AuthentikError
from ..._authentik.log_events import normalise
from ..._common import waiting
from ..._common.errors import RemoteError
from ..._common.kind import GROUP, KINDS, Kind
from ..._common.signals import Stopped
from ..._common.threads import Pool
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._google.limiter import RateLimiter
from ..._objects.contradictions import stale_text
from ..._objects.difference import changes, member_changes, unmet
from ..._objects.protection import Subject
from ..._objects.target import described
from ..directory import AUTHENTIK_PARALLEL, DirectoryEngine, RunEnded
from ..outcome import Outcome
from ..plan import overlaid
from .full_sync import LONGEST_PAUSE_S, FullSync, new_run
from .snapshot import Objects, SnapshotReader
from .task_report import Failure, PageFailure, TaskReport

if t.TYPE_CHECKING:
    from ..._google.directory import Directory
MOST_NAMED = 10
# Between two looks whether another full sync still runs, at first.
FIRST_PAUSE_S = 2.0
# One that begins at the same moment takes the lock from ours: so often it is started again.
ATTEMPTS = 3


class FullServerSync(DirectoryEngine):
    """One run."""

    name = "server"

    def __init__(self, *args: t.Any, **more: t.Any) -> None:
        super().__init__(*args, **more)
        self._failures: t.Mapping[t.Tuple[Kind, str], Failure] = {}
        self._doubtful: t.Set[t.Tuple[Kind, str]] = set()
        self._untouched: t.Set[t.Tuple[Kind, str]] = set()
        self._left_out: t.List[str] = []
        self._skipped: t.Set[str] = set()

    def _sync(self) -> None:
        try:
            self._open_report()
            self._begin_report()
            with Pool(self.options.parallel) as self._pool, Pool(AUTHENTIK_PARALLEL) as self._asking:
                self._run()
        except RemoteError as exc:
            self.outcome.fail_by(exc)
        except RunEnded as exc:
            self.outcome.fail(str(exc), exc.code)
        except Exception as exc:  # noqa: BLE001
            self._fail_unexpectedly(exc)
        except Stopped as exc:
            self._note_stopped(exc)
        finally:
            self._close_report()

    def _run(self) -> None:
        options, outcome = self.options, self.outcome
        self._version = version = self.authentik.version()
        outcome.server_version = str(version)
        self._provider = provider = self._find_provider("authentik %s" % version)
        self._report_provider(provider)
        self._called = "provider %s" % provider.get("name")
        run = new_run(self.authentik, version, provider)
        self._check(run)
        self.progress.begin("list both sides", 0)
        self._objects = Objects(self.authentik, provider, self._asking.map)
        for kind in KINDS:
            outcome.count(kind, "total", len(self._objects.names[kind]))
            outcome.count(kind, "out_of_scope", len(self._objects.rules[kind]))
        self._looker = SnapshotReader(
            self.authentik,
            provider,
            self._objects,
            self._open_eyes(),
            options.verify == "google",
            options.google_wait,
            self.warn,
            self._pool.map,
            self._asking.map,
        )
        if options.check_mode:
            if options.orphans == "report":
                self._looker.look_before()
            self._foresee_protected()
            self._cannot_predict()
            self._report_orphans()
            return
        # What another one still writes belongs before our first look.
        self._wait_until_free(waiting.now() + options.sync_timeout)
        if options.verify != "none":
            self._looker.look_before()
            self._refuse_conflicts()
        self._refuse_protected()
        self._go(run, waiting.now() + options.sync_timeout)
        self._judge(run)
        self._report_orphans()
        if self.directory is not None:
            limiter = t.cast(RateLimiter, self.directory.session.limiter)
            outcome.rate = {
                "queries_per_minute": limiter.reached(),
                "limit": options.queries_per_minute,
                "refusals": limiter.refusals,
            }

    # Before

    def _check(self, run: FullSync) -> None:
        """See that a full sync can be started and would do something. Raises RunEnded, AuthentikError."""
        if not self.authentik.is_assigned(self._provider):
            raise RunEnded(
                "authentik would sync nothing: %s is not assigned to an application. Add it to an application in authentik as "
                "its backchannel provider." % self._called,
                "not_assigned",
            )
        run.prepare()
        try:
            workers = self.authentik.worker_count(self._version)
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

    def _open_eyes(self) -> t.Any:
        if self.options.verify not in ("auto", "google") or self.options.check_mode:
            return None
        try:
            self.directory = self.open_directory(self._provider)
            self.directory.pace(RateLimiter(self.options.queries_per_minute, self.options.user_creations_per_second))
        except GoogleError as exc:
            if self.options.verify == "google":
                raise
            self.warn("Google is not read, so the result is based on authentik's own record. %s" % exc)
        return self.directory

    def _cannot_predict(self) -> None:
        """Check mode: what authentik would change is known to nobody before it has done so."""
        outcome = self.outcome
        outcome.changed = True
        outcome.status = "unconfirmed"
        outcome.basis = "assumed"
        text = (
            "What authentik's full sync would change is not predicted object by object, so that it would change something is "
            "assumed; engine: direct predicts it."
        )
        if self._provider.get("dry_run"):
            outcome.changed = False
            outcome.status = "dry_run"
            text = (
                "The provider is set to dry run, so a full sync would change nothing at Google. It was not started, since "
                "authentik links accounts that it finds even then."
            )
        self.warn(text)

    def _refuse_conflicts(self) -> None:
        found = self._looker.conflicts()
        if found:
            raise RunEnded(
                "authentik would overwrite somebody else's record at Google: %s. Nothing was sent. Change the "
                "address in authentik and delete the connection that names it; only if nobody needs an alias, remove it at Google. "
                "engine: direct leaves these alone and syncs the others." % _listed(found),
                "conflict",
            )

    def _refuse_protected(self) -> None:
        """authentik's full sync cannot leave a single user out: it is not started if it would harm a protected account."""
        if self._looker.before.records is None:
            self._cannot_protect("Google was not read")
            return
        subjects = self._subjects(self.directory)
        self._stop_for_protected(self._looker.protected(subjects, Subject(*subjects)))

    def _foresee_protected(self) -> None:
        """As _refuse_protected(), for check mode, which lists nothing at Google."""
        if self.options.verify not in ("auto", "google"):
            self._cannot_protect("Google was not read")
            return
        try:
            directory = self.directory = self.open_directory(self._provider)
            subjects = self._subjects(directory)
            found = self._looker.protected_by_query(directory, subjects, Subject(*subjects))
        except GoogleError as exc:
            if self.options.verify == "google":
                raise
            self._cannot_protect(str(exc))
            return
        self._stop_for_protected(found)

    def _cannot_protect(self, why: str) -> None:
        self.warn(
            "Whether authentik takes over, suspends or renames an administrator's account is not known: %s."
            % why.rstrip(".")
        )

    def _subjects(self, directory: t.Optional[Directory]) -> t.List[str]:
        """The addresses of the accounts that authentik and this run act as."""
        ours = "" if directory is None else directory.session.credentials.subject
        return [address for address in (str(self._provider.get("delegated_subject") or ""), ours) if address]

    def _stop_for_protected(self, found: t.Sequence[str]) -> None:
        if found:
            raise RunEnded(
                "Administrators' accounts at Google, and the one that the run acts as, are protected, and a full sync would harm them: "
                "%s. Nothing was sent. Give these users another e-mail in authentik, take them out of the provider's scope, or "
                "correct the property mapping; engine: direct leaves the accounts alone and syncs the others."
                % _listed(found),
                "protected",
            )

    # The sync itself

    def _go(self, run: FullSync, deadline: float) -> None:
        """Start a full sync and follow it to its end."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait_until_free(deadline)
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
            "Another full sync of %s began each time before ours did, so that authentik skipped ours. Run the task again "
            "later." % self._called,
            "already_running",
        )

    def _wait_until_free(self, deadline: float) -> None:
        """Wait for the end of a full sync that runs already.

        It may have passed objects before they got their present values, so that its end is no reason to be content.
        """
        told = False

        def free() -> bool:
            nonlocal told
            if not self.authentik.is_full_sync_running(int(self._provider["pk"])):
                return True
            if not told:
                told = True
                self.progress.begin("wait for another full sync", 0)
                self.warn(
                    "A full sync of %s was running already. It was waited for, and then another one was started, since the "
                    "first may have passed objects before they were changed." % self._called
                )
            return False

        if not waiting.poll(free, deadline, FIRST_PAUSE_S, 1.5, LONGEST_PAUSE_S):
            raise RunEnded(
                "A full sync of %s is running already, and had not ended after %g seconds. No other one was started. Run "
                "the task again later, or raise sync_timeout." % (self._called, self.options.sync_timeout),
                "already_running",
            )

    # After

    def _judge(self, run: FullSync) -> None:
        outcome = self.outcome
        if run.task is None:
            self._report_unknown(run)
            return
        for line in normalise(run.lines):
            outcome.log(line)
        outcome.messages_source = "task_log"
        reading = self._reading = TaskReport(run, self._objects, self.options.fail_on, self._version.has_tasks)
        self._failures, self._doubtful = reading.failed, reading.doubtful
        self._untouched = {(page.kind, pk) for page in reading.pages if page.untouched for pk in page.objects}
        if reading.unassigned:
            outcome.basis = "nothing_sent"
            outcome.fail(
                "authentik synced nothing: %s is not assigned to an application (any more). Add it to an application in "
                "authentik as its backchannel provider." % self._called,
                "not_assigned",
            )
            return
        if self._provider.get("dry_run"):
            self._report_dry_run(reading)
        else:
            self._look_and_compare(reading.written)
        self._conclude(run, reading)

    def _look_and_compare(self, written: t.Callable[[Kind, str], bool]) -> None:
        """Look again, and fill in what changed."""
        outcome, looker = self.outcome, self._looker
        self.progress.begin("look again", 0)
        if self.options.verify == "none":
            self._assume("Nothing was looked at (verify: none), so whether anything changed at Google is assumed.")
            return
        try:
            looker.look_after(written)
        except AuthentikError as exc:
            # What was sent is sent: a look that fails is no reason to forget what else is known.
            self.warn("authentik's records of the connections could not be read again. %s" % exc)
        if not looker.saw_google and (looker.before.rows is None or looker.after.rows is None):
            self._assume(
                "Neither Google nor authentik's connections could be read, so that something changed is assumed."
            )
            return
        outcome.basis = "google" if looker.saw_google else "connection"
        for kind, pk in self._all():
            self._compare(kind, pk)
        if not looker.saw_google:
            self._assume_members()

    def _assume(self, why: str) -> None:
        """Nothing was seen: what authentik's lines do not tell of an object is not known."""
        self.outcome.changed = True
        self.warn(why)
        for kind, pk in self._all():
            failure = self._failures.get((kind, pk))
            if failure is None:
                self.outcome.count(kind, "failed" if (kind, pk) in self._untouched else "unconfirmed")
                continue
            item = Outcome("server")
            item.object = self._described(kind, pk)
            item.fail(failure.text, failure.code, failure.fails_task)
            self.outcome.add(kind, item, None)

    def _assume_members(self) -> None:
        """Members are not in authentik's rows: without Google nobody knows whether one was new."""
        if not self.outcome.changed and any(self._objects.members.values()):
            self.outcome.changed = True
            self.outcome.basis = "assumed"
            self.warn(
                "Whether members of groups were added cannot be seen without Google, so that something changed is assumed. Let "
                "the module read Google (verify: google) to know."
            )

    def _all(self) -> t.Iterator[t.Tuple[Kind, str]]:
        """(kind, primary key) of all objects in scope, and of those that came into it since and failed."""
        for kind in KINDS:
            known = self._objects.in_scope[kind]
            for pk in known:
                yield kind, pk
            listed = set(known)
            for found, pk in self._failures:
                if found == kind and pk not in listed:
                    yield kind, pk

    def _compare(self, kind: Kind, pk: str) -> None:
        """One object: what differs between the two looks, and what authentik says of it."""
        outcome, looker, key = self.outcome, self._looker, (kind, pk)
        item = Outcome("server")
        item.object = self._described(kind, pk)
        if looker.saw_google:
            action = self._see(kind, pk, item)
        else:
            action = self._see_row(kind, pk, item)
        item.changed = bool(item.changes)
        failure = self._failures.get(key)
        if failure is not None:
            item.fail(failure.text, failure.code, failure.fails_task)
        elif key in looker.unconfirmed:
            self._doubt(item, self._trailing_text())
        elif key in self._doubtful:
            # Its page is reported; what is seen of it is true all the same.
            if not item.changes:
                outcome.count(kind, "failed" if key in self._untouched else "unconfirmed")
                return
            self._doubt(item, "It changed, but whether authentik came to the end of it is not known.")
        elif item.object["google_id"] is None:
            # authentik went over it without a word and has no connection: its mappings leave it out.
            self._leave_out(item)
            outcome.count(kind, "out_of_scope")
            return
        else:
            item.status = "synced" if item.changes else "unchanged"
        if kind == GROUP and item.object["google_id"] is not None:
            item.skipped_members = looker.unlinked_members(pk)
            self._skipped.update(item.skipped_members)
        if item.status == "unchanged" and not item.skipped_members:
            # Most objects of most runs: they need no line of their own.
            outcome.count(kind, "unchanged")
        else:
            outcome.add(kind, item, action if item.changes else None)

    def _described(self, kind: Kind, pk: str) -> Json:
        return described(kind, pk, self._objects.names[kind].get(pk, pk), True)

    @staticmethod
    def _doubt(item: Outcome, text: str) -> None:
        item.status = item.code = "unconfirmed"
        item.failure = text

    def _leave_out(self, item: Outcome) -> None:
        self._left_out.append("%s %s" % (item.object["model"].rpartition(".")[2].lower(), item.object["name"]))

    def _see(self, kind: Kind, pk: str, item: Outcome) -> t.Optional[str]:
        """Compare Google's records and a group's members before and after; returns what was done."""
        looker, before, after = self._looker, self._looker.before, self._looker.after
        item.basis = "google"
        row = after.row(kind, pk)
        if row is not None:
            item.object["google_id"] = row.google_id
        elif after.rows is not None:
            # Whatever stands at Google under its address is not connected with it.
            return None
        record = looker.record(after, kind, pk)
        if record is None:
            return None
        own_id = str(record["id"])
        if row is None:
            item.object["google_id"] = record.get("primaryEmail") or own_id
        same = t.cast(t.Any, after.records)[kind].same(own_id)
        if same and own_id not in after.roles:
            return None
        earlier = t.cast(t.Any, before.records)[kind].get(own_id)
        old = before.row(kind, pk)
        if earlier is None and old is not None and old.own_id == own_id:
            # Google did not show it before, though it was there: authentik's row knows what it was like.
            earlier = before.said(kind, old) or None
        if not same:
            item.changes = changes(kind, earlier, record)
        roles: t.Tuple[t.Any, t.Any] = (None, None)
        if own_id in after.roles:
            if earlier is not None and own_id not in before.roles:
                item.basis = "assumed"
                self.warn(
                    "Which members group %s had before cannot be told: it was found at Google under an address that nobody "
                    "expected." % item.object["name"]
                )
            else:
                roles = (before.roles.get(own_id, {}), after.roles[own_id])
                item.changes.extend(member_changes(*roles))
        if item.changes:
            item.note_states(kind, earlier, record, *roles)
        return "created" if earlier is None else "updated"

    def _see_row(self, kind: Kind, pk: str, item: Outcome) -> t.Optional[str]:
        """Compare authentik's rows before and after; returns what was done, as far as they tell."""
        before, after = self._looker.before, self._looker.after
        item.basis = "connection"
        old, row = before.row(kind, pk), after.row(kind, pk)
        if row is None:
            return None
        item.object["google_id"] = row.google_id
        said, said_before = after.said(kind, row), before.said(kind, old)
        if not said:
            return None
        renewed = old is None or old.id != row.id
        item.changes = changes(kind, None if renewed else said_before, said)
        if not renewed and not said_before:
            item.basis = "assumed"
            self.warn(
                "authentik kept no record of what stood at Google before, so that some objects changed is assumed."
            )
        if item.changes:
            item.note_states(kind, said_before or None, said)
        return "created" if renewed else "updated"

    def _report_dry_run(self, reading: TaskReport) -> None:
        """A provider in dry run: what authentik would have sent, against what stands there."""
        outcome, looker = self.outcome, self._looker
        outcome.basis = (
            "google" if looker.before.records is not None else "connection" if looker.before.rows else "assumed"
        )
        held = {(kind, pk): request for kind, pk, request in reading.dry_run}
        for kind, pk in self._all():
            key = (kind, pk)
            item = Outcome("server")
            item.object = self._described(kind, pk)
            item.basis = outcome.basis
            action = None
            if key in reading.failed:
                failure = reading.failed[key]
                item.fail(failure.text, failure.code, failure.fails_task)
            elif key in self._doubtful:
                outcome.count(kind, "failed" if key in self._untouched else "unconfirmed")
                continue
            elif key not in held:
                self._leave_out(item)
                outcome.count(kind, "out_of_scope")
                continue
            else:
                action = self._predicted(kind, pk, held[key], item)
            if item.changes or item.failure:
                outcome.add(kind, item, action)
            else:
                outcome.count(kind, "unchanged")
        if any(self._objects.members.values()):
            self.warn("authentik does not report the members of groups in a dry run.")

    def _predicted(self, kind: Kind, pk: str, request: Json, item: Outcome) -> str:
        """What a request that was held back would have changed."""
        before, body = self._looker.before, request["body"]
        row = before.row(kind, pk)
        record: t.Optional[Json] = None
        if request["method"] != "POST":
            if before.records is not None:
                record = before.records[kind].get(request["key"])
            else:
                record = before.said(kind, row) or None
        item.changes = changes(kind, None, body) if record is None else unmet(kind, body, record)
        item.status = "dry_run"
        item.note_states(kind, record, dict(record or {}, **overlaid(record, body)))
        return "created" if request["method"] == "POST" else "updated"

    # Conclusions

    def _conclude(self, run: FullSync, reading: TaskReport) -> None:
        outcome = self.outcome
        for page in reading.pages:
            self._add_page(page)
        if self._left_out:
            self.warn(
                "authentik left out %d objects without a word, as it does where a property mapping says so (SkipObject): %s."
                % (len(self._left_out), _listed(sorted(self._left_out)))
            )
        if self._skipped:
            self.warn(
                "authentik left out members of groups who have no Google account through this provider: %s."
                % _listed(sorted(self._skipped))
            )
        if not self._version.has_tasks:
            self.warn(
                "authentik %s does not tell when it cannot reach Google for a page of objects: what it left out then is not "
                "reported. engine: direct looks at each object." % self._version
            )
        if run.problem == "unfinished":
            self._fail_unfinished(run)
        elif reading.pages or reading.crash is not None:
            self._fail_pages(reading)
        elif reading.failed or self._looker.unconfirmed:
            self._fail_objects(reading)
        elif any(counts["unconfirmed"] for counts in outcome.counts.values()) or outcome.basis == "assumed":
            outcome.status = "unconfirmed"
        elif self._provider.get("dry_run"):
            outcome.status = "dry_run"
        elif outcome.changed:
            outcome.status = "synced"
        else:
            # Before 2025.8 no line says that a page was begun.
            outcome.status = "unchanged" if reading.tells else "unconfirmed"
        if self._provider.get("dry_run"):
            outcome.changed = False

    def _add_page(self, page: PageFailure) -> None:
        """A page that did not go through, among the objects that failed."""
        outcome = self.outcome
        what = "was not synced" if page.untouched else "may have been synced in part"
        names = [self._objects.names[page.kind].get(pk, pk) for pk in page.objects]
        entry = {
            "model": "authentik.core.models.%s" % page.kind.capitalize(),
            "pk": None,
            "name": page.name,
            "google_id": None,
            "code": page.failure.code,
            "msg": "%s %s: %s%s"
            % (
                page.name.capitalize(),
                what,
                page.failure.text,
                " Left in doubt: %s." % _listed(names) if names and not page.untouched else "",
            ),
        }
        outcome.failed_total += 1
        if len(outcome.failed_objects) < outcome.most:
            outcome.failed_objects.append(entry)
        outcome.report(dict(entry, kind="page"))

    def _fail_unfinished(self, run: FullSync) -> None:
        crashed = [page for page in self._reading.pages if page.failure.code == "crashed" and page.number]
        shown = ["%s: %s" % (page.name, page.failure.reason) for page in crashed]
        if self._reading.crash is not None:
            shown.append(self._reading.crash.reason)
        self.outcome.fail(
            "authentik's full sync of %s did not end within %g seconds: %s. %s"
            % (
                self._called,
                self.options.sync_timeout,
                tasks.unfinished(self.authentik, self._version, t.cast(tasks.Task, run.task)),
                "It crashed so far with %s. %s" % (_listed(shown, "; "), self._remedy())
                if shown
                else "Raise sync_timeout to wait longer.",
            ),
            "sync_unfinished",
        )

    def _fail_pages(self, reading: TaskReport) -> None:
        by_reason: t.Dict[str, t.List[str]] = {}
        for page in reading.pages:
            by_reason.setdefault(page.failure.reason, []).append(page.name)
        shown = ["%s: %s" % (_listed(names), reason) for reason, names in by_reason.items()]
        if not shown and reading.crash is not None:
            shown = [reading.crash.reason]
        besides = "%d objects besides, see failed_objects. " % len(reading.failed) if reading.failed else ""
        codes = {page.failure.code for page in reading.pages}
        self.outcome.fail(
            "authentik's full sync of %s did not go through: %s. %s%s"
            % (self._called, _listed(shown, "; "), besides, self._remedy()),
            "google_not_reached" if codes == {"google_not_reached"} else "sync_failed",
        )

    def _remedy(self) -> str:
        """What to do about the pages that did not go through."""
        reading = self._reading
        failures = [page.failure for page in reading.pages] + ([reading.crash] if reading.crash is not None else [])
        kinds = sorted({page.kind for page in reading.pages if page.failure.rows_stop})
        named = [
            stale_text(self.authentik, self._version, self._provider, kind, self.directory, self.warn) for kind in kinds
        ]
        found = [text for text in named if text]
        for failure in failures:
            if failure.remedy not in found and not (failure.rows_stop and found):
                found.append(failure.remedy)
        return " ".join(found)

    def _fail_objects(self, reading: TaskReport) -> None:
        """Single objects failed, or could not be confirmed."""
        doubtful = [key for key in sorted(self._looker.unconfirmed) if key not in reading.failed]
        if reading.failed:
            (kind, pk), first = next(iter(reading.failed.items()))
            why = first.text
        else:
            kind, pk = doubtful[0]
            why = self._trailing_text()
        text = "%d of %d objects were not synced%s; the first, %s %s: %s" % (
            len(reading.failed) + len(doubtful),
            sum(len(found) for found in self._objects.in_scope.values()),
            " or could not be confirmed" if doubtful else "",
            kind,
            self._objects.names[kind].get(pk, pk),
            why,
        )
        fails_task = self.options.fail_on_objects and (
            bool(doubtful) or any(item.fails_task for item in reading.failed.values())
        )
        self.outcome.fail(text, "objects", fails_task)
        if not fails_task:
            self.warn(text)

    def _trailing_text(self) -> str:
        return "Google answered authentik with more than it shows after %g seconds." % self.options.google_wait

    def _report_unknown(self, run: FullSync) -> None:
        """Which of authentik's full syncs was ours, if any, is not known."""
        outcome = self.outcome
        self._doubtful = set(self._all())
        self._look_and_compare(lambda kind, pk: False)
        if run.problem == "ambiguous":
            outcome.status = "unconfirmed"
            self.warn(
                "The messages are unavailable: two full syncs were started at the same time, and authentik's task list does not "
                "tell which was ours. Both have ended, or sync_timeout is over; whether they met errors is not known."
            )
            return
        text = "authentik was asked to start a full sync of %s" % self._called
        if run.question is not None:
            outcome.http_status = run.question.http_status
            text += ", and what became of it is not known: %s" % run.question
        else:
            text += " and said yes, but its task list shows none."
        outcome.fail(text + " It may still run: see authentik (System, Tasks).", "sync_unanswered")

    def _report_orphans(self) -> None:
        """Connections of objects that the provider does not sync: authentik's full sync does nothing about them."""
        rows = self._looker.before.rows
        if self.options.orphans != "report" or rows is None:
            return
        for kind in KINDS:
            for pk in sorted(set(rows[kind]) - set(self._objects.in_scope[kind])):
                item = Outcome("server")
                item.object = dict(self._described(kind, pk), in_scope=False)
                row = self._looker.before.row(kind, pk)
                item.object["google_id"] = row.google_id if row is not None else None
                self.outcome.count(kind, "orphans")
                self.outcome.add_orphan(
                    kind, item, None, self._objects.rules[kind].get(pk, "authentik does not show it")
                )


def _listed(names: t.Sequence[str], between: str = ", ") -> str:
    more = len(names) - MOST_NAMED
    return between.join(names[:MOST_NAMED]) + ("%sand %d more" % (between, more) if more > 0 else "")
