# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections against what Google lists: which of them contradict it, in what, and which stop every sync."""

from __future__ import annotations

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import USER
from ansible_collections.dirsync.authentik.plugins.module_utils._objects.contradictions import compare_rows

ADA = {"id": "1", "primaryEmail": "ada@example.com", "name": {"givenName": "Ada"}, "aliases": ["countess@example.com"]}


@pytest.mark.parametrize(
    ("google_id", "attributes", "why", "stops"),
    [
        ("ada@example.com", ADA, None, False),
        ("ada@example.com", {**ADA, "etag": "x"}, "volatile", True),
        ("ada@example.com", {**ADA, "name": {"givenName": "Grace"}}, "attributes", True),
        ("ada@example.com", {}, "attributes", True),
        # The account under the address is another one by now, whatever else it says.
        ("ada@example.com", {**ADA, "id": "2"}, "other", True),
        ("countess@example.com", {**ADA, "primaryEmail": "countess@example.com"}, "renamed", False),
        ("countess@example.com", {"id": "2"}, "alias", False),
        ("gone@example.com", {"id": "2"}, "gone", False),
    ],
)
def test_what_contradicts_a_connection(google_id, attributes, why, stops):
    row = {"id": "r", "google_id": google_id, "attributes": attributes}
    found = compare_rows(USER, [row], [ADA])
    assert [(item.why, item.stops) for item in found] == ([] if why is None else [(why, stops)])
    if why is not None:
        assert found[0].record == (None if why == "gone" else ADA)
