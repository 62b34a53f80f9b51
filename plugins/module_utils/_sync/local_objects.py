# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""What an expression sees when it is evaluated here: users and groups as authentik's database would give them.

They are made of what authentik's API lists. Whatever the list does not tell (a password hash, the order in which a
database returns rows) is not guessed: it ends the evaluation, and authentik is asked instead.

Source of the behaviour: authentik's models (``User.all_groups``, ``User.group_attributes``, ``Group.is_member``) of the
versions 2024.8 to 2026.2, and Django's documentation of query sets.
"""

from __future__ import annotations

import datetime
import re
import typing as t
import uuid

from .desired import merge

Json = t.Dict[str, t.Any]
# Stands for a user's password hash, which the API does not show. No hash that Google takes has this form.
KEPT_PASSWORD = "!kept by authentik"
# The orders in which rows are tried that a database may return in any order: no row has the same place in all of them.
VARIANTS = 3
# As deep as authentik follows a group's parents.
MOST_ANCESTORS = 20


class Unsupported(BaseException):
    """The expression wants what cannot be known here. Not an Exception, so that no expression takes it for its own."""


class DoesNotExist(Exception):
    """Django's, of ``get`` without a match."""


class MultipleObjectsReturned(Exception):
    """Django's, of ``get`` with more than one."""


for _class in (DoesNotExist, MultipleObjectsReturned):
    _class.__module__ = "authentik.core.models"


class Run:
    """One evaluation.

    Attributes:
        version: (year, month) of the server's version, or None where it is not known.
        groups: the groups that authentik lists, by primary key.
        variant: int, which order unordered rows are given in.
        uncertain: bool, whether an order was given that authentik may not have.
        trouble: str or None, why the evaluation does not count.
    """

    def __init__(self, groups: t.Mapping[str, Json], version: t.Optional[t.Tuple[int, int]], variant: int = 0) -> None:
        self.groups = groups
        self.version = version
        self.variant = variant
        self.uncertain = False
        self.trouble: t.Optional[str] = None

    def refuse(self, why: str) -> t.NoReturn:
        """End the evaluation. What the expression makes of it (``finally: return``) does not matter: it is noted."""
        if self.trouble is None:
            self.trouble = why
        raise Unsupported(why)

    def arrange(self, items: t.List[t.Any]) -> t.List[t.Any]:
        """Rows without an order, in the order of this variant."""
        if len(items) < 2:
            return list(items)
        self.uncertain = True
        if self.variant == 1:
            return items[::-1]
        return items[1:] + items[:1] if self.variant == 2 else list(items)

    def by_text(self, items: t.List[t.Any], key: t.Callable[[t.Any], str]) -> t.List[t.Any]:
        """Rows in the order of a text: certain where a database's collation makes no difference."""
        plain = sorted(items, key=key)
        worded = sorted(items, key=lambda item: _collation(key(item)))
        if [id(item) for item in plain] == [id(item) for item in worded]:
            return plain
        self.uncertain = True
        return (plain, worded, plain[::-1])[self.variant]


def _collation(text: str) -> t.Tuple[str, str]:
    """How the collations of natural languages sort: letters and digits first, whatever their case."""
    return "".join(char for char in text.casefold() if char.isalnum()), text


class Facade:
    """An object that shows what it has methods ``see_…`` for, and nothing else."""

    __slots__ = ("run",)
    what = "object"

    def __init__(self, run: Run) -> None:
        self.run = run

    def look(self, name: str) -> t.Any:
        """An attribute, as the expression reads it."""
        method = getattr(type(self), "see_" + name, None)
        if method is None:
            self.run.refuse("it uses %s.%s" % (self.what, name))
        return method(self)

    def __repr__(self) -> str:
        self.run.refuse("it uses the repr of a %s" % self.what)


class Row(Facade):
    """A user or a group.

    Args:
        data: as authentik lists it.
    """

    __slots__ = ("data", "_attributes")
    PLAIN: t.Tuple[str, ...] = ()

    def __init__(self, run: Run, data: Json) -> None:
        super().__init__(run)
        self.data = data
        self._attributes: t.Optional[Json] = None

    def look(self, name: str) -> t.Any:
        return self.listed(name) if name in self.PLAIN else super().look(name)

    def listed(self, name: str) -> t.Any:
        """A field of authentik's list."""
        if name not in self.data:
            self.run.refuse("authentik's list does not show %s.%s" % (self.what, name))
        return self.data[name]

    def see_attributes(self) -> Json:
        # A copy, since an expression may change it, and the same one whenever it looks.
        if self._attributes is None:
            self._attributes = _copied(self.listed("attributes"))
        return self._attributes

    def __eq__(self, other: t.Any) -> bool:
        return type(other) is type(self) and str(other.data["pk"]) == str(self.data["pk"])

    def __hash__(self) -> int:
        return hash(str(self.data["pk"]))


