# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make release`` in a copy of the repository: what it makes, what it refuses, and that it makes the same twice."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.support.tree import ROOT, known_files

VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]


def copied(place: Path, seed: int) -> Path:
    """The repository, its files laid down in an order and with times of their own, committed."""
    names = known_files()
    random.Random(seed).shuffle(names)
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
        if name.startswith(("plugins/modules/", "roles/")):
            # As a person does before the first release that has them.
            path = place / name
            path.write_text(re.sub(r"version_added: .*", f"version_added: {VERSION}", path.read_text()))
        os.utime(place / name, (seed * 1e6, seed * 1e6))
    for command in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "commit", "--quiet", "--message", "All"],
    ):
        subprocess.run(["git", *command], cwd=place, check=True)
    return place


def release(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.release", *arguments],
        cwd=place,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def place(tmp_path):
    return copied(tmp_path / "one", 1)


def test_a_release_is_complete_and_the_same_from_two_copies(place, tmp_path):
    artifacts = []
    for number, copy in enumerate([place, copied(tmp_path / "two", 2)]):
        done = release(copy, VERSION, "--date", "2031-02-03")
        assert done.returncode == 0, done.stdout + done.stderr
        (artifact,) = (copy / ".build" / "release").glob("*.tar.gz")
        artifacts.append(artifact)
        assert artifact.name == f"dirsync-authentik-{VERSION}.tar.gz", number
    assert artifacts[0].read_bytes() == artifacts[1].read_bytes()
    changelog = (place / "CHANGELOG.md").read_text()
    assert f"v{VERSION}".replace(".", "\\.") in changelog
    assert not list((place / "changelogs" / "fragments").glob("*.yml"))
    message = (place / ".build" / "release" / "tag-message.txt").read_text()
    assert message.startswith(f"dirsync.authentik {VERSION}\n")
    assert hashlib.sha256(artifacts[0].read_bytes()).hexdigest() in message
    assert "google_workspace_sync_object" in message
    with tarfile.open(artifacts[0]) as archive:
        content = {item.name: file.read() for item in archive.getmembers() if (file := archive.extractfile(item))}
        manifest = json.loads(content["MANIFEST.json"])
        listing = content["FILES.json"]
        names = archive.getnames()
        stated = {entry["name"]: entry.get("chksum_sha256") for entry in json.loads(listing)["files"]}
        assert manifest["collection_info"]["version"] == VERSION
        assert manifest["file_manifest_file"]["chksum_sha256"] == hashlib.sha256(listing).hexdigest()
        assert {item.mtime for item in archive.getmembers()} == {1927843200}
        for name in set(content) - {"MANIFEST.json", "FILES.json"}:
            assert stated[name] == hashlib.sha256(content[name]).hexdigest()
    assert "CHANGELOG.md" in names and "README.md" in names
    assert not [name for name in names if name.startswith(("tests", ".", "Makefile"))]
    # Nothing was committed; the rest is for a person to look at.
    log = subprocess.run(["git", "log", "--oneline"], cwd=place, capture_output=True, text=True, check=True).stdout
    assert len(log.splitlines()) == 1


def test_what_is_no_version_is_refused(place):
    done = release(place, "1.2")
    assert done.returncode == 1
    assert "no semantic version" in done.stderr
    assert not (place / ".build").exists()


def test_a_version_that_does_not_follow_is_refused(place):
    assert release(place, VERSION).returncode == 0
    for command in (
        ["add", "--all"],
        ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "commit", "--quiet", "--message", "Out"],
    ):
        subprocess.run(["git", *command], cwd=place, check=True)
    done = release(place, VERSION)
    assert done.returncode == 1
    assert "released already" in done.stderr
    done = release(place, "99.0.0")
    assert "no fragment" in done.stderr


def test_modules_must_state_the_version_that_they_come_with(place):
    done = release(place, "98.7.6")
    assert done.returncode == 1
    assert "google_workspace_sync_object: version_added" in done.stderr
    assert "write 98.7.6" in done.stderr


def test_what_is_not_committed_is_refused(place):
    (place / "README.md").write_text("changed")
    done = release(place, VERSION)
    assert done.returncode == 1
    assert "README.md" in done.stderr
