# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Property mappings: running their Python, merging their results, and the addresses that follow from a name."""

from __future__ import annotations

import ipaddress
import re
import textwrap
import traceback
import unicodedata
import uuid
from datetime import date, datetime, timedelta
from types import GeneratorType, SimpleNamespace
from typing import Any

from tests.sandbox.authentik.errors import PropertyMappingExpressionException
from tests.sandbox.authentik.objects import Group, User
from tests.sandbox.authentik.releases import Release
from tests.sandbox.authentik.state import Mapping


class SkipObjectException(Exception):
    """Raised by a mapping to leave an object out."""


# The traceback text of the mapping test names the class where real servers have it.
SkipObjectException.__module__ = "authentik.core.expression.exceptions"


def run(expression: str, variables: dict, release: Release) -> Any:
    """The value that a mapping's body returns: the body of a function whose parameters are the variables."""
    names = ", ".join(variables)
    source = "def handler(%s):\n" % names + textwrap.indent(expression or "pass", "    ") + "\n"
    scope = helpers(release)
    exec(compile(source, "mapping", "exec"), scope)
    return scope["handler"](**variables)


def syntax_error(expression: str) -> str:
    """What is wrong with an expression's syntax, in Python's words; empty if nothing is."""
    try:
        compile("def handler():\n" + textwrap.indent(expression, "    ") + "\nresult = handler()", "<string>", "exec")
    except (SyntaxError, ValueError) as exc:
        return str(exc)
    return ""


def helpers(release: Release) -> dict:
    """What authentik's documentation offers to expressions, but for what needs more than a database of users."""
    names = {
        "SkipObject": SkipObjectException,
        "regex_match": lambda value, regex: bool(re.search(regex, value)),
        "regex_replace": lambda value, regex, repl: re.compile(regex).sub(repl, value),
        "list_flatten": flattened,
        "ak_is_group_member": lambda user, **filters: user.all_groups().filter(**filters).exists(),
        "ak_logger": Logger(),
        "ip_address": ipaddress.ip_address,
        "ip_network": ipaddress.ip_network,
    }
    if release.task_logs:
        names["slugify"] = slug
    return names


class Logger:
    """Takes whatever structlog's loggers take."""

    def _log(self, _event: str, **_values: Any) -> None:
        pass

    debug = info = warning = error = critical = _log


def flattened(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return value[0] if value else None


def variables_for(user: Any, group: Any, context: dict) -> dict:
    """The variables of an evaluation; who or what it is about stands, whatever the context says."""
    request = SimpleNamespace(user=user, obj=None, http_request=None, context={})
    found = {**context, "request": request}
    if user is not None:
        found["user"] = user
    if group is not None:
        found["group"] = group
    return found


def sanitized(value: Any) -> Any:
    """A result as the mapping test shows it: what is no JSON made into some, empty elements of lists left out."""
    if isinstance(value, dict):
        return {key: sanitized(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, GeneratorType)):
        return [item for item in map(sanitized, value) if item]
    if isinstance(value, User):
        return {"username": value.username, "pk": value.pk, "email": value.email}
    if isinstance(value, Group):
        return {"app": "authentik_core", "model_name": "group", "pk": value.pk.hex, "name": value.name}
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, datetime):
        return re.sub(r"\+00:00$", "Z", value.isoformat())
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    return str(value) if isinstance(value, Exception) else value


def failure_text(exc: BaseException) -> str:
    """The text by which the mapping test reports a failing expression."""
    lines = ["Traceback (most recent call last):"]
    for frame in traceback.extract_tb(exc.__traceback__):
        if frame.filename == "mapping":
            lines.append('  File "mapping", line %s, in %s' % (frame.lineno, frame.name))
    kind = "%s.%s" % (type(exc).__module__, type(exc).__name__)
    lines.append(("%s: %s" % (kind, exc)).rstrip())
    return "\n".join(lines)


def evaluate(mappings: list[Mapping], variables: dict, release: Release) -> dict:
    """The merged result of several mappings, in the order given."""
    merged: dict = {}
    for mapping in mappings:
        try:
            value = run(mapping.expression, variables, release)
        except (SkipObjectException, SyntaxError):
            raise
        except Exception as exc:  # noqa: BLE001 - whatever an admin's code raises
            raise PropertyMappingExpressionException(mapping) from exc
        if value is not None:
            merged = merge(merged, value)
    return merged


def merge(base: Any, other: Any) -> Any:
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
