# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What authentik does in tasks: single syncs, and the syncs that saving something starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sandbox.authentik.errors import TransientSyncException
from tests.sandbox.authentik.full_sync import NO_PROVIDER, FullSyncs
from tests.sandbox.authentik.releases import Release
from tests.sandbox.authentik.settings import Settings
from tests.sandbox.authentik.state import Connection, Group, State, User
from tests.sandbox.authentik.sync import Syncer, kind_of, snapshot
from tests.sandbox.authentik.tasks import Task, Worker

REL = ("authentik_providers_google_workspace", "googleworkspaceprovider")


class Background:
    """Puts work into the worker's queue."""

    def __init__(self, state: State, release: Release, worker: Worker, settings: Settings, endpoint: str) -> None:
        self.state = state
        self.release = release
        self.worker = worker
        self.settings = settings
        self.endpoint = endpoint
        self.full_syncs = FullSyncs(self)
        # Called with a user or group that a request has changed, and what the event's context has besides the object.
        self.listeners: list[Callable[[User | Group, dict[str, Any]], None]] = []

    def single(self, provider: int, kind: str, object_id: str, override_dry_run: bool) -> Task:
        """Queue the sync of one object, as its endpoint does."""
        name = self.state.providers[provider].name
        label = f"{name}:{kind}:{object_id}:manual" if self.release.task_logs else f"{name}:{kind}:1"

        def work(task: Task) -> None:
            syncer = self.syncer(task, provider, override_dry_run)
            if syncer is not None:
                syncer.single(kind, object_id)

        return self._send("google_workspace_sync_objects", work, label, provider, kind)

    def provider_saved(self, provider: int) -> None:
        """A provider was saved: with signals on, that starts its full sync."""
        if self.settings.signals:
            self.full_syncs.start(provider)

    def saved(self, obj: User | Group) -> None:
        """A user or group was saved: with signals on, every provider syncs it."""
        for listener in self.listeners:
            listener(obj, {})
        for provider in self._listening():
            self._send("google_workspace_sync_direct", self._direct(provider, obj), str(obj), provider, kind_of(obj))

    def membership(self, group: Group, users: list[int], added: bool) -> None:
        """Members came or went: with signals on, every provider brings just that to Google."""
        # authentik's enterprise middleware adds the difference while the licence is valid.
        context = {"diff": {"users": {"add" if added else "remove": users}}} if self.settings.licensed else {}
        for listener in self.listeners:
            listener(group, context)
        for provider in self._listening():

            def work(task: Task, provider: int = provider) -> None:
                syncer = self.syncer(task, provider)
                if syncer is not None:
                    syncer.members_changed(group, users, added)

            self._send("google_workspace_sync_m2m", work, str(group), provider, "group")

    def deleted(self, kind: str, rows: list[Connection]) -> None:
        """An object that had these rows was deleted."""
        for provider in self._listening():
            own = [row for row in rows if row.provider == provider]

            def work(task: Task, provider: int = provider, own: list[Connection] = own) -> None:
                syncer = self.syncer(task, provider)
                if syncer is not None:
                    syncer.delete(kind, own)

            if own:
                self._send("google_workspace_sync_direct", work, kind, provider, kind)

    def _direct(self, provider: int, obj: User | Group) -> Callable[[Task], None]:
        def work(task: Task) -> None:
            syncer = self.syncer(task, provider)
            if syncer is not None:
                syncer.direct(obj)

        return work

    def _listening(self) -> list[int]:
        with self.state.lock:
            return (
                [item.pk for item in self.state.providers.values() if item.application] if self.settings.signals else []
            )

    def _send(self, actor: str, work: Callable[[Task], None], label: str, provider: int, kind: str) -> Task:
        return self.send(actor, work, label, (*REL, str(provider)), kind)

    def send(
        self, actor: str, work: Callable[[Task], None], label: str, rel_obj: tuple[str, str, str], kind: str = ""
    ) -> Task:
        """Queue a task that belongs to something: its app, model and primary key."""
        # Before tasks had an API nothing was retried, and lines were logged under the provider and the model.
        logger = (
            "" if self.release.tasks_api else f"Google Workspace Provider@authentik.core.models.{kind.capitalize()}"
        )
        retries: dict[str, Any] = {} if self.release.tasks_api else {"max_retries": 0}
        return self.worker.send(Task(actor, work, label, rel_obj, logger=logger, **retries))

    def syncer(self, task: Task, pk: int, override_dry_run: bool = False) -> Syncer | None:
        """The client for one provider, or None where authentik ends silently."""

        def log(level: str, event: str, attributes: dict) -> None:
            self.worker.log(task, level, event, attributes)

        provider = snapshot(self.state, pk)
        if provider is None or (self.release.needs_application and not provider.application):
            log("warning", NO_PROVIDER, {})
            return None
        self.worker.announce(task)
        try:
            return Syncer(
                self.state,
                self.release,
                self.endpoint,
                provider,
                log,
                override_dry_run=override_dry_run,
                own_seconds=self.settings.sync_ms / 1000,
            )
        except TransientSyncException:
            # Google out of reach while the client is built: no message at all.
            return None
