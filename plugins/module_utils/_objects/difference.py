# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between two states of a Google resource, and between a wanted and an observed one. Pure.

Rules (from the Directory API's documentation and what was seen on real systems): addresses have no case; the order of
arrays means nothing; Google adds entries to ``emails`` by itself; numbers in custom schemas come back as text; a field
that is missing stands for its default; ``name.fullName`` is Google's own work.
"""

from __future__ import annotations

import json
import typing as t

from .._common.kind import USER, Kind
from .._common.types import Json
from .record import addresses_of

USER_WRITABLE = frozenset(
    (
        "primaryEmail",
        "name",
        "suspended",
        "archived",
        "orgUnitPath",
        "changePasswordAtNextLogin",
        "includeInGlobalAddressList",
        "ipWhitelisted",
        "recoveryEmail",
        "recoveryPhone",
        "emails",
        "addresses",
        "customSchemas",
        "externalIds",
        "gender",
        "ims",
        "keywords",
        "languages",
        "locations",
        "notes",
        "organizations",
        "phones",
        "posixAccounts",
        "relations",
        "sshPublicKeys",
        "websites",
    )
)
GROUP_WRITABLE = frozenset(("email", "name", "description"))
# What also tells one state from another, though nobody writes it as a field.
OBSERVED_ONLY = frozenset(("id", "aliases"))
_ADDRESSES = frozenset(("primaryEmail", "email", "recoveryEmail", "aliases"))
_DEFAULTS: Json = {
    "orgUnitPath": "/",
    "includeInGlobalAddressList": True,
    "languages": [{"languageCode": "en", "preference": "preferred"}],
}


def writable(kind: Kind) -> frozenset[str]:
    """The fields of a "user" or a "group" that a sync can set."""
    return USER_WRITABLE if kind == USER else GROUP_WRITABLE


def comparable(kind: Kind, resource: Json | None, own: t.AbstractSet[str] = frozenset()) -> Json:
    """The fields of a resource that count, normalised, as {path: value}; nested objects become dotted paths.

    Args:
        own: further addresses of the account, in lower case, besides those that the resource names.
    """
    flat: Json = {}
    if not resource:
        return flat
    own = own | addresses_of(resource)
    for field in sorted((writable(kind) | OBSERVED_ONLY).intersection(resource)):
        value = _normal(field, resource[field], own)
        if isinstance(value, dict):
            for path, leaf in _leaves(field, value):
                flat[path] = leaf
        else:
            flat[field] = value
    flat.pop("name.fullName", None)
    return flat


def changes(kind: Kind, before: Json | None, after: Json | None) -> list[Json]:
    """The differences between two observed states, as a list of {path, before, after}, in order of path."""
    old, new = comparable(kind, before), comparable(kind, after)
    if not old:
        # A new record has a new id; it tells something only where another one was there before.
        new.pop("id", None)
    return [
        {"path": path, "before": old.get(path), "after": new.get(path)}
        for path in sorted(set(old) | set(new))
        if not _same(path, old.get(path), new.get(path))
    ]


def unmet(kind: Kind, desired: Json, observed: Json | None) -> list[Json]:
    """Where an observed state is not what is wanted: {path, before: observed, after: wanted}, managed fields only."""
    # An address that is one of the account's own on either side is an entry of the server's making on both.
    own = addresses_of(desired) | addresses_of(observed)
    wanted = comparable(kind, {key: value for key, value in desired.items() if key in writable(kind)}, own)
    found = comparable(kind, observed, own)
    return [
        {"path": path, "before": found.get(path), "after": wanted[path]}
        for path in sorted(wanted)
        if not _same(path, found.get(path), wanted[path])
    ]


def member_key(member: Json) -> str:
    """What names a member: its address, or its id where it has none (a whole customer)."""
    return str(member.get("email") or member.get("id") or "").lower()


def member_roles(members: t.Iterable[Json] | None) -> dict[str, str]:
    """Members as {key: role}."""
    return {member_key(item): str(item.get("role") or "MEMBER") for item in members or ()}


def member_changes(before: t.Mapping[str, str], after: t.Mapping[str, str]) -> list[Json]:
    """The differences between two memberships: {path: "members", added, removed}, and roles of those who stayed."""
    added = sorted(set(after) - set(before))
    removed = sorted(set(before) - set(after))
    found: list[Json] = [{"path": "members", "added": added, "removed": removed}] if added or removed else []
    found.extend(
        {"path": f"members.{key}.role", "before": before[key], "after": after[key]}
        for key in sorted(set(before) & set(after))
        if before[key] != after[key]
    )
    return found


def _leaves(path: str, value: t.Any) -> t.Iterator[tuple[str, t.Any]]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _leaves(f"{path}.{key}", value[key])
    else:
        yield path, value


def _normal(field: str, value: t.Any, own: t.AbstractSet[str]) -> t.Any:
    if field in _ADDRESSES:
        return _lower(value)
    if field == "emails" and isinstance(value, list):
        return [
            dict(item, address=str(item.get("address") or "").lower()) if isinstance(item, dict) else item
            for item in value
            if not (isinstance(item, dict) and _server_made(item, own))
        ]
    return value


def _server_made(entry: Json, own: t.AbstractSet[str]) -> bool:
    address = str(entry.get("address") or "").lower()
    return bool(entry.get("primary")) or address in own or address.endswith(".test-google-a.com")


def _lower(value: t.Any) -> t.Any:
    if isinstance(value, list):
        return [_lower(item) for item in value]
    return value.lower() if isinstance(value, str) else value


def _same(path: str, one: t.Any, other: t.Any) -> bool:
    if _empty(path, one) and _empty(path, other):
        return True
    return _canonical(path, one) == _canonical(path, other)


def _empty(path: str, value: t.Any) -> bool:
    """Whether a value says no more than a missing field does."""
    if value is None or value in ("", [], {}):
        return True
    # 0 is a value; False is what a switch is when nobody set it, unless it is on by default.
    return value == _DEFAULTS[path] if path in _DEFAULTS else value is False


def _canonical(path: str, value: t.Any) -> str:
    if path.startswith("customSchemas."):
        value = _as_text(value)
    return json.dumps(_unordered(value), sort_keys=True, ensure_ascii=False)


def _as_text(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _unordered(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        # An entry's empty fields say nothing.
        return {
            key: _unordered(item) for key, item in value.items() if item not in (None, "", [], {}) and item is not False
        }
    if isinstance(value, list):
        return sorted((_unordered(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value.strip() if isinstance(value, str) else value
