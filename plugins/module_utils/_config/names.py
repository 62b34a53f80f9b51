# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names that people use, for the primary keys that authentik wants, and back."""

from __future__ import annotations

from .._authentik.errors import AuthentikError
from .._common.errors import Refused
from .._common.kind import GROUP
from .._common.types import Json
from .._objects.target import find
from .work import Work


class Names:
    """Looks things up once.

    Args:
        work: whose API is asked.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._mappings: list[Json] | None = None
        self._groups: dict[str, str] = {}

    def mappings(self) -> list[Json]:
        """Every Google Workspace property mapping."""
        if self._mappings is None:
            self._mappings = self._work.authentik.mappings()
        return self._mappings

    def mapping(self, value: str, option: str) -> Json:
        """The property mapping with this primary key, managed id or name, in that order.

        In check mode one that is not there may be what an earlier task would have made: then its name stands for it.

        Raises:
            Refused: there is none, or more than one.
        """
        for key in ("pk", "managed", "name"):
            found = [item for item in self.mappings() if item.get(key) == value]
            if len(found) == 1:
                return found[0]
            if found:
                raise Refused(
                    "%s: more than one property mapping has the %s '%s': %s. Give the primary key."
                    % (option, key, value, ", ".join(str(item.get("pk")) for item in found)),
                    "ambiguous",
                )
        if self._work.check_mode:
            self._work.warn(
                f"{option}: authentik has no Google Workspace property mapping '{value}' yet. Unless an earlier task makes it, "
                "a real run fails."
            )
            return {"pk": value, "name": value}
        raise Refused(
            f"{option}: authentik has no Google Workspace property mapping '{value}' (by primary key, managed id or name; the "
            "case counts). Create it first, for example with google_workspace_mapping.",
            "not_found",
        )

    def mapping_label(self, pk: str) -> str:
        """What to call a property mapping: its managed id, else its name; the primary key where it cannot be read."""
        try:
            known = self.mappings()
        except AuthentikError as exc:
            if exc.kind != "forbidden":
                raise
            known = self._mappings = []
        for item in known:
            if item.get("pk") == pk:
                return str(item.get("managed") or item.get("name"))
        return pk

    def group(self, value: str, option: str) -> str:
        """The primary key of the group with this name or UUID."""
        try:
            target = find(self._work.authentik, GROUP, value, "auto")
        except AuthentikError as exc:
            if exc.kind == "not_found":
                raise Refused(
                    f"{option}: authentik has no group '{value}' (by name or UUID; the case counts).", "not_found"
                ) from None
            if exc.kind == "ambiguous":
                raise Refused(
                    f"{option}: {exc.message} Give the UUID of the group that is meant in its other spelling (with hyphens, or without).",
                    "ambiguous",
                ) from None
            raise
        self._groups[target.pk] = target.name
        return target.pk

    def group_label(self, pk: str | None) -> str:
        """A group's name; empty for none, the primary key where it cannot be read."""
        if not pk:
            return ""
        if pk not in self._groups:
            try:
                data = self._work.authentik.get(GROUP, pk)
            except AuthentikError as exc:
                if exc.kind != "forbidden":
                    raise
                data = None
            self._groups[pk] = str((data or {}).get("name") or pk)
        return self._groups[pk]


def find_provider(work: Work) -> Json | None:
    """The provider that provider_id or provider_name (or name) means, or None. Its secrets are known as such from here on."""
    options = work.options
    pk = options.get("provider_id")
    name = options.get("provider_name") or options.get("name")
    if pk is not None:
        found: Json | None = work.authentik.provider(pk)
    else:
        named = work.api.providers_named(str(name))
        if len(named) > 1:
            raise Refused(
                "More than one Google Workspace provider is named '%s': ids %s. Give provider_id."
                % (name, ", ".join(str(item.get("pk")) for item in named)),
                "ambiguous",
            )
        found = named[0] if named else None
    if found is not None:
        work.hide(found)
    return found


def need_provider(work: Work) -> Json:
    """As find_provider; a provider that is not there is an error."""
    found = find_provider(work)
    if found is None:
        raise Refused(
            "authentik has no Google Workspace provider named '%s'. Check provider_name (the case counts), or give provider_id."
            % work.options.get("provider_name"),
            "not_found",
        )
    return found
