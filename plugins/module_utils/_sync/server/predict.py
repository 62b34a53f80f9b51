# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode: what a real run would do, without sending anything that could write."""

from __future__ import annotations

import typing as t

from ..._common.kind import GROUP, USER
from ..._common.texts import listed
from ..._common.types import Json
from ..._mappings.desired import MappingProblem
from ..._objects.difference import changes, unmet
from ..outcome import operation
from ..plan import overlaid
from . import members
from .comparison import Comparison


def predict(case: Comparison) -> None:
    """What a real run would do, without posting anything that could write."""
    outcome, before, kind = case.outcome, case.before, case.target.kind
    if case.version.has_tasks and not case.authentik.is_assigned(case.provider):
        outcome.fail(
            "authentik would not sync %s: the provider is not assigned to an application. Add it to an application in "
            "authentik as its backchannel provider." % case.target,
            "not_assigned",
        )
        return
    record = before.record if before.seen else before.attributes or None
    creating = record is None and (before.row is None or before.seen)
    try:
        wanted = case.wanted_now(creating)
    except MappingProblem as exc:
        if exc.kind == "skip":
            case.leave_out("would not be synced: %s" % exc)
        elif exc.kind in ("failed", "empty"):
            outcome.fail("authentik could not sync %s: %s." % (case.target, exc), "mapping_%s" % exc.kind)
        else:
            _cannot_predict(case, str(exc))
        return
    if case.request.verify == "none" or (not before.seen and before.rows is None):
        _cannot_predict(case, "neither Google nor authentik's connection was read")
        return
    if before.row is not None and not before.seen and not before.attributes:
        _cannot_predict(case, "authentik's connection holds no record of what stands at Google")
        return
    outcome.basis = "google" if before.seen else "connection"
    if not _would_be_accepted(case, wanted, creating):
        return
    holder = case.held_by_another() if creating and before.seen else ""
    if holder:
        outcome.fail(
            "authentik could not create %s at Google: its address is held by %s there. Change the address in authentik. Only if "
            "nobody needs it there, free it at Google." % (case.target, holder),
            "conflict",
        )
        return
    found = changes(kind, None, wanted) if record is None else unmet(kind, wanted, record)
    if found and record is not None and before.adopting and not _settled_adoption(case, record, found):
        return
    outcome.changes = found
    outcome.changed = bool(found)
    key = kind.address(wanted)
    if found:
        old = str((record or {}).get("primaryEmail") or (record or {}).get("email") or key)
        outcome.operations = [operation("POST" if record is None else "PUT", kind, key if record is None else old)]
    roles = before.roles if kind == GROUP and before.seen else None
    outcome.note_states(kind, record, dict(record or {}, **overlaid(record, wanted)), roles, roles)
    outcome.status = "synced" if outcome.changed else "unchanged"
    members.predict(case, record is None)


def _settled_adoption(case: Comparison, record: Json, found: t.List[Json]) -> bool:
    """Whether authentik would write to a record that no connection of its leads to; how it ends where it would not.

    It links what its listing of Google shows it (a user by the e-mail, a group by the name, with their case), and writes
    then. Anything else it tries to make, is refused by Google for the address, and links without writing.
    """
    outcome, target = case.outcome, case.target
    name = record.get("primaryEmail") if target.kind == USER else record.get("name")
    # From 2026.8 on, which has this setting, a sync of one object lists nothing beforehand.
    lists = "discovery_enabled" not in case.provider
    if lists and name == (target.email if target.kind == USER else target.name):
        if case.before.row is None:
            return True
        _cannot_predict(case, "it has a connection to a record that is gone, and would get a second one")
        return False
    outcome.status = "unchanged"
    roles = case.before.roles if target.kind == GROUP else None
    outcome.note_states(target.kind, record, record, roles, roles)
    members.predict(case, False)
    outcome.fail(
        "authentik would only link %s to the record that Google already has, and not write %s. %s"
        % (
            target,
            ", ".join(item["path"] for item in found),
            # Asked beforehand: then no other object of authentik is connected with it.
            "Run the task for real, and then again."
            if case.owners_known
            else "If it belongs to another %s of authentik, give one of them another address; else run the task for real, and "
            "then again." % target.kind,
        ),
        "not_written",
    )
    return False


def _cannot_predict(case: Comparison, why: str) -> None:
    case.outcome.changed = True
    case.outcome.status = "unconfirmed"
    case.outcome.basis = "assumed"
    case.warn(
        "What a sync of %s would change cannot be predicted, so that it would is assumed: %s." % (case.target, why)
    )


def _would_be_accepted(case: Comparison, wanted: Json, creating: bool) -> bool:
    """Whether authentik and Google would take the wanted record, as far as that is known beforehand."""
    if case.target.kind == USER:
        addresses = [str(wanted.get("primaryEmail") or "")]
        addresses += [str(item.get("address") or "") for item in wanted.get("emails") or [] if isinstance(item, dict)]
    else:
        addresses = [str(wanted.get("email") or "")]
    outside = ""
    if case.observer.directory is not None and case.before.seen:
        known = _domain(
            str((case.before.record or {}).get("primaryEmail") or (case.before.record or {}).get("email") or "")
        )
        if not all(known and _domain(item) == known for item in addresses):
            domains = case.observer.directory.domains()
            # authentik's own rule: the end of the address, with its case.
            outside = next((item for item in addresses if not item.endswith(tuple(domains)) or not item), "")
            if outside or not addresses[0]:
                case.outcome.fail(
                    "authentik could not sync %s: Invalid email domain: %s. The workspace has the domain%s. Change the "
                    "e-mail in authentik, or add the domain at Google."
                    % (case.target, outside or "(no e-mail)", listed(domains)),
                    "sync_failed",
                )
                return False
    elif not addresses[0]:
        case.outcome.fail("authentik could not sync %s: it has no e-mail." % case.target, "sync_failed")
        return False
    if creating and case.target.kind == USER:
        # No mapping may give a name at all.
        name: Json = wanted["name"] if isinstance(wanted.get("name"), dict) else {}
        empty = [field for field in ("givenName", "familyName") if not str(name.get(field) or "").strip()]
        if empty:
            case.outcome.fail(
                "Google would reject the values for %s: name.%s is empty. Correct the name in authentik or its mapping."
                % (case.target, empty[0]),
                "sync_failed",
            )
            return False
    return True


def _domain(address: str) -> str:
    return address.rpartition("@")[2]
