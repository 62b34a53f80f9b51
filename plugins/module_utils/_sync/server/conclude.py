# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sync that reported nothing bad really did: concluded from two looks, never from the absence of complaints."""

from __future__ import annotations

import typing as t

from ..._common.types import Json
from ..._mappings.desired import MappingProblem
from ..._objects.difference import changes, unmet
from . import members
from .comparison import Comparison
from .messages import Verdict
from .observation import Observation


def conclude(case: Comparison, after: Observation, verdict: Verdict) -> None:
    """Fill in the outcome of a sync of which the messages say nothing bad.

    Args:
        after: the look after the sync.
        verdict: what the messages say; without failures and without a dry run's lines.
    """
    outcome = case.outcome
    if case.request.verify == "none":
        outcome.changed = True
        outcome.status = "unconfirmed"
        case.warn("Nothing was looked at (verify: none), so whether anything changed at Google is assumed.")
    elif after.seen and case.before.seen and not case.before.incomplete:
        _from_google(case, after, verdict)
    else:
        _from_connection(case, after, verdict)


def _from_google(case: Comparison, after: Observation, verdict: Verdict) -> None:
    outcome = case.outcome
    if verdict.started is False:
        # Whatever differs between the looks, this sync did not write it.
        outcome.fail(_not_reached(case), "google_not_reached")
        return
    if after.record is None:
        _missing(case, after, verdict)
        return
    if outcome.changed and not case.before.adopting:
        outcome.status = "synced"
        members.check(case, after)
        return
    try:
        missing = unmet(case.target.kind, case.wanted_now(creating=False), after.record)
    except MappingProblem as exc:
        _unmapped(case, exc, verdict)
        return
    if missing:
        _unmet(case, missing, after, verdict)
        return
    case.finish()
    members.check(case, after)


def _from_connection(case: Comparison, after: Observation, verdict: Verdict) -> None:
    outcome = case.outcome
    if after.rows is None:
        after.rows = case.observer.rows()
    if case.before.rows is None or after.rows is None:
        outcome.changed = True
        outcome.status = "unconfirmed"
        outcome.basis = "assumed"
        case.warn("Neither Google nor authentik's connection could be read, so that something changed is assumed.")
        return
    outcome.basis = "connection"
    outcome.changed, outcome.changes, outcome.operations = False, [], []
    if after.row is None:
        _nothing(case, "authentik has no connection for it after the sync", linked=False)
        return
    assumption = case.compare_rows(after)
    if not after.attributes:
        outcome.changed = False
        _nothing(
            case, "authentik only linked it to %s and has no answer of Google's" % after.row.get("google_id"), True
        )
        return
    ended = not _changed_row(case, after, verdict) if outcome.changed else not _unchanged_row(case, after, verdict)
    if assumption and outcome.changed:
        case.warn(assumption)
    if not ended:
        members.assume(case)


def _changed_row(case: Comparison, after: Observation, verdict: Verdict) -> bool:
    """Status for a row that is another one than before; False when that ended the matter.

    From 2025.10 on authentik's listing alone renews a row, before it comes to the object and its mappings.
    """
    outcome = case.outcome
    if verdict.started is False:
        outcome.fail(_not_reached(case), "google_not_reached")
        return False
    try:
        missing = unmet(case.target.kind, case.wanted_now(creating=False), after.attributes)
    except MappingProblem as exc:
        if exc.kind == "skip":
            outcome.changed, outcome.changes, outcome.basis = False, [], "connection"
        _unmapped(case, exc, verdict)
        return outcome.status == "unconfirmed"
    if missing:
        _unmet_row(case, missing, verdict)
        return outcome.status == "unconfirmed"
    outcome.operations = case.row_operations(after)
    outcome.status = "synced"
    return True


def _missing(case: Comparison, after: Observation, verdict: Verdict) -> None:
    """authentik reported nothing bad, and Google shows no record."""
    outcome = case.outcome
    if after.rows is None:
        after.rows = case.observer.rows()
    if after.attributes.get("id"):
        # Google has answered authentik with the record: reads trail behind the write.
        fresh = case.wait(after, lambda look: look.record is not None)
        if fresh is not None:
            # It may have been there all the time: what is to be said is what any look with a record says.
            _from_google(case, fresh, verdict)
            return
        old = case.before.attributes
        outcome.basis = "connection"
        outcome.changes = changes(
            case.target.kind, old if old.get("id") == after.attributes["id"] else None, after.attributes
        )
        outcome.changed = bool(outcome.changes)
        if not old and case.before.row is not None and case.before.row.get("id") == (after.row or {}).get("id"):
            outcome.basis = "assumed"
        case.unconfirmed("Google answered authentik with the record, but does not show it yet")
        return
    _nothing(case, "Google has no such %s after the sync" % case.target.kind, linked=after.row is not None)


