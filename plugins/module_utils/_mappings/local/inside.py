# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an expression finds around it: the objects and functions that authentik gives its mappings, made of plain data.

The interpreter of interpreter.py runs this file's text before any expression, in its own process. That interpreter knows
a part of Python: no inheritance, no generators, no decorators on methods, no ``del``, and of the special methods neither
``__getattr__`` nor ``__len__``, ``__bool__`` or ``__lt__``. CPython runs the same text in the differential tests.

What cannot be known here is refused: the reason is noted in ``_run``, so that no ``except`` of an expression hides it, and
authentik is asked. No name that begins with an underscore can stand in an expression (language.py), and what
stands for a truth value or reads a relation comes here as ``_truth(…)`` and ``_look(…)`` where it matters.
"""

# The interpreter has no inheritance, so that types are compared, and what refuses an evaluation never returns.
# pylint: disable=comparison-with-itself,invalid-hash-returned,invalid-repr-returned,invalid-str-returned
# pylint: disable=unidiomatic-typecheck,use-a-generator,used-before-assignment
from __future__ import annotations

import json
import re
import unicodedata
from datetime import datetime

# The orders in which rows are tried that a database may return in any order: no row has the same place in all of them.
_VARIANTS = 3
# As deep as authentik follows a group's parents.
_MOST_ANCESTORS = 20
# What a result may be: no record of Google's comes near it.
_MOST_NODES = 20000
_MOST_DEPTH = 60
_MOST_CHARS = 500000
# Stands for a user's password hash, which the API does not show. No hash that Google takes has this form.
KEPT_PASSWORD = "!kept by authentik"
# The fields by which rows can be queried, and of which type each is.
_GROUP_FIELDS = {"name": "text", "is_superuser": "bool", "pk": "uuid", "group_uuid": "uuid"}
_USER_FIELDS = {
    "username": "text",
    "name": "text",
    "email": "text",
    "type": "text",
    "path": "text",
    "is_active": "bool",
    "pk": "int",
    "id": "int",
}
# A mapping raises it to leave an object out. Classes cannot be derived here, so that a built-in one stands for it, which
# nothing else raises; language.py refuses expressions that name its base classes.
SkipObject = IsADirectoryError


# What this file names otherwise below.
_builtin_bool = bool
_builtin_filter = filter
_builtin_getattr = getattr
_builtin_hasattr = hasattr
_builtin_isinstance = isinstance
_builtin_len = len
_builtin_round = round


class _Run:
    """One evaluation: what is known of groups and of the server, and why the evaluation does not count."""

    def __init__(self):
        self.groups = {}
        # [year, month] of authentik's version, or None where it is not known.
        self.version = None
        # Which order unordered rows are given in, and whether such an order was given.
        self.variant = 0
        self.uncertain = False
        self.trouble = None


_run = _Run()


def _refuse(why):
    """Note why the evaluation does not count, and end it."""
    if _run.trouble is None:
        _run.trouble = why
    raise RuntimeError(why)


# -- what authentik's objects are made of -----------------------------------------------------------------------------


class _Uuid:
    """A UUID, as far as expressions use one."""

    def __init__(self, text):
        self.hex = text.replace("-", "").lower()
        if re.search(r"^[0-9a-f]{32}$", self.hex) is None or self.hex.endswith("\n"):
            raise ValueError("badly formed hexadecimal UUID string")

    def __str__(self):
        text = self.hex
        return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])

    def __repr__(self):
        return "UUID('%s')" % str(self)

    def __eq__(self, other):
        return type(other) is _Uuid and other.hex == self.hex

    def __hash__(self):
        return hash(self.hex)


def _hidden():
    _refuse("it uses the value of user.password, which authentik's API does not show")


class _Secret:
    """A user's password hash, which is not known: it may be passed on, and nothing else."""

    def __str__(self):
        _hidden()

    def __repr__(self):
        _hidden()

    def __eq__(self, other):
        _hidden()

    def __ne__(self, other):
        _hidden()

    def __iter__(self):
        _hidden()

    def __contains__(self, item):
        _hidden()

    def __getitem__(self, index):
        _hidden()

    def __hash__(self):
        _hidden()


