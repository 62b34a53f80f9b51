# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a directory's run: every write before it is sent, and every object that is done."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ..._common.kind import Kind
from ..._common.types import Json
from ..._objects.target import Target
from ..directory import RunEnded, reason_of, unusable
from ..journal import Journal
from ..options import DirectoryOptions
from .give_up import GiveUp

# What of a provider decides what a group's record and members should be.
_PROVIDER_FIELDS = ("pk", "property_mappings_group", "default_group_email_domain", "dry_run")


class RunJournal:
    """Keeps the journal, if one is asked for; a journal that cannot be written ends the run.

    Args:
        path: str or None.
        give_up: GiveUp.
        warn: callable taking a text.
    """

    def __init__(self, path: str | None, give_up: GiveUp, warn: t.Callable[[str], None]) -> None:
        self.path = path
        self._give_up = give_up
        self._warn = warn
        self._journal: Journal | None = None
        self._provider: Json = {}

    @property
    def is_kept(self) -> bool:
        """Whether there is one."""
        return self._journal is not None

    def open(self, key: str) -> None:
        """Open it.

        Args:
            key: tells runs that do the same job.

        Raises:
            RunEnded.
        """
        if not self.path:
            return
        try:
            self._journal = Journal(self.path, key)
        except UnicodeDecodeError:
            raise unusable("journal", self.path, "it is not a text file") from None
        except (OSError, ValueError) as exc:
            raise unusable("journal", self.path, reason_of(exc)) from None

    def is_about(self, provider: Json) -> None:
        """Note the provider of the run."""
        self._provider = provider

    def was_done(self, target: Target) -> bool:
        """Whether an interrupted run had finished an object that is in authentik as it was then."""
        return self._journal is not None and self._journal.was_done(target.kind, target.pk, self.mark(target))

    def mark(self, target: Target) -> str:
        """Tells whether an object, its members, and what is asked for are as they were in an earlier run."""
        if self._journal is None:
            return ""
        shown = [target.data, [self._provider.get(name) for name in _PROVIDER_FIELDS]]
        return hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode("utf-8")).hexdigest()[:16]

    def finish(self, kind: Kind, pk: str, name: str, status: str, mark: str) -> None:
        """An object is done, so that an interrupted run need not look at it once more."""
        journal = self._journal
        if journal is not None and (status == "synced" or (kind == Kind.GROUP and status == "unchanged")):
            self._write(lambda: journal.finish(kind, pk, name, status, mark))

    def audit(self, line: Json) -> None:
        """Note a write. One that cannot be noted before it is sent is not sent; either way the run is given up.

        Raises:
            RunEnded.
        """
        journal = t.cast(Journal, self._journal)
        if not self._write(lambda: journal.write(line)) and line.get("event") == "sent":
            raise RunEnded(f"Not sent, since {self._give_up.reason}", "given_up")

    def close(self, status: str, stopped: bool) -> None:
        """The run has ended.

        Args:
            stopped: whether from outside, so that the next one can go on with it.
        """
        journal = self._journal
        if journal is not None:
            self._write(journal.leave if stopped else lambda: journal.close(status))

    def _write(self, step: t.Callable[[], None]) -> bool:
        """Whether the journal could be written; if not, the run is given up."""
        try:
            step()
        except Exception as exc:  # noqa: BLE001
            problem = (
                f"journal {self.path} could not be written: {reason_of(exc)}. Make room for it, or give another file, "
                "and run the task again."
            )
            self._give_up.because(problem)
            self._warn(problem)
            return False
        return True


def job_key(url: str, options: DirectoryOptions) -> str:
    """Tells runs that do the same job.

    Args:
        url: authentik's.
    """
    parts = [
        url,
        options.provider_id,
        options.provider_name,
        [str(kind) for kind in options.models],
        None if options.objects is None else sorted(options.objects),
        options.membership,
        sorted(options.keep_members),
        options.shard_index,
        options.shard_count,
    ]
    return hashlib.sha256(repr(parts).encode("utf-8")).hexdigest()[:16]
