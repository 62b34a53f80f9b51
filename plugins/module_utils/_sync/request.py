# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""What a user asks for, checked by itself before anything is sent."""

from __future__ import annotations

import typing as t

# Longer than any name or address that authentik takes.
LONGEST_NAME = 512


class SyncOptions:
    """What a user asks for, whatever the number of objects.

    Attributes:
        provider_id: int or None; provider_name: str or None: exactly one of them.
        override_dry_run: bool.
        verify: "auto", "google", "connection" or "none".
        out_of_scope: "warn", "fail" or "ignore".
        fail_on: collection of log levels.
        sync_timeout: float, seconds for the sync itself, following its task included.
        google_wait: float, seconds to wait for what Google has confirmed or is still working on.
        membership: "add", "exact" or "ignore"; direct engine.
        keep_members: collection of "owner", "manager", "group", "customer"; whom "exact" leaves alone.
        check_mode: bool.
    """

    def __init__(self, **values: t.Any) -> None:
        self.provider_id: t.Optional[int] = values["provider_id"]
        self.provider_name: t.Optional[str] = values["provider_name"]
        self.override_dry_run: bool = values["override_dry_run"]
        self.verify: str = values["verify"]
        self.out_of_scope: str = values["out_of_scope"]
        self.fail_on: t.FrozenSet[str] = frozenset(values["fail_on"])
        self.sync_timeout: float = values["sync_timeout"]
        self.google_wait: float = values["google_wait"]
        self.membership: str = values["membership"]
        self.keep_members: t.FrozenSet[str] = frozenset(values["keep_members"])
        self.check_mode: bool = values["check_mode"]

    def problem(self, engine: str) -> t.Optional[str]:
        """What is wrong with the values for an engine ("server" or "direct"), naming the option; None if nothing is."""
        for name, value in self._names():
            wrong = name_problem(name, value)
            if wrong:
                return wrong
        if self.provider_name is not None and not self.provider_name.strip():
            return "provider_name is empty; give the provider's name, or provider_id."
        if self.provider_id is not None and not 0 < self.provider_id <= 2147483647:
            return "provider_id must be a positive integer (at most 2147483647), not %d." % self.provider_id
        if engine == "direct" and self.verify not in ("auto", "google"):
            return (
                "verify: %s is for engine: server; the direct engine always looks at Google, leave verify out."
                % self.verify
            )
        if engine == "server" and self.membership != "add":
            return "membership: %s needs engine: direct; authentik itself only adds members." % self.membership
        return None

    def _names(self) -> t.List[t.Tuple[str, str]]:
        """(option, value) of what names something."""
        return [("provider_name", self.provider_name or "")]


class Request(SyncOptions):
    """One object that a user asks for.

    Attributes:
        kind: "user" or "group".
        object_id, lookup: str.
    """

    def __init__(self, **values: t.Any) -> None:
        super().__init__(**values)
        self.kind: str = values["kind"]
        self.object_id: str = values["object_id"]
        self.lookup: str = values["lookup"]

    def problem(self, engine: str) -> t.Optional[str]:
        if not self.object_id:
            return "sync_object_id is empty; give the primary key, or what lookup says."
        return super().problem(engine)

    def _names(self) -> t.List[t.Tuple[str, str]]:
        return [("sync_object_id", self.object_id), *super()._names()]


def name_problem(option: str, value: str) -> t.Optional[str]:
    """Why a value cannot name anything in authentik; None if it can."""
    if len(value) > LONGEST_NAME:
        return "%s is longer than %d characters." % (option, LONGEST_NAME)
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        return "%s contains control characters." % option
    return None
