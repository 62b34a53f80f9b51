# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens without a key: the platform's identity lets Google sign for a service account, which acts for the subject.

Three requests, each known to Google's documentation: google-auth gets a token of the platform's identity (metadata server, workload
identity federation); the IAM Service Account Credentials API signs the claims (projects.serviceAccounts.signJwt); the token
endpoint exchanges the signed claims for the access token of the subject (RFC 7523).
"""

from __future__ import annotations

import datetime
import http.client
import json
import re
import threading
import time
import typing as t
import warnings
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from .._common.types import Json
from . import addresses, deps
from .credentials import KEYLESS, ApplicationDefault
from .errors import IAM_TABLE, GoogleError, explain, retry_after

MASK = "********"
IAM_ENDPOINT = "https://iamcredentials.googleapis.com"
TOKEN_URI = "https://oauth2.googleapis.com/token"
# The narrower of the two scopes that signJwt accepts.
IAM_SCOPE = "https://www.googleapis.com/auth/iam"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_S = 3600.0
_SHORTEST_SECRET = 8
_LONGEST_TEXT = 300
_SECRET_FIELDS = (
    "access_token",
    "accessToken",
    "id_token",
    "signedJwt",
    "subject_token",
    "assertion",
    "client_secret",
    "refresh_token",
)
_TOO_MANY = 429
# What google-auth raises over a configuration or an answer that is not what it takes it for.
_UNSOUND = (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError, RecursionError)

_ATTACH = "Attach a service account to this machine or workload."
_FEDERATION = (
    "Check the credential configuration that GOOGLE_APPLICATION_CREDENTIALS names: its audience, its credential_source and its "
    "token_url, and the conditions of the workload identity provider."
)
_IMPERSONATION = (
    "Grant the role Workload Identity User (roles/iam.workloadIdentityUser) on the service account that the credential configuration "
    "impersonates to the federated identity, and the role Service Account Token Creator on it to itself."
)
_NONE = (
    "Run this on Google Cloud with a service account attached, or let GOOGLE_APPLICATION_CREDENTIALS name the configuration file of "
    "a workload identity federation, or set google_auth to key."
)


class Sender:
    """Sends google-auth's requests: bounded in time, counted, to encrypted or local addresses only.

    google-auth repeats failed requests at its own pace; a failure ends here instead, as an error that the session repeats at its.

    Args:
        transport: callable taking seconds and whether to go past proxies, that returns an httplib2.Http.
        timeout: float, seconds for one request at most.
        unreachable: callable taking an exception, the action in words and the host, that returns a GoogleError.

    Attributes:
        what: str, the action in words, for errors.
        refusal: tuple (url, status, text) of the last answer that was an error, or None.
    """

    def __init__(
        self,
        transport: t.Callable[[float, bool], t.Any],
        timeout: float,
        unreachable: t.Callable[[Exception, str, str], GoogleError],
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._unreachable = unreachable
        self._secrets: set[str] = set()
        self.what = "get a token of Google"
        self.refusal: tuple[str, int, str] | None = None

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: t.Any = None,
        headers: t.Mapping[str, str] | None = None,
        timeout: float | None = None,
        **more: t.Any,
    ) -> t.Any:
        libraries = deps.load_default()
        host = self._host(url)
        if more.get("cert"):
            raise self._error(
                "The credential configuration wants a client certificate, which is not supported.", _FEDERATION
            )
        self._remember(body, headers or {})
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        try:
            answer, content = self._transport(seconds, addresses.is_local(host)).request(
                url, method=method, body=body, headers=dict(headers or {})
            )
        except (deps.load().httplib2.HttpLib2Error, http.client.HTTPException, OSError, ValueError) as exc:
            error = self._unreachable(exc, self.what, host)
            error.may_have_been_applied = False
            if urlsplit(url).path in ("", "/"):
                # The question whether there is a metadata server at all: google-auth knows what to make of no answer.
                raise libraries.exceptions.TransportError(error.message) from None
            raise error from None
        except (deps.TooLarge, *deps.load().bombs) as exc:
            raise self._error(f"{host}: {exc}.", "Check the address.") from None
        return self._received(libraries, url, host, answer, content)

    def mask(self, text: str) -> str:
        """A text of another side without the secrets that were sent or received."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return MASK if "PRIVATE KEY" in text else text

    def clean(self, text: str) -> str:
        """As mask(), in one line of bounded length."""
        return re.sub(r"[\x00-\x1f\x7f]+", " ", self.mask(text))[:_LONGEST_TEXT].strip()

    def _host(self, url: str) -> str:
        # A metadata server is asked with a query.
        wrong = addresses.problem(url.partition("?")[0], addresses.is_local)
        if wrong:
            raise self._error(
                f"An address of the application default credentials {wrong}.",
                "Every address in the credential configuration must be an https:// URL; http:// is for loopback addresses and the "
                "platform's metadata server only. Check the file that GOOGLE_APPLICATION_CREDENTIALS names, and GCE_METADATA_HOST.",
            )
        return urlsplit(url).hostname or ""

    def _remember(self, body: t.Any, headers: t.Mapping[str, str]) -> None:
        """Note what is secret in a request."""
        for name, value in headers.items():
            if name.lower() in ("authorization", "x-aws-ec2-metadata-token", "secret"):
                self._note(str(value).rpartition(" ")[2])
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
        for name, value in parse_qsl(text):
            if name in _SECRET_FIELDS:
                self._note(value)

    def _note(self, value: t.Any) -> None:
        if isinstance(value, str) and len(value) >= _SHORTEST_SECRET:
            self._secrets.add(value)

    def _received(self, libraries: t.Any, url: str, host: str, answer: t.Any, content: bytes) -> t.Any:
        status = int(answer.status)
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            data = None
        for name in _SECRET_FIELDS if isinstance(data, dict) else ():
            self._note(t.cast(Json, data).get(name))
        if status == _TOO_MANY or status >= http.client.INTERNAL_SERVER_ERROR:
            error = GoogleError(
                "rate" if status == _TOO_MANY else "transient",
                "Could not %s: %s answered %d." % (self.what, host, status),
                "It is unavailable for the moment: try again later.",
                status,
            )
            error.may_have_been_applied = False
            error.retry_after = retry_after(answer.get("retry-after", ""))
            raise error
        if status >= http.client.BAD_REQUEST:
            self.refusal = (url, status, self.clean(_said(data)))

        class Response(libraries.response):
            @property
            def status(self) -> int:
                return status

            @property
            def headers(self) -> t.Any:
                return answer

            @property
            def data(self) -> bytes:
                return content

        return Response()

    def _error(self, text: str, remedy: str) -> GoogleError:
        return GoogleError("credentials", f"Could not {self.what}: {text}", remedy)


