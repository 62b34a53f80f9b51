# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes each task's result as a line of JSON into the file that RESULTS_FILE names: what a playbook's tasks returned."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: results
type: aggregate
short_description: Keeps the results of a playbook's tasks
description: One line of JSON for each task.
"""


class CallbackModule(CallbackBase):
    """Appends as the tasks end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "results"

    def _keep(self, result, failed):
        found = result.result if hasattr(result, "result") else result._result
        task = result.task if hasattr(result, "task") else result._task
        # ansible-core 2.19 keeps warnings beside the result, earlier ones in it.
        warnings = [str(item.event.msg) for item in getattr(result, "warnings", None) or ()]
        kept = {**json.loads(self._dump_results(found)), "warnings": warnings or found.get("warnings") or []}
        line = {"task": task.get_name(), "failed": failed, "result": kept}
        with open(os.environ["RESULTS_FILE"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def v2_runner_on_ok(self, result):
        self._keep(result, False)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._keep(result, True)