class Group(Row):
    """authentik's Group."""

    __slots__ = ()
    what = "group"
    PLAIN = ("name", "num_pk", "is_superuser")

    def __str__(self) -> str:
        return "Group %s" % self.listed("name")

    def see_pk(self) -> uuid.UUID:
        return uuid.UUID(str(self.data["pk"]))

    see_group_uuid = see_pk

    def see_users(self) -> Records:
        shown = self.data.get("users_obj")
        rows = shown if isinstance(shown, list) else [{"pk": pk} for pk in self.listed("users")]
        return Records(self.run, User, [User(self.run, row) for row in rows], manager=True)

    def see_parent(self) -> t.Optional[Group]:
        pk = self.listed("parent")
        return None if pk is None else group_of(self.run, pk)

    def see_parents(self) -> Records:
        return Records(self.run, Group, [group_of(self.run, pk) for pk in self.listed("parents")], manager=True)

    def see_is_member(self) -> t.Callable[[t.Any], bool]:
        return lambda user: any(group == self for group in _all_groups(self.run, user)[0])


class User(Row):
    """authentik's User."""

    __slots__ = ()
    what = "user"
    PLAIN = ("username", "name", "email", "is_active", "type", "path", "uid", "is_superuser")

    def __str__(self) -> str:
        return str(self.listed("username"))

    def see_pk(self) -> int:
        return int(self.data["pk"])

    see_id = see_pk

    def see_uuid(self) -> uuid.UUID:
        return uuid.UUID(str(self.listed("uuid")))

    def see_is_staff(self) -> bool:
        return bool(self.listed("is_superuser"))

    def see_is_authenticated(self) -> bool:
        return True

    def see_is_anonymous(self) -> bool:
        return False

    def see_password(self) -> Secret:
        return Secret(self.run)

    def see_date_joined(self) -> t.Any:
        return self._time("date_joined")

    def see_last_login(self) -> t.Any:
        return self._time("last_login")

    def see_last_updated(self) -> t.Any:
        return self._time("last_updated")

    def see_password_change_date(self) -> t.Any:
        return self._time("password_change_date")

    def see_ak_groups(self) -> Records:
        return Records(self.run, Group, _own_groups(self.run, self), manager=True)

    def see_groups(self) -> Records:
        # Before 2026.2 this is Django's own relation, which has nothing to do with authentik's groups.
        if self.run.version is None or self.run.version < (2026, 2):
            self.run.refuse(
                "it uses user.groups, which means something else before authentik 2026.2; use user.ak_groups"
            )
        return self.see_ak_groups()

    def see_all_groups(self) -> t.Callable[[], Records]:
        def all_groups() -> Records:
            found, repeated = _all_groups(self.run, self)
            return Records(self.run, Group, found, repeated=repeated)

        return all_groups

    def see_group_attributes(self) -> t.Callable[..., Json]:
        def group_attributes(request: t.Any = None) -> Json:
            if request is not None and not isinstance(request, Request):
                self.run.refuse("it gives group_attributes() something else than its request")
            found, repeated = _all_groups(self.run, self)
            merged: Json = {}
            for group in self.run.by_text(found, lambda item: item.listed("name")):
                if repeated and _has_lists(group.listed("attributes")):
                    self.run.refuse("authentik lists a group more than once there, and its attributes hold lists")
                merge(merged, _copied(group.listed("attributes")))
            merge(merged, _copied(self.listed("attributes")))
            return merged

        return group_attributes

    def see_locale(self) -> t.Callable[..., t.Any]:
        def locale(request: t.Any = None) -> t.Any:
            if request is not None and not isinstance(request, Request):
                self.run.refuse("it gives locale() something else than its request")
            try:
                return self.see_attributes().get("settings", {}).get("locale", "")
            except Exception:  # noqa: BLE001 - authentik's own method takes whatever happens there for no locale
                if request is not None:
                    self.run.refuse("it uses the brand's locale")
                return ""

        return locale

    def _time(self, name: str) -> t.Optional[datetime.datetime]:
        text = self.listed(name)
        if text is None:
            return None
        try:
            return datetime.datetime.fromisoformat(re.sub(r"Z$", "+00:00", str(text)))
        except ValueError:
            self.run.refuse("authentik shows user.%s in a form that is not known here" % name)


