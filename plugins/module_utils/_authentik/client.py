# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP client for authentik's API: one request loop, every answer checked, every failure named.

It knows nothing of Google, and of Ansible only ``ansible.module_utils.urls``, which users' proxies, certificate
stores and tests already know.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import math
import socket
import ssl
import threading
import time
import typing as t
import zlib
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.urls import ConnectionError as UrlsConnectionError
from ansible.module_utils.urls import Request, make_context

from .._common import waiting
from .._common.listing import MAX_OBJECTS, Listing
from .errors import RETRIED_STATUS, AuthentikError

API = "/api/v3/"
# No answer of the endpoints used here comes near this; what is larger is not authentik's, and must not fill memory.
MAX_BODY_BYTES = 32 * 1024 * 1024
READ_BYTES = 64 * 1024
# Reads are repeated on these: a proxy in front of authentik, or authentik while it restarts.
READ_ATTEMPTS = 3
LONGEST_PAUSE_S = 10.0
KEYS = ("pk", "id")
T = t.TypeVar("T")


Map = t.Callable[[t.Callable[[t.Any], t.Any], t.Iterable[t.Any]], t.Iterable[t.Any]]


class Response:
    """A successful answer.

    Attributes:
        status: int, the HTTP status (2xx).
        data: the decoded JSON, or None for an empty body.
        seconds: float, how long it took.
    """

    def __init__(self, status: int, data: t.Any, seconds: float) -> None:
        self.status = status
        self.data = data
        self.seconds = seconds


def normalise_url(url: str) -> str:
    """Check the URL of an authentik server and bring it into the form ``scheme://host[:port][/prefix]``.

    Raises:
        AuthentikError: kind ``url``, naming what is wrong with it.
    """
    text = url.strip()
    remedy = (
        "Set authentik_url (or the environment variable AUTHENTIK_URL) to a URL like https://authentik.example.com."
    )
    if any(ord(char) < 33 or ord(char) == 127 for char in text):
        raise AuthentikError("url", "authentik_url contains white space or control characters.", remedy)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise AuthentikError("url", f"authentik_url is not a valid URL: {exc}.", remedy) from None
    if parts.scheme not in ("http", "https"):
        found = f"the scheme '{parts.scheme}'" if "://" in text else "no scheme"
        raise AuthentikError("url", f"authentik_url has {found}; it must start with https:// or http://.", remedy)
    if not parts.hostname:
        raise AuthentikError("url", "authentik_url names no host.", remedy)
    if parts.username is not None or parts.password is not None:
        raise AuthentikError(
            "url",
            "authentik_url contains a user name or password.",
            "Remove it: authentik_token is what authenticates.",
        )
    if parts.query or parts.fragment:
        raise AuthentikError("url", "authentik_url contains a query or a fragment.", remedy)
    if port == 0:
        raise AuthentikError("url", "authentik_url has the port 0.", remedy)
    path = parts.path.rstrip("/")
    if path.endswith(API.rstrip("/")):
        path = path[: -len(API.rstrip("/"))]
    return urlunsplit((parts.scheme, parts.netloc, path.rstrip("/"), "", ""))


