# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make artifact``: build the collection's artifact, install it into an empty folder and run the demo from there.

``ansible-galaxy collection build`` writes the order of the file system and the time of day into the artifact. Here it is
packed anew in the order of names, with the day of the release: the same files give the same bytes, on any machine.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from . import demo
from .playbook import empty_configuration
from .tree import ROOT, copy_collection
from .venvs import beside

FOLDER = ROOT / ".build" / "artifact"


def release_day(tree: Path) -> int:
    """Midnight of the day on which the version was released, in seconds since 1970; for an unreleased one, 1980."""
    version = yaml.safe_load((tree / "galaxy.yml").read_text())["version"]
    changelog = tree / "changelogs" / "changelog.yaml"
    releases = yaml.safe_load(changelog.read_text())["releases"] if changelog.is_file() else {}
    day = releases.get(version, {}).get("release_date", "1980-01-01")
    return int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())


def build(folder: Path = FOLDER) -> Path:
    """Build the artifact into a folder and return its path."""
    work = folder / "work"
    tree = copy_collection(work)
    command = [beside("ansible-galaxy"), "collection", "build", "--force", "--output-path", str(folder), str(tree)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=isolated())
    (artifact,) = folder.glob("dirsync-authentik-*.tar.gz")
    artifact.write_bytes(repacked(artifact, release_day(tree)))
    shutil.rmtree(work)
    return artifact


def repacked(artifact: Path, time: int) -> bytes:
    """The artifact's content in an order and with times that depend on nothing else."""
    with tarfile.open(artifact) as archive:
        found = {item.name: (item, _read(archive, item)) for item in archive.getmembers()}
    listing = json.loads(found["FILES.json"][1])
    listing["files"].sort(key=lambda entry: entry["name"])
    manifest = json.loads(found["MANIFEST.json"][1])
    files = _dumped(listing)
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(files).hexdigest()
    content = {name: data for name, (_item, data) in found.items()}
    content.update({"FILES.json": files, "MANIFEST.json": _dumped(manifest)})
    first = ["MANIFEST.json", "FILES.json"]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in [*first, *sorted(set(found) - set(first))]:
            item = found[name][0]
            item.mtime = time
            # The former time of day stands there, too.
            item.pax_headers = {}
            item.size = len(content[name])
            archive.addfile(item, io.BytesIO(content[name]) if item.isfile() else None)
    return gzip.compress(out.getvalue(), mtime=0)


def _read(archive: tarfile.TarFile, item: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(item) if item.isfile() else None
    return file.read() if file else b""


def _dumped(value: Any) -> bytes:
    return json.dumps(value, indent=True).encode()


def isolated(collections: Path | None = None) -> dict[str, str]:
    """The environment of a person who has nothing but what lies in a folder of collections."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(empty_configuration()), "ANSIBLE_LOCALHOST_WARNING": "0"}
    environment.pop("ANSIBLE_COLLECTIONS_PATH", None)
    if collections:
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    return environment


def install(artifact: Path, folder: Path) -> Path:
    """Install the artifact into an empty folder, have it verified, and return the folder."""
    galaxy = beside("ansible-galaxy")
    command = [galaxy, "collection", "install", "--offline", "--collections-path", str(folder), str(artifact)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=isolated(folder))
    command = [galaxy, "collection", "verify", "--offline", "--collections-path", str(folder), "dirsync.authentik"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=isolated(folder))
    return folder


def main() -> int:
    """Return 0 if the demo worked from the installed artifact."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    artifact = build()
    print(f"Built {artifact.relative_to(ROOT)}, {artifact.stat().st_size // 1024} KiB.", flush=True)
    folder = install(artifact, FOLDER / "installed")
    print(f"Installed into {folder.relative_to(ROOT)}; the demo from there:\n", flush=True)
    return demo.main(folder)


if __name__ == "__main__":
    sys.exit(main())
