# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name, and with -v says in words what changed."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.vars import merge_hash

from ..plugin_utils.wording import say


class ActionModule(ActionBase):
    """The action behind dirsync.authentik.google_workspace_sync_object."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> t.Dict[str, t.Any]:
        """Run the module and return its result."""
        self._supports_async = True
        result = super().run(tmp, task_vars)
        del tmp
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        found = merge_hash(result, self._execute_module(task_vars=task_vars, wrap_async=wrap_async))
        say(self._display, self._task, found)
        return t.cast(t.Dict[str, t.Any], found)
