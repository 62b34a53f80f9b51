# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-lint with the profile production on a copy of the whole repository, at a path as Ansible wants it."""

from __future__ import annotations

import os
import subprocess
import sys

from .tree import ROOT, copy_collection, known_files
from .venvs import beside, folders


def main() -> int:
    """Return ansible-lint's exit status."""
    tree = ROOT / ".cache" / "lint"
    collection = copy_collection(tree, known_files())
    command = [beside("ansible-lint"), "--offline", "--profile", "production", "--strict", "--nocolor", "."]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tree), "PATH": os.pathsep.join(folders())}
    environment.pop("ANSIBLE_CONFIG", None)
    return subprocess.run(command, cwd=collection, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
