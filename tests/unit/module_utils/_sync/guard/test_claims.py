# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two objects, one record: whoever comes first, the same one gets it, and never two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._sync.guard.claims import LEVELS, Claims, keys

levels = st.integers(min_value=0, max_value=LEVELS - 1)
wishes = st.builds(
    lambda record, address, to_record, to_address: keys(record, address, to_record, to_address),
    st.sampled_from(["", "r1", "r2"]),
    st.sampled_from(["", "a@x.test", "A@X.test", "b@x.test"]),
    levels,
    levels,
)


def holders(wanted: list[dict[str, int]]) -> dict[str, dict[str, int]]:
    """Who is left when all have claimed, one after the other, as the engine uses it."""
    found: dict[str, dict[str, int]] = {}
    book = Claims()
    for number, wish in enumerate(wanted):
        losing, lost_to = book.add(str(number), wish, {})
        for pk in losing:
            found.pop(pk, None)
        if not lost_to:
            found[str(number)] = wish
    return found


@given(st.lists(wishes, min_size=1, max_size=6))
def test_no_two_hold_one_record_or_one_address(drawn):
    held = [key for wish in holders(drawn).values() for key in wish]
    assert len(held) == len(set(held))


@given(st.permutations([0, 1, 2]))
def test_the_best_claim_has_it_whoever_comes_first(order):
    left = holders([keys("r1", "", level, 0) for level in order])
    assert list(left.values()) == [{"r1": 2}]


@given(st.lists(st.just(1), min_size=2, max_size=4))
def test_equals_get_nothing(levels_of):
    book = Claims()
    told = [book.add(str(pk), keys("", "a@x.test", 0, level), {}) for pk, level in enumerate(levels_of)]
    assert told[0] == ([], [])
    assert all(("0" in losing, "0" in lost_to) == (True, True) for losing, lost_to in told[1:])


def test_somebody_outside_of_the_book_is_asked_too():
    book = Claims()
    assert book.add("1", keys("r1", "", 0, 0), {"2": 2}) == ([], ["2"])
    assert "r1" not in book
    assert book.add("2", keys("r1", "", 2, 0), {"2": 2, "3": 0}) == (["3"], [])
    assert book.holder("r1") == ("2", 2)
    assert book.add("2", keys("r1", "", 1, 0), {}) == ([], [])
    assert book.holder("r1") == ("2", 1)
