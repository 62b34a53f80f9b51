# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""What an expression can reach: the guards behind every attribute, item and write, and the names that it is given.

Everything is listed; what is not listed is refused, which no expression can catch.
"""

from __future__ import annotations

import builtins
import datetime
import ipaddress
import operator
import re
import string
import sys
import time
import typing as t
import uuid

from .desired import slug
from .local_objects import Logger, is_group_member
from .local_queries import Facade, Records, Run, Unsupported, exactly

Json = t.Dict[str, t.Any]


class SkipObjectException(Exception):
    """authentik's own: raised by a mapping to leave an object out."""


# The path by which authentik's answers name it.
SkipObjectException.__module__ = "authentik.core.expression.exceptions"


def _words(text: str) -> t.FrozenSet[str]:
    return frozenset(text.split())


# What an expression must not catch: it would go on with what authentik's server does not see.
NEVER_CAUGHT = (Unsupported, MemoryError, RecursionError, OSError, ImportError, SystemExit, KeyboardInterrupt)

_BUILTINS = _words(
    "abs all any ascii bin bool bytes callable chr complex dict divmod enumerate filter float format frozenset hex int "
    "issubclass iter len list map max min next oct ord pow range repr reversed round set slice sorted str sum tuple zip"
)


def _public(kind: type, without: str = "") -> t.FrozenSet[str]:
    return frozenset(name for name in dir(kind) if not name.startswith("_")) - _words(without)


_ADDRESS = (
    "version packed exploded compressed reverse_pointer max_prefixlen is_private is_global is_loopback is_multicast "
    "is_reserved is_link_local is_unspecified"
)
_NETWORK = (
    "version exploded compressed prefixlen num_addresses network_address broadcast_address netmask hostmask "
    "with_prefixlen with_netmask hosts overlaps subnet_of supernet_of subnets supernet is_private is_global"
)
_DATE = "year month day weekday isoweekday isoformat strftime ctime toordinal replace"
_TIME = "hour minute second microsecond"
# The attributes that may be read, by the exact type of what has them.
READABLE: t.Dict[type, t.FrozenSet[str]] = {
    kind: _public(kind) for kind in (int, float, bool, list, dict, tuple, set, frozenset, bytes, complex, range)
}
READABLE.update(
    {
        # format and format_map read attributes by themselves: see _formatter.
        str: _public(str, "format format_map"),
        type(None): frozenset(),
        datetime.datetime: _words(_DATE + " date time timestamp utcoffset tzname " + _TIME),
        datetime.date: _words(_DATE),
        datetime.time: _words("isoformat strftime replace " + _TIME),
        datetime.timedelta: _words("days seconds microseconds total_seconds"),
        uuid.UUID: _words("hex int urn bytes version fields"),
        ipaddress.IPv4Address: _words(_ADDRESS),
        ipaddress.IPv6Address: _words(_ADDRESS + " ipv4_mapped scope_id"),
        ipaddress.IPv4Network: _words(_NETWORK),
        ipaddress.IPv6Network: _words(_NETWORK),
    }
)
# The types of what a dictionary's keys(), values() and items() give, which have no names; their mapping is the dictionary itself.
_VIEWS: t.List[type] = [type({}.keys()), type({}.values()), type({}.items())]
READABLE.update((view, _public(view, "mapping")) for view in _VIEWS)
# Types whose methods may be read from the type itself, as in map(str.lower, …).
_NAMED_TYPES = (str, int, float, bool, list, dict, tuple, set, frozenset, bytes)


def scope_of(run: Run) -> Json:
    """The global names of one evaluation: nothing that it leaves there is seen by the next."""

    def getattr_(ob: t.Any, name: t.Any, *default: t.Any) -> t.Any:
        try:
            return _read(ob, name, run)
        except AttributeError:
            if default:
                return default[0]
            raise

    def hasattr_(ob: t.Any, name: t.Any) -> bool:
        try:
            _read(ob, name, run)
        except AttributeError:
            return False
        return True

    def getitem(ob: t.Any, index: t.Any) -> t.Any:
        if isinstance(ob, Records):
            return ob.item(index)
        if type(ob) in (dict, list, str, tuple, bytes, range, type(None), int, float, bool, set):
            return ob[index]
        return run.refuse("it reads an item of a %s" % _named(ob))

    def write(ob: t.Any) -> t.Any:
        if type(ob) in (dict, list, str, tuple, type(None), int, float, bool):
            return ob
        return run.refuse("it writes to a %s" % _named(ob))

    def inplace_item(op: str, ob: t.Any, index: t.Any, value: t.Any) -> None:
        write(ob)[index] = _INPLACE[op](getitem(ob, index), value)

    def isinstance_(ob: t.Any, kinds: t.Any) -> bool:
        if isinstance(ob, Facade):
            run.refuse("it asks what type a %s has" % ob.what)
        return isinstance(ob, kinds)

    def slugify(value: t.Any, allow_unicode: bool = False) -> str:
        if run.version is None or run.version < (2025, 10):
            run.refuse("it uses slugify, which authentik has only since 2025")
        if not exactly(value, str) or allow_unicode:
            run.refuse("it uses slugify in a form that is not known here")
        return slug(value)

    scope: Json = dict(_SAFE)
    scope.update(
        _getattr_=getattr_,
        _getitem_=getitem,
        _write_=write,
        _inplaceitem_=inplace_item,
        getattr=getattr_,
        hasattr=hasattr_,
        isinstance=isinstance_,
        ak_is_group_member=is_group_member(run),
        ak_logger=Logger(run),
        slugify=slugify,
    )
    return scope