class _Logger:
    """``ak_logger``: what is written here would be of no use to anybody."""

    def info(self, *texts, **values):
        return None

    def debug(self, *texts, **values):
        return None

    def warning(self, *texts, **values):
        return None

    def warn(self, *texts, **values):
        return None

    def error(self, *texts, **values):
        return None

    def bind(self, **values):
        return self


class _Request:
    """The ``request`` of an expression: authentik's PolicyRequest."""

    def __init__(self, user):
        self.user = user


class _User:
    """authentik's User, with those fields of authentik's list that the host sends."""

    def __init__(self, data):
        self._data = data
        self.pk = data["pk"]
        self.id = data["pk"]
        if "username" in data:
            self.username = data["username"]
        if "name" in data:
            self.name = data["name"]
        if "email" in data:
            self.email = data["email"]
        if "is_active" in data:
            self.is_active = data["is_active"]
        if "type" in data:
            self.type = data["type"]
        if "path" in data:
            self.path = data["path"]
        if "uid" in data:
            self.uid = data["uid"]
        if "is_superuser" in data:
            self.is_superuser = data["is_superuser"]
            self.is_staff = data["is_superuser"]
        if "attributes" in data:
            # A copy, since an expression may change it, and the same one whenever it is read.
            self.attributes = json.loads(data["attributes"])
        if "uuid" in data:
            self.uuid = _Uuid(data["uuid"])
        if "date_joined" in data:
            self.date_joined = _time("date_joined", data["date_joined"])
        if "last_login" in data:
            self.last_login = _time("last_login", data["last_login"])
        if "last_updated" in data:
            self.last_updated = _time("last_updated", data["last_updated"])
        if "password_change_date" in data:
            self.password_change_date = _time("password_change_date", data["password_change_date"])
        self.is_authenticated = True
        self.is_anonymous = False

    def __str__(self):
        return self.username

    def __repr__(self):
        _refuse("it uses the repr of a user")

    def __eq__(self, other):
        return type(other) is _User and other.pk == self.pk

    def __hash__(self):
        return hash(str(self.pk))

    def all_groups(self):
        found, repeated = _all_groups(self)
        return _Rows("group", found, None, None, False, repeated)

    def group_attributes(self, request=None):
        if request is not None and type(request) is not _Request:
            _refuse("it gives group_attributes() something else than its request")
        merged = _copied(_merged_attributes(self))
        _merge(merged, self.attributes)
        return merged

    def locale(self, request=None):
        if request is not None and type(request) is not _Request:
            _refuse("it gives locale() something else than its request")
        try:
            return self.attributes.get("settings", {}).get("locale", "")
        except Exception:
            # authentik's own method takes whatever happens there for no locale.
            if request is not None:
                _refuse("it uses the brand's locale")
            return ""


class _Group:
    """authentik's Group, with those fields of authentik's list that the host sends."""

    def __init__(self, data):
        self._data = data
        # One for all evaluations of a page: nothing changes it.
        if "_uuid" not in data:
            data["_uuid"] = _Uuid(data["pk"])
        self.pk = data["_uuid"]
        self.group_uuid = data["_uuid"]
        if "name" in data:
            self.name = data["name"]
        if "num_pk" in data:
            self.num_pk = data["num_pk"]
        if "is_superuser" in data:
            self.is_superuser = data["is_superuser"]

    def __str__(self):
        return "Group %s" % self.name

    def __repr__(self):
        _refuse("it uses the repr of a group")

    def __eq__(self, other):
        return type(other) is _Group and other.pk == self.pk

    def __hash__(self):
        return hash(self.pk)

    def is_member(self, user):
        for data in _all_groups(user)[0]:
            if data["pk"] == self._data["pk"]:
                return True
        return False


def _time(name, text):
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        _refuse("authentik shows user.%s in a form that is not known here" % name)


