# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A budget of sequences; ``make truth TRUTH_EXAMPLES=…`` runs as many as asked."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.truth.machine import Truth

ASKED = "TRUTH_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("TRUTH_EXAMPLES", "200"))
STEPS = int(os.environ.get("TRUTH_STEPS", "12"))
ONLY_THE_VERDICT = os.environ.get("TRUTH_SHRINK") == "no"
# Parts of the budget, which need not run in one process, each with a seed of its own.
PARTS = 1 if ASKED else 5
EACH_PART = pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[] if ASKED else [pytest.mark.everything]) for part in range(PARTS)]
)


def profile(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=ASKED,
        # Where only the verdict counts, neither the smallest sequence nor a second false claim is worth its time.
        phases=[Phase.generate] if ONLY_THE_VERDICT else [Phase.generate, Phase.shrink],
        report_multiple_bugs=not ONLY_THE_VERDICT,
    )


def run_part(machine: type[RuleBasedStateMachine], part: int, examples: int) -> None:
    """Run a part of a budget of sequences; where a number of them was asked for, with the seed that was asked for."""
    if not ASKED:
        machine = seed(part)(type(machine.__name__, (machine,), {}))
    run_state_machine_as_test(machine, settings=profile(max(1, examples // PARTS)))


@EACH_PART
def test_no_claim_is_false(part):
    run_part(Truth, part, EXAMPLES)
