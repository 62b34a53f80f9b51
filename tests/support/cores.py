# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of ansible-core that the collection is held against, each in an environment of its own.

``make cores`` makes those of ``make check`` beforehand. It needs nothing but Python, so that it can run beside ``make setup``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .venvs import SKIPPED, environment, pythons

# Version of ansible-core to the Pythons that its controller supports, the preferred one first.
CORES = {
    "2.18": ("3.11", "3.12", "3.13"),
    "2.19": ("3.11", "3.12", "3.13"),
    "2.20": ("3.12", "3.13", "3.14"),
    "2.21": ("3.13", "3.12", "3.14"),
    "2.22": ("3.13", "3.14"),
}
# Not released yet. pip takes a pre-release only if the requirement names one.
CANDIDATES = {"2.22": ">=2.22.0b1,<2.23"}


def python_for(core: str) -> str | None:
    """The interpreter to run a version of ansible-core with, or None."""
    return next((pythons()[version] for version in CORES[core] if version in pythons()), None)


def available(cores: Sequence[str] = tuple(CORES)) -> list[str]:
    """Those of the given versions that this machine has a Python for; says which it has none for."""
    found = []
    for core in cores:
        if python_for(core):
            found.append(core)
        else:
            wanted = " or ".join(sorted(CORES[core]))
            print(f"{SKIPPED} ansible-core {core} needs Python {wanted}; here: {', '.join(sorted(pythons()))}.")
    return found


def ends() -> list[str]:
    """The oldest and the newest released version that runs here."""
    cores = available([core for core in CORES if core not in CANDIDATES])
    return list(dict.fromkeys([*cores[:1], *cores[-1:]]))


def core_environment(core: str, *requirements: str) -> Path:
    """The folder of programs of an environment with a version of ansible-core and further requirements.

    Raises:
        LookupError: no Python here runs that version.
    """
    python = python_for(core)
    if python is None:
        raise LookupError(f"no Python here runs ansible-core {core}")
    name = f"core-{core}-full" if requirements else f"core-{core}"
    return environment(name, [f"ansible-core{CANDIDATES.get(core, f'=={core}.*')}", *requirements], python)


if __name__ == "__main__":
    for version in ends():
        core_environment(version)
