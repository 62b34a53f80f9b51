# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the direct engine looks things up: at Google and in authentik, one request for each question."""

from __future__ import annotations

import typing as t

from ..._authentik.api import Authentik
from ..._common.kind import USER, Kind
from ..._common.types import Json

if t.TYPE_CHECKING:
    from ..._google.directory import Directory


class Reader:
    """Asks both sides. Reads only; every method raises AuthentikError or GoogleError.

    Args:
        directory: Google's.
        authentik: the API.
        provider: the provider's primary key.

    Attributes:
        sure: bool, whether an answer "there is none" is Google's own, even where the caller could do with less.
    """

    sure = True

    def __init__(self, directory: Directory, authentik: Authentik, provider: int) -> None:
        self.directory = directory
        self.authentik = authentik
        self.provider = provider

    def record(self, kind: Kind, key: str, sure: bool = True) -> t.Optional[Json]:
        """Google's record of a "user" or "group" with this id, address or alias, or None.

        Args:
            sure: whether None must be Google's own answer, and not only that of a listing.
        """
        return self.directory.get(kind, key)

    def account(self, key: str, sure: bool = True) -> t.Optional[Json]:
        """As record() for a "user", as it will be once this run has written the users."""
        return self.record(USER, key, sure)

    def members(self, group: str) -> t.List[Json]:
        """A group's direct members at Google; none for a group that Google does not show yet."""
        return self.directory.members(group) or []

    def connections(self, kind: Kind, pk: str) -> t.List[Json]:
        """The rows that connect one user or group of authentik."""
        return self.authentik.connections(kind, self.provider, pk)
