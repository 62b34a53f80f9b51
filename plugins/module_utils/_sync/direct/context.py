# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the objects of one run of the direct engine share."""

from __future__ import annotations

import threading
import typing as t

from ..._authentik.api import Authentik
from ..._authentik.errors import AuthentikError
from ..._common.kind import USER, Kind
from ..._common.types import Json
from ..._objects.connection import BY_ADDRESS, tie, tolerates_rows
from ..._objects.protection import Protection
from ..._objects.record import is_at
from ..options import SyncOptions
from .executor import Executor, WaitBudget
from .log import EngineLog
from .reader import Reader

if t.TYPE_CHECKING:
    from ..._google.directory import Directory


# authentik goes on listing without us.
LISTING_S = 5.0


class DirectContext:
    """What the objects of one run share.

    Attributes:
        authentik: Authentik.
        provider: dict, as authentik shows it.
        options: SyncOptions.
        directory: Directory, to write to.
        reader: Reader, to look things up with.
        server_version: str or None, where it had to be asked for.
        protection: Protection, the accounts that the run and authentik act as.
    """

    def __init__(
        self,
        authentik: Authentik,
        provider: Json,
        options: SyncOptions,
        directory: Directory,
        reader: Reader,
        protection: Protection,
    ) -> None:
        self.authentik = authentik
        self.provider = provider
        self.options = options
        self.directory = directory
        self.reader = reader
        self.protection = protection
        self.server_version: str | None = None
        self._lacks_ids = False
        self._tolerant: bool | None = None
        self._lock = threading.Lock()

    def executor(self, kind: Kind, log: EngineLog) -> Executor:
        """What writes one object of this run."""
        budget = WaitBudget(self.options.google_wait)
        return Executor(self.authentik, self.directory, kind, budget, log, self.protection)

    @property
    def dry(self) -> bool:
        """Whether the provider is in dry run, and stays so in this run."""
        return bool(self.provider.get("dry_run")) and not self.options.override_dry_run

    @property
    def explains(self) -> bool:
        """Whether nothing may be written: plans are explained, not executed."""
        return self.options.check_mode or self.dry

    def tolerates_rows(self, written: bool) -> bool:
        """Whether authentik goes on syncing when a connection's attributes are not Google's.

        Args:
            written: whether something else is written, too.
        """
        with self._lock:
            if self._tolerant is None:
                if not written and "sync_page_size" not in self.provider:
                    # Not worth a request where nothing else is written: authentik finds the record by its address.
                    return False
                self._tolerant = tolerates_rows(self.provider, self._version)
            return self._tolerant

    def note_connection(self, kind: Kind, row: Json, record: Json | None, address: str) -> None:
        """Note a connection of this run; whether it lacks an id that authentik could find.

        Args:
            record: the record that it leads to.
            address: the address that the object has unless a mapping gives another: authentik finds a user's account by it.
        """
        if kind == USER and tie(row, record) == BY_ADDRESS and is_at(record, address):
            self._lacks_ids = True

    def list_missing_ids(self, log: EngineLog) -> None:
        """Have authentik list Google's users, if connections lack immutable ids that it can find so.

        A connection that is made through its API knows an address alone, which proves nothing when the address has changed.
        Before 2026.8 authentik lists Google's users at the beginning of each sync and notes their ids then.
        """
        provider = self.provider
        if not self._lacks_ids or "sync_page_size" not in provider or "discovery_enabled" in provider:
            return
        if not provider.get("assigned_backchannel_application_slug"):
            return
        try:
            self.authentik.list_google(int(provider["pk"]), USER, LISTING_S)
        except AuthentikError as exc:
            log.info(f"Whether authentik has noted the ids of the new connections is not known. {exc.message}")

    def _version(self) -> tuple[int, int]:
        found = self.authentik.version()
        self.server_version = str(found)
        return found.number
