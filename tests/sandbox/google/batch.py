# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Batches: a multipart/mixed body of complete HTTP requests, and of their answers."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.parser import BytesParser
from typing import Any

from starlette.responses import Response

from tests.sandbox.google.errors import malformed
from tests.sandbox.wire import reason_phrase

MOST_CALLS = 1000


@dataclass(frozen=True)
class Call:
    """One request of a batch. Header names are in lower case."""

    content_id: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """The answer to one call."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def split(content_type: str, body: bytes) -> list[Call]:
    """Return the calls of a batch; raises ApiError when it is not one, is empty or too long."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    if message.get_content_type() != "multipart/mixed" or not message.is_multipart():
        raise malformed("Failed to parse batch request, error: the body is not multipart/mixed.")
    parts: Any = message.get_payload()
    if len(parts) > MOST_CALLS:
        raise malformed(f"The batch request cannot contain more than {MOST_CALLS} calls.")
    return [_call(part.get("Content-ID", ""), part.get_payload(decode=True)) for part in parts]


async def run(calls: list[Call], answer: Callable[[Call], Awaitable[Reply]]) -> Response:
    """Answer the calls one after the other and return the batch's answer."""
    boundary = "batch_" + secrets.token_hex(12)
    out = []
    for call in calls:
        reply = await answer(call)
        content_id = "<response-" + call.content_id.strip().removeprefix("<").removesuffix(">") + ">"
        lines = [
            f"--{boundary}",
            "Content-Type: application/http",
            f"Content-ID: {content_id}",
            "",
            f"HTTP/1.1 {reply.status} {reason_phrase(reply.status)}",
            # Google's client finds the body by the empty line behind the headers: there must be one header at least.
            *(f"{name}: {value}" for name, value in reply.headers or [("content-length", "0")]),
            "",
            "",
        ]
        out.append("\r\n".join(lines).encode() + reply.body + b"\r\n")
    out.append(f"--{boundary}--\r\n".encode())
    return Response(b"".join(out), media_type=f"multipart/mixed; boundary={boundary}")


def _call(content_id: str, text: bytes) -> Call:
    head, _blank, body = text.replace(b"\r\n", b"\n").lstrip(b"\n").partition(b"\n\n")
    first, *rest = head.decode("utf-8").split("\n")
    words = first.split(" ")
    if len(words) < 2 or not words[1].startswith("/"):
        raise malformed("Failed to parse batch request, error: a part is not an HTTP request.")
    headers = {}
    for line in rest:
        name, _colon, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Call(content_id, words[0].upper(), words[1], headers, body)
