# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words for texts."""

from __future__ import annotations

import base64
import re
import typing as t
from urllib.parse import quote

from .masking import mask_text

_SURROGATE = re.compile("[\ud800-\udfff]")
# What moves, hides or ends what stands around it: C0 and C1 controls, marks of direction, separators of lines, zero width.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
LONGEST_TEXT = 10_000
# A shorter part may stand anywhere.
LEAST_OF_BASE64 = 12
# The keys of a result whose values are texts for people.
TEXTS = frozenset(("msg", "event", "why", "reason", "remedy", "error"))


def listed(domains: t.Sequence[str]) -> str:
    return "%s %s" % ("s" if len(domains) > 1 else "", ", ".join(sorted(domains)))


def sentence(text: str) -> str:
    """A text as the beginning of a sentence; names in it stay as they are written."""
    return text[:1].upper() + text[1:]


def listed_names(names: t.Sequence[str], most: int = 5) -> str:
    """Names as a part of a sentence; of many, the first few and how many more there are."""
    more = " and %d more" % (len(names) - most) if len(names) > most else ""
    return ", ".join(names[:most]) + more


def fitting(value: t.Any) -> t.Any:
    """A copy of a JSON value in which half characters, which no encoding takes, are replaced."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {fitting(key): fitting(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [fitting(item) for item in value]
    return value


def shown(text: str, lines: bool = False) -> str:
    """A text as it may leave: without secrets and without characters that nobody sees, and not longer than can be read.

    Args:
        lines: whether it may have several lines.
    """
    text = mask_text(fitting(text))
    if not lines:
        text = " ".join(text.splitlines())
    text = _UNSEEN.sub(lambda match: f"\\u{ord(match.group()):04x}", text.replace("\r\n", "\n"))
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " (cut off, %d characters)" % len(text)


def leaving(value: t.Any, key: str = "") -> t.Any:
    """A result as it may leave: shown() for texts for people; other values stay as they are, as far as they can be written."""
    if isinstance(value, str):
        return shown(value, lines=key == "event") if key in TEXTS else fitting(value)
    if isinstance(value, dict):
        return {fitting(name): leaving(item, name) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [leaving(item, key) for item in value]
    return value


def forms(secret: str) -> set[str]:
    """The forms in which a text may quote a secret: as it is, in JSON, in a URL, in base64 wherever it begins."""
    found = {secret, secret.replace("\n", "\\n"), quote(secret, safe=""), quote(secret)}
    raw = secret.encode("utf-8", "replace")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found.add(encode(raw).decode("ascii"))
        for before in range(3):
            # Without the characters that also hold bits of what stands around it.
            text = encode(b"\0" * before + raw + b"\0" * (-(before + len(raw)) % 3)).decode("ascii")
            inner = text[4 if before else 0 : len(text) - (4 if (before + len(raw)) % 3 else 0)]
            if len(inner) >= LEAST_OF_BASE64:
                found.add(inner)
    return found
