# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sync of many objects performed by ourselves: list both sides, compare, hold the plan against the guards, write.

Both sides are listed once, in full pages. What is done about one object is decided in _sync/direct/object.py, the same
as for a sync of one object; here is decided when: users before groups, groups before members, removals after additions,
accounts whose object left the scope last. Absence in a listing is confirmed by a look before anything is created or
destroyed for it. A failed listing ends the run before any write; a failed object does not keep the others waiting.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
import sys
import typing as t

from ..._authentik.errors import AuthentikError
from ..._common.endings import STOPPED, UNEXPECTED, stopped_text, unexpected_text
from ..._common.errors import RemoteError
from ..._common.signals import Stopped
from ..._common.threads import Pool
from ..._common.types import Json
from ..._google.limiter import RateLimiter
from ..._mappings.desired import MappingProblem, default_address
from ..._mappings.evaluator import MappingEvaluator, MissingLibrary, choose_sample
from ..._objects.connection import connected_id, first_row, leads_to
from ..._objects.difference import member_key
from ..._objects.record import address_of
from ..._objects.target import Target, described, find, scope
from ..directory import AUTHENTIK_PARALLEL, DirectoryEngine, RunEnded, reason_of, unusable
from ..directory_outcome import MOST_MESSAGES
from ..guard.safety_limits import Guard, held_against
from ..journal import Journal
from ..options import split_object
from ..outcome import Outcome
from .listed_reader import ListedReader
from .log import EngineLog
from .object import DirectContext, DirectObject, Evaluated
from .orphans import Orphan, Orphans
from .planned_users import Item, PlannedUsers
from .snapshot import Snapshot

# Objects that are evaluated and compared together.
BATCH = 200
# So few that asking authentik about each costs less than finding out who else could be asked.
FEW_OBJECTS = 50
# Errors that the next object will meet as well: there is no use in going on at once, or after so many in a row.
HOPELESS = frozenset(
    (
        "libraries",
        "credentials",
        "delegation",
        "subject",
        "scope",
        "disabled",
        "unauthorized",
        "exhausted",
        "tls",
        "wrong_address",
    )
)
IN_A_ROW = 10


