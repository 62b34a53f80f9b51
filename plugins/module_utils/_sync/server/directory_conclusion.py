# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a full sync did with each object, and with the whole directory: concluded from both sides before and after. Pure."""

from __future__ import annotations

import typing as t

from ..._common.kind import GROUP, KINDS, Kind
from ..._common.types import Json
from ..._objects.difference import changes, member_changes, unmet
from ..._objects.target import described
from ..plan import overlaid
from .effect import States
from .snapshot import Key, Objects, Records, Row, Snapshot
from .task_report import Failure, PageFailure, TaskReport

MOST_NAMED = 10


class ObjectConclusion(t.NamedTuple):
    """What became of one object.

    Attributes:
        kind: Kind; object: dict, as results show it.
        status: str; code, failure: str, empty if there is none; fails_task: bool.
        basis: str; changes: as results show them; states: States or None.
        action: "created", "updated" or None: what was done, if something changed.
        skipped_members: the usernames of a group's members whom authentik leaves out, sorted.
        counted: under what the object is only counted, and not shown; empty if it is shown.
        left_out: bool, authentik's mappings leave it out.
        warning: str, empty if there is none.
    """

    kind: Kind
    object: Json
    status: str = "failed"
    code: str = ""
    failure: str = ""
    fails_task: bool = False
    basis: str = "nothing_sent"
    changes: t.Sequence[Json] = ()
    states: States | None = None
    action: str | None = None
    skipped_members: t.Sequence[str] = ()
    counted: str = ""
    left_out: bool = False
    warning: str = ""

    @property
    def name(self) -> str:
        """In words."""
        return "%s %s" % (self.object["model"].rpartition(".")[2].lower(), self.object["name"])


class DirectoryFacts(t.NamedTuple):
    """What is known after a full sync.

    Attributes:
        objects: Objects, as they were before.
        before, after: Snapshot.
        failures: {(kind, primary key): Failure}, what authentik says it could not sync, in order.
        doubtful: set of (kind, primary key): whether they were written is not known.
        untouched: set of (kind, primary key): those of them that are known not to have been written.
        unconfirmed: set of (kind, primary key): Google has answered authentik with more than it shows.
        google_wait: float, the option.
    """

    objects: Objects
    before: Snapshot
    after: Snapshot
    failures: t.Mapping[Key, Failure]
    doubtful: t.AbstractSet[Key]
    untouched: t.AbstractSet[Key]
    unconfirmed: t.AbstractSet[Key]
    google_wait: float

    @property
    def saw_google(self) -> bool:
        """Whether Google was read before and after."""
        return self.before.records is not None and self.after.records is not None

    @property
    def saw_connections(self) -> bool:
        """Whether authentik's connections were read before and after."""
        return self.before.rows is not None and self.after.rows is not None

    @property
    def trailing_text(self) -> str:
        """Why an object is unconfirmed."""
        return f"Google answered authentik with more than it shows after {self.google_wait:g} seconds."

    def all_keys(self) -> t.Iterator[Key]:
        """All objects in scope, and those that came into it since and failed."""
        for kind in KINDS:
            known = self.objects.in_scope[kind]
            for pk in known:
                yield kind, pk
            in_scope = set(known)
            for found, pk in self.failures:
                if found == kind and pk not in in_scope:
                    yield kind, pk

    def described(self, key: Key) -> ObjectConclusion:
        """An object of which nothing is known yet."""
        kind, pk = key
        return ObjectConclusion(kind, described(kind, pk, self.objects.names[kind].get(pk, pk), True))


def compared(facts: DirectoryFacts, key: Key) -> ObjectConclusion:
    """What became of one object: what differs before and after, and what authentik says of it."""
    kind, pk = key
    found = _at_google(facts, key) if facts.saw_google else _in_connections(facts, key)
    is_linked = found.object["google_id"] is not None
    if kind == GROUP and is_linked:
        found = found._replace(skipped_members=facts.after.unlinked_members(facts.objects, pk))
    failure = facts.failures.get(key)
    if failure is not None:
        return _failed(found, failure)
    if key in facts.unconfirmed:
        return _unconfirmed(found, facts.trailing_text)
    if key in facts.doubtful:
        # Its page is reported; what is seen of it is true even so.
        if not found.changes:
            return found._replace(counted=_in_doubt(facts, key), skipped_members=())
        return _unconfirmed(found, "It changed, but whether authentik came to the end of it is not known.")
    if not is_linked:
        # authentik passed it without a word and has no connection: its mappings leave it out.
        return found._replace(counted="out_of_scope", left_out=True)
    if found.changes:
        return found._replace(status="synced")
    # Most objects of most runs: they need no line of their own.
    return found._replace(status="unchanged", counted="" if found.skipped_members else "unchanged")


