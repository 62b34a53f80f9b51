# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What authentik is expected to do for one object: the operations that check mode shows. Pure.

Each rule reads the facts: it concludes that authentik would not sync, or that nothing can be predicted, or names the fact
that is missing; None leaves it to the next rule. What passes them all is planned.
"""

from __future__ import annotations

import typing as t

from ..._common.kind import GROUP, USER
from ..._common.texts import listed
from ..._common.types import Json
from ..._objects.difference import changes
from ..._objects.record import address_of
from ..plan import Operation, overlaid
from . import members
from .conclusion import Conclusion, Decision, Failure, concluded, failed, left_out, mapping_failure
from .effect import Effect, States, by_authentik, nothing
from .facts import Facts, Question

Rule = t.Callable[[Facts], t.Optional[Decision]]


def predict(facts: Facts) -> Decision:
    """What a sync would do: a Conclusion, or the Question that has to be answered first."""
    for rule in RULES:
        decision = rule(facts)
        if decision is not None:
            return decision
    return _planned(facts)


def _unassigned(facts: Facts) -> Decision | None:
    if not facts.has_tasks or facts.assigned:
        return None
    if Question.ASSIGNED not in facts.answered:
        return Question.ASSIGNED
    return failed(
        facts,
        nothing(facts.kind, facts.before),
        "not_assigned",
        f"authentik would not sync {facts.title}: the provider is not assigned to an application.",
        "Add it to an application in authentik as its backchannel provider.",
    )


def _unmapped(facts: Facts) -> Decision | None:
    """The mappings give nothing that authentik would write."""
    if facts.wanted is None:
        return Question.WANTED_NEW if _creates(facts) else Question.WANTED
    effect = nothing(facts.kind, facts.before)
    if facts.mapping_problem == "skip":
        return left_out(facts, effect, "would not be synced")
    if facts.mapping_problem in ("failed", "empty"):
        return mapping_failure(facts, effect)
    return _unpredictable(facts, facts.mapping_text) if facts.mapping_problem else None


def _unread(facts: Facts) -> Decision | None:
    """What is there now is not known."""
    before = facts.before
    if facts.verify == "none" or (not before.seen and before.rows is None):
        return _unpredictable(facts, "neither Google nor authentik's connection was read")
    if before.row is not None and not before.seen and not before.attributes:
        return _unpredictable(facts, "authentik's connection holds no record of what stands at Google")
    return None


def _outside_domains(facts: Facts) -> Decision | None:
    """authentik refuses an address outside the workspace's domains, as far as these are known."""
    addresses = _addresses(facts)
    if not facts.before.seen:
        if addresses[0]:
            return None
        reason = f"authentik could not sync {facts.title}: it has no e-mail."
        return _refused(facts, reason, "Give it one in authentik, or in its property mapping.")
    known = _domain(address_of(facts.before.record))
    if known and all(_domain(item) == known for item in addresses):
        return None
    if Question.DOMAINS not in facts.answered:
        return Question.DOMAINS
    # authentik's own rule: the end of the address, with its case.
    outside = next((item for item in addresses if not item.endswith(tuple(facts.domains)) or not item), "")
    if not outside and addresses[0]:
        return None
    return _refused(
        facts,
        "authentik could not sync %s: Invalid email domain: %s. The workspace has the domain%s."
        % (facts.title, outside or "(no e-mail)", listed(facts.domains)),
        "Change the e-mail in authentik, or add the domain at Google.",
    )


def _without_name(facts: Facts) -> Decision | None:
    """Google refuses a new account without both names."""
    if facts.kind != USER or not _creates(facts):
        return None
    found = facts.wanted_record.get("name")
    # No mapping may give a name at all.
    name = found if isinstance(found, dict) else {}
    empty = [field for field in ("givenName", "familyName") if not str(name.get(field) or "").strip()]
    if not empty:
        return None
    return _refused(
        facts,
        f"Google would reject the values for {facts.title}: name.{empty[0]} is empty.",
        "Correct the name in authentik or its mapping.",
    )


