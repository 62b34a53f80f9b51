# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What authentik's messages (LogEvents) say about a sync, and what Google said in them. Pure."""

from __future__ import annotations

import json
import re
import typing as t
from urllib.parse import unquote, urlsplit

from ..._common.types import Json
from ..._google.errors import GoogleError, classify
from ..._mappings.desired import SECRET_FIELDS

DRY_RUN = "Dropping mutating request due to dry run"
STARTED = "Syncing page"
NO_PROVIDER = "No provider found"
ALREADY_RUNNING = "Synchronization is already running"
FAILED_OBJECT = "Failed to sync "
STOPPED = "Stopping sync due to error"
# What authentik says, as a warning, of a sync that did not happen: true whatever levels the user wants to fail on.
FAILED = (FAILED_OBJECT, STOPPED, NO_PROVIDER)

# How googleapiclient shows an answer. The details are Python's repr of Google's list, or a text where Google sent no JSON.
_GOOGLE_SAID = re.compile(
    r"""<HttpError (\d{3})(?: when requesting \S+ returned)? "(.*?)"(?:\. Details: "(?P<details>(?:(?!<HttpError ).)*)">|\. Details|>)""",
    re.DOTALL,
)
# A literal of Python's, and whether it is the key of what follows. The text is scanned and not evaluated: another machine wrote it.
_LITERAL = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(: )?""", re.DOTALL)
# What the remedies of Google's errors name: it was authentik that asked, with what the provider holds.
_BY_AUTHENTIK = {
    "scopes": "those of the provider",
    "scopes_setting": "the provider's scopes in authentik",
    "subject": "of the provider",
    "host": "authentik's worker",
}
_DUPLICATE_ROW = "duplicate key value violates unique constraint"


class Verdict(t.NamedTuple):
    """What the messages of one sync say.

    Attributes:
        failures: the events that say that the sync failed, in order of time.
        fails_task: bool, whether one of them has a level that the user wants to fail on.
        reason: str, what went wrong, for a person; empty if nothing did.
        remedy: str, what to do about it.
        started: bool or None: authentik said that it began to write; None if it does not say such things.
        dry_run: requests that authentik held back: ``{"method", "resource", "key", "body"}``.
        bad_domain: bool, an address lies outside the workspace's domains.
    """

    failures: t.Sequence[str] = ()
    fails_task: bool = False
    reason: str = ""
    remedy: str = ""
    started: bool | None = None
    dry_run: t.Sequence[Json] = ()
    bad_domain: bool = False

    @property
    def rows_stop(self) -> bool:
        """Whether a stored connection that differs from Google's record stopped it (servers before 2025.10)."""
        return any(_DUPLICATE_ROW in text for text in self.failures)


def judge(events: t.Sequence[Json], fail_on: t.Collection[str], complete: bool) -> Verdict:
    """Read the messages of the attempt that counts.

    Args:
        events: as normalise returns them.
        fail_on: the log levels that fail a sync.
        complete: whether the list would hold the worker's own lines (2025.8 and later), so that a missing one
            means something.
    """
    failing = [event for event in events if event["log_level"] in fail_on or event["event"].startswith(FAILED)]
    explained = (_explain(event) for event in failing)
    reason, remedy, bad_domain = next((found for found in explained if found[0]), ("", "", False))
    return Verdict(
        failures=[event["event"] for event in failing],
        fails_task=any(event["log_level"] in fail_on for event in failing),
        reason=reason,
        remedy=remedy,
        started=any(event["event"].startswith(STARTED) for event in events) if complete else None,
        dry_run=[_held_back(event["attributes"]) for event in events if event["event"].startswith(DRY_RUN)],
        bad_domain=bad_domain,
    )


def _held_back(attributes: Json) -> Json:
    """A request that dry run stopped, as an operation with its body."""
    path = unquote(urlsplit(str(attributes.get("url") or "")).path)
    parts = path.split("/directory/v1/")[-1].strip("/").split("/")
    resource = {"users": "user", "groups": "group"}.get(parts[0], parts[0])
    if len(parts) > 2:
        resource = {"members": "member"}.get(parts[2], parts[2])
    try:
        body = json.loads(attributes.get("body") or "{}")
    except (TypeError, ValueError):
        body = {}
    body = body if isinstance(body, dict) else {}
    key = parts[1] if len(parts) > 1 else body.get("primaryEmail") or body.get("email")
    for field in SECRET_FIELDS:
        body.pop(field, None)
    return {"method": str(attributes.get("method") or ""), "resource": resource, "key": str(key or ""), "body": body}