def unseen(facts: DirectoryFacts, key: Key) -> ObjectConclusion:
    """What became of one object if neither side was read: only authentik's lines say something."""
    found, failure = facts.described(key), facts.failures.get(key)
    return found._replace(counted=_in_doubt(facts, key)) if failure is None else _failed(found, failure)


def held_back(facts: DirectoryFacts, key: Key, request: Json | None, basis: str) -> ObjectConclusion:
    """What a dry run would have done with one object.

    Args:
        request: what authentik would have sent, or None if it would have sent nothing.
    """
    found, failure = facts.described(key)._replace(basis=basis), facts.failures.get(key)
    if failure is not None:
        return _failed(found, failure)
    if key in facts.doubtful:
        return found._replace(counted=_in_doubt(facts, key))
    if request is None:
        return found._replace(counted="out_of_scope", left_out=True)
    kind, body = key[0], request["body"]
    creates = request["method"] == "POST"
    record = None if creates else _record_before(facts, key, request["key"])
    changed = changes(kind, None, body) if record is None else unmet(kind, body, record)
    return found._replace(
        status="dry_run",
        changes=changed,
        states=States(record, dict(record or {}, **overlaid(record, body))),
        action="created" if creates else "updated",
        counted="" if changed else "unchanged",
    )


def _record_before(facts: DirectoryFacts, key: Key, google_key: str) -> Json | None:
    kind, pk = key
    before = facts.before
    if before.records is not None:
        return before.records[kind].get(google_key)
    return before.said(kind, before.row(kind, pk)) or None


def _in_doubt(facts: DirectoryFacts, key: Key) -> str:
    """Under what an object is counted that authentik may not have come to."""
    return "failed" if key in facts.untouched else "unconfirmed"


def _failed(found: ObjectConclusion, failure: Failure) -> ObjectConclusion:
    return found._replace(status="failed", code=failure.code, failure=failure.text, fails_task=failure.fails_task)


def _unconfirmed(found: ObjectConclusion, text: str) -> ObjectConclusion:
    return found._replace(status="unconfirmed", code="unconfirmed", failure=text)


def _at_google(facts: DirectoryFacts, key: Key) -> ObjectConclusion:
    """What differs in Google's record and a group's members before and after."""
    kind, pk = key
    before, after = facts.before, facts.after
    found = facts.described(key)._replace(basis="google")
    row = after.row(kind, pk)
    if row is not None:
        found.object["google_id"] = row.google_id
    elif after.rows is not None:
        # Whatever is at Google under its address is not connected with it.
        return found
    record = after.record_of(facts.objects, kind, pk)
    if record is None:
        return found
    own_id = str(record["id"])
    if row is None:
        found.object["google_id"] = record.get("primaryEmail") or own_id
    same = t.cast(t.Dict[str, Records], after.records)[kind].same(own_id)
    if same and own_id not in after.roles:
        return found
    earlier = _earlier(before, kind, before.row(kind, pk), own_id)
    differences = [] if same else changes(kind, earlier, record)
    roles: tuple[t.Any, t.Any] = (None, None)
    if own_id in after.roles:
        if earlier is not None and own_id not in before.roles:
            found = found._replace(
                basis="assumed",
                warning="Which members group %s had before cannot be told: it was found at Google under an address that nobody "
                "expected." % found.object["name"],
            )
        else:
            roles = (before.roles.get(own_id, {}), after.roles[own_id])
            differences.extend(member_changes(*roles))
    return found._replace(
        changes=differences,
        states=States(earlier, record, *roles) if differences else None,
        action="created" if earlier is None else "updated",
    )


def _earlier(before: Snapshot, kind: Kind, row: Row | None, own_id: str) -> Json | None:
    """The record before; if Google did not show it though it was there, what authentik's connection kept of it."""
    earlier = t.cast(t.Dict[str, Records], before.records)[kind].get(own_id)
    if earlier is None and row is not None and row.own_id == own_id:
        return before.said(kind, row) or None
    return earlier


def _in_connections(facts: DirectoryFacts, key: Key) -> ObjectConclusion:
    """What differs in authentik's connection before and after."""
    kind, pk = key
    before, after = facts.before, facts.after
    found = facts.described(key)._replace(basis="connection")
    old, row = before.row(kind, pk), after.row(kind, pk)
    if row is None:
        return found
    found.object["google_id"] = row.google_id
    said, said_before = after.said(kind, row), before.said(kind, old)
    if not said:
        return found
    renewed = old is None or old.id != row.id
    if not renewed and not said_before:
        found = found._replace(
            basis="assumed",
            warning="authentik kept no record of what stood at Google before, so that some objects changed is assumed.",
        )
    differences = changes(kind, None if renewed else said_before, said)
    return found._replace(
        changes=differences,
        states=States(said_before or None, said) if differences else None,
        action="created" if renewed else "updated",
    )


