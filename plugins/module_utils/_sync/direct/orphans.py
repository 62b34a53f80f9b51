# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records whose object the provider no longer syncs, and what its delete actions come down to.

Whose record it is is read again before anything is planned: a record that belongs to somebody in scope, that is not the
connected one, or whose object cannot be shown to be out of scope, is left alone.
"""

from __future__ import annotations

import typing as t

from ..._common.errors import RemoteError
from ..._common.kind import GROUP, USER, Kind
from ..._common.types import Json
from ..._objects.connection import BY_ADDRESS, BY_ID, connected_id, first_row, tie
from ..._objects.difference import changes
from ..._objects.protection import check
from ..._objects.record import is_at
from ..._objects.target import Target, described, scope
from ..guard.claims import Claims
from ..guard.ownership import mark_of
from ..options import DirectoryOptions
from ..outcome import Outcome
from ..plan import ConnectionPlan, ObjectPlan, RecordPlan
from .attempt import Attempt
from .context import DirectContext
from .listed_reader import ListedReader
from .log import EngineLog

if t.TYPE_CHECKING:
    from .snapshot import Snapshot


class Orphan:
    """A record whose object the provider no longer syncs.

    Attributes:
        kind: Kind; pk: the object's primary key.
        rows: the connections that lead to the record, or to none.
        record: Google's record, or None where there is none that is surely the connected one.
        why: str, why it is out of scope.
        certain: bool, whether authentik shows that it is.
        plan: ObjectPlan, what is to be done about it; None for nothing.
        action: "deleted", "suspended", "unlinked", or None where nothing is to be done.
        attempt: Attempt.
    """

    def __init__(
        self,
        run: DirectContext,
        kind: Kind,
        pk: str,
        name: str | None,
        rows: list[Json],
        record: Json | None,
        why: str,
        certain: bool = True,
    ) -> None:
        self.kind = kind
        self.pk = pk
        self.rows = rows
        self.record = record
        self.why = why
        self.certain = certain
        self.plan: ObjectPlan | None = None
        self.action: str | None = None
        self.outcome = Outcome("direct")
        self.outcome.object = described(kind, pk, name, False)
        self.outcome.object["google_id"] = t.cast(Json, first_row(rows)).get("google_id")
        self.outcome.status = "out_of_scope"
        self.outcome.basis = "google"
        title = f"{kind} {name}"
        refused = f"The provider's delete action was not applied to it for {title}, who is out of scope"
        self.attempt = Attempt(run, title, self.outcome, EngineLog(), refused)

    def decide(self, run: DirectContext) -> None:
        """Plan what the provider's delete action comes down to here; a protected account is left alone, as a failure."""
        if not self.certain or self.outcome.failure:
            return
        plan = self._planned(run)
        if plan is not None and self.attempt.end(
            lambda: check(
                self.kind, self.record, plan.record.body, run.protection, deletes=plan.record.method == "DELETE"
            )
        ):
            self.plan = plan
            self.action = plan.action or "unlinked"

    def _planned(self, run: DirectContext) -> ObjectPlan | None:
        wanted = str(run.provider.get(f"{self.kind}_delete_action") or "do_nothing")
        record, body, method = self.record, {}, None
        if record is not None and wanted == "delete":
            if self.kind == GROUP and not t.cast(DirectoryOptions, run.options).allow_group_deletion:
                self.why += "; deleting groups, which Google cannot restore, needs allow_group_deletion: true"
                return None
            method = "DELETE"
        elif record is not None and wanted == "suspend" and self.kind == USER and not record.get("suspended"):
            method, body = "PUT", {"suspended": True}
        after = None if method == "DELETE" else dict(record or {}, **body)
        found = changes(self.kind, record, after) if method else []
        row, name = first_row(self.rows), str(self.outcome.object["name"])
        return ObjectPlan(
            self.kind,
            self.pk,
            name,
            "",
            row,
            record,
            None,
            body,
            {},
            RecordPlan(method, body, found),
            connections=ConnectionPlan(self.rows, None, ""),
        )


