# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two objects, one record: whoever comes first, the same one gets it, and never two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._sync.guard.claims import (
    BY_ADDRESS,
    BY_ID,
    NOT,
    Claim,
    Claims,
    tie,
)

RECORD = {"id": "r1", "primaryEmail": "ada@x.test", "aliases": ["a@x.test"]}
claims = st.builds(
    lambda record, address, strength: (record, address, strength if record else NOT),
    st.sampled_from(["", "r1", "r2"]),
    st.sampled_from(["", "a@x.test", "A@X.test", "b@x.test"]),
    st.sampled_from([BY_ID, BY_ADDRESS, NOT]),
)


def holders(wanted: list[Claim]) -> dict[str, Claim]:
    """Who is left when all have claimed, one after the other, as the engine uses it."""
    found: dict[str, Claim] = {}
    book = Claims()
    strengths = {(item.pk, item.record_id): item.tie for item in wanted}
    for claim in wanted:
        ties = {pk: strengths.get((pk, claim.record_id), NOT) for pk in found}
        losing, lost_to = book.add(claim, (), lambda pk, ties=ties: ties.get(pk, NOT))  # type: ignore[misc]
        for pk in losing:
            found.pop(pk, None)
        if not lost_to:
            found[claim.pk] = claim
    return found


@given(st.lists(claims, min_size=1, max_size=6))
def test_no_two_hold_one_record_or_one_address(drawn):
    wanted = [Claim(str(number), *item) for number, item in enumerate(drawn)]
    left = holders(wanted)
    records = [claim.record_id for claim in left.values() if claim.record_id]
    addresses = [claim.address.lower() for claim in left.values() if claim.address]
    assert len(records) == len(set(records))
    assert len(addresses) == len(set(addresses))


@given(st.permutations([BY_ID, BY_ADDRESS, NOT]))
def test_the_one_connected_by_its_id_has_it_whoever_comes_first(order):
    left = holders([Claim(str(strength), "r1", "", strength) for strength in order])
    assert list(left) == [str(BY_ID)]


def test_equals_get_nothing():
    book = Claims()
    assert book.add(Claim("1", "", "a@x.test", NOT), (), lambda pk: NOT) == ([], [])
    assert book.add(Claim("2", "", "A@X.test", NOT), (), lambda pk: NOT) == (["1"], ["1"])


def test_somebody_connected_who_wants_nothing_is_asked_too():
    book = Claims()
    assert book.add(Claim("1", "r1", "", NOT), ["2"], lambda pk: BY_ID) == ([], ["2"])
    assert "r1" not in book
    assert book.add(Claim("2", "r1", "", BY_ID), ["2"], lambda pk: BY_ID) == ([], [])
    assert "r1" in book


def test_how_a_connection_leads_to_a_record():
    assert tie({"google_id": "x", "attributes": {"id": "r1"}}, RECORD) == BY_ID
    assert tie({"google_id": "ada@x.test", "attributes": {}}, RECORD) == BY_ADDRESS
    assert tie({"google_id": "A@x.test", "attributes": None}, RECORD) == BY_ADDRESS
    assert tie({"google_id": "b@x.test", "attributes": {}}, RECORD) == NOT
    assert tie(None, RECORD) == tie({"google_id": "ada@x.test"}, None) == NOT