class Request(Facade):
    """The ``request`` of an expression: authentik's PolicyRequest."""

    __slots__ = ("_user",)
    what = "request"

    def __init__(self, run: Run, user: t.Optional[User]) -> None:
        super().__init__(run)
        self._user = user

    def see_user(self) -> User:
        if self._user is None:
            self.run.refuse("it uses request.user, and there is none for a group")
        return self._user


class Logger(Facade):
    """``ak_logger``: what is written here would be of no use to anybody."""

    __slots__ = ()
    what = "ak_logger"

    def see_info(self) -> t.Callable[..., None]:
        return lambda *_texts, **_values: None

    see_debug = see_warning = see_warn = see_error = see_info

    def see_bind(self) -> t.Callable[..., Logger]:
        return lambda **_values: self


class Secret(Facade):
    """A user's password hash, which is not known: it may be passed on, and nothing else."""

    __slots__ = ()
    what = "user.password"

    def look(self, name: str) -> t.Any:
        self._used()

    def _used(self, *_args: t.Any) -> t.NoReturn:
        self.run.refuse("it uses the value of user.password, which authentik's API does not show")

    __str__ = __repr__ = __format__ = __bool__ = __len__ = __hash__ = __iter__ = __contains__ = _used  # type: ignore
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = __call__ = _used  # type: ignore
    __add__ = __radd__ = __mul__ = __rmul__ = __mod__ = __rmod__ = __or__ = __ror__ = __int__ = _used  # type: ignore


