# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""The service account that Google is read with: where it comes from and whether it can be one."""

from __future__ import annotations

import json
import os
import typing as t

from .errors import GoogleError

# What authentik asks for by default, and so what a domain-wide delegation made for it holds.
DEFAULT_SCOPES = tuple(
    "https://www.googleapis.com/auth/admin.directory." + name
    for name in ("user", "group", "group.member", "domain.readonly")
)


class Credentials:
    """A service account with a subject to act as.

    Attributes:
        info: dict, the service account's key as Google issues it. Secret.
        subject: str, the administrator's address.
        scopes: list of str.
        origin: str, where it came from, for messages.
    """

    def __init__(self, info: t.Dict[str, t.Any], subject: str, scopes: t.Sequence[str], origin: str) -> None:
        missing = [key for key in ("client_email", "private_key", "token_uri") if not info.get(key)]
        if missing:
            raise GoogleError(
                "credentials",
                "The service account of %s lacks %s." % (origin, ", ".join(missing)),
                "Use the whole JSON key that Google Cloud issued.",
            )
        if not subject:
            raise GoogleError(
                "subject",
                "No subject to act as is known for the service account of %s." % origin,
                "Set delegated_subject to the address of a Google Workspace administrator.",
            )
        self.info = info
        self.subject = subject
        self.scopes = list(scopes) or list(DEFAULT_SCOPES)
        self.origin = origin

    def secrets(self) -> t.List[str]:
        """The values that must never be printed."""
        return [str(self.info["private_key"])]

    def context(self, endpoint: str) -> t.Dict[str, t.Any]:
        """What error messages may name."""
        return {
            "scopes": self.scopes,
            "subject": self.subject,
            "client_id": str(self.info.get("client_id") or "of the service account"),
            "endpoint": endpoint,
        }


def parse_key(text: str, origin: str) -> t.Dict[str, t.Any]:
    """A service account's key from its JSON text. Raises GoogleError without quoting the text."""
    try:
        info = json.loads(text)
    except ValueError:
        info = None
    if not isinstance(info, dict) or info.get("type", "service_account") != "service_account":
        raise GoogleError(
            "credentials",
            "%s is not the JSON key of a service account." % origin,
            "Download a JSON key for the service account in Google Cloud and use it whole.",
        )
    return info


def read_key_file(path: str, option: str = "service_account_file") -> t.Dict[str, t.Any]:
    """A service account's key from the file that an option names."""
    expanded = os.path.expanduser(os.path.expandvars(path))
    try:
        with open(expanded, encoding="utf-8") as handle:
            text = handle.read(1024 * 1024)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise GoogleError(
            "credentials",
            "%s %s cannot be read: %s." % (option, expanded, reason),
            "The file must be on the host that the module runs on, and readable for its user.",
        ) from None
    return parse_key(text, "%s %s" % (option, expanded))
