# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The users and groups that expressions see, with as much of Django's query sets as mappings use.

A database returns rows in an order of its own unless it is told one: here by a digest of their keys, so that nobody can
rely on the order in which the API lists them.
"""

from __future__ import annotations

import copy
import hashlib
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from tests.sandbox.authentik import state as database
from tests.sandbox.authentik.releases import Release

LOOKUPS: dict[str, Callable[[Any, Any], bool]] = {
    "exact": lambda found, wanted: found == wanted,
    "iexact": lambda found, wanted: str(found).lower() == str(wanted).lower(),
    "in": lambda found, wanted: found in list(wanted),
    "contains": lambda found, wanted: str(wanted) in str(found),
    "icontains": lambda found, wanted: str(wanted).lower() in str(found).lower(),
    "startswith": lambda found, wanted: str(found).startswith(str(wanted)),
    "istartswith": lambda found, wanted: str(found).lower().startswith(str(wanted).lower()),
    "endswith": lambda found, wanted: str(found).endswith(str(wanted)),
    "iendswith": lambda found, wanted: str(found).lower().endswith(str(wanted).lower()),
    "isnull": lambda found, wanted: (found is None) == wanted,
}


class FieldError(Exception):
    """A query by a field that there is not."""


FieldError.__module__ = "django.core.exceptions"


def text_order(text: str) -> tuple:
    """The order of a database with the collation en_US: letters before case, and signs hardly count."""
    return [char.lower() for char in text if char.isalnum()], [char.isupper() for char in text if char.isalnum()], text


class QuerySet:
    """Rows of one kind, as often as the database gives them."""

    def __init__(self, rows: list, order: tuple[str, ...] = (), shape: Callable | None = None) -> None:
        self._rows, self._order, self._shape = rows, order, shape or (lambda row: row)

    def _like(self, rows: list) -> QuerySet:
        return QuerySet(rows, self._order, self._shape)

    def _ordered(self) -> list:
        rows = sorted(self._rows, key=lambda row: hashlib.sha256(str(row.pk).encode()).digest())
        for field in reversed(self._order):
            rows.sort(key=partial(sort_key, field.lstrip("-")), reverse=field.startswith("-"))
        return rows

    def _shaped(self) -> list:
        return [self._shape(row) for row in self._ordered()]

    def all(self) -> QuerySet:
        return self._like(self._rows)

    def filter(self, **wanted: Any) -> QuerySet:
        return self._like([row for row in self._rows if matches(row, wanted)])

    def exclude(self, **wanted: Any) -> QuerySet:
        return self._like([row for row in self._rows if not matches(row, wanted)])

    def order_by(self, *fields: str) -> QuerySet:
        return QuerySet(self._rows, fields, self._shape)

    def values_list(self, *fields: str, flat: bool = False) -> QuerySet:
        if flat:
            return QuerySet(self._rows, self._order, lambda row: getattr(row, fields[0]))
        return QuerySet(self._rows, self._order, lambda row: tuple(getattr(row, field) for field in fields))

    def values(self, *fields: str) -> QuerySet:
        return QuerySet(self._rows, self._order, lambda row: {field: getattr(row, field) for field in fields})

    def distinct(self) -> QuerySet:
        return self._like(list({row.pk: row for row in self._rows}.values()))

    def exists(self) -> bool:
        return bool(self._rows)

    def count(self) -> int:
        return len(self._rows)

    def first(self) -> Any:
        ordered = self if self._order else self.order_by("pk")
        return next(iter(ordered._shaped()), None)

    def last(self) -> Any:
        ordered = self if self._order else self.order_by("pk")
        return next(iter(reversed(ordered._shaped())), None)

    def get(self, **wanted: Any) -> Any:
        found = self.filter(**wanted)
        if found.count() == 1:
            return found._shaped()[0]
        if found.exists():
            raise database_error("MultipleObjectsReturned")("get() returned more than one row")
        raise database_error("DoesNotExist")("matching query does not exist.")

    def __iter__(self) -> Iterator:
        return iter(self._shaped())

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, int) and index < 0:
            raise ValueError("Negative indexing is not supported.")
        return self._shaped()[index]


class Manager:
    """What a relation is before it is asked for anything: no list."""

    def __init__(self, rows: Callable[[], list]) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        return getattr(QuerySet(self._rows()), name)


def database_error(name: str) -> type[Exception]:
    return type(name, (Exception,), {"__module__": "authentik.core.models"})


def sort_key(field: str, row: Any) -> Any:
    value = getattr(row, field)
    return text_order(value) if isinstance(value, str) else value


def matches(row: Any, wanted: dict) -> bool:
    for key, value in wanted.items():
        field, _, lookup = key.partition("__")
        if field not in row.COLUMNS:
            raise FieldError("Cannot resolve keyword '%s' into field." % field)
        found = getattr(row, field)
        if field == "attributes":
            found, lookup = (found or {}).get(lookup), "exact"
        if isinstance(found, uuid.UUID) and isinstance(value, str):
            value = uuid.UUID(value)
        if not LOOKUPS[lookup or "exact"](found, value):
            return False
    return True


class Record:
    """A row: the fields of the sandbox's own record, and what subclasses add."""

    COLUMNS: tuple[str, ...] = ()

    def __init__(self, world: World, row: Any) -> None:
        self._world, self._row = world, row
        self.attributes = copy.deepcopy(row.attributes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self.COLUMNS:
            raise AttributeError("'%s' object has no attribute '%s'" % (type(self).__name__, name))
        return getattr(self._row, name)

    def __str__(self) -> str:
        return str(self._row)

    def __eq__(self, other: Any) -> bool:
        return type(other) is type(self) and other.pk == self.pk

    def __hash__(self) -> int:
        return hash(self.pk)


class User(Record):
    COLUMNS = (
        "username",
        "name",
        "email",
        "is_active",
        "type",
        "path",
        "password",
        "attributes",
        "pk",
        "id",
        "uuid",
        "uid",
    )

    pk = property(lambda self: self._row.pk)
    id = pk
    uuid = property(lambda self: uuid.UUID(self._row.uuid))
    last_login = None
    date_joined = property(lambda self: moment(self._row.created))
    password_change_date = date_joined
    last_updated = property(lambda self: moment(self._row.updated))
    is_superuser = property(lambda self: self._world.state.is_superuser(self._row))
    is_staff = is_superuser
    is_authenticated = True
    is_anonymous = False

    @property
    def ak_groups(self) -> Manager:
        return Manager(lambda: self._world.groups(self._world.state.groups_of(self._row)))

    @property
    def groups(self) -> Manager:
        # Django's own relation in all the releases that were recorded; authentik's is called so from 2026.2 on.
        return Manager(list)

    def all_groups(self) -> QuerySet:
        found = self._world.groups(self._world.state.lineages_of(self._row))
        # A join of all ways that lead to a group in the releases with one parent, and distinct later.
        return QuerySet(found).distinct() if self._world.release.group_parents else QuerySet(found)

    def group_attributes(self, request: Any = None) -> dict:
        result: dict = {}
        for group in self.all_groups().order_by("name"):
            deep_update(result, group.attributes)
        return deep_update(result, self.attributes)

    def locale(self, request: Any = None) -> str:
        try:
            return self.attributes.get("settings", {}).get("locale", "")
        except AttributeError:
            return request.brand.locale if request else ""


class Group(Record):
    COLUMNS = ("name", "is_superuser", "attributes", "pk", "group_uuid", "num_pk")

    pk = property(lambda self: uuid.UUID(self._row.pk))
    group_uuid = pk

    @property
    def users(self) -> Manager:
        return Manager(lambda: [User(self._world, self._world.state.users[pk]) for pk in self._row.users])

    def _above(self) -> list[Group]:
        return self._world.groups([self._world.state.groups[pk] for pk in self._row.parents])

    def __getattr__(self, name: str) -> Any:
        if name == "parents" and self._world.release.group_parents:
            return Manager(self._above)
        if name == "parent" and not self._world.release.group_parents:
            return next(iter(self._above()), None)
        return super().__getattr__(name)

    def is_member(self, user: User) -> bool:
        return user.all_groups().filter(group_uuid=self.pk).exists()


class World:
    """What all objects of one evaluation share. The caller of an evaluation holds the state's lock."""

    def __init__(self, state: database.State, release: Release) -> None:
        self.state = state
        self.release = release

    def groups(self, rows: list[database.Group]) -> list[Group]:
        return [Group(self, row) for row in rows]

    def user(self, row: database.User | None) -> User | None:
        return None if row is None else User(self, row)

    def group(self, row: database.Group | None) -> Group | None:
        return None if row is None else Group(self, row)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def deep_update(into: dict, other: dict) -> dict:
    for key, value in other.items():
        mine = into.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            into[key] = deep_update(dict(mine), value)
        elif isinstance(mine, list) and isinstance(value, list):
            into[key] = [*mine, *value]
        else:
            into[key] = copy.deepcopy(value)
    return into
