# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What authentik's database would hold: users, groups, providers, mappings, connections, tokens."""

from __future__ import annotations

import base64
import copy
import hashlib
import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from tests.sandbox.authentik.schedules import Schedule

if TYPE_CHECKING:
    from tests.sandbox.authentik.full_sync import SystemTask

NAMESPACE = uuid.UUID("5a0d7b1e-32cf-4f0c-9d52-0f6f2a4f7f10")
SCOPES = ",".join(
    "https://www.googleapis.com/auth/admin.directory." + name
    for name in ("user", "group", "group.member", "domain.readonly")
)
FIRST_USER = 6
SERVICE_ACCOUNTS = ("service_account", "internal_service_account")
USER_TYPES = ("internal", "external", *SERVICE_ACCOUNTS)

USER_EXPRESSION = """\
given, _, family = request.user.name.partition(" ")
full = f"{given} {family}"
resource = {
    "name": {"fullName": full, "familyName": family.strip(), "givenName": given.strip(), "displayName": full},
    "suspended": not request.user.is_active,
}
if connection is None:
    # Google demands a password for a new account.
    resource["password"] = request.user.password
return resource
"""
GROUP_EXPRESSION = """\
return {"name": group.name}
"""
DEFAULT_MAPPINGS = (
    ("authentik default Google Workspace Mapping: User", "user", USER_EXPRESSION),
    ("authentik default Google Workspace Mapping: Group", "group", GROUP_EXPRESSION),
)


def now() -> str:
    """The time as authentik writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def stable_uuid(*parts: Any) -> str:
    return str(uuid.uuid5(NAMESPACE, "/".join(str(part) for part in parts)))


def password_hash(secret: str) -> str:
    """Something of the form and length of Django's password hash, the same for the same input."""
    salt = hashlib.sha256(("salt of " + secret).encode()).hexdigest()[:22]
    digest = base64.b64encode(hashlib.sha256(secret.encode()).digest()).decode()
    return "pbkdf2_sha256$870000$%s$%s" % (salt, digest)


@dataclass
class User:
    pk: int
    username: str
    name: str = ""
    email: str = ""
    is_active: bool = True
    type: str = "internal"
    attributes: dict = field(default_factory=dict)
    path: str = "users"
    is_superuser: bool = False
    uuid: str = ""
    password: str = ""
    created: str = ""
    updated: str = ""

    def __str__(self) -> str:
        return self.username

    @property
    def uid(self) -> str:
        return hashlib.sha256(self.uuid.encode()).hexdigest()


@dataclass
class Group:
    pk: str
    name: str
    users: list[int] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    attributes: dict = field(default_factory=dict)
    is_superuser: bool = False

    def __str__(self) -> str:
        return "Group " + self.name

    @property
    def num_pk(self) -> int:
        return 10000 + uuid.UUID(self.pk).int % 90000


@dataclass
class Mapping:
    pk: str
    name: str
    expression: str
    model: str
    managed: str | None = None


@dataclass
class Provider:
    pk: int
    name: str
    delegated_subject: str
    credentials: dict
    default_group_email_domain: str
    property_mappings: list[str] = field(default_factory=list)
    property_mappings_group: list[str] = field(default_factory=list)
    scopes: str = SCOPES
    exclude_users_service_account: bool = False
    filter_group: str | None = None
    user_delete_action: str = "delete"
    group_delete_action: str = "delete"
    dry_run: bool = False
    sync_page_size: int = 100
    sync_page_timeout: str = "minutes=30"
    discovery_enabled: bool = True
    credentials_ref: str | None = None
    # The application that uses it, as its main provider or (the usual way) as a backchannel one.
    application: str | None = None
    main_application: bool = False

    @property
    def schedule(self) -> str:
        return stable_uuid("schedule", self.pk)


@dataclass
class Application:
    """An application; ``others`` are its backchannel providers of other kinds, by primary key."""

    pk: str
    slug: str
    name: str
    group: str = ""
    meta_description: str = ""
    meta_publisher: str = ""
    others: dict[int, str] = field(default_factory=dict)
    # Somebody needs more than a look at the list of what he may open to see it.
    hidden: bool = False


@dataclass
class Connection:
    """A row that ties a user or group to its account or group at Google."""

    id: str
    kind: str
    provider: int
    obj: Any
    google_id: str
    attributes: Any = field(default_factory=dict)


@dataclass
class Token:
    key: str
    user: int
    permissions: frozenset[str] = frozenset()
    # Permissions on single providers.
    object_permissions: dict[int, frozenset[str]] = field(default_factory=dict)
    expired: bool = False

    @property
    def role(self) -> str:
        """The role that gives its user these permissions."""
        return stable_uuid("role", self.user, *sorted(self.permissions))


