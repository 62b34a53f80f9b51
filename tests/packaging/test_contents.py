# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artifact contains: everything that users need, and nothing that a run in the checkout left behind."""

from __future__ import annotations

import shutil
import subprocess
import tarfile

import pytest

from tests.support.artifact import isolated
from tests.support.tree import ROOT, known_files, packed_files
from tests.support.venvs import beside

# For developers: git keeps them, the artifact does not.
DEVELOPERS = (".ci/", ".github/", ".gitignore", "Makefile", "ansible.cfg", "pyproject.toml", "tests/")
# What playbooks, pip and editors leave in a checkout. The first ones name people.
LEFT_BEHIND = (
    "dirsync/report.jsonl",
    "dirsync/journal.jsonl",
    "drift-report.html",
    "drift-report.json",
    "drift-report.csv",
    "docs/drift-report.html",
    "playbooks/dirsync/report.jsonl",
    "plugins/drift-report.html",
    "roles/drift_report/drift-report.json",
    "people.csv",
    "vault.yml",
    "service-account.json",
    ".env",
    "plugins/modules/__pycache__/google_workspace_sync.cpython-312.pyc",
    "changelogs/.plugin-cache.yaml",
    "tests/output/junit.xml",
)


def test_everything_but_the_files_for_developers_is_packed():
    expected = {name for name in known_files() if not name.startswith(DEVELOPERS)}
    assert set(packed_files()) == expected


def test_the_build_packs_these_files_and_nothing_that_was_left_behind(tmp_path):
    checkout = tmp_path / "checkout"
    for name in known_files():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    for name in LEFT_BEHIND:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("ada.lovelace@example.com")
    command = [beside("ansible-galaxy"), "collection", "build", "--output-path", str(tmp_path), str(checkout)]
    subprocess.run(command, check=True, capture_output=True, env=isolated())
    (artifact,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(artifact) as archive:
        names = {item.name for item in archive.getmembers() if item.isfile()}
    assert names - {"MANIFEST.json", "FILES.json"} == set(packed_files()) - {"galaxy.yml"}


@pytest.mark.parametrize("name", [name for name in LEFT_BEHIND if name.startswith(("dirsync/", "drift-report"))])
def test_git_ignores_what_the_playbooks_write(name):
    assert subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT, check=False).returncode == 0
