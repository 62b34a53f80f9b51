# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one text for an address that another record at Google has."""

from __future__ import annotations

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._objects.record import held_text

GRACE = {"primaryEmail": "Grace@corp.example.com"}
TEAM = {"email": "team@corp.example.com"}


@pytest.mark.parametrize(
    ("address", "holder", "another", "more", "text"),
    [
        (
            "g@corp.example.com",
            GRACE,
            "another user",
            (),
            "g@corp.example.com is an alias of another user at Google, Grace@corp.example.com, which is left alone. Change the "
            "address in authentik. Only if nobody needs the alias there, remove it at Google.",
        ),
        (
            "grace@corp.example.com",
            GRACE,
            "another user",
            (),
            "grace@corp.example.com is the address of another user at Google, Grace@corp.example.com, which is left alone. "
            "Change the address in authentik. Only if nobody needs it there, free it at Google.",
        ),
        (
            "team@corp.example.com",
            TEAM,
            "the group",
            ("which authentik would overwrite. Nothing was sent", "the e-mail in authentik"),
            "team@corp.example.com is the address of the group team@corp.example.com at Google, which authentik would "
            "overwrite. Nothing was sent. Change the e-mail in authentik. Only if nobody needs it there, free it at Google.",
        ),
    ],
)
def test_whose_an_address_is_and_what_to_do(address, holder, another, more, text):
    assert held_text(address, another, holder, *more) == text
