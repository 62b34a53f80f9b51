# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the sync of one object, and what can still be asked. Plain data."""

from __future__ import annotations

import enum
import typing as t

from ..._common.kind import Kind
from ..._common.texts import sentence
from ..._common.types import Json
from ..._objects.difference import unmet
from .effect import Effect, observed
from .messages import Verdict
from .observation import Observation


class Question(enum.Enum):
    """What decide() or predict() has to know before it can conclude; Inquiry has a method for each."""

    ASSIGNED = "is the provider assigned to an application"
    WANTED = "what do the mappings give for the object as it is connected"
    WANTED_NEW = "what do the mappings give for an object without a connection"
    DOMAINS = "which domains does the workspace have"
    HOLDER = "which record of the other kind has the address"
    MEMBER_CONNECTIONS = "which members that Google does not show are connected"
    AFTER = "what is there after the sync"
    CONNECTION = "which connection is there after the sync"
    RECORD_SHOWN = "does Google show the record within google_wait"
    VALUES_SHOWN = "does Google show the wanted values within google_wait"
    VALUES_REACHED = "does Google show the wanted values within sync_timeout"
    MEMBERS_SHOWN = "does Google show the members within google_wait"
    STALE_CONNECTIONS = "which connections stop every sync"
    TASK_PHASE = "how far is the task"


class Wanted(t.NamedTuple):
    """What authentik's mappings give for the object.

    Attributes:
        record: the wanted resource; empty if it is not known.
        problem: the kind of the MappingProblem; empty if there is none.
        text: the MappingProblem in words.
    """

    record: Json
    problem: str = ""
    text: str = ""


class Reply(t.NamedTuple):
    """What came back instead of a usable answer to the request to sync.

    Attributes:
        text: str, what went wrong.
        http_status: int or None.
        is_internal_page: bool, it is the page that authentik up to 2025.6 shows for a sync that crashed.
    """

    text: str
    http_status: int | None = None
    is_internal_page: bool = False


class Facts(t.NamedTuple):
    """What is known of one sync. A fact that was not asked for has its default, and its question is not in ``answered``.

    Attributes:
        kind: Kind; title: str, kind and name in words; address: str, a user's e-mail; name: str.
        members: a group's direct members as authentik shows them; has_members: bool.
        verify, check_mode, override_dry_run, google_wait, sync_timeout: the options.
        server_version: str; has_tasks: bool (2025.8 and later).
        lists_first: bool, whether a sync of one object begins with authentik's listing of Google.
        before: Observation.
        owners_known: bool, whether authentik's connections were searched for another object that has the record.
        verdict: Verdict, what the messages say.
        reply: Reply or None, if the request to sync got no usable answer.
        ended: bool, whether the sync is known to have ended.
        task_seen: bool; task_problem: "" , "none" or "ambiguous", why it is not.
        answered: the questions that were asked.
        after: Observation or None.
        google_id: str, what the connection calls the record, as far as known.
        wanted: Wanted or None.
        assigned: bool.
        domains: the workspace's domains.
        holder: str, what of the other kind has the address, in words.
        member_connections: {primary key: connections} of the members that Google does not show, or None if not readable.
        stale: str, a text about connections that stop every sync.
        task_phase: str, how far the task is, in words.
    """

    kind: Kind
    title: str
    address: str
    name: str
    before: Observation
    members: t.Sequence[Json] = ()
    has_members: bool = False
    verify: str = "auto"
    check_mode: bool = False
    override_dry_run: bool = False
    google_wait: float = 0.0
    sync_timeout: float = 0.0
    server_version: str = ""
    has_tasks: bool = True
    lists_first: bool = True
    owners_known: bool = False
    verdict: Verdict = Verdict()
    reply: Reply | None = None
    ended: bool = True
    task_seen: bool = False
    task_problem: str = ""
    answered: frozenset[Question] = frozenset()
    after: Observation | None = None
    google_id: str = ""
    wanted: Wanted | None = None
    assigned: bool = False
    domains: t.Sequence[str] = ()
    holder: str = ""
    member_connections: t.Mapping[str, t.Sequence[Json]] | None = None
    stale: str = ""
    task_phase: str = ""

    @property
    def capitalised(self) -> str:
        """Kind and name at the beginning of a sentence."""
        return sentence(self.title)

    @property
    def seen_after(self) -> Observation:
        """What is there after the sync; empty if that was not read."""
        return self.after or Observation()

    @property
    def effect(self) -> Effect:
        """What changed at Google as far as it was read before and after."""
        return observed(self.kind, self.before, self.seen_after)

    @property
    def wanted_record(self) -> Json:
        """The wanted resource; empty if it is not known."""
        return self.wanted.record if self.wanted is not None else {}

    @property
    def mapping_problem(self) -> str:
        """The kind of the MappingProblem; empty if there is none."""
        return self.wanted.problem if self.wanted is not None else ""

    @property
    def mapping_text(self) -> str:
        """The MappingProblem in words; empty if there is none."""
        return self.wanted.text if self.wanted is not None else ""

    def with_after(self, found: Observation) -> Facts:
        """These facts, with what was read after the sync."""
        return self._replace(after=found, google_id=found.google_id(self.kind) or self.google_id)

    def unmet_by(self, record: Json | None) -> list[Json]:
        """Where a record is not what is wanted."""
        return unmet(self.kind, self.wanted_record, record)
