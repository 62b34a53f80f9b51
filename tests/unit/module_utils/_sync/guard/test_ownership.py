# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose record it is: walked completely."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER
from ansible_collections.dirsync.authentik.plugins.module_utils._objects.connection import BY_ADDRESS, BY_ID, NOT
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.guard import ownership
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.guard.ownership import (
    CONTESTED,
    OWN,
    THEIRS,
    UNDECIDED,
    Rivals,
    verdict,
)

RECORD = {"id": "r1", "primaryEmail": "ada@x.test", "aliases": ["a@x.test"]}
NAMES: tuple[tuple[str, ...], ...] = ((), ("user bob",))
CASES = [
    (how, wants, Rivals(by_id, by_address, wanting))
    for how, wants, by_id, by_address, wanting in itertools.product(
        (BY_ID, BY_ADDRESS, NOT), (True, False), NAMES, NAMES, NAMES
    )
]


@pytest.mark.parametrize(("how", "wants", "rivals"), CASES)
def test_every_case(how, wants, rivals):
    found = verdict(how, wants, rivals)
    # Whoever is connected by the immutable id has it, and nobody else ever does.
    assert (found == OWN) <= (not rivals.by_id)
    if how == BY_ID:
        assert found == (CONTESTED if rivals.by_id else OWN)
    # Without an id, it is one's own only if one is the only one to want its address.
    elif found == OWN:
        assert wants
        assert not rivals.wanting
        assert how == BY_ADDRESS or not rivals.by_address
    # Nobody else is in sight: it is one's own, or nobody can tell; it is never called somebody else's.
    if rivals == Rivals():
        assert found == (OWN if wants or how == BY_ID else UNDECIDED)
    else:
        assert found != UNDECIDED
    assert (found == THEIRS) <= (not wants)


def test_the_mark_stands_beside_what_is_there():
    other = {"type": "organization", "value": "7"}
    record = {"externalIds": [other, {"type": "custom", "customType": "authentik", "value": "old"}]}
    assert ownership.mark_of(record) == "old"
    assert ownership.mark_of({"externalIds": [other]}) == ownership.mark_of(None) == ""
    wanted = ownership.marked({"name": {}}, record, "new")
    assert wanted["externalIds"][0] == other
    assert ownership.mark_of(wanted) == "new"
    assert ownership.marked(wanted, record, "new") == wanted
    assert ownership.marked({"externalIds": []}, record, "new")["externalIds"] == [
        {"type": "custom", "customType": "authentik", "value": "new"}
    ]


@pytest.mark.parametrize(("kind", "word"), [(USER, "e-mail"), (GROUP, "name or address")])
def test_the_texts_name_both_objects_and_the_remedy(kind, word):
    text = ownership.contested_text("User ada", kind, "ada@x.test", ["user bob", "user alan"])
    assert all(part in text for part in ("User ada", "user alan and user bob", "ada@x.test", word, "state: absent"))
    text = ownership.undecided_text("User Ada", USER, RECORD, "new@x.test")
    assert all(part in text for part in ("user Ada", "ada@x.test", "new@x.test", "google_id: 'r1'", "state: absent"))
