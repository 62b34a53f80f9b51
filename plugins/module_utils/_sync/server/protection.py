# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What authentik must not be asked to do: take over, suspend, … a protected account, or write to another object's record.

authentik asks nobody: it syncs every object to the record that has its address. So this is decided before anything is sent,
as far as Google and authentik's connections can be read. Reads only.
"""

from __future__ import annotations

import typing as t

from ..._authentik.errors import AuthentikError
from ..._common.kind import USER
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._mappings.desired import MappingProblem, default_address
from ..._objects.connection import BY_ADDRESS, BY_ID, proves, tie
from ..._objects.protection import Protected, Protection, check, standing
from ..._objects.record import address_of, addresses_of, is_at
from ..._objects.target import Target
from ..guard.ownership import NO_RIVALS, OWN, UNDECIDED, contested_text, undecided_text, verdict
from ..rivals import connected_rivals
from .inquiry import Inquiry
from .observation import Observation

# What authentik does with an object of which the mappings give this: it does not write.
_NOT_WRITTEN = ("skip", "failed", "empty")


class Refusal(t.NamedTuple):
    """Why a sync of one object must not be asked for.

    Attributes:
        text: cause, what happened, what to do; empty if it may be asked for.
        code: str, as the result shows it.
        owners_known: bool, whether authentik's connections were searched for another object that has the record.
    """

    text: str = ""
    code: str = ""
    owners_known: bool = False


def refusal(inquiry: Inquiry, before: Observation) -> Refusal:
    """Why a sync of one object must not be asked for. Raises AuthentikError, GoogleError."""
    text = _protected(inquiry, before)
    if text:
        return Refusal(text, "protected")
    return _owned_by_another(inquiry, before)


def _protected(inquiry: Inquiry, before: Observation) -> str:
    target = inquiry.target
    if target.kind != USER:
        return ""
    protection = inquiry.protection()
    record = before.known_record
    if record is None and not before.seen:
        # What is not read cannot be an administrator's for certain, but the run's own account and those of protect have addresses.
        address = str((before.row or {}).get("google_id") or target.email)
        record = {"primaryEmail": address}
        if not standing(record, protection):
            inquiry.warn(
                "Whether %s is an administrator's account at Google is not known, since Google was not read. authentik takes over "
                "any account that has the address of a user." % (address or "the account")
            )
            return ""
    text = _listed_by_address(inquiry, before, record, protection)
    if text or record is None:
        return text
    return protected_text(record, before.row, target, protection, lambda: (inquiry.evaluate(before), inquiry.secret))


def _listed_by_address(inquiry: Inquiry, before: Observation, record: Json | None, protection: Protection) -> str:
    """authentik connects a user with the account that has the user's e-mail, even where there is a connection already."""
    address, directory = inquiry.target.email, inquiry.observer.directory
    if record is None or directory is None or not before.seen or address.lower() in addresses_of(record):
        # Without a record the address was asked for before.
        return ""
    try:
        other = directory.get(USER, address) if address else None
    except GoogleError as exc:
        if inquiry.options.needs_google:
            raise
        inquiry.warn(f"Whose account {address} is at Google could not be read. {exc}")
        return ""
    if other is None:
        return ""
    return protected_text(other, before.row, inquiry.target, protection, lambda: ({}, {}))


def protected_text(
    record: Json,
    row: Json | None,
    target: Target,
    protection: Protection,
    wanted: t.Callable[[], tuple[Json, Json]],
) -> str:
    """Why authentik must not sync a user to an account; empty if it may.

    Args:
        record: the account as Google shows it.
        row: the user's connection as authentik shows it, or None.
        wanted: gives what the mappings yield (and may cost requests); asked for protected accounts only.
    """
    refused = f"{target.title} was not synced"
    try:
        unknown = harm_unknown(record, row, target, protection, wanted)
    except Protected as exc:
        return exc.text(refused)
    if not unknown:
        return ""
    return "%s. %s. Nothing was sent. Let the token's user test property mappings, or use engine: direct." % (
        "The account %s at Google %s, and what authentik would write to it is not known (%s)"
        % (address_of(record), standing(record, protection), unknown),
        refused,
    )


def harm_unknown(
    record: Json,
    row: Json | None,
    target: Target,
    protection: Protection,
    wanted: t.Callable[[], tuple[Json, Json]],
) -> str:
    """Raise Protected if authentik would harm an account; else why that is not known, or an empty text."""
    if not standing(record, protection):
        return ""
    check(USER, record, {}, protection, takes_over=not proves(row, record, target.email))
    try:
        resource, secret = wanted()
    except MappingProblem as exc:
        return "" if exc.kind in _NOT_WRITTEN else str(exc)
    check(USER, record, dict(resource, **secret), protection)
    return ""


def _owned_by_another(inquiry: Inquiry, before: Observation) -> Refusal:
    """Whether the record is another object's, by the rule of guard/ownership.py; an empty text if it is not, or not known."""
    record, target, kind, row = before.record, inquiry.target, inquiry.target.kind, before.row
    how = tie(row, record)
    if record is None or how == BY_ID:
        return Refusal()
    wants = row is None or _wants(inquiry, before, record)
    try:
        rivals = connected_rivals(inquiry.authentik, kind, int(inquiry.provider["pk"]), target.pk, record)
    except AuthentikError as exc:
        if exc.kind != "forbidden":
            raise
        # The read before has warned of it.
        rivals = NO_RIVALS
    found = verdict(how, wants, rivals)
    if found == OWN and not (how == BY_ADDRESS and rivals.by_address):
        return Refusal(owners_known=rivals is not NO_RIVALS)
    if found == UNDECIDED:
        return Refusal(
            undecided_text(target.title, kind, record, default_address(target, inquiry.provider)), "conflict", True
        )
    # authentik writes by address: to somebody else's record, it would be somebody else's that is written.
    return Refusal(contested_text(target.title, kind, address_of(record), rivals.names()), "conflict", True)


def _wants(inquiry: Inquiry, before: Observation, record: Json) -> bool:
    """Whether the record has the address that the object wants: its own, or the one that the mappings give."""
    if is_at(record, default_address(inquiry.target, inquiry.provider)):
        return True
    try:
        return is_at(record, inquiry.target.kind.address(inquiry.evaluate(before)))
    except MappingProblem:
        return False
