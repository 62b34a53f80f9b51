# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks: ratios of two things measured side by side in one run; never part of the tests."""