def _address_held(facts: Facts) -> Decision | None:
    """A record of the other kind has the address of one that would be created."""
    if not (_creates(facts) and facts.before.seen):
        return None
    if Question.HOLDER not in facts.answered:
        return Question.HOLDER
    if not facts.holder:
        return None
    return failed(
        facts,
        _unchanged(facts),
        "conflict",
        f"authentik could not create {facts.title} at Google: its address is held by {facts.holder} there.",
        "Change the address in authentik. Only if nobody needs it there, free it at Google.",
    )


def _only_linked(facts: Facts) -> Decision | None:
    """authentik would link a record that no connection of its leads to, and not write to it.

    It links what its listing of Google shows it (a user by the e-mail, a group by the name, with their case), and writes
    then. Anything else it tries to create, is refused by Google for the address, and links without writing.
    """
    before, record = facts.before, facts.before.known_record
    if record is None or not before.adopting or not facts.unmet_by(record):
        return None
    own = record.get("primaryEmail") if facts.kind == USER else record.get("name")
    if facts.lists_first and own == (facts.address if facts.kind == USER else facts.name):
        if before.row is None:
            return None
        return _unpredictable(facts, "it has a connection to a record that is gone, and would get a second one")
    roles = before.roles if facts.kind == GROUP else None
    effect = _unchanged(facts)._replace(states=States(record, record, roles, roles))
    decision = members.predicted(facts, effect, creating=False)
    if isinstance(decision, Question):
        return decision
    reason = "authentik would only link %s to the record that Google already has, and not write %s." % (
        facts.title,
        ", ".join(item["path"] for item in facts.unmet_by(record)),
    )
    # Asked beforehand: then no other object of authentik is connected with it.
    remedy = (
        "Run the task for real, and then again."
        if facts.owners_known
        else f"If it belongs to another {facts.kind} of authentik, give one of them another address; else run the task for real, and "
        "then again."
    )
    return decision._replace(status="failed", failure=Failure("not_written", reason, remedy))


RULES: tuple[Rule, ...] = (
    _unassigned,
    _unmapped,
    _unread,
    _outside_domains,
    _without_name,
    _address_held,
    _only_linked,
)


def _planned(facts: Facts) -> Decision:
    """The operations by which authentik would write what is wanted."""
    kind, before, wanted = facts.kind, facts.before, facts.wanted_record
    record = before.known_record
    found = changes(kind, None, wanted) if record is None else facts.unmet_by(record)
    roles = before.roles if kind == GROUP and before.seen else None
    effect = _unchanged(facts)._replace(
        changed=bool(found),
        changes=found,
        operations=(_operation(facts, record),) if found else (),
        states=States(record, dict(record or {}, **overlaid(record, wanted)), roles, roles),
    )
    return members.predicted(facts, effect, record is None)


def _operation(facts: Facts, record: Json | None) -> Operation:
    """The write of the record itself."""
    wanted = facts.wanted_record
    address = facts.kind.address(wanted)
    if record is None:
        return by_authentik("POST", facts.kind, address, body=wanted)
    # As the sync itself will be told: by the address that the record has then.
    return by_authentik("PUT", facts.kind, address or address_of(record), body=wanted)


def _creates(facts: Facts) -> bool:
    """Whether authentik would try to create the record."""
    before = facts.before
    return before.known_record is None and (before.row is None or before.seen)


def _unchanged(facts: Facts) -> Effect:
    """Nothing would change, as far as it was read."""
    effect = nothing(facts.kind, facts.before)
    return effect._replace(basis="google" if facts.before.seen else "connection")


def _refused(facts: Facts, reason: str, remedy: str) -> Conclusion:
    return failed(facts, _unchanged(facts), "sync_failed", reason, remedy)


def _unpredictable(facts: Facts, why: str) -> Conclusion:
    effect = nothing(facts.kind, facts.before)._replace(changed=True, basis="assumed")
    text = f"What a sync of {facts.title} would change cannot be predicted, so that it would is assumed: {why}."
    return concluded(facts, effect, "unconfirmed", text)


def _addresses(facts: Facts) -> list[str]:
    """The addresses that the wanted record names, its own first."""
    wanted = facts.wanted_record
    found = [facts.kind.address(wanted)]
    if facts.kind == USER:
        found += [str(item.get("address") or "") for item in wanted.get("emails") or [] if isinstance(item, dict)]
    return found


def _domain(address: str) -> str:
    return address.rpartition("@")[2]
