# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what there is of one object: Google's record, what the property mappings want of it, and a group's members."""

from __future__ import annotations

import typing as t

from ..._common.errors import Refused
from ..._common.kind import GROUP
from ..._common.types import Json
from ..._mappings.desired import MappingProblem, default_address
from ..._objects.connection import BY_ADDRESS, BY_ID, NOT, connected_id, tie
from ..._objects.record import held_text, is_at
from ..._objects.target import Target
from ..guard.ownership import (
    CONTESTED,
    OWN,
    UNDECIDED,
    Rivals,
    contested_text,
    mark_of,
    marked,
    undecided_text,
    verdict,
)
from .context import DirectContext
from .endings import HeldByAnother

# What the mappings give for one object: (the wanted resource, its password fields), or why that is not known.
Evaluated = t.Union[t.Tuple[Json, Json], MappingProblem]


class Question(t.NamedTuple):
    """What the mappings have to be evaluated with.

    Attributes:
        google_id: what authentik's connection calls the record; None for one that is to be made.
    """

    google_id: str | None


class Observer:
    """Finds the record of one object and what it should be.

    The mappings of many objects are evaluated together: begin() gives the question, go_on() takes the answer, and asks once
    more where the record turns out to be another one than the question was about.

    Args:
        run: DirectContext.
        target: Target.
        row: the connection in authentik, or None.
        keep_secret: callable taking a text that must never be printed.

    Attributes:
        record: Google's record, or None.
        wanted: the fields that it should have; secret: its password fields.
        members: a group's members as Google lists them; None where they were not read.
        adopts: bool, whether the record was found by its address, without a connection that leads to it.
    """

    def __init__(
        self, run: DirectContext, target: Target, row: Json | None, keep_secret: t.Callable[[str], None]
    ) -> None:
        self.run = run
        self._keep_secret = keep_secret
        self.target = target
        self.row = row
        self.record: Json | None = None
        self.wanted: Json = {}
        self.secret: Json = {}
        self.members: list[Json] | None = None
        self._found_by = ""
        self.adopts = False
        self._tried: set[str] = set()
        self._asked: Question | None = None
        self._asked_again = False

    def begin(self) -> Question:
        """Look the record up. Raises AuthentikError, GoogleError."""
        self.record, self._found_by = self._connected_record()
        if self.record is None:
            self._found_by = default_address(self.target, self.run.provider)
            self.record = self._read(self._found_by)
        self._asked = Question(self.google_id())
        return self._asked

    def go_on(self, given: Evaluated) -> Question | None:
        """Take what the mappings give, and look at where that leads.

        Returns:
            The question to ask next, or None when everything was read.

        Raises:
            HeldByAnother, Refused, MappingProblem, AuthentikError, GoogleError.
        """
        if isinstance(given, MappingProblem):
            raise given
        self.wanted, self.secret = given
        if isinstance(self.secret.get("password"), str):
            self._keep_secret(self.secret["password"])
        if not self._asked_again:
            self._follow()
            question = Question(self.google_id())
            if question != self._asked:
                # authentik evaluates with the connection that there is, and without one for what it makes.
                self._asked_again = True
                return question
        if self._uuid:
            self.wanted = marked(self.wanted, self.record, self._uuid)
        if self.target.kind == GROUP and self.run.options.membership != "ignore":
            self.members = self.run.reader.members(str(self.record["id"])) if self.record is not None else []
        return None

    def google_id(self) -> str | None:
        """What authentik's connection calls the record; None where there is none."""
        if self.record is None:
            return None
        if self.row is not None and self.row.get("google_id"):
            return str(self.row["google_id"])
        return self.target.kind.google_id(self.record)

    def _follow(self) -> None:
        """Look at the address that the mappings want, and see whose the record is."""
        another = f"another {self.target.kind}"
        address = self.target.kind.address(self.wanted)
        if self.record is not None and not self._is_ours(self.record, address):
            # Found by somebody's alias: a mapping may have another address for this object.
            if address.lower() in self._tried:
                raise HeldByAnother(held_text(self._found_by, another, self.record))
            self.record = None
        if self.record is not None and not self._owns(self.record, address):
            self.record = None
        if self.record is None and address.lower() not in self._tried:
            record = self._read(address)
            if record is not None and not is_at(record, address):
                raise HeldByAnother(held_text(address, another, record))
            self.record = record if record is not None and self._owns(record, address) else None
        self.adopts = self.record is not None and tie(self.row, self.record) == NOT

    def _owns(self, record: Json, address: str) -> bool:
        """Whether a record is this object's, and not somebody else's that has got its address.

        Raises:
            Refused: another object has to do with it, or nobody can tell.
        """
        how = tie(self.row, record)
        wants = is_at(record, address)
        if how == NOT and not wants:
            # It has the e-mail of the user, as authentik links them, and a mapping wants another address.
            wants = is_at(record, default_address(self.target, self.run.provider))
        mark = mark_of(record) if self._uuid else ""
        if mark == self._uuid != "" or (not mark and (how == BY_ID or (how == BY_ADDRESS and wants))):
            # It was synced before, and nothing has moved: there is nothing to ask.
            return True
        kind, title = self.target.kind, self.target.title
        rivals = self.run.reader.rivals(self.target, record) if not mark else Rivals(by_id=(f"the user {mark}",))
        found = verdict(NOT if mark else how, wants, rivals)
        if found == CONTESTED:
            raise Refused(contested_text(title, kind, kind.address(record), rivals.names()), "conflict")
        if found == UNDECIDED:
            raise Refused(undecided_text(title, kind, record, address), "conflict")
        return found == OWN

    @property
    def _uuid(self) -> str:
        """What marks the records of this object; empty where records are not marked."""
        if self.run.options.ownership != "external_id" or self.target.kind == GROUP:
            return ""
        return str(self.target.data.get("uuid") or "")

    def _connected_record(self) -> tuple[Json | None, str]:
        """The record that the connection leads to, by immutable id first, and the key that it was found by."""
        if self.row is None:
            return None, ""
        own_id = connected_id(self.row)
        for key in (own_id, str(self.row.get("google_id") or "")):
            record = self._read(key)
            if record is None:
                continue
            if (
                own_id
                and record.get("id") != own_id
                and not is_at(record, default_address(self.target, self.run.provider))
            ):
                # The connected one is gone, and somebody else has its old address.
                continue
            return record, key
        return None, ""

    def _read(self, key: str) -> Json | None:
        if not key or key.lower() in self._tried:
            return None
        self._tried.add(key.lower())
        return self.run.reader.record(self.target.kind, key)

    def _is_ours(self, record: Json, address: str) -> bool:
        """Whether the record that was found is this object's: by its id, its own address, or as the connected one."""
        return (
            record.get("id") in (self._found_by, connected_id(self.row))
            or is_at(record, self._found_by)
            or is_at(record, address)
            or is_at(record, default_address(self.target, self.run.provider))
        )
