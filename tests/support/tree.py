# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the collection as it is packed, for tools that want it at a path of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def known_files() -> list[str]:
    """The files that git knows, or would."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [name for name in listing.splitlines() if (ROOT / name).is_file()]


def packed_files() -> list[str]:
    """Those of them that belong to the built collection by the manifest of galaxy.yml, and galaxy.yml, which a build reads."""
    # What builds needs them; the demo does not, nor whoever only wants an environment with another ansible-core.
    import yaml
    from distlib.manifest import Manifest

    known = known_files()
    manifest = Manifest(str(ROOT))
    manifest.allfiles = [str(ROOT / name) for name in known]
    for directive in yaml.safe_load((ROOT / "galaxy.yml").read_text())["manifest"]["directives"]:
        manifest.process_directive(directive)
    return [name for name in known if str(ROOT / name) in manifest.files or name == "galaxy.yml"]


def copy_collection(target: Path, files: Sequence[str] | None = None) -> Path:
    """Copy the collection (or the given files) to target/ansible_collections/dirsync/authentik and return that path."""
    path = target / "ansible_collections" / "dirsync" / "authentik"
    shutil.rmtree(target, ignore_errors=True)
    for name in packed_files() if files is None else files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, path / name)
    return path
