# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read Google's record of one object, and authentik's connection, before and after a sync. Nothing is written."""

from __future__ import annotations

import typing as t

from ..._authentik.api import Authentik
from ..._authentik.errors import AuthentikError
from ..._common.kind import GROUP, USER, Kind
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._objects.connection import BY_ID, first_row, tie
from ..._objects.difference import member_roles
from ..._objects.record import held_text, is_at
from ..._objects.target import Target

if t.TYPE_CHECKING:
    from ..._google.directory import Directory


class Observation(t.NamedTuple):
    """What one read of both sides found.

    Attributes:
        rows: list of connections as authentik shows them, or None if they were not or could not be read.
        seen: bool, whether Google itself was read; then record and members are Google's.
        record: Google's resource, or None if there is none.
        members: a group's members at Google, as Google lists them.
        conflict: why a sync would write to somebody else's record; empty if it would not.
        adopting: bool, Google holds a record that authentik is not, or no longer, connected with.
        incomplete: bool, Google may hold a record that was not searched for.
    """

    rows: t.Sequence[Json] | None = None
    seen: bool = False
    record: Json | None = None
    members: t.Sequence[Json] = ()
    conflict: str = ""
    adopting: bool = False
    incomplete: bool = False

    @property
    def row(self) -> Json | None:
        """The connection that authentik uses, or None."""
        return first_row(self.rows or ())

    @property
    def attributes(self) -> Json:
        """Google's last answer as authentik's connection keeps it."""
        found = (self.row or {}).get("attributes")
        # authentik stores whatever Google answered, even if it is not an object.
        return found if isinstance(found, dict) else {}

    @property
    def roles(self) -> dict[str, str]:
        """A group's members as {key: role}."""
        return member_roles(self.members)

    @property
    def known_record(self) -> Json | None:
        """Google's record; if Google was not read, what authentik's connection keeps of it."""
        return self.record if self.seen else self.attributes or None

    def google_id(self, kind: Kind) -> str:
        """What authentik's connection calls the record, or would call it; empty if there is neither."""
        return str((self.row or {}).get("google_id") or "") or kind.google_id(self.record or {})


