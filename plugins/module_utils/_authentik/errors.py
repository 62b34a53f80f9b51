# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the authentik side: types with fields, turned into text for a person in one place (str)."""

from __future__ import annotations

import typing as t


class AuthentikError(Exception):
    """A request to authentik that did not give what was asked for.

    Attributes:
        kind: str, one of ``url resolve refused tls timeout network validation unauthorized forbidden not_found
            method not_acceptable unsupported_media throttled server internal_page html redirect json too_large
            status version``.
        message: str, what happened.
        remedy: str, what to do about it; may be empty.
        http_status: int or None.
        errors: list of dict, authentik's ValidationError by field: ``{"field": str, "messages": [str]}``.
        sent: bool, whether authentik may have received and acted upon the request.
        retry_after: float or None, the seconds that the server asks to wait before another attempt.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        remedy: str = "",
        http_status: t.Optional[int] = None,
        errors: t.Optional[t.List[t.Dict[str, t.Any]]] = None,
        sent: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.remedy = remedy
        self.http_status = http_status
        self.errors = errors or []
        self.sent = sent
        self.retry_after: t.Optional[float] = None

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, self.remedy) if part)