class Records(Facade):
    """A relation's manager, or a query set.

    Args:
        kind: Group or User, which the rows are.
        rows: the rows.
        order: a field, with ``-`` in front for descending; None for no order.
        shape: None for rows; ("flat", field), ("tuples", fields) or ("dicts", fields) for values.
        manager: bool, whether it is only the start of a query.
        repeated: bool, whether the database gives a row more than once.
    """

    __slots__ = ("kind", "rows", "order", "shape", "manager", "repeated")
    FIELDS = {
        "group": {"name": "text", "is_superuser": "bool", "pk": "uuid", "group_uuid": "uuid"},
        "user": {
            "username": "text",
            "name": "text",
            "email": "text",
            "type": "text",
            "path": "text",
            "is_active": "bool",
            "pk": "int",
            "id": "int",
            "uuid": "uuid",
        },
    }

    def __init__(
        self,
        run: Run,
        kind: t.Type[Row],
        rows: t.List[t.Any],
        order: t.Optional[str] = None,
        shape: t.Optional[t.Tuple[str, t.Tuple[str, ...]]] = None,
        manager: bool = False,
        repeated: bool = False,
    ) -> None:
        super().__init__(run)
        self.kind, self.rows, self.order, self.shape = kind, rows, order, shape
        self.manager, self.repeated = manager, repeated

    @property
    def what(self) -> str:  # type: ignore[override]
        return "a query of %ss:" % self.kind.what

    # -- what an expression calls ---------------------------------------------------------------------------------

    def see_all(self) -> t.Callable[[], Records]:
        return lambda: self._with()

    def see_filter(self) -> t.Callable[..., Records]:
        return lambda **wanted: self._with(rows=self._matching(wanted))

    def see_exclude(self) -> t.Callable[..., Records]:
        def exclude(**unwanted: t.Any) -> Records:
            left = {id(row) for row in self._matching(unwanted)} if unwanted else set()
            return self._with(rows=[row for row in self.rows if id(row) not in left])

        return exclude

    def see_get(self) -> t.Callable[..., t.Any]:
        def get(**wanted: t.Any) -> t.Any:
            found = self._matching(wanted)
            self._length()
            if not found:
                raise DoesNotExist("%s matching query does not exist." % self.kind.__name__)
            if len(found) > 1:
                raise MultipleObjectsReturned("get() returned more than one %s" % self.kind.__name__)
            return self._shaped(found)[0]

        return get

    def see_exists(self) -> t.Callable[[], bool]:
        return lambda: bool(self.rows)

    def see_count(self) -> t.Callable[[], int]:
        return self._length

    def see_first(self) -> t.Callable[[], t.Any]:
        # Django sorts what has no order by the primary key, for first() and last() alone.
        return lambda: next(iter(self._shaped(self._sorted(self.order or "pk")[:1])), None)

    def see_last(self) -> t.Callable[[], t.Any]:
        return lambda: next(iter(self._shaped(self._sorted(self.order or "pk")[-1:])), None)

    def see_order_by(self) -> t.Callable[..., Records]:
        def order_by(*fields: t.Any) -> Records:
            if len(fields) != 1 or not isinstance(fields[0], str):
                self.run.refuse("it orders by more than one field")
            self._type_of(fields[0].lstrip("-"))
            return self._with(order=fields[0])

        return order_by

    def see_values_list(self) -> t.Callable[..., Records]:
        def values_list(*fields: t.Any, flat: bool = False) -> Records:
            if not fields or (flat and len(fields) != 1):
                self.run.refuse("it uses values_list() in a form that is not known here")
            return self._with(shape=("flat" if flat else "tuples", tuple(self._value_field(item) for item in fields)))

        return values_list

    def see_values(self) -> t.Callable[..., Records]:
        def values(*fields: t.Any) -> Records:
            if not fields:
                self.run.refuse("it uses values() of all fields")
            return self._with(shape=("dicts", tuple(self._value_field(item) for item in fields)))

        return values

    def see_distinct(self) -> t.Callable[[], Records]:
        def distinct() -> Records:
            if self.repeated or (self.shape and self.shape[1] not in (("name",), ("pk",))):
                self.run.refuse("it uses distinct()")
            return self._with()

        return distinct

    # -- what Python does with it ---------------------------------------------------------------------------------

    def __iter__(self) -> t.Iterator[t.Any]:
        self._query("is iterated")
        self._length()
        return iter(self._shaped(self._sorted(self.order)))

    def __len__(self) -> int:
        self._query("has a length")
        return self._length()

    def __bool__(self) -> bool:
        return self.manager or bool(self.rows)

    def __contains__(self, item: t.Any) -> bool:
        self._query("is searched with in")
        return item in self._shaped(self.rows)

    def item(self, index: t.Any) -> t.Any:
        """An item or a slice, as ``[…]`` reads it."""
        self._query("is read by index")
        self._length()
        rows = self._sorted(self.order)
        if isinstance(index, int) and index >= 0:
            return self._shaped([rows[index]])[0]
        if isinstance(index, slice) and not index.step and (index.start or 0) >= 0 and (index.stop or 0) >= 0:
            return self._shaped(rows[index])
        return self.run.refuse("it reads a query by an index that is not known here")

    def _unsupported(self, *_args: t.Any) -> t.NoReturn:
        self.run.refuse("it combines or compares queries")

    __or__ = __ror__ = __and__ = __rand__ = __xor__ = __add__ = __radd__ = __eq__ = __ne__ = _unsupported  # type: ignore
    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        self.run.refuse("it makes a text of a query")

    # -- how --------------------------------------------------------------------------------------------------------

    def _with(self, **changed: t.Any) -> Records:
        values: Json = {"rows": self.rows, "order": self.order, "shape": self.shape, "repeated": self.repeated}
        values.update(changed)
        return Records(self.run, self.kind, **values)

    def _query(self, done: str) -> None:
        if self.manager:
            self.run.refuse("a relation %s without all()" % done)

    def _length(self) -> int:
        if self.repeated:
            self.run.refuse("authentik gives a group more than once there")
        return len(self.rows)

    def _type_of(self, field: str) -> str:
        kind = self.FIELDS[self.kind.what].get(field)
        if kind is None:
            self.run.refuse("it queries %ss by '%s'" % (self.kind.what, field))
        return kind

    def _value_field(self, field: t.Any) -> str:
        if field != "attributes":
            self._type_of(str(field))
        return str(field)

    def _shaped(self, rows: t.List[t.Any]) -> t.List[t.Any]:
        if self.shape is None:
            return list(rows)
        form, fields = self.shape
        found = [tuple(row.look(field) for field in fields) for row in rows]
        if form == "flat":
            return [values[0] for values in found]
        return [dict(zip(fields, values)) for values in found] if form == "dicts" else found

    def _sorted(self, order: t.Optional[str]) -> t.List[t.Any]:
        if order is None:
            return self.run.arrange(self.rows)
        field = order.lstrip("-")
        if self._type_of(field) == "text":
            rows = self.run.by_text(self.rows, lambda row: row.look(field))
        else:
            rows = sorted(self.rows, key=lambda row: row.look(field))
            if self._type_of(field) == "bool" and len(rows) > 1:
                self.run.refuse("it orders by a field that does not tell all rows apart")
        return rows[::-1] if order.startswith("-") else rows

    def _matching(self, wanted: t.Mapping[str, t.Any]) -> t.List[t.Any]:
        rows = self.rows
        for key, value in wanted.items():
            field, _mark, lookup = key.partition("__")
            test = self._test(self._type_of(field), lookup or "exact", value)
            rows = [row for row in rows if test(row.look(field))]
        return rows

    def _test(self, kind: str, lookup: str, value: t.Any) -> t.Callable[[t.Any], bool]:
        """Whether a field's value matches, as the database would say."""
        if lookup == "in" and type(value) in (list, tuple, set, frozenset):
            tests = [self._test(kind, "exact", item) for item in value]
            return lambda found: any(test(found) for test in tests)
        if lookup == "exact" and kind == "uuid":
            try:
                wanted = value if isinstance(value, uuid.UUID) else uuid.UUID(value)
            except (ValueError, TypeError, AttributeError):
                self.run.refuse("it compares an id with something else")
            return lambda found: found == wanted
        if lookup == "exact" and type(value) is {"text": str, "bool": bool, "int": int}.get(kind):
            return lambda found: found == value
        if kind == "text" and type(value) is str:
            tests_of: t.Dict[str, t.Callable[[str, str], bool]] = {
                "exact": lambda found, part: found == part,
                "contains": lambda found, part: part in found,
                "startswith": lambda found, part: found.startswith(part),
                "endswith": lambda found, part: found.endswith(part),
            }
            if lookup in tests_of:
                return lambda found: tests_of[lookup](found, value)
            if lookup[:1] == "i" and lookup[1:] in tests_of:
                return lambda found: tests_of[lookup[1:]](self._upper(found), self._upper(value, True))
        return self.run.refuse("it queries with '%s' in a way that is not known here" % lookup)

    def _upper(self, text: str, pattern: bool = False) -> str:
        """A text as a database compares it without regard to case, as far as that is the same in every locale."""
        for char in text:
            if not char.isascii() and (pattern or any(form.isascii() for form in char.upper() + char.lower())):
                self.run.refuse(
                    "how a database compares letters outside ASCII without regard to case is not known here"
                )
        # A letter outside ASCII, left as it is, is none of the pattern's, whatever its upper case is.
        return "".join(char.upper() if char.isascii() else char for char in text)


