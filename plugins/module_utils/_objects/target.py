# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which authentik object is meant, and whether the provider syncs it."""

from __future__ import annotations

import difflib
import re
import typing as t
import uuid

from .._authentik.api import Authentik
from .._authentik.errors import AuthentikError
from .._common.kind import GROUP, USER, Kind
from .._common.texts import sentence
from .._common.types import Json

LOOKUPS = ("auto", "pk", "uuid", "username", "email", "name")
_LOOKUPS_OF = {USER: ("pk", "uuid", "username", "email", "name"), GROUP: ("pk", "uuid", "name")}
# A way to look something up, and what it leads to.
Found = t.Tuple[str, t.List[Json]]
_SERVICE_ACCOUNTS = ("service_account", "internal_service_account")

# How many characters of an unknown name are searched for, and how many similar names are told.
SEARCHED, MOST_NEAR = 2, 3
# Longer than any name or address that authentik takes.
LONGEST_NAME = 512


class Target:
    """The object to sync.

    Attributes:
        kind: Kind.
        pk: str, the primary key as authentik's endpoint wants it.
        name: str, the username, or the group's name.
        email: str, a user's e-mail; empty for groups.
        data: the object as authentik shows it.
    """

    def __init__(self, kind: Kind, data: Json) -> None:
        self.kind = kind
        self.data = data
        self.pk = str(data["pk"])
        self.name = str(data.get(kind.name_field) or "")
        self.email = str(data.get("email") or "") if kind == USER else ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def title(self) -> str:
        """The object at the beginning of a sentence, its name as it is written."""
        return sentence(str(self))

    def described(self, in_scope: bool) -> Json:
        """As results show it; what Google calls it is filled in later."""
        return described(self.kind, self.pk, self.name, in_scope)


def described(kind: Kind, pk: str, name: str | None, in_scope: bool) -> Json:
    """An object as results show it."""
    return {
        "model": kind.model,
        "pk": pk,
        "name": name,
        "google_id": None,
        "in_scope": in_scope,
    }


def check_lookup(kind: Kind, value: str, lookup: str) -> str | None:
    """Why an identifier and a lookup cannot fit, before anything is sent; None if they can."""
    if lookup != "auto" and lookup not in _LOOKUPS_OF[kind]:
        return "lookup: %s is not for a %s; use one of %s or auto." % (lookup, kind, ", ".join(_LOOKUPS_OF[kind]))
    if lookup == "pk" and kind == USER and not _is_user_pk(value):
        return f"lookup: pk wants a user's integer primary key (1 to 2147483647), not '{value}'."
    if (lookup == "uuid" or (lookup == "pk" and kind == GROUP)) and _as_uuid(value) is None:
        return f"lookup: {lookup} wants a UUID, not '{value}'."
    return None


def find(authentik: Authentik, kind: Kind, value: str, lookup: str, option: str = "sync_object_id") -> Target:
    """Resolve an identifier to exactly one object.

    Args:
        option: the option of the module that the identifier stands in.

    Raises:
        AuthentikError: kinds ``not_found`` and ``ambiguous`` (the candidates listed), or a request's failure.
    """
    data = _find_user(authentik, value, lookup) if kind == USER else _find_group(authentik, value, lookup)
    if data is None:
        by = "" if lookup == "auto" else f" by {lookup}"
        near = [] if lookup in ("pk", "uuid") else nearest(authentik, kind, value)
        raise AuthentikError(
            "not_found",
            "authentik has no %s '%s' (looked up%s)." % (kind, value, by or " automatically"),
            "%sCheck %s and lookup; upper and lower case differ. authentik gives the same answer if the token's user may "
            "not view the %s. Nothing was sent to be synced."
            % ("The nearest: %s. " % ", ".join(near) if near else "", option, kind),
        )
    return Target(kind, data)


def nearest(authentik: Authentik, kind: Kind, value: str) -> list[str]:
    """What objects with similar names and e-mails are called, the most similar first; for one request.

    authentik searches for parts of texts: those that share the beginning of the value are compared with it.
    """
    beginning = (re.findall(r"\w+", value) or [""])[0][:SEARCHED]
    try:
        found = authentik.similar(kind, beginning) if beginning else []
    except AuthentikError:
        return []
    names = {
        str(item[field]).lower(): _name(item)
        for item in found
        for field in ("username", "email", "name")
        if item.get(field)
    }
    close = difflib.get_close_matches(value.lower(), names, MOST_NEAR)
    return list(dict.fromkeys(names[name] for name in close))


def as_primary_key(kind: Kind, value: str) -> str | None:
    """A value in the form of a primary key, as authentik's filters take it; None if it has another form."""
    if kind == GROUP:
        return _as_uuid(value)
    return value if _is_user_pk(value) else None


