# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its plugins and their options are a promise to users.
"""Which users and groups events of authentik name.

Every text of an event is foreign: a display name, which a user may change, stands beside the primary key. So this reads plain
values, compares them with patterns, and builds what it returns from the matches alone. Nothing of the input is returned or
repeated in a message, not even a wrong key.
"""

from __future__ import annotations

import re
import typing as t
import uuid
from collections.abc import Mapping

ACTIONS = ("model_created", "model_updated")
APP = "authentik_core"
# authentik's users have a 32-bit integer as primary key.
LARGEST_USER = 2147483647
_USER = re.compile(r"[1-9][0-9]{0,9}")
_GROUP = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# As many as nobody changes at once; a longer text is not what the rulebook wrote.
MOST_OBJECTS = 100000


class ChangedObjects:
    """The objects, each once and in order.

    Attributes:
        users: list of str, primary keys in digits.
        groups: list of str, primary keys as UUIDs.
        refused: list of str, a sentence for each part of the input that names no user or group.
    """

    def __init__(self) -> None:
        self._users: dict[str, None] = {}
        self._groups: dict[str, None] = {}
        self.refused: list[str] = []

    @property
    def users(self) -> list[str]:
        """Primary keys in digits."""
        return list(self._users)

    @property
    def groups(self) -> list[str]:
        """Primary keys as UUIDs."""
        return list(self._groups)

    def add(self, kind: t.Any, pk: t.Any, where: str) -> None:
        """Take one object, or refuse it.

        Args:
            kind, pk: whatever the input has.
            where: what to call it in a message; no text of the input.
        """
        if not isinstance(kind, str) or kind not in ("user", "group"):
            self.refused.append(f"{where} is neither a user nor a group.")
            return
        found = user_pk(pk) if kind == "user" else group_pk(pk)
        if found is None:
            wanted = "an integer from 1 to %d" % LARGEST_USER if kind == "user" else "a UUID or 32 hexadecimal digits"
            self.refused.append(f"{where} has no primary key of a {kind}, which is {wanted}.")
        elif kind == "user":
            self._users[found] = None
        else:
            self._groups[found] = None


def user_pk(value: t.Any) -> str | None:
    """A user's primary key in digits, or None if the value is not one."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    text = "%d" % value if isinstance(value, int) else value
    found = _USER.fullmatch(text)
    if found is None or int(found.group()) > LARGEST_USER:
        return None
    return "%d" % int(found.group())


def group_pk(value: t.Any) -> str | None:
    """A group's primary key as a UUID, or None if the value is not one."""
    found = _GROUP.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else str(uuid.UUID(found.group()))


def from_objects(given: t.Any) -> ChangedObjects:
    """The objects of a text such as ``user:6 group:0123…``, or of a list of such entries."""
    changed = ChangedObjects()
    if isinstance(given, str):
        entries: t.Sequence[t.Any] = given.split(None, MOST_OBJECTS)
    elif isinstance(given, (list, tuple)):
        entries = given[: MOST_OBJECTS + 1]
    else:
        changed.refused.append("It is neither a text nor a list.")
        return changed
    for number, entry in enumerate(entries[:MOST_OBJECTS], 1):
        kind, _colon, pk = entry.partition(":") if isinstance(entry, str) else ("", "", "")
        changed.add(kind, pk, "Entry %d" % number)
    if len(entries) > MOST_OBJECTS:
        changed.refused.append("It has more than %d entries." % MOST_OBJECTS)
    return changed


def from_events(given: t.Any) -> ChangedObjects:
    """The objects of the events that ansible-rulebook hands to a playbook, one as ``event``, several in ``events``."""
    changed = ChangedObjects()
    for number, event in enumerate(_events(given, changed), 1):
        _take(event, "Event %d" % number, changed)
    return changed


def _events(given: t.Any, changed: ChangedObjects) -> list[t.Any]:
    if not isinstance(given, Mapping):
        changed.refused.append("It is not a dictionary.")
        return []
    found: list[t.Any] = []
    if "event" in given:
        found.append(given["event"])
    if "events" in given:
        several = given["events"]
        if isinstance(several, Mapping):
            found.extend(several.values())
        else:
            changed.refused.append("Its events are not a dictionary.")
    if not found and not changed.refused:
        changed.refused.append("It has no event.")
    return found


def _take(event: t.Any, where: str, changed: ChangedObjects) -> None:
    payload = event.get("payload") if isinstance(event, Mapping) else None
    model = payload.get("model") if isinstance(payload, Mapping) else None
    if not isinstance(payload, Mapping) or not isinstance(model, Mapping):
        changed.refused.append(f"{where} has no payload with a model.")
        return
    if not _is_one_of(payload.get("action"), ACTIONS):
        changed.refused.append("%s has an action other than %s." % (where, " and ".join(ACTIONS)))
        return
    if not _is_one_of(model.get("app"), (APP,)):
        changed.refused.append(f"{where} is about a model of another app than {APP}.")
        return
    changed.add(model.get("model_name"), model.get("pk"), where)
    former = payload.get("former_members")
    if former is None:
        return
    if not isinstance(former, (list, tuple)):
        changed.refused.append(f"{where} has former_members that are not a list.")
        return
    for number, pk in enumerate(former, 1):
        changed.add("user", pk, "%s, former member %d," % (where, number))


def _is_one_of(value: t.Any, allowed: t.Sequence[str]) -> bool:
    return isinstance(value, str) and value in allowed
