# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Google accounts are protected, and what must not be done to them. Reads nothing but the members of groups that protect names.

Administrators and the account that a run acts as are protected: whoever may edit a user or a property mapping in
authentik must not be able to disable them or to get into them. Every way that leads to a write asks here.
"""

from __future__ import annotations

import re
import threading
import typing as t

from .._common.errors import Refused
from .._common.kind import USER, Kind
from .._common.types import Json
from .record import addresses_of

TAKE_OVER = "take it over"
DELETE = "delete it"


class Protection:
    """The accounts that a run acts as, and who else is protected.

    Args:
        addresses: the delegated subjects, of the provider and of the run; empty ones do not count.
        protect: entries of the option: an address, with ``*`` for any characters; an org unit, which begins with ``/`` and
            counts with those below it; ``group:`` and the address of a group at Google, whose direct members count.
        allow_admins: whether administrators are not protected. Nothing lifts the protection of the run's own account.
        members_of: callable taking a group's address and returning its members as Google lists them, or None where there is no
            such group.
    """

    def __init__(
        self,
        *addresses: str | None,
        protect: t.Iterable[str] = (),
        allow_admins: bool = False,
        members_of: t.Callable[[str], t.Iterable[Json] | None] = lambda group: None,
    ) -> None:
        self._addresses = {address.strip().lower() for address in addresses if address and address.strip()}
        self._ids: set[str] = set()
        self.allow_admins = allow_admins
        entries = [entry.strip() for entry in protect if entry.strip()]
        self._units = [entry for entry in entries if entry.startswith("/")]
        self._groups = [_group_of(entry) for entry in entries if _group_of(entry)]
        self._patterns = [
            (entry, re.compile(".*".join(map(re.escape, entry.lower().split("*"))) + r"\Z"))
            for entry in entries
            if not entry.startswith("/") and not _group_of(entry)
        ]
        self._members_of = members_of
        self._members: dict[str, str] | None = None
        self._lock = threading.Lock()

    def read_groups(self) -> None:
        """Read the members of the groups that protect names, so that what is wrong with them ends a run before it writes.

        Raises:
            Refused: there is no such group.
            GoogleError.
        """
        self._protected_members()

    def known_addresses(self) -> list[str]:
        """The addresses that are known without a listing: the run's own accounts, single addresses, members of groups."""
        single = [entry.lower() for entry, _pattern in self._patterns if "*" not in entry]
        return sorted({*self._addresses, *single, *(key for key in self._protected_members() if "@" in key)})

    @property
    def needs_listing(self) -> bool:
        """Whether some entries name accounts that only a listing shows."""
        return bool(self._units) or any("*" in entry for entry, _pattern in self._patterns)

    def named_by(self, record: Json) -> str:
        """Which entry of protect an account is protected by; empty if none. Raises as read_groups()."""
        addresses = addresses_of(record)
        for entry, pattern in self._patterns:
            if any(pattern.match(address) for address in addresses):
                return entry
        path = str(record.get("orgUnitPath") or "/")
        for unit in self._units:
            below = unit if unit.endswith("/") else unit + "/"
            if path.lower() == unit.lower() or path.lower().startswith(below.lower()):
                return unit
        members = self._protected_members()
        return next((members[key] for key in {str(record.get("id") or ""), *addresses} if key in members), "")

    def _protected_members(self) -> dict[str, str]:
        """{id or address of a member: the entry of protect that names its group}."""
        with self._lock:
            if self._members is None:
                found: dict[str, str] = {}
                for group in self._groups:
                    members = self._members_of(group)
                    if members is None:
                        raise Refused(
                            f"protect names the group {group}, and Google shows no such group to this run, so that it is not known "
                            "who is protected. Nothing was written. Correct the entry, or name the accounts by their addresses.",
                            "invalid_option",
                        )
                    for member in members:
                        for key in (str(member.get("id") or ""), str(member.get("email") or "").lower()):
                            found[key] = f"group:{group}"
                found.pop("", None)
                self._members = found
            return self._members

    def is_account(self, record: Json) -> bool:
        """Whether a record is one of these accounts: by address or alias without case, or by an id that was seen with one."""
        own_id = str(record.get("id") or "")
        if addresses_of(record) & self._addresses:
            if own_id:
                self._ids.add(own_id)
            return True
        return own_id in self._ids


def protect_problem(entries: t.Iterable[str]) -> str | None:
    """Why an entry of protect could protect nobody; None if each could protect somebody."""
    for entry in map(str.strip, entries):
        group = _group_of(entry)
        if "@" not in group if group else not (entry.startswith("/") or "@" in entry or "*" in entry):
            return (
                f"protect contains '{entry}', which names nobody. Give an address (* stands for any characters), an org unit (it "
                "begins with /), or group: and the address of a group at Google."
            )
    return None


