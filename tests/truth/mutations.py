# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mutations of the collection's heart that ``make mutants`` judges.

mutmut's operators, and four of our own for the ways in which this collection could lie: a statement left out, a condition
that is always or never met, an exception swallowed, a list cut short. What cannot matter is not mutated: documentation,
annotations, casts for the type checker, texts for people.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

from tests.support.tree import ROOT

UTILS = "plugins/module_utils"
# What decides about a sync: packages, with all that is below them, and files.
HEART = ("_common", "_objects", "_mappings", "_sync")
HEART_FILES = ("_authentik/tasks.py", "_authentik/log_events.py")
EDGE = "plugins/module_utils/_module.py"
MODULES = "plugins/modules"


@dataclass(frozen=True)
class Mutant:
    """One change of one place.

    Attributes:
        file, line: where, relative to the checkout.
        kind: which operator.
        before, after: the changed node's source.
        number: which of its file's mutants it is.
    """

    file: str
    line: int
    kind: str
    before: str
    after: str
    number: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.kind}: {_short(self.before)} → {_short(self.after)}"


def files() -> list[str]:
    """The files whose mutations are judged."""
    found = [ROOT / EDGE, *(ROOT / UTILS / file for file in HEART_FILES), *ROOT.glob(f"{MODULES}/*.py")]
    for package in HEART:
        found.extend((ROOT / UTILS / package).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


def everything() -> list[Mutant]:
    """The mutants of all files."""
    return [mutant for file in files() for mutant in mutants_of(file)]


def mutants_of(file: str) -> list[Mutant]:
    """All mutants of a file."""
    module, changes = _changes(file)
    return [
        Mutant(file, line, kind, module.code_for_node(old), module.code_for_node(new), number)
        for number, (line, kind, old, new) in enumerate(changes)
    ]


def mutated(mutant: Mutant) -> str:
    """The source of the mutant's file with the one change."""
    module, changes = _changes(mutant.file)
    _line, _kind, old, new = changes[mutant.number]
    changed = module.deep_replace(old, new)
    assert isinstance(changed, cst.Module)
    return changed.code


@functools.lru_cache(maxsize=None)
def _changes(file: str) -> tuple[cst.Module, list[tuple[int, str, cst.CSTNode, cst.CSTNode]]]:
    wrapper = MetadataWrapper(cst.parse_module((ROOT / file).read_text()))
    visitor = _Visitor()
    wrapper.visit(visitor)
    return wrapper.module, visitor.found


def _names(node: cst.BaseString) -> Iterable[cst.BaseString]:
    """Names, keys and values; not what is written for people, and not documentation."""
    if isinstance(node, cst.SimpleString) and not node.value.startswith(('"""', 'r"""')):
        value = node.evaluated_value
        if isinstance(value, str) and value and not set(value) & set(" \n"):
            yield node.with_changes(value=f'"XX{value}XX"' if '"' not in value and "\\" not in value else '"XX"')


def _left_out(node: cst.SimpleStatementLine) -> Iterable[cst.SimpleStatementLine]:
    """A statement that does something, left out."""
    [*small] = node.body
    if len(small) != 1:
        return
    does = m.Expr(m.Call()) | m.Raise() | m.AugAssign() | m.Continue() | m.Return(m.DoNotCare())
    stores = m.Assign(targets=[m.AssignTarget(m.Attribute() | m.Subscript())]) | m.Del()
    if m.matches(small[0], does) or m.matches(small[0], stores):
        yield node.with_changes(body=[cst.Pass()])


def _forced(node: cst.If) -> Iterable[cst.If]:
    """A condition that is always, or never, met."""
    for value in ("True", "False"):
        if not m.matches(node.test, m.Name(value)):
            yield node.with_changes(test=cst.Name(value))


def _swallowed(node: cst.ExceptHandler) -> Iterable[cst.ExceptHandler]:
    """An exception that nothing is done about."""
    if not m.matches(node.body, m.IndentedBlock([m.SimpleStatementLine([m.Pass()])])):
        yield node.with_changes(body=cst.IndentedBlock([cst.SimpleStatementLine([cst.Pass()])]))


def _cut_short(node: cst.For) -> Iterable[cst.For]:
    """A loop that does not see its first item."""
    rest = cst.parse_expression("list(x)[1:]")
    call = cst.ensure_type(rest, cst.Subscript)
    yield node.with_changes(iter=call.with_deep_changes(cst.ensure_type(call.value, cst.Call).args[0], value=node.iter))


OPERATORS: Sequence[tuple[type, Callable[[Any], Iterable[cst.CSTNode]], str]] = [
    *(
        (kind, operator, operator.__name__.removeprefix("operator_").replace("_", " "))
        for kind, operator in mutators.mutation_operators
        if operator is not mutators.operator_string
    ),
    (cst.BaseString, _names, "string"),
    (cst.SimpleStatementLine, _left_out, "statement left out"),
    (cst.If, _forced, "condition forced"),
    (cst.ExceptHandler, _swallowed, "exception swallowed"),
    (cst.For, _cut_short, "loop cut short"),
]
# What cannot matter, or only to people: left alone as a whole.
_TEXT = m.SimpleString() | m.ConcatenatedString()
_IDLE = (
    m.Annotation()
    | m.Import()
    | m.ImportFrom()
    | m.Call(m.Attribute(attr=m.Name("warn") | m.Name("info") | m.Name("notice")) | m.Name("warn"))
    | m.Call(m.Attribute(m.Name("t"), m.Name("cast")))
    | m.Call(m.Name("isinstance"))
    | m.BinaryOperation(left=_TEXT, operator=m.Modulo())
    | m.SimpleStatementLine([m.Expr(_TEXT)])
    | m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name("Json"))])])
    | m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name(m.MatchIfTrue(str.isupper)))], _TEXT)])
    | m.If(m.Attribute(m.Name("t"), m.Name("TYPE_CHECKING")))
    | m.If(m.Comparison(m.Name("__name__")))
)


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, str, cst.CSTNode, cst.CSTNode]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, _IDLE):
            return False
        for kind, operator, name in OPERATORS:
            if isinstance(node, kind):
                for changed in operator(node):
                    line = self.get_metadata(PositionProvider, node).start.line
                    self.found.append((line, name, node, changed))
        return True


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else line[:87] + "…"