def signer(application: ApplicationDefault, endpoint: str, sender: Sender, lock: t.Any) -> t.Any:
    """google-auth's credentials that act for the subject; their token is asked for once, however many threads want it.

    Args:
        endpoint: str, the root of the Directory API. Where it is on this host, so are the other two: a token that opens a real
            directory does not go to a test server, nor a test server's to Google.
        lock: held while a token is got.
    """
    libraries = deps.load_default()
    iam, token_uri = IAM_ENDPOINT, TOKEN_URI
    if addresses.is_loopback(urlsplit(endpoint).hostname or ""):
        iam = endpoint.rstrip("/")
        token_uri = iam + "/token"

    base: t.Any = libraries.credentials

    class Delegated(base):
        def refresh(self, request: t.Any) -> None:
            self.token, seconds = _token(libraries, application, sender, iam, token_uri)
            now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
            self.expiry = now + datetime.timedelta(seconds=seconds)

        def before_request(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
            with lock:
                return super().before_request(*args, **kwargs)

    return Delegated()


def _token(
    libraries: t.Any, application: ApplicationDefault, sender: Sender, iam: str, token_uri: str
) -> tuple[str, float]:
    source = _identity(libraries, application, sender)
    account = application.email or str(getattr(source, "service_account_email", None) or "")
    if "@" not in account:
        raise GoogleError(
            "credentials",
            f"Could not {sender.what}: the application default credentials name no service account that could sign.",
            "Set service_account_email (or the environment variable GOOGLE_WORKSPACE_SERVICE_ACCOUNT_EMAIL) to the service account "
            "that has the domain-wide delegation.",
        )
    assertion = _signed(application, source, account, sender, iam)
    answer = sender(
        token_uri,
        "POST",
        urlencode({"grant_type": GRANT_TYPE, "assertion": assertion}).encode(),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    try:
        data = json.loads(answer.data)
    except (ValueError, RecursionError):
        data = None
    token = data.get("access_token") if isinstance(data, dict) else None
    if answer.status != http.client.OK or not isinstance(token, str) or not token:
        # As google-auth raises it for a key.
        details = {
            name: sender.clean(str(data[name])) for name in ("error", "error_description") if name in (data or {})
        }
        raise libraries.exceptions.RefreshError("no token", details)
    seconds = data.get("expires_in")
    # No token lives longer than an hour, whatever is said.
    return token, min(float(seconds), LIFETIME_S) if isinstance(seconds, (int, float)) and seconds > 0 else LIFETIME_S


def _identity(libraries: t.Any, application: ApplicationDefault, sender: Sender) -> t.Any:
    """The platform's identity with a token that is good; found once, with whoever asks first waiting for all."""
    found = application.found
    with found.setdefault("lock", threading.Lock()):
        sender.refusal = None
        try:
            if "source" not in found:
                found["source"] = _found(libraries, sender)
            source = found["source"]
            if not source.valid:
                source.refresh(sender)
        except libraries.exceptions.DefaultCredentialsError:
            raise GoogleError(
                "credentials",
                f"Could not {sender.what}: with {KEYLESS} this host has no identity that Google knows. "
                "GOOGLE_APPLICATION_CREDENTIALS names no file of credentials that can be used, and no metadata server answers.",
                _NONE,
            ) from None
        except (libraries.exceptions.GoogleAuthError, *_UNSOUND) as exc:
            raise _no_identity(exc, sender) from None
        return source


def _found(libraries: t.Any, sender: Sender) -> t.Any:
    # Without scopes at first: with some, google-auth asks another API for the project's name.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, _project = libraries.default(request=sender)
    if isinstance(source, deps.load().service_account.Credentials):
        raise GoogleError(
            "credentials",
            f"Could not {sender.what}: the application default credentials are a service account's key, and {KEYLESS} is for "
            "working without one.",
            "Leave out GOOGLE_APPLICATION_CREDENTIALS, or set google_auth to key and give the file in service_account_file.",
        )
    return libraries.with_scopes_if_required(source, [IAM_SCOPE])


def _no_identity(exc: Exception, sender: Sender) -> GoogleError:
    """The error for an identity that has no token."""
    start = f"Could not {sender.what}: the application default credentials give no token"
    if sender.refusal is None:
        text = str(exc.args[0]) if exc.args else ""
        # Of google-auth's own texts only these are known to quote nothing of what was read.
        known = re.match(r"^(File '|Unable to parse the subject_token|Unable to parse subject_token)", text)
        return GoogleError(
            "credentials", "%s%s." % (start, " (%s)" % sender.clean(text).rstrip(".") if known else ""), _FEDERATION
        )
    url, status, said = sender.refusal
    parts = urlsplit(url)
    remedy = _FEDERATION
    if "/computeMetadata/" in parts.path:
        remedy = _ATTACH
    elif parts.path.endswith(":generateAccessToken"):
        remedy = _IMPERSONATION
    elif parts.path == urlsplit(TOKEN_URI).path:
        remedy = "Log in again with gcloud auth application-default login."
    return GoogleError(
        "credentials",
        "%s (%s answered %d%s)." % (start, parts.netloc, status, ": " + said.rstrip(".") if said else ""),
        remedy,
        status,
    )


def _signed(application: ApplicationDefault, source: t.Any, account: str, sender: Sender, iam: str) -> str:
    """The claims, signed by Google for the service account."""
    now = int(time.time())
    claims = {
        "iss": account,
        "sub": application.subject,
        "scope": " ".join(application.scopes),
        "aud": TOKEN_URI,
        "iat": now,
        "exp": now + int(LIFETIME_S),
    }
    headers = {"Content-Type": "application/json"}
    source.apply(headers)
    url = "%s/v1/projects/-/serviceAccounts/%s:signJwt" % (iam, quote(account, safe="@"))
    what = "%s, since %s could not sign" % (sender.what, account)
    answer = sender(url, "POST", json.dumps({"payload": json.dumps(claims)}).encode(), headers)
    if answer.status != http.client.OK:
        context = dict(application.context(iam), account=account)
        error = explain(answer.status, sender.mask(answer.data.decode("utf-8", "replace")), what, context, IAM_TABLE)
        error.may_have_been_applied = False
        raise error
    try:
        signed = json.loads(answer.data)["signedJwt"]
    except (ValueError, RecursionError, KeyError, TypeError):
        signed = None
    if not isinstance(signed, str) or not signed:
        raise GoogleError(
            "transient", f"Could not {what}: Google's answer holds no signature.", "Try again later.", 400
        )
    return signed


def _said(data: t.Any) -> str:
    """What an answer says of an error, in OAuth's shape or in Google's."""
    if not isinstance(data, dict):
        return ""
    error = data.get("error")
    if isinstance(error, dict):
        return str(error.get("message") or "")
    return ": ".join(str(part) for part in (error, data.get("error_description")) if part)
