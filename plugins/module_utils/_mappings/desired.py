# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record that authentik wants at Google: its property mappings' results, put together as authentik does it.

Mappings are Python written by authentik's admins; authentik itself evaluates them (its mapping test endpoint), so
nothing is guessed. The merging is pure.
"""

from __future__ import annotations

import json
import re
import typing as t
import unicodedata

from .._authentik.api import Authentik
from .._authentik.errors import AuthentikError
from .._common.kind import USER, Kind
from .._common.masking import mask_text
from .._common.types import Json
from .._objects.target import Target

SECRET_FIELDS = ("password", "hashFunction")


class MappingProblem(Exception):
    """Why the wanted record is not known.

    Attributes:
        kind: ``skip`` (a mapping leaves the object out), ``failed`` (a mapping fails, as it will in a sync),
            ``empty`` (no mapping yields anything), ``unpredictable`` (the mapping uses what the test endpoint cannot
            give it), ``unavailable`` (authentik does not let us evaluate).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


Answer = t.Union[Json, MappingProblem]


def evaluate(
    authentik: Authentik, provider: Json, kind: Kind, target: Json, google_id: str | None
) -> tuple[Json, Json]:
    """Let authentik evaluate the provider's mappings for one object: one request each.

    Args:
        provider: the provider as authentik shows it.
        kind: Kind.
        target: the user or group as authentik shows it.
        google_id: what its connection calls it at Google, or None when the object would be created.

    Returns:
        (the wanted Google resource, what the mappings give of SECRET_FIELDS: nothing for a group).

    Raises:
        MappingProblem.
    """
    asked = mapping_keys(provider, kind)
    try:
        answers = [(pk, ask(authentik, pk, provider, kind, target, google_id)) for pk in asked]
        return put_together(provider, kind, target, answers, authentik.mapping_names)
    except AuthentikError as exc:
        raise MappingProblem("unavailable", str(exc)) from None


def mapping_keys(provider: Json, kind: Kind) -> list[str]:
    """The primary keys of the mappings that a provider uses for one kind of object. Pure.

    Raises:
        MappingProblem: it uses none.
    """
    keys = [str(item) for item in provider.get(kind.mappings_field) or []]
    if not keys:
        raise MappingProblem("empty", f"the provider has no {kind} property mappings")
    return keys


def ask(authentik: Authentik, mapping: str, provider: Json, kind: Kind, target: Json, google_id: str | None) -> Json:
    """Authentik's answer for one mapping and one object, as Authentik.test_mapping gives it. Raises AuthentikError."""
    return authentik.test_mapping(mapping, {kind: target["pk"]}, context_of(provider, google_id))


def context_of(provider: Json, google_id: str | None) -> Json:
    """The variables that a mapping sees besides the object. Pure.

    Plain values: an expression that wants the row's or the provider's methods cannot be tested this way.
    """
    return {
        "connection": None if google_id is None else {"google_id": google_id},
        "provider": {"pk": provider.get("pk"), "name": provider.get("name")},
    }


def put_together(
    provider: Json,
    kind: Kind,
    target: Json,
    answers: t.Sequence[tuple[str, Answer]],
    mapping_names: t.Callable[[], t.Mapping[str, str]],
    known_names: t.Mapping[str, str] | None = None,
) -> tuple[Json, Json]:
    """Make one record of the answers for one object.

    Args:
        answers: (the mapping's primary key, the answer in the form of Authentik.test_mapping, or the MappingProblem
            that stands for it) for each mapping.
        mapping_names: gives the names by primary key; called only where the order or a problem's text wants them.
        known_names: the names, where they are known already.

    Returns, raises:
        As evaluate; what mapping_names raises.
    """
    names = known_names or {}
    try:
        results = [result_of(answer, names.get(pk) or pk) for pk, answer in answers]
    except MappingProblem as problem:
        try:
            names = names or mapping_names()
        except AuthentikError:
            if len(answers) > 1:
                raise
            # Its key has to do for a name.
            raise problem from None
        # The first one in order of names decides.
        for pk, answer in sorted(answers, key=lambda item: names.get(item[0], "")):
            result_of(answer, names.get(pk) or pk)
        raise
    if not independent(results):
        names = names or mapping_names()
        order = sorted(range(len(answers)), key=lambda index: names.get(answers[index][0], ""))
        results = [results[index] for index in order]
    return combine(kind, results, target, str(provider.get("default_group_email_domain") or ""))


def independent(results: t.Sequence[Json | None]) -> bool:
    """Whether results give the same in whatever order they are merged. Pure.

    Then nobody has to be asked for the mappings' names, in whose order authentik merges.
    """
    seen: set[str] = set()
    for result in results:
        fields = set(result or ())
        if seen & fields:
            return False
        seen |= fields
    return True


def combine(kind: Kind, results: t.Sequence[Json | None], target: Json, group_domain: str) -> tuple[Json, Json]:
    """Merge the mappings' results, in order, as authentik does, and add what it adds. Pure.

    Returns:
        As evaluate.

    Raises:
        MappingProblem: nothing came of it.
    """
    merged: Json = {}
    for result in results:
        if result is not None:
            merge(merged, result)
    if not merged:
        raise MappingProblem("empty", f"no {kind} property mapping yields anything")
    if kind == USER:
        merged = {key: value for key, value in merged.items() if value is not None}
        merged.setdefault("primaryEmail", target.get("email") or "")
    else:
        merged.setdefault("email", group_address(str(target.get("name") or ""), group_domain))
    secret = {field: merged.pop(field) for field in SECRET_FIELDS if field in merged}
    return merged, secret if kind == USER else {}


def group_address(name: str, domain: str) -> str:
    """The address that authentik gives a group unless a mapping does."""
    return f"{slug(name)}@{domain}"


def default_address(target: Target, provider: Json) -> str:
    """The address of an object at Google unless a mapping gives another one; may be empty."""
    if target.kind == USER:
        return target.email
    return group_address(target.name, str(provider.get("default_group_email_domain") or ""))


def slug(text: str) -> str:
    """A name as the local part of an address, by the rule of Django's slugify that authentik uses."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain.lower())).strip("-_")


def merge(into: Json, other: Json) -> None:
    """Merge as authentik does: objects key by key, lists one after the other, everything else replaced."""
    for key, value in other.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            merge(into[key], value)
        elif isinstance(into.get(key), list) and isinstance(value, list):
            into[key] = into[key] + value
        else:
            into[key] = value


def result_of(answer: Answer, name: str) -> Json | None:
    """What a mapping gives, of its answer. Raises MappingProblem. Pure."""
    if isinstance(answer, MappingProblem):
        raise answer
    text = answer["result"]
    if not answer.get("successful"):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        last = mask_text(lines[-1]) if lines else "no reason given"
        if "SkipObject" in last:
            raise MappingProblem("skip", f"property mapping '{name}' leaves it out (SkipObject)")
        if "'dict' object has no attribute" in last or "'NoneType' object has no attribute" in last:
            raise MappingProblem(
                "unpredictable", f"property mapping '{name}' uses more than a test can give it: {last}"
            )
        raise MappingProblem("failed", f"property mapping '{name}' fails: {last}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise MappingProblem("unpredictable", f"the result of property mapping '{name}' is no JSON") from None
    if value is not None and not isinstance(value, dict):
        raise MappingProblem("failed", f"property mapping '{name}' returns no dictionary")
    return value
