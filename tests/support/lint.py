# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-lint with the profile production on a copy of the collection."""

from __future__ import annotations

import subprocess
import sys

from .tree import ROOT, copy_collection


def main() -> int:
    """Return ansible-lint's exit status."""
    collection = copy_collection(ROOT / ".cache" / "lint")
    command = ["ansible-lint", "--offline", "--profile", "production", "--strict", "--nocolor", "."]
    return subprocess.run(command, cwd=collection, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
