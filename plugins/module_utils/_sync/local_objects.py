# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""What an expression sees when it is evaluated here: users and groups as authentik's database would give them.

They are made of what authentik's API lists. Whatever the list does not tell (a password hash, the order in which a
database returns rows) is not guessed: it ends the evaluation, and authentik is asked instead.

Source of the behaviour: authentik's models (``User.all_groups``, ``User.group_attributes``, ``Group.is_member``) of the
versions 2024.8 to 2026.2.
"""

from __future__ import annotations

import datetime
import re
import typing as t
import uuid

from .desired import merge
from .local_queries import Facade, Records, Run

Json = t.Dict[str, t.Any]
# Stands for a user's password hash, which the API does not show. No hash that Google takes has this form.
KEPT_PASSWORD = "!kept by authentik"
# As deep as authentik follows a group's parents.
MOST_ANCESTORS = 20


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

    __str__ = __repr__ = __format__ = __bool__ = __len__ = __hash__ = __iter__ = __contains__ = _used
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = __call__ = _used
    __add__ = __radd__ = __mul__ = __rmul__ = __mod__ = __rmod__ = __or__ = __ror__ = __int__ = _used


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
        return bool(Records(run, Group, found, repeated=repeated).matching(filters))

    return ak_is_group_member
