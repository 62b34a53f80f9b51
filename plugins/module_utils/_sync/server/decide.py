# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sync of one object did: concluded from facts, never from the absence of complaints. Pure.

decide() either concludes or names the one fact that it still has to know. Whoever calls it asks and calls it again: what is
asked depends on nothing but the facts, and each question is asked at most once.
"""

from __future__ import annotations

import typing as t

from ..._common.texts import listed
from ..._objects.difference import changes, unmet
from ..plan import overlaid
from . import members
from .conclusion import Conclusion, Decision, concluded, failed, left_out, mapping_failure
from .effect import (
    Effect,
    States,
    by_authentik,
    connection_operations,
    from_connections,
    may_have_been_hidden,
    record_before,
    states_of,
)
from .facts import Facts, Question

_NOT_REPORTED = (
    "authentik could not reach Google, or was refused there for the moment, which it does not report: see its "
    "worker log, and run the task again later."
)


def decide(facts: Facts) -> Decision:
    """What a sync did that was asked for: a Conclusion, or the Question that has to be answered first."""
    if facts.verdict.dry_run:
        return _dry_run(facts)
    if facts.after is None:
        return Question.AFTER
    if may_have_been_hidden(facts.before, facts.after) and _is_connection_unread(facts):
        return Question.CONNECTION
    if facts.reply is not None and not facts.ended:
        return _unanswered(facts)
    if facts.verdict.failures:
        return _failed(facts)
    if facts.verify == "none":
        text = "Nothing was looked at (verify: none), so whether anything changed at Google is assumed."
        return concluded(facts, facts.effect._replace(changed=True), "unconfirmed", text)
    if facts.after.seen and facts.before.seen and not facts.before.incomplete:
        return _at_google(facts)
    return _from_connections(facts)


# Google was read before and after


def _at_google(facts: Facts) -> Decision:
    after, effect = facts.seen_after, facts.effect
    if facts.verdict.started is False:
        # Whatever differs before and after, this sync did not write it.
        return _not_reached(facts, effect)
    if after.record is None:
        return _no_record(facts)
    if effect.changed and not facts.before.adopting:
        return members.shown(facts)
    if facts.wanted is None:
        return Question.WANTED
    if facts.mapping_problem:
        return _unmapped(facts, effect)
    return _unmet(facts) if facts.unmet_by(after.record) else members.shown(facts)


def _no_record(facts: Facts) -> Decision:
    """authentik reported nothing bad, and Google shows no record."""
    if _is_connection_unread(facts):
        return Question.CONNECTION
    before, after = facts.before, facts.seen_after
    if not after.attributes.get("id"):
        found = f"Google has no such {facts.kind} after the sync"
        return _nothing_written(facts, facts.effect, found, linked=after.row is not None)
    # Google has answered authentik with the record: reads trail behind the write.
    if Question.RECORD_SHOWN not in facts.answered:
        return Question.RECORD_SHOWN
    old = before.attributes
    changed = changes(facts.kind, old if old.get("id") == after.attributes["id"] else None, after.attributes)
    same_row = before.row is not None and before.row.get("id") == (after.row or {}).get("id")
    effect = facts.effect._replace(
        changed=bool(changed), changes=changed, basis="assumed" if same_row and not old else "connection"
    )
    return _trailing(facts, effect, "Google answered authentik with the record, but does not show it yet")


def _unmet(facts: Facts) -> Decision:
    """The sync reported nothing bad, and Google does not hold what is wanted."""
    if Question.CONNECTION not in facts.answered:
        return Question.CONNECTION
    before, after, effect = facts.before, facts.seen_after, facts.effect
    fields = _fields(facts.unmet_by(after.record))
    answered = after.attributes
    pushed = bool(facts.verdict.started and answered and not before.adopting)
    # authentik keeps Google's own answer to its write: if that shows the wanted values, reads trail behind it. A connection
    # that was so before proves nothing unless authentik is known to have written.
    renewed = pushed or facts.unmet_by(before.attributes or None)
    if answered and renewed and not facts.unmet_by(answered):
        if Question.VALUES_SHOWN not in facts.answered:
            return Question.VALUES_SHOWN
        changed = changes(facts.kind, effect.states.before, answered) or effect.changes
        return _trailing(
            facts,
            effect._replace(changed=True, basis="connection", changes=changed),
            f"Google answered authentik with the expected values, but does not show them yet ({fields})",
        )
    if pushed:
        return _accepted_otherwise(facts, effect, fields)
    only_linked = before.adopting or (after.row is not None and not answered)
    return failed(
        facts,
        effect,
        "not_written",
        f"authentik reported success for {facts.title}, but these fields do not have the expected values at Google: {fields}.",
        _linked_remedy(facts) if only_linked else _NOT_REPORTED,
    )


def _linked_remedy(facts: Facts) -> str:
    """What to do about a record that authentik has linked without writing to it."""
    text = "authentik only linked the record that Google already had and wrote nothing"
    if facts.owners_known:
        # Asked before anything was sent: no other object of authentik is connected with it.
        return text + ": run the task again."
    return (
        f"{text}. If it belongs to another {facts.kind} of authentik, give one of them another address and delete the new connection; else "
        "run the task again."
    )


# authentik's connection was read before and after


def _from_connections(facts: Facts) -> Decision:
    if _is_connection_unread(facts):
        return Question.CONNECTION
    before, after = facts.before, facts.seen_after
    if before.rows is None or after.rows is None:
        return concluded(
            facts,
            facts.effect._replace(changed=True, basis="assumed"),
            "unconfirmed",
            "Neither Google nor authentik's connection could be read, so that something changed is assumed.",
        )
    if not after.attributes:
        unchanged = Effect(False, "connection", states_of(facts.kind, before, after))
        if after.row is None:
            found = "authentik has no connection for it after the sync"
            return _nothing_written(facts, unchanged, found, linked=False)
        found = "authentik only linked it to %s and has no answer of Google's" % after.row.get("google_id")
        return _nothing_written(facts, unchanged, found, linked=True)
    return _by_connection(facts)


def _by_connection(facts: Facts) -> Decision:
    """What authentik's connection shows.

    From 2025.10 on authentik's listing alone renews a connection, before it comes to the object and its mappings.
    """
    before, after = facts.before, facts.seen_after
    effect = from_connections(facts.kind, before, after)
    if facts.verdict.started is False:
        return _not_reached(facts, effect)
    if facts.wanted is None:
        return Question.WANTED
    if facts.mapping_problem:
        if facts.mapping_problem == "skip":
            effect = Effect(False, "connection", effect.states)
        return _with_assumed_members(facts, _unmapped(facts, effect))
    unmet_fields = facts.unmet_by(after.attributes)
    if unmet_fields:
        return _with_assumed_members(facts, _unmet_connection(facts, effect, _fields(unmet_fields)))
    if effect.changed:
        operations = connection_operations(facts.kind, before, after)
        return concluded(facts, effect._replace(operations=operations), "synced")
    if facts.verdict.started is None:
        text = (
            f"authentik's record of {facts.title} is as it was and as it should be; whether this sync reached Google cannot be seen "
            "in it."
        )
        return _with_assumed_members(facts, concluded(facts, effect, "unconfirmed", text))
    return _with_assumed_members(facts, concluded(facts, effect, "unchanged"))


def _unmet_connection(facts: Facts, effect: Effect, fields: str) -> Conclusion:
    if facts.verdict.started:
        return _accepted_otherwise(facts, effect, fields)
    return failed(
        facts,
        effect,
        "not_written",
        f"authentik reported nothing for {facts.title}, but its record of Google's last answer does not have the expected "
        f"values of {fields}.",
        "authentik could not reach Google, or was refused there for the moment: see its worker log, and run the task "
        "again later.",
    )


def _with_assumed_members(facts: Facts, conclusion: Conclusion) -> Conclusion:
    """Of a sync that may have come to the members."""
    if conclusion.failure is not None or conclusion.left_out:
        return conclusion
    effect, warnings = members.assumed(facts, conclusion.effect)
    # Whether a member was added is not known: that is not "unchanged".
    status = "unconfirmed" if warnings and conclusion.status == "unchanged" else conclusion.status
    return conclusion._replace(status=status, effect=effect, warnings=conclusion.warnings + warnings)


# What several of these end in


def _nothing_written(facts: Facts, effect: Effect, found: str, linked: bool) -> Decision:
    """Nothing was written, silently: name why, as far as it can be known."""
    if facts.wanted is None:
        return Question.WANTED_NEW
    if facts.mapping_problem == "skip":
        return left_out(facts, effect, "is not synced")
    if facts.mapping_problem in ("failed", "empty"):
        return mapping_failure(facts, effect)
    if linked and Question.HOLDER not in facts.answered:
        return Question.HOLDER
    remedy = (
        "Its address is held by something else there (%s), which authentik then links without writing: change the address "
        "and delete the connection in authentik. Only if nobody needs the address there, free it at Google."
        % (facts.holder or "a group or another account")
    )
    reason = f"authentik reported success for {facts.title}, but {found}."
    return failed(facts, effect, "not_written", reason, remedy if linked else _NOT_REPORTED)


def _unmapped(facts: Facts, effect: Effect) -> Conclusion:
    """Nothing changed (or a record was adopted) by a sync that may have begun, and what was wanted is not known."""
    if facts.mapping_problem == "skip" and not effect.changed:
        return left_out(facts, effect, "is not synced")
    if facts.mapping_problem in ("failed", "empty") and not facts.verdict.started:
        return mapping_failure(facts, effect)
    text = f"Whether Google holds what authentik wants could not be checked: {facts.mapping_text}."
    return concluded(facts, effect, "unconfirmed", text)


def _accepted_otherwise(facts: Facts, effect: Effect, fields: str) -> Conclusion:
    text = "Google accepted the update of %s, but these fields do not have the expected values: %s."
    return concluded(facts, effect, "unconfirmed", text % (facts.title, fields))


def _trailing(facts: Facts, effect: Effect, text: str) -> Conclusion:
    """Google has confirmed something that it does not show within the time allowed."""
    text = f"{facts.capitalised}: {text} after {facts.google_wait:g} seconds."
    return concluded(facts, effect, "unconfirmed", text)


def _not_reached(facts: Facts, effect: Effect) -> Conclusion:
    return failed(
        facts,
        effect,
        "google_not_reached",
        f"authentik did not begin to sync {facts.title} and gave no reason: it could not reach Google (its list of domains) or was "
        "refused there for the moment. Nothing was written.",
        "See authentik's worker log, and run the task again later.",
    )


# authentik says that it failed, or nothing usable


def _failed(facts: Facts) -> Decision:
    verdict, after = facts.verdict, facts.seen_after
    remedy = verdict.remedy
    if verdict.bad_domain and after.seen:
        if Question.DOMAINS not in facts.answered:
            return Question.DOMAINS
        if facts.domains:
            remedy = f"The workspace has the domain{listed(facts.domains)}. {remedy}"
    if verdict.rows_stop:
        if Question.STALE_CONNECTIONS not in facts.answered:
            return Question.STALE_CONNECTIONS
        remedy = facts.stale or remedy
    return failed(
        facts,
        _partial_effect(facts),
        "sync_failed",
        "authentik could not sync %s to Google Workspace: %s." % (facts.title, verdict.reason.rstrip(".")),
        remedy or "See messages.",
        verdict.fails_task,
    )


def _partial_effect(facts: Facts) -> Effect:
    """A failed sync may have written before it failed; without Google only authentik's connection shows it."""
    before, after = facts.before, facts.seen_after
    if after.seen and before.seen:
        return facts.effect
    if before.rows is None or after.rows is None:
        return facts.effect._replace(basis="assumed")
    return from_connections(facts.kind, before, after)


