# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make check``: what a push runs, in at most a quarter of an hour on two cores.

The tests without those that only ``make test`` runs (marked ``everything``), and beside them the checks that need no pytest:
as many at a time as there are cores, the longest first. These have the lowest priority: they take what the tests leave while
they wait for an answer or for the clock. pytest ends the run, so that its closing line is the last one; before it stands what
took how long (``Pace``), with the checks that failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .cores import ends
from .tree import ROOT
from .venvs import SKIPPED

LOGS = ROOT / ".cache" / "check"
TIMES = "CHECK_TIMES"
BEGUN = "CHECK_BEGUN"
CORES = os.cpu_count() or 1
# Tests wait for answers and for the clock for a sixth of their time.
WORKERS = CORES + 1
AT_A_TIME = CORES
QUICK = ("-m", "not everything")
LAST = ("nice", "-n", "19")
# The longest first, so that no core is left with one of these while the others have nothing to do.
CHECKS = ("lint", "types", "artifact", "docs", "workflows", "licences", "changelog")


@dataclass(frozen=True)
class Step:
    """A check: its name, the arguments of ``make``, and once it was run how long it took and how it ended."""

    name: str
    make: tuple[str, ...]
    seconds: float = 0.0
    failed: bool = False


def share(usual: int) -> int:
    """How many of so many examples are tried: all of them, in ``make check`` a third."""
    return max(usual // 3, 2) if TIMES in os.environ else usual


def steps() -> list[Step]:
    """The checks: ``ansible-test sanity`` on the oldest and the newest ansible-core that runs here, and the others."""
    sanity = [Step(f"sanity, ansible-core {core}", ("sanity", f"SANITY=--core {core} --ends")) for core in ends()]
    return [*sanity, *(Step(name, (name,)) for name in CHECKS)]


def run(step: Step) -> Step:
    """Run a check; what it said is shown if it failed, and always what it skipped."""
    begun = time.monotonic()
    log = LOGS / f"{step.name.replace(', ', '-').replace(' ', '-')}.log"
    with log.open("w") as out:
        command = [*LAST, "make", "--no-print-directory", *step.make]
        done = subprocess.run(command, cwd=ROOT, stdout=out, stderr=out, check=False)
    seconds = time.monotonic() - begun
    said = log.read_text()
    shown = [line for line in said.splitlines() if line.startswith(SKIPPED)]
    verdict = "FAILED" if done.returncode else "clean"
    # In the middle of a line of pytest's, most likely.
    lines = ["", *([said] if done.returncode else shown), f"{step.name}: {verdict}, {seconds:.0f} s"]
    print("\n".join(lines), flush=True)
    return Step(step.name, step.make, seconds, bool(done.returncode))


def main(arguments: Sequence[str]) -> int:
    """Return 0 if everything was clean; arguments go to pytest."""
    begun = time.time()
    LOGS.mkdir(parents=True, exist_ok=True)
    file = LOGS / "times.json"
    file.unlink(missing_ok=True)
    with ThreadPoolExecutor(AT_A_TIME) as pool, ThreadPoolExecutor(1) as clerk:
        running = [pool.submit(run, step) for step in steps()]
        checks = clerk.submit(written, file, begun, running)
        command = [sys.executable, "-m", "pytest", "-n", str(WORKERS), "--dist", "worksteal", *QUICK, *arguments]
        tests = subprocess.run(command, cwd=ROOT, env={**os.environ, TIMES: str(file)}, check=False)
        done = checks.result()
    return tests.returncode or int(any(step.failed for step in done))


def written(file: Path, begun: float, running: Sequence[Future[Step]]) -> list[Step]:
    """Wait for the checks and write what they took, for pytest, which waits for it at its end."""
    try:
        done = [step.result() for step in running]
    except BaseException:
        file.write_text("{}")
        raise
    times = {
        "begun": float(os.environ.get(BEGUN) or begun),
        "checks_begun": begun,
        "checks_ended": time.time(),
        "tests_begun": begun,
        "steps": [asdict(step) for step in done],
    }
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(times))
    fresh.replace(file)
    return done


def table(times: dict[str, Any], folders: dict[str, tuple[int, float]], now: float) -> list[str]:
    """What took how long, as lines.

    Args:
        times: what ``main`` wrote.
        folders: for each folder of tests how many ran, and the seconds of all of them.
        now: the time.
    """
    rows: list[tuple[str, float, str]] = [("installing", times["checks_begun"] - times["begun"], "")]
    rows += [("  " + step["name"], step["seconds"], "FAILED" if step["failed"] else "") for step in times["steps"]]
    rows += [(f"checks, {AT_A_TIME} at a time", times["checks_ended"] - times["checks_begun"], "beside the tests")]
    rows += [("  " + name, seconds, f"{count} tests") for name, (count, seconds) in sorted(folders.items())]
    rows += [(f"tests, {WORKERS} at a time", times.get("tests_ended", now) - times["tests_begun"], "")]
    rows += [("make check", now - times["begun"], f"{(now - times['begun']) / 60:.1f} minutes")]
    return [f"{name:<30}{seconds:>7.0f} s  {remark}".rstrip() for name, seconds, remark in rows]


def told(file: Path) -> str:
    """What the checks took, once they have ended, or whoever runs them has."""
    parent = os.getppid()
    while not file.exists() and os.getppid() == parent:
        time.sleep(0.1)
    return file.read_text()


class Pace:
    """A plugin of pytest: at the end of ``make check`` it says what took how long."""

    def __init__(self, file: Path) -> None:
        ended = time.time()
        self._times = json.loads(told(file))
        self._times["tests_ended"] = ended

    def lines(self, reports: Sequence[Any]) -> list[str]:
        """The table, with the seconds of the tests that these reports are about."""
        if "steps" not in self._times:
            return ["The checks could not be run."]
        folders: dict[str, tuple[int, float]] = {}
        for report in reports:
            name = "/".join(report.nodeid.split("/")[:2])
            count, seconds = folders.get(name, (0, 0.0))
            folders[name] = (count + (report.when == "setup"), seconds + report.duration)
        return table(self._times, folders, time.time())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
