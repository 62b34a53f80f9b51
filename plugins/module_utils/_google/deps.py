# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one guarded import of Google's libraries. They are imported when Google is talked to, and not before."""

from __future__ import annotations

import http.client
import logging
import platform
import socket
import sys
import time
import traceback
import typing as t

from .errors import GoogleError

# No answer of the Directory API comes near this; what is larger must not fill memory.
MAX_BODY_BYTES = 64 * 1024 * 1024
READ_BYTES = 64 * 1024
PACKAGES = "google-api-python-client and google-auth (with google-auth-httplib2)"


class Libraries:
    """The parts of Google's libraries that are used, once imported."""

    def __init__(self) -> None:
        import google_auth_httplib2
        import httplib2
        from google.auth import exceptions as auth_exceptions
        from google.oauth2 import service_account
        from googleapiclient import discovery, errors

        self.auth_exceptions = auth_exceptions
        self.authorized_http = google_auth_httplib2.AuthorizedHttp
        self.token_request = google_auth_httplib2.Request
        self.build = discovery.build
        self.http_error = errors.HttpError
        self.httplib2 = httplib2
        self.service_account = service_account
        # What httplib2 raises for a body that unpacks to far more than it should; older ones do not look.
        decode = getattr(httplib2, "decode", None)
        self.bombs = tuple(
            getattr(decode, name) for name in ("DecodeRatioError", "DecodeLimitError") if hasattr(decode, name)
        )
        # One attempt a request: repeating is decided and counted in one place, which is not there.
        httplib2.RETRIES = 1
        # Not even a connection that was closed without an answer: httplib2 would send a write for a second time.
        self.connections = {scheme: _sent_once(kind) for scheme, kind in httplib2.SCHEME_TO_CONNECTION.items()}


class DefaultLibraries:
    """The parts of google-auth that find the platform's own identity, once imported."""

    def __init__(self) -> None:
        import google.auth
        from google.auth import credentials, exceptions, transport

        self.default = google.auth.default
        self.credentials = credentials.Credentials
        self.with_scopes_if_required = credentials.with_scopes_if_required
        self.exceptions = exceptions
        self.request = transport.Request
        self.response = transport.Response
        # Its notices of attempts that failed would go to standard error, where a module prints nothing.
        logging.getLogger("google").addHandler(logging.NullHandler())


class TooLarge(Exception):
    """An answer that no Directory API gives."""


class _Bounded(http.client.HTTPResponse):
    """An answer whose body is bounded in size and in time, by the time-out of its connection."""

    seconds = 0.0

    def __init__(self, sock: t.Any, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.seconds = sock.gettimeout() or 0.0

    def read(self, amt: int | None = None) -> bytes:
        if amt is not None:
            return super().read(amt)
        deadline = time.monotonic() + self.seconds
        parts: list[bytes] = []
        size = 0
        while True:
            part = self.read1(READ_BYTES)
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise TooLarge("the answer is larger than %d bytes" % MAX_BODY_BYTES)
            if self.seconds and time.monotonic() > deadline:
                raise socket.timeout("timed out")
        # Nothing is left: this tells a body that was cut off, and sets the connection free for the next request.
        parts.append(super().read())
        return b"".join(parts)


def _sent_once(base: t.Any) -> t.Any:
    """A connection whose loss httplib2 does not take for a reason to send the request again."""

    class Connection(base):
        response_class = _Bounded

        def getresponse(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
            try:
                return super().getresponse(*args, **kwargs)
            except (http.client.BadStatusLine, http.client.ResponseNotReady):
                raise ConnectionResetError("the connection was closed without an answer") from None

    return Connection


_Loaded = t.TypeVar("_Loaded")
_loaded: dict[t.Any, t.Any] = {}


def load() -> Libraries:
    """Import Google's libraries.

    Raises:
        GoogleError: kind ``libraries``, saying what to install and for which Python.
    """
    return _once(Libraries)


def load_default() -> DefaultLibraries:
    """Import what finds application default credentials; raises as load() does."""
    return _once(DefaultLibraries)


def _once(libraries: t.Callable[[], _Loaded]) -> _Loaded:
    if libraries not in _loaded:
        try:
            _loaded[libraries] = libraries()
        except ImportError:
            missing = traceback.format_exc().strip().splitlines()[-1]
            raise GoogleError(
                "libraries",
                f"Google's client libraries cannot be imported by {sys.executable} (Python {platform.python_version()}) on "
                f"{platform.node()}: {missing}.",
                f"Install {PACKAGES} there; they want Python 3.10 or later.",
            ) from None
    return t.cast(_Loaded, _loaded[libraries])
