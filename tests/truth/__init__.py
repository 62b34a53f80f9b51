# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that tries to catch the modules lying. docs/testing.md says what it proves."""
