# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words for texts."""

from __future__ import annotations

import re
import typing as t

_SURROGATE = re.compile("[\ud800-\udfff]")


def listed(domains: t.Sequence[str]) -> str:
    return "%s %s" % ("s" if len(domains) > 1 else "", ", ".join(sorted(domains)))


def fitting(value: t.Any) -> t.Any:
    """A copy of a JSON value in which half characters, which no encoding takes, are replaced."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {fitting(key): fitting(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [fitting(item) for item in value]
    return value
