# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Listings: pages in a stable order, and the search expressions of ``query``."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from tests.sandbox.google.errors import invalid

_TERM = re.compile(r"\s*(?P<name>[A-Za-z]+)\s*(?P<operator>[=:])\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<bare>[^\s']+))")

# A term of a query: field, operator (= or :), value.
Term = tuple[str, str, str]


def page(
    keys: list,
    item: Callable[[Any], Any],
    *,
    limit: int,
    token: str | None,
    descending: bool,
    same: list,
) -> tuple[list, str | None]:
    """Return one page and the token of the next one, or None after the last.

    ``keys``: sorted; ``item`` gives what a key stands for, or None for something that the listing does not show.
    ``same``: what a token is good for; with other parameters it is refused. A token names the last key of its page,
    so what comes or goes between two pages shifts nothing.
    """
    fingerprint = hashlib.sha1(json.dumps(same).encode()).hexdigest()[:12]
    start = _decode(token, fingerprint) if token else None
    found: list = []
    last: Any = None
    for key in _keys(keys, start, descending):
        value = item(key)
        if value is None:
            continue
        if len(found) == limit:
            return found, _encode(last, fingerprint)
        found.append(value)
        last = key
    return found, None


def parse(query: str, known: frozenset[str]) -> list[Term]:
    """Return the terms of a search expression, all of which must hold; raises ApiError."""
    terms = []
    at = 0
    while query[at:].strip():
        match = _TERM.match(query, at)
        if match is None or match["name"] not in known:
            raise invalid("Invalid Input: query")
        quoted = match["quoted"]
        value = match["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        terms.append((match["name"], match["operator"], value))
        at = match.end()
    return terms


def text_matches(operator: str, wanted: str, texts: list[str]) -> bool:
    """Tell whether one of the texts is the wanted one (``=``), holds it (``:``) or begins with it (``:`` and ``*``)."""
    wanted = wanted.lower()
    texts = [text.lower() for text in texts]
    if operator == "=":
        return wanted in texts
    if wanted.endswith("*"):
        return any(text.startswith(wanted[:-1]) for text in texts)
    return any(wanted in text for text in texts)


def _keys(keys: list, start: Any, descending: bool) -> Iterator:
    if descending:
        return reversed(keys if start is None else keys[: bisect_left(keys, start)])
    first = 0 if start is None else bisect_right(keys, start)
    return (keys[index] for index in range(first, len(keys)))


def _encode(key: Any, fingerprint: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([fingerprint, key]).encode()).decode().rstrip("=")


def _decode(token: str, fingerprint: str) -> Any:
    try:
        found, key = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError:
        raise invalid("Invalid Input: pageToken") from None
    if found != fingerprint:
        raise invalid("Invalid Input: pageToken")
    return tuple(key) if isinstance(key, list) else key
