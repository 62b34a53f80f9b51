# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run ends that an error of an unlisted kind or a signal stopped: its code, and what the result says."""

from __future__ import annotations

from .masking import mask_text

UNEXPECTED = "unexpected"
STOPPED = "stopped"
LONGEST_REASON = 500


def unexpected_text(error: BaseException, what: str = "sync") -> str:
    """What an error that nobody listed means for whoever runs the task.

    Args:
        what: what it stopped, "sync" or "module".
    """
    try:
        reason = mask_text(str(error))[:LONGEST_REASON]
    except Exception:  # noqa: BLE001
        # An error whose text cannot be made has a name still.
        reason = ""
    kind = type(error).__name__
    if isinstance(error, MemoryError):
        fewer = ", or sync fewer objects in one run," if what == "sync" else ""
        remedy = f"Give the host more memory{fewer} and run the task again."
    elif isinstance(error, OSError):
        remedy = "Correct that on the host that the module runs on, and run the task again."
    else:
        remedy = (
            "Run the task again. If it fails again, please report it as a defect of the collection, with the result."
        )
    return "An unexpected error stopped the %s (%s%s). What was done before is in the result. %s" % (
        what,
        kind,
        ": " + reason.rstrip(".") if reason else "",
        remedy,
    )


def stopped_text(signal: BaseException, what: str = "sync") -> str:
    """What a signal means for whoever runs the task."""
    return f"{signal} stopped the {what}. What was done before is in the result. Run the task again to do the rest."