def _read(ob: t.Any, name: t.Any, run: Run) -> t.Any:
    """The guard of every attribute: by the exact type of what has it, and only what is listed."""
    if not exactly(name, str):
        raise TypeError("attribute name must be string, not '%s'" % type(name).__name__)
    if name.startswith("_"):
        run.refuse("it uses the attribute %s" % name)
    if isinstance(ob, Facade):
        return ob.look(name)
    kind = type(ob)
    if name in ("format", "format_map") and (kind is str or ob is str):
        return _formatter(ob, name, run)
    if kind is type:
        readable = READABLE[ob] if ob in _NAMED_TYPES else frozenset()
        if name in readable:
            return getattr(ob, name)
    elif kind in READABLE:
        if name in READABLE[kind] or not hasattr(kind, name):
            # What the type has not either is an AttributeError here as there.
            return getattr(ob, name)
    elif isinstance(ob, BaseException) and (name == "args" or not hasattr(ob, name)):
        return getattr(ob, name)
    return run.refuse("it uses the attribute %s of a %s" % (name, _named(ob)))


def _formatter(ob: t.Any, name: str, run: Run) -> t.Callable[..., str]:
    """str.format for templates that name values only: a field like {0.x} reads attributes past every guard."""

    def formatted(template: t.Any, *args: t.Any, **kwargs: t.Any) -> str:
        if not exactly(template, str):
            run.refuse("it formats something else than a text")
        _check_template(template, run)
        if name == "format_map" and not (len(args) == 1 and exactly(args[0], dict) and not kwargs):
            run.refuse("it uses format_map() with something else than a dictionary")
        return t.cast(str, getattr(template, name)(*args, **kwargs))

    if ob is str:
        return formatted
    return lambda *args, **kwargs: formatted(ob, *args, **kwargs)


def _check_template(template: str, run: Run, depth: int = 0) -> None:
    try:
        fields = list(string.Formatter().parse(template))
    except ValueError:
        # Python's own error comes from the call.
        return
    for _literal, field, spec, _conversion in fields:
        if field and ("." in field or "[" in field):
            run.refuse("it formats a text with a field that reads attributes or items")
        if spec and depth < 3:
            _check_template(spec, run, depth + 1)


def _named(ob: t.Any) -> str:
    return ob.what if isinstance(ob, Facade) else type(ob).__name__


def _import(name: str, *_where: t.Any) -> t.Any:
    """For Python's own code in C, which imports by this what strftime() needs. No expression can name or reach it."""
    if name == "time":
        return time
    raise ImportError("no import of %s here" % name)


def _caught() -> None:
    """The first thing in every except: what is not the expression's goes on."""
    exc = sys.exc_info()[1]
    if isinstance(exc, NEVER_CAUGHT):
        raise exc


class _Print:
    """print(), of which there is nothing to see here either."""

    def __init__(self, _getattr: t.Any = None) -> None:
        pass

    def _call_print(self, *_texts: t.Any, **_options: t.Any) -> None:
        pass


_INPLACE = {
    "+=": operator.iadd,
    "-=": operator.isub,
    "*=": operator.imul,
    "/=": operator.itruediv,
    "%=": operator.imod,
    "**=": operator.ipow,
    "<<=": operator.ilshift,
    ">>=": operator.irshift,
    "|=": operator.ior,
    "^=": operator.ixor,
    "&=": operator.iand,
    "//=": operator.ifloordiv,
}


def _unpack(it: t.Any, spec: t.Any, getiter: t.Any) -> t.Any:
    found = list(getiter(it))
    if len(found) >= spec["min_len"]:
        for index, inner in spec["childs"]:
            found[index] = _unpack(found[index], inner, getiter)
    return found


def _iter_unpack(it: t.Any, spec: t.Any, getiter: t.Any) -> t.Iterator[t.Any]:
    for item in getiter(it):
        yield _unpack(item, spec, getiter)


# The names below which RestrictedPython's transformer calls the guards.
GUARDS: Json = {
    "_getattr_": None,
    "_getitem_": None,
    "_write_": None,
    "_inplaceitem_": None,
    "_caught_": _caught,
    "_print_": _Print,
    "_getiter_": lambda ob: ob,
    "_unpack_sequence_": _unpack,
    "_iter_unpack_sequence_": _iter_unpack,
    "_inplacevar_": lambda op, left, right: _INPLACE[op](left, right),
    "_apply_": lambda function, *args, **kwargs: function(*args, **kwargs),
}
_HELPERS: Json = {
    "SkipObject": SkipObjectException,
    "getattr": None,
    "hasattr": None,
    "isinstance": None,
    "ak_is_group_member": None,
    "ak_logger": None,
    "slugify": None,
    "ip_address": ipaddress.ip_address,
    "ip_network": ipaddress.ip_network,
    "list_flatten": lambda value: (value[0] if value else None) if isinstance(value, list) else value,
    "regex_match": lambda value, regex: re.search(regex, value) is not None,
    "regex_replace": lambda value, regex, repl: re.sub(regex, repl, value),
}
_EXCEPTIONS: Json = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException) and "Group" not in name
}
_SAFE: Json = {"__builtins__": {"__import__": _import}, "__name__": "mapping"}
_SAFE.update(GUARDS, **_HELPERS)
_SAFE.update(_EXCEPTIONS)
_SAFE.update({name: getattr(builtins, name) for name in _BUILTINS})
# Every name that an expression may use.
NAMES = _BUILTINS | frozenset(_EXCEPTIONS) | frozenset(_HELPERS)
