# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""A read-only client for Google's Directory API, on google-api-python-client and google-auth.

Partial answers (``fields``) keep what is read small; every request is counted; reads that may be repeated are, with
Google's own waiting times; everything else is explained by ``errors``.
"""

from __future__ import annotations

import random
import ssl
import time
import typing as t
from urllib.parse import urlsplit

from . import deps
from .credentials import Credentials
from .errors import GoogleError, explain

DEFAULT_ENDPOINT = "https://admin.googleapis.com"
MEMBERS_PAGE = 200

# Every field of a user that somebody can write, the keys to tell accounts apart, and nothing that changes by itself.
USER_FIELDS = (
    "id,primaryEmail,aliases,name,suspended,archived,orgUnitPath,changePasswordAtNextLogin,includeInGlobalAddressList,"
    "ipWhitelisted,recoveryEmail,recoveryPhone,emails,addresses,customSchemas,externalIds,gender,ims,keywords,languages,"
    "locations,notes,organizations,phones,posixAccounts,relations,sshPublicKeys,websites"
)
GROUP_FIELDS = "id,email,name,description,aliases"
MEMBER_FIELDS = "nextPageToken,members(id,email,role,type)"

Json = t.Dict[str, t.Any]


class Directory:
    """Reads of one Google Workspace's directory.

    Args:
        credentials: the service account to read with.
        endpoint: str, the root of the API.
        timeout: float, seconds for one request, and the most that is spent waiting to repeat one.
        sleep, jitter: callables, handed in for tests.

    Attributes:
        calls: int, requests to the Directory API.
        token_calls: int, requests to the token endpoint.
    """

    def __init__(
        self,
        credentials: Credentials,
        endpoint: str = DEFAULT_ENDPOINT,
        timeout: float = 30,
        sleep: t.Callable[[float], None] = time.sleep,
        jitter: t.Callable[[], float] = random.random,
    ) -> None:
        self._libraries = deps.load()
        self.credentials = credentials
        self.calls = 0
        self.token_calls = 0
        self._context = credentials.context(endpoint)
        self._timeout = timeout
        self._sleep = sleep
        self._jitter = jitter
        self._service = self._build(endpoint)

    def user(self, key: str) -> t.Optional[Json]:
        """A user by id, address or alias, or None. The answer's primaryEmail tells whose account it is."""
        request = self._service.users().get(userKey=key, projection="full", fields=USER_FIELDS)
        return self._found(request, "read user %s at Google" % key)

    def group(self, key: str) -> t.Optional[Json]:
        """A group by id, address or alias, or None."""
        request = self._service.groups().get(groupKey=key, fields=GROUP_FIELDS)
        return self._found(request, "read group %s at Google" % key)

    def groups_named(self, name: str) -> t.List[Json]:
        """The groups with exactly this name, as far as Google's search (which lags behind) knows them."""
        query = "name='%s'" % name.replace("\\", "\\\\").replace("'", "\\'")
        request = self._service.groups().list(
            customer="my_customer", query=query, fields="nextPageToken,groups(%s)" % GROUP_FIELDS
        )
        found = self._pages(self._service.groups(), request, "groups", "search group '%s' at Google" % name)
        return [group for group in found if group.get("name") == name]

    def members(self, key: str) -> t.Optional[t.List[Json]]:
        """All direct members of a group, or None if Google does not know the group."""
        request = self._service.members().list(groupKey=key, maxResults=MEMBERS_PAGE, fields=MEMBER_FIELDS)
        try:
            return self._pages(self._service.members(), request, "members", "read the members of %s at Google" % key)
        except GoogleError as exc:
            if exc.kind == "not_found":
                return None
            raise

    def domains(self) -> t.List[str]:
        """The names of the workspace's domains."""
        request = self._service.domains().list(customer="my_customer", fields="domains(domainName)")
        found = self._execute(request, "read the domains at Google").get("domains") or []
        return [str(item.get("domainName")) for item in found]

    def _build(self, endpoint: str) -> t.Any:
        lib = self._libraries
        owner = self

        class Transport(lib.httplib2.Http):
            """Counts what really goes out, the token's requests apart."""

            def request(self, uri: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
                if uri.split("?")[0] == owner.credentials.info["token_uri"]:
                    owner.token_calls += 1
                else:
                    owner.calls += 1
                return super().request(uri, *args, **kwargs)

        try:
            signer = lib.service_account.Credentials.from_service_account_info(
                self.credentials.info, scopes=self.credentials.scopes, subject=self.credentials.subject
            )
        except ValueError:
            # The library's text may quote the key.
            raise GoogleError(
                "credentials",
                "The private key of the service account of %s cannot be used." % self.credentials.origin,
                "Use the whole JSON key that Google Cloud issued.",
            ) from None
        transport = Transport(timeout=self._timeout)
        transport.follow_redirects = False
        return lib.build(
            "admin",
            "directory_v1",
            http=lib.authorized_http(signer, http=transport),
            static_discovery=True,
            cache_discovery=False,
            client_options={"api_endpoint": endpoint},
        )

    def _found(self, request: t.Any, what: str) -> t.Optional[Json]:
        try:
            return self._execute(request, what)
        except GoogleError as exc:
            if exc.kind == "not_found":
                return None
            raise

    def _pages(self, resource: t.Any, request: t.Any, key: str, what: str) -> t.List[Json]:
        found: t.List[Json] = []
        while request is not None:
            answer = self._execute(request, what)
            found.extend(answer.get(key) or [])
            request = resource.list_next(previous_request=request, previous_response=answer)
        return found

    def _execute(self, request: t.Any, what: str) -> Json:
        """Run a read, repeating it while Google asks for patience: 2^n seconds and up to one more, within the time-out."""
        waited = 0.0
        attempt = 0
        while True:
            try:
                answer = self._attempt(request, what)
                if not isinstance(answer, dict):
                    raise GoogleError("transient", "Could not %s: Google's answer is no JSON object." % what)
                return answer
            except GoogleError as exc:
                if not exc.passing:
                    raise
                pause = exc.retry_after or 2**attempt + self._jitter()
                if attempt >= 4 or waited + pause > self._timeout:
                    raise
                self._sleep(pause)
                waited += pause
                attempt += 1

    def _attempt(self, request: t.Any, what: str) -> t.Any:
        lib = self._libraries
        try:
            return request.execute(num_retries=0)
        except lib.http_error as exc:
            error = explain(int(exc.resp.status), exc.content, what, self._context)
            after = exc.resp.get("retry-after", "")
            error.retry_after = float(after) if after.isdigit() else None
            raise error from None
        except lib.auth_exceptions.TransportError as exc:
            raise self._unreachable(exc, what) from None
        except lib.auth_exceptions.GoogleAuthError as exc:
            raise self._refused(exc, what) from None
        except (lib.httplib2.HttpLib2Error, OSError) as exc:
            raise self._unreachable(exc, what) from None
        except ValueError:
            raise GoogleError(
                "transient", "Could not %s: Google's answer is cut off or not JSON." % what, "Try again later."
            ) from None

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
                "Check that the delegated subject %s is an active administrator of this Google Workspace, that the key is "
                "not revoked, and this host's clock." % self._context["subject"],
            )
        return GoogleError("credentials", start, "Check the service account of %s." % self.credentials.origin)

    def _unreachable(self, exc: Exception, what: str) -> GoogleError:
        reason: t.Any = exc
        while getattr(reason, "__cause__", None) is not None:
            reason = reason.__cause__
        host = urlsplit(self._context["endpoint"]).netloc
        if isinstance(reason, ssl.SSLError):
            return GoogleError(
                "tls",
                "Could not %s: no trusted TLS connection (%s)." % (what, reason.reason or reason),
                "If a proxy intercepts TLS, give its authority to httplib2 by the environment variable HTTPLIB2_CA_CERTS.",
            )
        return GoogleError(
            "unreachable",
            "Could not %s: Google (%s) is out of reach (%s: %s)." % (what, host, type(reason).__name__, reason),
            "Check this host's network and proxy settings.",
        )