class DirectorySync(DirectoryEngine):
    """One run.

    Args:
        journal_path: str or None, the file to write.
    """

    name = "direct"

    def __init__(self, *args: t.Any, journal_path: t.Optional[str] = None, **more: t.Any) -> None:
        super().__init__(*args, **more)
        self.log = EngineLog()
        self._journal_path = journal_path
        self._journal: t.Optional[Journal] = None
        self._in_a_row = 0
        self._hopeless = ""
        # What is being written, or was when something unexpected happened.
        self._begun: t.Dict[t.Tuple[str, str], Item] = {}
        # By kind: who has a record, by its id, or is to get an address, by "@" and the address.
        self._holders: t.Dict[str, t.Dict[str, str]] = {"user": {}, "group": {}}
        # By kind: what is to be done, by the object's primary key.
        self._work: t.Dict[str, t.MutableMapping[str, Item]] = {"user": {}, "group": {}}
        self._orphans: t.List[Orphan] = []

    # The run

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
        except RunEnded as exc:
            if exc.code == "guard" and self.options.check_mode:
                # What the guards hold back can be looked at here; a real run would change nothing.
                self._report_plan()
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
                    self.log.error(outcome.failure)
            finally:
                self._close_files()

    def _run(self) -> None:
        options = self.options
        self._provider = self._find_provider("This authentik")
        self._report_provider(self._provider)
        if options.objects is not None and not options.objects:
            self._sync_nothing()
            return
        directory = self.directory = self.open_directory(self._provider)
        limiter = RateLimiter(
            options.queries_per_minute / options.shard_count, options.user_creations_per_second / options.shard_count
        )
        directory.pace(limiter)
        directory.session.notice = self._notice
        if self._journal is not None:
            directory.session.audit = self._audit
            self.authentik.audit = self._audit
        reader = self._reader = ListedReader(directory, self.authentik, int(self._provider["pk"]))
        reader.visits_users = "user" in options.models and options.shard_count == 1
        self._shared = DirectContext(self.authentik, self._provider, options, directory, reader)
        self._work["user"] = PlannedUsers(self._shared)
        with Pool(options.parallel) as self._pool, Pool(AUTHENTIK_PARALLEL) as self._asking:
            try:
                self._survey = Snapshot(self.authentik, self._provider, reader, self._pool, self._asking, self.progress)
                self._plan()
                self._guard()
                if not self._shared.predicts:
                    self._write()
                self._conclude()
            except Stopped as exc:
                # Before the threads are waited for: whoever is still to be written is left alone.
                self._hopeless = stopped_text(exc)
                raise
            finally:
                self.outcome.server_version = self._shared.server_version
                self.outcome.rate = {
                    "queries_per_minute": limiter.reached(),
                    "limit": options.queries_per_minute / options.shard_count,
                    "refusals": limiter.refusals,
                }

    def _sync_nothing(self) -> None:
        """No object was named. A list that somebody computed and that came out empty does not mean everybody."""
        self.outcome.status = "unchanged"
        self.warn("objects is an empty list, so no object was synced. To sync the whole directory, leave objects out.")

    def _notice(self, text: str) -> None:
        if len(self.log.lines) < MOST_MESSAGES:
            self.log.info(text)

    def _open_files(self) -> None:
        paths = [os.path.realpath(path) for path in (self._journal_path, self._report_path) if path]
        if len(set(paths)) < len(paths):
            raise RunEnded(
                "journal and report_path name the same file, %s; give each one of its own." % self._journal_path,
                "invalid_option",
            )
        self._open_report()
        if self._journal_path and not self.options.check_mode:
            try:
                self._journal = Journal(self._journal_path, self._key())
            except UnicodeDecodeError:
                raise unusable("journal", self._journal_path, "it is not a text file") from None
            except (OSError, ValueError) as exc:
                raise unusable("journal", self._journal_path, reason_of(exc)) from None
        self._begin_report()

    def _close_files(self) -> None:
        self._close_report()
        journal = self._journal
        if journal is not None:
            stopped = self.outcome.code == STOPPED
            self._to_journal(journal.leave if stopped else lambda: journal.close(self.outcome.status))

    def _audit(self, line: Json) -> None:
        """Note a write. One that cannot be noted before it is sent is not sent; either way the run is given up. Raises RunEnded."""
        journal = t.cast(Journal, self._journal)
        if not self._to_journal(lambda: journal.write(line)) and line.get("event") == "sent":
            raise RunEnded("Not sent, since %s" % self._hopeless, "given_up")

    def _to_journal(self, step: t.Callable[[], None]) -> bool:
        """Whether the journal could be written; if not, the run is given up."""
        try:
            step()
        except Exception as exc:  # noqa: BLE001
            problem = (
                "journal %s could not be written: %s. Make room for it, or give another file, and run the task again."
                % (
                    self._journal_path,
                    reason_of(exc),
                )
            )
            self._hopeless = self._hopeless or problem
            self.warn(problem)
            return False
        return True

    def _key(self) -> str:
        """Tells runs that do the same job, for the journal."""
        options = self.options
        parts = [
            self.authentik.client.url,
            options.provider_id,
            options.provider_name,
            options.models,
            None if options.objects is None else sorted(options.objects),
            options.membership,
            sorted(options.keep_members),
            options.shard_index,
            options.shard_count,
        ]
        return hashlib.sha256(repr(parts).encode("utf-8")).hexdigest()[:16]

    # Observe and plan

    def _plan(self) -> None:
        options = self.options
        if options.objects is not None:
            named = self._named()
            for kind in options.models:
                self._plan_kind(kind, [target for target in named if target.kind == kind])
            return
        self._survey.list_all(options.models, options.mapping_evaluation != "server")
        for kind in options.models:
            self._notice(
                "Listed %d %ss in authentik, %d connections and %d %ss at Google."
                % (
                    self._survey.count(kind),
                    kind,
                    len(self._reader.rows[kind]),
                    len(self._reader.index(kind)),
                    kind,
                )
            )
        self._check_listings()
        for kind in options.models:
            self._plan_kind(kind, self._in_scope(kind))
        if options.orphans != "ignore":
            self._find_orphans()

    def _mine(self, kind: str, pk: str) -> bool:
        """Whether an object belongs to this shard: by its key, so that it is the same in every run."""
        count = self.options.shard_count
        if count == 1:
            return True
        digest = hashlib.sha256(("%s:%s" % (kind, pk)).encode("utf-8")).hexdigest()
        return int(digest[:8], 16) % count == self.options.shard_index

    def _in_scope(self, kind: str) -> t.Iterator[Target]:
        """The objects of this run, as authentik lists them."""
        for page in self._survey.pages(kind):
            for data in page:
                target = Target(kind, data)
                mine = self._mine(kind, target.pk)
                if mine:
                    self.outcome.count(kind, "total")
                if scope(self._provider, target) is not None:
                    if mine:
                        self.outcome.count(kind, "out_of_scope")
                    continue
                self._survey.kept[kind].add(sys.intern(target.pk))
                if not mine:
                    # Its account is no orphan of this shard's, either.
                    self._claim(target)
                    continue
                if kind == "group":
                    self._survey.fill_members(data)
                    if self._journal is not None and self._journal.was_done(kind, target.pk, self._mark(target)):
                        # Saves the listing of its members; people are in the listing anyway.
                        self._claim(target)
                        self.outcome.count(kind, "skipped")
                        continue
                yield target

    def _mark(self, target: Target) -> str:
        """Tells whether an object, its members, and what is asked for are as they were in an earlier run."""
        provider = self._provider
        shown = [
            target.data,
            [provider.get(name) for name in ("pk", "property_mappings_group", "default_group_email_domain", "dry_run")],
        ]
        return hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode("utf-8")).hexdigest()[:16]

    def _claim(self, target: Target) -> None:
        """Remember the records that belong to an object, as far as the listings tell: nobody's else, and no orphan's."""
        keys = [default_address(target, self._provider)]
        for row in self._reader.connections(target.kind, target.pk) if target.kind in self._reader.listed else ():
            keys += [connected_id(row), str(row["google_id"])]
        for key in keys:
            record = self._reader.index(target.kind).get(key) if key else None
            if record is not None:
                self._survey.claimed[target.kind].add(str(record.get("id")))

    def _named(self) -> t.List[Target]:
        """The objects that were named, each once; those that cannot be found are reported as failed."""
        found: t.Dict[t.Tuple[str, str], Target] = {}
        names = self.options.objects or []
        self.progress.begin("find the objects", len(names))
        for text, targets, problem in self._asking.map(self._find_named, names):
            self.progress.step()
            if problem is not None:
                kind = split_object(text)[0] or self.options.models[0]
                outcome = Outcome("direct")
                outcome.object = described(kind, "", text, False)
                outcome.fail_by(problem)
                self.outcome.count(kind, "total")
                self.outcome.add(kind, outcome, None)
                self.log.error(outcome.failure)
            for target in targets:
                found.setdefault((target.kind, target.pk), target)
        targets = []
        for target in found.values():
            self.outcome.count(target.kind, "total")
            rule = scope(self._provider, target)
            if rule is not None:
                self.outcome.count(target.kind, "out_of_scope")
                self.warn("%s is not synced: %s." % (str(target).capitalize(), rule))
                continue
            targets.append(target)
        return targets

    def _find_named(self, text: str) -> t.Tuple[str, t.List[Target], t.Optional[AuthentikError]]:
        kind, value = split_object(text)
        found, problem = [], None
        for model in self.options.models:
            if kind not in (None, model):
                continue
            try:
                found.append(find(self.authentik, model, value, self.options.lookup, "objects"))
            except AuthentikError as exc:
                if exc.kind != "not_found":
                    return text, [], exc
                problem = exc
        if len(found) > 1:
            return (
                text,
                [],
                AuthentikError(
                    "ambiguous",
                    "'%s' is both a user and a group in authentik." % value,
                    "Write user:%s or group:%s in objects." % (value, value),
                ),
            )
        if not found and problem is None:
            problem = AuthentikError(
                "not_found",
                "'%s' names a %s, and models leaves those out." % (text, kind),
                "Add %s to models, or take it out of objects." % kind,
            )
        return text, found, None if found else problem

    def _check_listings(self) -> None:
        """A listing that came back empty or too short must not be taken for what there is."""
        guards = []
        for kind in self.options.models:
            rows = self._reader.rows[kind]
            index = self._reader.index(kind)
            if kind == "user" and not len(index):
                self._stop_by("Google lists no user at all, though every workspace has an administrator")
            if len(rows) and not self._survey.count(kind):
                self._stop_by("authentik lists no %s, though %d are connected to Google" % (kind, len(rows)))
            missing = sum(1 for pk in rows.pks() if not self._is_listed(kind, pk))
            limit = self.options.limits["max_missing"]
            guards.append(
                held_against(
                    "max_missing", limit, missing, len(rows), "connected %ss are missing in Google's listing" % kind
                )
            )
            # With an object authentik removes its connections: what is connected is there.
            hidden = sum(1 for pk in rows.pks() if not self._survey.has(kind, pk))
            guards.append(
                held_against(
                    "max_missing", limit, hidden, len(rows), "connected %ss are missing in authentik's listing" % kind
                )
            )
        self._hold(guards)

    def _is_listed(self, kind: str, pk: str) -> bool:
        index = self._reader.index(kind)
        return any(
            index.has(key)
            for row in self._reader.rows[kind].of(pk)
            for key in (row["attributes"].get("id") or "", row["google_id"])
            if key
        )

    def _stop_by(self, what: str) -> None:
        if self.options.force:
            self.warn("%s; continuing, because force is set." % what)
            return
        raise RunEnded(
            "%s. Nothing was written. See whether the permissions of the token and of the delegated subject show everything; "
            "force: true continues nevertheless." % what,
            "guard",
        )

    def _plan_kind(self, kind: str, targets: t.Iterable[Target]) -> None:
        """Observe and plan all objects of a kind; keep those that something is to be done about."""
        total = len(targets) if isinstance(targets, list) else self._survey.count(kind)
        self.progress.begin("compare %ss" % kind, total)
        with self._evaluator(kind) as evaluator:
            iterator = iter(targets)
            while True:
                batch = list(itertools.islice(iterator, BATCH))
                if not batch:
                    break
                items = (
                    list(self._asking.map(self._item, batch)) if self.options.objects else list(map(self._item, batch))
                )
                self._observe(items, evaluator)
                for item in items:
                    self._take(kind, item)
                self.progress.step(len(batch))
            self.outcome.mapping_evaluation.extend(dict(entry, model=kind) for entry in evaluator.decisions)
            if evaluator.warning:
                self.warn(evaluator.warning)

    def _item(self, target: Target) -> Item:
        return Item(self._shared, target, first_row(self._reader.connections(target.kind, target.pk)))

    def _evaluator(self, kind: str) -> MappingEvaluator:
        options = self.options
        mode = options.mapping_evaluation
        if mode == "auto" and options.objects and len(options.objects) <= FEW_OBJECTS:
            mode = "server"
        evaluator = MappingEvaluator(
            self.authentik, self._provider, kind, mode, groups=self._survey.group, pool_map=self._asking.map
        )
        try:
            evaluator.prepare(self._sample(kind) if mode == "auto" else [])
        except MissingLibrary as exc:
            raise RunEnded("mapping_evaluation: local is not possible here. %s" % exc, "libraries") from None
        return evaluator

    def _sample(self, kind: str) -> t.List[t.Tuple[Json, t.Optional[str]]]:
        """Objects to try the mappings with, chosen from some of each page."""
        size = self.options.mapping_sample
        candidates: t.List[t.Tuple[Json, t.Optional[str]]] = []
        pages = max(1, self._survey.count(kind) // 100)
        for page in self._survey.pages(kind):
            subjects = [
                (data, self._connected_as(Target(kind, data)))
                for data in page
                if scope(self._provider, Target(kind, data)) is None
            ]
            candidates.extend(choose_sample(subjects, max(2, 10 * size // pages)))
        return choose_sample(candidates, size)

    def _connected_as(self, target: Target) -> t.Optional[str]:
        """What the observation will call its record, as far as the listings tell."""
        row = (
            first_row(self._reader.connections(target.kind, target.pk)) if target.kind in self._reader.listed else None
        )
        if row is not None:
            return str(row["google_id"])
        record = self._reader.index(target.kind).get(default_address(target, self._provider))
        if record is None:
            return None
        return str(record.get("primaryEmail") or record.get("id"))

    def _observe(self, items: t.Sequence[Item], evaluator: MappingEvaluator) -> None:
        """Drive the observations of many objects together, so that their mappings are evaluated together."""
        waiting = list(items)
        given: t.Sequence[t.Optional[Evaluated]] = [None] * len(waiting)
        while waiting:
            self._pool.each(self._look, zip(waiting, given))
            if self._hopeless:
                raise RunEnded("The run was given up before anything was written: %s" % self._hopeless, "given_up")
            waiting = [item for item in waiting if item.asked is not None]
            if waiting:
                given = evaluator.evaluate([(item.target.data, t.cast(t.Any, item.asked)[0]) for item in waiting])
                refused = [
                    found for found in given if isinstance(found, MappingProblem) and found.kind == "unavailable"
                ]
                if len(refused) == len(given):
                    raise RunEnded("The property mappings cannot be evaluated: %s" % refused[0], "mapping_unavailable")

    def _look(self, pair: t.Tuple[Item, t.Optional[Evaluated]]) -> None:
        item, given = pair
        if not self._hopeless:
            item.look(given)
            self._watch(item.outcome)

    def _take(self, kind: str, item: Item) -> None:
        """Plan for an observed object, and keep it if there is something to do."""
        obj, outcome = item.obj, item.outcome
        item.attempt(obj.plan)
        if outcome.status == "out_of_scope" and not outcome.failure:
            self._survey.left_out[kind].add(item.target.pk)
            self._survey.kept[kind].discard(item.target.pk)
            self.outcome.count(kind, "out_of_scope")
            return
        if item.going:
            self._contend(kind, item)
        if obj.before is None:
            self._claim(item.target)
        elif not item.going:
            self._survey.claimed[kind].add(str(obj.before.get("id")))
        if not item.going:
            self._finish(kind, item)
            return
        if kind == "user" and obj.record_plan.method is not None:
            self._reader.explain(obj.explained())
        if obj.differs:
            self.progress.differ()
        if self._shared.predicts:
            if not item.attempt(obj.explain) and kind == "user":
                self._reader.forget(obj.explained())
            if obj.differs or not item.going or item.warnings:
                self._work[kind][item.target.pk] = item
                return
        elif obj.differs or obj.row_differs():
            self._work[kind][item.target.pk] = item
            return
        outcome.status = "unchanged"
        if item.warnings:
            self._finish(kind, item)
        else:
            # Most objects of most runs: they need no line of their own.
            self.outcome.count(kind, "unchanged")
            self._note_done(kind, item)

    # Two objects, one record

    def _contend(self, kind: str, item: Item) -> None:
        """See that no two objects write to one record, nor make two with one address: who is connected to it has it."""
        obj, target = item.obj, item.target
        keys = [] if obj.before is None else [str(obj.before.get("id"))]
        address = str(obj.record_plan.body.get("primaryEmail") or obj.record_plan.body.get("email") or "")
        if obj.record_plan.method is not None and address:
            keys.append("@" + address.lower())
        holders = self._holders[kind]
        mine = _tie(obj.row, obj.before)
        others = {holders[key] for key in keys if key in holders}
        if obj.before is not None and not mine and kind in self._reader.listed:
            others.update(pk for pk in self._reader.rows[kind].owners(obj.before) if pk in self._survey.kept[kind])
        for pk in sorted(others - {target.pk}):
            earlier = self._work[kind].get(pk)
            row = earlier.obj.row if earlier is not None else first_row(self._reader.connections(kind, pk))
            theirs = _tie(row, obj.before)
            if earlier is not None and mine >= theirs:
                del self._work[kind][pk]
                if kind == "user":
                    self._reader.forget(earlier.obj.explained())
                self._conflict(earlier, address, str(target))
                self._finish(kind, earlier)
            if theirs >= mine:
                self._conflict(item, address, str(earlier.target) if earlier is not None else "%s %s" % (kind, pk))
        if item.going:
            # As the index and the connections have them, so that each is in memory once.
            for key in keys:
                holders[sys.intern(key)] = sys.intern(target.pk)

    def _conflict(self, item: Item, address: str, other: str) -> None:
        text = (
            "%s was not synced: %s at Google would be the %s of %s, too. Nothing was written for it. Give one of them another "
            "address, or remove the connection in authentik that is wrong."
        )
        found = address_of(item.obj.before) or address or "its record"
        what = "account" if item.target.kind == "user" else "group"
        item.finish(text % (str(item.target).capitalize(), found, what, other), "conflict")

    def _find_orphans(self) -> None:
        """Connected accounts whose object the provider no longer syncs."""
        finder = Orphans(self._shared, self._survey, self._reader, self._holders)
        for kind in self.options.models:
            pks = [pk for pk in self._reader.rows[kind].pks() if pk not in self._survey.kept[kind]]
            mine = [pk for pk in pks if self._mine(kind, pk)]
            self.progress.begin("look at %ss out of scope" % kind, len(mine))
            for found in self._asking.map(functools.partial(finder.look, kind), mine):
                self.progress.step()
                for orphan in found:
                    self._orphans.append(orphan)
                    self.outcome.count(kind, "orphans")
        if self.options.orphans == "apply":
            for orphan in self._orphans:
                orphan.decide(self._provider, self.options.allow_group_deletion, self._shared.subject)

    # Guards

    def _guard(self) -> None:
        """Hold the whole plan against the ceilings, before anything of it is written."""
        options = self.options
        applied = self._orphans if options.orphans == "apply" else []
        totals = self._survey.found
        shard = (options.shard_index, options.shard_count)
        suspended = sum(1 for item in self._work["user"].values() if item.obj.suspends)
        suspended += sum(1 for orphan in applied if orphan.action == "suspended")
        guards: t.List[Guard] = []
        limit = options.limits["max_suspensions"]
        # Who is named is not listed: there is nothing to take a share of.
        if not (options.objects and limit.percent):
            text = "accounts would be suspended"
            guards.append(held_against("max_suspensions", limit, suspended, totals["user"], text, shard))
        limit = options.limits["max_deletions"]
        for kind in () if options.objects else options.models:
            deleted = sum(1 for orphan in applied if orphan.kind == kind and orphan.action == "deleted")
            text = "%ss would be deleted" % kind
            guards.append(held_against("max_deletions", limit, deleted, totals[kind], text, shard))
        guards.extend(guard for guard in map(self._removals, self._work["group"].values()) if guard.exceeded)
        self._hold(guards)

    def _removals(self, item: Item) -> Guard:
        return held_against(
            "max_removals_per_group",
            self.options.limits["max_removals_per_group"],
            len(item.obj.member_plan.remove),
            len(item.obj.members_observed),
            "members of group %s would be removed" % item.target.name,
        )

    def _hold(self, guards: t.Sequence[Guard]) -> None:
        options = self.options
        self.outcome.guards.extend(guard.shown(options.force) for guard in guards)
        exceeded = [guard.text() for guard in guards if guard.exceeded]
        if not exceeded:
            return
        shown = "; ".join(exceeded[:5]) + (" and %d more" % (len(exceeded) - 5) if len(exceeded) > 5 else "")
        if options.force:
            self.warn("Continuing beyond the safety limits, because force is set: %s." % shown)
            return
        raise RunEnded(
            "Stopped before anything was written: %s. See with check mode whether that is meant; then raise the option, or set "
            "force: true for this run." % shown,
            "guard",
        )

    # Write

    def _write(self) -> None:
        users, groups = self._work["user"], list(self._work["group"].values())
        # Each is taken off the shelf when its turn has come, and nothing of those that are done stays in memory.
        self._phase("write users", list(users), lambda pk: self._write_user(users.pop(pk)))
        self._reader.forget_predicted()
        self._phase("write groups", groups, self._write_group)
        pairs = [[(item, address) for address in item.obj.member_plan.add] for item in groups if item.going]
        # A fresh group refuses members for a while: one is tried before the others follow.
        add, remove = DirectObject.add_member, DirectObject.remove_member
        self._phase("add members", [found[0] for found in pairs if found], lambda pair: self._write_member(pair, add))
        self._phase("add members", _in_turn([found[1:] for found in pairs]), lambda pair: self._write_member(pair, add))
        leaving = [[(item, member) for member in item.obj.member_plan.remove] for item in groups if item.going]
        self._phase("remove members", _in_turn(leaving), lambda pair: self._write_member(pair, remove))
        self._phase("settle groups", groups, self._settle_group)
        if self.options.orphans == "apply":
            removed = [orphan for orphan in self._orphans if orphan.action]
            self._phase("apply delete actions", removed, self._apply_orphan)

    def _phase(self, name: str, things: t.List[t.Any], step: t.Callable[[t.Any], t.Any]) -> None:
        """Take a step for each of so many things."""
        if not things:
            return
        self.progress.begin(name, len(things))
        self._notice("%s: %d." % (name.capitalize(), len(things)))

        def one(thing: t.Any) -> None:
            try:
                step(thing)
                if name != "settle groups":
                    self.progress.change()
                self.progress.step()
            except Exception as exc:  # noqa: BLE001
                # Whoever else is to be written is reported as not tried.
                self._hopeless = self._hopeless or unexpected_text(exc)

        self._pool.each(one, things)

    def _write_user(self, item: Item) -> None:
        obj = item.obj
        self._begun["user", item.target.pk] = item
        if self._try(item, obj.write_record):
            item.attempt(obj.keep_row, obj.verify)
        if obj.after is not None:
            self._reader.note(obj.after)
        self._finish("user", item)

    def _write_group(self, item: Item) -> None:
        self._begun["group", item.target.pk] = item
        foreseen = {member_key(member) for member in item.obj.member_plan.remove}
        # Who has an account is known for certain only now.
        if self._try(item, item.obj.write_record, item.obj.plan_members):
            guard = self._removals(item)
            fresh = {member_key(member) for member in item.obj.member_plan.remove} - foreseen
            if fresh and guard.exceeded and not self.options.force:
                # Google has shown a group that nobody had seen before.
                item.finish("Members of it were left alone: %s; force: true overrides that." % guard.text(), "guard")

    def _write_member(self, pair: t.Tuple[Item, t.Any], step: t.Callable[[DirectObject, t.Any], None]) -> None:
        item, member = pair
        self._try(item, lambda: step(item.obj, member))

    def _try(self, item: Item, *steps: t.Callable[[], t.Any]) -> bool:
        """Steps that write, unless the object is settled or the run is given up."""
        if self._hopeless:
            item.give_up(self._hopeless)
        if not item.going:
            return False
        item.attempt(*steps)
        self._watch(item.outcome)
        return item.going

    def _settle_group(self, item: Item) -> None:
        obj = item.obj
        item.attempt(obj.settle_members)
        # Whatever became of the members, the record is there.
        item.going = obj.attempt(obj.keep_row) and item.going
        item.attempt(obj.verify)
        self._finish("group", item)

    def _apply_orphan(self, orphan: Orphan) -> None:
        if self._hopeless:
            orphan.not_tried(self._hopeless)
            return
        orphan.apply(self._shared)
        self._watch(orphan.outcome)

    def _watch(self, outcome: Outcome) -> None:
        """Notice errors that will meet the next object, too."""
        code = outcome.code or ""
        kind = code.partition("_")[2] if code.startswith("google_") else ""
        if kind in HOPELESS:
            self._hopeless = outcome.failure
        elif code == UNEXPECTED or kind in ("unreachable", "transient", "rate", "forbidden"):
            self._in_a_row += 1
            if self._in_a_row >= IN_A_ROW:
                self._hopeless = "%d objects in a row failed, the last one so: %s" % (IN_A_ROW, outcome.failure)
        else:
            self._in_a_row = 0

    # Report

    def _finish(self, kind: str, item: Item) -> None:
        """An object is settled: into the result, the report and the journal."""
        item.obj.report()
        item.masked()
        self.outcome.add(kind, item.outcome, item.obj.action, item.warnings)
        self._begun.pop((kind, item.target.pk), None)
        if item.outcome.failure:
            self.outcome.log(item.obj.log.lines[-1])
        else:
            self._note_done(kind, item)

    def _note_done(self, kind: str, item: Item) -> None:
        """Let an interrupted run know that this object needs no second look."""
        status = item.outcome.status
        done = status == "synced" or (kind == "group" and status == "unchanged")
        journal = self._journal
        if journal is not None and not self._shared.predicts and done:
            target, mark = item.target, self._mark(item.target)
            self._to_journal(lambda: journal.finish(kind, target.pk, target.name, status, mark))

    def _finish_begun(self) -> None:
        """What was being written when something unexpected happened: what is known of it goes into the result."""
        for (kind, _pk), item in list(self._begun.items()):
            with contextlib.suppress(Exception):
                item.give_up(self._hopeless or "an unexpected error stopped it")
                self._finish(kind, item)

    def _report_plan(self) -> None:
        for kind in self.options.models:
            for item in self._work[kind].values():
                self._finish(kind, item)
        self._report_orphans()

    def _report_orphans(self) -> None:
        applied = self.options.orphans == "apply"
        for orphan in self._orphans:
            self.outcome.add_orphan(orphan.kind, orphan.outcome, orphan.action if applied else None, orphan.why)

    def _conclude(self) -> None:
        outcome, options = self.outcome, self.options
        self._finish_begun()
        if self._shared.predicts:
            self._report_plan()
        else:
            self._report_orphans()
        for text in outcome.warnings:
            self.warn(text)
        if outcome.warnings_total > len(outcome.warnings):
            self.warn(
                "%d more warnings about single objects are in the report (report_path)."
                % (outcome.warnings_total - len(outcome.warnings))
            )
        if outcome.basis == "nothing_sent":
            outcome.basis = "google"
        dry = self._shared.dry
        failed = sum(counts["failed"] + counts["unconfirmed"] for counts in outcome.counts.values())
        outcome.status = "dry_run" if dry else "synced" if outcome.changed else "unchanged"
        if dry:
            outcome.changed = False
        if self._hopeless:
            outcome.fail("The run was given up: %s" % self._hopeless, "given_up")
        elif failed:
            text = "%d of %d objects were not synced; the first: %s" % (
                failed,
                sum(counts["total"] for counts in outcome.counts.values()),
                outcome.failed_objects[0]["msg"] if outcome.failed_objects else "see the report.",
            )
            outcome.fail(text, "objects", options.fail_on_objects)
            if not options.fail_on_objects:
                self.warn(text)


def _tie(row: t.Optional[Json], record: t.Optional[Json]) -> int:
    """How a connection leads to a record: 2 by the immutable id, 1 by the address, 0 not."""
    if row is None or record is None:
        return 0
    if connected_id(row) and connected_id(row) == record.get("id"):
        return 2
    return 1 if leads_to(row, record) else 0


def _in_turn(lists: t.Sequence[t.Sequence[t.Any]]) -> t.List[t.Any]:
    """One of each list in turn, so that requests that run side by side concern different groups."""
    gone = object()
    return [item for row in itertools.zip_longest(*lists, fillvalue=gone) for item in row if item is not gone]
