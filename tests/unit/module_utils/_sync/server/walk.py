# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way through decide() and predict(): from all combinations of what is known first, with every answer to every question."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER, Kind
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.conclusion import Conclusion, Decision
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.facts import Facts, Question, Wanted
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.messages import Verdict
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.observation import Observation

Json = dict[str, Any]
# More questions than any way has.
MOST_QUESTIONS = 8

WANTED: dict[Kind, Json] = {
    USER: {"primaryEmail": "ada@corp.example.com", "name": {"givenName": "Ada", "familyName": "Lovelace"}},
    GROUP: {"email": "staff@corp.example.com", "name": "staff"},
}
# Google's records: as wanted, with another value, and another record with the wanted values.
AS_WANTED = {kind: {**record, "id": "1"} for kind, record in WANTED.items()}
DRIFTED: dict[Kind, Json] = {
    USER: {**AS_WANTED[USER], "name": {"givenName": "Adah", "familyName": "Lovelace"}},
    GROUP: {**AS_WANTED[GROUP], "name": "crew"},
}
REPLACED = {kind: {**record, "id": "2"} for kind, record in WANTED.items()}
UNKNOWN_ID = {kind: dict(record) for kind, record in WANTED.items()}

ANSWERS = (
    Wanted({}, "skip", "a mapping leaves it out"),
    Wanted({}, "failed", "a mapping fails"),
    Wanted({}, "empty", "no mapping yields anything"),
    Wanted({}, "unavailable", "no permission"),
)
# A member whom Google shows, one without a connection, and one whom Google does not show.
MEMBERS = ({"pk": 1, "username": "ada", "email": "ada@corp.example.com"},)
ADA = ({"email": "ada@corp.example.com", "id": "9", "role": "MEMBER"},)
# The same account under another address: the connection knows its id.
ADA_RENAMED = ({"email": "lovelace@corp.example.com", "id": "9", "role": "MEMBER"},)
CONNECTED: dict[str, list[Json]] = {"1": [{"google_id": "ada@corp.example.com", "attributes": {"id": "9"}}]}

MEMBER_CONNECTIONS: tuple[dict[str, list[Json]] | None, ...] = (None, {}, {"1": []}, CONNECTED)


def row(kind: Kind, attributes: Json | None, own_id: str = "a") -> Json:
    """A connection as authentik shows it."""
    return {"id": own_id, "google_id": "1" if kind == GROUP else WANTED[USER]["primaryEmail"], "attributes": attributes}


def rows_before(kind: Kind) -> list[list[Json] | None]:
    """Connections before: not readable, none, without Google's answer, and with each."""
    attributes: list[Json] = [{}, DRIFTED[kind], AS_WANTED[kind]]
    # Whose immutable id is not known is the same question for both kinds; groups have their members besides.
    attributes += [UNKNOWN_ID[kind]] if kind == USER else []
    return [None, [], *([row(kind, item)] for item in attributes)]


def rows_after(kind: Kind) -> list[list[Json] | None]:
    """Those, and with another connection than before."""
    attributes: list[Json] = [{}, AS_WANTED[kind], REPLACED[kind]]
    return [*rows_before(kind), *([row(kind, item, "b")] for item in attributes)]


def before(kind: Kind) -> Iterator[Observation]:
    """All that can be there before."""
    members = [(), ADA] if kind == GROUP else [()]
    for rows in rows_before(kind):
        yield Observation(rows=rows)
        for incomplete in (False, True) if kind == GROUP else (False,):
            yield Observation(rows=rows, seen=True, incomplete=incomplete)
        for record, adopting, found in itertools.product((DRIFTED[kind], AS_WANTED[kind]), (False, True), members):
            yield Observation(rows=rows, seen=True, record=record, adopting=adopting, members=found)


