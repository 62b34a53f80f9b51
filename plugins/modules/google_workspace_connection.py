#!/usr/bin/python
# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: google_workspace_connection
short_description: Manage the connection between a user or group of authentik and its record at Google Workspace
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Links a user or group of authentik to an account or group that exists at Google under another address, or unlinks it.
  - A connection is authentik's note that a user or group is linked with an account or group at Google. authentik shows connections
    under I(Provisioned users) and I(Provisioned groups) of the provider.
  - If Google is readable, the module reads it first. The account or group must exist under exactly that address, not as an alias of
    another one, and no other user or group may be linked to it.
  - With O(state=repaired), finds the connections that contradict Google, and renews those that stop every sync.
  - This module never writes at Google.
notes:
  - authentik itself links users by their e-mail and groups by their name. Use this module for the others.
  - Servers from 2024.8 to 2025.8 stop every sync of users, or of groups, as soon as one connection's copy of Google's record is not
    exactly that record, and the API creates connections without a copy. So the module creates none through the API there. If authentik
    recognises the record, the module lets authentik link it by its own listing; if not, it fails with RV(code=version).
  - authentik's API cannot write the copy. Up to 2026.5, the listing that authentik makes before each sync writes it. This module starts
    that listing by the sync of an object that does not exist, which writes nothing at Google. The listing covers the whole directory
    and may link other users and groups that authentik recognises, as every sync does.
requirements:
  - authentik 2024.8 or later.
  - To read Google, google-api-python-client, google-auth and google-auth-httplib2 on the host that the module runs on, with
    Python 3.10 or later.
extends_documentation_fragment:
  - dirsync.authentik.authentik
  - dirsync.authentik.google
  - dirsync.authentik.provider
  - dirsync.authentik.protection
  - dirsync.authentik.attributes
  - dirsync.authentik.attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - Whether authentik links a record by its listing is predicted from the e-mail or name.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) links the object to O(google_id) and to nothing else. V(absent) unlinks it (or only from O(google_id), if set).
      - V(repaired) checks all connections, or those that O(sync_object_model) and O(sync_object_id) name. It removes those that stop every
        sync of the server's version, and authentik's own listing creates them again; it reports others that contradict Google.
    type: str
    default: present
    choices: [present, absent, repaired]
  sync_object_model:
    description:
      - The kind of object to link. V(user) and V(group) are short for authentik's names.
    type: str
    choices: [authentik.core.models.User, authentik.core.models.Group, user, group]
    aliases: [model]
  sync_object_id:
    description:
      - The user or group, as O(lookup) says.
    type: str
    aliases: [object_id]
  lookup:
    description:
      - What O(sync_object_id) is, as in M(dirsync.authentik.google_workspace_sync_object).
    type: str
    default: auto
    choices: [auto, pk, uuid, username, email, name]
  google_id:
    description:
      - The address or id of the account or group at Google.
      - If it is the immutable id of an account whose address is not the user's e-mail, the connection holds that id, which shows that
        the account is the user's. The next sync by O(dirsync.authentik.google_workspace_sync_object#module:engine=direct) that writes
        to the account replaces it by one with the address.
      - An administrator's account can be linked by its immutable id only, and the account that the run acts as cannot be linked.
    type: str
  verify:
    description:
      - V(google) reads Google, or fails. V(auto) reads Google if it can, and warns if it cannot. V(none) does not check.
    type: str
    default: auto
    choices: [auto, google, none]
  refresh_attributes:
    description:
      - Whether to update authentik's copy of Google's record, if the server's version allows it; see the notes.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Link a user to an account that has another address; the next sync changes the address to authentik's
  dirsync.authentik.google_workspace_connection:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
    sync_object_model: user
    sync_object_id: ada.lovelace
    google_id: countess@example.com

- name: Unlink the user
  dirsync.authentik.google_workspace_connection:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
    sync_object_model: user
    sync_object_id: ada.lovelace
    state: absent

- name: List connections that contradict Google, and renew those that stop every sync (authentik 2024.8 to 2025.8)
  dirsync.authentik.google_workspace_connection:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
    state: repaired
