# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Google side of a sync: a Directory client for one provider, with authentik's reading of Google's errors."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import google_auth_httplib2
import httplib2
from google.auth.exceptions import GoogleAuthError, TransportError
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import HttpRequest

from tests.sandbox.authentik.errors import (
    AbandonedError,
    BadRequestSyncException,
    DryRunRejected,
    NotFoundSyncException,
    ObjectExistsSyncException,
    StopSync,
    TransientSyncException,
)

PUBLIC_ADDRESS = "https://admin.googleapis.com"
# A sync must end some day although a server of the sandbox does not answer.
SOCKET_TIMEOUT = 120


class Directory:
    """The calls a sync makes. Making one asks for the tenant's domains, as authentik does for every task."""

    def __init__(self, provider: Any, endpoint: str, dry_run: bool, wanted: Callable[[], bool]) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._dry_run = dry_run
        self._wanted = wanted
        # Time spent waiting for Google, to tell it from the time a sync costs by itself.
        self.waited = 0.0
        try:
            account = _account(json.dumps(provider.credentials, sort_keys=True))
        except ValueError as exc:
            raise StopSync(exc) from exc
        # Each has a token of its own: authentik asks for one for every task.
        credentials = account.with_scopes(provider.scopes.split(",")).with_subject(provider.delegated_subject)
        self._http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http(timeout=SOCKET_TIMEOUT))
        self.users, self.groups, self.members, domains = _collections(self._endpoint)
        answer = self.send(domains.list(customer="my_customer"))
        self.domains = [entry["domainName"] for entry in answer.get("domains", [])]

    def send(self, request: HttpRequest) -> dict:
        """Send a request, and turn what Google says into the errors of a sync."""
        if self._dry_run and request.method != "GET":
            raise DryRunRejected(self._public(request.uri), request.method, request.body)
        try:
            return self._execute(request)
        except TransportError as exc:
            raise TransientSyncException("Failed to send request: %s" % exc) from exc
        except GoogleAuthError as exc:
            raise StopSync(exc) from exc
        except HttpError as exc:
            if exc.resp.status == 404:
                raise NotFoundSyncException("Object not found") from exc
            if exc.resp.status == 409:
                raise ObjectExistsSyncException("Object exists") from exc
            if exc.resp.status == 400:
                raise BadRequestSyncException("Bad request", request.body) from exc
            raise TransientSyncException("Failed to send request: %s" % exc) from exc

    def listing(self, collection: Any, key: str) -> Iterator[dict]:
        """Everything Google lists, page by page. Errors stay what they are: discovery does not translate them."""
        request = collection.list(customer="my_customer", maxResults=500, orderBy="email")
        while request is not None:
            answer = self._execute(request)
            yield from answer.get(key, [])
            request = collection.list_next(previous_request=request, previous_response=answer)

    def check_domains(self, *addresses: str) -> None:
        for address in addresses:
            if not any(address.endswith("@" + domain) for domain in self.domains):
                raise BadRequestSyncException("Invalid email domain: %s" % address)

    def _execute(self, request: HttpRequest) -> dict:
        started = time.monotonic()
        try:
            self._go_on()
            answer = request.execute(http=self._http, num_retries=0)
            self._go_on()
            return answer
        except HttpError as exc:
            # The texts of the log name Google's own address on real servers.
            exc.uri = self._public(exc.uri)
            raise
        finally:
            self.waited += time.monotonic() - started

    def _go_on(self) -> None:
        if not self._wanted():
            raise AbandonedError("the state that this sync began with is gone")

    def _public(self, uri: str) -> str:
        return PUBLIC_ADDRESS + uri[len(self._endpoint) :] if uri.startswith(self._endpoint) else uri


@functools.lru_cache(maxsize=16)
def _account(info: str) -> Any:
    """A service account from its key as JSON. Reading a key costs more than all that a sync does with it. Raises ValueError."""
    return service_account.Credentials.from_service_account_info(json.loads(info))


@functools.lru_cache(maxsize=16)
def _collections(endpoint: str) -> tuple[Any, Any, Any, Any]:
    """Users, groups, members and domains of the API at an address: making their methods costs more than calling them."""
    service = build(
        "admin",
        "directory_v1",
        # A request is sent with the connection that it is executed with, never with this one.
        http=httplib2.Http(),
        static_discovery=True,
        client_options={"api_endpoint": endpoint},
    )
    return service.users(), service.groups(), service.members(), service.domains()
