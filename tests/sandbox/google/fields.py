# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partial responses: the ``fields`` parameter, such as ``nextPageToken,users(id,name/fullName)``."""

from __future__ import annotations

import re
from typing import Any

from tests.sandbox.google.errors import ApiError

# A mask: name of a field to the mask below it; an empty mask means everything from there on.
Mask = dict[str, "Mask"]

_TOKEN = re.compile(r"[(),/]|[^(),/\s]+")


def parse(text: str) -> Mask:
    """Return the mask that a ``fields`` parameter describes; raises ApiError when it is not well-formed."""
    tokens = _TOKEN.findall(text)
    mask, end = _list(tokens, 0, text)
    if end != len(tokens) or not mask:
        raise refused(text)
    return mask


def apply(mask: Mask, value: Any) -> Any:
    """Return the part of parsed JSON that the mask selects; arrays are gone through item by item."""
    if not mask:
        return value
    if isinstance(value, list):
        return [apply(mask, item) for item in value]
    if not isinstance(value, dict):
        return value
    if "*" in mask:
        return {key: apply(mask["*"], item) for key, item in value.items()}
    return {key: apply(mask[key], item) for key, item in value.items() if key in mask}


def refused(selection: str) -> ApiError:
    """Return the error for a selection that is malformed or names no field."""
    return ApiError(400, "invalidParameter", f"Invalid field selection {selection}")


def _list(tokens: list[str], at: int, text: str) -> tuple[Mask, int]:
    mask: Mask = {}
    while True:
        at = _item(tokens, at, mask, text)
        if at >= len(tokens) or tokens[at] != ",":
            return mask, at
        at += 1


def _item(tokens: list[str], at: int, mask: Mask, text: str) -> int:
    """Read one item at a position, add it to the mask and return the position behind it."""
    if at >= len(tokens) or tokens[at] in "(),/":
        raise refused(text)
    below = mask.setdefault(tokens[at], {})
    at += 1
    if at < len(tokens) and tokens[at] == "/":
        return _item(tokens, at + 1, below, text)
    if at < len(tokens) and tokens[at] == "(":
        selected, at = _list(tokens, at + 1, text)
        if at >= len(tokens) or tokens[at] != ")":
            raise refused(text)
        below.update(selected)
        return at + 1
    return at