def _look(ob, name):
    """A relation or a secret, made when it is read."""
    kind = type(ob)
    if kind is _User:
        if name == "password":
            return _Secret()
        if name == "groups" and (_run.version is None or tuple(_run.version) < (2026, 2)):
            # Before 2026.2 this is Django's own relation, which has nothing to do with authentik's groups.
            _refuse("it uses user.groups, which means something else before authentik 2026.2; use user.ak_groups")
        if name == "groups" or name == "ak_groups":
            if "_own_groups" not in ob._data:
                ob._data["_own_groups"] = _own_groups(ob)
            return _Rows("group", ob._data["_own_groups"], None, None, True, False)
    if kind is _Group:
        if name == "attributes":
            # Made when it is first read, since most groups of a query are asked for their names alone.
            if not _builtin_hasattr(ob, name):
                ob.attributes = _copied(_attributes_of(ob._data))
        elif name == "users":
            shown = ob._data.get("users_obj")
            if shown is None:
                shown = [{"pk": pk} for pk in _listed("group", ob._data, "users")]
            return _Rows("user", shown, None, None, True, False)
        elif name == "parents":
            return _Rows("group", [_group(pk) for pk in _listed("group", ob._data, "parents")], None, None, True, False)
        elif name == "parent":
            pk = _listed("group", ob._data, "parent")
            return None if pk is None else _Group(_group(pk))
    return _builtin_getattr(ob, name)


def _listed(kind, data, name):
    """A field of authentik's list."""
    if name not in data:
        _refuse("authentik's list does not show %s.%s" % (kind, name))
    return data[name]


def _group(pk):
    """A group of authentik's list."""
    data = _run.groups.get(str(pk))
    if data is None:
        _refuse("authentik's list of groups does not show group %s" % pk)
    return data


def _own_groups(user):
    if type(user) is not _User:
        _refuse("it asks for the groups of something else than a user")
    return [_group(pk) for pk in _listed("user", user._data, "groups")]


def _all_groups(user):
    """A user's groups with all their ancestors, and whether the database gives one of them more than once.

    Up to 2025.10 a group has one parent, and authentik gives a group once for each way that leads to it.
    """
    if type(user) is _User and "_all_groups" in user._data:
        return user._data["_all_groups"]
    found: dict = {}
    repeated = False
    for own in _own_groups(user):
        level = [own]
        depth = 0
        while level:
            above = []
            for data in level:
                single = "parents" not in data
                known = data["pk"] in found
                repeated = repeated or (single and known)
                if known and not single:
                    continue
                found.setdefault(data["pk"], data)
                for pk in [_listed("group", data, "parent")] if single else data["parents"]:
                    if pk is not None:
                        above.append(_group(pk))
            level = above
            depth += 1
            if depth >= _MOST_ANCESTORS and level:
                _refuse("its groups have more than %d ancestors one above the other" % _MOST_ANCESTORS)
    # The same in each evaluation for this user; the data live as long as their page.
    user._data["_all_groups"] = (list(found.values()), repeated)
    return user._data["_all_groups"]


def _merged_attributes(user):
    """The attributes of all of a user's groups, merged in the order of their names: not to be given to an expression."""
    if "_merged" in user._data:
        return user._data["_merged"]
    found, repeated = _all_groups(user)
    merged: dict = {}
    certain = not _run.uncertain
    for data in _by_text("group", found, "name"):
        attributes = _attributes_of(data)
        if repeated and _has_lists(attributes):
            _refuse("authentik lists a group more than once there, and its attributes hold lists")
        _merge(merged, attributes)
    if certain and not _run.uncertain:
        # The same in each evaluation for this user.
        user._data["_merged"] = merged
    return merged


def _attributes_of(data):
    """The attributes of a group of authentik's list: not to be changed, and not to be given to an expression."""
    if "_attributes" not in data:
        data["_attributes"] = json.loads(_listed("group", data, "attributes"))
    return data["_attributes"]


def _copied(value):
    kind = type(value)
    if kind is dict:
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if kind is list else value


def _merge(into, other):
    """Merge as authentik does: objects key by key, lists one after the other, everything else replaced."""
    for key, value in other.items():
        kind = type(value)
        if kind is dict and type(into.get(key)) is dict:
            _merge(into[key], value)
        elif kind is list and type(into.get(key)) is list:
            into[key] = into[key] + _copied(value)
        else:
            into[key] = _copied(value)


