# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of the collection, and the sandbox that they run against."""
