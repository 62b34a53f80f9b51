# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connected accounts and groups whose object the provider no longer syncs, and the provider's delete actions.

Whose account it is is looked at again before anything is done: an account that belongs to somebody in scope, that is not
the connected one, or whose object cannot be shown to be out of scope, is left alone.
"""

from __future__ import annotations

import typing as t

from ..._common.errors import RemoteError
from ..._common.kind import GROUP, USER, Kind
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._objects.connection import connected_id, first_row
from ..._objects.difference import changes
from ..._objects.protection import Protected, Subject, check
from ..._objects.record import address_of, is_at
from ..._objects.target import Target, described, scope
from ..directory import RunEnded
from ..outcome import Outcome, operation
from .executor import Unconfirmed
from .listed_reader import ListedReader
from .log import EngineLog
from .object import DirectContext

if t.TYPE_CHECKING:
    from .snapshot import Snapshot


class Orphan:
    """One.

    Attributes:
        kind: Kind.
        rows: the connections that lead to the record, or to none.
        record: Google's record, or None where there is none that is surely the connected one.
        why: str, why it is out of scope.
        certain: bool, whether authentik shows that it is.
        action: "deleted", "suspended", "unlinked", or None where nothing is to be done.
        outcome: Outcome.
    """

    def __init__(
        self,
        kind: Kind,
        pk: str,
        name: t.Optional[str],
        rows: t.List[Json],
        record: t.Optional[Json],
        why: str,
        certain: bool = True,
    ) -> None:
        self.kind = kind
        self.pk = pk
        self.rows = rows
        self.record = record
        self.why = why
        self.certain = certain
        self.action: t.Optional[str] = None
        self.outcome = Outcome("direct")
        self.outcome.object = described(kind, pk, name, False)
        self.outcome.object["google_id"] = t.cast(Json, first_row(rows)).get("google_id")
        self.outcome.status = "out_of_scope"
        self.outcome.basis = "google"

    def decide(self, provider: Json, allow_group_deletion: bool, subject: Subject) -> None:
        """What the provider's delete action comes down to here; a protected account is left alone, and that is a failure."""
        if not self.certain or self.outcome.failure:
            return
        wanted = str(provider.get("%s_delete_action" % self.kind) or "do_nothing")
        self.action = "unlinked"
        if self.record is None:
            return
        if wanted == "delete":
            if self.kind == GROUP and not allow_group_deletion:
                self.action = None
                self.why += "; deleting groups, which Google cannot restore, needs allow_group_deletion: true"
                return
            self.action = "deleted"
        elif wanted == "suspend" and self.kind == USER and not self.record.get("suspended"):
            self.action = "suspended"
        try:
            self._check(subject)
        except Protected as exc:
            self.action = None
            self._fail(exc)
            return
        self._explain()

    def _fail(self, exc: Protected) -> None:
        name = self.outcome.object["name"]
        text = "The provider's delete action was not applied to it for user %s, who is out of scope" % name
        self.outcome.fail(exc.text(text), "protected")

    def _check(self, subject: Subject) -> None:
        body = {"suspended": True} if self.action == "suspended" else {}
        check(self.kind, self.record, body, subject, deletes=self.action == "deleted")

    def _explain(self) -> None:
        outcome, record = self.outcome, t.cast(Json, self.record)
        after = (
            None if self.action == "deleted" else dict(record, suspended=True) if self.action == "suspended" else record
        )
        outcome.changes = changes(self.kind, record, after)
        outcome.changed = bool(outcome.changes)
        outcome.note_states(self.kind, record, after)

    def apply(self, run: DirectContext) -> None:
        """Do it, and then unlink; what Google refuses ends in the outcome."""
        outcome, directory = self.outcome, run.directory
        executor = run.executor(self.kind, EngineLog())
        explained, outcome.changes, outcome.changed = outcome.changes, [], False
        sent = directory.session.writes.of_thread
        try:
            self._check(run.subject)
            if self.action in ("deleted", "suspended"):
                record = t.cast(Json, self.record)
                if self.action == "suspended":
                    executor.update(record, {"suspended": True}, {"suspended": True})
                    outcome.operations.append(operation("PUT", USER, address_of(record), by="module"))
                else:
                    executor.delete(record)
                    outcome.operations.append(operation("DELETE", self.kind, address_of(record), by="module"))
                outcome.changes, outcome.changed = explained, True
                outcome.status = "synced"
            for row in self.rows:
                executor.disconnect(row)
                outcome.operations.append(operation("DELETE", "connection", str(row.get("google_id")), by="module"))
            outcome.status = "synced"
        except Protected as exc:
            self._fail(exc)
        except Unconfirmed as exc:
            outcome.fail(str(exc), "not_ready")
        except RemoteError as exc:
            outcome.fail_by(exc)
            if isinstance(exc, GoogleError) and exc.may_have_been_applied and not outcome.changed:
                outcome.assume_changed()
        except RunEnded as exc:
            outcome.fail(str(exc), exc.code)
        except Exception as exc:  # noqa: BLE001
            outcome.fail_unexpectedly(exc)
            if directory.session.writes.of_thread > sent and not outcome.changed:
                outcome.assume_changed()

    def not_tried(self, why: str) -> None:
        """The run was given up before it."""
        self.outcome.changes, self.outcome.changed = [], False
        self.outcome.fail("Not tried, since the run was given up: %s" % why, "not_tried")


