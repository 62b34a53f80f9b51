# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that name a Google Workspace provider."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  provider_id:
    description:
      - The primary key of the Google Workspace provider.
      - Exactly one of O(provider_id) and O(provider_name) is required.
    type: int
    aliases: [id]
  provider_name:
    description:
      - The name of the Google Workspace provider; exactly one provider must have it.
    type: str
"""