def _group_of(entry: str) -> str:
    """The address in an entry of protect that names a group; empty for other entries."""
    return entry.partition(":")[2].strip() or "?" if entry.lower().startswith("group:") else ""


class Protected(Exception):
    """Something must not be done to a protected account.

    Args:
        record: the account as Google shows it.
        why: why it is protected; from standing().
        acts: what would be done to it; from refused_acts().
        is_subject: whether it is the account that the run acts as.
    """

    def __init__(self, record: Json, why: str, acts: t.Sequence[str], is_subject: bool) -> None:
        super().__init__(f"{address_text(record)} {why}")
        self.record = record
        self.why = why
        self.acts = list(acts)
        self.is_subject = is_subject

    def text(self, refused: str) -> str:
        """Cause, what happened, what to do.

        Args:
            refused: what was not done, such as "User ada was not synced".
        """
        cause = f"The account {address_text(self.record)} at Google {self.why}"
        return (
            f"{cause}. {refused}, because that would {listed(self.acts)}. Nothing was written for it. {self.remedy()}"
        )

    def remedy(self) -> str:
        """What to do."""
        if TAKE_OVER in self.acts:
            text = "Give the user another e-mail in authentik, or take the user out of the provider's scope."
            if not self.is_subject:
                text += (
                    " If it is the user's own account, connect the two by its immutable id "
                    "(google_workspace_connection, google_id: '%s')." % self.record.get("id")
                    if self.record.get("id")
                    else " If it is the user's own account, connect the two by its immutable id (google_workspace_connection)."
                )
            return text
        change = "If that is intended, " + (
            "let the run act as another administrator (delegated_subject)"
            if self.is_subject
            else "make the change in Google's Admin console"
        )
        return f"{change}; else correct the user or the property mapping in authentik."


def address_text(record: Json) -> str:
    """What to call an account."""
    return str(record.get("primaryEmail") or record.get("id") or "")


def listed(acts: t.Sequence[str]) -> str:
    """Things that would be done, as a part of a sentence."""
    return " and ".join([", ".join(acts[:-1]), acts[-1]] if len(acts) > 1 else acts)


def is_protected(protection: Protection, record: Json) -> bool:
    """Whether an account is protected."""
    return bool(standing(record, protection))


def standing(record: Json, protection: Protection) -> str:
    """Why an account is protected, as the end of a sentence about it; empty if it is not."""
    if protection.is_account(record):
        return "is the account that this run acts as"
    entry = protection.named_by(record)
    if entry:
        return f"is protected (protect: {entry})"
    if protection.allow_admins:
        return ""
    if record.get("isAdmin"):
        return "is an administrator's (isAdmin)"
    if record.get("isDelegatedAdmin"):
        return "is an administrator's (isDelegatedAdmin)"
    return ""


def refused_acts(record: Json, body: Json, takes_over: bool = False, deletes: bool = False) -> list[str]:
    """What must not be done to a protected account, of what a write would do to it.

    Args:
        body: the fields to be written, password fields included.
        takes_over: whether the object is not connected with the account; see connection.proves().
        deletes: whether the account is to be deleted.
    """
    found = [TAKE_OVER] if takes_over else []
    if deletes:
        found.append(DELETE)
    if body.get("suspended") and not record.get("suspended"):
        found.append("suspend it")
    if body.get("archived") and not record.get("archived"):
        found.append("archive it")
    if "primaryEmail" in body and _lower(body["primaryEmail"]) != _lower(record.get("primaryEmail")):
        found.append("rename it to %s" % (body["primaryEmail"] or "nothing"))
    if (
        "orgUnitPath" in body
        and str(body["orgUnitPath"] or "/").lower() != str(record.get("orgUnitPath") or "/").lower()
    ):
        found.append("move it to %s" % (body["orgUnitPath"] or "/"))
    if "password" in body or "hashFunction" in body:
        found.append("set its password")
    if "recoveryEmail" in body and _lower(body["recoveryEmail"]) != _lower(record.get("recoveryEmail")):
        found.append("set its recovery e-mail")
    if "recoveryPhone" in body and (body["recoveryPhone"] or "") != (record.get("recoveryPhone") or ""):
        found.append("set its recovery phone")
    return found


def check(
    kind: Kind,
    record: Json | None,
    body: Json,
    protection: Protection,
    takes_over: bool = False,
    deletes: bool = False,
) -> None:
    """Raise Protected if a write would do to an account what must not be done to it.

    Args:
        kind: Kind; groups are not protected.
        record: the account as Google shows it, or None where there is none.
        body, takes_over, deletes: see refused_acts().
    """
    if kind != USER or record is None:
        return
    why = standing(record, protection)
    if not why:
        return
    acts = refused_acts(record, body, takes_over, deletes)
    if acts:
        raise Protected(record, why, acts, protection.is_account(record))


def _lower(value: t.Any) -> str:
    return str(value or "").lower()