def _has_lists(value):
    if type(value) is dict:
        return any(_has_lists(item) for item in value.values())
    return type(value) is list


# -- queries ----------------------------------------------------------------------------------------------------------


class _Rows:
    """A relation's manager, or a query set.

    kind is "group" or "user"; rows are data of authentik's list; order is a field, with ``-`` in front for descending;
    shape is None for rows, or ("flat" or "tuples" or "dicts", fields) for values; manager says whether it is only the
    start of a query, and repeated whether the database gives a row more than once.
    """

    def __init__(self, kind, rows, order, shape, manager, repeated):
        self._kind = kind
        self._rows = rows
        self._order = order
        self._shape = shape
        self._manager = manager
        self._repeated = repeated

    def all(self):
        return self._with(self._rows, self._order, self._shape)

    def filter(self, **wanted):
        return self._with(_matching(self._kind, self._rows, wanted), self._order, self._shape)

    def exclude(self, **unwanted):
        if not unwanted:
            return self._with(self._rows, self._order, self._shape)
        left = [row["pk"] for row in _matching(self._kind, self._rows, unwanted)]
        return self._with([row for row in self._rows if row["pk"] not in left], self._order, self._shape)

    def get(self, **wanted):
        found = _matching(self._kind, self._rows, wanted)
        self._once()
        if not found:
            raise LookupError("%s matching query does not exist." % self._kind.capitalize())
        if _builtin_len(found) > 1:
            raise LookupError("get() returned more than one %s" % self._kind.capitalize())
        return self._shaped(found)[0]

    def exists(self):
        return _builtin_len(self._rows) > 0

    def count(self):
        self._once()
        return _builtin_len(self._rows)

    def first(self):
        # Django sorts what has no order by the primary key, for first() and last() alone.
        found = self._sorted(self._order or "pk")
        return self._shaped(found[:1])[0] if found else None

    def last(self):
        found = self._sorted(self._order or "pk")
        return self._shaped(found[-1:])[0] if found else None

    def order_by(self, *fields):
        if _builtin_len(fields) != 1 or type(fields[0]) is not str:
            _refuse("it orders by more than one field")
        _type_of(self._kind, fields[0].lstrip("-"))
        return self._with(self._rows, fields[0], self._shape)

    def values_list(self, *fields, flat=False):
        if not fields or (flat and _builtin_len(fields) != 1):
            _refuse("it uses values_list() in a form that is not known here")
        return self._with(self._rows, self._order, ("flat" if flat else "tuples", self._fields(fields)))

    def values(self, *fields):
        if not fields:
            _refuse("it uses values() of all fields")
        return self._with(self._rows, self._order, ("dicts", self._fields(fields)))

    def distinct(self):
        if self._repeated or (self._shape is not None and self._shape[1] not in (["name"], ["pk"])):
            _refuse("it uses distinct()")
        return self._with(self._rows, self._order, self._shape)

    def __iter__(self):
        self._query("is iterated")
        self._once()
        return iter(self._shaped(self._sorted(self._order)))

    def __contains__(self, item):
        self._query("is searched with in")
        return item in self._shaped(self._rows)

    def __getitem__(self, index):
        self._query("is read by index")
        self._once()
        rows = self._sorted(self._order)
        if type(index) is int and index >= 0:
            return self._shaped([rows[index]])[0]
        if type(index) is slice and not index.step and (index.start or 0) >= 0 and (index.stop or 0) >= 0:
            return self._shaped(rows[index])
        _refuse("it reads a query by an index that is not known here")

    def __eq__(self, other):
        _refuse("it combines or compares queries")

    def __ne__(self, other):
        _refuse("it combines or compares queries")

    def __or__(self, other):
        _refuse("it combines or compares queries")

    def __and__(self, other):
        _refuse("it combines or compares queries")

    def __str__(self):
        _refuse("it makes a text of a query")

    def __repr__(self):
        _refuse("it makes a text of a query")

    def _with(self, rows, order, shape):
        return _Rows(self._kind, rows, order, shape, False, self._repeated)

    def _query(self, done):
        if self._manager:
            _refuse("a relation %s without all()" % done)

    def _once(self):
        if self._repeated:
            _refuse("authentik gives a group more than once there")

    def _fields(self, fields):
        for field in fields:
            if field != "attributes":
                _type_of(self._kind, field)
        return list(fields)

    def _shaped(self, rows):
        if self._shape is None:
            if self._kind == "group":
                return [_Group(row) for row in rows]
            for row in rows:
                if _builtin_len(row) == 1:
                    # Of a group's members authentik's list may show no more than the primary keys.
                    _listed("user", row, "username")
            return [_User(row) for row in rows]
        form, fields = self._shape
        found = [[_value_of(self._kind, row, field) for field in fields] for row in rows]
        if form == "flat":
            return [values[0] for values in found]
        if form == "dicts":
            return [dict(zip(fields, values)) for values in found]
        return [tuple(values) for values in found]

    def _sorted(self, order):
        if order is None:
            return _arranged(self._rows)
        field = order.lstrip("-")
        if _type_of(self._kind, field) == "text":
            rows = _by_text(self._kind, self._rows, field)
        elif _type_of(self._kind, field) == "bool":
            if _builtin_len(self._rows) > 1:
                _refuse("it orders by a field that does not tell all rows apart")
            rows = list(self._rows)
        elif _type_of(self._kind, field) == "uuid":
            rows = sorted(self._rows, key=lambda row: row["pk"].replace("-", "").lower())
        else:
            rows = sorted(self._rows, key=lambda row: row["pk"])
        return rows[::-1] if order.startswith("-") else rows


