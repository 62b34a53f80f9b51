# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What authentik must not be asked to do: take over, suspend, … a protected account, or write to another object's record.

authentik asks nobody: it syncs every object to the record that has its address. So this is decided before anything is sent,
as far as Google and authentik's connections can be read. Reads only.
"""

from __future__ import annotations

import typing as t

from ..._authentik.api import Authentik
from ..._authentik.errors import AuthentikError
from ..._common.kind import USER, Kind
from ..._common.types import Json
from ..._google.errors import GoogleError
from ..._mappings.desired import MappingProblem
from ..._objects.connection import connected_id, leads_to, proves
from ..._objects.protection import Protected, Subject, addresses_of, check, listed, standing
from ..._objects.record import address_of
from ..._objects.target import Target
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
    target, directory = inquiry.target, inquiry.observer.directory
    if target.kind != USER:
        return ""
    subject = Subject(
        inquiry.provider.get("delegated_subject"),
        directory.session.credentials.subject if directory is not None else None,
    )
    record = before.known_record
    if record is None and not before.seen:
        # What is not read cannot be an administrator's for certain, but the subject is known by its address.
        address = str((before.row or {}).get("google_id") or target.email)
        record = {"primaryEmail": address}
        if not subject.is_account(record):
            inquiry.warn(
                "Whether %s is an administrator's account at Google is not known, since Google was not read. authentik takes over "
                "any account that has the address of a user." % (address or "the account")
            )
            return ""
    text = _listed_by_address(inquiry, before, record, subject)
    if text or record is None:
        return text
    return protected_text(record, before.row, target, subject, lambda: (inquiry.evaluate(before), inquiry.secret))


def _listed_by_address(inquiry: Inquiry, before: Observation, record: t.Optional[Json], subject: Subject) -> str:
    """authentik connects a user with the account that has the user's e-mail, even where there is a connection already."""
    address, directory = inquiry.target.email, inquiry.observer.directory
    if record is None or directory is None or not before.seen or address.lower() in addresses_of(record):
        # Without a record the address was asked for before.
        return ""
    try:
        other = directory.get(USER, address) if address else None
    except GoogleError as exc:
        if inquiry.options.verify == "google":
            raise
        inquiry.warn("Whose account %s is at Google could not be read. %s" % (address, exc))
        return ""
    if other is None:
        return ""
    return protected_text(other, before.row, inquiry.target, subject, lambda: ({}, {}))


def protected_text(
    record: Json,
    row: t.Optional[Json],
    target: Target,
    subject: Subject,
    wanted: t.Callable[[], t.Tuple[Json, Json]],
) -> str:
    """Why authentik must not sync a user to an account; empty if it may.

    Args:
        record: the account as Google shows it.
        row: the user's connection as authentik shows it, or None.
        wanted: gives what the mappings yield (and may cost requests); asked for protected accounts only.
    """
    refused = "%s was not synced" % str(target).capitalize()
    try:
        unknown = harm_unknown(record, row, target, subject, wanted)
    except Protected as exc:
        return exc.text(refused)
    if not unknown:
        return ""
    return "%s. %s. Nothing was sent. Let the token's user test property mappings, or use engine: direct." % (
        "The account %s at Google %s, and what authentik would write to it is not known (%s)"
        % (address_of(record), standing(record, subject), unknown),
        refused,
    )


def harm_unknown(
    record: Json,
    row: t.Optional[Json],
    target: Target,
    subject: Subject,
    wanted: t.Callable[[], t.Tuple[Json, Json]],
) -> str:
    """Raise Protected if authentik would harm an account; else why that is not known, or an empty text."""
    if not standing(record, subject):
        return ""
    check(USER, record, {}, subject, takes_over=not proves(row, record, target.email))
    try:
        resource, secret = wanted()
    except MappingProblem as exc:
        return "" if exc.kind in _NOT_WRITTEN else str(exc)
    check(USER, record, dict(resource, **secret), subject)
    return ""


def _owned_by_another(inquiry: Inquiry, before: Observation) -> Refusal:
    """Whether another object of authentik is connected with the record; an empty text if none is, or if that is not known."""
    record, target, kind = before.record, inquiry.target, inquiry.target.kind
    if record is None or connected_id(before.row) == str(record.get("id")):
        return Refusal()
    try:
        names = owners(inquiry.authentik, kind, int(inquiry.provider["pk"]), target.pk, record)
    except AuthentikError as exc:
        if exc.kind != "forbidden":
            raise
        # The read before has warned of it.
        return Refusal()
    if not names:
        return Refusal(owners_known=True)
    text = "%s. %s was not synced, because authentik would write to the same %s. Nothing was sent. %s" % (
        "The %s %s at Google is connected with %s of authentik" % (kind.record, address_of(record), listed(names)),
        str(target).capitalize(),
        kind.record,
        "Give one of them another %s in authentik. Only if the %s belongs to the other one no longer, remove that "
        "connection (google_workspace_connection, state: absent)."
        % ("e-mail" if kind == USER else "name or address", kind.record),
    )
    return Refusal(text, "conflict", True)


def owners(authentik: Authentik, kind: Kind, provider: int, pk: str, record: Json) -> t.List[str]:
    """The other objects of authentik that are connected with a record: by immutable id, or by address where no id is known."""
    found = set()
    for row in authentik.all_connections(kind, provider):
        own_id = connected_id(row)
        theirs = own_id == str(record.get("id")) if own_id else leads_to(row, record)
        if theirs and str(row.get(kind)) != pk:
            obj = row.get("%s_obj" % kind)
            name = (obj or {}).get(kind.name_field) if isinstance(obj, dict) else None
            found.add("%s %s" % (kind, name or row.get(kind)))
    return sorted(found)
