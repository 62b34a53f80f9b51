# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make docs``: the reference of the modules, generated from their documentation into docs/reference."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from .tree import ROOT, copy_collection


def main() -> int:
    """Return antsibull-docs' exit status."""
    target = ROOT / "docs" / "reference"
    tree = ROOT / ".cache" / "docs"
    copy_collection(tree)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    command = [
        *("antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--output-format", "simplified-rst"),
        *("--fail-on-error", "--no-indexes", "--dest-dir", str(target), "dirsync.authentik"),
    ]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tree)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
