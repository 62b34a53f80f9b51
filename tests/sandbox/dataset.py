# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Datasets: what stands on both sides when the sandbox starts. The format is described in the README beside this."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

DEFAULT = Path(__file__).parent / "data" / "small.json"
USER_TYPES = ("internal", "external", "service_account", "internal_service_account")

# Key: whether it must be there, and the type of its value.
Shape = dict[str, "tuple[bool, type | tuple[type, ...]]"]

_TOP: Shape = {
    "domain": (True, str),
    "domains": (False, list),
    "users": (False, list),
    "groups": (False, list),
    "provider": (False, dict),
    "mappings": (False, list),
    "google": (False, dict),
}
_USER: Shape = {
    "username": (True, str),
    "name": (False, str),
    "email": (False, str),
    "is_active": (False, bool),
    "type": (False, str),
    "attributes": (False, dict),
    "path": (False, str),
}
_GROUP: Shape = {
    "name": (True, str),
    "description": (False, str),
    "parent": (False, (str, type(None))),
    "members": (False, list),
    "attributes": (False, dict),
    "is_superuser": (False, bool),
}
_MAPPING: Shape = {"name": (True, str), "expression": (True, str), "model": (True, str), "assigned": (False, bool)}
_GOOGLE: Shape = {"domains": (False, list), "users": (False, list), "groups": (False, list)}


class DatasetError(ValueError):
    """A dataset is not as documented; the text names the place, such as ``users[3].email``."""


def load(path: str | Path = DEFAULT) -> dict:
    """Read a dataset and return it checked and complete; raises DatasetError.

    The result has all of ``domain``, ``domains``, ``users`` (``username``, ``name``, ``email``, ``is_active``,
    ``type``, ``attributes``, ``path``), ``groups`` (``name``, ``parent``, ``members``, ``attributes``,
    ``is_superuser``), ``provider``, ``mappings`` (``name``, ``expression``, ``model``, ``assigned``) and ``google``
    (``domains``, ``users``, ``groups``; among the users the administrator ``admin@<domain>``).
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise DatasetError(f"{path}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise DatasetError(f"{path}: not JSON: {exc}") from exc
    try:
        return complete(content)
    except DatasetError as exc:
        raise DatasetError(f"{path}: {exc}") from exc


def complete(content: object) -> dict:
    """Check a dataset that is already parsed and return it with every key filled in; raises DatasetError."""
    given = _checked(content, _TOP, "")
    domain = given["domain"].lower()
    if not domain or "@" in domain:
        raise DatasetError("domain: a domain name is expected")
    domains = _texts(given.get("domains", [domain]), "domains")
    if domain not in domains:
        raise DatasetError("domains: must contain the value of domain")
    users = [_user(user, f"users[{index}]") for index, user in enumerate(given.get("users", []))]
    _unique((user["username"] for user in users), "users: username")
    groups = [_group(group, f"groups[{index}]") for index, group in enumerate(given.get("groups", []))]
    _unique((group["name"] for group in groups), "groups: name")
    _check_links(users, groups)
    mappings = [_mapping(mapping, f"mappings[{index}]") for index, mapping in enumerate(given.get("mappings", []))]
    return {
        "domain": domain,
        "domains": domains,
        "users": users,
        "groups": groups,
        "provider": given.get("provider", {}),
        "mappings": mappings,
        "google": _google(given.get("google", {}), domain, domains),
    }


def _user(value: object, where: str) -> dict:
    user = _checked(value, _USER, where)
    if user.get("type", USER_TYPES[0]) not in USER_TYPES:
        raise DatasetError(f"{where}.type: one of {', '.join(USER_TYPES)} is expected")
    defaults = {"name": "", "email": "", "is_active": True, "type": USER_TYPES[0], "attributes": {}, "path": "users"}
    return {**defaults, **user}


def _group(value: object, where: str) -> dict:
    group = _checked(value, _GROUP, where)
    attributes = dict(group.get("attributes", {}))
    # authentik's groups have no description of their own; attributes are where people keep one.
    if group.get("description"):
        attributes.setdefault("description", group["description"])
    return {
        "name": group["name"],
        "parent": group.get("parent"),
        "members": _texts(group.get("members", []), f"{where}.members", lower=False),
        "attributes": attributes,
        "is_superuser": group.get("is_superuser", False),
    }


def _mapping(value: object, where: str) -> dict:
    mapping = _checked(value, _MAPPING, where)
    if mapping["model"] not in ("user", "group"):
        raise DatasetError(f"{where}.model: user or group is expected")
    return {"assigned": True, **mapping}


def _google(value: object, domain: str, domains: list[str]) -> dict:
    google = _checked(value, _GOOGLE, "google")
    users = _objects(google.get("users", []), "google.users", "primaryEmail")
    groups = _objects(google.get("groups", []), "google.groups", "email")
    for index, group in enumerate(groups):
        for member in group.get("members", []):
            if not isinstance(member, dict):
                raise DatasetError(f"google.groups[{index}].members: a list of objects is expected")
    administrator = f"admin@{domain}"
    if all(user["primaryEmail"].lower() != administrator for user in users):
        name = {"givenName": "Workspace", "familyName": "Administrator"}
        users = [{"primaryEmail": administrator, "name": name, "isAdmin": True}, *users]
    return {"domains": _texts(google.get("domains", domains), "google.domains"), "users": users, "groups": groups}


def _check_links(users: list[dict], groups: list[dict]) -> None:
    usernames = {user["username"] for user in users}
    names = {group["name"] for group in groups}
    for index, group in enumerate(groups):
        for member in group["members"]:
            if member not in usernames:
                raise DatasetError(f"groups[{index}].members: there is no user {member!r}")
        if group["parent"] is not None and group["parent"] not in names:
            raise DatasetError(f"groups[{index}].parent: there is no group {group['parent']!r}")


def _checked(value: object, shape: Shape, where: str) -> dict[str, Any]:
    """Return an object that has the keys of a shape, no others, and values of the right types."""
    prefix = f"{where}." if where else ""
    if not isinstance(value, dict):
        raise DatasetError(f"{where or 'the dataset'}: an object is expected")
    for key in value:
        if key not in shape:
            raise DatasetError(f"{prefix}{key}: unknown key; known: {', '.join(shape)}")
    for key, (required, kind) in shape.items():
        if key in value and not isinstance(value[key], kind):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            raise DatasetError(f"{prefix}{key}: {' or '.join(entry.__name__ for entry in kinds)} is expected")
        if required and not value.get(key):
            raise DatasetError(f"{prefix}{key}: missing")
    return value


def _objects(value: list, where: str, key: str) -> list[dict]:
    for index, item in enumerate(value):
        if not isinstance(item, dict) or not isinstance(item.get(key), str):
            raise DatasetError(f"{where}[{index}].{key}: missing")
    return value


def _texts(value: list, where: str, *, lower: bool = True) -> list[str]:
    if not all(isinstance(item, str) for item in value):
        raise DatasetError(f"{where}: a list of texts is expected")
    return [item.lower() for item in value] if lower else list(value)


def _unique(values: Any, where: str) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise DatasetError(f"{where}: {value!r} is there {count} times")
