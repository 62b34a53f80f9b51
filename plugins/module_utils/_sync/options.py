# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks for, checked by itself before anything is sent."""

from __future__ import annotations

import dataclasses
import typing as t

from .._common.kind import GROUP, KINDS, USER, Kind
from .._objects.protection import protect_problem
from .._objects.target import name_problem
from .guard.safety_limits import SafetyLimits

# What a number must be: (the least, the most).
RANGES: dict[str, tuple[float, float]] = {
    "queries_per_minute": (1, 1000000),
    "user_creations_per_second": (0.1, 10000),
    "parallel": (1, 64),
    "mapping_sample": (1, 10000),
    "result_limit": (0, 100000),
    "max_objects": (1, 100000000),
    "shard_count": (1, 1000),
}
# How a value is kept, where not as it is given.
_KEPT: dict[str, t.Callable[[t.Any], t.Any]] = {
    "fail_on": frozenset,
    "keep_members": frozenset,
    "models": lambda given: tuple(kind for kind in KINDS if kind in given),
}
_Options = t.TypeVar("_Options", bound="SyncOptions")


@dataclasses.dataclass(frozen=True)
class SyncOptions:
    """What a user asks for, whatever the number of objects.

    Attributes:
        provider_id, provider_name: exactly one of them.
        verify: "auto", "google", "connection" or "none".
        out_of_scope: "warn", "fail" or "ignore".
        fail_on: log levels.
        sync_timeout: seconds for the sync itself, following its task included.
        google_wait: seconds to wait for what Google has confirmed or is still working on.
        membership: "add", "exact" or "ignore"; direct engine.
        keep_members: of "owner", "manager", "group", "customer"; whom "exact" leaves alone.
        ownership: "connection" or "external_id".
        adopt: "always" or "never": whether a record that is found by its address, without a connection, is taken over.
        protect: entries that name protected accounts; see Protection.
        reactivate: whether accounts are activated that Google has suspended; create_inactive: whether an account is made for
            a user who is not active.
    """

    provider_id: int | None
    provider_name: str | None
    override_dry_run: bool
    verify: str
    out_of_scope: str
    fail_on: frozenset[str]
    sync_timeout: float
    google_wait: float
    membership: str
    keep_members: frozenset[str]
    ownership: str
    adopt: str
    protect: list[str]
    allow_admins: bool
    reactivate: bool
    create_inactive: bool
    check_mode: bool

    @classmethod
    def of(cls: type[_Options], params: t.Mapping[str, t.Any], **more: t.Any) -> _Options:
        """The options from a module's parameters.

        Args:
            more: what has another name there, or no place.
        """
        values = {item.name: params[item.name] for item in dataclasses.fields(cls) if item.name not in more}
        values.update(more)
        return cls(**{name: _KEPT.get(name, _as_given)(value) for name, value in values.items()})

    @property
    def needs_google(self) -> bool:
        """Whether a failing read of Google ends the task: it was asked for, or who is protected is not known without it."""
        return self.verify == "google" or bool(self.protect)

    def problem(self, engine: str) -> str | None:
        """What is wrong with the values for an engine ("server" or "direct"), naming the option; None if nothing is."""
        for name, value in self._names():
            wrong = name_problem(name, value)
            if wrong:
                return wrong
        if self.provider_id is None and self.provider_name is None:
            return "provider_id and provider_name are both null; give one of them."
        if self.provider_name is not None and not self.provider_name.strip():
            return "provider_name is empty; give the provider's name, or provider_id."
        if self.provider_id is not None and not 0 < self.provider_id <= 2147483647:
            return "provider_id must be a positive integer (at most 2147483647), not %d." % self.provider_id
        wrong = protect_problem(self.protect)
        if wrong:
            return wrong
        if engine == "server" and self.protect and self.verify not in ("auto", "google"):
            return "protect needs Google to be read: use verify: auto or google."
        if engine == "direct" and self.verify not in ("auto", "google"):
            return f"verify: {self.verify} is for engine: server; the direct engine always looks at Google, leave verify out."
        for name, value, kept in (("ownership", self.ownership, "connection"), ("adopt", self.adopt, "always")):
            if engine == "server" and value != kept:
                return (
                    f"{name}: {value} needs engine: direct; authentik itself goes by its connections and by addresses."
                )
        if engine == "server" and self.membership != "add":
            return f"membership: {self.membership} needs engine: direct; authentik itself only adds members."
        return None

    def _out_of_range(self) -> str | None:
        """Which number is too small or too large; None if none is."""
        for name, (least, most) in RANGES.items():
            value = getattr(self, name, None)
            if value is not None and not least <= value <= most:
                return f"{name} must be from {least:g} to {most:g}, not {value:g}."
        return None

    def _names(self) -> list[tuple[str, str]]:
        """(option, value) of what names something."""
        return [("provider_name", self.provider_name or "")]


