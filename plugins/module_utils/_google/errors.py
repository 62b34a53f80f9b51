# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the Google side: one table that knows what each answer means, what to do, and what to tell the user.

Sources: the Directory API's pages on errors, quotas and members (developers.google.com/workspace/admin/directory/v1),
the error shapes google.rpc.ErrorInfo and error.errors[], and exchanges recorded on real systems.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
import typing as t

from .._common.errors import RemoteError


class ErrorRule(t.NamedTuple):
    """One row of the table.

    Attributes:
        status: int or None, the HTTP status; None stands for any.
        reasons: tuple of str, any of which must be given; empty stands for any.
        pattern: str, a regular expression that Google's message must match; empty stands for any.
        kind: str, what it means; see GoogleError.
        remedy: str, what to tell the user; may name ``{scopes} {subject} {client_id} {account} {endpoint}``, and
            ``{scopes_setting} {host}``, for which there are defaults.
    """

    status: int | None
    reasons: tuple[str, ...]
    pattern: str
    kind: str
    remedy: str


_SLOW_DOWN = "Too many requests at once: try again later, run fewer in parallel, or ask Google for more quota."
_LATER = "Google is unavailable for the moment: try again later."
_USED_UP = "The project's quota for today is used up: ask Google for more, or wait."
_SCOPE = "The token lacks a scope. Requested were {scopes}; add the missing one to {scopes_setting} and to the domain-wide delegation."
_RIGHTS = (
    "The delegated subject {subject} must be an administrator with the right to this resource, in a domain of this Google "
    "Workspace."
)
_DISABLED = "Enable the Admin SDK API in the service account's Google Cloud project."

