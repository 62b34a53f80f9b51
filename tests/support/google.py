# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands at the sandbox's Google, in a form that two states can be compared in."""

from __future__ import annotations

from typing import Any


def unvaried(state: dict[str, Any]) -> Any:
    """Google's state without what changes by itself."""
    users = [
        {key: value for key, value in user.items() if key not in ("etag", "lastLoginTime")} for user in state["users"]
    ]
    groups = [{key: value for key, value in group.items() if key != "etag"} for group in state["groups"]]
    for group in groups:
        group["members"] = [{key: value for key, value in item.items() if key != "etag"} for item in group["members"]]
    return users, groups
