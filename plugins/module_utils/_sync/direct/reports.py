# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each object of a directory's run: into the result, the report and the journal."""

from __future__ import annotations

from ..._common.kind import Kind
from ..._objects.target import Target
from ..directory_outcome import DirectoryOutcome
from .attempt import Attempt
from .log import EngineLog
from .run_journal import RunJournal


class ObjectReports:
    """Reports objects that are done.

    Args:
        outcome: DirectoryOutcome; log: EngineLog of the run.
        journal: RunJournal.
        explains: bool, whether nothing is written in this run, so that nothing is done that a later run could skip.
    """

    def __init__(self, outcome: DirectoryOutcome, log: EngineLog, journal: RunJournal, explains: bool) -> None:
        self._outcome = outcome
        self._log = log
        self._journal = journal
        self._explains = explains

    def finish(
        self,
        kind: Kind,
        pk: str,
        name: str,
        attempt: Attempt,
        action: str | None = None,
        mark: Target | None = None,
    ) -> None:
        """An object is done.

        Args:
            action: what its plan came down to, or None.
            mark: the object as authentik shows it, for the journal.
        """
        attempt.mask()
        self._outcome.add(kind, attempt.outcome, action, attempt.warnings)
        if attempt.outcome.failure:
            self._log.error(attempt.outcome.failure)
        else:
            self.note_done(kind, pk, name, attempt.outcome.status, mark)

    def note(self, text: str) -> None:
        """Something about the run."""
        self._log.info(text)

    def note_done(self, kind: Kind, pk: str, name: str, status: str, mark: Target | None) -> None:
        """Let an interrupted run know that this object needs no second look."""
        if not self._explains:
            self._journal.finish(kind, pk, name, status, self._journal.mark(mark) if mark is not None else "")
