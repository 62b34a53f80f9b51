# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a run is given up: an error that the next object will meet as well, or too many failures in a row."""

from __future__ import annotations

from ..._common.endings import UNEXPECTED
from ..outcome import BaseOutcome

# Errors that the next object will meet as well.
HOPELESS = frozenset(
    (
        "libraries",
        "credentials",
        "delegation",
        "subject",
        "scope",
        "disabled",
        "unauthorized",
        "exhausted",
        "tls",
        "wrong_address",
    )
)
IN_A_ROW = 10


class GiveUp:
    """Watches the outcomes of a run.

    Attributes:
        reason: str, why the run is given up; empty while it goes on.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._in_a_row = 0

    def because(self, reason: str) -> None:
        """Give the run up; the first reason counts."""
        self.reason = self.reason or reason

    def watch(self, outcome: BaseOutcome) -> None:
        """Look at what became of an object."""
        code = outcome.code or ""
        kind = code.partition("_")[2] if code.startswith("google_") else ""
        if kind in HOPELESS:
            self.reason = outcome.failure
        elif code == UNEXPECTED or kind in ("unreachable", "transient", "rate", "forbidden"):
            self._in_a_row += 1
            if self._in_a_row >= IN_A_ROW:
                self.reason = "%d objects in a row failed, the last one so: %s" % (IN_A_ROW, outcome.failure)
        else:
            self._in_a_row = 0
