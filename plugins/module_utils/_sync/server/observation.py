# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking: what stands at Google, and in authentik's record of it, before and after a sync. Reads only."""

from __future__ import annotations

import typing as t

from ..._authentik.api import Authentik
from ..._authentik.errors import AuthentikError
from ..._common.kind import GROUP, USER
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._objects.connection import first_row
from ..._objects.difference import member_roles
from ..._objects.record import held_text
from ..._objects.target import Target

if t.TYPE_CHECKING:
    from ..._google.directory import Directory


class Observation:
    """One look.

    Attributes:
        rows: list of connection rows, or None when they were not or could not be read.
        row: the row that authentik uses, or None.
        seen: bool, whether Google itself was read; then record and members are Google's.
        record: Google's resource, or None when there is none.
        members: a group's members at Google, as Google lists them.
        conflict: why a sync would write to somebody else's record; empty if it would not.
        adopting: bool, Google holds a record that authentik is not, or no longer, connected to.
        incomplete: bool, Google may hold a record that was not looked for.
    """

    def __init__(self) -> None:
        self.rows: t.Optional[t.List[Json]] = None
        self.seen = False
        self.record: t.Optional[Json] = None
        self.members: t.List[Json] = []
        self.conflict = ""
        self.adopting = False
        self.incomplete = False

    @property
    def row(self) -> t.Optional[Json]:
        return first_row(self.rows or [])

    @property
    def attributes(self) -> Json:
        """Google's last answer as authentik's row keeps it."""
        found = (self.row or {}).get("attributes")
        # authentik stores whatever Google answered, even what is no object.
        return found if isinstance(found, dict) else {}

    @property
    def roles(self) -> t.Dict[str, str]:
        return member_roles(self.members)


class Observer:
    """Looks at one object.

    Attributes:
        directory: Google's directory, or None where only authentik's record is looked at.
        sent: bool, whether something was sent that may have written.

    Args:
        authentik: the API.
        provider: the provider as authentik shows it.
        target: the object.
        strict: whether a failing look at Google is an error (verify: google) rather than a reason to look elsewhere.
        warn: callable taking a text.
    """

    def __init__(
        self,
        authentik: Authentik,
        provider: Json,
        target: Target,
        strict: bool,
        warn: t.Callable[[str], None],
    ) -> None:
        self.authentik = authentik
        self.provider = provider
        self.target = target
        self.directory: t.Optional[Directory] = None
        self.strict = strict
        self.warn = warn
        self.sent = False
        self._rows_refused = False

    def rows(self) -> t.Optional[t.List[Json]]:
        """The object's connection rows, or None (and one warning) where the token may not read them."""
        if self._rows_refused:
            return None
        try:
            return self.authentik.connections(self.target.kind, int(self.provider["pk"]), self.target.pk)
        except AuthentikError as exc:
            # Once something was sent, a look that fails is no reason to forget what else is known.
            if exc.kind != "forbidden" and not self.sent:
                raise
            self._rows_refused = exc.kind == "forbidden"
            self.warn("authentik's record of the connection cannot be read. %s" % exc)
            return None

    def before(self, wanted: t.Callable[[], Json]) -> Observation:
        """The look before anything is written.

        Args:
            wanted: gives a group's wanted ``email`` (and may cost requests); called only for groups without a
                connection that works.
        """
        look = Observation()
        look.rows = self.rows()
        if self.directory is not None:
            try:
                if self.target.kind == USER:
                    self._user_before(look)
                else:
                    self._group_before(look, wanted)
                look.seen = True
            except GoogleError as exc:
                self._lose_sight(exc)
        return look

    def after(self, before: Observation, wanted_address: str) -> Observation:
        """The look after a sync: Google where it could be read before, else authentik's row.

        Args:
            wanted_address: the address a created record has, as far as known.
        """
        look = Observation()
        if self.directory is not None and before.seen:
            try:
                self._record_after(look, before, wanted_address)
                look.seen = True
                return look
            except GoogleError as exc:
                self.strict = False
                self._lose_sight(exc)
        look.rows = self.rows()
        return look

    def again(self, look: Observation) -> Observation:
        """Read the same Google record once more."""
        fresh = Observation()
        fresh.rows = look.rows
        fresh.seen = True
        key = str((look.record or {}).get("id") or (look.row or {}).get("google_id") or "")
        self._read(fresh, key)
        return fresh

    def _lose_sight(self, exc: GoogleError) -> None:
        """Google cannot be read: an error where it was demanded, else a reason to rest on authentik's record."""
        if self.strict:
            raise exc
        self.directory = None
        self.warn("Google could not be looked at, so the result rests on authentik's own record. %s" % exc)

    def _read(self, look: Observation, key: str) -> None:
        directory = t.cast("Directory", self.directory)
        if self.target.kind == USER:
            look.record = directory.get(USER, key) if key else None
            return
        look.record = directory.get(GROUP, key) if key else None
        if look.record is not None:
            # None: Google shows a new group before it lists its members.
            look.members = directory.members(str(look.record["id"])) or []

    def _user_before(self, look: Observation) -> None:
        row = look.row
        address = self.target.email
        if row is not None:
            linked = str(row.get("google_id") or "")
            self._read(look, linked)
            if look.record is not None:
                if not _is(look.record, linked) and not self._is_own(look.record, look.attributes):
                    look.conflict = self._alias_text(linked, look.record)
                return
            if linked.lower() == address.lower():
                return
        self._read(look, address)
        if look.record is not None:
            look.adopting = True
            if not _is(look.record, address):
                look.conflict = self._alias_text(address, look.record)

    def _is_own(self, record: Json, attributes: Json) -> bool:
        """An account behind an alias is the person's own if it is the connected one, renamed."""
        return (bool(attributes.get("id")) and attributes.get("id") == record.get("id")) or _is(
            record, self.target.email
        )

    def _alias_text(self, address: str, record: Json) -> str:
        setting = "the e-mail in authentik"
        if self.provider and address != self.target.email:
            setting += "; delete the connection row that names it, too"
        left = "which authentik would overwrite. Nothing was sent"
        return held_text(address, "another account", record, left, setting)

    def _group_before(self, look: Observation, wanted: t.Callable[[], Json]) -> None:
        if look.row is not None:
            self._read(look, str(look.row.get("google_id") or ""))
            if look.record is not None:
                return
        body = wanted()
        look.incomplete = bool(body.get("guessed"))
        address = str(body["email"])
        self._read(look, address)
        if look.record is not None:
            look.adopting = True
            if not _is(look.record, address):
                look.conflict = self._alias_text(address, look.record)
            return
        named = t.cast("Directory", self.directory).groups_named(self.target.name)
        if named and look.row is None:
            self.warn(
                "A group named %s exists at Google with the address %s: authentik connects groups by name, and gives it the "
                "address %s." % (self.target.name, named[0].get("email"), address)
            )
            look.adopting = True
            self._read(look, str(named[0]["id"]))

    def _record_after(self, look: Observation, before: Observation, address: str) -> None:
        tried = []
        for key in (str((before.record or {}).get("id") or ""), address):
            if key and key not in tried and look.record is None:
                tried.append(key)
                self._read(look, key)
        if look.record is None:
            look.rows = self.rows()
            linked = str((look.row or {}).get("google_id") or "")
            if linked and linked not in tried:
                self._read(look, linked)


def _is(record: Json, address: str) -> bool:
    return str(record.get("primaryEmail") or record.get("email") or "").lower() == address.lower()