def after(facts: Facts) -> Iterator[Observation]:
    """All that can be there after."""
    kind = facts.kind
    if facts.verify == "none":
        yield Observation()
        return
    for rows in rows_after(kind):
        yield Observation(rows=rows)
    if facts.before.seen:
        members = [(), ADA] if kind == GROUP else [()]
        yield Observation(seen=True)
        for record, found in itertools.product((DRIFTED[kind], AS_WANTED[kind], REPLACED[kind]), members):
            yield Observation(seen=True, record=record, members=found)
        if kind == GROUP:
            yield Observation(seen=True, record=AS_WANTED[kind], members=ADA_RENAMED)


def answers(question: Question, facts: Facts) -> Iterator[Facts]:
    """The facts after each answer that a question can have."""
    kind, found = facts.kind, facts.seen_after
    shown = found._replace(record=AS_WANTED[kind], members=ADA if kind == GROUP else (), seen=True)
    options: dict[Question, Callable[[], list[Facts]]] = {
        Question.ASSIGNED: lambda: [facts._replace(assigned=item) for item in (False, True)],
        Question.WANTED: lambda: [facts._replace(wanted=item) for item in (Wanted(WANTED[kind]), *ANSWERS)],
        Question.WANTED_NEW: lambda: [facts._replace(wanted=item) for item in (Wanted(WANTED[kind]), *ANSWERS)],
        Question.DOMAINS: lambda: [facts._replace(domains=item) for item in ((), ("corp.example.com",), ("x.test",))],
        Question.HOLDER: lambda: [facts._replace(holder=item) for item in ("", "the group ada@corp.example.com")],
        Question.MEMBER_CONNECTIONS: lambda: [facts._replace(member_connections=item) for item in MEMBER_CONNECTIONS],
        Question.AFTER: lambda: [facts.with_after(item) for item in after(facts)],
        Question.CONNECTION: lambda: [facts._replace(after=found._replace(rows=item)) for item in rows_after(kind)],
        Question.RECORD_SHOWN: lambda: [
            facts,
            *(facts.with_after(shown._replace(record=item)) for item in (DRIFTED[kind], AS_WANTED[kind])),
        ],
        Question.VALUES_SHOWN: lambda: [facts, facts.with_after(shown)],
        Question.VALUES_REACHED: lambda: [facts, facts.with_after(shown)],
        Question.MEMBERS_SHOWN: lambda: [facts, facts.with_after(shown)],
        Question.STALE_CONNECTIONS: lambda: [facts._replace(stale=item) for item in ("", "Delete that connection.")],
        Question.TASK_PHASE: lambda: [facts._replace(task_phase="its task is still queued, and may still run")],
    }
    for item in options[question]():
        yield item._replace(answered=item.answered | {question})


def ways(rules: Callable[[Facts], Decision], facts: Facts) -> Iterator[tuple[Facts, Conclusion]]:
    """Every conclusion that can be reached from some facts, and the facts that it rests on.

    Raises AssertionError if a question is asked twice, or too many are.
    """
    decision = rules(facts)
    if isinstance(decision, Conclusion):
        yield facts, decision
        return
    assert decision not in facts.answered, (decision, facts)
    assert len(facts.answered) < MOST_QUESTIONS, facts
    for found in answers(decision, facts):
        yield from ways(rules, found)


def start(kind: Kind, found: Observation, **more: Any) -> Facts:
    """What is known before anything is asked."""
    members = {"members": MEMBERS, "has_members": True} if kind == GROUP else {}
    return Facts(
        kind=kind,
        title="user ada" if kind == USER else "group staff",
        address="ada@corp.example.com" if kind == USER else "",
        name="ada" if kind == USER else "staff",
        before=found,
        google_wait=60.0,
        sync_timeout=30.0,
        server_version="2025.6.4",
        **{**members, **more},
    )


def held_back(kind: Kind, record: Json) -> Verdict:
    """What the messages of a provider in dry run say."""
    request = {"method": "PUT", "resource": str(kind), "key": kind.address(record), "body": record}
    return Verdict(started=True, dry_run=[request])