def _type_of(kind, field):
    found = (_GROUP_FIELDS if kind == "group" else _USER_FIELDS).get(field)
    if found is None:
        _refuse("it queries %ss by '%s'" % (kind, field))
    return found


def _value_of(kind, row, field):
    if field == "name":
        return row["name"] if "name" in row else _listed(kind, row, field)
    if field == "attributes":
        return _copied(_attributes_of(row)) if kind == "group" else json.loads(_listed(kind, row, "attributes"))
    if field in ("pk", "group_uuid", "id"):
        return _Uuid(row["pk"]) if kind == "group" else row["pk"]
    return _listed(kind, row, field)


def _arranged(rows):
    """Rows without an order, in the order of this variant."""
    if _builtin_len(rows) < 2:
        return list(rows)
    _run.uncertain = True
    if _run.variant == 1:
        return rows[::-1]
    return rows[1:] + rows[:1] if _run.variant == 2 else list(rows)


def _by_text(kind, rows, field):
    """Rows in the order of a text: certain where a database's collation makes no difference."""
    for row in rows:
        _listed(kind, row, field)
    plain = sorted(rows, key=lambda row: row[field])
    worded = sorted(rows, key=lambda row: _collation(row[field]))
    if [row["pk"] for row in plain] == [row["pk"] for row in worded]:
        return plain
    _run.uncertain = True
    if _run.variant == 0:
        return plain
    return worded if _run.variant == 1 else plain[::-1]


def _collation(text):
    """How the collations of natural languages sort: letters and digits first, whatever their case."""
    if text not in _collations:
        _collations[text] = ("".join([char for char in text.casefold() if char.isalnum()]), text)
    return _collations[text]


# Of a page's names, each is asked for many times.
_collations: dict = {}


def _matching(kind, rows, wanted):
    """The rows that match all of Django's field lookups, such as ``name__startswith``."""
    for key, value in wanted.items():
        field, _mark, lookup = key.partition("__")
        matches = _lookup(_type_of(kind, field), lookup or "exact", value)
        rows = [row for row in rows if matches(_value_of(kind, row, field))]
    return rows


