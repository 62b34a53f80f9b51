# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bounds of a listing that comes in pages: a server that never ends it does not keep a run reading for ever."""

from __future__ import annotations

import typing as t

MAX_OBJECTS = 1_000_000
EMPTY_IN_A_ROW = 10
# What tells objects apart, the first that there is.
KEYS = ("pk", "id", "message_id", "uuid", "email", "name")


class Listing:
    """One listing, page by page.

    Args:
        most: int, the most objects that are read.
        repeats: whether a page may show only objects that were shown before, as in a list that is ordered by time.
    """

    def __init__(self, most: int = MAX_OBJECTS, repeats: bool = False) -> None:
        self._most = most
        self._repeats = repeats
        self._tokens: set[str] = set()
        self._seen: set[int] = set()
        self._number = 0
        self._empty = 0

    def take(self, page: t.Sequence[t.Any], announced: int = 0, token: t.Any = None) -> str:
        """Why the listing must not go on after a page; empty if it may.

        Args:
            announced: how many objects the server says that there are, at most; 0 if it does not say.
            token: what asks for the next page, where a token does.
        """
        self._number += len(page)
        if self._number > self._most:
            return "it has more than %d objects (max_objects)" % self._most
        if announced and self._number > announced:
            return "it was announced with %d objects and has more" % announced
        if token is not None:
            if str(token) in self._tokens:
                return "it comes back to a page that was read before"
            self._tokens.add(str(token))
        self._empty = 0 if page else self._empty + 1
        if self._empty > EMPTY_IN_A_ROW:
            return "%d pages in a row are empty" % self._empty
        return "a page shows only objects that were shown before" if page and not self._shows_new(page) else ""

    def _shows_new(self, page: t.Sequence[t.Any]) -> bool:
        if self._repeats:
            return True
        before = len(self._seen)
        for item in page:
            key = next((item[name] for name in KEYS if item.get(name)), None) if isinstance(item, dict) else None
            if key is None:
                return True
            self._seen.add(hash(str(key)))
        return len(self._seen) > before
