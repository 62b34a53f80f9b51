# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which expressions can be evaluated here, decided from their text alone.

This is not what keeps an expression from the host: the interpreter does that (interpreter.py), whatever the text. Here
an expression is refused where the interpreter lacks what it uses, or would give something else than CPython without an
error. A refused expression is evaluated by authentik.
"""

from __future__ import annotations

import ast
import re
import symtable
import textwrap
import typing as t

from ..._common.kind import GROUP

MOST_SOURCE_CHARS = 100000


class Unsupported(Exception):
    """An expression that cannot be evaluated here; the text says why, in the form "it uses …"."""


class Checked(t.NamedTuple):
    """An expression that can be evaluated here.

    Attributes:
        source: the text of a function ``_handler`` for the interpreter.
        uses: the global names and the attributes that the expression uses.
    """

    source: str
    uses: frozenset[str]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Every global name that an expression may use. tests/unit holds that the interpreter has each of them.
_BUILTINS = _words(
    "abs all any bin bool bytes chr dict divmod enumerate filter float frozenset getattr hasattr hex int isinstance iter len "
    "list map max min next oct ord pow print range repr reversed round set slice sorted str sum tuple zip"
)
_HELPERS = _words("SkipObject ak_is_group_member ak_logger list_flatten regex_match regex_replace slugify")
# No base class of the exception that stands for SkipObject, none that cannot be caught here as in CPython.
_EXCEPTIONS = _words(
    "ArithmeticError AssertionError AttributeError BaseException Exception IndexError KeyError LookupError NameError "
    "NotImplementedError RuntimeError StopIteration TypeError UnicodeDecodeError ValueError ZeroDivisionError"
)
NAMES = _BUILTINS | _HELPERS | _EXCEPTIONS
# What authentik offers besides, and what it would take to offer it here.
_ELSEWHERE = {
    "requests": "the network",
    "resolve_dns": "the network",
    "reverse_dns": "the network",
    "ip_address": "a module that the interpreter lacks",
    "ip_network": "a module that the interpreter lacks",
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
# The attributes of Python's own types that the interpreter has, too. tests/unit holds that it has each of them.
TYPE_ATTRIBUTES: dict[type, frozenset[str]] = {
    str: _words(
        "capitalize casefold center count encode endswith expandtabs find format index isalnum isalpha isascii isdecimal "
        "isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip partition "
        "removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip "
        "swapcase title upper zfill"
    ),
    list: _words("append clear copy count extend index insert pop remove reverse sort"),
    dict: _words("clear copy fromkeys get items keys pop popitem setdefault update values"),
    set: _words(
        "add clear copy difference discard intersection isdisjoint issubset issuperset pop remove symmetric_difference "
        "union update"
    ),
    bytes: _words("decode hex"),
    BaseException: _words("args"),
}
_DATES = _words(
    "year month day hour minute second microsecond weekday isoweekday isoformat strftime date total_seconds days seconds "
    "microseconds timestamp replace"
)
_OBJECTS = _words(
    "pk id uuid username name email is_active type path uid is_superuser is_staff is_authenticated is_anonymous attributes "
    "password date_joined last_login last_updated password_change_date ak_groups groups all_groups group_attributes locale "
    "group_uuid num_pk users parent parents is_member user hex google_id info debug warning warn error bind "
    "all filter exclude get exists count first last order_by values_list values distinct"
)
ATTRIBUTES = frozenset().union(*TYPE_ATTRIBUTES.values()) | _DATES | _OBJECTS
# Relations and secrets: read by a call, and with truth values that the interpreter does not ask an object for.
_LAZY = _words("password groups ak_groups users parents parent")
_REWRITTEN = _LAZY | _words("all_groups getattr format")
# The interpreter makes lists where Python makes iterators, which have no end of uses and are false where they are empty.
_ITERATORS = _words("enumerate filter map reversed zip")
_CONSUMERS = _ITERATORS | _words("all any dict frozenset list max min next set sorted sum tuple")
_CONSUMING_METHODS = _words("extend join update union intersection difference")
# What gives the same in whatever order it is given its elements, if making an element changes nothing.
_UNORDERED = _words("max min sorted sum")
_CHANGING = _words("add append clear discard extend insert pop popitem remove reverse setdefault sort update")
_PURE_FUNCTIONS = _words(
    "bool float getattr hasattr int isinstance len list_flatten regex_match regex_replace repr slugify str"
)
# What the rewriter below calls.
_OWN = _words("_look _truth _and _or _format _unordered")
_REFUSED: dict[str, str] = {
    "Import": "imports a module",
    "ImportFrom": "imports a module",
    "ClassDef": "defines a class",
    "AsyncFunctionDef": "is asynchronous",
    "AsyncFor": "is asynchronous",
    "AsyncWith": "is asynchronous",
    "Await": "is asynchronous",
    "Yield": "has a generator (yield)",
    "YieldFrom": "has a generator (yield)",
    "Delete": "uses del",
    "With": "uses with",
    "Global": "uses global",
    "MatMult": "uses @ between values",
    "TryStar": "uses except*",
    "TypeAlias": "uses type",
    "TemplateStr": "uses a template string",
}


def parameters(kind: str) -> tuple[str, ...]:
    """The variables of an expression, in the form of authentik: the parameters of the function that it becomes."""
    return ("connection", "provider", "request", kind)


def check(expression: str, kind: str) -> Checked:
    """Decide whether an expression can be evaluated here.

    Args:
        kind: Kind.

    Raises:
        Unsupported.
    """
    if len(expression) > MOST_SOURCE_CHARS:
        raise Unsupported("it has %d characters" % len(expression))
    # As authentik itself makes a function of it, white space inside of texts included.
    source = "def _handler(%s):\n%s\n" % (", ".join(parameters(kind)), textwrap.indent(expression, "    "))
    try:
        tree = ast.parse(source, "mapping")
        if len(tree.body) != 1:
            raise Unsupported("it leaves the function that authentik makes of it")
        uses = _names(tree, source, kind) | _attributes(tree)
        _check_iterators(tree)
        if uses & _REWRITTEN:
            source = ast.unparse(ast.fix_missing_locations(_Rewriter().visit(tree)))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
        raise Unsupported(f"Python does not parse it ({exc})") from None
    return Checked(source, uses)


def _names(tree: ast.Module, source: str, kind: str) -> frozenset[str]:
    """The global names that an expression uses, all of which are known here."""
    names = frozenset(_globals_of(symtable.symtable(source, "mapping", "exec")))
    for name in sorted(names - NAMES):
        raise Unsupported("it uses %s%s" % (name, " (%s)" % _ELSEWHERE[name] if name in _ELSEWHERE else ""))
    for node in ast.walk(tree):
        own = getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "name", None)
        if own in _OWN:
            raise Unsupported(f"it uses the name {own}")
        if kind == GROUP and own == "request" and isinstance(node, ast.Name):
            raise Unsupported("it uses request, and there is none for a group")
    return names


def _globals_of(table: symtable.SymbolTable) -> t.Iterator[str]:
    """The global names that the code in a scope reads, and those of the scopes within."""
    for symbol in table.get_symbols():
        if symbol.is_global() and symbol.get_name() != "_handler":
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _globals_of(inner)


def _attributes(tree: ast.Module) -> frozenset[str]:
    """The attributes that an expression uses, and a refusal of all that the interpreter lacks or reads differently."""
    found = set()
    for node in ast.walk(tree):
        refused = _REFUSED.get(type(node).__name__)
        if refused is not None:
            raise Unsupported(f"it {refused}")
        if isinstance(node, ast.Attribute):
            if node.attr not in ATTRIBUTES:
                raise Unsupported(f"it uses the attribute {node.attr}")
            if not isinstance(node.ctx, ast.Load):
                raise Unsupported(f"it writes the attribute {node.attr}")
            if isinstance(node.value, ast.Name) and node.value.id in (
                "str",
                "int",
                "float",
                "list",
                "dict",
                "set",
                "bytes",
            ):
                raise Unsupported(f"it uses {node.value.id}.{node.attr}")
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.search("[\ud800-\udfff]", node.value):
                raise Unsupported("it holds a character that UTF-8 does not have")
        elif isinstance(node, ast.Constant) and isinstance(node.value, complex):
            raise Unsupported("it uses a complex number")
        elif isinstance(node, (ast.FunctionDef, ast.Lambda)) and getattr(node, "decorator_list", None):
            raise Unsupported("it uses a decorator")
        elif isinstance(node, ast.Try) and any(
            isinstance(inner, (ast.Return, ast.Break, ast.Continue))
            for part in node.finalbody
            for inner in ast.walk(part)
        ):
            raise Unsupported("it leaves a finally block by return, break or continue")
    return frozenset(found)


def _check_iterators(tree: ast.Module) -> None:
    """Refuse an iterator that is not read where it is made."""
    read = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.For, ast.comprehension)):
            read.add(id(node.iter))
        elif (
            isinstance(node, ast.Starred)
            or isinstance(node, ast.Assign)
            and isinstance(node.targets[0], (ast.Tuple, ast.List))
        ):
            read.add(id(node.value))
        elif isinstance(node, ast.Call):
            function = node.func
            if (isinstance(function, ast.Name) and function.id in _CONSUMERS) or (
                isinstance(function, ast.Attribute) and function.attr in _CONSUMING_METHODS
            ):
                read.update(map(id, node.args))
    for node in ast.walk(tree):
        made = isinstance(node, ast.GeneratorExp) or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ITERATORS
        )
        if made and id(node) not in read:
            raise Unsupported("it keeps an iterator; list(…) in the mapping settles that")


class _Rewriter(ast.NodeTransformer):
    """Reads relations by ``_look(…)``, truth values by ``_truth(…)``, formats by ``_format(…)``: see inside.py."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if node.attr == "format":
            raise Unsupported("it uses format without calling it")
        self.generic_visit(node)
        return (
            _call("_look", node.value, ast.Constant(node.attr))
            if node.attr in _LAZY or node.attr == "attributes"
            else node
        )

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            node.args.insert(0, node.func.value)
            node.func = ast.Name("_format", ast.Load())
        elif _reads_in_any_order(node):
            node.args = [self._unordered(node.args[0])]
        self.generic_visit(node)
        return node

    @staticmethod
    def _unordered(node: ast.expr) -> ast.expr:
        """Say of rows that their order does not matter: with one order tried, an evaluation takes a third of the time."""
        if not isinstance(node, (ast.GeneratorExp, ast.ListComp, ast.SetComp)):
            return node if isinstance(node, ast.Starred) else _call("_unordered", node)
        only = node.generators[0]
        if len(node.generators) == 1 and all(_is_pure(part) for part in [node.elt, *only.ifs]):
            only.iter = _call("_unordered", only.iter)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        node.test = self._truth(node.test)
        node.body = [self.visit(item) for item in node.body]
        node.orelse = [self.visit(item) for item in node.orelse]
        return node

    def visit_While(self, node: ast.While) -> ast.AST:
        return self.visit_If(t.cast(ast.If, node))

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test, node.body, node.orelse = self._truth(node.test), self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.test = self._truth(node.test)
        node.msg = None if node.msg is None else self.visit(node.msg)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        node.target, node.iter = self.visit(node.target), self.visit(node.iter)
        node.ifs = [self._truth(item) for item in node.ifs]
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        node.operand = self._truth(node.operand) if isinstance(node.op, ast.Not) else self.visit(node.operand)
        return node

    def visit_match_case(self, node: t.Any) -> ast.AST:
        raise Unsupported("it uses match beside groups or a password")

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """``a or b`` as a value: the second part is evaluated only where it is needed."""
        if any(isinstance(inner, ast.NamedExpr) for value in node.values[1:] for inner in ast.walk(value)):
            raise Unsupported("it assigns within and or or, beside groups or a password")
        found = self.visit(node.values[-1])
        for value in node.values[-2::-1]:
            later = ast.Lambda(
                args=ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]), body=found
            )
            found = _call("_and" if isinstance(node.op, ast.And) else "_or", self.visit(value), later)
        return found

    def _truth(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.BoolOp):
            node.values = [self._truth(item) for item in node.values]
            return node
        if isinstance(node, (ast.Compare, ast.Constant)) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            return t.cast(ast.expr, self.visit(node))
        return _call("_truth", self.visit(node))


def _reads_in_any_order(node: ast.Call) -> bool:
    """Whether a call gives the same in whatever order it is given the elements of its argument."""
    if not isinstance(node.func, ast.Name) or node.func.id not in _UNORDERED or len(node.args) != 1:
        return False
    return all(keyword.arg == "reverse" for keyword in node.keywords)


def _is_pure(node: ast.expr) -> bool:
    """Whether evaluating an expression surely changes nothing."""
    for inner in ast.walk(node):
        if isinstance(inner, (ast.NamedExpr, ast.Lambda)):
            return False
        if isinstance(inner, ast.Call):
            function = inner.func
            if isinstance(function, ast.Attribute):
                if function.attr in _CHANGING:
                    return False
            elif not isinstance(function, ast.Name) or function.id not in _PURE_FUNCTIONS:
                return False
    return True


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(func=ast.Name(name, ast.Load()), args=list(arguments), keywords=[])