def _nothing(case: Comparison, found: str, linked: bool) -> None:
    """Nothing was written, silently: name why, as far as it can be known."""
    try:
        case.wanted_now(creating=True)
    except MappingProblem as exc:
        if exc.kind == "skip":
            case.leave_out("is not synced: %s" % exc)
            return
        if exc.kind in ("failed", "empty"):
            case.outcome.fail("authentik could not sync %s: %s." % (case.target, exc), "mapping_%s" % exc.kind)
            return
    holder = case.held_by_another() if linked else ""
    case.outcome.fail(
        "authentik reported success for %s, but %s. %s"
        % (
            case.target,
            found,
            "Its address is held by something else there (%s), which authentik then links without writing: change the address "
            "and delete the connection in authentik. Only if nobody needs the address there, free it at Google."
            % (holder or "a group or another account")
            if linked
            else "authentik could not reach Google, or was refused there for the moment, which it does not report: see its "
            "worker log, and run the task again later.",
        ),
        "not_written",
    )


def _unmapped(case: Comparison, exc: MappingProblem, verdict: Verdict) -> None:
    """Nothing changed (or a record was adopted) by a sync that may have begun, and what was wanted is not known."""
    outcome = case.outcome
    if exc.kind == "skip" and not outcome.changed:
        case.leave_out("is not synced: %s" % exc)
        return
    if exc.kind in ("failed", "empty") and not verdict.started:
        outcome.fail("authentik could not sync %s: %s." % (case.target, exc), "mapping_%s" % exc.kind)
        return
    outcome.status = "unconfirmed"
    case.warn("Whether Google holds what authentik wants could not be checked: %s." % exc)


def _unmet(case: Comparison, missing: t.List[Json], after: Observation, verdict: Verdict) -> None:
    """The sync reported nothing bad, and Google does not hold what is wanted."""
    outcome, kind = case.outcome, case.target.kind
    fields = ", ".join(item["path"] for item in missing)
    after.rows = case.observer.rows()
    wanted = case.wanted or {}
    answered = after.attributes
    pushed = bool(verdict.started and answered and not case.before.adopting)
    # authentik keeps Google's own answer to its write: where that shows the wanted values, reads trail behind it. A row
    # that was so before proves nothing unless authentik is known to have written.
    renewed = pushed or unmet(kind, wanted, case.before.attributes or None)
    if answered and renewed and not unmet(kind, wanted, answered):
        fresh = case.wait(after, lambda look: not unmet(kind, wanted, look.record))
        if fresh is not None:
            case.finish()
            members.check(case, fresh)
            return
        outcome.changed = True
        outcome.basis = "connection"
        outcome.changes = changes(kind, case.before.record, answered)
        case.unconfirmed("Google answered authentik with the expected values, but does not show them yet (%s)" % fields)
        return
    if pushed:
        outcome.status = "unconfirmed"
        case.warn(
            "Google accepted the update of %s, but these fields do not have the expected values: %s."
            % (case.target, fields)
        )
        return
    outcome.fail(
        "authentik reported success for %s, but these fields do not have the expected values at Google: %s. %s"
        % (
            case.target,
            fields,
            _linked_remedy(case)
            if case.before.adopting or (after.row is not None and not answered)
            else "authentik could not reach Google, or was refused there for the moment, which it does not report: see "
            "its worker log, and run the task again later.",
        ),
        "not_written",
    )


def _linked_remedy(case: Comparison) -> str:
    """What to do about a record that authentik has linked without writing to it."""
    text = "authentik only linked the record that Google already had and wrote nothing"
    if case.owners_known:
        # Asked before anything was sent: no other object of authentik is connected with it.
        return text + ": run the task again."
    return (
        "%s. If it belongs to another %s of authentik, give one of them another address and delete the new connection; else "
        "run the task again." % (text, case.target.kind)
    )


def _unchanged_row(case: Comparison, after: Observation, verdict: Verdict) -> bool:
    """Status for a row that is as it was; False when that ended the matter."""
    outcome = case.outcome
    if verdict.started is False:
        outcome.fail(_not_reached(case), "google_not_reached")
        return False
    try:
        missing = unmet(case.target.kind, case.wanted_now(creating=False), after.attributes)
    except MappingProblem as exc:
        _unmapped(case, exc, verdict)
        return outcome.status == "unconfirmed"
    if missing:
        _unmet_row(case, missing, verdict)
        return outcome.status == "unconfirmed"
    if verdict.started is None:
        outcome.status = "unconfirmed"
        case.warn(
            "authentik's record of %s is as it was and as it should be; whether this sync reached Google cannot be seen "
            "in it." % case.target
        )
    else:
        outcome.status = "unchanged"
    return True


def _unmet_row(case: Comparison, missing: t.List[Json], verdict: Verdict) -> None:
    fields = ", ".join(item["path"] for item in missing)
    if verdict.started:
        case.outcome.status = "unconfirmed"
        case.warn(
            "Google accepted the update of %s, but these fields do not have the expected values: %s."
            % (case.target, fields)
        )
        return
    case.outcome.fail(
        "authentik reported nothing for %s, but its record of Google's last answer does not have the expected values of %s. "
        "authentik could not reach Google, or was refused there for the moment: see its worker log, and run the task "
        "again later." % (case.target, fields),
        "not_written",
    )


def _not_reached(case: Comparison) -> str:
    return (
        "authentik did not begin to sync %s and gave no reason: it could not reach Google (its list of domains) or was "
        "refused there for the moment. Nothing was written. See authentik's worker log, and run the task again later."
        % case.target
    )
