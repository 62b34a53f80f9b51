# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects a directory's run is about: those that the provider syncs, or those that were named."""

from __future__ import annotations

import hashlib
import sys
import typing as t

from ..._authentik.errors import AuthentikError
from ..._common.kind import GROUP, Kind
from ..._common.threads import Pool
from ..._common.types import Json
from ..._mappings.desired import default_address
from ..._objects.connection import connected_id
from ..._objects.target import Target, described, find, scope
from ..directory_outcome import DirectoryOutcome
from ..options import DirectoryOptions, split_object
from ..outcome import Outcome
from ..progress import Progress
from .context import DirectContext
from .listed_reader import ListedReader
from .log import EngineLog
from .run_journal import RunJournal
from .snapshot import Snapshot


class Scope:
    """The objects of one run.

    Args:
        run: DirectContext.
        snapshot: Snapshot, what was listed.
        journal: RunJournal.
        outcome: DirectoryOutcome, to count in; log: EngineLog of the run.
        asking: Pool, for requests to authentik.
        warn: callable taking a text.
    """

    def __init__(
        self,
        run: DirectContext,
        snapshot: Snapshot,
        journal: RunJournal,
        outcome: DirectoryOutcome,
        log: EngineLog,
        asking: Pool,
        progress: Progress,
        warn: t.Callable[[str], None],
    ) -> None:
        self._run = run
        self._snapshot = snapshot
        self._journal = journal
        self._outcome = outcome
        self._log = log
        self._asking = asking
        self._progress = progress
        self._warn = warn

    @property
    def _options(self) -> DirectoryOptions:
        return t.cast(DirectoryOptions, self._run.options)

    @property
    def _reader(self) -> ListedReader:
        return t.cast(ListedReader, self._run.reader)

    def is_mine(self, kind: Kind, pk: str) -> bool:
        """Whether an object belongs to this shard: by its key, so that it is the same in every run."""
        count = self._options.shard_count
        if count == 1:
            return True
        digest = hashlib.sha256((f"{kind}:{pk}").encode()).hexdigest()
        return int(digest[:8], 16) % count == self._options.shard_index

    def listed(self, kind: Kind) -> t.Iterator[Target]:
        """The objects of a kind that the provider syncs, as authentik lists them; of this shard, and not yet done."""
        for page in self._snapshot.pages(kind):
            for data in page:
                target = Target(kind, data)
                mine = self.is_mine(kind, target.pk)
                if mine:
                    self._outcome.count(kind, "total")
                if scope(self._run.provider, target) is not None:
                    if mine:
                        self._outcome.count(kind, "out_of_scope")
                    continue
                self._snapshot.kept[kind].add(sys.intern(target.pk))
                if not mine:
                    # Its account is no orphan of this shard's, either.
                    self.claim(target)
                    continue
                if kind == GROUP:
                    self._snapshot.fill_members(data)
                    if self._journal.was_done(target):
                        # Saves the listing of its members; people are in the listing anyway.
                        self.claim(target)
                        self._outcome.count(kind, "skipped")
                        continue
                yield target

    def claim(self, target: Target) -> None:
        """Remember the records that belong to an object, as far as the listings tell: nobody's else, and no orphan's."""
        keys = [default_address(target, self._run.provider)]
        for row in self._reader.connections(target.kind, target.pk) if target.kind in self._reader.listed else ():
            keys += [connected_id(row), str(row["google_id"])]
        for key in keys:
            record = self._reader.index(target.kind).get(key) if key else None
            if record is not None:
                self._snapshot.claimed[target.kind].add(str(record.get("id")))

    def named(self) -> list[Target]:
        """The objects that were named, each once; those that cannot be found are reported as failed."""
        found: dict[tuple[Kind, str], Target] = {}
        names = self._options.objects or []
        self._progress.begin("find the objects", len(names))
        for text, targets, problem in self._asking.map(self._find, names):
            self._progress.step()
            if problem is not None:
                self._fail(text, problem)
            for target in targets:
                found.setdefault((target.kind, target.pk), target)
        targets = []
        for target in found.values():
            self._outcome.count(target.kind, "total")
            rule = scope(self._run.provider, target)
            if rule is not None:
                self._outcome.count(target.kind, "out_of_scope")
                self._warn(f"{target.title} is not synced: {rule}.")
                continue
            targets.append(target)
        return targets

    def _fail(self, text: str, problem: AuthentikError) -> None:
        kind = split_object(text)[0] or self._options.models[0]
        outcome = Outcome("direct")
        outcome.object = described(kind, "", text, False)
        outcome.fail_by(problem)
        self._outcome.count(kind, "total")
        self._outcome.add(kind, outcome, None)
        self._log.error(outcome.failure)

    def _find(self, text: str) -> tuple[str, list[Target], AuthentikError | None]:
        kind, value = split_object(text)
        found, problem = [], None
        for model in self._options.models:
            if kind not in (None, model):
                continue
            try:
                found.append(find(self._run.authentik, model, value, self._options.lookup, "objects"))
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
                    f"'{value}' is both a user and a group in authentik.",
                    f"Write user:{value} or group:{value} in objects.",
                ),
            )
        if not found and problem is None:
            problem = AuthentikError(
                "not_found",
                f"'{text}' names a {kind}, and models leaves those out.",
                f"Add {kind} to models, or take it out of objects.",
            )
        return text, found, None if found else problem

    def connected_as(self, target: Target, row: Json | None) -> str | None:
        """What the observation will call the record of an object, as far as the listings tell."""
        if row is not None:
            return str(row["google_id"])
        record = self._reader.index(target.kind).get(default_address(target, self._run.provider))
        return None if record is None else target.kind.google_id(record)
