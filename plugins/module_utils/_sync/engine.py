# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both engines share: who and what is meant, whether the provider syncs it, and the way to one Outcome."""

from __future__ import annotations

import time
import typing as t

from .._authentik.api import Authentik
from .._authentik.errors import AuthentikError
from .._common.endings import STOPPED, stopped_text
from .._common.errors import Refused, RemoteError
from .._common.signals import Stopped
from .._common.types import Json
from .._objects.protection import Protection
from .._objects.target import Target, find, scope
from .outcome import Outcome

if t.TYPE_CHECKING:
    from .._google.directory import Directory


class Engine:
    """One sync.

    Args:
        authentik: the API.
        request: SyncOptions, what is asked for.
        open_directory: callable taking the provider and returning a Directory; raises GoogleError.
        warn: callable taking a text.
        keep_secret: callable taking a list of texts that must never be printed.
    """

    name = ""

    def __init__(
        self,
        authentik: Authentik,
        request: t.Any,
        open_directory: t.Callable[[Json], Directory],
        warn: t.Callable[[str], None],
        keep_secret: t.Callable[[t.Iterable[str]], None],
    ) -> None:
        self.authentik = authentik
        self.request = request
        self.open_directory = open_directory
        self.warn = warn
        self.keep_secret = keep_secret
        self.outcome = self.new_outcome()
        self.directory: Directory | None = None

    def new_outcome(self) -> t.Any:
        """What the run fills in."""
        return Outcome(self.name)

    def run(self) -> t.Any:
        """Do it. Whatever goes wrong, of kinds that nobody listed too, ends in the Outcome."""
        try:
            started = time.monotonic()
            try:
                self._sync()
            finally:
                self._count_calls()
            self.outcome.duration = time.monotonic() - started
        except RemoteError as exc:
            self.outcome.fail_by(exc)
        except Refused as exc:
            self.outcome.fail(str(exc), exc.code)
        except Exception as exc:  # noqa: BLE001
            self._fail_unexpectedly(exc)
        except Stopped as exc:
            self._note_stopped(exc)
        return self.outcome

    def _note_stopped(self, exc: Stopped) -> None:
        """End with what is known when a signal came."""
        self._fail_unexpectedly(exc)
        self.outcome.fail(stopped_text(exc), STOPPED)

    def _fail_unexpectedly(self, exc: BaseException) -> None:
        """End with what is known; if a write may have been performed that the Outcome does not show, it is assumed to be."""
        outcome = self.outcome
        if not self._may_have_written():
            outcome.changed = False
        elif not outcome.changed:
            outcome.assume_changed()
        outcome.fail_unexpectedly(exc)

    def _may_have_written(self) -> bool:
        """Whether Google may be another than before because of this run."""
        return bool(self.authentik.syncs.total or (self.directory is not None and self.directory.session.writes.total))

    def _count_calls(self) -> None:
        self.outcome.calls = {
            "authentik": self.authentik.client.calls,
            "google": self.directory.calls if self.directory else 0,
            "google_token": self.directory.token_calls if self.directory else 0,
        }

    def _sync(self) -> None:
        raise NotImplementedError

    def _find_provider(self, server: str) -> Json:
        """The provider; its secrets are known to be secret from here on.

        Args:
            server: authentik's name and version in words.
        """
        request = self.request
        if request.provider_id is not None:
            provider = self.authentik.provider(request.provider_id)
        else:
            provider = self.authentik.provider_by_name(str(request.provider_name))
        key = provider.get("credentials")
        if isinstance(key, dict) and key.get("private_key"):
            self.keep_secret([str(key["private_key"])])
        if request.override_dry_run and "dry_run" not in provider:
            raise AuthentikError(
                "version",
                f"{server} has no dry run, so override_dry_run cannot be used.",
                "Leave override_dry_run out, or update authentik to 2025.4 or later.",
            )
        return provider

    def protection(self, provider: Json) -> Protection:
        """The accounts that this run and authentik act as, and who else is protected.

        Raises:
            Refused: protect names a group that there is not, so that it is not known who is protected.
            GoogleError.
        """
        directory = self.directory
        found = Protection(
            provider.get("delegated_subject"),
            None if directory is None else directory.session.credentials.subject,
            protect=self.request.protect,
            allow_admins=self.request.allow_admins,
            members_of=lambda group: None if directory is None else directory.members(group),
        )
        found.read_groups()
        return found

    def _find_target(self, provider: Json) -> tuple[Target, str | None]:
        """The object, and the rule by which the provider does not sync it (None: it does)."""
        request = self.request
        target = find(self.authentik, request.kind, request.object_id, request.lookup)
        rule = scope(provider, target)
        self.outcome.object = target.described(rule is None)
        return target, rule
