# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""decide() walked completely: from every combination of first facts, with every answer to every question it asks.

What must hold of each conclusion is said here by itself, from the facts alone; nothing is compared with examples.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER, Kind
from ansible_collections.dirsync.authentik.plugins.module_utils._objects.difference import changes, member_changes
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.conclusion import Conclusion
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.decide import decide
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.facts import Facts, Question, Reply
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.messages import Verdict
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server.observation import Observation

from . import walk

DUPLICATE = "duplicate key value violates unique constraint"
CLEAN = tuple(Verdict(started=item) for item in (None, False, True))
FAILED = (
    Verdict(["Failed to sync ada"], True, "Google says no", "Ask Google.", True),
    Verdict(["Failed to sync ada"], False, "Google says no", "", True),
    Verdict(["Invalid email domain"], True, "Invalid email domain", "Change it.", True, (), True),
    Verdict([DUPLICATE], True, "a stored connection differs", "Delete it.", True),
)
# reply, task_seen, task_problem, has_tasks: the request got no usable answer, and the end is not known.
UNANSWERED = (
    *((Reply("no answer."), seen, problem, True) for seen, problem in ((False, ""), (False, "none"), (True, ""))),
    (Reply("no answer.", 503), False, "ambiguous", True),
    *((Reply("no answer.", 405, page), False, "", False) for page in (False, True)),
)


def first_facts(kind: Kind) -> list[Facts]:
    """All combinations of what is known when the messages were read."""
    found = []
    for before in walk.before(kind):
        start = walk.start(kind, before)
        found += [start._replace(verdict=verdict) for verdict in (*CLEAN, *FAILED)]
        found += [start._replace(verdict=CLEAN[2], owners_known=True)] if before.adopting else []
        found += [
            start._replace(
                reply=reply, ended=False, task_seen=seen, task_problem=problem, has_tasks=has_tasks, verdict=verdict
            )
            for reply, seen, problem, has_tasks in UNANSWERED
            for verdict in ((CLEAN[0], *FAILED[2:]) if seen else CLEAN[:1])
        ]
        found += [
            start._replace(verdict=walk.held_back(kind, record), check_mode=check_mode, override_dry_run=override)
            for record in (walk.WANTED[kind], walk.DRIFTED[kind])
            for check_mode, override in itertools.product((False, True), repeat=2)
        ]
    not_read = walk.start(kind, Observation(), verify="none")
    found += [not_read._replace(verdict=verdict) for verdict in (*CLEAN, *FAILED)]
    return found


def hidden(facts: Facts) -> bool:
    """Whether Google did not show a record that was there: authentik was connected with it before."""
    before, after = facts.before, facts.seen_after
    if before.record is not None or after.record is None or before.row is None:
        return False
    known = before.attributes.get("id")
    if known:
        return known == after.record["id"]
    return after.row is not None and after.row["id"] == before.row["id"]


def really_changed(facts: Facts) -> bool:
    """Whether what Google showed before and after differs."""
    before, after = facts.before, facts.seen_after
    found = changes(facts.kind, before.record, after.record)
    return bool(found or (facts.kind == GROUP and member_changes(before.roles, after.roles)))


def check_basis(facts: Facts, conclusion: Conclusion) -> None:
    effect, after = conclusion.effect, facts.seen_after
    assert effect.basis in ("google", "connection", "assumed")
    if facts.verdict.dry_run:
        assert effect.basis != "google" or facts.before.seen
        return
    if effect.basis == "google":
        assert facts.before.seen and after.seen and not hidden(facts)
        assert not (facts.before.incomplete and facts.before.record is None and after.record is not None)
        # What was not searched for before says something only of a sync of which nothing else is known.
        assert not facts.before.incomplete or facts.verdict.failures or facts.reply is not None
        assert effect.changed == really_changed(facts) == bool(effect.changes)
    if effect.basis == "connection":
        # authentik's record of it, before or after; the other state is that, or Google's.
        assert after.rows is not None or hidden(facts)
        assert facts.before.rows is not None or facts.before.seen
        renewed = bool(after.row and facts.before.row and after.row["id"] != facts.before.row["id"])
        assert effect.changed == bool(effect.changes) or renewed
        if renewed and effect.changed and not after.seen:
            # A new connection proves a new record only if Google was seen not to have one.
            assert facts.before.seen and facts.before.record is None and not facts.before.incomplete
    if effect.basis == "assumed" and effect.changed:
        assert conclusion.warnings


def check_failure(facts: Facts, conclusion: Conclusion) -> None:
    failure = conclusion.failure
    assert (conclusion.status == "failed") == (failure is not None)
    if failure is None:
        return
    assert failure.code and failure.reason and failure.remedy, failure
    assert failure.text.endswith(".") and ".." not in failure.text and "  " not in failure.text, failure.text
    assert facts.title in failure.text
    if failure.code.startswith("mapping_") and conclusion.effect.basis == "google":
        # A mapping that fails now need not have failed a sync that began to write.
        assert not facts.verdict.started or facts.seen_after.record is None
    # Only the levels of authentik's messages that nobody wants to fail on let a task go on.
    assert failure.fails_task or (facts.verdict.failures and not facts.verdict.fails_task)