# The whole directory


class DirectoryConclusion(t.NamedTuple):
    """What became of the whole.

    Attributes:
        status: str; code, failure: str, empty if there is none; fails_task: bool.
    """

    status: str
    code: str = ""
    failure: str = ""
    fails_task: bool = True


def crashes(report: TaskReport) -> list[str]:
    """In words: the pages of a full sync that crashed, and the full sync itself."""
    found = [
        f"{page.name}: {page.failure.reason}" for page in report.pages if page.failure.code == "crashed" and page.number
    ]
    return [*found, report.crash.reason] if report.crash is not None else found


def stopped_kinds(report: TaskReport) -> list[Kind]:
    """The kinds of which a connection stopped every sync."""
    return sorted({page.kind for page in report.pages if page.failure.rows_stop})


def unfinished(called: str, sync_timeout: float, phase: str, report: TaskReport, stale: t.Sequence[str]) -> str:
    """Why a full sync that had not ended is reported as failed.

    Args:
        called: the provider in words; phase: how far the task is; stale: texts on connections that stop every sync.
    """
    shown = crashes(report)
    return "authentik's full sync of %s did not end within %g seconds: %s. %s" % (
        called,
        sync_timeout,
        phase,
        "It crashed so far with %s. %s" % (listed(shown, "; "), _remedy(report, stale))
        if shown
        else "Raise sync_timeout to wait longer.",
    )


def pages_failed(called: str, report: TaskReport, stale: t.Sequence[str]) -> DirectoryConclusion:
    """A full sync of which pages did not go through; see unfinished()."""
    by_reason: dict[str, list[str]] = {}
    for page in report.pages:
        by_reason.setdefault(page.failure.reason, []).append(page.name)
    shown = [f"{listed(names)}: {reason}" for reason, names in by_reason.items()]
    if not shown and report.crash is not None:
        shown = [report.crash.reason]
    besides = "%d objects besides, see failed_objects. " % len(report.failed) if report.failed else ""
    codes = {page.failure.code for page in report.pages}
    return DirectoryConclusion(
        "failed",
        "google_not_reached" if codes == {"google_not_reached"} else "sync_failed",
        "authentik's full sync of %s did not go through: %s. %s%s"
        % (called, listed(shown, "; "), besides, _remedy(report, stale)),
    )


def objects_failed(facts: DirectoryFacts, fails_on_objects: bool) -> DirectoryConclusion:
    """Single objects failed, or could not be confirmed.

    Args:
        fails_on_objects: the option fail_on_objects.
    """
    doubtful = [key for key in sorted(facts.unconfirmed) if key not in facts.failures]
    if facts.failures:
        (kind, pk), first = next(iter(facts.failures.items()))
        why = first.text
    else:
        kind, pk = doubtful[0]
        why = facts.trailing_text
    text = "%d of %d objects were not synced%s; the first, %s %s: %s" % (
        len(facts.failures) + len(doubtful),
        sum(len(found) for found in facts.objects.in_scope.values()),
        " or could not be confirmed" if doubtful else "",
        kind,
        facts.objects.names[kind].get(pk, pk),
        why,
    )
    fails_task = fails_on_objects and (bool(doubtful) or any(item.fails_task for item in facts.failures.values()))
    return DirectoryConclusion("failed", "objects", text, fails_task)


def page_text(objects: Objects, page: PageFailure) -> str:
    """What became of a page that did not go through."""
    what = "was not synced" if page.untouched else "may have been synced in part"
    names = [objects.names[page.kind].get(pk, pk) for pk in page.objects]
    doubt = f" Left in doubt: {listed(names)}." if names and not page.untouched else ""
    return f"{page.name.capitalize()} {what}: {page.failure.text}{doubt}"


def _remedy(report: TaskReport, stale: t.Sequence[str]) -> str:
    """What to do about the pages that did not go through."""
    failures = [page.failure for page in report.pages] + ([report.crash] if report.crash is not None else [])
    found = list(stale)
    for failure in failures:
        if failure.remedy not in found and not (failure.rows_stop and found):
            found.append(failure.remedy)
    return " ".join(found)


def listed(names: t.Sequence[str], between: str = ", ") -> str:
    """Names, the first ones if they are many."""
    more = len(names) - MOST_NAMED
    return between.join(names[:MOST_NAMED]) + ("%sand %d more" % (between, more) if more > 0 else "")
