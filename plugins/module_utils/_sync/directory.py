# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both engines of a whole directory's sync share: the options, the progress, the report, and how a run is stopped."""

from __future__ import annotations

import os
import typing as t

from .._common.errors import Refused
from .._common.json_lines import Lines, now_text
from .._common.types import Json
from .directory_outcome import DirectoryOutcome
from .engine import Engine
from .options import DirectoryOptions
from .progress import Progress

# Requests to authentik at once: it serves people, too.
AUTHENTIK_PARALLEL = 4
# What the report says was asked for.
REPORTED = (
    "models",
    "objects",
    "membership",
    "keep_members",
    "orphans",
    "allow_group_deletion",
    "mapping_evaluation",
    "force",
    "shard_index",
    "shard_count",
)


class RunEnded(Refused):
    """The run cannot or must not go on."""


class DirectoryEngine(Engine):
    """One run.

    Args:
        report_path: str or None, the file to write.
        tell: callable taking a dict, told of the progress; see Progress.
    """

    outcome: DirectoryOutcome

    def __init__(
        self,
        *args: t.Any,
        report_path: str | None = None,
        tell: t.Callable[[Json], None] | None = None,
    ) -> None:
        super().__init__(*args)
        self.progress = Progress(tell)
        self._report_path = report_path
        self._report: Lines | None = None
        self._report_is_complete = True

    @property
    def options(self) -> DirectoryOptions:
        return t.cast(DirectoryOptions, self.request)

    def new_outcome(self) -> DirectoryOutcome:
        return DirectoryOutcome(self.name, t.cast(DirectoryOptions, self.request).result_limit)

    def _open_report(self) -> None:
        """Open the report, if one is asked for. Raises RunEnded."""
        if not self._report_path:
            return
        try:
            self._report = Lines(self._report_path, append=False, sync=False, beside=True, locked=True)
        except (OSError, ValueError) as exc:
            raise unusable("report_path", self._report_path, reason_of(exc)) from None
        self.outcome.write_to(self._write_report)
        self.outcome.report_path = self._report_path

    def _begin_report(self) -> None:
        """What is asked for, as its first line."""
        options = self.options
        self.outcome.report(
            {
                "kind": "run",
                "time": now_text(),
                "pid": os.getpid(),
                "check_mode": options.check_mode,
                "authentik": self.authentik.client.url,
                "options": {name: _json(getattr(options, name)) for name in REPORTED},
            }
        )
        if self._report is not None:
            # Another run that wants the same file reads here whose it is.
            self._to_report(self._report.flush)

    def _write_report(self, line: Json) -> None:
        report = self._report
        if report is not None and self._report_is_complete:
            self._to_report(lambda: report.write(line))

    def _to_report(self, step: t.Callable[[], None]) -> None:
        """A report that cannot be written does not stop the run."""
        try:
            step()
        except Exception as exc:  # noqa: BLE001
            if self._report_is_complete:
                self._report_is_complete = False
                self.warn(
                    f"report_path {self._report_path} could not be written: {reason_of(exc)}. The run goes on, and the report "
                    "is incomplete. The result has the counts; make room for the report before the next run."
                )

    def _report_provider(self, provider: Json) -> None:
        self.outcome.report({"kind": "provider", "pk": provider["pk"], "name": provider.get("name")})

    def _close_report(self) -> None:
        """What came of it, as its last line."""
        report, outcome = self._report, self.outcome
        if report is None:
            return

        def summary() -> None:
            report.write(
                {
                    "kind": "summary",
                    "time": now_text(),
                    "complete": self._report_is_complete,
                    "changed": outcome.changed,
                    "status": outcome.status,
                    "counts": outcome.counts,
                    "msg": outcome.failure,
                }
            )
            report.flush()

        self._to_report(summary)
        self._to_report(report.close)


def check_different_files(**paths: str | None) -> None:
    """See that options name different files.

    Args:
        paths: {option: the file that it names, or None}.

    Raises:
        RunEnded.
    """
    given = {option: path for option, path in paths.items() if path}
    if len({os.path.realpath(path) for path in given.values()}) < len(given):
        raise RunEnded(
            "%s name the same file, %s; give each one of its own." % (" and ".join(given), next(iter(given.values()))),
            "invalid_option",
        )


def reason_of(error: BaseException) -> str:
    """Why a file cannot be used."""
    return str((isinstance(error, OSError) and error.strerror) or error or type(error).__name__)


def unusable(option: str, path: str, reason: str) -> RunEnded:
    """Why a file that an option names cannot be written."""
    return RunEnded(
        f"{option} {path} cannot be used: {reason}. Give a file in a folder that exists on the host that the module runs on, "
        "writable for its user.",
        "invalid_option",
    )


def _json(value: t.Any) -> t.Any:
    """A value of the options as JSON has it."""
    return sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value
