# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be set on the authentik side while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass
class Settings:
    """Settings by their names at ``authentik/settings``.

    ``answer_ms``: how long the sync endpoint waits for its task. ``sync_ms``: what authentik's own work for one sync
    costs. ``retry_ms``: the pause before the first retry of a task, doubled each time. ``signals``: whether saving
    something starts syncs in the background. ``licensed``: whether providers may be changed. ``worker``: whether the
    worker runs.
    """

    answer_ms: float = 10000
    sync_ms: float = 0
    retry_ms: float = 10000
    signals: bool = False
    licensed: bool = False
    worker: bool = True

    def update(self, values: Any) -> None:
        """Take over some settings; raises ValueError naming what is wrong, and then changes nothing."""
        if not isinstance(values, dict):
            raise ValueError("settings are an object")
        known = {entry.name: entry.type for entry in fields(self)}
        for key, value in values.items():
            if key not in known:
                raise ValueError(f"unknown key: {key}; known: {', '.join(known)}")
            is_bool = isinstance(value, bool)
            fits = is_bool if known[key] == "bool" else isinstance(value, (int, float)) and not is_bool and value >= 0
            if not fits:
                raise ValueError(f"{key}: wrong value {value!r}")
        for key, value in values.items():
            setattr(self, key, value)

    def as_dict(self) -> dict:
        """All settings."""
        return asdict(self)
