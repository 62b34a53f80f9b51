# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects with which mappings are tried before they are trusted. Pure.

A mapping fails, or is evaluated differently here and there, where the data are not like the others': so those come
first, the rarest before the others, and the rest is spread over the list.
"""

from __future__ import annotations

import re
import typing as t

from .._common.types import Json

Subject = t.Tuple[Json, t.Optional[str]]
Trait = t.Tuple[int, str]
# Bounds what is remembered of a directory of any size.
MOST_TRAITS = 5000
# Of attributes' values only those that may stand in a condition: short ones.
LONGEST_VALUE = 40
SPREAD_SHARE = 3


def choose_sample(subjects: t.Sequence[Subject], size: int) -> list[Subject]:
    """Choose at most ``size`` objects, in the order of the list; the same ones for the same list.

    Args:
        subjects: users or groups as authentik lists them, each with what its connection calls it at Google, or None.
    """
    if size >= len(subjects):
        return list(subjects)
    if size <= 0:
        return []
    chosen = _unusual(subjects, size - size // SPREAD_SHARE)
    for index in _spread(len(subjects)):
        if len(chosen) >= size:
            break
        chosen.add(index)
    return [subjects[index] for index in sorted(chosen)]


def _unusual(subjects: t.Sequence[Subject], most: int) -> set[int]:
    """Objects that together show as many traits as possible, unusual ones first."""
    # For each trait how often it was seen, and the first objects that have it.
    seen: dict[Trait, list[int]] = {}
    for index, subject in enumerate(subjects):
        for trait in _traits(subject):
            found = seen.get(trait)
            if found is not None:
                found[0] += 1
            elif len(seen) < MOST_TRAITS:
                seen[trait] = [1, index]
    for name, measure in _MEASURES:
        index = max(range(len(subjects)), key=lambda item: (measure(subjects[item][0]), -item))
        seen[(0, "most " + name)] = [1, index]
    chosen: set[int] = set()
    shown: set[Trait] = set()
    for trait, (_count, index) in sorted(
        seen.items(), key=lambda item: (item[0][0], item[1][0], item[1][1], item[0][1])
    ):
        if len(chosen) >= most:
            break
        if trait not in shown and index not in chosen:
            chosen.add(index)
            shown.update(_traits(subjects[index]))
    return chosen


def _spread(length: int) -> t.Iterator[int]:
    """All indexes of a list, so that the first of them are spread over it: first, last, the middle, the quarters, …"""
    yield 0
    yield length - 1
    parts = 2
    while parts < 2 * length:
        for part in range(1, parts, 2):
            yield part * length // parts
        parts *= 2
    yield from range(length)


def _traits(subject: Subject) -> t.Iterator[Trait]:
    """What an object has that another may not have: (how usual such a thing is, what)."""
    data, google_id = subject
    yield 1, "connected" if google_id is not None else "not connected"
    for field in ("username", "name", "email"):
        if field in data:
            for trait in _text_traits(data[field]):
                yield 0, f"{field} {trait}"
    for field in ("is_active", "is_superuser", "type", "path"):
        if field in data:
            yield 1, f"{field} {data[field]}"
    for field in ("last_login", "date_joined"):
        if field in data:
            yield 1, "%s %s" % (field, "never" if data[field] is None else "some time")
    for field in ("groups", "users", "parents"):
        if isinstance(data.get(field), list):
            yield 1, "%s %d" % (field, min(len(data[field]), 3))
            if field != "users":
                for pk in data[field]:
                    yield 4, f"{field} {pk}"
    if "parent" in data:
        yield 1, "parent %s" % (data["parent"] is not None)
    yield from _value_traits("attributes", data.get("attributes"), 0)


def _text_traits(value: t.Any) -> t.Iterator[str]:
    text = value if isinstance(value, str) else ""
    if not text.strip():
        yield "empty"
    words = text.split()
    yield "of %d words" % min(len(words), 4)
    if not text.isascii():
        yield "not ASCII"
    if " ".join(words) != text:
        yield "with odd white space"
    if text != text.lower():
        yield "with upper case" if text != text.upper() else "all upper case"
    for char in re.findall(r"[^\w\s.@]", text):
        yield f"with {char}"
    if re.search(r"\d", text):
        yield "with digits"


def _value_traits(path: str, value: t.Any, depth: int) -> t.Iterator[Trait]:
    """Of attributes: which there are, of which type, and which values, all as deep as a condition may look."""
    kind = type(value).__name__
    yield 2, "%s %s%s" % (path, kind, "" if value else " empty")
    if isinstance(value, dict) and depth < 3:
        for key in value:
            yield from _value_traits(f"{path}.{key}", value[key], depth + 1)
    elif isinstance(value, list):
        for item in value[:5]:
            yield from _value_traits(path + "[]", item, depth + 1)
    elif isinstance(value, (bool, int)) or (isinstance(value, str) and len(value) <= LONGEST_VALUE):
        yield 3, f"{path} = {value}"


def _size(value: t.Any) -> int:
    if isinstance(value, dict):
        return sum(len(str(key)) + _size(item) for key, item in value.items())
    if isinstance(value, list):
        return len(value) + sum(_size(item) for item in value)
    return len(value) if isinstance(value, str) else 1


def _count(field: str) -> t.Callable[[Json], int]:
    return lambda data: len(data[field]) if isinstance(data.get(field), (list, str)) else 0


_MEASURES: tuple[tuple[str, t.Callable[[Json], int]], ...] = (
    ("groups", _count("groups")),
    ("users", _count("users")),
    ("name", _count("name")),
    ("attributes", lambda data: _size(data.get("attributes"))),
)
