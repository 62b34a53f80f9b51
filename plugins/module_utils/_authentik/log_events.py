# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""authentik's LogEvents: their levels, and their form without secrets. Pure."""

from __future__ import annotations

import typing as t

from .._common.masking import mask, mask_text
from .._common.types import Json

LEVELS = ("critical", "exception", "error", "warning", "warn", "info", "debug", "notset")


def normalise(lines: t.Any) -> list[Json]:
    """LogEvents in order of time, with exactly the keys of authentik's LogEvent and without secrets."""
    events = [
        {
            "timestamp": str(line.get("timestamp") or ""),
            "log_level": str(line.get("log_level") or "notset"),
            "logger": str(line.get("logger") or ""),
            "event": mask_text(str(line.get("event") or "")),
            "attributes": mask(line.get("attributes") or {}),
        }
        for line in lines or []
        if isinstance(line, dict)
    ]
    return sorted(events, key=lambda event: event["timestamp"])
