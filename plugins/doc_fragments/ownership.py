# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that say which record at Google belongs to which object."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  ownership:
    description:
      - What shows that an account at Google belongs to a user of authentik.
      - V(connection), the connection in authentik. It does so if it holds the account's immutable id, or if it knows the
        account's address and the user wants that address. A connection that knows another address alone shows nothing. The
        object then fails with C(code=conflict), unless it turns out that the account is another user's. This holds for both
        engines.
      - V(external_id), besides, an external id of the type C(authentik) that holds the user's UUID. The run writes it to every
        account that it syncs, and from then on it decides. It needs C(engine=direct).
    type: str
    choices: [connection, external_id]
    default: connection
  adopt:
    description:
      - Whether an account or group at Google that is found by its address, and that no connection leads to, is taken over.
      - V(never), the object fails with C(code=not_adopted). It needs C(engine=direct).
      - A protected account is never taken over.
    type: str
    choices: [always, never]
    default: always
  reactivate:
    description:
      - Whether an account is activated that Google itself has suspended, for example because it was compromised.
      - If not, the account stays suspended, with a warning.
      - With C(engine=server) authentik activates it in any case.
    type: bool
    default: false
  create_inactive:
    description:
      - Whether an account is created, suspended, for a user who is not active. Each one needs a licence at Google.
      - If not, such a user is left out until the user is active.
      - With C(engine=server) authentik creates it in any case.
    type: bool
    default: false
"""
