# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Types that every package uses."""

from __future__ import annotations

import typing as t

Json = t.Dict[str, t.Any]
