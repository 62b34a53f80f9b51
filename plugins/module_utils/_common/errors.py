# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the errors of authentik and of Google have in common."""

from __future__ import annotations

import typing as t


class RemoteError(Exception):
    """A request that did not give what was asked for; AuthentikError or GoogleError.

    Attributes:
        side: str, "authentik" or "google".
        kind: str, what it means; each side has its own.
        message: str, what happened.
        remedy: str, what to do about it; may be empty.
        http_status: int or None.
        errors: list of dict, the errors by field: ``{"field": str, "messages": [str]}``; authentik's only.
        retry_after: float or None, the seconds that the server asks to wait before another attempt.
        may_have_been_applied: bool, the server may have received and performed the request, or an earlier attempt at it.
    """

    side = ""

    def __init__(self, kind: str, message: str, remedy: str = "", http_status: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.remedy = remedy
        self.http_status = http_status
        self.errors: list[dict[str, t.Any]] = []
        self.retry_after: float | None = None
        self.may_have_been_applied = False

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.remedy) if part)

    @property
    def code(self) -> str:
        """How the modules' results name it."""
        return f"{self.side}_{self.kind}"

    @property
    def retryable(self) -> bool:
        """Whether the same request may well succeed a little later."""
        raise NotImplementedError

    @property
    def affects_all(self) -> bool:
        """Whether the same request about another object would fail, too."""
        raise NotImplementedError


class Refused(Exception):
    """Something must not or cannot be done as it was asked for; the text says why and what to do.

    Attributes:
        code: str, as the result shows it.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code