class Observer:
    """Reads one object on both sides.

    Attributes:
        directory: Google's directory, or None if it is not, or no longer, read.
        sent: bool, whether something was sent that may have written.

    Args:
        authentik: the API.
        provider: the provider as authentik shows it.
        target: the object.
        directory: Google's directory, or None if only authentik's connection is read.
        strict: whether a failing read of Google is an error (verify: google) rather than a reason to read authentik only.
        warn: callable taking a text.
    """

    def __init__(
        self,
        authentik: Authentik,
        provider: Json,
        target: Target,
        directory: Directory | None,
        strict: bool,
        warn: t.Callable[[str], None],
    ) -> None:
        self.authentik = authentik
        self.provider = provider
        self.target = target
        self.directory = directory
        self.strict = strict
        self.warn = warn
        self.sent = False
        self._rows_refused = False

    def rows(self) -> list[Json] | None:
        """The object's connections, or None (and one warning) if the token may not read them."""
        if self._rows_refused:
            return None
        try:
            return self.authentik.connections(self.target.kind, int(self.provider["pk"]), self.target.pk)
        except AuthentikError as exc:
            # Once something was sent, a read that fails is no reason to forget what else is known.
            if exc.kind != "forbidden" and not self.sent:
                raise
            self._rows_refused = exc.kind == "forbidden"
            self.warn(f"authentik's record of the connection cannot be read. {exc}")
            return None

    def before(self, wanted: t.Callable[[], Json]) -> Observation:
        """Read both sides before anything is written.

        Args:
            wanted: gives a group's wanted ``email`` (and may cost requests); called only for groups without a
                connection that works.
        """
        found = Observation(rows=self.rows())
        if self.directory is None:
            return found
        try:
            found = self._user_before(found) if self.target.kind == USER else self._group_before(found, wanted)
            return found._replace(members=self._members(found.record), seen=True)
        except GoogleError as exc:
            self._read_authentik_only(exc)
        return found

    def after(self, before: Observation, wanted_address: str) -> Observation:
        """Read after a sync: Google if it could be read before, else authentik's connection.

        Args:
            wanted_address: the address that a created record has, as far as known.
        """
        found = Observation()
        if self.directory is not None and before.seen:
            try:
                found = self._record_after(before, wanted_address)
                return found._replace(members=self._members(found.record), seen=True)
            except GoogleError as exc:
                self.strict = False
                self._read_authentik_only(exc)
        return found._replace(rows=self.rows())

    def again(self, earlier: Observation) -> Observation:
        """Read the same record at Google once more. Raises GoogleError."""
        key = str((earlier.record or {}).get("id") or (earlier.row or {}).get("google_id") or "")
        record = self._record(key)
        return Observation(rows=earlier.rows, seen=True, record=record, members=self._members(record))

    def _read_authentik_only(self, exc: GoogleError) -> None:
        """Google cannot be read: an error if that was demanded, else a reason to rest on authentik's record."""
        if self.strict:
            raise exc
        self.directory = None
        self.warn(f"Google could not be looked at, so the result rests on authentik's own record. {exc}")

    def _record(self, key: str) -> Json | None:
        return t.cast("Directory", self.directory).get(self.target.kind, key) if key else None

    def _members(self, record: Json | None) -> t.Sequence[Json]:
        if record is None or self.target.kind != GROUP:
            return ()
        # None: Google shows a new group before it lists its members.
        return t.cast("Directory", self.directory).members(str(record["id"])) or ()

    def _user_before(self, found: Observation) -> Observation:
        row, address = found.row, self.target.email
        if row is not None:
            linked = str(row.get("google_id") or "")
            record = self._record(linked)
            if record is not None:
                own = is_at(record, linked) or self._is_own(record, found.row)
                return found._replace(record=record, conflict="" if own else self._alias_text(linked, record))
            if linked.lower() == address.lower():
                return found
        return self._adopting(found, address)

    def _adopting(self, found: Observation, address: str) -> Observation:
        """With the record, if there is one, that has an address and that no connection leads to."""
        record = self._record(address)
        if record is None:
            return found
        conflict = "" if is_at(record, address) else self._alias_text(address, record)
        return found._replace(record=record, adopting=True, conflict=conflict)

    def _is_own(self, record: Json, row: Json | None) -> bool:
        """An account behind an alias is the user's own if it is the connected one, renamed."""
        return tie(row, record) == BY_ID or is_at(record, self.target.email)

    def _alias_text(self, address: str, record: Json) -> str:
        setting = "the e-mail in authentik"
        if self.provider and address != self.target.email:
            setting += "; delete the connection row that names it, too"
        left = "which authentik would overwrite. Nothing was sent"
        return held_text(address, "another account", record, left, setting)

    def _group_before(self, found: Observation, wanted: t.Callable[[], Json]) -> Observation:
        if found.row is not None:
            record = self._record(str(found.row.get("google_id") or ""))
            if record is not None:
                return found._replace(record=record)
        body = wanted()
        found = self._adopting(found._replace(incomplete=bool(body.get("guessed"))), str(body["email"]))
        if found.record is not None:
            return found
        named = t.cast("Directory", self.directory).groups_named(self.target.name)
        if not named or found.row is not None:
            return found
        self.warn(
            "A group named %s exists at Google with the address %s: authentik connects groups by name, and gives it the "
            "address %s." % (self.target.name, named[0].get("email"), body["email"])
        )
        return found._replace(adopting=True, record=self._record(str(named[0]["id"])))

    def _record_after(self, before: Observation, address: str) -> Observation:
        tried = []
        for key in (str((before.record or {}).get("id") or ""), address):
            if key and key not in tried:
                tried.append(key)
                record = self._record(key)
                if record is not None:
                    return Observation(record=record)
        found = Observation(rows=self.rows())
        linked = str((found.row or {}).get("google_id") or "")
        return found._replace(record=self._record(linked)) if linked not in tried else found
