# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real ansible-playbook runs against this checkout, with nothing of the caller's environment that the modules read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .module import PREFIXES
from .tree import ROOT
from .venvs import beside

PROGRAM = beside("ansible-playbook")


def empty_configuration() -> Path:
    """A configuration file that says nothing: Ansible takes no other into account then."""
    path = ROOT / ".cache" / "empty.cfg"
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def run_playbook(
    playbook: Path,
    variables: Mapping[str, Any],
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    capture: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a playbook on localhost with this Python.

    Args:
        variables: extra variables.
        arguments: further ones of the command line.
        environment: further variables of the environment.
        capture: whether to keep the output instead of showing it.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIXES)}
    own = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build")}
    everything = json.dumps({"ansible_python_interpreter": sys.executable, **variables})
    return subprocess.run(
        [PROGRAM, "-i", "localhost,", "-c", "local", "-e", everything, str(playbook), *arguments],
        cwd=ROOT,
        env={**kept, **own, **(environment or {})},
        capture_output=capture,
        text=True,
        timeout=300,
        check=False,
    )
