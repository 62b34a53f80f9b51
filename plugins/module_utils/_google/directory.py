# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's Directory API by name, on google-api-python-client and google-auth: reads, and the few writes of a sync.

Partial answers (``fields``) keep what is read small. Every method raises GoogleError.
"""

from __future__ import annotations

import random
import threading
import typing as t

from .._common.kind import GROUP, USER, Kind
from .._common.listing import MAX_OBJECTS, Listing
from .._common.types import Json
from .credentials import AnyCredentials
from .errors import GoogleError
from .limiter import AnyLimiter
from .session import Session

DEFAULT_ENDPOINT = "https://admin.googleapis.com"
MEMBERS_PAGE = 200
LISTED_PAGE = {USER: 500, GROUP: 200}

# Every field of a user that somebody can write, the keys to tell accounts apart, whether it is an administrator's, and nothing
# that changes by itself.
USER_FIELDS = (
    "id,primaryEmail,aliases,nonEditableAliases,isAdmin,isDelegatedAdmin,suspensionReason,name,suspended,archived,orgUnitPath,"
    "changePasswordAtNextLogin,includeInGlobalAddressList,ipWhitelisted,recoveryEmail,recoveryPhone,emails,addresses,"
    "customSchemas,externalIds,gender,ims,keywords,languages,locations,notes,organizations,phones,posixAccounts,"
    "relations,sshPublicKeys,websites"
)
GROUP_FIELDS = "id,email,name,description,aliases"
FIELDS = {USER: USER_FIELDS, GROUP: GROUP_FIELDS}
# The parameter that names a record.
_KEY = {USER: "userKey", GROUP: "groupKey"}
ONE_MEMBER_FIELDS = "id,email,role,type"
MEMBER_FIELDS = f"nextPageToken,members({ONE_MEMBER_FIELDS})"


class Directory:
    """One Google Workspace's directory.

    Args:
        credentials: the service account to act with.
        endpoint: str, the root of the API.
        timeout: float, seconds for one request, and the most that is spent waiting to repeat one.
        jitter: callable, handed in for tests.

    Attributes:
        session: Session, which counts.
        max_objects: int, the most that one listing may have.
    """

    def __init__(
        self,
        credentials: AnyCredentials,
        endpoint: str = DEFAULT_ENDPOINT,
        timeout: float = 30,
        jitter: t.Callable[[], float] = random.random,
    ) -> None:
        self.max_objects = MAX_OBJECTS
        self._opened = (endpoint, timeout, jitter)
        self.session = Session(credentials, endpoint, timeout, jitter)
        self._service = self.session.service
        self._names: dict[str, str] = {}
        self._domains: list[str] | None = None
        self._reading_domains = threading.Lock()

    def pace(self, limiter: AnyLimiter) -> None:
        """Let a limiter decide when requests are sent."""
        self.session.limiter = limiter

    @property
    def calls(self) -> int:
        """Requests to the Directory API so far."""
        return self.session.calls

    @property
    def token_calls(self) -> int:
        """Requests to the token endpoint so far."""
        return self.session.token_calls

    def with_credentials(self, credentials: AnyCredentials) -> Directory:
        """The same directory, asked with other credentials."""
        return Directory(credentials, *self._opened)

    def note_name(self, kind: Kind, record: Json) -> None:
        """Let messages name a record by its address, and not by its immutable id."""
        self._names[str(record.get("id"))] = kind.address(record)

    def _called(self, key: str) -> str:
        return self._names.get(key) or key

    # Reads

    def get(self, kind: Kind, key: str) -> Json | None:
        """A user or group by id, address or alias, or None. The answer's own address tells whose record it is.

        For an address of a domain that is not the workspace's, Google refuses to say that nobody has it.
        """
        more = {"projection": "full"} if kind == USER else {}
        request = self._resource(kind).get(fields=FIELDS[kind], **{_KEY[kind]: key}, **more)
        try:
            return self._found(request, f"read {kind} {key} at Google")
        except GoogleError as exc:
            if kind == USER and exc.kind in ("forbidden", "invalid") and "@" in key and not self.is_inside(key):
                return None
            raise

    def groups_named(self, name: str) -> list[Json]:
        """The groups with exactly this name, as far as Google's search (which lags behind) knows them."""
        query = "name='%s'" % name.replace("\\", "\\\\").replace("'", "\\'")
        request = self._service.groups().list(
            customer="my_customer", query=query, fields=f"nextPageToken,groups({GROUP_FIELDS})"
        )
        pages = self._pages(self._service.groups(), request, "groups", f"search group '{name}' at Google")
        return [group for page in pages for group in page if group.get("name") == name]

    def members(self, key: str) -> list[Json] | None:
        """All direct members of a group, or None if Google does not know the group."""
        request = self._service.members().list(groupKey=key, maxResults=MEMBERS_PAGE, fields=MEMBER_FIELDS)
        pages = self._pages(
            self._service.members(), request, "members", f"read the members of {self._called(key)} at Google"
        )
        try:
            return [member for page in pages for member in page]
        except GoogleError as exc:
            if exc.kind == "not_found":
                return None
            raise

    def member(self, group: str, key: str) -> Json | None:
        """One direct member of a group by id or address, or None."""
        request = self._service.members().get(groupKey=group, memberKey=key, fields=ONE_MEMBER_FIELDS)
        return self._found(request, f"read member {key} of {self._called(group)} at Google")

    def domains(self) -> list[str]:
        """The names of the workspace's domains, in lower case; read once."""
        with self._reading_domains:
            if self._domains is None:
                request = self._service.domains().list(customer="my_customer", fields="domains(domainName)")
                found = self.session.read(request, "read the domains at Google").get("domains") or []
                self._domains = [str(item.get("domainName")).lower() for item in found]
            return self._domains

    def is_inside(self, address: str) -> bool:
        """Whether an address belongs to one of the workspace's domains."""
        return address.rpartition("@")[2].lower() in self.domains()

    def administrator(self, address: str) -> Json | None:
        """What tells whether an account may act for the workspace: isAdmin, isDelegatedAdmin, suspended; or None."""
        request = self._service.users().get(
            userKey=address, fields="primaryEmail,isAdmin,isDelegatedAdmin,suspended,archived"
        )
        return self._found(request, f"read the delegated subject {address} at Google")

    def administrators(self) -> list[Json]:
        """The accounts of all administrators, super or delegated, as far as Google's search (which lags behind) knows them."""
        found: dict[str, Json] = {}
        for flag in ("isAdmin", "isDelegatedAdmin"):
            request = self._service.users().list(
                customer="my_customer",
                query=f"{flag}=true",
                maxResults=LISTED_PAGE[USER],
                projection="full",
                fields=f"nextPageToken,users({USER_FIELDS})",
            )
            for page in self._pages(self._service.users(), request, "users", "search the administrators at Google"):
                found.update((str(record.get("id")), record) for record in page)
        return list(found.values())

    def may_list(self, kind: Kind) -> None:
        """Read one user or group of the listing. Raises GoogleError where that is not allowed."""
        request = self._resource(kind).list(customer="my_customer", maxResults=1, fields="kind")
        self.session.read(request, f"list {kind}s at Google")

    def listed(self, kind: Kind, partly: bool = False) -> t.Iterator[list[Json]]:
        """All users or groups as a listing shows them, page by page in order of address.

        Args:
            partly: only the fields that get() gives, too.
        """
        resource = self._resource(kind)
        more: Json = {}
        if partly:
            # Without nextPageToken among the fields there would be no second page.
            more = {"fields": f"nextPageToken,{kind}s({FIELDS[kind]})"}
            if kind == USER:
                more["projection"] = "full"
        request = resource.list(customer="my_customer", maxResults=LISTED_PAGE[kind], orderBy="email", **more)
        return self._pages(resource, request, kind + "s", f"list the {kind}s at Google")

    # Writes. The answer to each is the reliable state, as reads trail behind.

    def create(self, kind: Kind, body: Json) -> Json:
        """Add a user or a group; ``may_have_been_applied`` of an error asks for a look."""
        request = self._resource(kind).insert(body=body, fields=FIELDS[kind])
        what = f"create {kind} {kind.address(body)} at Google"
        return self.session.once(request, what, creates_user=kind == USER)

    def update(self, kind: Kind, key: str, body: Json) -> Json:
        """Change fields: absent ones stay, lists are replaced."""
        request = self._resource(kind).update(body=body, fields=FIELDS[kind], **{_KEY[kind]: key})
        return self.session.repeat(request, f"update {kind} {self._called(key)} at Google")

    def delete(self, kind: Kind, key: str) -> None:
        """Delete an account, which Google can restore for 20 days, or a group, which nobody can; 404: it is gone."""
        request = self._resource(kind).delete(**{_KEY[kind]: key})
        self.session.repeat(request, f"delete {kind} {self._called(key)} at Google")

    def add_member(self, group: str, address: str) -> Json:
        """Let an account be a member of a group; 409: it is one already."""
        request = self._service.members().insert(groupKey=group, body={"email": address}, fields=ONE_MEMBER_FIELDS)
        return self.session.repeat(request, f"add {address} to group {self._called(group)} at Google")

    def remove_member(self, group: str, key: str) -> None:
        """Take a member out of a group; 404: it is none (any more)."""
        request = self._service.members().delete(groupKey=group, memberKey=key)
        self.session.repeat(request, f"remove {self._called(key)} from group {self._called(group)} at Google")

    def _resource(self, kind: Kind) -> t.Any:
        return self._service.users() if kind == USER else self._service.groups()

    def _found(self, request: t.Any, what: str) -> Json | None:
        try:
            return self.session.read(request, what)
        except GoogleError as exc:
            if exc.kind == "not_found":
                return None
            raise

    def _pages(self, resource: t.Any, request: t.Any, key: str, what: str) -> t.Iterator[list[Json]]:
        listing = Listing(self.max_objects)
        while request is not None:
            answer = self.session.read(request, what)
            page = answer.get(key) or []
            if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
                raise GoogleError(
                    "listing",
                    f"Could not {what}: the answer's {key} are not a list of objects.",
                    "Check google_api_endpoint and what stands between this host and Google.",
                )
            problem = listing.take(page, token=answer.get("nextPageToken") or None)
            if problem:
                raise GoogleError(
                    "listing",
                    f"Could not {what}: the listing was not read to its end, since {problem}.",
                    "Check google_api_endpoint. If the directory is as large as that, raise max_objects.",
                )
            yield page
            request = resource.list_next(previous_request=request, previous_response=answer)