def _unanswered(facts: Facts) -> Decision:
    """The request gave no usable answer, and the task has not ended or is not shown."""
    reply = facts.reply
    start = "The sync of %s did not end well: %s" % (facts.title, reply.text if reply is not None else "")
    decision = _unfinished(facts, start) if facts.task_seen else _without_task(facts, start)
    if isinstance(decision, Question) or reply is None:
        return decision
    return decision._replace(http_status=reply.http_status)


def _unfinished(facts: Facts, start: str) -> Decision:
    """The task is known, and had not ended."""
    verdict = facts.verdict
    if verdict.rows_stop and Question.STALE_CONNECTIONS not in facts.answered:
        return Question.STALE_CONNECTIONS
    if Question.TASK_PHASE not in facts.answered:
        return Question.TASK_PHASE
    reason = f"{start} After {facts.sync_timeout:g} seconds {facts.task_phase}."
    remedy = "Raise sync_timeout to wait longer."
    if verdict.reason:
        reason += " Its last error: %s." % verdict.reason.rstrip(".")
        remedy = facts.stale or verdict.remedy or "See messages."
    return failed(facts, _partial_effect(facts), "sync_unfinished", reason, remedy)


def _without_task(facts: Facts, start: str) -> Decision:
    """The task is not known: only Google shows what became of the sync."""
    after, effect = facts.seen_after, _partial_effect(facts)
    if facts.has_tasks and after.seen and facts.task_problem != "none":
        if facts.wanted is None:
            creating = record_before(facts.before, after) is None
            return Question.WANTED_NEW if creating else Question.WANTED
        if not facts.mapping_problem:
            if after.record is not None and not facts.unmet_by(after.record):
                text = "%s Google has the expected values%s."
                text = text % (start, " now" if effect.changed else ", as it did before")
                return concluded(facts, effect, "synced" if effect.changed else "unconfirmed", text)
            if Question.VALUES_REACHED not in facts.answered:
                return Question.VALUES_REACHED
    remedy = _unanswered_remedy(facts)
    if isinstance(remedy, Question):
        return remedy
    return failed(facts, effect, "sync_unanswered", start, remedy)


