# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make docs``: the documentation is checked, and built as a site into .build/docs/site.

The pages are those of docs; the reference of modules and roles is generated from their own documentation, and the release
notes from the changelog and the fragments that no release has taken yet. A warning of any tool fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import yaml

from . import release
from .playbook import empty_configuration
from .tree import ROOT, copy_collection
from .venvs import beside

PLACE = ROOT / ".build" / "docs"
SITE = PLACE / "site"
# The labels of Ansible's own documentation that a generated reference points to, and where they are.
ANSIBLE = {
    "action_plugins": "plugins/action.html#action-plugins",
    "ansible_configuration_settings": "reference_appendices/config.html#ansible-configuration-settings",
    "common_return_values": "reference_appendices/common_return_values.html#common-return-values",
}


def inventory(path: Path) -> None:
    """Write the labels in Sphinx' form, so that the build needs no network."""
    head = b"# Sphinx inventory version 2\n# Project: Ansible\n# Version: \n# The rest is compressed with zlib.\n"
    lines = "".join(f"{label} std:label -1 {place} {label.replace('_', ' ')}\n" for label, place in ANSIBLE.items())
    path.write_bytes(head + zlib.compress(lines.encode()))


def checked(tree: Path, collection: Path) -> int:
    """antsibull-docs on the collection's own documentation, as strict as it gets."""
    command = [
        *(beside("antsibull-docs"), "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self"),
        *("--disallow-unknown-collection-refs", "--check-extra-docs-refs", str(collection)),
    ]
    return subprocess.run(command, cwd=tree, env=environment(tree), check=False).returncode


def environment(tree: Path) -> dict[str, str]:
    """Only the copy is to be seen."""
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(tree),
        "ANSIBLE_CONFIG": str(empty_configuration()),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


def shortened(page: str) -> str:
    """A generated page with a title that fits into the sidebar, and without the contents that the theme shows beside it."""
    page = re.sub(r"^\.\. contents::\n(?:   .*\n)*", "", page, flags=re.MULTILINE)
    page = page.replace(
        "\nDirsync.Authentik\n=================\n", "\nModules, roles and filters\n==========================\n"
    )
    title = r"^dirsync\.authentik\.(\w+) (\w+) -- (.*)\n\++\n"

    def short(found: re.Match[str]) -> str:
        name = found[1] if found[2] == "module" else f"{found[1]} ({found[2]})"
        return f"{name}\n{'+' * len(name)}\n\n{found[3]}\n"

    return re.sub(title, short, page, flags=re.MULTILINE)


def release_notes(tree: Path) -> str:
    """CHANGELOG.md as the next release will write it; as it is if there are no fragments."""
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    collection = tree / "ansible_collections" / "dirsync" / "authentik"
    if not release.sections():
        return (ROOT / "CHANGELOG.md").read_text()
    if version in release.releases():
        # What comes after a release has no number yet.
        major, minor, patch = release.parsed(version)
        version = f"{major}.{minor}.{patch + 1}-unreleased"
    # antsibull-changelog lists new modules and roles of a Git repository only.
    subprocess.run(["git", "init", "--quiet"], cwd=collection, check=True)
    command = [beside("antsibull-changelog"), "release", "--version", version, "--reload-plugins"]
    done = subprocess.run(command, cwd=collection, env=environment(tree), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"antsibull-changelog could not write the release notes: {done.stdout}{done.stderr}")
    notes = (collection / "CHANGELOG.md").read_text()
    # The theme shows the topics beside the page.
    notes = re.sub(r"\*\*Topics\*\*\n\n(?: *- <a .*\n)*", "", notes)
    heading = "v" + re.sub(r"([.-])", r"\\\1", version)
    return notes.replace(f"## {heading}\n", f"## {heading.removeprefix('v')}, not released yet\n")


def built(tree: Path) -> int:
    """The site."""
    source = PLACE / "source"
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.copytree(ROOT / "docs", source)
    reference = source / "reference"
    reference.mkdir(mode=0o755)
    command = [
        *(beside("antsibull-docs"), "collection", "--use-current", "--squash-hierarchy", "--fail-on-error"),
        *("--dest-dir", str(reference), "dirsync.authentik"),
    ]
    done = subprocess.run(command, env=environment(tree), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        return done.returncode
    # It lists variables that a collection defines for Ansible itself, of which there are none; docs has a page of its own.
    (reference / "environment_variables.rst").unlink()
    for page in reference.glob("*.rst"):
        page.write_text(shortened(page.read_text()))
    (source / "changelog.md").write_text(release_notes(tree))
    index = source / "index.md"
    listed = set(re.findall(r"^(?:[\w ]+ <)?([\w-]+)>?$", index.read_text(), re.MULTILINE)) | {"index"}
    others = sorted(page.stem for page in source.glob("*.md") if page.stem not in listed)
    index.write_text(index.read_text().replace("\n*\n", "".join(f"\n{name}" for name in others) + "\n"))
    inventory(source / "ansible.inv")
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--fresh-env", "--builder", "html"]
    command = [beside("sphinx-build"), *options, str(source), str(SITE)]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    """Return 0 if nothing was found and the site was built."""
    tree = ROOT / ".cache" / "docs"
    collection = copy_collection(tree)
    status = checked(tree, collection) or built(tree)
    if not status:
        print(f"docs: clean; the site is {SITE.relative_to(ROOT)}/index.html")
    return status


if __name__ == "__main__":
    sys.exit(main())
