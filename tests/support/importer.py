# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make importer``: what automation hubs run on an uploaded artifact, galaxy-importer, without error or warning.

Its ansible-test wants docker: ``make sanity`` runs it without. Its flake8 contradicts the formatter: ``make lint`` runs ruff.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .artifact import build
from .tree import ROOT
from .venvs import environment

CONFIGURATION = """\
[galaxy-importer]
ansible_local_tmp = {folder}/ansible
check_changelog = True
check_required_tags = True
offline_ansible_lint = True
run_ansible_doc = True
run_ansible_lint = True
run_ansible_test = False
run_flake8 = False
"""


def main() -> int:
    """Return 0 if galaxy-importer took the artifact and had nothing to say against it."""
    programs = environment("galaxy-importer", ["-r", str(ROOT / "tests" / "requirements-importer.txt")])
    with tempfile.TemporaryDirectory() as folder:
        artifact = build(Path(folder))
        configuration = Path(folder, "galaxy-importer.cfg")
        configuration.write_text(CONFIGURATION.format(folder=folder))
        variables = {
            **os.environ,
            "GALAXY_IMPORTER_CONFIG": str(configuration),
            "HOME": folder,
            "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        }
        for name in ("ANSIBLE_CONFIG", "ANSIBLE_COLLECTIONS_PATH"):
            variables.pop(name, None)
        done = subprocess.run(
            [programs / "python", "-m", "galaxy_importer.main", str(artifact)],
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    findings = [line for line in done.stdout.splitlines() if line.startswith(("WARNING", "ERROR", "CRITICAL"))]
    if done.returncode or findings or "Importer processing completed successfully" not in done.stdout:
        print(done.stdout, file=sys.stderr)
        return 1
    print("galaxy-importer: no error, no warning.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
