# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the archives that ansible-playbook makes of modules for the next ansible-playbook; see warm.py."""

from __future__ import annotations

import os

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

DOCUMENTATION = """
name: archives
type: aggregate
short_description: Keep archives of modules
description:
  - Lets each ansible-playbook find the archives of modules that an earlier one of the same version made, in the folder that the
    environment variable TESTS_ARCHIVES names. Ansible itself keeps them for one ansible-playbook, and removes the link with the rest.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "archives"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        folder = os.environ.get("TESTS_ARCHIVES")
        if folder:
            kept = os.path.join(folder, __version__)
            os.makedirs(kept, exist_ok=True)
            os.symlink(kept, os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))
