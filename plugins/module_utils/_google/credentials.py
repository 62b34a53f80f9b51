# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google is asked with: the one place that chooses the service account, its subject and its scopes."""

from __future__ import annotations

import json
import os
import re
import typing as t

from .._common.types import Json
from . import addresses
from .errors import GoogleError

# What authentik asks for by default, and so what a domain-wide delegation made for it holds.
DEFAULT_SCOPES = tuple(
    "https://www.googleapis.com/auth/admin.directory." + name
    for name in ("user", "group", "group.member", "domain.readonly")
)
SUBJECT_VARIABLE = "GOOGLE_WORKSPACE_DELEGATED_SUBJECT"
KEYLESS = "google_auth: application_default"
# Shorter texts stand in an address by chance.
_SHORTEST_PART = 16
_ADDRESS = re.compile(r"^[^\s@]+@[^\s@]+$")
_ACCOUNT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*$")


class Credentials:
    """A service account's key with a subject to act as.

    Attributes:
        info: dict, the service account's key as Google issues it. Secret.
        subject: str, the administrator's address.
        scopes: list of str.
        origin: str, where it came from, for messages.
        own: bool, given by the operator's options and not shown by authentik.
    """

    def __init__(self, info: Json, subject: str, scopes: t.Sequence[str], origin: str, own: bool = False) -> None:
        missing = [key for key in ("client_email", "private_key", "token_uri") if not info.get(key)]
        if missing:
            raise GoogleError(
                "credentials",
                "The service account of %s lacks %s." % (origin, ", ".join(missing)),
                "Use the whole JSON key that Google Cloud issued.",
            )
        wrong = _wrong_token_uri(info)
        if wrong:
            raise GoogleError(
                "credentials",
                f"token_uri in the service account of {origin} {wrong}.",
                "token_uri must be an https:// URL (http:// for a loopback address only). Use the whole JSON key that Google Cloud "
                "issued, in which it is https://oauth2.googleapis.com/token.",
            )
        if not subject:
            raise GoogleError(
                "subject",
                f"No subject to act as is known for the service account of {origin}.",
                "Set delegated_subject to the address of a Google Workspace administrator.",
            )
        self.info = info
        self.subject = subject
        self.scopes = list(scopes) or list(DEFAULT_SCOPES)
        self.origin = origin
        self.own = own

    def asking_for(self, scopes: t.Sequence[str]) -> Credentials:
        """The same service account and subject with other scopes."""
        return Credentials(self.info, self.subject, scopes, self.origin, self.own)

    def secrets(self) -> list[str]:
        """The values that must never be printed."""
        return [str(self.info["private_key"])]

    def context(self, endpoint: str) -> Json:
        """What error messages may name."""
        return {
            "scopes": self.scopes,
            "subject": self.subject,
            "client_id": str(self.info.get("client_id") or "of the service account"),
            "account": str(self.info["client_email"]),
            "endpoint": endpoint,
        }


class ApplicationDefault:
    """The platform's own identity, which lets a service account's key at Google sign; no key is here.

    Attributes:
        subject, scopes, origin, own: as for Credentials.
        email: str, the service account that signs; empty for the one of the application default credentials.
        found: dict, what google-auth found, shared by all with the same identity; see keyless.py.
    """

    origin = KEYLESS
    own = True

    def __init__(self, subject: str, scopes: t.Sequence[str], email: str = "", found: Json | None = None) -> None:
        self.subject = subject
        self.scopes = list(scopes) or list(DEFAULT_SCOPES)
        self.email = email
        self.found: Json = {} if found is None else found

    def asking_for(self, scopes: t.Sequence[str]) -> ApplicationDefault:
        """The same identity and subject with other scopes."""
        return ApplicationDefault(self.subject, scopes, self.email, self.found)

    def secrets(self) -> list[str]:
        """Nothing: what is secret here is made at Google, and masked where it is received."""
        return []

    def context(self, endpoint: str) -> Json:
        """What error messages may name."""
        account = self.email or "of the application default credentials"
        return {
            "scopes": self.scopes,
            "subject": self.subject,
            "client_id": f"of the service account {account}",
            "account": account,
            "endpoint": endpoint,
        }


AnyCredentials = t.Union[Credentials, ApplicationDefault]


def choose(options: Json, provider: Json) -> AnyCredentials:
    """The operator's own credentials, else the provider's. Raises GoogleError."""
    return of_options(options) or of_provider(options, provider)


