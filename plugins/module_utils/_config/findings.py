# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found wrong, or could not be looked at, each with its meaning and remedy."""

from __future__ import annotations

from .._common.types import Json

SEVERITIES = ("error", "warning", "notice", "unknown")


class Findings:
    """A list of findings, the gravest first.

    Severities: ``error``, syncs do not work, or do damage; ``warning``, part of them does not work, or may not soon;
    ``notice``, worth knowing; ``unknown``, could not be looked at.
    """

    def __init__(self) -> None:
        self._found: list[Json] = []

    def add(self, severity: str, code: str, what: str, meaning: str, remedy: str = "") -> None:
        """Note one: what was seen, what it means, what to do."""
        self._found.append({"severity": severity, "code": code, "what": what, "meaning": meaning, "remedy": remedy})

    def unknown(self, what: str, exc: Exception) -> None:
        """Note what could not be looked at, and why."""
        message, remedy = getattr(exc, "message", str(exc)), getattr(exc, "remedy", "")
        self.add(
            "unknown",
            "not_looked_at",
            f"{what} could not be looked at: {message}",
            "Nothing is known of it.",
            remedy,
        )

    @property
    def listed(self) -> list[Json]:
        """All, by severity."""
        return sorted(self._found, key=lambda item: SEVERITIES.index(item["severity"]))

    @property
    def healthy(self) -> bool:
        """Whether none is an error."""
        return not any(item["severity"] == "error" for item in self._found)

    @property
    def complete(self) -> bool:
        """Whether everything could be looked at."""
        return not any(item["severity"] == "unknown" for item in self._found)