def _explain(event: Json) -> tuple[str, str, bool]:
    """(what went wrong, what to do, is it the domain) for one failing event."""
    text = event["event"]
    said = _google_said(event)
    if NO_PROVIDER in text:
        return (
            "the provider is not assigned to an application",
            "Add it to an application in authentik as its backchannel provider.",
            False,
        )
    if "Invalid email domain" in text:
        address = text.split("Invalid email domain:", 1)[1].strip()
        return (
            "Invalid email domain: %s" % (address or "(no e-mail)"),
            "Change the e-mail in authentik, or add the domain at Google. authentik compares domains with their case.",
            True,
        )
    if "No mappings configured" in text or "No group mappings configured" in text:
        return "no property mapping yields anything", "Assign property mappings to the provider in authentik.", False
    match = re.search(r"Stopping sync due to error: Error (.*?), caused by .* \(mapping (?:.*Mapping )?(.*?)\)", text)
    if match:
        return (
            "property mapping '%s' fails%s" % (match.group(2), ": %s" % match.group(1) if match.group(1) else ""),
            "Correct the mapping in authentik; its event log has the error as a configuration_error.",
            False,
        )
    if said:
        return (*_answered(said, text), False)
    if _DUPLICATE_ROW in text:
        return (
            "a stored connection of this provider differs from Google's record, which stops every sync of its kind (a "
            f"defect of authentik before 2025.10): {text.splitlines()[-1].strip()}",
            "Delete the connection row named there in authentik (nothing is deleted at Google; the next sync links it "
            "again), or update authentik.",
            False,
        )
    if "invalid_grant" in text or "unauthorized_client" in text or "RefreshError" in text:
        return (
            f"Google refuses the provider's service account: {text}",
            "Check the provider's credentials, delegated subject and scopes in authentik.",
            False,
        )
    if "Connection refused" in text or "timed out" in text or "Name or service not known" in text:
        return f"authentik could not reach Google: {text}", "Check the network of authentik's worker.", False
    return text, "", False


def _answered(error: GoogleError, text: str) -> tuple[str, str]:
    """(what went wrong, what to do) for an answer of Google's that authentik logged."""
    if error.kind == "invalid" and error.http_status == 400:
        return f"Google rejects the values: {error.message}", "Correct the value in authentik or in its mapping."
    remedy = error.remedy
    if error.kind == "not_found" and "/members" in text:
        remedy = "A member's account is gone at Google, or the group is too new: sync the members first, or run again."
    elif error.kind == "conflict":
        remedy = "The wanted address is held by something else at Google: look there who has it."
    return "Google answered %d: %s" % (error.http_status or 0, error.message), remedy


def _google_said(event: Json) -> GoogleError | None:
    """Google's answer, from the event or from the exceptions chained to it; its message is Google's text."""
    chain = event["attributes"].get("exception") if isinstance(event["attributes"], dict) else None
    texts = [event["event"]]
    if isinstance(chain, list):
        texts.extend(str(item.get("exc_value") or "") for item in chain if isinstance(item, dict))
    for text in texts:
        match = _GOOGLE_SAID.search(text)
        if match:
            message = match.group(2)
            return classify(
                int(match.group(1)), message, _reasons(match.group("details") or ""), message, _BY_AUTHENTIK
            )
    if "('Bad request'," in event["event"]:
        # Up to 2025.6 the event holds what was sent, and not what Google said to it.
        message = "Bad request (this version of authentik does not say which)"
        return classify(400, message, (), message, _BY_AUTHENTIK)
    return None


def _reasons(details: str) -> list[str]:
    """Google's reasons in the details of an HttpError: of an ``errors`` or a ``details`` list, complete or cut off."""
    literals = list(_LITERAL.finditer(details))
    return [
        value.group(1)[1:-1]
        for key, value in zip(literals, literals[1:])
        if key.group(1) == "'reason'" and key.group(2) and key.end() == value.start()
    ]
