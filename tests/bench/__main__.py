# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks: single objects (``engines``), whole directories (``directory``), and, below, the cost of a play's task.

Wall clock of a play with one task of this module against a play with one ``ansible.builtin.uri`` task.

Both post the same sync to a sandbox that takes the recorded 0.6 s for it (authentik 2025.12.4). They run in turn, so that
a machine whose speed drifts drifts for both; the ratio is taken pair by pair, and its median is what counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench import directory, engines
from tests.sandbox.process import Sandbox
from tests.support.playbook import run_playbook

PLAYS = Path(__file__).parent / "plays"
RECORDED_SYNC_MS = 600
# What the ratio may be at most; a trial against a real server gave 1.18 and 1.26.
BOUNDS = {"connection": 1.25, "google": 1.5}


def play(sandbox: Sandbox, name: str, **variables: Any) -> float:
    """Run a play and return its wall clock in seconds."""
    started = time.monotonic()
    done = run_playbook(PLAYS / name, {"sandbox": sandbox.info, **variables})
    taken = time.monotonic() - started
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return taken


def main() -> int:
    """Print the figures; exit status 1 if a ratio is above its bound."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=7, help="pairs to run (default 7)")
    parser.add_argument("--only", choices=["play", "engines", "directory"], help="one of the benchmarks")
    arguments, rest = parser.parse_known_args()
    if rest and arguments.only != "directory":
        parser.error(f"unknown: {' '.join(rest)}")
    exceeded = False
    if arguments.only in (None, "play"):
        exceeded = plays(arguments.rounds)
    if arguments.only in (None, "engines"):
        exceeded = not engines.main(arguments.rounds) or exceeded
    if arguments.only in (None, "directory"):
        exceeded = not directory.main(rest) or exceeded
    return 1 if exceeded else 0


def plays(rounds: int) -> bool:
    """Print the ratios of plays; returns whether one is above its bound."""
    exceeded = False
    with Sandbox(sync_ms=RECORDED_SYNC_MS) as sandbox:
        pk = next(user["pk"] for user in sandbox.control("GET", "authentik/state")["users"] if user["pk"] > 5)
        # The first sync creates the account; every one that is measured finds it in sync.
        play(sandbox, "module.yml", pk=str(pk), verify="google")
        play(sandbox, "uri.yml", pk=str(pk))
        for verify, bound in BOUNDS.items():
            pairs = [
                (play(sandbox, "module.yml", pk=str(pk), verify=verify), play(sandbox, "uri.yml", pk=str(pk)))
                for _round in range(rounds)
            ]
            ratios = sorted(ours / theirs for ours, theirs in pairs)
            median = statistics.median(ratios)
            exceeded = exceeded or median > bound
            print(
                f"verify: {verify:<10}  module {statistics.median(ours for ours, _ in pairs):.2f} s"
                f"  uri {statistics.median(theirs for _, theirs in pairs):.2f} s"
                f"  ratio {median:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}, {rounds} pairs)"
                f"  bound {bound}  {'EXCEEDED' if median > bound else 'ok'}"
            )
    return exceeded


if __name__ == "__main__":
    sys.exit(main())
