# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way out for one object: whatever ends its sync, of kinds that nobody listed too, ends in its Outcome."""

from __future__ import annotations

import typing as t

from ..._common.errors import Refused, RemoteError
from ..._common.masking import MASK
from ..._common.texts import sentence
from ..._mappings.desired import MappingProblem
from ..._objects.protection import Protected
from ..directory import RunEnded
from ..outcome import Outcome
from ..plan import Operation
from .context import DirectContext
from .endings import HeldByAnother, LeftOut, ObjectEnded, Unconfirmed
from .log import EngineLog

_MAPPING_REMEDIES = {
    "unpredictable": " Let authentik sync it (engine: server), or change the mapping.",
    "unavailable": " The direct engine needs authentik to evaluate its property mappings.",
}


class Attempt:
    """One object on its way through a run.

    Args:
        run: DirectContext.
        name: what messages call the object, such as "user ada".
        not_done: what did not happen where a protected account is in the way, as the beginning of a sentence.

    Attributes:
        outcome: Outcome; log: EngineLog.
        warnings: list of str.
        secrets: list of str, that must never be printed.
        active: bool, whether nothing has ended its sync yet.
        skipped_by_mapping: bool, whether a property mapping leaves the object out.
        unknown: bool, whether a write may have been performed of which nobody could see what became.
    """

    def __init__(self, run: DirectContext, name: str, outcome: Outcome, log: EngineLog, not_done: str = "") -> None:
        self.run = run
        self.name = name
        self.outcome = outcome
        self.log = log
        self.not_done = not_done or f"{self.title} was not synced"
        self.warnings: list[str] = []
        self.secrets: list[str] = []
        self.active = True
        self.skipped_by_mapping = False
        self.unknown = False

    @property
    def title(self) -> str:
        """The name at the beginning of a sentence."""
        return sentence(self.name)

    def warn(self, text: str) -> None:
        """Note a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def note(self, operation: Operation) -> None:
        """Note a write that was performed, or is planned."""
        self.outcome.operations.append(operation.shown())

    def fail(self, why: str, code: str) -> None:
        """End it as failed for a reason that was found outside of its own steps."""
        self.outcome.fail(why, code)
        self.active = False

    def give_up(self, why: str) -> None:
        """End it, if nothing has, because the run is given up."""
        if self.active:
            self.fail(f"Not synced as a whole, since the run was given up: {why}", "not_tried")

    def step(self, *steps: t.Callable[[], t.Any]) -> bool:
        """Take steps in order, if nothing has ended it; whether nothing still has."""
        self.active = self.active and self.end(*steps)
        return self.active

    def end(self, *steps: t.Callable[[], t.Any]) -> bool:
        """Take steps in order, even after its end; whether none of them has ended it."""
        sent, shown = self.run.directory.session.writes.of_thread, self._shown_writes()
        try:
            for step in steps:
                step()
            return True
        except ObjectEnded:
            pass
        except MappingProblem as exc:
            self._end_unmapped(exc)
        except LeftOut as exc:
            text = f"{self.title} is not synced: {exc}."
            self.outcome.leave_out(text, self.run.options.out_of_scope, self.warn)
        except Protected as exc:
            self.outcome.fail(exc.text(self.not_done), "protected")
        except HeldByAnother as exc:
            self.outcome.fail(f"{self.title} was not synced: {exc}", "conflict")
        except RunEnded as exc:
            self.outcome.fail(f"{self.title} was not synced as a whole: {exc}", exc.code)
        except Refused as exc:
            self.outcome.fail(str(exc), exc.code)
        except Unconfirmed as exc:
            self.outcome.fail(f"{self.title} was not synced as a whole: {exc}", "unconfirmed")
            self.outcome.status = "unconfirmed"
        except RemoteError as exc:
            self.outcome.fail_by(exc)
        except Exception as exc:  # noqa: BLE001
            self.unknown = self.unknown or self._unshown_writes(sent, shown)
            self.outcome.fail_unexpectedly(exc)
        return False

    def _end_unmapped(self, problem: MappingProblem) -> None:
        if problem.kind == "skip":
            self.skipped_by_mapping = True
            text = f"{self.title} is not synced: {problem}."
            self.outcome.leave_out(text, self.run.options.out_of_scope, self.warn)
            return
        remedy = _MAPPING_REMEDIES.get(problem.kind, "")
        self.outcome.fail(f"Could not sync {self.name}: {problem}.{remedy}", f"mapping_{problem.kind}")

    def _unshown_writes(self, sent: int, shown: int) -> bool:
        """Whether this thread sent more writes than operations were noted since."""
        return self.run.directory.session.writes.of_thread - sent > self._shown_writes() - shown

    def _shown_writes(self) -> int:
        return sum(1 for item in self.outcome.operations if item["resource"] != "connection")

    def mask(self) -> None:
        """Take passwords out of all texts; in a large run too many come through here for Ansible to look for each at the end."""
        for secret in filter(None, self.secrets):
            self.outcome.failure = self.outcome.failure.replace(secret, MASK)
            self.warnings = [text.replace(secret, MASK) for text in self.warnings]
            for line in self.log.lines:
                line["event"] = line["event"].replace(secret, MASK)
