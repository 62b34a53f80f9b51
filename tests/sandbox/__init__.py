# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""An authentik and a Google Directory on loopback, for demo, tests and benchmarks: ``python -m tests.sandbox``."""
