# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytecode of what is imported from zip archives, kept in .cache/bytecode.

Ansible hands a module to Python as an archive with everything that it imports, and Python keeps no bytecode of archives: each
task of a playbook compiles a hundred files anew, a quarter of its processor time. Every Python that is started with this folder
on its PYTHONPATH imports this file by itself (tests/conftest.py). What is run is the same, file by file.
"""

from __future__ import annotations

import hashlib
import importlib
import marshal
import os
import sys
from typing import Any

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 3, ".cache", "bytecode")

zipimport: Any = importlib.import_module("zipimport")
relocate: Any = importlib.import_module("_imp")._fix_co_filename
compile_source: Any = getattr(zipimport, "_compile_source", None)


def cached(pathname, source):
    """Return the code object of a source, which says that it comes from this path."""
    place = os.path.join(FOLDER, "%s-%s" % (hashlib.sha256(source).hexdigest(), sys.implementation.cache_tag))
    try:
        with open(place, "rb") as file:
            code = marshal.loads(file.read())
    except OSError:
        return kept(place, compile_source(pathname, source))
    relocate(code, pathname)
    return code


def kept(place, code):
    """Write a code object, whole or not at all, and return it."""
    fresh = "%s.%d" % (place, os.getpid())
    try:
        os.makedirs(FOLDER, exist_ok=True)
        with open(fresh, "wb") as file:
            file.write(marshal.dumps(code))
        os.replace(fresh, place)
    except OSError:
        # Who runs this may have no right to write there.
        pass
    return code


if compile_source is not None:
    zipimport._compile_source = cached