# The first row that fits counts.
TABLE: tuple[ErrorRule, ...] = (
    ErrorRule(None, ("dailyLimitExceeded",), "", "exhausted", _USED_UP),
    ErrorRule(
        None,
        ("quotaExceeded", "userRateLimitExceeded", "rateLimitExceeded", "RATE_LIMIT_EXCEEDED"),
        "",
        "rate",
        _SLOW_DOWN,
    ),
    ErrorRule(429, (), "", "rate", _SLOW_DOWN),
    ErrorRule(503, (), r"(?i)\bquota\b", "rate", _SLOW_DOWN),
    ErrorRule(500, (), "", "transient", _LATER),
    ErrorRule(502, (), "", "transient", _LATER),
    ErrorRule(503, (), "", "transient", _LATER),
    ErrorRule(504, (), "", "transient", _LATER),
    # Seen on members: a transient error in disguise.
    ErrorRule(400, (), r"(?i)a system error has occurred", "transient", _LATER),
    ErrorRule(
        401, (), "", "unauthorized", "The access token was refused; check the service account and the clock of {host}."
    ),
    ErrorRule(None, ("insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), "", "scope", _SCOPE),
    ErrorRule(None, ("accessNotConfigured", "SERVICE_DISABLED"), "", "disabled", _DISABLED),
    ErrorRule(
        None,
        ("limitExceeded",),
        "",
        "limit",
        "A limit of this Google Workspace is reached (licences, groups of a member, aliases): free some, or ask Google.",
    ),
    ErrorRule(403, ("forbidden",), "", "forbidden", _RIGHTS),
    # Only where Google gives no reason that is known does its text decide.
    ErrorRule(403, (), r"(?i)\bdaily limit\b", "exhausted", _USED_UP),
    ErrorRule(
        403,
        (),
        r"(?i)\bquota\b.*\bexceeded\b|\bexceeded\b.*\bquota\b|\brate limit exceeded\b|\brequest rate\b|\btoo many requests\b",
        "rate",
        _SLOW_DOWN,
    ),
    ErrorRule(403, (), "", "forbidden", _RIGHTS),
    ErrorRule(404, (), "", "not_found", ""),
    # Members only: the request was taken and is still being worked on.
    ErrorRule(
        409, ("conflict", "CONFLICT"), "", "accepted", "Google is still working on an earlier change: try again later."
    ),
    ErrorRule(409, (), "", "conflict", ""),
    ErrorRule(412, (), r"(?i)cyclic", "cycle", "A group cannot be a member of itself, directly or by way of others."),
    ErrorRule(
        412, (), r"(?i)creation is not complete", "not_ready", "Google has not finished creating it: try again later."
    ),
    ErrorRule(412, (), "", "precondition", ""),
    ErrorRule(None, (), "", "invalid", ""),
)

# What a remedy says where the run's own credentials are used.
_DEFAULTS = {"scopes_setting": "google_scopes", "host": "this host"}

_TOKEN_CREATOR = (
    "Grant the role Service Account Token Creator (roles/iam.serviceAccountTokenCreator) on the service account {account} to the "
    "identity of the application default credentials; it has the permission iam.serviceAccounts.signJwt. An account that signs for "
    "itself needs the role on itself."
)
_IAM_DISABLED = (
    "Enable the IAM Service Account Credentials API (iamcredentials.googleapis.com) in the Google Cloud project of the service "
    "account."
)
# What the IAM Service Account Credentials API answers where a service account is asked to sign.
IAM_TABLE: tuple[ErrorRule, ...] = (
    ErrorRule(429, (), "", "rate", _SLOW_DOWN),
    ErrorRule(500, (), "", "transient", _LATER),
    ErrorRule(502, (), "", "transient", _LATER),
    ErrorRule(503, (), "", "transient", _LATER),
    ErrorRule(504, (), "", "transient", _LATER),
    ErrorRule(None, ("accessNotConfigured", "SERVICE_DISABLED"), "", "disabled", _IAM_DISABLED),
    ErrorRule(
        None,
        ("insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
        "",
        "credentials",
        "Give the machine or workload the access scope https://www.googleapis.com/auth/cloud-platform.",
    ),
    ErrorRule(
        401,
        (),
        "",
        "credentials",
        "The token of the application default credentials was refused; check this host's clock.",
    ),
    ErrorRule(403, (), "", "credentials", _TOKEN_CREATOR),
    ErrorRule(
        404,
        (),
        "",
        "credentials",
        "Google knows no service account {account}, or the identity may not see it. Check service_account_email. "
        + _TOKEN_CREATOR,
    ),
    ErrorRule(None, (), "", "credentials", "Check service_account_email ({account})."),
)


class GoogleError(RemoteError):
    """Something that Google refused or that kept us from asking it.

    Attributes:
        kind: str, one of ``libraries credentials delegation subject scope disabled forbidden unauthorized not_found
            rate exhausted limit transient invalid conflict accepted cycle not_ready precondition unreachable tls
            wrong_address listing stopped``.
        reason: str, Google's reason; may be empty.
        dropped: bool, the connection was lost before an answer had come.
    """

    side = "google"

    def __init__(
        self, kind: str, message: str, remedy: str = "", http_status: int | None = None, reason: str = ""
    ) -> None:
        super().__init__(kind, message, remedy, http_status)
        self.reason = reason
        self.dropped = False
        self.may_have_been_applied = kind == "transient" and http_status != 400

    @property
    def retryable(self) -> bool:
        return self.dropped or self.kind in ("rate", "transient")

    @property
    def affects_all(self) -> bool:
        return self.kind not in ("invalid", "not_found", "conflict", "cycle", "not_ready", "precondition", "limit")


def parse_body(raw: bytes | str) -> tuple[bool, str, list[str]]:
    """Read an error body in either of Google's shapes.

    Returns:
        (is it Google's JSON, the message, the reasons in order).
    """
    try:
        data = json.loads(raw if isinstance(raw, str) else raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return False, "", []
    error = data.get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict):
        return False, "", []
    lists = [error.get(key) for key in ("errors", "details")]
    reasons = [
        item["reason"]
        for items in lists
        if isinstance(items, list)
        for item in items
        if isinstance(item, dict) and isinstance(item.get("reason"), str)
    ]
    return True, str(error.get("message") or ""), reasons


def explain(
    status: int,
    raw: bytes | str,
    what: str,
    context: t.Mapping[str, t.Any],
    table: tuple[ErrorRule, ...] = TABLE,
) -> GoogleError:
    """The error for an HTTP answer of the Directory API, or of the API that the table is about.

    Args:
        status: the HTTP status.
        raw: the body.
        what: the action in words: "read user ada@example.com".
        context: ``scopes`` (list of str), ``subject``, ``client_id``, ``account``, ``endpoint`` (all str) for the remedies.
        table: the rules of that API.
    """
    genuine, message, reasons = parse_body(raw)
    reason = reasons[0] if reasons else ""
    said = "Google answered %d%s%s" % (
        status,
        " %s" % reason if reason else "",
        ": %s" % message.rstrip(".") if message else "",
    )
    text = f"Could not {what}: {said}."
    if status == 404 and not genuine and table is TABLE:
        remedy = "Check google_api_endpoint (%s): that is no Directory API." % context["endpoint"]
        return GoogleError("wrong_address", text, remedy, status, reason)
    return classify(status, message, reasons, text, dict(context, scopes=", ".join(context["scopes"])), table)


def classify(
    status: int,
    message: str,
    reasons: t.Sequence[str],
    text: str,
    context: t.Mapping[str, str],
    table: tuple[ErrorRule, ...] = TABLE,
) -> GoogleError:
    """The error for an answer of Google's, whoever received it: the one way to the table.

    Args:
        status: the HTTP status.
        message: Google's message, which some rows look into.
        reasons: Google's reasons.
        text: what happened, for a person.
        context: what the remedies name.
    """
    row = next(row for row in table if _fits(row, status, message, reasons))
    remedy = row.remedy.format(**dict(_DEFAULTS, **context))
    return GoogleError(row.kind, text, remedy, status, reasons[0] if reasons else "")


def retry_after(value: str) -> float | None:
    """The seconds that a Retry-After header asks for, which is a number or a date; None if it is neither."""
    text = value.strip()
    if re.match(r"^\d{1,6}$", text):
        return float(text)
    try:
        moment = email.utils.mktime_tz(email.utils.parsedate_tz(text))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, moment - time.time())


def _fits(row: ErrorRule, status: int, message: str, reasons: t.Sequence[str]) -> bool:
    return (
        row.status in (None, status)
        and (not row.reasons or bool(set(row.reasons).intersection(reasons)))
        and (not row.pattern or bool(re.search(row.pattern, message)))
    )
