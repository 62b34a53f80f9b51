# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make truth``: as many sequences as asked, and a share more with the other modules, in parallel processes, each with a seed of
its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.tree import ROOT
from tests.truth import SHARE

# Sequences of google_workspace_sync_object, and those with the other modules.
TESTS = ("tests/truth/test_truth.py", "tests/truth/test_whole_machine.py")
# One process keeps its sequences in memory; a fresh one now and then keeps that small.
PER_PROCESS = 250


def main() -> int:
    """Run; exit status 1 when a claim was false, with the replay of the smallest sequence that shows it."""
    examples = int(os.environ.get("TRUTH_EXAMPLES", "1000"))
    seed = int(os.environ.get("TRUTH_SEED", "0"))
    jobs = int(os.environ.get("TRUTH_JOBS", str(os.cpu_count() or 1)))
    parts = [min(PER_PROCESS, examples - start) for start in range(0, examples, PER_PROCESS)]
    waiting = list(enumerate(parts))
    running: list[tuple[int, int, subprocess.Popen[bytes], Path]] = []
    started = time.monotonic()
    done = 0
    failed: list[Path] = []
    output = ROOT / "tests" / "output" / "truth"
    output.mkdir(parents=True, exist_ok=True)
    while waiting or running:
        while waiting and len(running) < jobs:
            index, count = waiting.pop(0)
            log = output / f"part-{index}.log"
            environment = {
                **os.environ,
                "TRUTH_EXAMPLES": str(count),
                "PYTHONPATH": str(ROOT / ".build"),
            }
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
            command.append(f"--hypothesis-seed={seed + index}")
            with log.open("wb") as file:
                process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
            running.append((index, count, process, log))
        time.sleep(0.5)
        for entry in list(running):
            index, count, process, log = entry
            if process.poll() is None:
                continue
            running.remove(entry)
            done += count
            if process.returncode:
                failed.append(log)
            minutes = (time.monotonic() - started) / 60
            print(
                f"{done:,} of {examples:,} sequences, {minutes:.1f} min, {len(failed)} parts with a false claim",
                flush=True,
            )
    for log in failed:
        print(f"--- {log.relative_to(ROOT)}")
        print("\n".join(log.read_text(errors="replace").splitlines()[-120:]))
    others = sum(count // SHARE for count in parts)
    verdict = "no false claim" if not failed else "FALSE CLAIMS"
    print(f"{examples:,} sequences from seed {seed}, and {others:,} with the other modules: {verdict}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
