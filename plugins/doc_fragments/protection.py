# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that say who is protected."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  protect:
    description:
      - Accounts at Google that are never suspended, archived, deleted, renamed, moved to another org unit, taken over, or given
        a password, a recovery e-mail or a recovery phone, whatever would cause it.
      - An entry is an address, in which V(*) stands for any characters (V(ceo@example.com), V(*@board.example.com)); an org
        unit, which begins with V(/) and counts with those below it (V(/Executives)); or V(group:) and the address of a group
        at Google, whose direct members count (V(group:leadership@example.com)).
      - The account that the run acts as and, unless O(allow_admins=true), every administrator are protected without an entry.
      - With an entry, the task fails if Google cannot be read.
      - An object that would do such a thing fails with C(code=protected), and the others go on.
    type: list
    elements: str
    default: []
  allow_admins:
    description:
      - Whether administrators, super or delegated, are not protected by being one.
      - Nothing lifts the protection of the account that the run acts as.
    type: bool
    default: false
"""
