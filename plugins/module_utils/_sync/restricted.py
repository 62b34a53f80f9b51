# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""The language in which expressions are evaluated here: Python as RestrictedPython compiles it, with closed doors.

An expression is the program of an admin on another machine. It is compiled so that every attribute, item, write and
iteration goes through a guard, and it is given the names below and no others: no import, no file, no attribute that
starts with an underscore, no attribute of anything whose type is not listed here. Whatever is not surely the same as
in authentik ends in Unsupported, which no expression can catch.

This is the first fence. The second is the process around it: see expression_process.py.
"""

from __future__ import annotations

import ast
import builtins
import datetime
import dis
import ipaddress
import json
import math
import operator
import platform
import re
import string
import sys
import textwrap
import time
import traceback
import types
import typing as t
import uuid

from .desired import slug
from .local_objects import KEPT_PASSWORD, Facade, Logger, Records, Request, Run, Secret, Unsupported, is_group_member

Json = t.Dict[str, t.Any]
PACKAGE = "RestrictedPython"
# What an expression may give: no record of Google's comes near it.
MOST_NODES = 20000
MOST_DEPTH = 60
MOST_CHARS = 500000
MOST_SOURCE_CHARS = 100000


class MissingLibrary(Exception):
    """RestrictedPython cannot be imported; the text says what to install and for which Python."""


class SkipObjectException(Exception):
    """authentik's own: raised by a mapping to leave an object out."""


# The path by which authentik's answers name it.
SkipObjectException.__module__ = "authentik.core.expression.exceptions"


def _words(text: str) -> t.FrozenSet[str]:
    return frozenset(text.split())


# What an expression must not catch: it would go on with what authentik's server does not see.
_NEVER_CAUGHT = (Unsupported, MemoryError, RecursionError, OSError, ImportError, SystemExit, KeyboardInterrupt)

_BUILTINS = _words(
    "abs all any ascii bin bool bytes callable chr complex dict divmod enumerate filter float format frozenset hex int "
    "issubclass iter len list map max min next oct ord pow range repr reversed round set slice sorted str sum tuple zip"
)
# What authentik offers besides, and what it would take to offer it here.
ELSEWHERE = {
    "requests": "the network",
    "resolve_dns": "the network",
    "reverse_dns": "the network",
    "ak_user_by": "authentik's database",
    "ak_call_policy": "authentik's policies",
    "ak_create_event": "authentik's events",
    "ak_create_jwt": "authentik's keys",
    "ak_create_jwt_raw": "authentik's keys",
    "ak_send_email": "authentik's e-mail",
    "ak_user_has_authenticator": "authentik's database",
    "http_request": "the request behind a test",
    "open": "files",
    "__import__": "imports",
}


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
        type({}.keys()): _public(type({}.keys()), "mapping"),
        type({}.values()): frozenset(),
        type({}.items()): _public(type({}.items()), "mapping"),
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
# Types whose methods may be read from the type itself, as in map(str.lower, …).
_NAMED_TYPES = (str, int, float, bool, list, dict, tuple, set, frozenset, bytes)


class Mapping(t.NamedTuple):
    """A compiled expression.

    Attributes:
        code: the code of a module that defines ``handler``.
        names: the global names that it uses.
        attributes: the names of the attributes that it uses.
    """

    code: types.CodeType
    names: t.FrozenSet[str]
    attributes: t.FrozenSet[str]


_policy: t.Optional[type] = None


def load() -> type:
    """Import RestrictedPython and make the policy by which expressions are compiled.

    Raises:
        MissingLibrary.
    """
    global _policy
    if _policy is None:
        try:
            from RestrictedPython import RestrictingNodeTransformer
        except ImportError:
            missing = traceback.format_exc().strip().splitlines()[-1]
            raise MissingLibrary(
                "%s cannot be imported by %s (Python %s) on %s: %s. Install %s there, or set mapping_evaluation: server."
                % (PACKAGE, sys.executable, platform.python_version(), platform.node(), missing, PACKAGE)
            ) from None
        _policy = _policy_on(RestrictingNodeTransformer)
    return _policy


def parameters(kind: str) -> t.Tuple[str, ...]:
    """The variables of an expression, in the form of authentik: the parameters of the function that it becomes."""
    return ("connection", "provider", "request", kind)


