# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make check``: what a push runs, in at most a quarter of an hour on two cores.

First the checks that need no pytest: one more at a time than there are cores, as they also wait for packages, and the longest
first. Then the tests without those that only ``make test`` runs (marked ``everything``). pytest ends the run, so that its
closing line is the last one; before it stands what took how long (``Pace``), with the checks that failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .cores import CANDIDATES, available
from .cores import CORES as CORES_OF_ANSIBLE
from .tree import ROOT
from .venvs import SKIPPED

LOGS = ROOT / ".cache" / "check"
TIMES = "CHECK_TIMES"
BEGUN = "CHECK_BEGUN"
CORES = os.cpu_count() or 1
AT_A_TIME = CORES + 1
QUICK = ("-m", "not everything")
# The longest first, so that no core is left with one of these while the others have nothing to do.
CHECKS = ("lint", "types", "artifact", "docs", "workflows", "licences", "changelog")


@dataclass(frozen=True)
class Step:
    """A check: its name, the arguments of ``make``, and once it was run how long it took and how it ended."""

    name: str
    make: tuple[str, ...]
    seconds: float = 0.0
    failed: bool = False


def steps() -> list[Step]:
    """The checks: ``ansible-test sanity`` on the oldest and the newest ansible-core that runs here, and the others."""
    cores = available([core for core in CORES_OF_ANSIBLE if core not in CANDIDATES])
    ends = list(dict.fromkeys([*cores[:1], *cores[-1:]]))
    sanity = [Step(f"sanity, ansible-core {core}", ("sanity", f"SANITY=--core {core} --ends")) for core in ends]
    return [*sanity, *(Step(name, (name,)) for name in CHECKS)]


def run(step: Step) -> Step:
    """Run a check; what it said is shown if it failed, and always what it skipped."""
    begun = time.monotonic()
    log = LOGS / f"{step.name.replace(', ', '-').replace(' ', '-')}.log"
    with log.open("w") as out:
        command = ["make", "--no-print-directory", *step.make]
        done = subprocess.run(command, cwd=ROOT, stdout=out, stderr=out, check=False)
    seconds = time.monotonic() - begun
    said = log.read_text()
    shown = [line for line in said.splitlines() if line.startswith(SKIPPED)]
    verdict = "FAILED" if done.returncode else "clean"
    print("\n".join([*([said] if done.returncode else shown), f"{step.name}: {verdict}, {seconds:.0f} s"]), flush=True)
    return Step(step.name, step.make, seconds, bool(done.returncode))


def main(arguments: Sequence[str]) -> int:
    """Return 0 if everything was clean; arguments go to pytest."""
    begun = time.time()
    LOGS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        done = list(pool.map(run, steps()))
    times = {
        "begun": float(os.environ.get(BEGUN) or begun),
        "checks_begun": begun,
        "tests_begun": time.time(),
        "steps": [asdict(step) for step in done],
    }
    file = LOGS / "times.json"
    file.write_text(json.dumps(times))
    command = [sys.executable, "-m", "pytest", "-n", str(CORES), "--dist", "worksteal", *QUICK, *arguments]
    tests = subprocess.run(command, cwd=ROOT, env={**os.environ, TIMES: str(file)}, check=False)
    return tests.returncode or int(any(step.failed for step in done))


def table(times: dict[str, Any], folders: dict[str, tuple[int, float]], now: float) -> list[str]:
    """What took how long, as lines.

    Args:
        times: what ``main`` wrote.
        folders: for each folder of tests how many ran, and the seconds of all of them.
        now: the time.
    """
    rows: list[tuple[str, float, str]] = [("installing", times["checks_begun"] - times["begun"], "")]
    rows += [("  " + step["name"], step["seconds"], "FAILED" if step["failed"] else "") for step in times["steps"]]
    rows += [(f"checks, {AT_A_TIME} at a time", times["tests_begun"] - times["checks_begun"], "")]
    rows += [("  " + name, seconds, f"{count} tests") for name, (count, seconds) in sorted(folders.items())]
    rows += [(f"tests, {CORES} at a time", now - times["tests_begun"], "")]
    rows += [("make check", now - times["begun"], f"{(now - times['begun']) / 60:.1f} minutes")]
    return [f"{name:<30}{seconds:>7.0f} s  {remark}".rstrip() for name, seconds, remark in rows]


class Pace:
    """A plugin of pytest: at the end of ``make check`` it says what took how long."""

    def __init__(self, file: Path) -> None:
        self._times = json.loads(file.read_text())

    def lines(self, reports: Sequence[Any]) -> list[str]:
        """The table, with the seconds of the tests that these reports are about."""
        folders: dict[str, tuple[int, float]] = {}
        for report in reports:
            name = "/".join(report.nodeid.split("/")[:2])
            count, seconds = folders.get(name, (0, 0.0))
            folders[name] = (count + (report.when == "setup"), seconds + report.duration)
        return table(self._times, folders, time.time())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
