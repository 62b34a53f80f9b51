# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The password of an account that is created: a strong random one, or the hash that a mapping gives for Google.

authentik's default mapping gives Django's hash as if it were the password. Such a value, or any without a valid
``hashFunction``, is never sent.
"""

from __future__ import annotations

import re
import secrets
import typing as t

LENGTH = 64
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789-_.+"
MOST_ROUNDS = 10000
_HASHES = {
    "MD5": re.compile(r"^[0-9a-fA-F]{32}$"),
    "SHA-1": re.compile(r"^[0-9a-fA-F]{40}$"),
    # Modular crypt (MD5, SHA-256, SHA-512) and traditional DES.
    "crypt": re.compile(
        r"^(?:\$1\$[./0-9A-Za-z]{1,8}\$[./0-9A-Za-z]{22}"
        r"|\$5\$(?:rounds=\d+\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{43}"
        r"|\$6\$(?:rounds=\d+\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86}"
        r"|[./0-9A-Za-z]{13})$"
    ),
}


def random_password() -> str:
    """A password of 64 ASCII characters (about 380 bits), from the system's source of randomness."""
    return "".join(secrets.choice(_ALPHABET) for _index in range(LENGTH))


def given_hash(secret: t.Mapping[str, t.Any]) -> dict[str, str] | None:
    """The fields ``password`` and ``hashFunction`` as a mapping gives them, if they are what Google takes, else None."""
    value, function = secret.get("password"), secret.get("hashFunction")
    form = _HASHES.get(function) if isinstance(function, str) else None
    if form is None or not isinstance(value, str) or not form.match(value):
        return None
    rounds = re.search(r"rounds=(\d+)", value)
    if rounds and int(rounds.group(1)) > MOST_ROUNDS:
        return None
    return {"password": value, "hashFunction": str(function)}
