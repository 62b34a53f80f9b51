# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
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
from .secrets import mask_text

Json = t.Dict[str, t.Any]
SECRET_FIELDS = ("password", "hashFunction")


class MappingProblem(Exception):
    """Why the wanted record is not known.

    Attributes:
        kind: str: ``skip`` (a mapping leaves the object out), ``failed`` (a mapping fails, as it will in a sync),
            ``empty`` (no mapping yields anything), ``unpredictable`` (the mapping uses what the test endpoint cannot
            give it), ``unavailable`` (authentik does not let us evaluate).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def evaluate(authentik: Authentik, provider: Json, kind: str, target: Json, connection: t.Optional[Json]) -> Json:
    """Let authentik evaluate the provider's mappings for one object.

    Args:
        provider: the provider as authentik shows it.
        kind: "user" or "group".
        target: the user or group as authentik shows it.
        connection: its connection row, or None when the object would be created.

    Returns:
        The wanted Google resource, without password fields.

    Raises:
        MappingProblem.
    """
    key = "property_mappings" if kind == "user" else "property_mappings_group"
    mappings = [str(item) for item in provider.get(key) or []]
    if not mappings:
        raise MappingProblem("empty", "the provider has no %s property mappings" % kind)
    subject = {kind: target["pk"]}
    # Plain values: an expression that wants the row's or the provider's methods cannot be tested this way.
    context: Json = {
        "connection": {"google_id": connection.get("google_id")} if connection else None,
        "provider": {"pk": provider.get("pk"), "name": provider.get("name")},
    }
    try:
        names = authentik.mapping_names() if len(mappings) > 1 else {}
        ordered = sorted(mappings, key=lambda pk: names.get(pk, ""))
        results = [_result(authentik.test_mapping(pk, subject, context), names.get(pk) or pk) for pk in ordered]
    except AuthentikError as exc:
        raise MappingProblem("unavailable", str(exc)) from None
    return combine(kind, results, target, str(provider.get("default_group_email_domain") or ""))


def combine(kind: str, results: t.Sequence[t.Optional[Json]], target: Json, group_domain: str) -> Json:
    """Merge the mappings' results, in order, as authentik does, and add what it adds. Pure.

    Raises:
        MappingProblem: nothing came of it.
    """
    merged: Json = {}
    for result in results:
        if result is not None:
            _merge(merged, result)
    if not merged:
        raise MappingProblem("empty", "no %s property mapping yields anything" % kind)
    if kind == "user":
        merged = {key: value for key, value in merged.items() if value is not None}
        merged.setdefault("primaryEmail", target.get("email") or "")
    else:
        merged.setdefault("email", "%s@%s" % (slug(str(target.get("name") or "")), group_domain))
    for field in SECRET_FIELDS:
        merged.pop(field, None)
    return merged


def slug(text: str) -> str:
    """A name as the local part of an address, by the rule of Django's slugify that authentik uses."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain.lower())).strip("-_")


def _merge(into: Json, other: Json) -> None:
    """Objects are merged, lists appended, everything else replaced."""
    for key, value in other.items():
        if isinstance(into.get(key), dict) and isinstance(value, dict):
            _merge(into[key], value)
        elif isinstance(into.get(key), list) and isinstance(value, list):
            into[key] = into[key] + value
        else:
            into[key] = value


def _result(answer: Json, name: str) -> t.Optional[Json]:
    text = answer["result"]
    if not answer.get("successful"):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        last = mask_text(lines[-1]) if lines else "no reason given"
        if "SkipObject" in last:
            raise MappingProblem("skip", "property mapping '%s' leaves it out (SkipObject)" % name)
        if "'dict' object has no attribute" in last or "'NoneType' object has no attribute" in last:
            raise MappingProblem(
                "unpredictable", "property mapping '%s' uses more than a test can give it: %s" % (name, last)
            )
        raise MappingProblem("failed", "property mapping '%s' fails: %s" % (name, last))
    try:
        value = json.loads(text)
    except ValueError:
        raise MappingProblem("unpredictable", "the result of property mapping '%s' is no JSON" % name) from None
    if value is not None and not isinstance(value, dict):
        raise MappingProblem("failed", "property mapping '%s' returns no dictionary" % name)
    return value
