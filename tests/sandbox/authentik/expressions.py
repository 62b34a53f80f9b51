# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Property mappings: running their Python, merging their results, and the addresses that follow from a name."""

from __future__ import annotations

import re
import textwrap
import traceback
import unicodedata
from types import SimpleNamespace

from tests.sandbox.authentik.errors import PropertyMappingExpressionException
from tests.sandbox.authentik.state import Mapping


class SkipObjectException(Exception):
    """Raised by a mapping to leave an object out."""


# The traceback text of the mapping test names the class where real servers have it.
SkipObjectException.__module__ = "authentik.core.expression.exceptions"


def run(expression: str, variables: dict) -> object:
    """The value that a mapping's body returns."""
    source = "def handler():\n" + textwrap.indent(expression.strip() or "pass", "    ") + "\n"
    scope = {"SkipObject": SkipObjectException, **variables}
    exec(compile(source, "mapping", "exec"), scope)
    return scope["handler"]()


def variables_for(user: object) -> dict:
    return {"request": SimpleNamespace(user=user, obj=user, http_request=None, context={}), "user": user}


def failure_text(exc: Exception) -> str:
    """The text by which the mapping test reports a failing expression."""
    lines = ["Traceback (most recent call last):"]
    for frame in traceback.extract_tb(exc.__traceback__):
        if frame.filename == "mapping":
            lines.append('  File "mapping", line %s, in %s' % (frame.lineno, frame.name))
    kind = "%s.%s" % (type(exc).__module__, type(exc).__name__)
    lines.append(("%s: %s" % (kind, exc)).rstrip())
    return "\n".join(lines)


def evaluate(mappings: list[Mapping], variables: dict) -> dict:
    """The merged result of several mappings, in the order given."""
    merged: dict = {}
    for mapping in mappings:
        try:
            value = run(mapping.expression, variables)
        except (SkipObjectException, SyntaxError):
            raise
        except Exception as exc:  # noqa: BLE001 - whatever an admin's code raises
            raise PropertyMappingExpressionException(mapping) from exc
        if value is not None:
            merged = merge(merged, value)
    return merged


def merge(base: object, other: object) -> object:
    """Objects key by key, lists one after the other, anything else replaced."""
    if isinstance(base, dict) and isinstance(other, dict):
        result = dict(base)
        for key, value in other.items():
            result[key] = merge(result[key], value) if key in result else value
        return result
    if isinstance(base, list) and isinstance(other, list):
        return base + other
    return other


def slug(text: str) -> str:
    """A name as the part of an address before the @."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    kept = re.sub(r"[^\w\s-]", "", plain.lower())
    return re.sub(r"[-\s]+", "-", kept).strip("-_")
