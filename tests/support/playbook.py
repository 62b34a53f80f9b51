# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real ansible-playbook runs against this checkout, with nothing of the caller's environment that the modules read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .module import PREFIXES, ModuleRun, module_run
from .tree import ROOT
from .venvs import beside
from .warm import ARCHIVED, ARCHIVES, CALLBACKS, INTERPRETER

PROGRAM = beside("ansible-playbook")


def interpreter() -> str:
    """The Python that runs modules: this one, or in ``make check`` one that starts faster (warm.py)."""
    return os.environ.get(INTERPRETER) or sys.executable


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
    everything = json.dumps({"ansible_python_interpreter": interpreter(), **variables})
    return subprocess.run(
        [PROGRAM, "-i", "localhost,", "-c", "local", "-e", everything, str(playbook), *arguments],
        cwd=ROOT,
        env={**kept, **own, **(environment or {})},
        capture_output=capture,
        text=True,
        timeout=300,
        check=False,
    )


def keeping_results(file: Path) -> dict[str, str]:
    """The environment in which ansible-playbook also writes each task's result into a file."""
    return {
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": ",".join(["results", *([ARCHIVES] if ARCHIVED in os.environ else [])]),
        "RESULTS_FILE": str(file),
    }


def kept_results(file: Path) -> list[dict[str, Any]]:
    """What tasks returned: ``task`` (its name), ``failed``, ``result``."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def run_task(
    params: Mapping[str, Any], *, module: str = "google_workspace_sync_object", check: bool = False
) -> ModuleRun:
    """Run a module as the one task of a real playbook, in diff mode and with much verbosity.

    What it printed is what ansible-playbook printed.
    """
    task = {
        "name": "Run",
        f"dirsync.authentik.{module}": dict(params),
        "check_mode": check,
        "diff": True,
        "ignore_errors": True,
    }
    with tempfile.TemporaryDirectory() as folder:
        playbook, results = Path(folder, "play.yml"), Path(folder, "results.jsonl")
        play = {"name": "Run", "hosts": "localhost", "gather_facts": False, "tasks": [task]}
        playbook.write_text(yaml.safe_dump([play], sort_keys=False))
        # The parameters stand in the file: only what is printed of them is in question.
        done = run_playbook(playbook, {}, "-vvv", environment=keeping_results(results))
        if not results.exists():
            raise RuntimeError(f"ansible-playbook ran no task: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        [kept] = kept_results(results)
    return module_run(kept["result"], done.stdout + done.stderr, kept["failed"])
