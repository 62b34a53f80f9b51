# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks authentik and Google what decide() and predict() have to know of one object. Reads only; concludes nothing."""

from __future__ import annotations

import typing as t

from ..._authentik import tasks
from ..._authentik.api import Authentik, Version
from ..._authentik.errors import AuthentikError
from ..._common import waiting
from ..._common.kind import GROUP, USER
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._mappings.desired import MappingProblem, default_address, evaluate
from ..._objects.contradictions import stale_text
from ..._objects.protection import Protection
from ..._objects.record import address_of
from ..._objects.target import Target
from ..options import ObjectOptions
from . import members
from .facts import Facts, Question, Wanted
from .observation import Observation, Observer

if t.TYPE_CHECKING:
    from ..._google.directory import Directory
# Up to so many members are asked for one by one; more are cheaper as one list.
FEW_MEMBERS = 10


class Inquiry:
    """Answers questions about one object.

    Args:
        authentik: the API; version: of the server; provider: as authentik shows it; target: the object.
        options: ObjectOptions.
        observer: Observer of this object; directory: Google's directory, or None.
        warn: callable taking a text.
        protection: callable returning the Protection.

    Attributes:
        deadline: a moment of waiting.now() until which a sync may take, once it was asked for.
        task: the task of the sync, or None if it is not known.
        wanted: the record that the mappings give, or None; secret: its password fields.
    """

    def __init__(
        self,
        authentik: Authentik,
        version: Version,
        provider: Json,
        target: Target,
        options: ObjectOptions,
        observer: Observer,
        directory: Directory | None,
        warn: t.Callable[[str], None],
        protection: t.Callable[[], Protection],
    ) -> None:
        self.protection = protection
        self.authentik = authentik
        self.version = version
        self.provider = provider
        self.target = target
        self.options = options
        self.observer = observer
        self.directory = directory
        self.warn = warn
        self.deadline = 0.0
        self.task: tasks.Task | None = None
        self.wanted: Json | None = None
        self.secret: Json = {}
        self._answers: dict[Question, t.Callable[[Facts], Facts]] = {
            Question.ASSIGNED: self._assigned,
            Question.WANTED: self._wanted,
            Question.WANTED_NEW: self._wanted_new,
            Question.DOMAINS: self._domains,
            Question.HOLDER: self._holder,
            Question.MEMBER_CONNECTIONS: self._member_connections,
            Question.AFTER: self._after,
            Question.CONNECTION: self._connection,
            Question.RECORD_SHOWN: self._record_shown,
            Question.VALUES_SHOWN: self._values_shown,
            Question.VALUES_REACHED: self._values_reached,
            Question.MEMBERS_SHOWN: self._members_shown,
            Question.STALE_CONNECTIONS: self._stale_connections,
            Question.TASK_PHASE: self._task_phase,
        }

    def answer(self, question: Question, facts: Facts) -> Facts:
        """The facts with one question answered, as far as it can be. Raises RemoteError before anything was sent only."""
        found = self._answers[question](facts)
        return found._replace(answered=found.answered | {question})

    def before(self) -> Observation:
        """What is there before the sync. Raises AuthentikError, GoogleError."""
        return self.observer.before(self._wanted_group)

    def evaluate(self, before: Observation | None) -> Json:
        """The record that the mappings give; evaluated once.

        Args:
            before: what is there before the sync, for the object as it is connected; None for one without a connection.

        Raises:
            MappingProblem.
        """
        row: Json = {} if before is None else before.row or {"google_id": ""}
        if self.wanted is None:
            self.wanted, self.secret = evaluate(
                self.authentik, self.provider, self.target.kind, self.target.data, row.get("google_id")
            )
        return self.wanted

    def _wanted_group(self) -> Json:
        """A group's wanted record, or what it is by default, marked as guessed if the mappings cannot be asked."""
        try:
            return self.evaluate(None)
        except MappingProblem as exc:
            return {"email": default_address(self.target, self.provider), "guessed": exc.kind != "skip"}

    # Questions before a sync

    def _assigned(self, facts: Facts) -> Facts:
        return facts._replace(assigned=self.authentik.is_assigned(self.provider))

    def _wanted(self, facts: Facts) -> Facts:
        return self._evaluated(facts, facts.before)

    def _wanted_new(self, facts: Facts) -> Facts:
        return self._evaluated(facts, None)

    def _evaluated(self, facts: Facts, before: Observation | None) -> Facts:
        try:
            return facts._replace(wanted=Wanted(self.evaluate(before)))
        except MappingProblem as exc:
            return facts._replace(wanted=Wanted({}, exc.kind, str(exc)))

    def _domains(self, facts: Facts) -> Facts:
        directory = self.observer.directory
        try:
            return facts._replace(domains=directory.domains() if directory is not None else ())
        except GoogleError:
            if not self.observer.sent:
                raise
            # The remedy without the list is still a remedy.
            return facts

    def _holder(self, facts: Facts) -> Facts:
        directory, kind = self.observer.directory, self.target.kind.other
        address = address_of(self.wanted) or self.target.email
        if directory is None or not address:
            return facts
        try:
            other = directory.get(kind, address)
        except GoogleError:
            # It would only have given the reason a name.
            return facts
        return facts if other is None else facts._replace(holder=f"the {kind} {address_of(other)}")

    def _member_connections(self, facts: Facts) -> Facts:
        """The connections of the members that Google does not show, each read by itself if they are few."""
        users = members.not_shown(facts, facts.before if facts.after is None else facts.after)
        provider = int(self.provider["pk"])
        found: dict[str, list[Json]] = {}
        try:
            if len(users) > FEW_MEMBERS:
                for row in self.authentik.all_connections(USER, provider):
                    found.setdefault(str(row.get("user")), []).append(row)
            else:
                for user in users:
                    pk = str(user["pk"])
                    found[pk] = self.authentik.connections(USER, provider, pk)
        except AuthentikError as exc:
            self.warn(
                "Google does not show these members of %s, and whether they have a Google account cannot be told: %s. %s"
                % (self.target, ", ".join(sorted(str(item.get("username")) for item in users)), exc)
            )
            return facts
        return facts._replace(member_connections=found)

    # Questions after a sync

    def _after(self, facts: Facts) -> Facts:
        if self.options.verify == "none":
            return facts.with_after(Observation())
        address = self.target.email if self.target.kind == USER else str((self.wanted or {}).get("email") or "")
        if not address and self.target.kind == GROUP:
            # A group whose record was there before is found by its id; this is for a new one.
            address = str(facts.before.attributes.get("email") or "")
        return facts.with_after(self.observer.after(facts.before, address))

    def _connection(self, facts: Facts) -> Facts:
        return facts._replace(after=facts.seen_after._replace(rows=self.observer.rows()))

    def _record_shown(self, facts: Facts) -> Facts:
        return self._wait(facts, lambda found: found.seen_after.record is not None)

    def _values_shown(self, facts: Facts) -> Facts:
        return self._wait(facts, lambda found: not found.unmet_by(found.seen_after.record))

    def _members_shown(self, facts: Facts) -> Facts:
        return self._wait(facts, lambda found: not members.missing(found, found.seen_after).absent)

    def _wait(self, facts: Facts, done: t.Callable[[Facts], bool]) -> Facts:
        """Read Google again until it shows what it has confirmed, within a bound; the same facts if it does not."""
        deadline = waiting.now() + min(self.options.google_wait, self.options.sync_timeout)
        fresh = facts

        def shown() -> bool:
            nonlocal fresh
            fresh = facts.with_after(self.observer.again(facts.seen_after))
            return done(fresh)

        try:
            return fresh if waiting.poll(shown, deadline, 0.5, 1.6, at_once=False) else facts
        except GoogleError as exc:
            self.warn(str(exc))
            return facts

    def _values_reached(self, facts: Facts) -> Facts:
        """Wait for a sync whose task is not shown until Google has what the mappings give."""
        latest = facts

        def reached() -> bool:
            nonlocal latest
            found = self._after(latest)
            if found.seen_after.seen:
                latest = found
            return found.seen_after.record is not None and not found.unmet_by(found.seen_after.record)

        waiting.poll(reached, self.deadline, 0.5, 1.5, 5.0, at_once=False)
        return latest

    def _stale_connections(self, facts: Facts) -> Facts:
        kind, directory = self.target.kind, self.directory
        text = stale_text(self.authentik, self.version, self.provider, kind, directory, self.warn)
        return facts._replace(stale=text)

    def _task_phase(self, facts: Facts) -> Facts:
        if self.task is None:
            return facts
        return facts._replace(task_phase=tasks.unfinished(self.authentik, self.version, self.task))
