# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of the same name, and with -v says in words what changed."""

from __future__ import annotations

from ..plugin_utils.sync_action import SyncAction


class ActionModule(SyncAction):
    """The action behind dirsync.authentik.google_workspace_sync_object."""
