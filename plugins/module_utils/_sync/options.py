# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks for, checked by itself before anything is sent."""

from __future__ import annotations

import typing as t

from .._common.kind import GROUP, KINDS, USER, Kind
from .._objects.target import name_problem
from .guard.safety_limits import Limit


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
        if self.provider_id is None and self.provider_name is None:
            return "provider_id and provider_name are both null; give one of them."
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


class ObjectOptions(SyncOptions):
    """One object that a user asks for.

    Attributes:
        kind: Kind.
        object_id, lookup: str.
    """

    def __init__(self, **values: t.Any) -> None:
        super().__init__(**values)
        self.kind: Kind = values["kind"]
        self.object_id: str = values["object_id"]
        self.lookup: str = values["lookup"]

    def problem(self, engine: str) -> t.Optional[str]:
        if not self.object_id:
            return "sync_object_id is empty; give the primary key, or what lookup says."
        return super().problem(engine)

    def _names(self) -> t.List[t.Tuple[str, str]]:
        return [("sync_object_id", self.object_id), *super()._names()]


class DirectoryOptions(SyncOptions):
    """Many objects that a user asks for.

    Attributes:
        models: tuple of "user" and "group", in this order.
        objects: list of str, to restrict it to, None for all; an empty list is about no object at all.
        lookup: str, how to read objects.
        orphans: "ignore", "report" or "apply".
        mapping_evaluation: "auto", "server" or "local"; mapping_sample: int, how many objects "auto" compares.
        limits: {"max_deletions", "max_suspensions", "max_removals_per_group", "max_missing": Limit}.
        allow_group_deletion, force: bool.
        queries_per_minute, user_creations_per_second: float.
        parallel: int, requests to Google at once.
        shard_index, shard_count: int.
        result_limit: int, how many changes the result shows.
        max_objects: int, the most that one listing may have.
        fail_on_objects: bool.
    """

    def __init__(self, **values: t.Any) -> None:
        super().__init__(**values)
        self.models: t.Tuple[Kind, ...] = tuple(kind for kind in KINDS if kind in values["models"])
        self.objects: t.Optional[t.List[str]] = None if values["objects"] is None else list(values["objects"])
        self.lookup: str = values["lookup"]
        self.orphans: str = values["orphans"]
        self.mapping_evaluation: str = values["mapping_evaluation"]
        self.mapping_sample: int = values["mapping_sample"]
        self.limits: t.Dict[str, Limit] = values["limits"]
        self.allow_group_deletion: bool = values["allow_group_deletion"]
        self.force: bool = values["force"]
        self.queries_per_minute: float = values["queries_per_minute"]
        self.user_creations_per_second: float = values["user_creations_per_second"]
        self.parallel: int = values["parallel"]
        self.shard_index: int = values["shard_index"]
        self.shard_count: int = values["shard_count"]
        self.result_limit: int = values["result_limit"]
        self.max_objects: int = values["max_objects"]
        self.fail_on_objects: bool = values["fail_on_objects"]

    def problem(self, engine: str) -> t.Optional[str]:
        if not self.models:
            return "models is empty; give user, group or both."
        for name, value, least, most in (
            ("queries_per_minute", self.queries_per_minute, 1, 1000000),
            ("user_creations_per_second", self.user_creations_per_second, 0.1, 10000),
            ("parallel", self.parallel, 1, 64),
            ("mapping_sample", self.mapping_sample, 1, 10000),
            ("result_limit", self.result_limit, 0, 100000),
            ("max_objects", self.max_objects, 1, 100000000),
            ("shard_count", self.shard_count, 1, 1000),
        ):
            if not least <= value <= most:
                return "%s must be from %g to %g, not %g." % (name, least, most, value)
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

    def _server_problem(self) -> t.Optional[str]:
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

    def _names(self) -> t.List[t.Tuple[str, str]]:
        return [*(("objects", item) for item in self.objects or ()), *super()._names()]


def split_object(text: str) -> t.Tuple[t.Optional[Kind], str]:
    """An entry of objects: (kind, or None where it does not say, id or name)."""
    kind, colon, rest = text.strip().partition(":")
    if colon and kind in (USER, GROUP):
        return Kind(kind), rest.strip()
    return None, text.strip()
