# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain HTTP to the sandbox's authentik: no client of ours between the test and the wire."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.sandbox.process import Sandbox


@dataclass
class Reply:
    """An answer: its status, content type, Allow header and body (parsed JSON, or text)."""

    status: int
    content_type: str
    allow: str | None
    body: Any


def call(
    sandbox: Sandbox,
    method: str,
    path: str,
    *,
    query: dict | None = None,
    body: Any = None,
    headers: dict[str, str] | None = None,
    token: str | None = "",
) -> Reply:
    """Send one request. A body that is text goes out as it is; token None sends none, "" akadmin's."""
    url = sandbox.authentik_url + path + ("?" + urlencode(query) if query else "")
    data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "Accept": "application/json"}
    if token is not None:
        sent["Authorization"] = f"Bearer {token or sandbox.authentik_token}"
    sent.update(headers or {})
    request = urllib.request.Request(url, data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return _reply(reply.status, reply)
    except urllib.error.HTTPError as exc:
        return _reply(exc.code, exc)


def _reply(status: int, reply: Any) -> Reply:
    text = reply.read().decode()
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    return Reply(status, reply.headers.get("Content-Type") or "", reply.headers.get("Allow"), body)
