# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make docs``: the documentation is checked, and built as a site into .build/docs/site.

The pages are those of docs; the reference of modules and roles is generated from their own documentation. A warning of
any tool fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

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
    done = subprocess.run(command, env=environment(tree), stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        return done.returncode
    for page in reference.glob("*.rst"):
        # The theme shows the contents of a page beside it.
        page.write_text(re.sub(r"^\.\. contents::\n(?:   .*\n)*", "", page.read_text(), flags=re.MULTILINE))
    index = source / "index.md"
    listed = set(re.findall(r"^[\w-]+$", index.read_text(), re.MULTILINE)) | {"index"}
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