class Orphans:
    """Finds them.

    Args:
        claims: {Kind: Claims}, who has which record.
    """

    def __init__(
        self, run: DirectContext, snapshot: Snapshot, reader: ListedReader, claims: t.Mapping[Kind, Claims]
    ) -> None:
        self._run = run
        self._snapshot = snapshot
        self._reader = reader
        self._claims = claims

    def find(self, kind: Kind, pk: str) -> list[Orphan]:
        """The orphans behind the connections of an object that was not found in scope; none if it is there after all."""
        rows = self._reader.rows[kind].of(pk)
        try:
            return self._find(kind, pk, rows)
        except RemoteError as exc:
            found = Orphan(self._run, kind, pk, None, rows, None, "it was not found in scope", certain=False)
            found.outcome.fail_by(exc)
            return [found]

    def _find(self, kind: Kind, pk: str, rows: list[Json]) -> list[Orphan]:
        data = self._run.authentik.get(kind, pk)
        if data is None:
            # With an object authentik removes its connections, so that this one is hidden rather than gone.
            why = (
                "authentik does not show it: it was deleted just now, or the token's user may not see it; nothing is done "
                "about its account"
            )
            return [Orphan(self._run, kind, pk, None, rows, None, why, certain=False)]
        target = Target(kind, data)
        rule = scope(self._run.provider, target)
        if rule is None:
            if pk not in self._snapshot.left_out[kind]:
                # It is in scope, and the listing did not show it so.
                return []
            rule = "a property mapping leaves it out (SkipObject)"
        found: dict[str, Orphan] = {}
        for row in rows:
            record = self._record(kind, row)
            own_id = "" if record is None else str(record.get("id"))
            reason = rule
            if own_id in self._claims[kind]:
                record = None
                reason += "; the account belongs to somebody else in scope by now"
            elif record is not None and self._is_wanted(kind, pk, record):
                reason += (
                    f"; somebody else in scope wants the address {kind.address(record)}, so that nothing is done about the account. If "
                    f"it is to be theirs, remove the connection of {target} (google_workspace_connection, state: absent)"
                )
                found[str(row.get("id"))] = Orphan(self._run, kind, pk, target.name, [row], None, reason, certain=False)
                continue
            elif record is not None and tie(row, record) != BY_ID and not self._is_marked(record, data):
                reason += (
                    f"; its connection knows only the address {kind.address(record)}, which can be somebody else's by now, so that "
                    "nothing is done about the account"
                )
                found[str(row.get("id"))] = Orphan(self._run, kind, pk, target.name, [row], None, reason, certain=False)
                continue
            if own_id in found:
                found[own_id].rows.append(row)
            else:
                found[own_id] = Orphan(self._run, kind, pk, target.name, [row], record, reason)
        return list(found.values())

    def _is_wanted(self, kind: Kind, pk: str, record: Json) -> bool:
        """Whether another object in scope, of any shard, wants a record or its address, and has not got it."""
        others = [other for other in self._reader.sharing(kind, kind.address(record)) if other != pk]
        return bool(others) or str(record.get("id")) in self._snapshot.claimed[kind]

    def _is_marked(self, record: Json, data: Json) -> bool:
        """Whether an external id shows that an account is an object's."""
        return self._run.options.ownership == "external_id" and mark_of(record) == str(data.get("uuid") or "?")

    def _record(self, kind: Kind, row: Json) -> Json | None:
        """The record that a connection leads to; by an address only if the connection holds no id, and it is its own address."""
        for key in (connected_id(row), str(row.get("google_id") or "")):
            found = self._reader.record(kind, key) if key else None
            how = tie(row, found)
            if how == BY_ID or (how == BY_ADDRESS and is_at(found, key)):
                return found
        return None
