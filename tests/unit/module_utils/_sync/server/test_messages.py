# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What authentik's messages mean, and that none of them shows a secret."""

from __future__ import annotations

import json

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik import log_events
from ansible_collections.dirsync.authentik.plugins.module_utils._common.masking import MASK, mask, mask_text
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.server import messages

HASH = "pbkdf2_sha256$870000$Aq3bC$0f9a+/x="
DEFAULT = log_events.LEVELS[:5]


def event(text, level="warning", **attributes):
    return {
        "timestamp": "2026-01-01T00:00:00Z",
        "log_level": level,
        "logger": "x",
        "event": text,
        "attributes": attributes,
    }


def judged(*events, fail_on=DEFAULT, complete=True):
    return messages.judge(log_events.normalise(events), fail_on, complete)


def test_a_clean_log():
    verdict = judged(event("Task has been queued", "info"), event("Syncing page 1 or Users", "info"))
    assert (verdict.failures, verdict.started, verdict.fails_task) == ([], True, False)


def test_a_log_without_the_start_says_that_nothing_was_begun():
    assert judged(event("Task is being processed", "info")).started is False
    assert judged(complete=False).started is None


@pytest.mark.parametrize(
    ("line", "reason", "remedy"),
    [
        ("No provider found. Is it assigned to an application?", "not assigned", "application"),
        (
            "Failed to sync ada due to error: Invalid email domain: ada@x.test",
            "Invalid email domain: ada@x.test",
            "add the domain",
        ),
        ("Failed to sync ada due to error: Invalid email domain: ", "(no e-mail)", "e-mail"),
        ("Stopping sync due to error: Error No mappings configured, caused by ada", "no property mapping", "Assign"),
        (
            "Stopping sync due to error: Error , caused by ada (mapping Google Workspace Provider Mapping lab broken)",
            "property mapping 'lab broken' fails",
            "Correct the mapping",
        ),
        (
            "Failed to sync ada due to transient error: Failed to send request: <HttpError 503 when requesting https://x.test/ "
            'returned "Service unavailable". Details: "[]">',
            "Google answered 503: Service unavailable",
            "later",
        ),
        (
            "Failed to sync ada due to transient error: Failed to send request: <HttpError 403 when requesting https://x.test/ "
            'returned "Not Authorized to access this resource/api". Details: "[]">',
            "Google answered 403",
            "delegated subject",
        ),
        (
            'x <HttpError 403 when requesting https://x.test/ returned "Quota exceeded for quota metric". Details: "[]">',
            "Google answered 403",
            "later",
        ),
        (
            'x <HttpError 409 when requesting https://x.test/ returned "Entity already exists.". Details: "[]">',
            "Google answered 409: Entity already exists.",
            "look there who has it",
        ),
        (
            'x <HttpError 404 when requesting https://x.test/groups/1/members returned "Resource Not Found". Details: "[]">',
            "Google answered 404",
            "sync the members first",
        ),
        ("[Errno 111] Connection refused", "could not reach Google", "network"),
        ("('invalid_grant: Invalid email or User ID', {})", "service account", "credentials"),
        (
            'duplicate key value violates unique constraint "x"\nDETAIL:  Key (a)=(b) already exists.',
            "stops every sync",
            "Delete",
        ),
    ],
)
def test_reasons_and_remedies(line, reason, remedy):
    verdict = judged(event(line))
    assert reason in verdict.reason
    assert remedy in verdict.remedy
    assert verdict.fails_task


def test_googles_reason_is_found_in_the_chained_exception():
    chain = [
        {"exc_value": "('Bad request', '{}')"},
        {
            "exc_value": '<HttpError 400 when requesting https://x.test/ returned "Invalid Given/Family Name: FamilyName". Details: "x">'
        },
    ]
    assert (
        "Invalid Given/Family Name: FamilyName"
        in judged(event("Failed to sync x due to error: ('Bad request', '{}')", exception=chain)).reason
    )


def test_fail_on_decides_about_the_task_and_not_about_the_truth():
    verdict = judged(event("Failed to sync ada due to error: x"), fail_on=["error"])
    assert verdict.failures
    assert not verdict.fails_task


def test_a_held_back_request_becomes_an_operation_without_its_password():
    body = {"primaryEmail": "ada@x.test", "password": HASH}
    held = event(
        messages.DRY_RUN,
        "info",
        method="POST",
        url="https://admin.googleapis.com/admin/directory/v1/users?alt=json",
        body=json.dumps(body),
    )
    assert judged(held).dry_run == [
        {"method": "POST", "resource": "user", "key": "ada@x.test", "body": {"primaryEmail": "ada@x.test"}}
    ]
    put = event(
        messages.DRY_RUN,
        "info",
        method="PUT",
        url="https://x.test/admin/directory/v1/users/ada%40x.test?alt=json",
        body="{}",
    )
    assert judged(put).dry_run[0]["key"] == "ada@x.test"


def test_order_of_time_and_exactly_the_keys_of_a_log_event():
    lines = [{**event("b"), "timestamp": "2026-01-02T00:00:00Z", "previous": True}, event("a")]
    found = log_events.normalise(lines)
    assert [item["event"] for item in found] == ["a", "b"]
    assert all(set(item) == {"timestamp", "log_level", "logger", "event", "attributes"} for item in found)


@pytest.mark.parametrize(
    "text",
    [
        f'(\'Bad request\', \'{{"suspended": false, "password": "{HASH}", "primaryEmail": "a@x.test"}}\')',
        json.dumps({"body": json.dumps({"password": HASH})}),
        f"{{'password': '{HASH}'}}",
        f"somebody wrote {HASH} here",
        "-----BEGIN PRIVATE KEY-----\nMIIB0f9a+/x=\n-----END PRIVATE KEY-----\n",
        "Authorization: Bearer 0f9a+/x=",
    ],
)
def test_secrets_are_masked_in_text(text):
    assert "0f9a+/x=" not in mask_text(text)
    assert MASK in mask_text(text)


def test_secrets_are_masked_by_key_and_the_rest_is_kept():
    value = {
        "arguments": [json.dumps({"password": HASH})],
        "Password": "x",
        "obj": {"pk": 6, "password": ""},
        "n": None,
    }
    assert mask(value) == {
        "arguments": ['{"password": "********"}'],
        "Password": MASK,
        "obj": {"pk": 6, "password": ""},
        "n": None,
    }
