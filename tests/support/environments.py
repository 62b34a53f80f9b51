# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make environments``: what execution environments are made of.

ansible-builder takes the example definition, and finds the packages of requirements.txt in the installed artifact. Those
packages, in their newest and in their oldest allowed releases, are all that an otherwise empty Python needs for a real run
with ``engine: direct``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from tests.sandbox.process import Sandbox

from .artifact import build, install, isolated
from .playbook import run_playbook
from .tree import ROOT
from .venvs import beside, environment

PLACE = ROOT / ".cache" / "environments"
EXAMPLE = ROOT / "docs" / "examples" / "execution-environment.yml"
PLAY = ROOT / "tests" / "support" / "plays" / "direct.yml"


def wanted() -> list[str]:
    """The requirements as they stand in requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return sorted(line for line in lines if line and not line.startswith("#"))


def creates() -> None:
    """ansible-builder makes a build context of the example."""
    context = PLACE / "context"
    command = [beside("ansible-builder"), "create", "--file", str(EXAMPLE), "--context", str(context)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    collections = yaml.safe_load((context / "_build" / "requirements.yml").read_text())["collections"]
    assert [item["name"] for item in collections] == ["dirsync.authentik"], collections


def resolved(folder: Path) -> list[str]:
    """The Python requirements that ansible-builder finds in a folder of collections."""
    command = [beside("ansible-builder"), "introspect", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=isolated(folder))
    found = yaml.safe_load(done.stdout)
    assert found["system"] == [], found
    return sorted(re.sub(r"\s*# from collection .*", "", line) for line in found["python"])


def oldest(requirement: str) -> str:
    """A requirement narrowed to the oldest release that it allows."""
    parsed = Requirement(requirement)
    (floor,) = [item.version for item in parsed.specifier if item.operator == ">="]
    return f"{parsed.name}=={floor}"


def runs(python: Path) -> None:
    """A person reaches Google with the direct engine and the given Python."""
    with Sandbox() as sandbox:
        done = run_playbook(PLAY, {"ansible_python_interpreter": str(python), "sandbox": sandbox.info}, "-v")
        assert done.returncode == 0, done.stdout
        assert '"status": "synced"' in done.stdout and '"engine": "direct"' in done.stdout, done.stdout
        written = [item for item in sandbox.google_requests() if item["method"] == "POST" and "users" in item["path"]]
        assert len(written) == 1, written


def main() -> int:
    """Return 0 if everything was so."""
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    creates()
    print(f"ansible-builder create: takes {EXAMPLE.relative_to(ROOT)}", flush=True)
    found = resolved(install(build(PLACE), PLACE / "installed"))
    assert found == wanted(), f"ansible-builder introspect found {found}, requirements.txt has {wanted()}"
    print(f"ansible-builder introspect: {', '.join(found)}", flush=True)
    for name, requirements in (("newest", found), ("oldest", [oldest(item) for item in found])):
        programs = environment(f"execution-{name}", requirements)
        runs(programs / "python")
        print(f"engine: direct with the {name} of them: a person reached Google", flush=True)
    return 0


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    sys.exit(main())
