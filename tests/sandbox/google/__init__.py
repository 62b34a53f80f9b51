# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Google Directory: token endpoint, Directory API and batch, held against the discovery document."""

from __future__ import annotations

from tests.sandbox.google.app import Google

__all__ = ["Google"]
