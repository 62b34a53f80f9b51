# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""authentik's notifications by its generic webhook transport, for saved users and groups.

The default body and what a webhook mapping is given follow authentik's documentation of notification transports and of
its events (``action``, and ``context.model`` with ``app``, ``model_name``, ``name`` and ``pk``; a UUID stands there as 32
digits). As its source has it, a licensed server adds ``context.diff`` with the primary keys of members that came or went.
Deliveries are made one after the other, in a thread, and never keep a request waiting.
"""

from __future__ import annotations

import json
import queue
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

from tests.sandbox.authentik import expressions
from tests.sandbox.authentik.releases import Release
from tests.sandbox.authentik.state import Group, User

TIMEOUT_S = 10
ACTOR = {"username": "akadmin", "email": "akadmin@example.com", "pk": 4}


class Webhooks:
    """The registered targets, and what was delivered to them."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._targets: list[dict[str, Any]] = []
        self._deliveries: list[dict[str, Any]] = []
        self._queue: queue.Queue[tuple[dict[str, Any], dict[str, Any]] | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    def register(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add a target: ``url``, and optionally ``mapping_body`` and ``mapping_headers`` (expressions).

        Raises:
            ValueError: something else was given.
        """
        unknown = set(body) - {"url", "mapping_body", "mapping_headers"}
        if unknown or not all(isinstance(value, str) for value in body.values()) or "url" not in body:
            raise ValueError("a webhook has url, and mapping_body and mapping_headers if wanted, all of them texts")
        self._targets.append(body)
        if self._thread is None:
            self._thread = threading.Thread(target=self._deliver, daemon=True)
            self._thread.start()
        return body

    def deliveries(self) -> list[dict[str, Any]]:
        """What was sent, in order: ``url``, ``body`` and ``status`` (0 where nobody answered)."""
        return list(self._deliveries)

    def reset(self) -> None:
        """Forget targets and deliveries."""
        self._targets.clear()
        self._deliveries.clear()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(TIMEOUT_S)

    def saved(self, obj: User | Group, context: dict[str, Any]) -> None:
        """A user or group was changed by a request.

        Args:
            context: what the event's context has besides the object.
        """
        kind = "user" if isinstance(obj, User) else "group"
        model = {
            "app": "authentik_core",
            "model_name": kind,
            "name": obj.name,
            "pk": str(obj.pk).replace("-", "") if kind == "group" else obj.pk,
        }
        event = SimpleNamespace(
            action="model_updated", app="authentik.events.middleware", context={"model": model, **context}, user=ACTOR
        )
        text = f"model_updated: {json.dumps(event.context)}"
        notification = SimpleNamespace(
            body=text, severity="notice", event=event, user=SimpleNamespace(**ACTOR), created=None
        )
        for target in self._targets:
            self._queue.put((target, self._composed(target, notification)))

    def _composed(self, target: dict[str, Any], notification: Any) -> dict[str, Any]:
        variables = {"user": notification.user, "request": None, "notification": notification}
        body: Any = {
            "body": notification.body,
            "severity": notification.severity,
            "user_email": notification.user.email,
            "user_username": notification.user.username,
            "event_user_email": notification.event.user["email"],
            "event_user_username": notification.event.user["username"],
        }
        headers: Any = {}
        if "mapping_body" in target:
            body = expressions.run(target["mapping_body"], variables, self._release)
        if "mapping_headers" in target:
            headers = expressions.run(target["mapping_headers"], variables, self._release)
        return {"body": body, "headers": headers}

    def _deliver(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            target, composed = item
            request = urllib.request.Request(
                target["url"],
                json.dumps(composed["body"]).encode(),
                {"Content-Type": "application/json", **composed["headers"]},
            )
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                    status = answer.status
            except urllib.error.HTTPError as exc:
                status = exc.code
            except OSError:
                status = 0
            self._deliveries.append({"url": target["url"], "body": composed["body"], "status": status})
