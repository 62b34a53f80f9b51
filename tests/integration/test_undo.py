# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/undo.md: its command, run as it stands there, prints the values that a run replaced."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.support.module import reaching, run_module
from tests.support.tree import ROOT


@pytest.mark.skipif(shutil.which("jq") is None, reason="the page uses jq, which is not on this machine")
def test_the_report_has_the_values_that_were_replaced(tmp_path, sandboxes):
    command = re.search(r"^    (jq .*)$", (ROOT / "docs" / "undo.md").read_text(), re.MULTILINE)
    assert command
    with sandboxes() as sandbox:
        options = {**reaching(sandbox), "membership": "exact"}
        run_module(options, module="google_workspace_sync")
        # Somebody's own change at Google, which the next run replaces.
        name = {"name": {"givenName": "Adah", "familyName": "Example"}}
        sandbox.control("PATCH", "google/users/ada.example@corp.example.com", name)
        run_module({**options, "report_path": str(tmp_path / "report.jsonl")}, module="google_workspace_sync")
    done = subprocess.run(
        ["bash", "-c", command[1]], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == [
        "ada.example\tname.displayName\tAdah Example",
        "ada.example\tname.givenName\tAdah",
    ]
