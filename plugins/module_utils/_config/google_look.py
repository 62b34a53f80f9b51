# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google as a provider's service account sees it: token, scopes one by one, domains, the subject. Reads only."""

from __future__ import annotations

import typing as t

from .._common.kind import KINDS
from .._common.types import Json
from .._google.credentials import DEFAULT_SCOPES, AnyCredentials
from .._google.errors import GoogleError
from .fields import scopes_list
from .findings import Findings

if t.TYPE_CHECKING:
    from .._google.directory import Directory
SHORT = "https://www.googleapis.com/auth/"


def look(
    directory: Directory, provider: Json, findings: Findings, opened: t.Callable[[AnyCredentials], Directory]
) -> Json:
    """What is so at Google, as facts; what is wrong goes into the findings.

    Args:
        directory: opened with all scopes at once, as authentik does.
        opened: callable that opens a directory with other credentials.
    """
    credentials = directory.session.credentials
    facts: Json = {
        "reachable": None,
        "token": None,
        "scopes": [],
        "domains": [],
        "subject": {"address": credentials.subject, "administrator": None},
        "may_list": {},
    }
    if credentials.own:
        findings.add(
            "notice",
            "own_credentials",
            f"Google is asked with {credentials.origin} as {credentials.subject}, not with the provider's own credentials.",
            "What is found about token, scopes and subject is about these credentials. authentik acts with the provider's.",
            f"To check the provider's credentials, leave out {credentials.origin}.",
        )
    facts["token"] = _token(directory, findings)
    facts["scopes"] = _scopes(credentials, findings, opened, bool(facts["token"]))
    lacking = [scope for scope in DEFAULT_SCOPES if scope not in scopes_list(provider.get("scopes"))]
    if lacking and provider.get("scopes") is not None:
        findings.add(
            "warning",
            "scopes_differ",
            "The provider does not ask for %s." % ", ".join(item.replace(SHORT, "") for item in lacking),
            "authentik asks Google for users, groups, members and domains; without one of these scopes (or a wider one) that part fails.",
            "Add them to the provider's scopes and to the domain-wide delegation.",
        )
    if not facts["token"]:
        return facts
    try:
        facts["domains"] = directory.domains()
        facts["reachable"] = True
    except GoogleError as exc:
        facts["reachable"] = exc.http_status is not None
        _report(exc, "domains", "The workspace's domains cannot be read.", findings)
        return facts
    domain = str(provider.get("default_group_email_domain") or "").lower()
    if domain not in facts["domains"]:
        findings.add(
            "error",
            "group_domain",
            "default_group_email_domain is %s, and the workspace has %s."
            % (domain, ", ".join(facts["domains"]) or "no domain"),
            "Every group's address is refused, unless a property mapping gives another one.",
            "Change default_group_email_domain of the provider, or add the domain at Google.",
        )
    _subject(directory, credentials, facts, findings)
    for kind in KINDS:
        try:
            directory.may_list(kind)
            facts["may_list"][kind] = True
        except GoogleError as exc:
            facts["may_list"][kind] = False
            _report(exc, f"list_{kind}s", f"The {kind}s at Google cannot be listed.", findings)
    return facts


def _token(directory: Directory, findings: Findings) -> bool | None:
    """Whether Google gives a token for all scopes at once."""
    try:
        directory.session.fetch_token("get a token of Google")
    except GoogleError as exc:
        _report(exc, "token", "Google gives no token.", findings)
        return None if exc.kind in ("unreachable", "tls") else False
    return True


def _scopes(
    credentials: AnyCredentials, findings: Findings, opened: t.Callable[[AnyCredentials], Directory], whole: bool
) -> list[Json]:
    """Each scope asked for alone: Google refuses all together when the delegation lacks one, and does not say which."""
    facts = []
    for scope in credentials.scopes:
        granted: bool | None = True
        try:
            opened(credentials.asking_for([scope])).session.fetch_token(f"get a token of Google for {scope}")
        except GoogleError as exc:
            granted = False if exc.kind == "delegation" else None
        facts.append({"scope": scope, "granted": granted})
    missing = [str(item["scope"]) for item in facts if item["granted"] is False]
    if missing and not whole:
        findings.add(
            "error",
            "scopes",
            "The domain-wide delegation lacks %s." % ", ".join(missing),
            "Google refuses the whole token when one of the scopes asked for is missing, so that nothing at all works.",
            "Add exactly these to the delegation of the service account (admin.google.com, Security, API controls), or take them off "
            "%s." % ("google_scopes" if credentials.own else "the provider"),
        )
    return facts


def _subject(directory: Directory, credentials: AnyCredentials, facts: Json, findings: Findings) -> None:
    address = credentials.subject
    try:
        found = directory.administrator(address)
    except GoogleError as exc:
        _report(exc, "subject", f"The delegated subject {address} cannot be read.", findings)
        return
    if found is None:
        findings.add(
            "error",
            "subject",
            f"There is no account {address} at Google, the delegated subject.",
            "%s as that account; without it every sync fails."
            % ("The modules act" if credentials.own else "authentik acts"),
            "Set delegated_subject to the address of an administrator.",
        )
        return
    administrator = bool(found.get("isAdmin") or found.get("isDelegatedAdmin"))
    facts["subject"]["administrator"] = administrator
    if found.get("suspended") or found.get("archived"):
        findings.add(
            "error",
            "subject",
            f"The delegated subject {address} is suspended or archived.",
            "Google gives no token for it.",
            "Set delegated_subject to an active administrator.",
        )
    elif not administrator:
        findings.add(
            "error",
            "subject",
            f"The delegated subject {address} is not an administrator.",
            "Google refuses what an ordinary account may not do.",
            "Make it an administrator, or set delegated_subject to one.",
        )


def _report(exc: GoogleError, code: str, what: str, findings: Findings) -> None:
    findings.add("error", f"google_{code}", what, exc.message, exc.remedy)