class Conflict(Exception):
    """A row that would break a uniqueness rule."""


class State:
    """All of it, behind one lock. Whoever reads or writes holds it; nobody holds it while talking to Google."""

    def __init__(self, dataset: dict, service_account: dict) -> None:
        self.lock = threading.RLock()
        # Counts how often it was filled, so that work from before a reset can tell that nobody wants it any more.
        self.generation = 0
        self._dataset = copy.deepcopy(dataset)
        self._service_account = service_account
        self.load()

    # -- filling ------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Let work that began before now know that nobody wants it any more."""
        with self.lock:
            self.generation += 1

    def load(self, dataset: dict | None = None) -> None:
        with self.lock:
            if dataset is not None:
                self._dataset = copy.deepcopy(dataset)
            data = copy.deepcopy(self._dataset)
            self.generation += 1
            self.domain = data["domain"]
            self.users: dict[int, User] = {}
            # Whom a user name belonged to when it was given; find_user checks whether that still holds.
            self._usernames: dict[str, int] = {}
            self.groups: dict[str, Group] = {}
            self.mappings: dict[str, Mapping] = {}
            self.providers: dict[int, Provider] = {}
            self.applications: dict[str, Application] = {}
            self.connections: dict[str, Connection] = {}
            # The same rows by kind, provider and object: large directories look up thousands of them.
            self._rows: dict[tuple, list[Connection]] = {}
            self.tokens: dict[str, Token] = {}
            self.schedules: dict[str, Schedule] = {}
            # The providers whose full sync runs, with the task that does it, and what is kept of past ones.
            self.syncing: dict[int, str] = {}
            self.system_tasks: dict[str, SystemTask] = {}
            self._next_user = FIRST_USER
            self._serial = 0
            self._last_provider = 0
            self._add_user(1, {"username": "AnonymousUser"})
            admin = self._add_user(
                5,
                {"username": "akadmin", "name": "authentik Default Admin", "email": "akadmin@" + self.domain},
            )
            admin.is_superuser = True
            for entry in data.get("users", []):
                self.add_user(entry)
            admins = self.add_group({"name": "authentik Admins", "members": ["akadmin"]})
            admins.is_superuser = True
            groups = data.get("groups", [])
            for entry in groups:
                self.add_group({key: value for key, value in entry.items() if key != "parent"})
            for entry in groups:
                if entry.get("parent"):
                    self.find_group(entry["name"]).parents = [self.find_group(entry["parent"]).pk]
            for name, model, expression in DEFAULT_MAPPINGS:
                mapping = self.add_mapping({"name": name, "expression": expression, "model": model})
                mapping.managed = "goauthentik.io/providers/google_workspace/" + model
            own = [self.add_mapping(entry) for entry in data.get("mappings", [])]
            provider = self.add_provider({"name": "gws", "application": "gws"})
            chosen = {entry["name"] for entry in data.get("mappings", []) if entry.get("assigned", True)}
            for mapping in own:
                if mapping.name in chosen:
                    self.assigned(provider, mapping.model).append(mapping.pk)
            self.change_provider(provider, data.get("provider") or {})
            self.token = self.add_token({"username": "akadmin"}).key

    def add_user(self, entry: dict) -> User:
        user = self._add_user(self._next_user, entry)
        self._next_user += 1
        return user

    def _add_user(self, pk: int, entry: dict) -> User:
        unknown = set(entry) - {"username", "name", "email", "is_active", "type", "attributes", "path", "password"}
        if unknown:
            raise ValueError("unknown keys of a user: " + ", ".join(sorted(unknown)))
        username = entry["username"]
        if username in self._usernames:
            raise Conflict("user %s exists" % username)
        if entry.get("type", "internal") not in USER_TYPES:
            raise ValueError("unknown user type %s" % entry["type"])
        user = User(
            pk=pk,
            uuid=stable_uuid("user", pk, username),
            password=password_hash(entry.get("password") or username),
            created=now(),
            updated=now(),
            **{key: value for key, value in entry.items() if key != "password" and value is not None},
        )
        self.users[pk] = user
        self._usernames[username] = pk
        return user

    def add_group(self, entry: dict) -> Group:
        unknown = set(entry) - {"name", "members", "parent", "attributes", "is_superuser"}
        if unknown:
            raise ValueError("unknown keys of a group: " + ", ".join(sorted(unknown)))
        if any(group.name == entry["name"] for group in self.groups.values()):
            raise Conflict("group %s exists" % entry["name"])
        group = Group(
            pk=stable_uuid("group", entry["name"]),
            name=entry["name"],
            users=[self.find_user(member).pk for member in entry.get("members") or []],
            parents=[self.find_group(entry["parent"]).pk] if entry.get("parent") else [],
            attributes=entry.get("attributes") or {},
            is_superuser=entry.get("is_superuser", False),
        )
        self.groups[group.pk] = group
        return group

    def add_mapping(self, entry: dict) -> Mapping:
        if entry.get("model") not in ("user", "group"):
            raise ValueError("a mapping's model is user or group")
        if any(mapping.name == entry["name"] for mapping in self.mappings.values()):
            raise Conflict("mapping %s exists" % entry["name"])
        mapping = Mapping(stable_uuid("mapping", entry["name"]), entry["name"], entry["expression"], entry["model"])
        self.mappings[mapping.pk] = mapping
        return mapping

    def add_provider(self, entry: dict) -> Provider:
        provider = Provider(
            pk=max(self.providers, default=0) + 1,
            name=entry["name"],
            delegated_subject="admin@" + self.domain,
            credentials=copy.deepcopy(self._service_account),
            default_group_email_domain=self.domain,
        )
        defaults = {name for name, _model, _expression in DEFAULT_MAPPINGS}
        for mapping in self.mappings.values():
            if mapping.name in defaults:
                self.assigned(provider, mapping.model).append(mapping.pk)
        self.change_provider(provider, entry)
        self.providers[provider.pk] = provider
        self.schedules[provider.schedule] = Schedule(provider.schedule, provider.pk)
        return provider

    def change_provider(self, provider: Provider, changes: dict) -> None:
        """Set fields of a provider, all or none; groups and mappings may be given by name."""
        found = {}
        for key, value in changes.items():
            if key == "pk" or key not in provider.__dataclass_fields__:
                raise ValueError("a provider has no field %s" % key)
            if key == "filter_group" and value is not None:
                value = self.find_group(value).pk
            elif key in ("property_mappings", "property_mappings_group"):
                value = [self.find_mapping(item).pk for item in value]
            found[key] = value
        for key, value in found.items():
            setattr(provider, key, value)
        if provider.application is not None and provider.application not in self.applications:
            self.add_application({"slug": provider.application})

    def new_provider(self, values: dict) -> Provider:
        """A provider as the API makes it: without an application, and without mappings but those given."""
        used = {pk for application in self.applications.values() for pk in application.others}
        provider = Provider(pk=max([*self.providers, *used, self._last_provider]) + 1, **{"credentials": {}, **values})
        self._last_provider = provider.pk
        self.providers[provider.pk] = provider
        self.schedules[provider.schedule] = Schedule(provider.schedule, provider.pk)
        return provider

    def add_application(self, entry: dict) -> Application:
        unknown = set(entry) - {"slug", "name", "others", "hidden"}
        if unknown:
            raise ValueError("unknown keys of an application: " + ", ".join(sorted(unknown)))
        slug = entry["slug"]
        if slug in self.applications:
            raise Conflict("application %s exists" % slug)
        application = Application(
            stable_uuid("application", slug),
            slug,
            entry.get("name") or slug.replace("-", " ").title(),
            others={int(pk): name for pk, name in (entry.get("others") or {}).items()},
            hidden=bool(entry.get("hidden")),
        )
        self.applications[slug] = application
        return application

    def set_backchannel(self, application: Application, wanted: list[int]) -> None:
        """Let exactly these be its backchannel providers: each provider is one application's at most."""
        for provider in self.providers.values():
            if provider.main_application:
                continue
            if provider.pk in wanted:
                provider.application = application.slug
            elif provider.application == application.slug:
                provider.application = None
        known = {pk: name for item in self.applications.values() for pk, name in item.others.items()}
        for item in self.applications.values():
            if item is not application:
                item.others = {pk: name for pk, name in item.others.items() if pk not in wanted}
        application.others = {pk: known[pk] for pk in wanted if pk in known}

    def rename_application(self, application: Application, slug: str) -> None:
        del self.applications[application.slug]
        for provider in self.providers.values():
            if provider.application == application.slug:
                provider.application = slug
        application.slug = slug
        self.applications[slug] = application

    def add_connection(self, kind: str, provider: Any, obj: Any, google_id: str, attributes: Any) -> Connection:
        if self.row(kind, provider, obj, google_id) is not None:
            raise Conflict("the connection exists")
        self._serial += 1
        row = Connection(
            stable_uuid("connection", self._serial, kind, provider, obj, google_id),
            kind,
            provider,
            obj,
            google_id,
            attributes,
        )
        self.connections[row.id] = row
        self._rows.setdefault((kind, provider, obj), []).append(row)
        return row

    def add_token(self, entry: dict) -> Token:
        username = entry["username"]
        try:
            user = self.find_user(username)
        except KeyError:
            user = self.add_user({"username": username, "name": username})
        self._serial += 1
        key = hashlib.sha256(("token %s %s" % (username, self._serial)).encode()).hexdigest()[:60]
        token = Token(
            key,
            user.pk,
            frozenset(entry.get("permissions") or ()),
            {int(pk): frozenset(names) for pk, names in (entry.get("object_permissions") or {}).items()},
            bool(entry.get("expired")),
        )
        self.tokens[key] = token
        return token

    # -- finding ------------------------------------------------------------------------------------------------

    def find_user(self, key: int | str) -> User:
        """A user by primary key, user name or uuid."""
        known = self.users.get(self._usernames.get(str(key), 0))
        if known is not None and known.username == str(key):
            return known
        for user in self.users.values():
            if str(key) in (str(user.pk), user.username, user.uuid):
                return user
        raise KeyError("no user %s" % key)

    def find_group(self, key: str) -> Group:
        for group in self.groups.values():
            if str(key) in (group.pk, group.name):
                return group
        raise KeyError("no group %s" % key)

    def find_mapping(self, key: str) -> Mapping:
        for mapping in self.mappings.values():
            if str(key) in (mapping.pk, mapping.name):
                return mapping
        raise KeyError("no mapping %s" % key)

    def assigned(self, provider: Provider, model: str) -> list[str]:
        return provider.property_mappings if model == "user" else provider.property_mappings_group

    def mappings_of(self, provider: Provider, model: str) -> list[Mapping]:
        return sorted((self.mappings[pk] for pk in self.assigned(provider, model)), key=lambda mapping: mapping.name)

    def row(self, kind: str, provider: int, obj: Any, google_id: str) -> Connection | None:
        for row in self.rows(kind, provider, obj):
            if row.google_id == google_id:
                return row
        return None

    def rows(self, kind: str, provider: int | None = None, obj: Any | None = None) -> list[Connection]:
        """Connections in the order in which they came into being."""
        if provider is not None and obj is not None:
            return list(self._rows.get((kind, provider, obj), ()))
        return [
            row
            for row in self.connections.values()
            if row.kind == kind and provider in (None, row.provider) and obj in (None, row.obj)
        ]

    def groups_of(self, user: User) -> list[Group]:
        return [group for group in self.groups.values() if user.pk in group.users]

    def lineages_of(self, user: User) -> list[Group]:
        """A user's groups and their ancestors, one entry for each way that leads to a group."""
        found = []
        level = self.groups_of(user)
        for _depth in range(20):
            found += level
            level = [self.groups[pk] for group in level for pk in group.parents]
        return found

    def is_superuser(self, user: User) -> bool:
        return user.is_superuser or any(group.is_superuser for group in self.lineages_of(user))

    def users_in_scope(self, provider: Provider) -> list[User]:
        """Whom this provider syncs: never the anonymous user, and only direct members of its filter group."""
        users = [user for user in self.users.values() if user.pk != 1]
        if provider.exclude_users_service_account:
            users = [user for user in users if user.type not in SERVICE_ACCOUNTS]
        if provider.filter_group is not None:
            members = self.groups[provider.filter_group].users if provider.filter_group in self.groups else []
            users = [user for user in users if user.pk in members]
        return sorted(users, key=lambda user: user.pk)

    # -- removing -----------------------------------------------------------------------------------------------

    def remove_user(self, user: User) -> None:
        del self.users[user.pk]
        self._usernames.pop(user.username, None)
        for group in self.groups.values():
            group.users = [pk for pk in group.users if pk != user.pk]
        self._forget("user", user.pk)
        self.tokens = {key: token for key, token in self.tokens.items() if token.user != user.pk}

    def remove_group(self, group: Group) -> None:
        del self.groups[group.pk]
        for other in self.groups.values():
            other.parents = [pk for pk in other.parents if pk != group.pk]
        self._forget("group", group.pk)

    def remove_mapping(self, mapping: Mapping) -> None:
        del self.mappings[mapping.pk]
        for provider in self.providers.values():
            for field_name in ("property_mappings", "property_mappings_group"):
                setattr(provider, field_name, [pk for pk in getattr(provider, field_name) if pk != mapping.pk])

    def remove_provider(self, provider: Provider) -> None:
        del self.providers[provider.pk]
        self.schedules.pop(provider.schedule, None)
        for kind in ("user", "group"):
            for row in self.rows(kind, provider.pk):
                self.remove_connection(row)

    def remove_application(self, application: Application) -> None:
        del self.applications[application.slug]
        for provider in self.providers.values():
            if provider.application == application.slug:
                provider.application = None

    def remove_connection(self, row: Connection) -> None:
        if self.connections.pop(row.id, None) is not None:
            self._rows[row.kind, row.provider, row.obj].remove(row)

    def _forget(self, kind: str, obj: Any) -> None:
        for row in self.rows(kind, obj=obj):
            self.remove_connection(row)