def is_primary_key(kind: Kind, value: str, lookup: str) -> bool:
    """Whether a value is read as a primary key, so that an object which is not there may have been deleted."""
    if lookup not in ("auto", "pk", "uuid"):
        return False
    return (kind == USER and lookup != "uuid" and _is_user_pk(value)) or bool(_as_uuid(value))


def scope(provider: Json, target: Target) -> str | None:
    """The rule by which a provider leaves an object alone, in words, or None when it syncs it. Pure."""
    if target.kind == GROUP:
        return None
    name = provider.get("name")
    if target.name == "AnonymousUser":
        return "authentik never syncs the anonymous user"
    if provider.get("exclude_users_service_account") and target.data.get("type") in _SERVICE_ACCOUNTS:
        return "it is a %s, which exclude_users_service_account of provider %s leaves out" % (
            str(target.data.get("type")).replace("_", " "),
            name,
        )
    wanted = provider.get("filter_group")
    if wanted and str(wanted) not in [str(item) for item in target.data.get("groups") or []]:
        return f"it is not a direct member of group {wanted}, the filter_group of provider {name}"
    return None


def _find_user(authentik: Authentik, value: str, lookup: str) -> Json | None:
    if lookup != "auto":
        return _one(USER, value, [(lookup, _users_by(authentik, lookup, value))])
    ways = ["username"]
    if "@" in value:
        # An address can be one person's e-mail and another's username: both count.
        ways.append("email")
    if _is_user_pk(value) or _as_uuid(value):
        # A username or a display name may look like a primary key or a UUID: all of them count.
        ways = ["pk" if _is_user_pk(value) else "uuid", *ways, "name"]
    found = [(way, _users_by(authentik, way, value)) for way in ways]
    if not any(items for _way, items in found) and "name" not in ways:
        found.append(("name", authentik.users(name=value)))
    return _one(USER, value, found)


def _users_by(authentik: Authentik, lookup: str, value: str) -> list[Json]:
    if lookup == "pk":
        data = authentik.get(USER, value)
        return [] if data is None else [data]
    return authentik.users(**{lookup: str(_as_uuid(value)) if lookup == "uuid" else value})


def _find_group(authentik: Authentik, value: str, lookup: str) -> Json | None:
    found: list[Found] = []
    pk = _as_uuid(value)
    if lookup in ("pk", "uuid") or (lookup == "auto" and pk):
        data = authentik.get(GROUP, str(pk))
        found.append(("pk" if lookup == "auto" else lookup, [] if data is None else [data]))
    if lookup in ("auto", "name"):
        # A group's name may look like a UUID: both count.
        found.append(("name", authentik.groups(name=value)))
    return _one(GROUP, value, found)


def _one(kind: Kind, value: str, found: t.Sequence[Found]) -> Json | None:
    """The one object that an identifier leads to, whatever the ways; None if there is none.

    Raises:
        AuthentikError: kind ``ambiguous``; the message says of each object which lookup leads to it.
    """
    objects: dict[str, Json] = {}
    ways: dict[str, list[str]] = {}
    for way, items in found:
        for item in items:
            pk = str(item["pk"])
            objects[pk] = item
            ways.setdefault(pk, []).append(way)
    if len(objects) <= 1:
        return next(iter(objects.values()), None)
    names = [
        "%s (pk %s%s; lookup: %s)" % (_name(item), pk, _address(item), " or ".join(ways[pk]))
        for pk, item in list(objects.items())[:10]
    ]
    raise AuthentikError(
        "ambiguous",
        "'%s' matches more than one %s: %s%s."
        % (value, kind, ", ".join(names), " and more" if len(objects) > len(names) else ""),
        "Say with lookup what the value is, or give the primary key of the %s that is meant, with lookup: pk." % kind,
    )


def _name(item: Json) -> str:
    return str(item.get("username") or item.get("name") or "")


def _address(item: Json) -> str:
    return ", %s" % item["email"] if item.get("email") else ""


def _is_user_pk(value: str) -> bool:
    return bool(re.match(r"^[1-9][0-9]{0,9}$", value)) and int(value) <= 2147483647


def _as_uuid(value: str) -> str | None:
    if not re.match(r"^[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$", value):
        return None
    return str(uuid.UUID(value))


def name_problem(option: str, value: str) -> str | None:
    """Why a value cannot name anything in authentik; None if it can."""
    if len(value) > LONGEST_NAME:
        return "%s is longer than %d characters." % (option, LONGEST_NAME)
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        return f"{option} contains control characters."
    return None
