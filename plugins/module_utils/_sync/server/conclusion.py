# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is concluded of a sync of one object, and the one place that writes it into the Outcome."""

from __future__ import annotations

import typing as t

from ..._common.kind import Kind
from ..outcome import Outcome
from .effect import Effect
from .facts import Facts, Question


class Failure(t.NamedTuple):
    """Why a sync failed.

    Attributes:
        code: str, as the result shows it.
        reason: str, cause and what happened, as sentences; remedy: str, what to do about it.
        fails_task: bool.
    """

    code: str
    reason: str
    remedy: str
    fails_task: bool = True

    @property
    def text(self) -> str:
        return f"{self.reason} {self.remedy}"


class Conclusion(t.NamedTuple):
    """What a sync did, or would do.

    Attributes:
        effect: Effect.
        status: str, as the result shows it; of a failure or of an object that is left out it says that.
        failure: Failure or None.
        left_out: why the provider does not sync the object, as a sentence; empty if it does.
        warnings: texts.
        skipped_members: usernames, sorted.
        google_id: what the connection calls the record; empty if that is not known.
        http_status: int or None.
    """

    effect: Effect
    status: str
    failure: Failure | None = None
    left_out: str = ""
    warnings: tuple[str, ...] = ()
    skipped_members: t.Sequence[str] = ()
    google_id: str = ""
    http_status: int | None = None


# What decide() and predict() return: a Question has to be answered first.
Decision = t.Union[Conclusion, Question]


def concluded(facts: Facts, effect: Effect, status: str, *warnings: str) -> Conclusion:
    """A sync that did not fail, as far as that is known."""
    assumption = (effect.assumption,) if effect.assumption else ()
    return Conclusion(effect, status, warnings=assumption + warnings, google_id=facts.google_id)


def failed(facts: Facts, effect: Effect, code: str, reason: str, remedy: str, fails_task: bool = True) -> Conclusion:
    """A sync that failed; see Failure."""
    return concluded(facts, effect, "failed")._replace(failure=Failure(code, reason, remedy, fails_task))


def left_out(facts: Facts, effect: Effect, what: str) -> Conclusion:
    """An object that the mappings leave out.

    Args:
        what: "is not synced" or "would not be synced".
    """
    text = f"{facts.capitalised} {what}: {facts.mapping_text}."
    return concluded(facts, effect, "out_of_scope")._replace(left_out=text)


def mapping_failure(facts: Facts, effect: Effect) -> Conclusion:
    """A sync that fails because of the mappings: one fails, or none gives anything."""
    reason = f"authentik could not sync {facts.title}: {facts.mapping_text}."
    remedy = (
        "Correct the mapping in authentik."
        if facts.mapping_problem == "failed"
        else "Assign property mappings that yield something to the provider in authentik."
    )
    return failed(facts, effect, f"mapping_{facts.mapping_problem}", reason, remedy)


def write_effect(effect: Effect, google_id: str, kind: Kind, outcome: Outcome) -> None:
    """What is known to have changed, which the result shows even if the run ends here."""
    outcome.changed = effect.changed
    outcome.basis = effect.basis
    outcome.changes = list(effect.changes)
    outcome.operations = [operation.shown() for operation in effect.operations]
    outcome.note_states(kind, *effect.states)
    if google_id:
        outcome.object["google_id"] = google_id


def write(
    conclusion: Conclusion, kind: Kind, out_of_scope: str, outcome: Outcome, warn: t.Callable[[str], None]
) -> None:
    """Fill in the Outcome.

    Args:
        out_of_scope: "warn", "fail" or "ignore", the option.
    """
    write_effect(conclusion.effect, conclusion.google_id, kind, outcome)
    outcome.skipped_members = list(conclusion.skipped_members)
    outcome.http_status = conclusion.http_status
    outcome.status = conclusion.status
    for text in conclusion.warnings:
        warn(text)
    failure = conclusion.failure
    if conclusion.left_out:
        outcome.leave_out(conclusion.left_out, out_of_scope, warn)
    elif failure is not None:
        outcome.fail(failure.text, failure.code, failure.fails_task)
        if not failure.fails_task:
            warn(outcome.failure)
