# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual environments below .cache/venvs, made on demand: other versions of ansible-core, and tools whose own
requirements clash with those of the project's environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .tree import ROOT

VENVS = ROOT / ".cache" / "venvs"
# The first words of a line that says what was not run, and why.
SKIPPED = "SKIPPED:"


def folders() -> list[str]:
    """Folders in which programs are looked for, with a Python of each version that can be found.

    pyenv's shims answer for versions that are not active; the real interpreters stand first.
    """
    found = [str(Path(sys.executable).parent)]
    try:
        root = subprocess.run(["pyenv", "root"], check=True, capture_output=True, text=True).stdout.strip()
        found += [str(path / "bin") for path in sorted(Path(root, "versions").iterdir())]
    except (OSError, subprocess.CalledProcessError):
        # No pyenv: the Pythons on PATH are real ones.
        pass
    return found + [entry for entry in os.environ["PATH"].split(os.pathsep) if "shims" not in entry]


@functools.cache
def pythons() -> dict[str, str]:
    """The Pythons of this machine: version ("3.12") to interpreter, those that can make an environment only."""
    # Its own file, and no link to it: an environment is the same, whichever of both asks for it.
    found: dict[str, str] = {f"{sys.version_info.major}.{sys.version_info.minor}": os.path.realpath(sys.executable)}
    for folder in folders():
        for path in sorted(Path(folder).glob("python3.*")):
            version = path.name.removeprefix("python")
            if re.fullmatch(r"3\.\d+", version) and version not in found and _usable(path):
                found[version] = str(path)
    return found


def _usable(python: Path) -> bool:
    done = subprocess.run([python, "-c", "import ensurepip, venv, ssl"], capture_output=True, check=False)
    return done.returncode == 0


def environment(name: str, requirements: Sequence[str], python: str = sys.executable) -> Path:
    """The folder of programs of an environment that holds the given requirements.

    It is made when it is missing, and anew when what it should hold has changed.

    Args:
        name: its name below .cache/venvs.
        requirements: arguments for pip, such as "reuse>=5" or "-r" and a file.
        python: the interpreter to make it with.
    """
    place = VENVS / name
    stamp = place / ".holds"
    files = [Path(item).read_text() for item in requirements if Path(item).is_file()]
    wanted = hashlib.sha256("\n".join([python, *requirements, *files]).encode()).hexdigest()
    with _alone(name):
        if not (stamp.is_file() and stamp.read_text() == wanted):
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run([python, "-m", "venv", str(place)], check=True)
            subprocess.run([place / "bin" / "python", "-m", "pip", "install", "-qq", *requirements], check=True)
            stamp.write_text(wanted)
    return place / "bin"


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Only one process at a time makes an environment; others that want it wait."""
    VENVS.mkdir(parents=True, exist_ok=True)
    with (VENVS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def beside(program: str) -> str:
    """The path of a program of the environment that this runs in."""
    return str(Path(sys.executable).with_name(program))