class Client:
    """Requests to one authentik server with one token.

    Args:
        url: str, the server's URL, as normalise_url gives it.
        token: str, an API token.
        timeout: float, seconds that one request may take.
        validate_certs: bool.
        ca_path: str or None, a PEM file with the authorities to trust.
        opener: callable with the signature of ansible.module_utils.urls.Request.open; the seam for tests.
    """

    def __init__(
        self,
        url: str,
        token: str,
        timeout: float = 30,
        validate_certs: bool = True,
        ca_path: str | None = None,
        opener: t.Callable[..., t.Any] | None = None,
    ) -> None:
        self.url = url
        self.timeout = timeout
        self.calls = 0
        self.max_objects = MAX_OBJECTS
        self._ca_path = ca_path
        self._token = token
        self._validate_certs = validate_certs
        self._open = opener
        self._clock_offset: float | None = None
        self._counting = threading.Lock()

    def server_time(self, local: float) -> float:
        """The earliest moment on the server's clock (seconds since 1970) that a local time.time() can have been.

        The offset comes from the Date header of earlier answers, which knows whole seconds only.
        """
        return local + (self._clock_offset or 0.0)

    def get(self, path: str, query: t.Mapping[str, t.Any] | None = None, *, what: str) -> Response:
        """GET a path below /api/v3/, repeating what may be repeated. Raises AuthentikError."""
        return self.repeated(lambda: self.request("GET", path, query, what=what))

    def repeated(self, call: t.Callable[[], T]) -> T:
        """Make a request that changes nothing, again when it fails for a reason that passes. Raises AuthentikError."""
        attempt = 1
        while True:
            try:
                return call()
            except AuthentikError as exc:
                if not exc.retryable or attempt >= READ_ATTEMPTS:
                    raise
                if not waiting.pause(min(exc.retry_after or 0.5 * 2**attempt, LONGEST_PAUSE_S)):
                    raise
                attempt += 1

    def get_all(self, path: str, query: t.Mapping[str, t.Any], *, what: str) -> list[dict[str, t.Any]]:
        """GET every page of a list and return its results."""
        return [item for page in self.get_pages(path, query, what=what) for item in page]

    def get_pages(
        self, path: str, query: t.Mapping[str, t.Any], pool_map: Map = map, *, what: str, repeats: bool = False
    ) -> t.Iterator[list[dict[str, t.Any]]]:
        """GET every page of a list and yield the results of each, in order.

        Args:
            pool_map: like ``map``; may do its work in several threads.
            repeats: whether a page may show only objects that were shown before.
        """
        first = self.get_page(path, dict(query, page=1), what=what)
        listing = Listing(self.max_objects, repeats)
        most = _count(first)
        self._check_listing(listing.take(first["results"], most), what)
        yield first["results"]
        pagination = first["pagination"]
        last = pagination.get("total_pages")
        found, announced = len(first["results"]), _count(first)
        if isinstance(last, int) and last > 1 and pagination.get("next"):

            def page(number: int) -> dict[str, t.Any]:
                return self.get_page(path, dict(query, page=number), what=what)

            for answer in pool_map(page, range(2, last + 1)):
                found += len(answer["results"])
                # What is removed while the pages are read shifts them, and the count goes down with it.
                announced = min(announced, _count(answer))
                # What is added meanwhile is announced by the pages that follow.
                most = max(most, _count(answer))
                self._check_listing(listing.take(answer["results"], most), what)
                yield answer["results"]
        if found < announced:
            raise AuthentikError(
                "json",
                "Could not %s: %s announced %d entries and gave %d." % (what, self.url, announced, found),
                "Try again; check what stands between this host and authentik.",
                sent=True,
            )

    def _check_listing(self, problem: str, what: str) -> None:
        if problem:
            raise AuthentikError(
                "json",
                f"Could not {what}: the listing was not read to its end, since {problem}.",
                "Check authentik_url, and what stands between this host and authentik. If authentik holds as many objects as that, "
                "raise max_objects.",
                sent=True,
            )

    def get_page(self, path: str, query: t.Mapping[str, t.Any], *, what: str) -> dict[str, t.Any]:
        """GET one page of a list: a dict with ``pagination`` and ``results`` (a list of dict)."""
        data = self.get_object(path, query, what=what)
        if not isinstance(data.get("results"), list) or not isinstance(data.get("pagination"), dict):
            raise self._unexpected(what, "a list without results and pagination")
        if not all(isinstance(item, dict) for item in data["results"]):
            raise self._unexpected(what, "a list of something else than objects")
        for item in data["results"]:
            self.check_keys(item, what)
        return data

    def get_object(self, path: str, query: t.Mapping[str, t.Any] | None = None, *, what: str) -> dict[str, t.Any]:
        """GET a JSON object."""
        data = self.get(path, query, what=what).data
        if not isinstance(data, dict):
            raise self._unexpected(what, "something else than a JSON object")
        self.check_keys(data, what)
        return data

    def check_keys(self, item: t.Mapping[str, t.Any], what: str) -> None:
        """See that primary keys are numbers or texts: of an object, and of those that it shows in ``…_obj``. Raises AuthentikError."""
        for name, value in item.items():
            if name in KEYS and (isinstance(value, bool) or not isinstance(value, (int, str))):
                raise self._unexpected(what, f"an object whose {name} is neither a number nor a text")
            if name.endswith("_obj"):
                for inner in value if isinstance(value, list) else [value]:
                    if isinstance(inner, dict):
                        self.check_keys(inner, what)

    def request(
        self,
        method: str,
        path: str,
        query: t.Mapping[str, t.Any] | None = None,
        body: t.Any = None,
        *,
        what: str,
        timeout: float | None = None,
    ) -> Response:
        """Make one request, once.

        Args:
            method: str.
            path: str below /api/v3/, already quoted.
            query: mapping of str to str, int or bool.
            body: anything JSON can carry, or None for no body.
            what: str, the action in words, for error messages: "read provider 3".
            timeout: float seconds, or None for the client's own.

        Raises:
            AuthentikError.
        """
        url = self.url + API + path
        if query:
            url += "?" + urlencode({key: _query_value(value) for key, value in query.items()})
        headers = {}
        data = None
        if body is not None:
            data = json.dumps(body).encode("utf-8")
            headers["Content-Type"] = "application/json"
        started = time.time()
        ticks = waiting.now()
        with self._counting:
            self.calls += 1
        try:
            reply = self._opener()(method, url, data=data, headers=headers, timeout=timeout or self.timeout)
            status, raw = reply.status, _read(reply, timeout or self.timeout)
            self._note_clock(reply.headers, started)
        except HTTPError as exc:
            self._note_clock(exc.headers, started)
            raise self._http_error(exc, method, what) from None
        except _TooLarge:
            raise AuthentikError(
                "too_large",
                "Could not %s: the answer of %s is larger than %d bytes." % (what, self.url, MAX_BODY_BYTES),
                "Check that authentik_url points at an authentik server.",
                sent=True,
            ) from None
        except (OSError, http.client.HTTPException, UrlsConnectionError, ValueError, zlib.error, EOFError) as exc:
            raise self._transport_error(exc, what, timeout or self.timeout) from None
        return Response(status, self._decode(raw, reply.headers, what), waiting.now() - ticks)

    def _opener(self) -> t.Callable[..., t.Any]:
        """What opens URLs, made at the first request."""
        if self._open is None:
            # The certificates are loaded once: for each request that takes longer than authentik takes to answer it.
            context = (
                make_context(cafile=self._ca_path, validate_certs=self._validate_certs)
                if self.url.startswith("https:")
                else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            )
            # A redirect is never followed: it would carry the token to wherever it points.
            self._open = Request(
                headers={"Authorization": "Bearer " + self._token, "Accept": "application/json"},
                http_agent="dirsync.authentik",
                timeout=self.timeout,
                follow_redirects="none",
                use_netrc=False,
                context=context,
            ).open
        return self._open

    def _note_clock(self, headers: t.Any, started: float) -> None:
        """Bound the server's clock from below: it was at least Date when the answer came, at least that at receipt."""
        date = headers.get("Date") if headers else None
        parsed = email.utils.parsedate_to_datetime(date) if date else None
        if parsed is None or parsed.tzinfo is None:
            return
        offset = parsed.timestamp() - time.time()
        if self._clock_offset is None or offset > self._clock_offset:
            self._clock_offset = offset

    def _decode(self, raw: bytes, headers: t.Any, what: str) -> t.Any:
        if not raw.strip():
            return None
        content_type = (headers.get("Content-Type") or "").lower()
        if "html" in content_type or raw.lstrip()[:1] == b"<":
            raise AuthentikError(
                "html",
                f"Could not {what}: {self.url} answered with an HTML page instead of JSON.",
                "Check that authentik_url is authentik's own address (no login page, portal or proxy in front of it, "
                "no missing path prefix).",
                sent=True,
            )
        try:
            return json.loads(raw.decode("utf-8"))
        except (ValueError, RecursionError):
            raise AuthentikError(
                "json",
                "Could not %s: %s answered with %d bytes that are not valid JSON (cut off, or not authentik)."
                % (what, self.url, len(raw)),
                "Check authentik_url and what stands between this host and authentik.",
                sent=True,
            ) from None

    def _unexpected(self, what: str, found: str) -> AuthentikError:
        return AuthentikError(
            "json",
            f"Could not {what}: {self.url} answered with {found}.",
            "Check that authentik_url points at an authentik server of version 2024.8 or later.",
            sent=True,
        )

    def _http_error(self, exc: HTTPError, method: str, what: str) -> AuthentikError:
        status = exc.code
        try:
            raw = _read(exc, self.timeout)
        except (OSError, http.client.HTTPException, _TooLarge, zlib.error, EOFError):
            # The status alone decides; a body that cannot be read only costs detail.
            raw = b""
        content_type = (exc.headers.get("Content-Type") or "").lower() if exc.headers else ""
        detail, fields = _error_body(raw)
        error = _explain(status, method, what, detail, fields, content_type, bool(raw.strip()), exc.headers, self.url)
        error.errors = fields
        error.http_status = status
        if status in RETRIED_STATUS and exc.headers:
            error.retry_after = _retry_after(exc.headers.get("Retry-After"))
        return error

    def _transport_error(self, exc: Exception, what: str, timeout: float) -> AuthentikError:
        reason: t.Any = exc
        while isinstance(reason, URLError) and not isinstance(reason, HTTPError):
            if not isinstance(reason.reason, Exception):
                break
            reason = reason.reason
        text = to_text(getattr(reason, "reason", None) or reason)
        host = urlsplit(self.url).netloc
        if isinstance(reason, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text.lower():
            return AuthentikError(
                "tls",
                f"Could not {what}: no trusted TLS connection to {host} ({_tls_reason(text)}).",
                "Give the certificate authority with ca_path (a PEM file), correct the host name in authentik_url, or "
                "renew the server's certificate; validate_certs: false switches the check off and is for tests only.",
            )
        if isinstance(reason, socket.gaierror):
            return AuthentikError(
                "resolve",
                f"Could not {what}: the host name of {host} cannot be resolved ({text}).",
                "Check authentik_url and this host's name resolution.",
            )
        if isinstance(reason, ConnectionRefusedError):
            return AuthentikError(
                "refused",
                f"Could not {what}: {host} refuses the connection.",
                "Check the host and port in authentik_url, and that authentik is running.",
            )
        if isinstance(reason, (socket.timeout, TimeoutError)) or "timed out" in text:
            return AuthentikError(
                "timeout",
                f"Could not {what}: {host} gave no answer within {timeout:g} seconds.",
                "Raise request_timeout, or see why authentik is slow.",
                sent=True,
            )
        if isinstance(exc, UrlsConnectionError):
            return AuthentikError("network", f"Could not {what}: {text}.", "Check authentik_url.", sent=False)
        return AuthentikError(
            "network",
            f"Could not {what}: the connection to {host} failed ({type(reason).__name__}: {text}).",
            "Check the network and any proxy between this host and authentik.",
            sent=True,
        )


class _TooLarge(Exception):
    pass


def _read(reply: t.Any, seconds: float) -> bytes:
    """A body, bounded in size and in time: a time-out of the socket alone would wait for ever for one drop a second."""
    deadline = waiting.now() + seconds
    parts: list[bytes] = []
    size = 0
    while size <= MAX_BODY_BYTES:
        part = reply.read1(READ_BYTES)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if waiting.now() > deadline:
            raise socket.timeout("timed out")
    if size > MAX_BODY_BYTES:
        raise _TooLarge
    raw = b"".join(parts)
    length = reply.headers.get("Content-Length") if reply.headers else None
    encoded = reply.headers.get("Content-Encoding") if reply.headers else None
    if length and length.isdigit() and not encoded and len(raw) < int(length):
        raise ConnectionError("the answer was cut off after %d of %s bytes" % (len(raw), length))
    return raw


def _count(page: t.Mapping[str, t.Any]) -> int:
    """How many entries a page of a list says that the whole list has; 0 if it does not say."""
    value = page["pagination"].get("count")
    # A number that is no whole one, such as Infinity, is no count.
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0


def _query_value(value: t.Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def quoted(value: t.Any) -> str:
    """A value as one segment of a path."""
    return quote(str(value), safe="")


def _error_body(raw: bytes) -> tuple[str, list[dict[str, t.Any]]]:
    """Authentik's two error forms: {"detail": text}, or {field: [texts]}."""
    try:
        data = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return "", []
    if not isinstance(data, dict):
        return "", []
    if isinstance(data.get("detail"), str):
        return data["detail"], []
    fields = []
    for field, value in sorted(data.items()):
        texts = value if isinstance(value, list) else [value]
        fields.append(
            {"field": field, "messages": [item if isinstance(item, str) else json.dumps(item) for item in texts]}
        )
    return "", fields


def _retry_after(value: str | None) -> float | None:
    """Retry-After in either form, as seconds from now."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _tls_reason(text: str) -> str:
    for marker, words in (
        ("certificate has expired", "the certificate has expired"),
        ("self-signed certificate in certificate chain", "its certificate authority is not trusted here"),
        ("self signed certificate in certificate chain", "its certificate authority is not trusted here"),
        ("self-signed certificate", "the certificate is self-signed"),
        ("self signed certificate", "the certificate is self-signed"),
        ("unable to get local issuer", "its certificate authority is not trusted here"),
        ("doesn't match", "the certificate is for another host name"),
        ("Hostname mismatch", "the certificate is for another host name"),
        ("IP address mismatch", "the certificate is for another address"),
        ("WRONG_VERSION_NUMBER", "the server does not speak TLS on this port: http:// instead of https://?"),
    ):
        if marker in text:
            return words
    return text


def _explain(
    status: int,
    method: str,
    what: str,
    detail: str,
    fields: list[dict[str, t.Any]],
    content_type: str,
    has_body: bool,
    headers: t.Any,
    url: str,
) -> AuthentikError:
    """The error for an HTTP status, with the remedy that can be given without knowing the endpoint."""
    start = "Could not %s: " % what
    said = " (%s)" % detail.rstrip(".") if detail else ""
    if 300 <= status < 400:
        target = urlsplit(headers.get("Location") or "").netloc if headers else ""
        return AuthentikError(
            "redirect",
            start + "%s redirects%s." % (url, " to %s" % target if target else ""),
            "A redirect is not followed, because it would carry the token along. Set authentik_url to the final address "
            "(scheme, host and path prefix).",
        )
    if status == 400:
        listed = "; ".join("%s: %s" % (item["field"], " ".join(item["messages"])) for item in fields)
        return AuthentikError(
            "validation", start + "authentik rejects the request%s." % (f" ({listed})" if listed else said)
        )
    if status == 401 or (status == 403 and _is_token_problem(detail)):
        return AuthentikError(
            "unauthorized",
            start + f"authentik does not accept the token{said}.",
            "Check authentik_token (AUTHENTIK_TOKEN): a valid, unexpired token with intent API. authentik answers 403 for "
            "an expired token, too.",
        )
    if status == 403:
        return AuthentikError("forbidden", start + f"the token's user lacks a permission{said}.")
    if status == 404:
        if has_body and not detail and not fields:
            return AuthentikError(
                "not_found",
                start + f"{url} has no authentik API at this address.",
                "Check authentik_url, its path prefix included.",
            )
        return AuthentikError("not_found", start + f"authentik does not know it{said}.")
    if status == 405 and not has_body and "html" in content_type and method != "GET":
        # authentik's page for an internal error, seen for a POST: status 405, an empty body and Allow: GET, HEAD, OPTIONS.
        return AuthentikError(
            "internal_page", start + "authentik answered 405 with an empty page (an internal error).", sent=True
        )
    if status == 405:
        return AuthentikError(
            "method",
            start + f"the address does not take a {method}{said}.",
            "Check authentik_url and any proxy that limits methods.",
        )
    if status == 406:
        return AuthentikError(
            "not_acceptable",
            start + "authentik will not answer in JSON (406).",
            "A proxy may change the Accept header.",
        )
    if status == 415:
        return AuthentikError(
            "unsupported_media",
            start + "authentik does not take the body as JSON (415).",
            "A proxy may change the Content-Type header.",
        )
    if status == 429:
        return AuthentikError("throttled", start + f"too many requests (429){said}.", "Wait, or make fewer at once.")
    if status >= 500:
        return AuthentikError(
            "server",
            start + "the server failed with status %d%s." % (status, said),
            "See authentik's own log, and the proxy's if there is one.",
            sent=True,
        )
    return AuthentikError("status", start + "unexpected status %d%s." % (status, said), sent=True)


def _is_token_problem(detail: str) -> bool:
    return "token" in detail.lower() or "credentials" in detail.lower()
