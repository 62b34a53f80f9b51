# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sequences in which a claim was false once, or a traceback was printed; each is walked as it was found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.truth.machine import walk

DOMAIN = "corp.example.com"
ADA: dict[str, Any] = {"name": "ada", "options": {}, "key": None, "check": False}
BODY = {"givenName": "Some", "familyName": "Body"}
DENIED = {"method": "GET", "path": "/core/users", "status": 404, "times": 1, "skip": 0}
FOUND = {
    "a token endpoint that answers with a list": [
        ("begin", {"version": "2025.12.4"}),
        (
            "go_wrong",
            {
                "wrong": (
                    "google",
                    {
                        "body": "[]",
                        "content_type": "application/json",
                        "method": "POST",
                        "path": "/token",
                        "times": 1,
                        "skip": 0,
                    },
                )
            },
        ),
        ("sync_group_by_the_server", {"group": "Team", "verify": "auto", "check": False}),
        ("sync_person_directly", ADA),
    ],
    "a row that authentik's listing renewed, and a mapping that skips": [
        ("begin", {"version": "2025.12.4"}),
        ("sync_group_directly", {"group": "Team", "membership": "add", "options": {}, "check": False}),
        ("assign_mapping", {"name": "zz group skip"}),
        ("sync_group_by_the_server", {"group": "Team", "verify": "connection", "check": False}),
    ],
    "a row for another group of the same name": [
        ("begin", {"version": "2025.12.4"}),
        ("sync_group_by_the_server", {"group": "Team", "verify": "auto", "check": False}),
        ("change_google", {"change": ("RENEW", f"groups/team@{DOMAIN}", {"name": "Team"})}),
        ("sync_group_by_the_server", {"group": "Team", "verify": "connection", "check": False}),
    ],
    "somebody else has the old address by now": [
        ("begin", {"version": "2025.12.4"}),
        ("sync_person_by_the_server", {"name": "ada", "verify": "auto", "options": {}, "check": False}),
        ("change_authentik", {"change": ("PATCH", "users/ada", {"email": f"ada.new@{DOMAIN}"})}),
        ("change_google", {"change": ("RENEW", f"users/ada@{DOMAIN}", {"name": {"givenName": "Some"}})}),
        ("sync_person_directly", ADA),
        ("sync_person_directly", {**ADA, "check": True}),
    ],
    "an account that Google does not show yet, and another name by then": [
        ("begin", {"version": "2025.12.4"}),
        ("go_wrong", {"wrong": ("lag", {"lag_ms": 60})}),
        ("sync_person_directly", ADA),
        ("change_authentik", {"change": ("PATCH", "users/ada", {"name": "Ada Two"})}),
        ("sync_person_directly", ADA),
        ("calm", {}),
        ("sync_person_directly", ADA),
    ],
    "another group has the address, whose name authentik does not look for": [
        ("begin", {"version": "2025.12.4"}),
        ("sync_group_by_the_server", {"group": "Staff", "verify": "auto", "check": False}),
        ("change_google", {"change": ("RENEW", f"groups/staff@{DOMAIN}", {"name": "Other"})}),
        ("sync_group_by_the_server", {"group": "Staff", "verify": "auto", "check": True}),
        ("sync_group_by_the_server", {"group": "Staff", "verify": "auto", "check": True}),
    ],
    "an account under an address that has another case in authentik": [
        ("begin", {"version": "2025.12.4"}),
        ("change_google", {"change": ("POST", "users", {"primaryEmail": f"ada@{DOMAIN}", "name": BODY})}),
        ("change_authentik", {"change": ("PATCH", "users/ada", {"email": f"Ada@{DOMAIN}"})}),
        ("sync_person_by_the_server", {"name": "ada", "verify": "auto", "options": {}, "check": True}),
    ],
    "an address that moved to an account that was there": [
        ("begin", {"version": "2025.12.4"}),
        ("sync_person_by_the_server", {"name": "ada", "verify": "auto", "options": {}, "check": False}),
        ("change_authentik", {"change": ("PATCH", "users/ada", {"email": f"ada.new@{DOMAIN}"})}),
        ("change_google", {"change": ("DELETE", f"users/ada@{DOMAIN}", None)}),
        ("change_google", {"change": ("POST", "users", {"primaryEmail": f"ada.new@{DOMAIN}", "name": BODY})}),
        ("sync_person_by_the_server", {"name": "ada", "verify": "auto", "options": {}, "check": True}),
    ],
    "a dry run asked about a sync that would override it, with nothing to do": [
        ("begin", {"version": "2025.12.4"}),
        ("sync_person_by_the_server", {"check": False, "name": "ada", "options": {}, "verify": "auto"}),
        ("change_authentik", {"change": ("PATCH", "providers/1", {"dry_run": True})}),
        (
            "sync_person_by_the_server",
            {"check": True, "name": "ada", "options": {"override_dry_run": True}, "verify": "auto"},
        ),
    ],
    "members that Google did not show at first": [
        ("begin", {"version": "2025.8.6"}),
        ("go_wrong", {"wrong": ("lag", {"update_lag_ms": 60})}),
        ("sync_group_by_the_server", {"check": False, "group": "Team", "verify": "auto"}),
        ("sync_group_directly", {"check": False, "group": "Team", "membership": "add", "options": {}}),
        ("sync_group_by_the_server", {"check": False, "group": "Team", "verify": "auto"}),
    ],
    "a new account that no mapping gives a name": [
        ("begin", {"version": "2025.12.4"}),
        ("assign_mapping", {"name": "zz notes"}),
        ("take_mapping_away", {"names": ["authentik default Google Workspace Mapping: User"]}),
        ("sync_person_by_the_server", {"check": True, "name": "ada", "options": {}, "verify": "auto"}),
        ("sync_person_directly", {**ADA, "check": True}),
    ],
    "a new group that no mapping gives a name": [
        ("begin", {"version": "2025.12.4"}),
        ("assign_mapping", {"name": "zz description"}),
        ("take_mapping_away", {"names": ["authentik default Google Workspace Mapping: Group"]}),
        ("sync_group_by_the_server", {"check": True, "group": "Team", "verify": "auto"}),
        ("sync_group_directly", {"group": "Team", "membership": "add", "options": {}, "check": True}),
    ],
    "a person by primary key, of whom authentik says once that there is none": [
        ("begin", {"version": "2025.12.4"}),
        ("go_wrong", {"wrong": ("authentik", DENIED)}),
        ("sync_person_directly", {**ADA, "name": "6", "options": {"out_of_scope": "fail"}}),
        ("go_wrong", {"wrong": ("authentik", DENIED)}),
        ("sync_person_directly", {**ADA, "name": "6"}),
        ("sync_person_directly", {**ADA, "name": "6"}),
    ],
}


@pytest.mark.parametrize("story", FOUND.values(), ids=FOUND)
def test_no_claim_is_false_any_more(story):
    walk(story)
