# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a listing ends."""

from __future__ import annotations

from ansible_collections.dirsync.authentik.plugins.module_utils._common.listing import EMPTY_IN_A_ROW, Listing


def page(*numbers):
    return [{"id": str(number)} for number in numbers]


def test_a_listing_of_new_objects_goes_on():
    listing = Listing(6)
    assert listing.take(page(1, 2), 6, "a") == ""
    # One that moved from one page to the next while they are read.
    assert listing.take(page(2, 3), 6, "b") == ""
    assert listing.take(page(4, 5), 6) == ""


def test_more_than_the_most_or_than_announced_ends_it():
    assert "more than 3 objects" in Listing(3).take(page(1, 2, 3, 4))
    assert "announced with 1 objects" in Listing().take(page(1, 2), 1)


def test_a_token_or_a_page_that_was_there_before_ends_it():
    listing = Listing()
    assert listing.take(page(1), token="a") == ""
    assert "a page that was read before" in listing.take(page(2), token="a")
    listing = Listing()
    assert listing.take(page(1, 2), token="a") == ""
    assert "shown before" in listing.take(page(2, 1), token="b")
    listing = Listing(repeats=True)
    assert listing.take(page(1)) == listing.take(page(1)) == ""


def test_empty_pages_end_it():
    listing = Listing()
    found = [listing.take([], token=str(number)) for number in range(EMPTY_IN_A_ROW + 1)]
    assert found[:-1] == [""] * EMPTY_IN_A_ROW
    assert "pages in a row are empty" in found[-1]
