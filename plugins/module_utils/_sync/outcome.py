# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one result that every engine fills, and its form for Ansible."""

from __future__ import annotations

import typing as t

from .._common.endings import UNEXPECTED, unexpected_text
from .._common.errors import RemoteError
from .._common.kind import Kind
from .._common.types import Json
from .._objects.difference import comparable


class BaseOutcome:
    """What every result says, whatever the number of objects.

    Attributes are the keys of the modules' results; see their documentation.
    """

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.changed = False
        self.status = "failed"
        self.messages: list[Json] = []
        self.messages_source = "unavailable"
        # Until something is sent that could write, it is known that nothing was.
        self.basis = "nothing_sent"
        self.calls: dict[str, int] = {}
        self.server_version: str | None = None
        self.duration = 0.0
        self.failure = ""
        self.fails_task = False
        self.errors: list[Json] = []
        self.http_status: int | None = None
        self.code: str | None = None

    def fail(self, message: str, code: str | None = None, fails_task: bool = True) -> None:
        """Note that the sync did not do what was asked; changed keeps what is known."""
        self.status = "failed"
        self.failure = message
        self.code = code or self.code or "sync_failed"
        self.fails_task = fails_task

    def fail_by(self, error: RemoteError) -> None:
        """Note that one of the two sides did not give what was asked for."""
        self.errors = error.errors
        self.http_status = error.http_status
        self.fail(str(error), error.code)

    def fail_unexpectedly(self, error: BaseException) -> None:
        """Note an error that nobody listed. Its text may quote anything, so that secrets are masked in it."""
        self.fail(unexpected_text(error), UNEXPECTED)

    def assume_changed(self) -> None:
        """Note that a write was sent of which nobody knows what became."""
        self.changed = True
        self.basis = "assumed"

    def result(self, diff: bool) -> Json:
        """The module's return values."""
        found: Json = {
            "changed": self.changed,
            "status": self.status,
            "messages": self.messages,
            "messages_source": self.messages_source,
            "basis": self.basis,
            "calls": self.calls,
            "engine": self.engine,
            "server_version": self.server_version,
            "duration": round(self.duration, 2),
        }
        if self.failure:
            found.update(msg=self.failure, errors=self.errors, code=self.code, http_status=self.http_status)
        return found


class Outcome(BaseOutcome):
    """What a sync of one object did, or would do."""

    def __init__(self, engine: str) -> None:
        super().__init__(engine)
        self.object: Json = {}
        self.changes: list[Json] = []
        self.operations: list[Json] = []
        self.skipped_members: list[str] = []
        self.before: Json | None = None
        self.after: Json | None = None

    def leave_out(self, text: str, how: str, warn: t.Callable[[str], None]) -> None:
        """An object that the provider does not sync: as the option out_of_scope (warn, fail, ignore) says."""
        self.status = "out_of_scope"
        if how == "fail":
            self.failure = text
            self.code = "out_of_scope"
            self.fails_task = True
        elif how == "warn":
            warn(text)

    def note_states(
        self,
        kind: Kind,
        before: Json | None,
        after: Json | None,
        members_before: t.Mapping[str, str] | None = None,
        members_after: t.Mapping[str, str] | None = None,
    ) -> None:
        """Keep the two states for the diff."""
        self.before = _state(kind, before, members_before)
        self.after = _state(kind, after, members_after)

    def result(self, diff: bool) -> Json:
        found = super().result(diff)
        found.update(
            object=self.object,
            changes=self.changes,
            operations=self.operations,
            skipped_members=self.skipped_members,
        )
        if diff and self.before is not None and self.after is not None:
            name = "%s %s" % (str(self.object.get("model") or "").rsplit(".", 1)[-1], self.object.get("name"))
            header = "%s at Google" % name.strip()
            found["diff"] = {
                "before_header": header,
                "after_header": header,
                "before": self.before,
                "after": self.after,
            }
        return found


def _state(kind: Kind, record: Json | None, members: t.Mapping[str, str] | None) -> Json:
    state = comparable(kind, record)
    if members is not None and (record is not None or members):
        state["members"] = sorted(
            key if role == "MEMBER" else f"{key} ({role.lower()})" for key, role in members.items()
        )
    return state
