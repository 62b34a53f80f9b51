# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests and answers held against the discovery document that google-api-python-client ships."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import googleapiclient

from tests.sandbox.google.errors import ApiError, invalid, malformed
from tests.sandbox.google.fields import Mask, refused

_DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "admin.directory_v1.json"
_LONG = re.compile(r"-?[0-9]{1,20}")


@dataclass(frozen=True)
class Method:
    """One method of the API as the document describes it."""

    id: str
    http_method: str
    path: re.Pattern[str]
    parameters: dict[str, dict]
    scopes: frozenset[str]
    request: str | None
    response: str | None


class Discovery:
    """The document: finds the method of a request, checks its parameters and body, and checks answers."""

    def __init__(self) -> None:
        document = json.loads(_DOCUMENT.read_text(encoding="utf-8"))
        self._schemas: dict[str, dict] = document["schemas"]
        self._common: dict[str, dict] = document["parameters"]
        self._methods = [_method(entry) for entry in _walk(document["resources"])]

    def find(self, http_method: str, raw_path: str) -> tuple[Method, dict[str, str]] | None:
        """Return the method of a still percent-encoded path, and its path parameters decoded."""
        for method in self._methods:
            match = method.path.fullmatch(raw_path) if method.http_method == http_method else None
            if match:
                return method, {name: unquote(value) for name, value in match.groupdict().items()}
        return None

    def properties(self, schema: str) -> dict[str, dict]:
        """Return the properties of a schema, by name."""
        return self._schemas[schema]["properties"]

    def query(self, method: Method, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Return a query's parameters with their types and the document's defaults; raises ApiError."""
        known = {**self._common, **method.parameters}
        values = {
            name: _parameter(name, entry["default"], entry)
            for name, entry in method.parameters.items()
            if "default" in entry and entry.get("location") == "query"
        }
        for name, text in pairs:
            if known.get(name, {}).get("location") != "query":
                raise malformed(
                    f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
                    f"Field '{name}' could not be found in request message."
                )
            values[name] = _parameter(name, text, known[name])
        return values

    def check_fields(self, method: Method, mask: Mask) -> None:
        """Refuse a ``fields`` selection that names something that the answer cannot have; raises ApiError."""
        self._check_mask({"$ref": method.response} if method.response else {}, mask)

    def check_body(self, schema: str, body: object) -> dict:
        """Return a request's body when it fits the schema; raises ApiError with Google's words otherwise."""
        if not isinstance(body, dict):
            raise malformed("Invalid JSON payload received. An object is expected.")
        for problem in self._problems({"$ref": schema}, body, "", nulls=True):
            raise malformed(f"Invalid JSON payload received. {problem}")
        return body

    def answer_problems(self, method: Method, answer: dict | None) -> list[str]:
        """Return what is wrong with an answer, in words; an empty list when it fits."""
        if method.response is None or answer is None:
            return [] if method.response is None and answer is None else ["body expected or not expected"]
        return list(self._problems({"$ref": method.response}, answer, "", nulls=False))

    def _check_mask(self, schema: dict, mask: Mask) -> None:
        schema = self._resolved(schema)
        if "items" in schema:
            schema = self._resolved(schema["items"])
        for name, below in mask.items():
            properties = schema.get("properties", {})
            if schema.get("type") == "any" or "additionalProperties" in schema or name == "*":
                continue
            if name not in properties:
                raise refused(name)
            self._check_mask(properties[name], below)

    def _resolved(self, schema: dict) -> dict:
        return self._schemas[schema["$ref"]] if "$ref" in schema else schema

    def _problems(self, schema: dict, value: Any, where: str, *, nulls: bool) -> Iterator[str]:
        schema = self._resolved(schema)
        kind = schema.get("type")
        if kind == "any" or (value is None and nulls):
            return
        if kind == "object":
            if not isinstance(value, dict):
                yield _wrong(where, "TYPE_MESSAGE", value)
                return
            properties = schema.get("properties", {})
            for name, item in value.items():
                below = properties.get(name, schema.get("additionalProperties"))
                if below is None:
                    place = f" at '{where}'" if where else ""
                    yield f'Unknown name "{name}"{place}: Cannot find field.'
                else:
                    yield from self._problems(below, item, f"{where}.{name}" if where else name, nulls=nulls)
        elif kind == "array":
            if not isinstance(value, list):
                yield _wrong(where, "TYPE_MESSAGE", value)
                return
            for index, item in enumerate(value):
                yield from self._problems(schema["items"], item, f"{where}[{index}]", nulls=False)
        elif not _fits(kind, schema.get("format"), value, lenient=nulls):
            yield _wrong(where, f"TYPE_{str(schema.get('format') or kind).upper()}", value)
        elif "enum" in schema and value not in schema["enum"]:
            yield _wrong(where, "TYPE_ENUM", value)


def _walk(resources: dict) -> Iterator[dict]:
    for resource in resources.values():
        yield from resource.get("methods", {}).values()
        yield from _walk(resource.get("resources", {}))


def _method(entry: dict) -> Method:
    template = "/" + entry.get("flatPath", entry["path"])
    pattern = "".join(
        f"(?P<{part[1:-1].lstrip('+')}>[^/]+)" if part.startswith("{") else re.escape(part)
        for part in re.split(r"(\{[^}]+\})", template)
    )
    return Method(
        id=entry["id"],
        http_method=entry["httpMethod"],
        path=re.compile(pattern),
        parameters=entry.get("parameters", {}),
        scopes=frozenset(entry.get("scopes", ())),
        request=entry.get("request", {}).get("$ref"),
        response=entry.get("response", {}).get("$ref"),
    )


def _parameter(name: str, text: str, entry: dict) -> Any:
    kind = entry["type"]
    if kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise malformed(f"Invalid value at '{name}' (TYPE_BOOL), \"{text}\"")
        return text.lower() == "true"
    if kind == "integer":
        if not _LONG.fullmatch(text):
            raise malformed(f"Invalid value at '{name}' (TYPE_INT32), \"{text}\"")
        if int(text) < int(entry.get("minimum", text)):
            raise invalid(f"Invalid Input: {name}")
        # Above the maximum Google answers with as much as it gives at most: the method caps.
        return int(text)
    if "enum" in entry and text not in entry["enum"]:
        raise ApiError(
            400,
            "invalidParameter",
            f"Invalid value '{text}'. Values must match the following regular expression: '{'|'.join(entry['enum'])}'",
        )
    return text


def _fits(kind: str | None, form: str | None, value: Any, *, lenient: bool) -> bool:
    """Tell whether a scalar has the type; ``lenient`` takes what Google takes in requests."""
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if form in ("int64", "uint64"):
        if lenient and isinstance(value, int) and not isinstance(value, bool):
            return True
        return isinstance(value, str) and bool(_LONG.fullmatch(value))
    if not isinstance(value, str):
        return False
    return form != "date-time" or _is_time(value)


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).tzinfo is not None
    except ValueError:
        return False


def _wrong(where: str, kind: str, value: Any) -> str:
    return f"Invalid value at '{where}' ({kind}), {json.dumps(value)[:80]}"
