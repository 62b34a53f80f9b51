# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file may import which: every file below plugins, at any depth, with imports inside functions too."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Collection, Iterator
from typing import NamedTuple

import pytest

from tests.support.tree import ROOT

PLUGINS = ROOT / "plugins"
PAGE = ROOT / "docs" / "architecture.md"
COLLECTION = "ansible_collections.dirsync.authentik.plugins."

# From the top down. A file imports its own package and lower layers; packages of one layer do not import each other.
LAYERS = (
    ("modules",),
    ("module_utils/_module",),
    ("module_utils/_sync", "module_utils/_config"),
    ("module_utils/_mappings",),
    ("module_utils/_objects",),
    ("module_utils/_authentik", "module_utils/_google"),
    ("module_utils/_common",),
)
# What runs on the controller, and what it may import besides itself.
CONTROLLER = {
    "action": ("plugin_utils",),
    "filter": ("plugin_utils",),
    "lookup": ("plugin_utils",),
    "plugin_utils": ("module_utils/_common",),
    "doc_fragments": (),
}
SERVER, DIRECT = "module_utils/_sync/server", "module_utils/_sync/direct"
LOCAL, EVALUATOR = "module_utils/_mappings/local", "module_utils/_mappings/evaluator"
# Packages that are not everywhere, and the files that may import them.
LIBRARIES = {
    "google": ("module_utils/_google/deps",),
    "googleapiclient": ("module_utils/_google/deps",),
    "google_auth_httplib2": ("module_utils/_google/deps",),
    "httplib2": ("module_utils/_google/deps",),
    "RestrictedPython": (LOCAL,),
    "pydantic_monty": (LOCAL,),
    "ansible": ("modules", "module_utils/_module", "module_utils/_authentik/client", *CONTROLLER),
}


class Import(NamedTuple):
    """One import.

    Attributes:
        line: where it stands.
        name: what is imported: a path relative to plugins, without .py, for the collection's own; else a dotted name.
        own: whether it is the collection's own.
    """

    line: int
    name: str
    own: bool


def sources() -> dict[str, str]:
    """The text of every Python file below plugins, by its path without .py."""
    return {str(path.relative_to(PLUGINS).with_suffix("")): path.read_text() for path in sorted(PLUGINS.rglob("*.py"))}


@functools.lru_cache(maxsize=None)
def import_nodes(text: str) -> list[ast.Import | ast.ImportFrom]:
    """Every import statement of a text, wherever in it."""
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]


def imports(file: str, text: str, known: Collection[str]) -> Iterator[Import]:
    """What a file imports, wherever in it the import stands."""
    for node in import_nodes(text):
        if isinstance(node, ast.Import):
            for item in node.names:
                own = item.name.startswith(COLLECTION)
                name = item.name.removeprefix(COLLECTION)
                yield Import(node.lineno, name.replace(".", "/") if own else name, own)
        else:
            module = node.module or ""
            if not node.level and not (module + ".").startswith(COLLECTION):
                yield Import(node.lineno, module, False)
                continue
            base = file.split("/")[: -node.level] if node.level else []
            module = module if node.level else (module + ".").removeprefix(COLLECTION).rstrip(".")
            where = [*base, *(module.split(".") if module else [])]
            for item in node.names:
                # from package import module, or from module import name.
                whole = "/".join([*where, item.name])
                yield Import(node.lineno, whole if whole in known else "/".join(where), True)


def inside(name: str, package: str) -> bool:
    """Whether a file is a package, or below it."""
    return name == package or name.startswith(package + "/")


def layer(name: str) -> int | None:
    """The number of a file's layer, from the top; None for what runs on the controller."""
    return next(
        (number for number, packages in enumerate(LAYERS) if any(inside(name, item) for item in packages)), None
    )


def package_of(name: str) -> str:
    """The package of a layer, or the kind of plugin, that a file belongs to."""
    packages = [*(item for group in LAYERS for item in group), *CONTROLLER]
    return next((item for item in packages if inside(name, item)), "")


