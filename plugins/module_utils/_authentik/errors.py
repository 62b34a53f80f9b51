# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the authentik side: types with fields, turned into text for a person in one place (str)."""

from __future__ import annotations

import typing as t

from .._common.errors import RemoteError

RETRIED_STATUS = (429, 502, 503, 504)


class AuthentikError(RemoteError):
    """A request to authentik that did not give what was asked for.

    Args:
        sent: bool, whether authentik may have received and acted upon the request.

    Attributes:
        kind: str, one of ``url resolve refused tls timeout network validation unauthorized forbidden not_found
            method not_acceptable unsupported_media throttled server internal_page html redirect json too_large
            status version``.
    """

    side = "authentik"

    def __init__(
        self,
        kind: str,
        message: str,
        remedy: str = "",
        http_status: int | None = None,
        errors: list[dict[str, t.Any]] | None = None,
        sent: bool = False,
    ) -> None:
        super().__init__(kind, message, remedy, http_status)
        self.errors = errors or []
        self.may_have_been_applied = sent

    @property
    def retryable(self) -> bool:
        return self.http_status in RETRIED_STATUS or self.kind == "network"

    @property
    def affects_all(self) -> bool:
        return self.kind not in ("validation", "not_found")