def check_status(facts: Facts, conclusion: Conclusion) -> None:
    effect, status, after = conclusion.effect, conclusion.status, facts.seen_after
    assert status in ("failed", "out_of_scope", "unconfirmed", "unchanged", "synced", "dry_run")
    assert (status == "out_of_scope") == bool(conclusion.left_out)
    if status == "out_of_scope":
        assert facts.mapping_problem == "skip"
        assert not effect.changed or after.record is None
    if status == "unconfirmed":
        assert conclusion.warnings
        if "answered authentik with the expected values" in conclusion.warnings[-1]:
            assert facts.unmet_by(after.attributes) == [] != facts.unmet_by(after.record)
    if any("Google accepted the update" in text for text in conclusion.warnings):
        assert facts.verdict.started and after.attributes
        assert not facts.before.adopting or effect.basis != "google"
    if status == "dry_run":
        assert facts.verdict.dry_run and not effect.changed
    if status not in ("synced", "unchanged") or facts.verdict.dry_run:
        return
    assert effect.changed or status == "unchanged"
    # Of a group's members authentik's connection says nothing.
    assert not effect.changed or status == "synced"
    assert not facts.verdict.failures and facts.verdict.started is not False
    assert not facts.mapping_problem and facts.verify != "none"
    assert facts.before.rows is not None or facts.before.seen
    if facts.wanted is not None:
        rests_on = [after.record] if after.seen and not facts.before.incomplete else [after.record, after.attributes]
        assert any(facts.unmet_by(item) == [] for item in rests_on)
    else:
        # Not asked for: something changed in a record that authentik is connected with, and nothing bad was reported.
        assert after.seen and effect.changed and not facts.before.adopting


def check_operations(facts: Facts, conclusion: Conclusion) -> None:
    """Two reads of Google prove a write of the record if it differs, and one for each new member."""
    before, after, effect = facts.before, facts.seen_after, conclusion.effect
    if effect.basis != "google" or facts.verdict.dry_run:
        return
    created = before.record is None or after.record is None or before.record["id"] != after.record["id"]
    known = set() if created else {item["email"] for item in before.members}
    writes: list[tuple[str, str, str]] = []
    if after.record is not None and changes(facts.kind, before.record, after.record):
        writes.append(("POST" if created else "PUT", facts.kind, ""))
    if after.record is not None:
        writes += [
            ("POST", "member", facts.kind.address(after.record)) for item in after.members if item["email"] not in known
        ]
    assert [(item.method, item.resource, item.group) for item in effect.operations] == writes


def check_members(facts: Facts, conclusion: Conclusion) -> None:
    """Whether the group's only member is added, left out or not shown yet, by the id that Google knows the account by."""
    after, text = facts.seen_after, " ".join(conclusion.warnings)
    is_shown = any(item["id"] == "9" for item in after.members)
    is_connected = bool((facts.member_connections or {}).get("1"))
    if "does not show these members" in text:
        assert conclusion.status == "unconfirmed" and is_connected and not is_shown
    if facts.kind == GROUP and conclusion.status in ("synced", "unchanged") and conclusion.effect.basis == "google":
        assert is_shown or not is_connected or facts.reply is not None or facts.verdict.dry_run
    if conclusion.skipped_members:
        assert conclusion.skipped_members == ["ada"] and not is_connected
    if "Whether members of" in text:
        assert facts.kind == GROUP and not conclusion.effect.changes and conclusion.effect.basis == "assumed"


def check_rest(facts: Facts, conclusion: Conclusion) -> None:
    effect = conclusion.effect
    if effect.operations:
        assert effect.changed or facts.verdict.dry_run
    assert conclusion.http_status == (facts.reply.http_status if facts.reply is not None else None)
    if conclusion.skipped_members:
        assert facts.kind == GROUP and conclusion.warnings
    if facts.verdict.failures and not facts.verdict.dry_run:
        assert conclusion.status == "failed"
    if facts.verdict.started is False:
        assert conclusion.status in ("failed", "unconfirmed", "out_of_scope")


@pytest.mark.parametrize("kind", [USER, GROUP])
def test_every_conclusion_is_true_of_its_facts(kind):
    reached: Counter[tuple[str, str | None]] = Counter()
    asked: set[Question] = set()
    for first in first_facts(kind):
        for facts, conclusion in walk.ways(decide, first):
            for check in (check_basis, check_failure, check_status, check_operations, check_members, check_rest):
                try:
                    check(facts, conclusion)
                except AssertionError as exc:
                    raise AssertionError(f"{check.__name__}: {exc}\n{facts}\n{conclusion}") from exc
            reached[conclusion.status, conclusion.failure.code if conclusion.failure else None] += 1
            asked |= facts.answered
    codes = ["sync_failed", "google_not_reached", "not_written", "mapping_failed", "mapping_empty"]
    codes += ["sync_unfinished", "sync_unanswered"]
    assert set(reached) == {("failed", code) for code in codes} | {
        (status, None) for status in ("synced", "unchanged", "unconfirmed", "out_of_scope", "dry_run")
    }
    only_predicted = {Question.ASSIGNED}
    of_groups = {Question.MEMBER_CONNECTIONS, Question.MEMBERS_SHOWN}
    assert asked == set(Question) - only_predicted - (of_groups if kind == USER else set())
    print(f"{sum(reached.values())} conclusions of {len(first_facts(kind))} first facts: {dict(reached)}")


def test_deciding_changes_no_fact_and_gives_the_same_again():
    for first in first_facts(GROUP)[::41]:
        for facts, conclusion in walk.ways(decide, first):
            kept = copy.deepcopy(facts)
            assert decide(facts) == conclusion
            assert facts == kept
