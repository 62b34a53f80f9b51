# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the direct engine looks things up: at Google and in authentik, one request for each question."""

from __future__ import annotations

import typing as t

from ..._authentik.api import Authentik
from ..._common.kind import GROUP, USER, Kind
from ..._common.types import Json
from ..._mappings.desired import default_address
from ..._objects.target import Target, scope
from ..guard.ownership import Rivals
from ..rivals import connected_rivals

if t.TYPE_CHECKING:
    from ..._google.directory import Directory


class Reader:
    """Asks both sides. Reads only; every method raises AuthentikError or GoogleError.

    Args:
        directory: Google's.
        authentik: the API.
        provider: the provider as authentik shows it.

    Attributes:
        sure: bool, whether an answer "there is none" is Google's own, even where the caller could do with less.
    """

    sure = True

    def __init__(self, directory: Directory, authentik: Authentik, provider: Json) -> None:
        self.directory = directory
        self.authentik = authentik
        self.provider = provider

    def record(self, kind: Kind, key: str, sure: bool = True) -> Json | None:
        """Google's record of a "user" or "group" with this id, address or alias, or None.

        Args:
            sure: whether None must be Google's own answer, and not only that of a listing.
        """
        return self.directory.get(kind, key)

    def account(self, key: str, sure: bool = True) -> Json | None:
        """As record() for a "user", as it will be once this run has written the users."""
        return self.record(USER, key, sure)

    def rivals(self, target: Target, record: Json) -> Rivals:
        """The other objects of authentik that are connected with a record, or want its address."""
        found = connected_rivals(self.authentik, target.kind, int(self.provider["pk"]), target.pk, record)
        return found._replace(wanting=self._wanting(target, target.kind.address(record)))

    def _wanting(self, target: Target, address: str) -> tuple[str, ...]:
        """The other objects that the provider syncs and that have this address unless a mapping gives another."""
        if not address:
            return ()
        # A group has its address by its name, and many names give one address: authentik cannot search for them.
        pages = [self.authentik.searched(USER, address)] if target.kind == USER else self.authentik.listed(GROUP)
        others = (Target(target.kind, data) for page in pages for data in page)
        return tuple(
            sorted(
                str(item)
                for item in others
                if item.pk != target.pk
                and scope(self.provider, item) is None
                and default_address(item, self.provider).lower() == address.lower()
            )
        )

    def is_known_owner(self, pk: str, record_id: str) -> bool:
        """Whether this run has found an account to be a user's, so that nobody has to be asked."""
        return False

    def members(self, group: str) -> list[Json]:
        """A group's direct members at Google; none for a group that Google does not show yet."""
        return self.directory.members(group) or []

    def connections(self, kind: Kind, pk: str) -> list[Json]:
        """The rows that connect one user or group of authentik."""
        return self.authentik.connections(kind, int(self.provider["pk"]), pk)
