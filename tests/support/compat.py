# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make compat``: the unit tests and the integration targets with the oldest and the newest ansible-core that the
collection supports and this machine has a Python for, against the newest authentik that the sandbox plays; and with each of them,
that nothing of authentik, Google or an event is evaluated as a template.
"""

from __future__ import annotations

import os
import subprocess
import sys

from .cores import CANDIDATES, CORES, available, core_environment
from .tree import ROOT

# The older servers are what `make test` is for: they and ansible-core do not know each other.
OLDER_SERVERS = "not 2024.8.1 and not 2025.8.6"
# The documentation's tools are in the project's own environment only.
TESTS = ("tests/unit", "tests/integration/test_targets.py")
# What is evaluated as a template differs from version to version.
TEMPLATES = "tests/integration/test_templates.py"


def main() -> int:
    """Return 0 if the tests passed with each."""
    found = available(sorted(CORES, key=_number))
    failed = [] if found else list(CORES)
    released = [core for core in found if core not in CANDIDATES]
    for core in found:
        tests = (*TESTS, TEMPLATES) if core in (*released[:1], *released[-1:]) else (TEMPLATES,)
        requirements = [ROOT / "tests" / "requirements-run.txt", ROOT / "requirements.txt"]
        programs = core_environment(core, *[item for file in requirements for item in ("-r", str(file))])
        print(f"{', '.join(tests)} with ansible-core {core}", flush=True)
        environment = {**os.environ, "PATH": os.pathsep.join([str(programs), os.environ["PATH"]])}
        command = [
            str(programs / "python"),
            "-m",
            "pytest",
            "-n",
            "2",
            "--dist",
            "worksteal",
            "-q",
            "-k",
            OLDER_SERVERS,
        ]
        done = subprocess.run([*command, *tests, *sys.argv[1:]], cwd=ROOT, env=environment, check=False)
        if done.returncode:
            failed.append(core)
    if failed:
        print(f"compat: failures with ansible-core {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


if __name__ == "__main__":
    sys.exit(main())