def wrong(importer: str, found: Import, known: Collection[str]) -> str:
    """Why a file may not import this; empty if it may."""
    name = found.name
    if not found.own:
        top = name.split(".")[0]
        if top in LIBRARIES and not any(inside(importer, item) for item in LIBRARIES[top]):
            return f"only {', '.join(LIBRARIES[top])} import {top}"
        if top not in LIBRARIES and top not in sys.stdlib_module_names:
            return f"{top} is neither Python's own nor in LIBRARIES"
        return ""
    if name not in known:
        return f"there is no file {name}"
    here, there = package_of(importer), package_of(name)
    if not here or not there:
        return f"{importer if not here else name} belongs to no layer"
    if here in CONTROLLER:
        allowed = (here, *CONTROLLER[here])
        return "" if there in allowed else f"{here} may import {' and '.join(allowed)} only"
    above, below = layer(importer), layer(name)
    if below is None:
        return f"{there} runs on the controller"
    if here == "modules" and there == "modules":
        return "modules do not import each other"
    if here != there and (above is None or above >= below):
        return f"{there} is not below {here}"
    if inside(importer, "module_utils/_sync") and not inside(importer, SERVER) and inside(name, SERVER):
        return "only _sync/server imports _sync/server"
    if inside(importer, "module_utils/_sync") and not inside(importer, DIRECT) and inside(name, DIRECT):
        return "only _sync/direct imports _sync/direct"
    if inside(name, LOCAL) and not inside(importer, LOCAL) and importer != EVALUATOR:
        return "only the evaluator imports the local evaluation"
    return ""


def circles(graph: dict[str, set[str]]) -> list[str]:
    """The files that import each other in a circle, as one text per circle."""
    found: list[str] = []
    done: set[str] = set()

    def walk(file: str, way: tuple[str, ...]) -> None:
        if file in way:
            found.append(" → ".join([*way[way.index(file) :], file]))
        elif file not in done:
            for other in sorted(graph.get(file, ())):
                walk(other, (*way, file))
            done.add(file)

    for file in sorted(graph):
        walk(file, ())
    return found


def violations(texts: dict[str, str]) -> list[str]:
    """Every import that must not be, as file:line, what, and why."""
    found = []
    graph: dict[str, set[str]] = {}
    for file, text in texts.items():
        for item in imports(file, text, texts):
            why = wrong(file, item, texts)
            if why:
                found.append(f"{file}:{item.line} imports {item.name}: {why}")
            elif item.own:
                graph.setdefault(file, set()).add(item.name)
    return found + [f"a circle: {way}" for way in circles(graph)]


def test_every_file_belongs_to_a_layer():
    paths = sources()
    for packages in LAYERS:
        for package in packages:
            assert any(inside(file, package) for file in paths), package
    assert [file for file in paths if not package_of(file)] == []


def test_imports_go_down():
    assert violations(sources()) == []