def group_of(run: Run, pk: t.Any) -> Group:
    """A group by its primary key."""
    data = run.groups.get(str(pk))
    if data is None:
        run.refuse("authentik's list of groups does not show group %s" % pk)
    return Group(run, data)


def _own_groups(run: Run, user: t.Any) -> t.List[Group]:
    if not isinstance(user, User):
        run.refuse("it asks for the groups of something else than a user")
    return [group_of(run, pk) for pk in user.listed("groups")]


def _all_groups(run: Run, user: t.Any) -> t.Tuple[t.List[Group], bool]:
    """A user's groups with all their ancestors, and whether the database gives one of them more than once.

    Up to 2025.10 a group has one parent, and authentik gives a group once for each way that leads to it.
    """
    found: t.Dict[str, Group] = {}
    repeated = False
    for own in _own_groups(run, user):
        level, depth = [own], 0
        while level:
            above: t.List[Group] = []
            for group in level:
                single = "parents" not in group.data
                key = str(group.data["pk"])
                repeated = repeated or (single and key in found)
                if key in found and not single:
                    continue
                found.setdefault(key, group)
                parents = [group.listed("parent")] if single else group.listed("parents")
                above.extend(group_of(run, pk) for pk in parents if pk is not None)
            level, depth = above, depth + 1
            if depth >= MOST_ANCESTORS and level:
                run.refuse("its groups have more than %d ancestors one above the other" % MOST_ANCESTORS)
    return list(found.values()), repeated


def _copied(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _has_lists(value: t.Any) -> bool:
    return isinstance(value, list) or (isinstance(value, dict) and any(_has_lists(item) for item in value.values()))


def is_group_member(run: Run) -> t.Callable[..., bool]:
    """``ak_is_group_member(user, **filters)``."""

    def ak_is_group_member(user: t.Any, **filters: t.Any) -> bool:
        found, repeated = _all_groups(run, user)
        return bool(Records(run, Group, found, repeated=repeated)._matching(filters))

    return ak_is_group_member
