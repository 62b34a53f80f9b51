# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One authorised connection to Google's Directory API: every request counted, repeated where that is safe, explained."""

from __future__ import annotations

import http.client
import json
import random
import ssl
import threading
import typing as t
from urllib.parse import urlsplit

from .._common import waiting
from .._common.types import Json
from .._common.writes import Writes
from . import deps, keyless
from .credentials import AnyCredentials, ApplicationDefault, Credentials
from .errors import GoogleError, explain, retry_after
from .limiter import AnyLimiter, Unlimited

MASK = "********"
ATTEMPTS = 5
# Where a limiter paces many requests, a refusal because of the quota costs time and not the request: a quarter of an hour.
ATTEMPTS_AT_QUOTA = 32
LONGEST_PAUSE_AT_QUOTA_S = 900.0


class Collections:
    """The collections of the API, each made once: making one makes all its methods, which takes longer than making a request.

    Args:
        service: the API as google-api-python-client builds it.
    """

    def __init__(self, service: t.Any) -> None:
        self._service = service
        self._made: dict[str, t.Any] = {}

    def users(self) -> t.Any:
        """Users."""
        return self._once("users")

    def groups(self) -> t.Any:
        """Groups."""
        return self._once("groups")

    def members(self) -> t.Any:
        """Members of groups."""
        return self._once("members")

    def domains(self) -> t.Any:
        """Domains."""
        return self._once("domains")

    def _once(self, name: str) -> t.Any:
        # Two threads may each make one: they are the same.
        if name not in self._made:
            self._made[name] = getattr(self._service, name)()
        return self._made[name]