def _lookup(form, lookup, value):
    """A function that says whether a field's value matches, as the database would."""
    if lookup == "in" and type(value) in (list, tuple, set, frozenset):
        tests = [_lookup(form, "exact", item) for item in value]
        return lambda found: any([test(found) for test in tests])
    if lookup == "exact" and form == "uuid":
        try:
            wanted = value if type(value) is _Uuid else _Uuid(value)
        except (ValueError, AttributeError, TypeError):
            _refuse("it compares an id with something else")
        return lambda found: found == wanted
    if lookup == "exact" and type(value) is _TYPES.get(form):
        return lambda found: found == value
    if form == "text" and type(value) is str:
        if lookup == "contains":
            return lambda found: value in found
        if lookup == "startswith":
            return lambda found: found.startswith(value)
        if lookup == "endswith":
            return lambda found: found.endswith(value)
        if lookup in ("iexact", "icontains", "istartswith", "iendswith"):
            matches = _lookup(form, lookup[1:], _upper(value, True))
            return lambda found: matches(_upper(found, False))
    _refuse("it queries with '%s' in a way that is not known here" % lookup)


def _upper(text, pattern):
    """A text as a database compares it without regard to case, as far as that is the same in every locale."""
    for char in text:
        if not char.isascii() and (pattern or any([form.isascii() for form in char.upper() + char.lower()])):
            _refuse("how a database compares letters outside ASCII without regard to case is not known here")
    # A letter outside ASCII, left as it is, is none of the pattern's, whatever its upper case is.
    return "".join([char.upper() if char.isascii() else char for char in text])


_TYPES = {"text": str, "bool": _builtin_bool, "int": int}
_MODELS = {_User: "user", _Group: "group", _Rows: "query", _Secret: "user.password", _Request: "request", _Uuid: "UUID"}
_MODELS[_Logger] = "ak_logger"


# -- the names that an expression may use -----------------------------------------------------------------------------

ak_logger = _Logger()


def print(*texts, **options):
    return None


def _truth(value):
    """What Python asks ``__bool__`` and ``__len__`` for."""
    kind = type(value)
    if kind is _Rows:
        return value._manager or _builtin_len(value._rows) > 0
    if kind is _Secret:
        _hidden()
    return _builtin_bool(value)


def _and(value, other):
    return other() if _truth(value) else value


def _or(value, other):
    return value if _truth(value) else other()


def _unordered(value):
    """Rows in any order, where the order makes no difference to what reads them."""
    if type(value) is not _Rows:
        return value
    value._query("is iterated")
    value._once()
    return value._shaped(value._rows)


def _format(template, *args, **kwargs):
    """str.format for templates that name values only: a field like {0.x} would show what these objects are made of."""
    if type(template) is str and re.search(r"\{[^{}!:]*[.\[]", template) is not None:
        _refuse("it formats a string with a field that reads attributes or items")
    return template.format(*args, **kwargs)


def bool(value=False):
    return _truth(value)


def len(value):
    if type(value) is _Rows:
        value._query("has a length")
        value._once()
        return _builtin_len(value._rows)
    if type(value) is _Secret:
        _hidden()
    return _builtin_len(value)


def any(items):
    for item in items:
        if _truth(item):
            return True
    return False


def all(items):
    for item in items:
        if not _truth(item):
            return False
    return True


def filter(function, items):
    return _builtin_filter(_truth if function is None else function, items)


def getattr(ob, name, *default):
    if type(name) is not str:
        raise TypeError("attribute name must be string")
    if name.startswith("_"):
        _refuse("it uses the attribute %s" % name)
    if name in _LAZY and type(ob) in (_User, _Group):
        return _look(ob, name)
    if not _builtin_hasattr(ob, name) and (type(ob) in _MODELS or name in _python_names):
        _refuse("it uses the attribute %s" % name)
    return _builtin_getattr(ob, name, *default)


def hasattr(ob, name):
    try:
        getattr(ob, name)
    except AttributeError:
        return False
    return True


_LAZY = ("password", "attributes", "groups", "ak_groups", "users", "parents", "parent")


def isinstance(ob, kinds):
    if type(ob) in _MODELS:
        _refuse("it asks what type a %s has" % _MODELS[type(ob)])
    if type(kinds) is tuple:
        return _builtin_isinstance(ob, tuple([_builtin_bool if kind is bool else kind for kind in kinds]))
    return _builtin_isinstance(ob, _builtin_bool if kinds is bool else kinds)


