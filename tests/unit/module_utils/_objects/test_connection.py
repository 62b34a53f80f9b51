# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a connection leads, and what it proves."""

from __future__ import annotations

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._objects.connection import (
    BY_ADDRESS,
    BY_ID,
    NOT,
    proves,
    tie,
)

RECORD = {"id": "r1", "primaryEmail": "ada@x.test", "aliases": ["a@x.test"]}


@pytest.mark.parametrize(
    ("row", "how"),
    [
        ({"google_id": "x", "attributes": {"id": "r1"}}, BY_ID),
        ({"google_id": "r1", "attributes": {}}, BY_ID),
        ({"google_id": "Ada@x.test", "attributes": {}}, BY_ADDRESS),
        ({"google_id": "A@x.test", "attributes": None}, BY_ADDRESS),
        ({"google_id": "ada@x.test", "attributes": {"id": "r0"}}, NOT),
        ({"google_id": "b@x.test", "attributes": {}}, NOT),
        # The id that authentik keeps of Google's answer counts before what it calls the record.
        ({"google_id": "r1", "attributes": {"id": "r0"}}, NOT),
        (None, NOT),
    ],
)
def test_how_a_connection_leads_to_a_record(row, how):
    assert tie(row, RECORD) == how
    assert tie(row, None) == NOT


@pytest.mark.parametrize(
    ("row", "address", "proven"),
    [
        ({"google_id": "other@x.test", "attributes": {"id": "r1"}}, "other@x.test", True),
        ({"google_id": "r1", "attributes": {}}, "other@x.test", True),
        ({"google_id": "Ada@x.test", "attributes": {}}, "ADA@x.test", True),
        ({"google_id": "ada@x.test", "attributes": {}}, "other@x.test", False),
        ({"google_id": "a@x.test", "attributes": {}}, "a@x.test", False),
        ({"google_id": "ada@x.test", "attributes": {"id": "r0"}}, "ada@x.test", False),
        (None, "ada@x.test", False),
    ],
)
def test_what_a_connection_proves_of_a_protected_account(row, address, proven):
    assert proves(row, RECORD, address) is proven