class Session:
    """Runs requests of Google's client library. Safe for threads: each has connections of its own, all share one token.

    Args:
        credentials: the service account to act with, by its key or by the platform's identity.
        endpoint: str, the root of the API.
        timeout: float, seconds for one request, and the most that is spent waiting to repeat one.
        jitter: callable, handed in for tests.

    Attributes:
        service: Collections, of the API as google-api-python-client builds it.
        calls: int, requests to the Directory API.
        token_calls: int, requests to the token endpoint, and without a key all that lead to a token.
        notice: callable taking a text, told of every repetition.
        limiter: whose turn it is to send.
        audit: callable taking a dict, told of every write before it is sent and when it has been answered.
        writes: Writes, those that Google may have performed.
    """

    def __init__(
        self,
        credentials: AnyCredentials,
        endpoint: str,
        timeout: float,
        jitter: t.Callable[[], float] = random.random,
    ) -> None:
        self._libraries = deps.load()
        self.credentials = credentials
        self.calls = 0
        self.token_calls = 0
        self.notice: t.Callable[[str], None] = lambda text: None
        self.limiter: AnyLimiter = Unlimited()
        self.audit: t.Callable[[Json], None] | None = None
        self.writes = Writes()
        self._context = credentials.context(endpoint)
        self._timeout = timeout
        self._jitter = jitter
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._own = threading.local()
        self._sender: keyless.Sender | None = None
        self._signer = self._sign(endpoint)
        self.service = self.collections(endpoint)

    def read(self, request: t.Any, what: str) -> Json:
        """Run a read and return its JSON object, repeating it while Google asks for patience. Raises GoogleError."""
        return self._run(request, what, lambda exc: exc.retryable)

    def repeat(self, request: t.Any, what: str) -> Json:
        """Run a write that may safely be performed twice (PUT, DELETE, the insertion of a member). Raises GoogleError.

        ``may_have_been_applied`` of an error says that an earlier attempt may have been performed: a 409 or 404 may be its trace.
        """
        return self._run(request, what, lambda exc: exc.retryable)

    def once(self, request: t.Any, what: str, creates_user: bool = False) -> Json:
        """Run a write that must not be performed twice: repeated only where Google says that it refused it.

        ``may_have_been_applied`` of an error says that it may have been performed: look before anything else.
        """
        return self._run(request, what, lambda exc: exc.retryable and not exc.may_have_been_applied, creates_user)

    def fetch_token(self, what: str) -> None:
        """Ask for a token and nothing else. Raises GoogleError."""
        if self._sender is None:
            self._fetch_token(what)
        else:
            self._patiently(lambda: self._fetch_token(what), lambda exc: exc.retryable)

    def _fetch_token(self, what: str) -> Json:
        """One attempt."""
        lib = self._libraries
        if self._sender is not None:
            self._sender.what = what
        try:
            self._signer.refresh(lib.token_request(self._http().http))
        except lib.auth_exceptions.TransportError as exc:
            raise self._unreachable(exc, what, sent=False) from None
        except lib.auth_exceptions.GoogleAuthError as exc:
            raise self._refused(exc, what) from None
        except (lib.httplib2.HttpLib2Error, http.client.HTTPException, OSError, ValueError) as exc:
            raise self._unreachable(exc, what, sent=True) from None
        except (TypeError, AttributeError, OverflowError):
            raise self._no_token(what) from None
        return {}

    def _run(
        self, request: t.Any, what: str, again: t.Callable[[GoogleError], bool], creates_user: bool = False
    ) -> Json:
        """Run a request when it is its turn, and again as _patiently() does."""

        def one() -> Json:
            if not self.limiter.wait(creates_user) and request.method != "GET":
                raise GoogleError(
                    "stopped",
                    f"Could not {what}: the run was stopped before the request was sent.",
                    "Run the task again.",
                )
            return self._audited(request, what)

        return self._patiently(one, again)

    def _patiently(self, one: t.Callable[[], Json], again: t.Callable[[GoogleError], bool]) -> Json:
        """Try up to five times, 2^n seconds and up to one more apart or as Google asks, within the time-out.

        A run that is stopped does not try again: the last error then says what is known.
        """
        waited = 0.0
        attempt = 0
        maybe_done = False
        while True:
            try:
                return one()
            except GoogleError as exc:
                maybe_done = exc.may_have_been_applied = exc.may_have_been_applied or maybe_done
                # What Google asks for is obeyed where it fits into our bound, and else reported.
                pause = 2 ** min(attempt, 5) + self._jitter() if exc.retry_after is None else exc.retry_after
                if exc.dropped and attempt == 0:
                    # An idle connection that Google had closed, most likely.
                    pause = 0.0
                attempt += 1
                paced = exc.kind == "rate" and not isinstance(self.limiter, Unlimited)
                most = ATTEMPTS_AT_QUOTA if paced else ATTEMPTS
                longest = LONGEST_PAUSE_AT_QUOTA_S if paced else self._timeout - waited
                if not again(exc) or attempt >= most or pause > longest:
                    raise
                self.notice(f"{exc.message} Waiting {pause:.1f} seconds.")
                if exc.kind == "rate":
                    self.limiter.refused(pause)
                if not waiting.pause(pause):
                    raise
                waited += 0.0 if paced else pause

    def _audited(self, request: t.Any, what: str) -> Json:
        """One attempt; a write is noted before it is sent, and again with what became of it."""
        if request.method == "GET":
            return self._attempt(request, what)
        audit = self.audit or (lambda line: None)
        line = {"method": request.method, "path": urlsplit(request.uri).path, "what": what}
        audit(dict(line, event="sent"))
        try:
            with self.writes.sending(self._is_refusal):
                answer = self._attempt(request, what)
        except GoogleError as exc:
            audit(dict(line, event="answered", result="error", error=exc.message, maybe_done=exc.may_have_been_applied))
            raise
        audit(dict(line, event="answered", result="ok", id=answer.get("id")))
        return answer

    def _is_refusal(self, exc: BaseException) -> bool:
        """Whether what was raised says that Google did not perform the request."""
        return not exc.may_have_been_applied if isinstance(exc, GoogleError) else not self._own.sent

    def _attempt(self, request: t.Any, what: str) -> Json:
        lib = self._libraries
        self._own.sent = False
        if self._sender is not None:
            self._sender.what = what
        try:
            answer = request.execute(http=self._http(), num_retries=0)
        except lib.http_error as exc:
            error = explain(int(exc.resp.status), exc.content, what, self._context)
            for secret in _passwords(request):
                error.message = error.message.replace(secret, MASK)
            error.retry_after = retry_after(exc.resp.get("retry-after", ""))
            raise error from None
        except lib.auth_exceptions.TransportError as exc:
            raise self._unreachable(exc, what, sent=False) from None
        except lib.auth_exceptions.GoogleAuthError as exc:
            raise self._refused(exc, what) from None
        except (lib.httplib2.HttpLib2Error, http.client.HTTPException, OSError) as exc:
            raise self._unreachable(exc, what, sent=True) from None
        except (deps.TooLarge, *lib.bombs) as exc:
            error = GoogleError("wrong_address", f"Could not {what}: {exc}.", "Check google_api_endpoint.")
            error.may_have_been_applied = True
            raise error from None
        except (ValueError, RecursionError):
            raise self._broken(what) from None
        except (TypeError, AttributeError, OverflowError):
            # Either the token endpoint's answer or, once the request itself was sent, the API's is of an odd form.
            raise (self._broken(what) if self._own.sent else self._no_token(what)) from None
        if isinstance(answer, dict):
            return answer
        if request.method == "DELETE" and not answer:
            # Answered with an empty body.
            return {}
        raise self._broken(what)

    def _no_token(self, what: str) -> GoogleError:
        """google-auth takes whatever the token endpoint says for an object with a time that makes sense."""
        return GoogleError(
            "credentials",
            f"Could not {what}: Google issues no token (the answer is not what a token endpoint says).",
            f"Check token_uri in the service account of {self.credentials.origin}.",
        )

    def _broken(self, what: str) -> GoogleError:
        return GoogleError(
            "transient", f"Could not {what}: Google's answer is cut off or no JSON object.", "Try again later."
        )

    def collections(self, endpoint: str) -> Collections:
        """The API at an endpoint, from the description that the library holds."""
        service = self._libraries.build(
            "admin",
            "directory_v1",
            http=self._http(),
            static_discovery=True,
            cache_discovery=False,
            client_options={"api_endpoint": endpoint},
        )
        return Collections(service)

    def _sign(self, endpoint: str) -> t.Any:
        """The service account, whose token is asked for once, however many threads want it."""
        if isinstance(self.credentials, ApplicationDefault):
            self._sender = keyless.Sender(
                self._token_transport,
                self._timeout,
                lambda exc, what, host: self._unreachable(exc, what, sent=True, host=host),
            )
            return keyless.signer(self.credentials, endpoint, self._sender, self._lock)
        base: t.Any = self._libraries.service_account.Credentials
        lock = self._lock

        class Signer(base):
            def before_request(self, *args: t.Any, **kwargs: t.Any) -> t.Any:
                with lock:
                    return super().before_request(*args, **kwargs)

        try:
            return Signer.from_service_account_info(
                self.credentials.info, scopes=self.credentials.scopes, subject=self.credentials.subject
            )
        except ValueError:
            # The library's text may quote the key.
            raise GoogleError(
                "credentials",
                f"The private key of the service account of {self.credentials.origin} cannot be used.",
                "Use the whole JSON key that Google Cloud issued.",
            ) from None

    def _http(self) -> t.Any:
        """This thread's connections."""
        found = getattr(self._own, "http", None)
        if found is not None:
            return found
        transport = self._transport(self._timeout)
        self._own.http = self._libraries.authorized_http(self._signer, http=transport)
        return self._own.http

    def _token_transport(self, timeout: float, past_proxies: bool) -> t.Any:
        """Connections for requests that lead to a token."""
        return self._transport(timeout, for_tokens=True, **({"proxy_info": None} if past_proxies else {}))

    def _transport(self, timeout: float, for_tokens: bool = False, **more: t.Any) -> t.Any:
        lib = self._libraries
        owner = self
        counting = self._counting
        token_uri = self.credentials.info["token_uri"] if isinstance(self.credentials, Credentials) else None

        base: t.Any = lib.httplib2.Http

        class Transport(base):
            """Counts what really goes out, the token's requests apart."""

            def request(self, uri: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
                kwargs["connection_type"] = lib.connections[uri.split(":")[0]]
                with counting:
                    if for_tokens or uri.split("?")[0] == token_uri:
                        owner.token_calls += 1
                    else:
                        owner.calls += 1
                        owner._own.sent = True
                return super().request(uri, *args, **kwargs)

        transport = Transport(timeout=timeout, **more)
        transport.follow_redirects = False
        return transport

    def _refused(self, exc: Exception, what: str) -> GoogleError:
        """An answer of the token endpoint that is no token."""
        details = exc.args[1] if len(exc.args) > 1 and isinstance(exc.args[1], dict) else {}
        code = str(details.get("error") or "")
        said = ": ".join(str(part) for part in (code, details.get("error_description")) if part)
        start = "Could not %s: Google issues no token%s." % (what, " (%s)" % said if said else "")
        if code == "unauthorized_client":
            return GoogleError(
                "delegation",
                start,
                "Let the domain-wide delegation of client %s hold every one of these scopes: %s."
                % (self._context["client_id"], ", ".join(self._context["scopes"])),
            )
        if code == "invalid_grant":
            return GoogleError(
                "subject",
                start,
                "Check that the delegated subject %s is an active administrator of this Google Workspace, %sand this host's clock."
                % (self._context["subject"], "that the key is not revoked, " if self._sender is None else ""),
            )
        return GoogleError("credentials", start, f"Check the service account of {self.credentials.origin}.")

    def _unreachable(self, exc: Exception, what: str, sent: bool, host: str = "") -> GoogleError:
        reason: t.Any = exc
        while getattr(reason, "__cause__", None) is not None:
            reason = reason.__cause__
        host = host or urlsplit(self._context["endpoint"]).netloc
        if isinstance(reason, ssl.SSLError):
            return GoogleError(
                "tls",
                f"Could not {what}: no trusted TLS connection ({reason.reason or reason}).",
                "If a proxy intercepts TLS, give its authority to httplib2 by the environment variable HTTPLIB2_CA_CERTS.",
            )
        error = GoogleError(
            "unreachable",
            f"Could not {what}: Google ({host}) is out of reach ({type(reason).__name__}: {reason}).",
            "Check this host's network and proxy settings.",
        )
        # No connection, no request; else nobody knows whether it arrived.
        not_sent = (ConnectionRefusedError, self._libraries.httplib2.ServerNotFoundError)
        error.may_have_been_applied = sent and not isinstance(reason, not_sent)
        error.dropped = error.may_have_been_applied and isinstance(reason, (ConnectionError, http.client.HTTPException))
        return error


def _passwords(request: t.Any) -> list[str]:
    """The password that a request carries, which an answer may quote."""
    body = request.body if isinstance(request.body, str) else ""
    if '"password"' not in body:
        return []
    value = json.loads(body).get("password")
    return [value] if isinstance(value, str) and value else []