def ak_is_group_member(user, **filters):
    return _builtin_len(_matching("group", _all_groups(user)[0], filters)) > 0


def list_flatten(value):
    if type(value) is list:
        return value[0] if value else None
    return value


def round(value, ndigits=None):
    # The interpreter rounds some halves otherwise than CPython, which looks at the number's exact value, as formats do.
    if type(value) is not float or ndigits is None:
        return _builtin_round(value) if ndigits is None else _builtin_round(value, ndigits)
    if type(ndigits) is not int or not 0 <= ndigits <= 20:
        _refuse("it rounds to %s places" % (ndigits,))
    return float(("%." + str(ndigits) + "f") % value)


def regex_match(value, regex):
    _check_pattern(regex, value)
    return re.search(regex, value) is not None


def regex_replace(value, regex, repl):
    _check_pattern(regex, value)
    if type(repl) is not str or "\\" in repl:
        _refuse("it uses regex_replace with a replacement that is not a plain string")
    # After a match, the interpreter does not look for an empty match at the same place.
    if re.search(regex, "") is not None or _matches_nothing(regex, value):
        _refuse("it uses regex_replace with a regular expression that matches an empty string")
    return re.sub(regex, repl, value)


def _check_pattern(regex, value):
    """Refuse what the interpreter's regular expressions are known to take otherwise than CPython's."""
    if type(regex) is not str or type(value) is not str:
        _refuse("it uses a regular expression with something else than strings")
    if regex not in _patterns:
        _patterns[regex] = _is_plain_pattern(regex)
    if not _patterns[regex]:
        _refuse("it uses a regular expression in a form that is not known here")
    if ("$" in regex and value.endswith("\n")) or re.search("[\x1c-\x1f]", value) is not None:
        _refuse("it matches a string with control characters")


def _matches_nothing(regex, value):
    if "^" in regex or "$" in regex or "\\b" in regex:
        for match in re.finditer(regex, value):
            if match.start() == match.end():
                return True
    return False


def _is_plain_pattern(regex):
    """Whether a regular expression has only literals, classes, plain groups, alternatives, quantifiers and ``^ $ \\b``."""
    size = _builtin_len(regex)
    within = False
    first = 0
    index = 0
    while index < size:
        char = regex[index]
        after = regex[index + 1 : index + 2]
        if char == "\\":
            if not after or after not in "dDwWsSbtn.+*?()[]{}|^$-/@\\":
                return False
            if after == "b" and (within or regex[index + 2 : index + 3] in ("*", "+", "?", "{")):
                return False
            index += 2
        elif within:
            if char == "]" and index > first:
                within = False
            elif char in "[&~|" or (char == "-" and after == "-"):
                return False
            index += 1
        elif char == "[":
            index += 2 if after == "^" else 1
            within = True
            first = index
            if regex[index : index + 1] == "]":
                return False
        elif char == "(" and after == "?":
            if regex[index + 2 : index + 3] != ":":
                return False
            index += 3
        else:
            if char in "*+?}" and after and after in "+*{":
                return False
            if char in "^$(|" and after and after in "*+{?":
                return False
            if char == "{" and re.search(r"\A\{\d{1,3}(,(\d{1,3})?)?\}", regex[index:]) is None:
                return False
            index += 1
    return not within


_patterns: dict = {}


def slugify(value, allow_unicode=False):
    if _run.version is None or tuple(_run.version) < (2025, 10):
        _refuse("it uses slugify, which authentik has only since 2025.10")
    if type(value) is not str or allow_unicode:
        _refuse("it uses slugify in a form that is not known here")
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain.lower())).strip("-_")


# -- evaluating -------------------------------------------------------------------------------------------------------

_handlers: dict = {}
# The attributes that Python's own types have; the interpreter may lack some.
_python_names = ()
_TRACE = "Traceback (most recent call last):\n"
_ORDER = (
    "its result depends on the order in which authentik's database gives groups or users; order_by() in the mapping "
    "settles that"
)