class Orphans:
    """Finds them.

    Args:
        holders: {kind: {id of a record at Google: the primary key of whom it belongs to}}.
    """

    def __init__(
        self, run: DirectContext, survey: Snapshot, reader: ListedReader, holders: t.Mapping[Kind, t.Mapping[str, str]]
    ) -> None:
        self._run = run
        self._survey = survey
        self._reader = reader
        self._holders = holders

    def look(self, kind: Kind, pk: str) -> t.List[Orphan]:
        """The orphans behind the connections of an object that was not found in scope; none if it is there after all."""
        rows = self._reader.rows[kind].of(pk)
        try:
            return self._look(kind, pk, rows)
        except RemoteError as exc:
            found = Orphan(kind, pk, None, rows, None, "it was not found in scope", certain=False)
            found.outcome.fail_by(exc)
            return [found]

    def _look(self, kind: Kind, pk: str, rows: t.List[Json]) -> t.List[Orphan]:
        authentik = self._run.authentik
        data = authentik.get(kind, pk)
        if data is None:
            # With an object authentik removes its connections, so that this one is hidden rather than gone.
            why = (
                "authentik does not show it: it was deleted just now, or the token's user may not see it; nothing is done "
                "about its account"
            )
            return [Orphan(kind, pk, None, rows, None, why, certain=False)]
        target = Target(kind, data)
        rule = scope(self._run.provider, target)
        if rule is None:
            if pk not in self._survey.left_out[kind]:
                # It is in scope, and the listing did not show it so.
                return []
            rule = "a property mapping leaves it out (SkipObject)"
        found: t.Dict[str, Orphan] = {}
        for row in rows:
            record = self._record(kind, row)
            own_id = "" if record is None else str(record.get("id"))
            reason = rule
            if own_id in self._holders[kind] or own_id in self._survey.claimed[kind]:
                record = None
                reason += "; the account belongs to somebody else in scope by now"
            if own_id in found:
                found[own_id].rows.append(row)
            else:
                found[own_id] = Orphan(kind, pk, target.name, [row], record, reason)
        return list(found.values())

    def _record(self, kind: Kind, row: Json) -> t.Optional[Json]:
        """The record that is surely the connected one."""
        own_id, google_id = connected_id(row), str(row.get("google_id") or "")
        for key in (own_id, google_id):
            found = self._reader.record(kind, key) if key else None
            if found is not None and (
                found.get("id") == own_id or (not own_id and is_at(found, google_id)) or found.get("id") == google_id
            ):
                return found
        return None
