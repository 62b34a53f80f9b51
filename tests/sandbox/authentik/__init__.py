# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authentik with a Google Workspace provider, in one of the recorded versions."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette

from tests.sandbox.authentik import control
from tests.sandbox.authentik.api import Api
from tests.sandbox.authentik.background import Background
from tests.sandbox.authentik.releases import RELEASES, release
from tests.sandbox.authentik.settings import Settings
from tests.sandbox.authentik.state import State
from tests.sandbox.authentik.tasks import Worker
from tests.sandbox.authentik.views import Views
from tests.sandbox.authentik.webhooks import Webhooks
from tests.sandbox.wire import Wire

__all__ = ["RELEASES", "Authentik"]


class Authentik:
    """The server: ``app`` is the ASGI application, to be served with ``wire.WireProtocol``.

    Args:
        version: one of RELEASES.
        dataset: as ``tests.sandbox.dataset.load`` returns it.
        google_api_endpoint: where its syncs find Google.
        service_account: the key that its provider holds.
        sync_ms, answer_ms: see ``settings``.
    """

    # What a reset may be given besides a dataset.
    START = ("sync_ms", "answer_ms")

    def __init__(
        self,
        *,
        version: str,
        dataset: dict,
        google_api_endpoint: str,
        service_account: dict,
        sync_ms: float = 0,
        answer_ms: float = 10000,
    ) -> None:
        self.release = release(version)
        self._start: dict[str, Any] = {"sync_ms": sync_ms, "answer_ms": answer_ms}
        self.settings = Settings(**self._start)
        self.state = State(dataset, service_account)
        self.worker = Worker(self.release)
        background = Background(self.state, self.release, self.worker, self.settings, google_api_endpoint)
        self.webhooks = Webhooks(self.release)
        background.listeners.append(self.webhooks.saved)
        api = Api(self.state, self.release)
        routes = Views(self.state, api, self.worker, self.settings, background).routes()
        self.wire = Wire(Starlette(routes=routes))
        self.app = self.wire

    @property
    def token(self) -> str:
        """A token of akadmin, who may do everything."""
        return self.state.token

    @property
    def provider_id(self) -> int:
        """The provider that the dataset describes."""
        return 1

    def control_routes(self) -> list:
        """The control routes, to be mounted at ``authentik``."""
        return control.routes(self)

    def observed(self) -> dict:
        """What stands here, and the requests that came in."""
        with self.state.lock:
            return {"state": control.state_of(self), "requests": self.wire.recorded()}

    def configure(self, values: Any) -> None:
        """Change settings. Raises ValueError."""
        self.settings.update(values)
        self.worker.retry_ms = self.settings.retry_ms
        self.worker.set_running(self.settings.worker)

    def reset(self, *, dataset: dict | None = None, **start: float) -> None:
        """Back to the dataset and the settings of the start, or to others from now on."""
        self._start.update(start)
        # Tasks that run end with their next call of Google's; only then is there something new that they could change.
        self.state.abandon()
        self.worker.forget()
        self.webhooks.reset()
        self.state.load(dataset)
        self.configure({**Settings().as_dict(), **self._start})
        self.wire.reset()

    def wake(self) -> None:
        """The clock was moved forward."""
        self.worker.wake()

    def close(self) -> None:
        """Stop the worker, and sending."""
        self.webhooks.close()
        self.worker.close()
