# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the sync of one object can end before its last step; attempt.py turns each into the outcome."""

from __future__ import annotations


class ObjectEnded(Exception):
    """The outcome says already how it ended."""


class Unconfirmed(Exception):
    """Google neither took a write for good nor refused it for good while we waited."""


class HeldByAnother(Exception):
    """The wanted address is somebody else's at Google."""


class LeftOut(Exception):
    """An option leaves the object out of the sync; the text says which, as the end of a sentence."""
