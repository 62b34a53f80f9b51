# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a property mapping yields for somebody, against what is expected of it. The comparison is pure."""

from __future__ import annotations

import typing as t

from .._authentik.api import Authentik
from .._common.kind import GROUP, USER
from .._common.masking import MASK, mask
from .._common.types import Json
from .._mappings.desired import SECRET_FIELDS, MappingProblem, ask, result_of
from .._objects.target import Target, check_lookup, find

OUTCOMES = ("yields", "skips", "nothing", "fails")


class MappingTest(t.NamedTuple):
    """One test.

    Attributes:
        target: whom it is evaluated for.
        outcome: one of OUTCOMES, what is expected.
        expect: dict, the fields that the result must hold with these values.
        exactly: whether it must hold no others.
        creating: whether it is evaluated as for somebody who is not at Google yet.
    """

    target: Target
    outcome: str
    expect: Json
    exactly: bool
    creating: bool


def find_subject(authentik: Authentik, entry: Json) -> Target:
    """The user or group that an entry with user or group, and lookup, names. Raises AuthentikError."""
    kind = USER if entry.get("user") else GROUP
    return find(authentik, kind, entry[kind], entry["lookup"], "test_against")


def subject_problem(where: str, entry: Json) -> str | None:
    """What is wrong with an entry that names a user or a group; None if nothing is.

    Args:
        where: the option and the entry's number.
    """
    if bool(entry.get("user")) == bool(entry.get("group")):
        return f"{where} needs exactly one of user and group."
    kind = USER if entry.get("user") else GROUP
    wrong = check_lookup(kind, entry[kind], entry["lookup"])
    return None if wrong is None else f"{where}: {wrong}"


def evaluate(authentik: Authentik, mapping: str, name: str, case: MappingTest, provider: Json) -> tuple[str, t.Any]:
    """Let authentik evaluate a stored mapping: (what came of it, the result or the reason). Raises AuthentikError."""
    target = case.target
    google_id = None if case.creating else target.email
    try:
        result = result_of(ask(authentik, mapping, provider, target.kind, target.data, google_id), name)
    except MappingProblem as exc:
        return ("skips" if exc.kind == "skip" else "fails"), str(exc)
    return ("nothing" if result is None else "yields"), result


def judge(case: MappingTest, outcome: str, result: t.Any) -> list[str]:
    """What is not as expected, in words; empty if all is. Pure."""
    if outcome != case.outcome:
        reason = f": {result}" if outcome in ("skips", "fails") else ""
        return [f"it {_verb(outcome)} instead of: {_verb(case.outcome)}{reason}"]
    if outcome != "yields":
        return []
    return missing(case.expect, result, case.exactly)


def missing(expected: Json, found: Json, exactly: bool, where: str = "") -> list[str]:
    """The differences between expected and found fields, nested ones by path. Secrets are not shown."""
    wrong = []
    for key in sorted(expected):
        path = f"{where}.{key}" if where else str(key)
        if key not in found:
            wrong.append(f"{path} is missing")
        elif isinstance(expected[key], dict) and isinstance(found[key], dict):
            wrong.extend(missing(expected[key], found[key], exactly, path))
        elif expected[key] != found[key]:
            secret = key in SECRET_FIELDS
            wrong.append(
                f"{path} is {MASK if secret else repr(mask(found[key]))} instead of {MASK if secret else repr(mask(expected[key]))}"
            )
    if exactly:
        wrong.extend(
            "%s is not expected" % (f"{where}.{key}" if where else key) for key in sorted(set(found) - set(expected))
        )
    return wrong


def _verb(outcome: str) -> str:
    return {"yields": "yields fields", "skips": "skips the object", "nothing": "yields nothing", "fails": "fails"}[
        outcome
    ]
