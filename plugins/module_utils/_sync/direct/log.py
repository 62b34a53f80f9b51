# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The direct engine's own log, in the form of authentik's LogEvents."""

from __future__ import annotations

import datetime
import typing as t

from ..._common.masking import mask, mask_text
from ..._common.types import Json

LOGGER = "dirsync.authentik.direct"


class EngineLog:
    """Lines in order of time.

    Args:
        most: int, how many lines are kept; 0 for all.

    Attributes:
        lines: list of dict: timestamp (ISO 8601), log_level, logger, event, attributes.
    """

    def __init__(self, most: int = 0) -> None:
        self.lines: list[Json] = []
        self._most = most

    def info(self, event: str, **attributes: t.Any) -> None:
        """Something that happened as it should."""
        self._add("info", event, attributes)

    def error(self, event: str, **attributes: t.Any) -> None:
        """Why the sync did not do what was asked."""
        self._add("error", event, attributes)

    def end(self, event: str) -> None:
        """Why the run failed: it is kept however many lines there are."""
        self._most = 0
        self.error(event)

    def _add(self, level: str, event: str, attributes: Json) -> None:
        if self._most and len(self.lines) >= self._most:
            return
        now = datetime.datetime.now(datetime.timezone.utc)
        self.lines.append(
            {
                "timestamp": now.isoformat().replace("+00:00", "Z"),
                "log_level": level,
                "logger": LOGGER,
                "event": mask_text(event),
                "attributes": mask(attributes),
            }
        )
