# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make release VERSION=1.2.3``: everything up to the artifact and the tag's message; it commits and pushes nothing.

It sets the version, turns the changelog fragments into CHANGELOG.md, builds the artifact twice and holds the two against
each other, and writes the tag's message. Versions are semantic (semver.org): fragments decide what may follow.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from .artifact import build
from .tree import ROOT
from .venvs import beside

PLACE = ROOT / ".build" / "release"
FRAGMENTS = ROOT / "changelogs" / "fragments"
CHANGELOG = ROOT / "changelogs" / "changelog.yaml"
# What the sections of fragments demand of the version that follows.
BREAKING = ("breaking_changes", "removed_features")
FEATURES = ("major_changes", "minor_changes", "deprecated_features")
Version = tuple[int, int, int]


class Refused(Exception):
    """The release cannot be made; says what to do."""


def parsed(version: str) -> Version:
    """A semantic version without a suffix.

    Raises:
        Refused: it is none.
    """
    found = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", version)
    if not found:
        raise Refused(f"VERSION={version} is no semantic version; give three numbers such as 1.2.3.")
    return int(found[1]), int(found[2]), int(found[3])


def releases() -> dict[str, Any]:
    """What was released, by version."""
    return yaml.safe_load(CHANGELOG.read_text())["releases"] if CHANGELOG.is_file() else {}


def sections() -> set[str]:
    """The sections that the fragments have entries in."""
    found: set[str] = set()
    for path in FRAGMENTS.glob("*.y*ml"):
        found |= set(yaml.safe_load(path.read_text()))
    return found


def added() -> dict[str, str]:
    """The version in which each module and role says that it was added."""
    found = {}
    for path in sorted((ROOT / "plugins" / "modules").glob("*.py")):
        mentioned = re.search(r"^version_added: (.+)$", path.read_text(), re.MULTILINE)
        found[path.stem] = mentioned[1].strip("\"'") if mentioned else ""
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found[path.parts[-3]] = str(entry.get("version_added", ""))
    return found


def check(version: str) -> None:
    """Raise Refused if the version may not follow, or the tree is not ready."""
    wanted = parsed(version)
    known = {parsed(item): item for item in releases()}
    last = max(known, default=None)
    if last and wanted <= last:
        raise Refused(f"{version} does not follow {known[last]}, which was released already; give a higher one.")
    found = sections()
    if not found:
        raise Refused("There is no fragment in changelogs/fragments: nothing to release, or nothing was written down.")
    if last and last[0] >= 1:
        if found & set(BREAKING) and wanted[0] == last[0]:
            raise Refused(f"Fragments have {sorted(found & set(BREAKING))}: release {last[0] + 1}.0.0.")
        if found & set(FEATURES) and wanted[:2] == last[:2]:
            raise Refused(f"Fragments have {sorted(found & set(FEATURES))}: release {last[0]}.{last[1] + 1}.0.")
    stray = {name: since for name, since in added().items() if since not in (version, *releases())}
    if stray:
        lines = "\n".join(f"  {name}: version_added {since or 'is missing'}" for name, since in stray.items())
        raise Refused(f"These say that they came with a version that never was; write {version}:\n{lines}")
    changes = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    if changes:
        raise Refused(f"There are changes that are not committed; commit or undo them:\n{changes}")


def set_version(version: str) -> None:
    """Write it into galaxy.yml."""
    path = ROOT / "galaxy.yml"
    path.write_text(re.sub(r"^version: .*$", f"version: {version}", path.read_text(), flags=re.MULTILINE))


def changelog(version: str, day: str) -> None:
    """Turn the fragments into the changelog."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = [beside("antsibull-changelog"), "release", "--version", version, "--date", day, "--reload-plugins"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def message(version: str, digest: str) -> str:
    """The tag's message: what is new, as plain text, and the artifact's checksum."""
    entry = releases()[version]
    changes = entry.get("changes", {})
    lines = [f"dirsync.authentik {version}", ""]
    summary = changes.pop("release_summary", "")
    lines += [summary, ""] if summary else []
    for kind in ("modules", "plugins", "objects"):
        if isinstance(entry.get(kind), list):
            lines += [f"New {kind}:", *[f"- {item['name']}: {item['description']}" for item in entry[kind]], ""]
    for section, items in changes.items():
        lines += [f"{section.replace('_', ' ').capitalize()}:", *[f"- {item}" for item in items], ""]
    return "\n".join([*lines, f"sha256 of dirsync-authentik-{version}.tar.gz: {digest}", ""])


def twice() -> Path:
    """Build the artifact twice; return it if both are the same.

    Raises:
        Refused: they differ.
    """
    first = build(PLACE)
    with tempfile.TemporaryDirectory() as folder:
        second = build(Path(folder))
        if first.read_bytes() != second.read_bytes():
            raise Refused("Two builds of the same files differ: the artifact would not be reproducible.")
    return first


def main() -> int:
    """Return 0 if there is an artifact."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("version", nargs="?", default="")
    parser.add_argument("--date", default=datetime.datetime.now(datetime.timezone.utc).date().isoformat())
    options = parser.parse_args()
    try:
        check(options.version)
        set_version(options.version)
        changelog(options.version, options.date)
        shutil.rmtree(PLACE, ignore_errors=True)
        artifact = twice()
    except Refused as exc:
        print(exc, file=sys.stderr)
        return 1
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    note = PLACE / "tag-message.txt"
    note.write_text(message(options.version, digest))
    print(f"""
{artifact.relative_to(ROOT)}
{note.relative_to(ROOT)}

Read CHANGELOG.md, then:
  git add --all && git commit --message 'Release {options.version}'
  git tag --annotate --file {note.relative_to(ROOT)} {options.version}
  git push --follow-tags
  ansible-galaxy collection publish {artifact.relative_to(ROOT)}
A build from that tag (make artifact) has the same sha256.""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
