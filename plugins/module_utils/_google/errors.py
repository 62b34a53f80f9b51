# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""Errors of the Google side: one place that knows both shapes of Google's error bodies and what each reason means.

Sources: the Directory API's pages on errors and quotas (developers.google.com/workspace/admin/directory/v1),
the error shapes google.rpc.ErrorInfo and error.errors[], and exchanges recorded on real systems.
"""

from __future__ import annotations

import json
import typing as t

# What a reason means, by (status or None for any, reason).
RATE_REASONS = frozenset(
    ("quotaExceeded", "userRateLimitExceeded", "rateLimitExceeded", "dailyLimitExceeded", "RATE_LIMIT_EXCEEDED")
)
SCOPE_REASONS = frozenset(("insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"))
DISABLED_REASONS = frozenset(("accessNotConfigured", "SERVICE_DISABLED"))


class GoogleError(Exception):
    """Something that Google refused or that kept us from asking it.

    Attributes:
        kind: str, one of ``libraries credentials delegation subject scope disabled forbidden unauthorized not_found
            rate transient invalid conflict precondition unreachable tls wrong_address``.
        message: str, what happened.
        remedy: str, what to do; may be empty.
        status: int or None, the HTTP status.
        reason: str, Google's reason; may be empty.
        retry_after: float or None, the seconds that Google asks to wait before another attempt.
    """

    def __init__(
        self, kind: str, message: str, remedy: str = "", status: t.Optional[int] = None, reason: str = ""
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.remedy = remedy
        self.status = status
        self.reason = reason
        self.retry_after: t.Optional[float] = None

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.remedy) if part)

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.kind in ("rate", "transient")


def parse_body(raw: t.Union[bytes, str]) -> t.Tuple[bool, str, t.List[str]]:
    """Read an error body in either of Google's shapes.

    Returns:
        (is it Google's JSON, the message, the reasons in order).
    """
    try:
        data = json.loads(raw if isinstance(raw, str) else raw.decode("utf-8"))
    except ValueError:
        return False, "", []
    error = data.get("error") if isinstance(data, dict) else None
    if not isinstance(error, dict):
        return False, "", []
    reasons = [
        item["reason"]
        for key in ("errors", "details")
        for item in (error.get(key) or [])
        if isinstance(item, dict) and isinstance(item.get("reason"), str)
    ]
    return True, str(error.get("message") or ""), reasons


def explain(status: int, raw: t.Union[bytes, str], what: str, context: t.Mapping[str, t.Any]) -> GoogleError:
    """The error for an HTTP answer of the Directory API.

    Args:
        status: the HTTP status.
        raw: the body.
        what: the action in words: "read user ada@example.com".
        context: ``scopes`` (list of str), ``subject`` (str), ``client_id`` (str), ``endpoint`` (str) for the remedies.
    """
    genuine, message, reasons = parse_body(raw)
    reason = reasons[0] if reasons else ""
    said = "Google answered %d%s%s" % (
        status,
        " %s" % reason if reason else "",
        ": %s" % message.rstrip(".") if message else "",
    )

    def error(kind: str, remedy: str = "") -> GoogleError:
        return GoogleError(kind, "Could not %s: %s." % (what, said), remedy, status, reason)

    if status == 404 and not genuine:
        return error("wrong_address", "Check google_api_endpoint (%s): that is no Directory API." % context["endpoint"])
    if status == 429 or RATE_REASONS.intersection(reasons):
        return error("rate", "Too many requests at once: run fewer in parallel, or ask Google for more quota.")
    if status in (500, 502, 503, 504):
        return error("transient", "Google is unavailable for the moment: try again later.")
    if status == 401:
        return error("unauthorized", "The access token was refused; check the service account and the host's clock.")
    if SCOPE_REASONS.intersection(reasons):
        return error(
            "scope",
            "The token lacks a scope. Requested were %s; add the missing one to google_scopes and to the domain-wide "
            "delegation." % ", ".join(context["scopes"]),
        )
    if DISABLED_REASONS.intersection(reasons):
        return error("disabled", "Enable the Admin SDK API in the service account's Google Cloud project.")
    if status == 403:
        return error(
            "forbidden",
            "The delegated subject %s must be an administrator with the right to this resource, in a domain of this "
            "Google Workspace." % context["subject"],
        )
    if status == 404:
        return error("not_found")
    if status == 409:
        return error("conflict")
    if status == 412:
        return error("precondition")
    return error("invalid")
