# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A managed host with nothing but Python: the module works, and says what it rests on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.playbook import run_playbook
from tests.support.tree import ROOT

PLAY = ROOT / "tests" / "bench" / "plays" / "module.yml"


def test_without_googles_libraries(tmp_path, sandboxes):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    bare = {"ansible_python_interpreter": str(Path(tmp_path, "bare", "bin", "python"))}
    with sandboxes() as sandbox:
        variables = {**bare, "sandbox": sandbox.info, "pk": "6"}
        done = run_playbook(PLAY, {**variables, "verify": "auto"}, "-v")
        assert done.returncode == 0, done.stdout
        # A connection that is new does not tell whether the account was: hence assumed, and a warning that says so.
        assert '"basis": "assumed"' in done.stdout
        assert "that it changed is assumed" in done.stdout + done.stderr
        assert '"status": "synced"' in done.stdout
        assert "google-api-python-client" in done.stdout + done.stderr
        strict = run_playbook(PLAY, {**variables, "verify": "google"}, "-v")
        assert strict.returncode != 0
        assert '"code": "google_libraries"' in strict.stdout
        assert '"basis": "nothing_sent"' in strict.stdout
        syncs = [item for item in sandbox.authentik_requests() if item["path"].endswith("/sync/object/")]
        assert len(syncs) == 1  # The first run's: the strict one asked for nothing.
