# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only code of the direct engine that writes: records and memberships at Google, and connections in authentik.

Every refusal is read, and if a response is lost, the executor checks what became of the write before it retries.

Google is eventually consistent: a fresh group refuses members (404), a fresh account is not complete (412), a renamed one
answers 409 for a while, a deleted one holds its address. That is waited for, with one bound for the whole run.
"""

from __future__ import annotations

import typing as t

from ..._authentik.api import Authentik
from ..._common.kind import GROUP, Kind
from ..._common.types import Json
from ..._common.waiting import Pauses, is_stopping
from ..._google.errors import GoogleError
from ..._objects.difference import unmet
from ..._objects.protection import Protection, check
from ..._objects.record import held_text, is_at
from .endings import HeldByAnother, Unconfirmed
from .log import EngineLog

if t.TYPE_CHECKING:
    from ..._google.directory import Directory
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
CREATE_ATTEMPTS = 3


class WaitBudget:
    """One bound for all the waiting of a run.

    Args:
        seconds: how long may be waited in all.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.left = seconds
        self._pauses = Pauses(FIRST_PAUSE_S, 1.6, LONGEST_PAUSE_S)

    def wait(self) -> bool:
        """Sleep a little; False when there is no time left, or the run is stopped."""
        if self.left <= 0:
            return False
        self.left -= self._pauses.sleep(self.left)
        return not is_stopping()


