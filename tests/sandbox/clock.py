# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's clock: everything that it lets trail, wait or expire goes by it, and ``POST clock`` moves it forward."""

from __future__ import annotations

import time

_forwarded = 0.0


def monotonic() -> float:
    """Return the clock in seconds: the machine's, plus what it was moved forward."""
    return time.monotonic() + _forwarded


def forward(seconds: float) -> None:
    """Let so much time have passed."""
    global _forwarded
    _forwarded += seconds
