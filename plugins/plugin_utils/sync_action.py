# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins of both sync modules share: run the module, and with -v say in words what changed."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.vars import merge_hash

from ..module_utils._common.types import Json
from .wording import sentences


class SyncAction(ActionBase):
    """Runs the module of the action's name."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> Json:
        """Run the module and return its result."""
        self._supports_async = True
        result = super().run(tmp, task_vars)
        del tmp
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        done = self.execute(task_vars, wrap_async)
        self._say(done)
        return t.cast(Json, merge_hash(result, done))

    def execute(self, task_vars: t.Any, wrap_async: bool) -> Json:
        """Run the module; an action may do more around it."""
        return t.cast(Json, self._execute_module(task_vars=task_vars, wrap_async=wrap_async))

    def _say(self, result: Json) -> None:
        """On standard error: a callback that prints JSON on standard output is not disturbed."""
        if self._display.verbosity > 0 and not self._task.no_log:
            for text in sentences(result, self._task.check_mode):
                self._display.display(f"  {text}", stderr=True)
