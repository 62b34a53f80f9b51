# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping secrets out of everything that is printed."""

from __future__ import annotations

import re
import typing as t

MASK = "********"
SECRET_KEYS = frozenset(("password", "hashfunction", "private_key", "private_key_id", "access_token", "assertion"))

_PATTERNS = (
    # "password": "…" inside JSON text, with the quotes as they are or escaped once more, and Python's 'password': '…'.
    re.compile(
        r"""((\\*["'])(?:password|private_key|private_key_id|access_token|assertion)\2\s*:\s*(\\*["']))(.*?)(\3)"""
    ),
    # Password hashes as Django stores them: algorithm$…$…, wherever they stand.
    re.compile(r"\b(?:pbkdf2_sha\d+|argon2(?:id|i|d)?|bcrypt(?:_sha256)?|scrypt|md5|sha1)\$[^\s\"'\\,}\]]+"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
    # The same in a URL, and in base64.
    re.compile(r"-----BEGIN(?:%20|\+)[A-Z%0-9+]*PRIVATE(?:%20|\+)KEY-----[\w%+./=-]*"),
    re.compile(r"LS0tLS1CRUdJTi[\w+/=%-]{20,}"),
    # Google's access tokens and JSON Web Tokens: as they are, in a URL, and in base64.
    re.compile(r"\bya29(?:\.|%2[eE])[\w.~%+/=-]{8,}"),
    re.compile(r"\beWEyOS[\w+/=%-]{10,}"),
    re.compile(r"\beyJ[\w-]{5,}(?:\.|%2[eE])[\w-]{5,}(?:\.|%2[eE])[\w-]*"),
    re.compile(r"\bZXlK[\w+/=%-]{40,}"),
    re.compile(r"\bBearer\s+[\w.~+/=-]+"),
)


def mask_text(text: str) -> str:
    """A text without the secrets that it quotes."""
    text = _PATTERNS[0].sub(lambda match: match.group(1) + MASK + match.group(5), text)
    for pattern in _PATTERNS[1:]:
        text = pattern.sub(MASK, text)
    return text


def mask(value: t.Any) -> t.Any:
    """A copy of a JSON value in which the values of secret keys, and secrets quoted in texts, are replaced."""
    if isinstance(value, dict):
        return {
            key: MASK if str(key).lower() in SECRET_KEYS and item not in (None, "") else mask(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [mask(item) for item in value]
    return mask_text(value) if isinstance(value, str) else value