def _unanswered_remedy(facts: Facts) -> str | Question:
    if facts.has_tasks:
        return (
            "Without its task it is not known whether the sync is still running; find it in authentik (System, Tasks), or "
            "give the token's user the permission authentik_tasks.view_task."
        )
    if facts.reply is not None and facts.reply.is_internal_page:
        if Question.STALE_CONNECTIONS not in facts.answered:
            return Question.STALE_CONNECTIONS
        return facts.stale or (
            f"On authentik {facts.server_version} a 405 means that the sync crashed: a member's account is gone at Google, an "
            "address is held by something else, Google refuses the provider's credentials, or a stored connection differs from "
            "Google's record (then every sync of this kind fails until that row is deleted). See authentik's worker log and "
            "its event log (system_exception)."
        )
    return (
        f"On authentik {facts.server_version} the call waits for a worker: check that one is running (admin/workers). The sync "
        "is queued and may still run."
    )


# A provider in dry run


def _dry_run(facts: Facts) -> Decision:
    """What authentik would have sent, against what is there."""
    before, kind, held = facts.before, facts.kind, facts.verdict.dry_run
    record = before.known_record
    basis = "google" if before.seen else "connection" if before.rows is not None else "assumed"
    states = states_of(kind, before, before)
    found = []
    for item in held:
        if item["resource"] == kind:
            body = item["body"]
            found.extend(changes(kind, None, body) if record is None else unmet(kind, body, record))
            states = States(record, dict(record or {}, **overlaid(record, body)))
    operations = [by_authentik(item["method"], item["resource"], item["key"]) for item in held]
    effect = Effect(False, basis, states, found, operations)
    if not (facts.check_mode and facts.override_dry_run):
        return concluded(facts, effect, "dry_run")
    # A real run would override the dry run and write this.
    changed = bool(found) or record is None
    if not changed:
        # authentik writes it even so; only what differs is an operation after a real run, too.
        operations = []
    effect = effect._replace(changed=changed, operations=operations)
    return members.predicted(facts, effect, record is None)


# Forms


def _fields(unmet_fields: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    return ", ".join(item["path"] for item in unmet_fields)


def _is_connection_unread(facts: Facts) -> bool:
    return facts.seen_after.rows is None and Question.CONNECTION not in facts.answered
