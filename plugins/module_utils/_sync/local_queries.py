# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""What an expression may ask of groups and users: Django's query sets, as far as their answer is certain here.

A database returns rows in any order unless it is told one, and sorts texts by a collation that is not known here. So
such rows are given in several orders, and only what is the same in all of them counts: see Run.

Source of the behaviour: Django's documentation of query sets and of managers of related objects.
"""

from __future__ import annotations

import typing as t
import uuid

Json = t.Dict[str, t.Any]
# The orders in which rows are tried that a database may return in any order: no row has the same place in all of them.
VARIANTS = 3
_TYPES: t.Dict[str, type] = {"text": str, "bool": bool, "int": int}


def exactly(value: t.Any, *kinds: t.Optional[type]) -> bool:
    """Whether a value is of one of these very types: what is derived of one may have methods of its own."""
    return type(value) in kinds


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
        """End the evaluation."""
        raise self.refused(why)

    def refused(self, why: str) -> Unsupported:
        """What ends the evaluation. What the expression makes of it (``finally: return``) does not matter: it is noted."""
        if self.trouble is None:
            self.trouble = why
        return Unsupported(why)

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
        raise self.run.refused("it uses the repr of a %s" % self.what)


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
        kind: t.Any,
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
        def all_() -> Records:
            return self._with()

        return all_

    def see_filter(self) -> t.Callable[..., Records]:
        return lambda **wanted: self._with(rows=self.matching(wanted))

    def see_exclude(self) -> t.Callable[..., Records]:
        def exclude(**unwanted: t.Any) -> Records:
            left = {id(row) for row in self.matching(unwanted)} if unwanted else set()
            return self._with(rows=[row for row in self.rows if id(row) not in left])

        return exclude

    def see_get(self) -> t.Callable[..., t.Any]:
        def get(**wanted: t.Any) -> t.Any:
            found = self.matching(wanted)
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

    __or__ = __ror__ = __and__ = __rand__ = __xor__ = __add__ = __radd__ = __eq__ = __ne__ = _unsupported
    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise self.run.refused("it makes a text of a query")

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

    def matching(self, wanted: t.Mapping[str, t.Any]) -> t.List[t.Any]:
        """The rows that match all of Django's field lookups, such as ``name__startswith``."""
        rows = self.rows
        for key, value in wanted.items():
            field, _mark, lookup = key.partition("__")
            test = self._test(self._type_of(field), lookup or "exact", value)
            rows = [row for row in rows if test(row.look(field))]
        return rows

    def _test(self, kind: str, lookup: str, value: t.Any) -> t.Callable[[t.Any], bool]:
        """Whether a field's value matches, as the database would say."""
        if lookup == "in" and exactly(value, list, tuple, set, frozenset):
            tests = [self._test(kind, "exact", item) for item in value]
            return lambda found: any(test(found) for test in tests)
        if lookup == "exact" and kind == "uuid":
            try:
                wanted = value if isinstance(value, uuid.UUID) else uuid.UUID(value)
            except (ValueError, TypeError, AttributeError):
                self.run.refuse("it compares an id with something else")
            return lambda found: found == wanted
        if lookup == "exact" and exactly(value, _TYPES.get(kind)):
            return lambda found: found == value
        if kind == "text" and exactly(value, str):
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
