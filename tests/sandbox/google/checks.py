# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Google's rules for single values: names, passwords, addresses, roles. Each check raises ApiError."""

from __future__ import annotations

import re

from tests.sandbox.google.errors import ApiError, invalid, not_found

LONGEST_NAME = 60
LONGEST_GROUP_NAME = 73
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 100
ROLES = ("OWNER", "MANAGER", "MEMBER")
MEMBER_TYPES = ("USER", "GROUP", "CUSTOMER", "EXTERNAL")

_ADDRESS = re.compile(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[^@\s]+")
_HASHES = {
    "MD5": re.compile(r"[0-9a-fA-F]{32}"),
    "SHA-1": re.compile(r"[0-9a-fA-F]{40}"),
    "crypt": re.compile(r"\$[0-9a-z]+\$.+|[./0-9A-Za-z]{13}"),
}


def required(body: dict, *names: str) -> None:
    """Refuse a body that lacks one of the fields; ``a.b`` is field ``b`` of object ``a``."""
    for name in names:
        value: object = body
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            raise ApiError(400, "required", f"Missing required field: {name}")


def person_name(part: str, value: str, *, strict: bool) -> None:
    """Check ``GivenName`` or ``FamilyName``."""
    if (strict and not value.strip()) or "<" in value or ">" in value or len(value) > LONGEST_NAME:
        raise invalid(f"Invalid Given/Family Name: {part}")


def password(body: dict) -> None:
    """Check a password, or the hash of one, where the body has either."""
    value, function = body.get("password"), body.get("hashFunction")
    if function is not None and function not in _HASHES:
        raise invalid("Invalid Input: hashFunction")
    if value is None:
        return
    if function is not None:
        if not _HASHES[function].fullmatch(value):
            raise invalid("Invalid Password")
    elif not SHORTEST_PASSWORD <= len(value) <= LONGEST_PASSWORD or not value.isascii():
        raise invalid("Invalid Password")


def address(value: object, domains: list[str], field: str) -> str:
    """Return an address in lower case when it can be one of this workspace."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise invalid(f"Invalid Input: {field}")
    value = value.lower()
    if not is_inside(value, domains):
        raise not_found("domain")
    return value


def is_inside(value: str, domains: list[str]) -> bool:
    """Tell whether an address belongs to one of the domains."""
    return value.rpartition("@")[2].lower() in domains


def outside_address(value: str) -> str:
    """Return an address of somebody else in lower case."""
    if not _ADDRESS.fullmatch(value):
        raise invalid("Invalid Input: memberKey")
    return value.lower()


def one_of(value: object, allowed: tuple[str, ...], field: str) -> str:
    """Return a value that must be one of a few."""
    if value not in allowed:
        raise invalid(f"Invalid Input: {field}")
    return str(value)


def list_of_objects(body: dict, field: str) -> list[dict]:
    """Return a field that must be a list of objects, or an empty list where it is absent or null."""
    value = body.get(field) or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(f"Invalid Input: {field}")
    return value
