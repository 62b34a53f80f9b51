# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module in a process of its own, which can be killed: ``python -m tests.support.runner``, with parameters on its input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .clock import running_faster
from .module import reaching, run_module
from .tree import ROOT

MODULE = "google_workspace_sync"


class Run:
    """One process.

    Args:
        whole: tests.truth.whole.Whole, against whose sandbox.
        faster: how many times faster its own waiting is.
        check: whether in check mode.
        module: its name.
        options: the module's parameters; None takes one of those away that are always given.
    """

    def __init__(
        self, whole: Any, faster: float = 50, check: bool = False, module: str = MODULE, **options: Any
    ) -> None:
        from tests.truth.whole import LIMITS, UNHURRIED

        hurry = {**UNHURRIED, "safety_limits": whole.safety_limits} if module == MODULE else {}
        everything = {**reaching(whole.sandbox), **LIMITS, **hurry, **options}
        params = {name: value for name, value in everything.items() if value is not None}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.runner"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / '.build'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stdin = self.process.stdin
        assert stdin is not None
        stdin.write(json.dumps({"faster": faster, "check": check, "module": module, "params": params}))
        stdin.close()
        self.process.stdin = None

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.communicate()

    def result(self, timeout: float = 300) -> dict[str, Any]:
        """The module's result, once it has ended by itself."""
        out, errors = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, errors[-2000:]
        return json.loads(out.splitlines()[-1])


def main() -> None:
    """Read what to run, run it, and print its result."""
    asked = json.load(sys.stdin)
    with running_faster(asked["faster"]):
        run = run_module(asked["params"], module=asked["module"], check=asked["check"])
    print(json.dumps({**run.result, "peak_memory": peak_memory()}))


def peak_memory() -> int:
    """The most memory that this process has had, in KiB.

    Not getrusage()'s: that begins with what the process that started this one had.
    """
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])


if __name__ == "__main__":
    main()