def compile_expression(expression: str, kind: str) -> Mapping:
    """Compile an expression.

    Raises:
        Unsupported: it cannot be evaluated here, with the reason.
        MissingLibrary.
    """
    policy = load()
    if len(expression) > MOST_SOURCE_CHARS:
        raise Unsupported("it has %d characters" % len(expression))
    # As authentik itself makes a function of it, white space inside of texts included.
    source = "def handler(%s):\n%s\n" % (", ".join(parameters(kind)), textwrap.indent(expression, "    "))
    errors: t.List[str] = []
    attributes: t.Set[str] = set()
    try:
        tree = ast.parse(source, "mapping")
        policy(errors, [], attributes).visit(tree)
        if errors:
            raise Unsupported(_first_error(errors[0]))
        code = compile(tree, "mapping", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise Unsupported("Python %s does not compile it (%s)" % (platform.python_version(), exc)) from None
    names = frozenset(_globals_of(code)) - frozenset(_GUARDS) - frozenset(("handler",))
    known = _BUILTINS | frozenset(_EXCEPTIONS) | frozenset(_HELPERS)
    for name in sorted(names - known):
        wanted = " (%s)" % ELSEWHERE[name] if name in ELSEWHERE else ""
        raise Unsupported("it uses %s%s" % (name, wanted))
    return Mapping(code, names, frozenset(attributes))


def evaluate(mapping: Mapping, kind: str, run: Run, subject: Facade, context: Json) -> t.Tuple[bool, str]:
    """Evaluate an expression once.

    Args:
        context: ``connection`` and ``provider``, plain values.

    Returns:
        (whether it came to its end, the result as JSON or the error's text): what authentik's test endpoint says.

    Raises:
        Unsupported, MemoryError, RecursionError: see Run.trouble.
    """
    scope = _scope(run)
    exec(mapping.code, scope)  # noqa: S102 - compiled by the policy above; this is what the file is for
    request = Request(run, subject if kind == "user" else None)
    try:
        value = scope["handler"](context["connection"], context["provider"], request, subject)
    except _NEVER_CAUGHT as exc:
        _note(run, exc)
        raise
    except Exception as exc:  # noqa: BLE001 - whatever an admin's code raises is its result
        if run.trouble is None and isinstance(exc, LookupError) and "unknown encoding" in str(exc):
            run.refuse("it uses an encoding that is not loaded here")
        if run.trouble is None:
            return False, _failure(exc, run)
        raise Unsupported(run.trouble) from None
    except BaseException as exc:  # noqa: BLE001 - authentik's endpoint takes this for no answer of the expression
        run.refuse("it raises %s" % type(exc).__name__)
    if run.trouble is not None:
        raise Unsupported(run.trouble)
    return True, _as_json(value, run)


def _note(run: Run, exc: BaseException) -> None:
    if run.trouble is None and isinstance(exc, (OSError, ImportError, SystemExit, KeyboardInterrupt)):
        run.refuse("it raises %s" % type(exc).__name__)


def _failure(exc: Exception, run: Run) -> str:
    """An error in the form of authentik's test endpoint."""
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001 - an error whose text fails has none
        text = ""
    if run.trouble is not None:
        raise Unsupported(run.trouble)
    path = "%s.%s" % (type(exc).__module__, type(exc).__name__)
    return "Traceback (most recent call last):\n%s: %s" % (path, text[:MOST_CHARS])


def _as_json(value: t.Any, run: Run) -> str:
    """A result as JSON, if authentik's own JSON of it is surely the same."""
    budget = [MOST_NODES]
    text = json.dumps(_plain(value, run, 0, budget))
    if len(text) > MOST_CHARS:
        run.refuse("its result has %d characters" % len(text))
    return text


def _plain(value: t.Any, run: Run, depth: int, budget: t.List[int]) -> t.Any:
    budget[0] -= 1
    if budget[0] < 0 or depth > MOST_DEPTH:
        run.refuse("its result is too large")
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        if len(value) > MOST_CHARS:
            run.refuse("its result holds a text of %d characters" % len(value))
        return value
    if kind is int:
        if abs(value) > 2**63:
            run.refuse("its result holds a number of more than 64 bits")
        return value
    if kind is float:
        if not math.isfinite(value):
            run.refuse("its result holds a number that JSON has not")
        return value
    if kind in (list, tuple):
        # authentik's test endpoint leaves empty elements of lists out (a sync does not): it is asked for them.
        if not all(value):
            run.refuse("its result holds a list with an empty element")
        return [_plain(item, run, depth + 1, budget) for item in value]
    if kind is dict:
        if not all(type(key) is str for key in value):
            run.refuse("its result holds a key that is no text")
        return {
            key: KEPT_PASSWORD
            if depth == 0 and key == "password" and type(item) is Secret
            else _plain(item, run, depth + 1, budget)
            for key, item in value.items()
        }
    if type(value) is Secret:
        value.look("")
    return run.refuse("its result holds a %s" % (value.what if isinstance(value, Facade) else kind.__name__))


# -- guards ---------------------------------------------------------------------------------------------------------


def _scope(run: Run) -> Json:
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
        if type(value) is not str or allow_unicode:
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
    if type(name) is not str:
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
        if type(template) is not str:
            run.refuse("it formats something else than a text")
        _check_template(template, run)
        if name == "format_map" and not (len(args) == 1 and type(args[0]) is dict and not kwargs):
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
    if isinstance(exc, _NEVER_CAUGHT):
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


_OPERATORS: t.Dict[type, str] = {
    ast.Add: "+=",
    ast.Sub: "-=",
    ast.Mult: "*=",
    ast.Div: "/=",
    ast.Mod: "%=",
    ast.Pow: "**=",
    ast.LShift: "<<=",
    ast.RShift: ">>=",
    ast.BitOr: "|=",
    ast.BitXor: "^=",
    ast.BitAnd: "&=",
    ast.FloorDiv: "//=",
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
_GUARDS: Json = {
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
_SAFE.update(_GUARDS, **_HELPERS)
_SAFE.update(_EXCEPTIONS)
_SAFE.update({name: getattr(builtins, name) for name in _BUILTINS})


def _globals_of(code: types.CodeType) -> t.Iterator[str]:
    """The global names that code reads, that of its functions included."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)


def _first_error(text: str) -> str:
    """RestrictedPython's error without the number of a line that the admin does not see."""
    return "RestrictedPython refuses it (%s)" % re.sub(r"^Line (\d+|None): ", "", text).rstrip(".")


def _policy_on(base: t.Any) -> type:
    """The policy, on RestrictedPython's own."""

    class Policy(base):  # type: ignore[misc]
        def __init__(self, errors: t.List[str], warnings: t.List[str], attributes: t.Set[str]) -> None:
            super().__init__(errors, warnings)
            self._attributes = attributes

        def visit_Attribute(self, node: ast.Attribute) -> t.Any:
            self._attributes.add(node.attr)
            return super().visit_Attribute(node)

        def visit_AnnAssign(self, node: ast.AnnAssign) -> t.Any:
            """A variable with a type: the type says nothing to Python."""
            if node.value is None or not isinstance(node.target, ast.Name):
                return self.not_allowed(node)
            plain = ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)
            return self.visit(plain)

        def visit_AugAssign(self, node: ast.AugAssign) -> t.Any:
            """Besides names also items: ``a[b] += c``, each part of it evaluated once."""
            if not isinstance(node.target, ast.Subscript) or type(node.op) not in _OPERATORS:
                return super().visit_AugAssign(node)
            parts = [self.visit(part) for part in (node.target.value, node.target.slice, node.value)]
            call = ast.Call(
                func=ast.Name("_inplaceitem_", ast.Load()),
                args=[ast.Constant(_OPERATORS[type(node.op)])] + parts,
                keywords=[],
            )
            return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))

        def visit_ExceptHandler(self, node: ast.ExceptHandler) -> t.Any:
            node = super().visit_ExceptHandler(node)
            call = ast.Expr(ast.Call(func=ast.Name("_caught_", ast.Load()), args=[], keywords=[]))
            node.body.insert(0, ast.fix_missing_locations(ast.copy_location(call, node)))
            return node

        def visit_Try(self, node: ast.Try) -> t.Any:
            leaving = (ast.Return, ast.Break, ast.Continue)
            if any(isinstance(inner, leaving) for part in node.finalbody for inner in ast.walk(part)):
                self.error(node, "return, break and continue in finally are not allowed")
            return super().visit_Try(node)

        def _refused(self, node: ast.AST) -> t.Any:
            self.error(node, "%s is not allowed" % type(node).__name__)
            return node

        visit_Import = visit_ImportFrom = visit_ClassDef = visit_Global = visit_With = _refused
        visit_TemplateStr = visit_Interpolation = visit_MatMult = _refused

    return Policy
