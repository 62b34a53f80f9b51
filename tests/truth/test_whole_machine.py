# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The truth machine with one more rule: whole runs among all that it does besides, held against an oracle of their own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.truth import directory_oracle
from tests.truth.machine import Truth, told
from tests.truth.test_truth import EACH_PART, EXAMPLES, run_part
from tests.truth.whole import Whole

# Of the budget of sequences, for those with whole runs.
SHARE = 4


class TruthOfWhole(Truth):
    """Sequences of changes and runs, whole ones among them."""

    @rule(
        options=st.fixed_dictionaries(
            {"membership": st.sampled_from(["add", "exact", "exact", "ignore"])},
            optional={
                "orphans": st.sampled_from(["apply", "apply", "ignore"]),
                "allow_group_deletion": st.just(True),
                "override_dry_run": st.just(True),
                "keep_members": st.sampled_from([[], ["group"]]),
                "models": st.sampled_from([["user"], ["group"]]),
                "fail_on_objects": st.just(False),
                "mapping_evaluation": st.just("server"),
            },
        ),
        check=st.booleans(),
    )
    @told
    def sync_all(self, options: dict[str, Any], check: bool) -> None:
        """Run; in check mode also for real; and, where it went well, once more."""
        world = self.world
        if world.sandbox.control("GET", "google/settings")["update_lag_ms"]:
            # What reads show that trail behind a change is written once more, and told so (docs/testing.md).
            return
        if "override_dry_run" in options and world.number < (2025, 4):
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                self._sync_all(Path(folder), {**options, "force": True}, check)
        except Exception:
            note(f"{self.story!r}\n{world.script()}")
            raise

    def _sync_all(self, folder: Path, options: dict[str, Any], check: bool) -> None:
        world = self.world
        world.settled()
        whole = Whole(world.sandbox, folder)
        whole.token = world.token
        whole.quiet = not world.faults and not world.lacking
        whole.secrets |= world.secrets
        run = whole.sync(check, **options)
        if check and whole.quiet:
            real = whole.sync(**options)
            directory_oracle.same_prediction(run.result, real.result)
            run = real
        if whole.quiet and not run.failed and not check:
            again = whole.sync(**options).result
            directory_oracle.claim(not again["changed"], "a second run changed something", again["changes"])


@EACH_PART
def test_no_claim_of_a_whole_run_is_false(part):
    run_part(TruthOfWhole, part, EXAMPLES // SHARE)
