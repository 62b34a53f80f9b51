# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Letting authentik link what exists at Google by itself: the listing that every sync before 2026.8 begins with.

authentik lists the whole directory before it syncs one object, and makes or updates a row for each record that it
recognises (people by their e-mail, groups by their name), with Google's record as the row's attributes. The API has no
other way to write these. A sync of an object that does not exist does just that, and writes nothing at Google.
"""

from __future__ import annotations

from .._authentik.api import NOBODY
from .._authentik.errors import AuthentikError
from .._common.kind import Kind
from .._common.types import Json
from .work import Work

# The answer may take as long as the listing; from 2025.8 on authentik answers after ten seconds in any case.
LONGEST_S = 60.0


def can_discover(work: Work, provider: Json) -> str:
    """Why authentik cannot be asked to list and link; empty if it can."""
    if work.version.number >= (2026, 8):
        return "from 2026.8 on authentik links only in a full sync"
    if work.version.number >= (2025, 8) and not provider.get("assigned_backchannel_application_slug"):
        return "no application carries the provider, so that authentik syncs nothing"
    return ""


def discover(work: Work, provider: Json, kind: Kind) -> bool:
    """Ask for it; ``work.unread`` is then set until the caller has read the connections again.

    Returns:
        False where authentik did not say that it was done.

    Raises:
        AuthentikError: for a missing right.
    """
    pk = int(provider["pk"])
    what = f"let authentik list the {kind}s at Google"
    syncs = work.authentik.syncs
    before = syncs.total
    try:
        work.authentik.sync_object(pk, kind, NOBODY[kind], False, LONGEST_S, what)
    except AuthentikError as exc:
        if exc.kind not in ("internal_page", "timeout", "network", "server"):
            raise
        work.warn(
            f"{exc.message} authentik lists the whole directory for it, and that may take longer than it waits: it may still be at it."
        )
        return False
    finally:
        # Whoever asks reads the connections again, and says so.
        work.unread = work.unread or syncs.total > before
    return True
