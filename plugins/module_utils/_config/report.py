# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one result of the modules that configure or tell, and its form for Ansible."""

from __future__ import annotations

from .._common.types import Json


class Report:
    """What was done, or would be, or is so.

    Attributes:
        values: dict, the return values that are the module's own.
        operations: list of dict, the writes; in check mode those that would be.
        writes: whether the module is one that can write at all.
        before, after: dict or None, the two states for the diff; secrets are masked in them.
        header: str, what the two states are of.
    """

    def __init__(self) -> None:
        self.changed = False
        self.values: Json = {}
        self.operations: list[Json] = []
        self.writes = True
        self.before: Json | None = None
        self.after: Json | None = None
        self.header = ""
        self.calls: dict[str, int] = {}
        self.server_version: str | None = None
        self.duration = 0.0
        self.failure = ""
        self.fails_task = False
        self.errors: list[Json] = []
        self.http_status: int | None = None
        self.code: str | None = None

    def fail(self, message: str, code: str | None = None) -> None:
        """Note that what was asked for is not so; changed keeps what is known."""
        self.failure = message
        self.code = code or self.code or "failed"
        self.fails_task = True

    def without_values(self) -> Json:
        """The return values where the module's own ones cannot be written: those are empty."""
        self.values = {name: type(value)() for name, value in self.values.items()}
        return self.result(False)

    def result(self, diff: bool) -> Json:
        """The module's return values."""
        found = dict(
            self.values,
            changed=self.changed,
            calls=self.calls,
            server_version=self.server_version,
            duration=round(self.duration, 2),
        )
        if self.writes:
            found["operations"] = self.operations
        if self.failure:
            found.update(msg=self.failure, errors=self.errors, code=self.code, http_status=self.http_status)
        if diff and self.before is not None and self.after is not None:
            found["diff"] = {
                "before_header": self.header,
                "after_header": self.header,
                "before": self.before,
                "after": self.after,
            }
        return found