"""

RETURN = r"""
changed:
  description: Whether a connection was created, removed or renewed; in check mode, whether it would be.
  returned: always
  type: bool
connection:
  description: The connection; empty if it is absent.
  returned: for O(state=present) and O(state=absent)
  type: dict
  contains:
    id:
      description: Its primary key; null in check mode for a new one.
      type: str
    google_id:
      description: Google's record in the connection, a user's address or a group's id.
      type: str
    attributes_in_step:
      description: Whether authentik's copy is Google's record; null if that is not known. If false, the object's next sync updates it.
      type: bool
contradictions:
  description: The connections that contradict Google.
  returned: for O(state=repaired)
  type: list
  elements: dict
  contains:
    id:
      description: The connection's primary key.
      type: str
    model:
      description: The model's name in authentik.
      type: str
    pk:
      description: The user's or group's primary key.
      type: str
    name:
      description: The username, or the group's name.
      type: str
    google_id:
      description: Google's record in the connection.
      type: str
    holder:
      description: The address of the record at Google, or null.
      type: str
    code:
      description: V(attributes), V(volatile), V(other), V(renamed), V(alias), V(shared) or V(gone).
      type: str
    why:
      description: The contradiction in words.
      type: str
    stops_syncs:
      description: Whether it stops every sync of its kind.
      type: bool
    action:
      description: V(reported), V(renewed), or V(removed) if authentik did not create it again; in check mode, what it would be.
      type: str
operations:
  description: The writes to authentik, and the connections that authentik created; in check mode, those that would be.
  returned: always
  type: list
  elements: dict
  sample:
    - method: POST
      resource: connection
      key: countess@example.com
      by: module
diff:
  description: What the object is linked to, before and after; for O(state=repaired), the contradictions.
  returned: in diff mode
  type: dict
calls:
  description: The requests to authentik (RV(ignore:authentik)), Google's Directory API (RV(ignore:google)) and for Google's token
    (RV(ignore:google_token)).
  returned: always
  type: dict
  sample: {authentik: 5, google: 1, google_token: 1}
server_version:
  description: authentik's version, or null if the module did not ask for it.
  returned: always
  type: str
  sample: 2025.12.4
duration:
  description: Seconds.
  returned: always
  type: float
  sample: 0.4
msg:
  description: Why it failed, what happened, and what to do.
  returned: on failure
  type: str
errors:
  description: authentik's validation errors, each with RV(ignore:field) and RV(ignore:messages).
  returned: on failure
  type: list
  elements: dict
code:
  description: The kind of failure, for conditions in playbooks.
  returned: on failure
  type: str
  sample: conflict
http_status:
  description: The HTTP status behind the failure, or null.
  returned: on failure
  type: int
"""


from ..module_utils._common.kind import MODELS
from ..module_utils._config.connection import ConnectionWork, problem
from ..module_utils._module import (
    Module,
    ModuleRunner,
    authentik_arguments,
    google_arguments,
    protection_arguments,
    provider_arguments,
)
from ..module_utils._objects.target import LOOKUPS


def argument_spec():
    """The module's options."""
    return dict(
        authentik_arguments(),
        **google_arguments(),
        state={"type": "str", "default": "present", "choices": ["present", "absent", "repaired"]},
        **provider_arguments(),
        **protection_arguments(),
        sync_object_model={"type": "str", "choices": list(MODELS), "aliases": ["model"]},
        sync_object_id={"type": "str", "aliases": ["object_id"]},
        lookup={"type": "str", "default": "auto", "choices": list(LOOKUPS)},
        google_id={"type": "str"},
        verify={"type": "str", "default": "auto", "choices": ["auto", "google", "none"]},
        refresh_attributes={"type": "bool", "default": True},
    )


def main():
    module = Module(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("provider_id", "provider_name")],
        mutually_exclusive=[("provider_id", "provider_name"), ("service_account_file", "service_account_contents")],
    )
    ModuleRunner(module, ConnectionWork).configure(problem, reads_google=True)


if __name__ == "__main__":
    main()
