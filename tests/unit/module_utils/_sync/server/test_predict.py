# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""predict() walked completely: from every combination of first facts, with every answer to every question it asks."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER, Kind
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.conclusion import Conclusion
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.facts import Facts, Question, Wanted
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.observation import Observation
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.predict import predict

from . import walk

# What mappings can give besides the wanted values: no name, an address outside the domains, none at all.
NAMELESS = {"primaryEmail": "ada@corp.example.com", "name": {"givenName": "", "familyName": "Lovelace"}}
OUTSIDE = {USER: {**walk.WANTED[USER], "primaryEmail": "ada@x.test"}, GROUP: {"email": "staff@x.test", "name": "staff"}}
ADDRESSLESS = {USER: {**walk.WANTED[USER], "primaryEmail": ""}, GROUP: {"email": "", "name": "staff"}}


def first_facts(kind: Kind) -> list[Facts]:
    """All combinations of what is known before anything is asked; some mappings were evaluated already."""
    found = []
    wanted = [None, Wanted(OUTSIDE[kind]), Wanted(ADDRESSLESS[kind]), *([Wanted(NAMELESS)] if kind == USER else [])]
    for before, has_tasks in itertools.product(walk.before(kind), (False, True)):
        start = walk.start(kind, before, has_tasks=has_tasks, check_mode=True)
        found += [start._replace(wanted=item) for item in wanted]
        if before.adopting:
            found += [
                start._replace(lists_first=lists, owners_known=known, name=name, address=name)
                for lists, known, name in itertools.product((False, True), (False, True), ("crew", start.address))
            ]
    return [*found, walk.start(kind, Observation(), verify="none", check_mode=True)]


def check(facts: Facts, conclusion: Conclusion) -> None:
    effect, status, failure, before = conclusion.effect, conclusion.status, conclusion.failure, facts.before
    record = before.known_record
    assert (status == "failed") == (failure is not None)
    assert (status == "out_of_scope") == bool(conclusion.left_out)
    assert status in ("failed", "out_of_scope", "unconfirmed", "unchanged", "synced")
    if failure is not None:
        assert failure.code and failure.reason and failure.remedy and failure.fails_task
        assert facts.title in failure.text and failure.text.endswith(".") and ".." not in failure.text, failure.text
    if Question.HOLDER in facts.answered:
        # Only what would be created can meet a record that has its address.
        assert before.seen and before.record is None
    if effect.basis == "google":
        assert before.seen
    if effect.basis == "connection":
        assert before.rows is not None and not before.seen
    if effect.basis == "nothing_sent":
        assert not effect.changed and (failure is not None or conclusion.left_out)
    if effect.basis == "assumed":
        assert effect.changed and conclusion.warnings and not before.seen or status == "unconfirmed"
    else:
        assert effect.changed == bool(effect.changes) == bool(effect.operations)
    if status == "unconfirmed":
        assert effect.changed and effect.basis == "assumed" and not effect.operations
    if status in ("synced", "unchanged"):
        assert not facts.mapping_problem and (facts.assigned or not facts.has_tasks)
        assert effect.changed or status == "unchanged"
        # Once authentik has done this, nothing is left to do.
        assert facts.unmet_by(effect.states.after) == []
        if before.adopting and record is not None and facts.unmet_by(record):
            # authentik writes to it only if its listing shows it under the very e-mail or name, and no connection leads elsewhere.
            assert facts.lists_first and before.row is None
            assert (record["primaryEmail"] == facts.address) if facts.kind == USER else (record["name"] == facts.name)
    members = [item for item in effect.operations if item.resource == "member"]
    if members:
        assert before.seen and facts.kind == GROUP and not before.members
        assert [item.key for item in members] == ["ada@corp.example.com"]
        assert effect.states.members_after == {"ada@corp.example.com": "MEMBER"}
    writes = [item for item in effect.operations if item.resource == facts.kind]
    assert len(writes) + len(members) == len(effect.operations)
    if status in ("synced", "unchanged"):
        assert bool(writes) == (record is None or bool(facts.unmet_by(record)))
    if writes:
        expected = ("POST", facts.kind.address(facts.wanted_record)) if record is None else None
        # By the address that it will have, as the sync itself tells it.
        address = facts.kind.address(facts.wanted_record) or facts.kind.address(record)
        assert (writes[0].method, writes[0].key) == (expected or ("PUT", address))


@pytest.mark.parametrize("kind", [USER, GROUP])
def test_every_prediction_is_true_of_its_facts(kind):
    reached: Counter[tuple[str, str | None]] = Counter()
    asked: set[Question] = set()
    for first in first_facts(kind):
        for facts, conclusion in walk.ways(predict, first):
            try:
                check(facts, conclusion)
            except AssertionError as exc:
                raise AssertionError(f"{exc}\n{facts}\n{conclusion}") from exc
            reached[conclusion.status, conclusion.failure.code if conclusion.failure else None] += 1
            asked |= facts.answered
    codes = ("not_assigned", "mapping_failed", "mapping_empty", "sync_failed", "conflict", "not_written")
    statuses = ("synced", "unchanged", "unconfirmed", "out_of_scope")
    assert set(reached) == {("failed", code) for code in codes} | {(status, None) for status in statuses}
    assert asked == {
        Question.ASSIGNED,
        Question.WANTED,
        Question.WANTED_NEW,
        Question.DOMAINS,
        Question.HOLDER,
        *([Question.MEMBER_CONNECTIONS] if kind == GROUP else []),
    }
    print(f"{sum(reached.values())} predictions of {len(first_facts(kind))} first facts: {dict(reached)}")


def test_what_nothing_prevents_is_not_failed():
    """Assigned, mapped, within the domains, held by nothing, not merely linked: it is planned."""
    planned = 0
    for kind in (USER, GROUP):
        for before in walk.before(kind):
            if before.adopting or not before.seen:
                continue
            for facts, conclusion in walk.ways(predict, walk.start(kind, before, check_mode=True)):
                domains_fit = "corp.example.com" in facts.domains or Question.DOMAINS not in facts.answered
                if facts.assigned and not facts.mapping_problem and domains_fit and not facts.holder:
                    assert conclusion.status in ("synced", "unchanged"), (facts, conclusion)
                    planned += 1
    assert planned
