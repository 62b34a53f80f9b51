# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What authentik's messages mean, and that none of them shows a secret."""

from __future__ import annotations

import json

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik import log_events
from ansible_collections.dirsync.authentik.plugins.module_utils._common.masking import MASK, mask, mask_text
from ansible_collections.dirsync.authentik.plugins.module_utils._google.errors import TABLE, explain
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


def http_error(status, message, reason="", shape="errors"):
    """The text of googleapiclient's HttpError, as authentik logs it."""
    item = {"message": message, "domain": "global", "reason": reason} if shape == "errors" else {"reason": reason}
    details = {"errors": [item], "details": [{"@type": "x/google.rpc.ErrorInfo", **item}], "none": []}[shape]
    shown = f'<HttpError {status} when requesting https://x.test/users/1?alt=json returned "{message}". Details: "{details}">'
    return f"Failed to sync ada due to transient error: Failed to send request: {shown}"


RIGHTS = "must be an administrator with the right"
PERMANENT = [
    (403, "Not authorized to update this user", "forbidden", "forbidden", RIGHTS),
    (403, "Not Authorized to access this resource/api", "forbidden", "forbidden", RIGHTS),
    (403, "Not allowed to create users", "forbidden", "forbidden", RIGHTS),
    (403, "Delegated administrators may not update administrators", "forbidden", "forbidden", RIGHTS),
    (403, "The quota of this group may not be exceeded by you", "forbidden", "forbidden", RIGHTS),
    (403, "Private communication is not permitted", "", "forbidden", RIGHTS),
    (403, "Request had insufficient authentication scopes.", "insufficientPermissions", "scope", "provider's scopes"),
    (403, "Not authenticated for this", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "scope", "provider's scopes"),
    (403, "Admin SDK API is deactivated", "accessNotConfigured", "disabled", "Enable the Admin SDK API"),
    (403, "Admin SDK API is deactivated", "SERVICE_DISABLED", "disabled", "Enable the Admin SDK API"),
    (403, "Daily Limit Exceeded", "dailyLimitExceeded", "exhausted", "quota for today"),
    (403, "Daily Limit Exceeded", "", "exhausted", "quota for today"),
    (403, "Group member limit reached for this date", "limitExceeded", "limit", "limit of this Google Workspace"),
    (401, "Invalid credentials, late", "authError", "unauthorized", "clock of authentik's worker"),
    (412, "Cyclic memberships not allowed, ate", "conditionNotMet", "cycle", "cannot be a member of itself"),
]
TRANSIENT = [
    (403, "User hit the limit", "userRateLimitExceeded", "rate"),
    (403, "Slow down", "rateLimitExceeded", "rate"),
    (403, "Slow down", "RATE_LIMIT_EXCEEDED", "rate"),
    (403, "Request rate higher than configured.", "quotaExceeded", "rate"),
    (403, "Quota exceeded for quota metric", "", "rate"),
    (403, "Rate Limit Exceeded", "", "rate"),
    (403, "Too many requests", "", "rate"),
    (429, "Too much", "", "rate"),
    (503, "Busy", "backendError", "transient"),
    (503, "The quota is used", "backendError", "rate"),
    (500, "Oops", "", "transient"),
    (502, "Bad", "", "transient"),
    (504, "Slow", "", "transient"),
    (400, "A system error has occurred", "invalid", "transient"),
    (412, "User creation is not complete.", "conditionNotMet", "not_ready"),
    (409, "Conflict", "conflict", "accepted"),
]


@pytest.mark.parametrize("shape", ["errors", "details"])
@pytest.mark.parametrize(("status", "message", "reason", "kind", "remedy"), PERMANENT)
def test_a_permanent_refusal_of_googles_is_never_called_transient(shape, status, message, reason, kind, remedy):
    verdict = judged(event(http_error(status, message, reason, shape)))
    assert f"Google answered {status}: {message}" in verdict.reason
    assert remedy in verdict.remedy
    assert "later" not in verdict.remedy
    assert direct_kind(status, message, reason) == kind


@pytest.mark.parametrize("shape", ["errors", "details"])
@pytest.mark.parametrize(("status", "message", "reason", "kind"), TRANSIENT)
def test_a_transient_answer_of_googles_is_to_be_tried_again_later(shape, status, message, reason, kind):
    verdict = judged(event(http_error(status, message, reason, shape)))
    assert f"Google answered {status}: {message}" in verdict.reason
    assert "later" in verdict.remedy
    assert "administrator" not in verdict.remedy
    assert direct_kind(status, message, reason) == kind


def direct_kind(status, message, reason):
    """What the direct engine takes the same answer for."""
    body = {"error": {"message": message, "errors": [{"reason": reason}]}}
    return explain(
        status, json.dumps(body), "x", {"scopes": [], "subject": "", "client_id": "", "account": "", "endpoint": ""}
    ).kind


@pytest.mark.parametrize("row", TABLE)
def test_every_rule_of_the_one_table_has_a_remedy_that_fits_authentiks_provider(row):
    reason = row.reasons[0] if row.reasons else ""
    message = {r"(?i)cyclic": "cyclic", r"(?i)creation is not complete": "creation is not complete"}.get(
        row.pattern, "A system error has occurred. Quota exceeded, daily limit"
    )
    verdict = judged(event(http_error(row.status or 403, message, reason)))
    assert "{" not in verdict.remedy
    assert "google_scopes" not in verdict.remedy
    assert "this host" not in verdict.remedy


def test_googles_reason_is_what_google_sent_and_not_what_a_message_quotes():
    quoting = "It's not 'reason': 'quotaExceeded'"
    assert RIGHTS in judged(event(http_error(403, quoting, "forbidden"))).remedy
    cut = http_error(403, "Slow down", "quotaExceeded").removesuffix('}]">')
    assert "later" in judged(event(cut + '">')).remedy
    html = 'x <HttpError 502 when requesting https://x.test/ returned "Bad Gateway". Details: "<a href="x">no</a>">'
    assert "later" in judged(event(html)).remedy
    assert "later" in judged(event('x <HttpError 503 "Service Unavailable">')).remedy


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