def _evaluate_page(text):
    """Evaluate expressions for a page of objects.

    Args:
        text: JSON of ``kind``, ``subjects`` (each [the object as authentik lists it, its context]), ``groups`` (by primary
            key), ``version`` and ``tasks`` (each [index of a subject, number of an expression]).

    Returns:
        For each task [kind, text]: "ok" and the result as JSON, "error" and the error's text as authentik's test endpoint
        shows it, or "unsupported" and the reason.
    """
    page = json.loads(text)
    _run.groups = page["groups"]
    _run.version = page["version"]
    _collations.clear()
    answers = []
    for subject, number in page["tasks"]:
        data, context = page["subjects"][subject]
        answers.append(_evaluated(_handlers[number], page["kind"], data, context))
    return answers


def _evaluated(handler, kind, data, context):
    """Evaluate one expression for one object, in each order that unordered rows are tried in."""
    first = None
    for variant in range(_VARIANTS):
        _run.variant = variant
        _run.uncertain = False
        _run.trouble = None
        answer = _once_evaluated(handler, kind, data, context)
        if answer[0] == "unsupported":
            return answer
        if first is not None and answer != first:
            return ["unsupported", _ORDER]
        first = answer
        if not _run.uncertain:
            break
    return first


def _once_evaluated(handler, kind, data, context):
    try:
        # The expression may change what it is given.
        connection = None if context["connection"] is None else dict(context["connection"])
        provider = None if context["provider"] is None else dict(context["provider"])
        if kind == "user":
            subject = _User(data)
            value = handler(connection, provider, _Request(subject), subject)
        else:
            group = _Group(data)
            if "attributes" in data:
                _look(group, "attributes")
            value = handler(connection, provider, None, group)
        answer = ["ok", ""] if _run.trouble is not None else ["ok", _as_json(value)]
    except SkipObject as exc:
        answer = ["error", _TRACE + "authentik.core.expression.exceptions.SkipObjectException: %s" % exc]
    except RecursionError:
        answer = ["unsupported", "it calls itself too often"]
    except Exception as exc:
        answer = ["error", _TRACE + "builtins.%s: %s" % (type(exc).__name__, str(exc)[:_MOST_CHARS])]
    return answer if _run.trouble is None else ["unsupported", _run.trouble]


def _as_json(value):
    """A result as JSON, if authentik's own JSON of it is surely the same."""
    if type(value) is dict and type(value.get("password")) is _Secret:
        value = {**value, "password": KEPT_PASSWORD}
    _check(value, 0, [_MOST_NODES])
    text = json.dumps(value)
    if _builtin_len(text) > _MOST_CHARS:
        _refuse("its result has %d characters" % _builtin_len(text))
    return text


def _check(value, depth, budget):
    """Refuse what JSON has no form for, and what is too large."""
    budget[0] -= 1
    if budget[0] < 0 or depth > _MOST_DEPTH:
        _refuse("its result is too large")
    kind = type(value)
    if value is None or kind is _builtin_bool:
        return
    if kind is str:
        if _builtin_len(value) > _MOST_CHARS:
            _refuse("its result holds a string of %d characters" % _builtin_len(value))
    elif kind is int:
        if value > 2**63 or value < -(2**63):
            _refuse("its result holds a number of more than 64 bits")
    elif kind is float:
        if value != value or value in (float("inf"), float("-inf")):
            _refuse("its result holds a number that JSON does not have")
    elif kind is list or kind is tuple:
        for item in value:
            # authentik's test endpoint leaves empty elements of lists out (a sync does not): authentik is asked.
            if not _truth(item):
                _refuse("its result holds a list with an empty element")
            _check(item, depth + 1, budget)
    elif kind is dict:
        for key in value:
            if type(key) is not str:
                _refuse("its result holds a key that is not a string")
            _check(value[key], depth + 1, budget)
    elif kind is _Secret:
        _hidden()
    elif kind in _MODELS:
        _refuse("its result holds a %s" % _MODELS[kind])
    else:
        _refuse("its result holds a %s" % kind.__name__)
