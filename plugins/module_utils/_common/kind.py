# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two kinds of object that a provider syncs, and the names that differ between them."""

from __future__ import annotations

import enum
import typing as t


class Kind(str, enum.Enum):
    """A user or a group. It is its own name, so that it can be a key, a part of a text and a value in JSON."""

    USER = "user"
    GROUP = "group"

    __str__ = str.__str__

    @property
    def other(self) -> Kind:
        """The other kind; Google gives an address to one of both only."""
        return Kind.GROUP if self is Kind.USER else Kind.USER

    @property
    def model(self) -> str:
        """What authentik calls it: the value of sync_object_model."""
        return f"authentik.core.models.{self.capitalize()}"

    @property
    def name_field(self) -> str:
        """authentik's field that names one to people."""
        return "username" if self is Kind.USER else "name"

    @property
    def mappings_field(self) -> str:
        """The provider's field that lists its property mappings."""
        return "property_mappings" if self is Kind.USER else "property_mappings_group"

    @property
    def address_field(self) -> str:
        """Google's field that holds the address of its record."""
        return "primaryEmail" if self is Kind.USER else "email"

    @property
    def record(self) -> str:
        """What people call its record at Google."""
        return "account" if self is Kind.USER else "group"

    def address(self, fields: t.Mapping[str, t.Any] | None) -> str:
        """The address among fields as Google names them (a record, a body, the wanted values); empty if it is not there."""
        return str((fields or {}).get(self.address_field) or "")

    def google_id(self, record: t.Mapping[str, t.Any]) -> str:
        """What authentik's connection calls a record: a user's address, a group's immutable id; empty if it is not there."""
        return str(record.get(self.address_field if self is Kind.USER else "id") or "")


USER, GROUP = Kind.USER, Kind.GROUP
KINDS = (USER, GROUP)
# What sync_object_model takes.
MODELS = {**{kind.model: kind for kind in KINDS}, **{str(kind): kind for kind in KINDS}}
