# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytecode that is kept of zip archives: taken for the same source only, wherever it lies."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile

from tests.support.tree import ROOT


def run(place, archive, source):
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("tried.py", source)
    code = f"import sys; sys.path.insert(0, {str(archive)!r}); import tried; print(tried.__file__, tried.f.__code__.co_filename)"
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env={"PYTHONPATH": str(place)}, capture_output=True, text=True, check=True
    ).stdout.split()


def test_bytecode_is_of_this_source_and_of_this_path(tmp_path):
    place = tmp_path / "tests" / "support" / "bytecode"
    shutil.copytree(ROOT / "tests" / "support" / "bytecode", place)
    folder = tmp_path / ".cache" / "bytecode"
    for number, (name, value, kept) in enumerate([("a", 1, 1), ("b", 1, 1), ("b", 2, 2)]):
        archive = tmp_path / f"{name}{number}.zip"
        source = f"def f():\n    return {value}\nprint(f())\n"
        assert run(place, archive, source) == [str(value), f"{archive}/tried.py", f"{archive}/tried.py"]
        assert len(list(folder.iterdir())) == kept


def test_where_nothing_can_be_kept_everything_still_runs(tmp_path):
    place = tmp_path / "tests" / "support" / "bytecode"
    shutil.copytree(ROOT / "tests" / "support" / "bytecode", place)
    (tmp_path / ".cache").write_text("not a folder")
    assert run(place, tmp_path / "a.zip", "def f(): pass\n") == [f"{tmp_path}/a.zip/tried.py"] * 2
