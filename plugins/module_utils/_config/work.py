# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of every configuration: observe, compare with what is wanted, write through one door, report."""

from __future__ import annotations

import contextlib
import time
import typing as t

from .._authentik.api import Authentik, Version
from .._authentik.configuration import VALID_LICENCES, ConfigurationApi
from .._authentik.errors import AuthentikError
from .._common.endings import STOPPED, UNEXPECTED, stopped_text, unexpected_text
from .._common.errors import Refused, RemoteError
from .._common.signals import Stopped
from .._common.types import Json
from .report import Report

if t.TYPE_CHECKING:
    from .._google.directory import Directory
T = t.TypeVar("T")
ENTERPRISE = "Enterprise is required"
LICENCE_REMEDY = (
    "Google Workspace providers are a feature of authentik Enterprise: install a valid licence in authentik (admin interface, "
    "Enterprise, Licenses). Existing providers go on syncing, but cannot be changed."
)


class Work:
    """One module's work.

    Args:
        authentik: the API.
        options: the module's options as Ansible checked them.
        check_mode: whether the door to writes is closed.
        warn: callable taking a text.
        keep_secret: callable taking texts that must never be printed.
        open_directory: callable taking the provider and returning a Directory; raises GoogleError.

    Attributes:
        unread: bool, authentik may have written something by itself that was not read since. If the work ends so, ``changed``
            is true.
    """

    # Whether the module is one that can write at all.
    writes = True
    # The return values that are the module's own and always there, with what makes an empty one.
    always: t.Mapping[str, t.Callable[[], t.Any]] = {}

    def __init__(
        self,
        authentik: Authentik,
        options: Json,
        check_mode: bool,
        warn: t.Callable[[str], None],
        keep_secret: t.Callable[[t.Iterable[str]], None],
        open_directory: t.Callable[[Json], Directory] | None = None,
    ) -> None:
        self.authentik = authentik
        self.api = ConfigurationApi(authentik.client)
        self.options = options
        self.check_mode = check_mode
        self.warn = warn
        self.keep_secret = keep_secret
        self.open_directory = open_directory
        self.directory: Directory | None = None
        self.report = self.new_report()
        self.unread = False
        self._version: Version | None = None

    @classmethod
    def new_report(cls) -> Report:
        """A result of a run in which nothing was read yet."""
        report = Report()
        report.writes = cls.writes
        report.values = {name: empty() for name, empty in cls.always.items()}
        return report

    def run(self) -> Report:
        """Do it. Whatever goes wrong, of kinds that nobody listed too, ends in the Report."""
        report = self.report
        try:
            started = time.monotonic()
            try:
                self._work()
            finally:
                self._count_calls()
            report.duration = time.monotonic() - started
        except RemoteError as exc:
            report.errors = exc.errors
            report.http_status = exc.http_status
            if _is_licence_refusal(exc):
                report.fail(f"{exc.message} {LICENCE_REMEDY}", "licence")
            else:
                report.fail(str(exc), exc.code)
        except Refused as exc:
            report.fail(str(exc), exc.code)
        except Exception as exc:  # noqa: BLE001
            report.fail(unexpected_text(exc, "module"), UNEXPECTED)
        except Stopped as exc:
            report.fail(stopped_text(exc, "module"), STOPPED)
        report.changed = report.changed or bool(report.operations) or self.unread
        return report

    def _count_calls(self) -> None:
        self.report.calls = {
            "authentik": self.authentik.client.calls,
            "google": self.directory.calls if self.directory else 0,
            "google_token": self.directory.token_calls if self.directory else 0,
        }

    def _work(self) -> None:
        raise NotImplementedError

    @property
    def version(self) -> Version:
        """authentik's version, asked for once."""
        if self._version is None:
            self._version = self.authentik.version()
            self.report.server_version = str(self._version)
        return self._version

    def write(self, method: str, resource: str, key: str, send: t.Callable[[], T]) -> T | None:
        """The one door to writes: notes one and performs it; in check mode it is only noted, and the answer is None."""
        done = {"method": method, "resource": resource, "key": key, "by": "module"}
        if self.check_mode:
            self.report.operations.append(done)
            return None
        try:
            with self.sending():
                answer = send()
        except AuthentikError as exc:
            if exc.may_have_been_applied:
                exc.remedy = (
                    f"{exc.remedy} It may have been done nevertheless; run the task again, which checks first."
                ).strip()
            raise
        self.report.operations.append(done)
        return answer

    @contextlib.contextmanager
    def sending(self) -> t.Iterator[None]:
        """Around a request that writes: if it ends by an error that leaves open whether it was performed, ``changed`` is true."""
        client = self.authentik.client
        before = client.calls
        try:
            yield
        except BaseException as exc:
            refused = isinstance(exc, AuthentikError) and not exc.may_have_been_applied
            if client.calls > before and not refused:
                self.report.changed = True
            raise

    def demand_licence(self) -> None:
        """In check mode: predict the refusal of a provider's change where there is no licence."""
        if not self.check_mode:
            return
        status = str(self.api.licence().get("status"))
        if status not in VALID_LICENCES:
            raise Refused(
                f"authentik would refuse this: its enterprise licence is not valid (status {status}). {LICENCE_REMEDY}",
                "licence",
            )

    def hide(self, provider: Json) -> None:
        """Let a provider's service account never be printed."""
        key = provider.get("credentials")
        if isinstance(key, dict):
            self.keep_secret([str(key[name]) for name in ("private_key", "private_key_id") if key.get(name)])


def _is_licence_refusal(exc: RemoteError) -> bool:
    return exc.kind == "validation" and any(
        ENTERPRISE in text for item in exc.errors for text in item.get("messages") or []
    )