class Executor:
    """Writes one object's record, a group's members and the object's connections.

    Args:
        authentik: Authentik.
        directory: Google's directory.
        kind: Kind.
        patience: WaitBudget.
        log: EngineLog.
        protection: Protection, the accounts that the run acts as.

    Attributes:
        unknown: bool, whether a write may have been performed of which nobody could see what became.
    """

    def __init__(
        self,
        authentik: Authentik,
        directory: Directory,
        kind: Kind,
        patience: WaitBudget,
        log: EngineLog,
        protection: Protection,
    ) -> None:
        self.authentik = authentik
        self.directory = directory
        self.kind = kind
        self.patience = patience
        self.log = log
        self.protection = protection
        self.unknown = False

    def read(self, key: str) -> Json | None:
        """The record with this id, address or alias, or None."""
        return self.directory.get(self.kind, key)

    def check(self, record: Json | None, body: Json, takes_over: bool = False) -> None:
        """See that a write leaves a protected account alone, before it is sent; update() and delete() do so by themselves.

        Raises:
            Protected.
        """
        check(self.kind, record, body, self.protection, takes_over)

    def create(self, body: Json) -> tuple[Json, bool]:
        """Create the record, or find the one that already has the address.

        Returns:
            (the record, whether this run made it).

        Raises:
            HeldByAnother, Unconfirmed, GoogleError.
        """
        address = self.kind.address(body)

        maybe_done = False
        attempts = 0
        while True:
            try:
                return self.directory.create(self.kind, body), True
            except GoogleError as exc:
                maybe_done = maybe_done or exc.may_have_been_applied
                if exc.kind != "conflict" and not exc.may_have_been_applied:
                    raise
                found = self._look(address, exc)
                if found is not None:
                    if not is_at(found, address):
                        raise HeldByAnother(held_text(address, f"another {self.kind}", found)) from None
                    # An answer that got lost: nothing had this address when we looked before.
                    return found, maybe_done
                if exc.kind != "conflict":
                    # Nothing is there, so it was not performed and may be repeated.
                    attempts += 1
                    if attempts >= CREATE_ATTEMPTS or not self.patience.wait():
                        raise
                    continue
                self._refuse_other_kind(address)
                self.log.info(f"{exc.message} No account or group has this address yet; waiting for Google.")
                if not self.patience.wait():
                    raise Unconfirmed(
                        f"Google says that {address} exists, and shows nobody who has it, after {self.patience.seconds:g} "
                        "seconds (google_wait): it was perhaps deleted or created just now. See in Google's Admin console who "
                        "has it. If it is nobody else's, run the task again."
                    ) from None

    def update(self, record: Json, body: Json, wanted: Json) -> Json:
        """Change fields of a record and return it as Google answers.

        Raises:
            Protected, HeldByAnother, Unconfirmed, GoogleError (kind ``not_found``: it is gone).
        """
        self.check(record, body)
        key = str(record["id"])
        self.directory.note_name(self.kind, record)

        address = self.kind.address(body)
        while True:
            try:
                return self.directory.update(self.kind, key, body)
            except GoogleError as exc:
                if exc.may_have_been_applied:
                    found = self._look(key, exc)
                    if found is not None and not unmet(self.kind, wanted, found):
                        self.log.info(f"{exc.message} Google nevertheless has the expected values.")
                        return found
                    raise
                if exc.kind == "conflict" and address:
                    holder = self.read(address)
                    if holder is not None and holder.get("id") != key:
                        raise HeldByAnother(held_text(address, f"another {self.kind}", holder)) from None
                    if holder is not None and not unmet(self.kind, wanted, holder):
                        return holder
                    if holder is None:
                        self._refuse_other_kind(address)
                elif exc.kind not in ("conflict", "not_ready"):
                    raise
                # Renamed or created a moment ago.
                self.log.info(f"{exc.message} Waiting for Google.")
                if not self.patience.wait():
                    raise Unconfirmed(
                        f"{exc.message} That is so for some minutes after an account was created or renamed; it still was after "
                        f"{self.patience.seconds:g} seconds (google_wait). Run the task again later."
                    ) from None

    def delete(self, record: Json) -> None:
        """Delete a record.

        Raises:
            Protected, GoogleError.
        """
        check(self.kind, record, {}, self.protection, deletes=True)
        key = str(record["id"])
        self.directory.note_name(self.kind, record)

        try:
            self.directory.delete(self.kind, key)
        except GoogleError as exc:
            if not exc.may_have_been_applied:
                # Refused; or gone already, since somebody else was faster.
                raise
            if exc.kind != "not_found" and self._look(key, exc) is not None:
                raise
            self.log.info(f"{exc.message} Google does not have it any more.")

    def connect(self, provider: int, pk: str, google_id: str) -> None:
        """Make a connection in authentik. Raises AuthentikError."""
        self.authentik.create_connection(self.kind, provider, pk, google_id)

    def disconnect(self, row: Json) -> None:
        """Remove a connection in authentik. Raises AuthentikError."""
        self.authentik.delete_connection(self.kind, str(row["id"]))

    def add_member(self, record: Json, address: str) -> Json | None:
        """Let an account be a member.

        Returns:
            The membership, or None when it was there already.

        Raises:
            Unconfirmed, GoogleError.
        """
        group = self._group(record)
        while True:
            try:
                return self.directory.add_member(group, address)
            except GoogleError as exc:
                if exc.kind in ("conflict", "accepted"):
                    # The trace of an earlier attempt, or accepted and slow; else it was there before.
                    ours = exc.may_have_been_applied or exc.kind == "accepted"
                    found = self._await_member(group, address, exc)
                    return found if ours else None
                if exc.may_have_been_applied:
                    there = self._look_member(group, address, exc)
                    if there is not None:
                        return there
                    raise
                if exc.kind not in ("not_found", "not_ready"):
                    raise
                # Both were looked up a moment ago: a fresh group or account refuses members at first.
                self.log.info(f"{exc.message} Waiting for Google.")
                if not self.patience.wait():
                    raise Unconfirmed(
                        f"{exc.message} A new group or account refuses members for up to a minute; it still did after "
                        f"{self.patience.seconds:g} seconds (google_wait). Run the task again later."
                    ) from None

    def remove_member(self, record: Json, member: Json) -> bool:
        """Take a member out of a group; False if that had already happened. Raises Unconfirmed, GoogleError."""
        group = self._group(record)
        key = str(member.get("id") or member.get("email"))
        if member.get("id") and member.get("email"):
            self.directory.note_name(GROUP, member)
        try:
            self.directory.remove_member(group, key)
            return True
        except GoogleError as exc:
            if exc.kind == "not_found":
                address = str(member.get("email") or "")
                if exc.may_have_been_applied or not address or self._look_member(group, address, exc) is None:
                    return exc.may_have_been_applied
                # It is there, and Google knows it by its address only.
                self.directory.remove_member(group, address)
                return True
            if exc.kind == "accepted":
                while self.directory.member(group, key) is not None:
                    if not self.patience.wait():
                        raise Unconfirmed(f"{exc.message} It is still a member.") from None
                return True
            if exc.may_have_been_applied and self._look_member(group, key, exc) is None and not self.unknown:
                return True
            raise

    def _group(self, record: Json) -> str:
        self.directory.note_name(GROUP, record)
        return str(record["id"])

    def _await_member(self, group: str, address: str, cause: GoogleError) -> Json:
        """The membership that Google says there is, once it shows it."""
        while True:
            found = self.directory.member(group, address)
            if found is not None:
                return found
            if not self.patience.wait():
                raise Unconfirmed(
                    f"{cause.message} It does not show the member after {self.patience.seconds:g} seconds (google_wait)."
                )

    def _look(self, key: str, cause: GoogleError) -> Json | None:
        """What became of a write; the write's own error if that cannot be seen."""
        try:
            return self.read(key)
        except GoogleError as exc:
            self.unknown = self.unknown or cause.may_have_been_applied
            self.log.error(f"What became of it cannot be seen. {exc}")
            raise cause from None

    def _look_member(self, group: str, key: str, cause: GoogleError) -> Json | None:
        try:
            return self.directory.member(group, key)
        except GoogleError as exc:
            self.unknown = True
            self.log.error(f"What became of it cannot be seen. {exc}")
            raise cause from None

    def _refuse_other_kind(self, address: str) -> None:
        holder = self.directory.get(self.kind.other, address)
        if holder is not None:
            raise HeldByAnother(held_text(address, f"the {self.kind.other}", holder))