@dataclasses.dataclass(frozen=True)
class ObjectOptions(SyncOptions):
    """One object that a user asks for."""

    kind: Kind
    object_id: str
    lookup: str

    def problem(self, engine: str) -> str | None:
        if not self.object_id:
            return "sync_object_id is empty; give the primary key, or what lookup says."
        return super().problem(engine)

    def _names(self) -> list[tuple[str, str]]:
        return [("sync_object_id", self.object_id), *super()._names()]


@dataclasses.dataclass(frozen=True)
class DirectoryOptions(SyncOptions):
    """Many objects that a user asks for.

    Attributes:
        models: the kinds of the run, in the order of KINDS.
        objects: to restrict it to, None for all; an empty list is about no object at all.
        lookup: how to read objects.
        orphans: "ignore", "report" or "apply".
        mapping_evaluation: "auto", "server" or "local"; mapping_sample: how many objects "auto" compares.
        parallel: requests to Google at once.
        result_limit: how many changes the result shows.
        max_objects: the most that one listing may have.
    """

    models: tuple[Kind, ...]
    objects: list[str] | None
    lookup: str
    orphans: str
    mapping_evaluation: str
    mapping_sample: int
    safety_limits: SafetyLimits
    allow_group_deletion: bool
    force: bool
    queries_per_minute: float
    user_creations_per_second: float
    parallel: int
    shard_index: int
    shard_count: int
    result_limit: int
    max_objects: int
    fail_on_objects: bool

    def problem(self, engine: str) -> str | None:
        if not self.models:
            return "models is empty; give user, group or both."
        wrong = self._out_of_range()
        if wrong:
            return wrong
        if not 0 <= self.shard_index < self.shard_count:
            return "shard_index must be from 0 to shard_count - 1 (%d), not %d." % (
                self.shard_count - 1,
                self.shard_index,
            )
        if self.objects is not None and self.orphans == "apply":
            return (
                "objects and orphans: apply exclude each other: only a sync of the whole directory knows all accounts."
            )
        if self.objects is not None and self.shard_count > 1:
            return "objects and shard_count exclude each other: what is named needs no shards."
        for item in self.objects or ():
            if not split_object(item)[1]:
                return (
                    "objects contains an empty entry; give ids or names, with user: or group: before them if need be."
                )
        if engine == "server":
            wrong = self._server_problem()
            if wrong:
                return wrong
        return super().problem(engine)

    def _server_problem(self) -> str | None:
        """What authentik's own full sync has no switch for."""
        remedy = " needs engine: direct; authentik's own full sync has no such option."
        if self.objects is not None:
            return "objects" + remedy
        if self.models != KINDS:
            return "models: %s" % ", ".join(self.models) + remedy
        if self.orphans == "apply":
            return "orphans: apply" + remedy
        if self.shard_count > 1:
            return "shard_count" + remedy
        if self.override_dry_run:
            return "override_dry_run" + remedy
        return None

    def _names(self) -> list[tuple[str, str]]:
        return [*(("objects", item) for item in self.objects or ()), *super()._names()]


def _as_given(value: t.Any) -> t.Any:
    return value


def split_object(text: str) -> tuple[Kind | None, str]:
    """An entry of objects: (kind, or None where it does not say, id or name)."""
    kind, colon, rest = text.strip().partition(":")
    if colon and kind in (USER, GROUP):
        return Kind(kind), rest.strip()
    return None, text.strip()
