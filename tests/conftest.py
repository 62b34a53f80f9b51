# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.sandbox.pool import Sandboxes

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")


@pytest.fixture(scope="session")
def sandboxes() -> Iterator[Sandboxes]:
    """A sandbox of each server version for this process: ``with sandboxes(dataset=…, authentik_version=…) as sandbox``."""
    with Sandboxes() as pool:
        yield pool