PLANTED = (
    # A lower layer imports a higher one, or its neighbour: on every layer.
    ("module_utils/_common/masking", "from .._objects.target import Target", "_objects is not below"),
    ("module_utils/_common/masking", "from ansible.module_utils.basic import AnsibleModule", "import ansible"),
    ("module_utils/_authentik/api", "from .._google.errors import GoogleError", "_google is not below"),
    ("module_utils/_google/errors", "from .._authentik.errors import AuthentikError", "_authentik is not below"),
    ("module_utils/_objects/record", "from .._mappings import desired", "_mappings is not below"),
    ("module_utils/_mappings/desired", "from .._sync.outcome import Outcome", "_sync is not below"),
    ("module_utils/_config/names", "from .._sync.plan import KEEPABLE", "_sync is not below"),
    ("module_utils/_sync/outcome", "from .._config.report import Report", "_config is not below"),
    ("module_utils/_sync/outcome", "from .._module import Edge", "_module is not below"),
    ("module_utils/_module", "from ..modules.google_workspace_sync import main", "modules is not below"),
    ("modules/google_workspace_sync", "from . import google_workspace_sync_object", "do not import each other"),
    # Siblings, in every form in which an import can be written.
    ("module_utils/_sync/server/engine", "from ..direct.executor import Executor", "only _sync/direct"),
    ("module_utils/_sync/server/engine", "from ..direct import executor", "only _sync/direct"),
    ("module_utils/_sync/direct/engine", "from ..server.predict import predict", "only _sync/server"),
    ("module_utils/_sync/direct/engine", "def late():\n    from ..server import predict\n", "only _sync/server"),
    (
        "module_utils/_sync/direct/engine",
        "if t.TYPE_CHECKING:\n    from ..server.predict import predict\n",
        "only _sync/server",
    ),
    ("module_utils/_sync/direct/a/b/new", "from ....server.predict import predict", "only _sync/server"),
    (
        "module_utils/_sync/plan",
        f"import {COLLECTION}module_utils._sync.direct.executor as executor",
        "only _sync/direct",
    ),
    ("module_utils/_sync/plan", f"from {COLLECTION}module_utils._sync.direct import executor", "only _sync/direct"),
    ("module_utils/_sync/plan", "from .direct.executor import Executor", "only _sync/direct"),
    ("module_utils/_sync/direct/directory", "from ..._mappings.local.planted import run", "only the evaluator"),
    ("module_utils/_mappings/desired", "from .local.planted import run", "only the evaluator"),
    # Libraries.
    ("module_utils/_google/session", "import httplib2", "import httplib2"),
    ("module_utils/_sync/plan", "def late():\n    from google.oauth2 import service_account\n", "import google"),
    ("module_utils/_mappings/evaluator", "import RestrictedPython", "import RestrictedPython"),
    ("module_utils/_sync/plan", "from ansible.module_utils.basic import AnsibleModule", "import ansible"),
    ("module_utils/_sync/plan", "import requests", "neither Python's own"),
    # The controller.
    ("plugin_utils/wording", "from ..module_utils._sync.outcome import Outcome", "plugin_utils may import"),
    ("filter/drift_report", "from ..action.google_workspace_sync import shown", "filter may import"),
    ("module_utils/_sync/outcome", "from ...plugin_utils.wording import sentences", "runs on the controller"),
    # A circle within a package, a file that is not there, a package that nobody has named.
    ("module_utils/_mappings/desired", "from .evaluator import MappingEvaluator", "a circle"),
    ("module_utils/_mappings/desired", "from .nowhere import anything", "there is no file"),
    ("module_utils/_new/file", "from .._common.masking import mask", "belongs to no layer"),
)


@pytest.mark.parametrize(("file", "text", "why"), PLANTED)
def test_a_wrong_import_is_found(file, text, why):
    texts = {**sources(), f"{LOCAL}/planted": "def run(): ...\n"}
    texts[file] = f"{texts.get(file, '')}\n{text}\n"
    found = violations(texts)
    assert [item for item in found if why in item and file in item], found


def test_the_page_names_every_file():
    """docs/architecture.md lists the files of module_utils, and names none that is not there."""
    text = PAGE.read_text()
    tree = {f"{name.removeprefix('module_utils/')}.py" for name in sources() if name.startswith("module_utils/")}
    listed = re.findall(
        r"^\| `(\w[\w/]*\.py)` \|", text.partition("\n## Files\n")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert sorted(listed) == sorted(tree)
    named = set(re.findall(r"`(_\w+/[\w/]+\.py|_module\.py)`", text))
    assert named - tree == set()
    for folder in re.findall(r"`(_\w+(?:/\w+)*)`", text):
        assert (PLUGINS / "module_utils" / folder).is_dir() or f"{folder}.py" in tree, folder


def test_unit_tests_mirror_plugins():
    """tests/unit/…/test_x.py, or test_x_….py, is about plugins/…/x.py."""
    unit = ROOT / "tests" / "unit"
    tests = [
        path.relative_to(unit) for kind in ("module_utils", "plugin_utils") for path in (unit / kind).rglob("test_*.py")
    ]
    assert tests
    for path in tests:
        about = path.stem.removeprefix("test_")
        names = [item.stem for item in (PLUGINS / path.parent).glob("*.py")]
        assert any(about == name or about.startswith(f"{name}_") for name in names), path
