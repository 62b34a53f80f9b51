# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A budget of sequences; ``make truth TRUTH_EXAMPLES=…`` runs as many as asked."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.truth.machine import Truth

EXAMPLES = int(os.environ.get("TRUTH_EXAMPLES", "200"))
STEPS = int(os.environ.get("TRUTH_STEPS", "12"))


def profile() -> settings:
    asked = "TRUTH_EXAMPLES" in os.environ
    return settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not asked,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=asked,
        # Where only the verdict counts, the smallest sequence is not worth its time.
        phases=[Phase.generate] if os.environ.get("TRUTH_SHRINK") == "no" else [Phase.generate, Phase.shrink],
    )


def test_no_claim_is_false():
    run_state_machine_as_test(Truth, settings=profile())
