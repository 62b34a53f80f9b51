# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# This file is private to the collection: only its modules and their options are a promise to users.
"""The language in which expressions are evaluated here: Python as RestrictedPython compiles it, with closed doors.

An expression is the program of an admin on another machine. It is compiled so that every attribute, item, write and
iteration goes through a guard, and it is given the names of expression_guards.py and no others: no import, no file, no attribute
that starts with an underscore, no attribute of anything whose type is not listed there. Whatever is not surely the same
as in authentik ends in Unsupported, which no expression can catch.

This is the first fence. The second is the process around it: see expression_process.py.
"""

from __future__ import annotations

import ast
import dis
import json
import math
import platform
import re
import sys
import textwrap
import traceback
import types
import typing as t

from .expression_guards import GUARDS, NAMES, NEVER_CAUGHT, scope_of
from .local_objects import KEPT_PASSWORD, Request, Row, Secret, User
from .local_queries import Facade, Run, Unsupported, exactly

Json = t.Dict[str, t.Any]
PACKAGE = "RestrictedPython"
# What an expression may give: no record of Google's comes near it.
MOST_NODES = 20000
MOST_DEPTH = 60
MOST_CHARS = 500000
MOST_SOURCE_CHARS = 100000


class MissingLibrary(Exception):
    """RestrictedPython cannot be imported; the text says what to install and for which Python."""


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
    names = frozenset(_globals_of(code)) - frozenset(GUARDS)
    for name in sorted(names - NAMES):
        wanted = " (%s)" % ELSEWHERE[name] if name in ELSEWHERE else ""
        raise Unsupported("it uses %s%s" % (name, wanted))
    return Mapping(code, names, frozenset(attributes))


def evaluate(mapping: Mapping, run: Run, subject: Row, context: Json) -> t.Tuple[bool, str]:
    """Evaluate an expression once.

    Args:
        context: ``connection`` and ``provider``, plain values.

    Returns:
        (whether it came to its end, the result as JSON or the error's text): what authentik's test endpoint says.

    Raises:
        Unsupported, MemoryError, RecursionError: see Run.trouble.
    """
    scope = scope_of(run)
    exec(mapping.code, scope)  # noqa: S102 - compiled by the policy above; this is what the file is for
    request = Request(run, subject if isinstance(subject, User) else None)
    try:
        value = scope["handler"](context["connection"], context["provider"], request, subject)
    except NEVER_CAUGHT as exc:
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
        if not all(exactly(key, str) for key in value):
            run.refuse("its result holds a key that is no text")
        return {
            key: KEPT_PASSWORD
            if depth == 0 and key == "password" and isinstance(item, Secret)
            else _plain(item, run, depth + 1, budget)
            for key, item in value.items()
        }
    if isinstance(value, Secret):
        value.look("")
    return run.refuse("its result holds a %s" % (value.what if isinstance(value, Facade) else kind.__name__))


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

    class Policy(base):
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
