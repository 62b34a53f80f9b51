# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``ansible-test sanity`` on a copy of the collection, in virtual environments of its own.

ansible-test downloads the script that bootstraps pip; where it cannot, one that uses the interpreter's own ensurepip
does the same. Its home is a folder of the project, so that nothing is left elsewhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from .tree import ROOT, copy_collection

CACHE = ROOT / ".cache" / "sanity"
BOOTSTRAP = """\
import subprocess, sys
wanted = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"])
if any(not a.startswith("-") for a in wanted):
    subprocess.check_call([sys.executable, "-m", "pip", "install", *wanted])
"""


def provide_pip(home: Path) -> None:
    """Put the bootstrap script where ansible-test keeps the one it downloads."""
    source = Path(sysconfig.get_paths()["purelib"]) / "ansible_test" / "_internal" / "python_requirements.py"
    versions = re.findall(r"""\bpip=['"]([0-9.]+)['"]""", source.read_text())
    if not versions:
        raise SystemExit(f"no version of pip found in {source}: ansible-test bootstraps it in another way now")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(BOOTSTRAP)


def interpreters() -> list[str]:
    """Folders with a Python of each version that can be found: pyenv's shims answer for versions that are not active."""
    folders = [str(Path(sys.executable).parent)]
    try:
        root = subprocess.run(["pyenv", "root"], check=True, capture_output=True, text=True).stdout.strip()
        folders += [str(path / "bin") for path in sorted(Path(root, "versions").iterdir())]
    except (OSError, subprocess.CalledProcessError):
        # No pyenv: the Pythons on PATH are real ones.
        pass
    return folders + [entry for entry in os.environ["PATH"].split(os.pathsep) if "shims" not in entry]


def main() -> int:
    """Run it with the given arguments (default: the Python of this environment) and return its exit status."""
    collection = copy_collection(CACHE / "tree")
    # Inside this checkout ansible-test would take the copy for ignored files: it gets a repository of its own.
    (collection / ".gitignore").write_text("tests/output/\n")
    for command in (["git", "init", "--quiet"], ["git", "add", "--all"]):
        subprocess.run(command, cwd=collection, check=True)
    home = CACHE / "home"
    provide_pip(home)
    arguments = sys.argv[1:] or ["--python", f"{sys.version_info.major}.{sys.version_info.minor}"]
    environment = {**os.environ, "HOME": str(home), "PATH": os.pathsep.join(interpreters())}
    environment.pop("ANSIBLE_CONFIG", None)
    environment.pop("ANSIBLE_COLLECTIONS_PATH", None)
    command = ["ansible-test", "sanity", "--venv", "--color", "no", *arguments]
    return subprocess.run(command, cwd=collection, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