def of_options(options: Json) -> AnyCredentials | None:
    """The operator's own credentials, or None where the options give none.

    Whom they act as and what they may do come from the options or from a default, never from authentik: who may change a provider
    there must not choose what somebody else's service account does.

    Raises:
        GoogleError: kinds ``credentials``, ``subject``.
    """
    keyless = options["google_auth"] == "application_default"
    given = [name for name in ("service_account_file", "service_account_contents") if options[name]]
    if len(given) > 1:
        raise GoogleError(
            "credentials",
            "service_account_file and service_account_contents are mutually exclusive.",
            "Give one of them.",
        )
    if keyless and given:
        raise GoogleError(
            "credentials",
            f"{KEYLESS} and {given[0]} are mutually exclusive: application default credentials use no key.",
            f"Leave out {given[0]} (and the environment variable GCP_{given[0].upper()}), or set google_auth to key.",
        )
    email = str(options["service_account_email"] or "").strip()
    if email and not keyless:
        raise GoogleError(
            "credentials",
            f"service_account_email is for {KEYLESS} only; a key names its service account itself.",
            "Leave out service_account_email, or set google_auth to application_default.",
        )
    if email and not _ACCOUNT.match(email):
        raise GoogleError(
            "credentials",
            "service_account_email is not the e-mail address of a service account.",
            "Give it as Google Cloud shows it: name@project.iam.gserviceaccount.com.",
        )
    if not keyless and not given:
        return None
    origin = KEYLESS if keyless else given[0]
    info = {} if keyless else _given_key(options, origin)
    scopes = [scope.strip() for scope in options["google_scopes"] or () if scope.strip()]
    if keyless:
        return ApplicationDefault(_own_subject(options, origin), scopes, email)
    # What is wrong with the key itself comes first.
    Credentials(info, "unused", scopes, origin, own=True)
    return Credentials(info, _own_subject(options, origin), scopes, origin, own=True)


def of_provider(options: Json, provider: Json) -> Credentials:
    """The provider's own service account as authentik shows it, with its subject and scopes unless the options give others."""
    shown = provider.get("credentials")
    info = shown if isinstance(shown, dict) else {}
    if not info:
        raise GoogleError(
            "credentials",
            "authentik does not show the provider's service account.",
            "Give service_account_file or service_account_contents.",
        )
    scopes = options["google_scopes"] or [
        item.strip() for item in str(provider.get("scopes") or "").split(",") if item.strip()
    ]
    subject = options["delegated_subject"] or str(provider.get("delegated_subject") or "")
    return Credentials(info, subject, scopes, "the provider in authentik")


def parse_key(text: str, origin: str) -> Json:
    """A service account's key from its JSON text. Raises GoogleError without quoting the text."""
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        info = None
    if not isinstance(info, dict) or info.get("type", "service_account") != "service_account":
        raise GoogleError(
            "credentials",
            f"{origin} is not the JSON key of a service account.",
            "Download a JSON key for the service account in Google Cloud and use it whole.",
        )
    return info


def read_key_file(path: str, option: str = "service_account_file") -> Json:
    """A service account's key from the file that an option names."""
    expanded = os.path.expanduser(os.path.expandvars(path))
    try:
        with open(expanded, encoding="utf-8") as handle:
            text = handle.read(1024 * 1024)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise GoogleError(
            "credentials",
            f"{option} {expanded} cannot be read: {reason}.",
            "The file must be on the host that the module runs on, and readable for its user.",
        ) from None
    return parse_key(text, f"{option} {expanded}")


def _given_key(options: Json, origin: str) -> Json:
    if origin == "service_account_file":
        return read_key_file(options[origin])
    return parse_key(options[origin], origin)


def _own_subject(options: Json, origin: str) -> str:
    subject = str(options["delegated_subject"] or "").strip()
    remedy = (
        f"Set delegated_subject (or the environment variable {SUBJECT_VARIABLE}) to the e-mail address of the Google "
        "Workspace administrator to act as."
    )
    if not subject:
        raise GoogleError(
            "subject",
            f"delegated_subject is missing. With {origin} it is required, because it is not taken from the provider in authentik.",
            remedy,
        )
    if not _ADDRESS.match(subject):
        raise GoogleError("subject", "delegated_subject is not an e-mail address.", remedy)
    return subject


def _wrong_token_uri(info: Json) -> str | None:
    """What is wrong with a key's token_uri. The text never quotes it: a key may have been pasted into it."""
    address = info["token_uri"]
    wrong = addresses.problem(address)
    if wrong is None and any(
        line.strip() in address for line in str(info["private_key"]).splitlines() if len(line.strip()) >= _SHORTEST_PART
    ):
        return "contains a part of the private key"
    return wrong
