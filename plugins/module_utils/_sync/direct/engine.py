# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sync of one object performed by ourselves, in the fewest calls.

authentik is asked for the provider, the object, its connection, and what its property mappings yield; Google for the one
record (and a group's members). What is then done about it: _sync/direct/object.py.
"""

from __future__ import annotations

import contextlib
import typing as t

from ..._authentik.errors import AuthentikError
from ..._common.types import Json
from ..._mappings.desired import MappingProblem, evaluate
from ..._objects.connection import first_row
from ..._objects.target import described, is_primary_key
from ..engine import Engine
from .log import EngineLog
from .object import DirectContext, DirectObject, Evaluated
from .reader import Reader


class DirectSync(Engine):
    """One sync by Google's API."""

    name = "direct"

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self.log = EngineLog()

    def run(self) -> t.Any:
        outcome = super().run()
        if outcome.failure and not any(line["log_level"] == "error" for line in self.log.lines):
            with contextlib.suppress(Exception):
                self.log.error(outcome.failure)
        return outcome

    def _sync(self) -> None:
        outcome = self.outcome
        outcome.messages = self.log.lines
        outcome.messages_source = "engine"
        provider = self._find_provider("This authentik")
        item = self._observe_authentik(provider)
        if item is None:
            return
        try:
            item.attempt(lambda: self._observe_google(item), item.plan, item.apply)
        finally:
            item.report()

    def _observe_authentik(self, provider: Json) -> t.Optional[DirectObject]:
        """The object and its connection; None where the provider does not sync it."""
        request, outcome = self.request, self.outcome
        try:
            target, rule = self._find_target(provider)
        except AuthentikError as exc:
            if exc.kind != "not_found" or not is_primary_key(request.kind, request.object_id, request.lookup):
                raise
            outcome.object = described(request.kind, request.object_id, None, False)
            outcome.leave_out("%s It is left alone at Google." % exc, request.out_of_scope, self.warn)
            return None
        if rule is not None:
            text = "%s is not synced: %s." % (str(target).capitalize(), rule)
            outcome.leave_out(text, request.out_of_scope, self.warn)
            return None
        rows = self.authentik.connections(request.kind, int(provider["pk"]), target.pk)
        self.directory = self.open_directory(provider)
        self.directory.session.notice = self.log.info
        reader = Reader(self.directory, self.authentik, int(provider["pk"]))
        run = DirectContext(self.authentik, provider, request, self.directory, reader)
        return DirectObject(run, target, first_row(rows), outcome, self.log, self.warn, self.keep_secret)

    def _observe_google(self, item: DirectObject) -> None:
        """Find the record, asking authentik for what the mappings give."""
        looking = item.observe()
        try:
            asked = next(looking)
            while True:
                asked = looking.send(self._evaluate(item, asked))
        except StopIteration:
            pass

    def _evaluate(self, item: DirectObject, google_id: t.Optional[str]) -> Evaluated:
        try:
            return evaluate(self.authentik, item.run.provider, item.target.kind, item.target.data, google_id)
        except MappingProblem as exc:
            return exc
