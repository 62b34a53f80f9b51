# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that tries to catch the modules lying. docs/testing.md says what it proves."""

# For each so many sequences of google_workspace_sync_object, one more with the other modules.
SHARE = 4
