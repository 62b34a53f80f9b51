# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words for texts."""

from __future__ import annotations

import typing as t


def listed(domains: t.Sequence[str]) -> str:
    return "%s %s" % ("s" if len(domains) > 1 else "", ", ".join(sorted(domains)))
