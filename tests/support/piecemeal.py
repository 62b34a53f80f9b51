# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages whose parts are imported when they are first used.

authentik's published client makes its 900 models and the checks of its 3,500 calls when it is imported: ten seconds of every
process that collects tests, for the few of them that two tests use.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any


class Piecemeal(types.ModuleType):
    """A package in whose place its names are known, and which module each comes from.

    Args:
        name: the package, which is installed and was not imported yet.
        places: the folders of its modules.
        sources: {name: module that it is imported from}, with the name that it has there.
    """

    def __init__(self, name: str, places: list[str], sources: dict[str, tuple[str, str]]) -> None:
        super().__init__(name)
        self.__path__ = places
        self._sources = sources

    def __getattr__(self, name: str) -> Any:
        if name not in self._sources:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, there = self._sources[name]
        value = getattr(importlib.import_module(module), there)
        setattr(self, name, value)
        return value


def import_piecemeal(*names: str) -> None:
    """Let these packages, a package before those inside it, import their parts when they are used.

    A package that is not installed, or was imported already, is left alone.
    """
    for name in names:
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or spec.submodule_search_locations is None:
            return
        sources = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(ast.parse(Path(spec.origin).read_text()))
            if isinstance(node, ast.ImportFrom) and node.module and not node.level
            for alias in node.names
        }
        module = Piecemeal(name, list(spec.submodule_search_locations), sources)
        module.__spec__ = spec
        sys.modules[name] = module
        parent, _dot, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
