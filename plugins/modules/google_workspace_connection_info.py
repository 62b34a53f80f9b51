#!/usr/bin/python
# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: google_workspace_connection_info
short_description: List the connections between authentik's users and groups and their records at Google Workspace
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Lists the connections of a Google Workspace provider, or of one user or group. With O(compare), reports whether they agree with
    Google.
  - RV(connections[].options) are options for M(dirsync.authentik.google_workspace_connection), which then changes nothing as long as
    the connection agrees with Google.
requirements:
  - authentik 2024.8 or later.
  - For O(compare), google-api-python-client, google-auth and google-auth-httplib2 on the host that the module runs on, with Python
    3.10 or later.
extends_documentation_fragment:
  - dirsync.authentik.authentik
  - dirsync.authentik.google
  - dirsync.authentik.provider
  - dirsync.authentik.attributes
  - dirsync.authentik.attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - This module never changes anything.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  sync_object_model:
    description:
      - Only connections of users, or only of groups.
    type: str
    choices: [authentik.core.models.User, authentik.core.models.Group, user, group]
    aliases: [model]
  sync_object_id:
    description:
      - Only those of this user or group, as O(lookup) says.
    type: str
    aliases: [object_id]
  lookup:
    description:
      - What O(sync_object_id) is, as in M(dirsync.authentik.google_workspace_sync_object).
    type: str
    default: auto
    choices: [auto, pk, uuid, username, email, name]
  compare:
    description:
      - Whether to list Google's records too, and report which connections contradict them.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Compare the connections with Google
  dirsync.authentik.google_workspace_connection_info:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
    compare: true
  register: found

- name: Show them
  ansible.builtin.debug:
    var: found.connections | rejectattr('contradiction', 'none') | list
"""

RETURN = r"""
connections:
  description: The connections; empty if there is none.
  returned: always
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
      description: Google's record in the connection, a user's address or a group's id.
      type: str
    attributes:
      description: authentik's copy of Google's record; secrets are masked.
      type: dict
    contradiction:
      description: With O(compare), if Google contradicts the connection, RV(ignore:code) and RV(ignore:why) as in
        M(dirsync.authentik.google_workspace_connection); else null.
      type: dict
    options:
      description: The options of M(dirsync.authentik.google_workspace_connection) that create exactly this connection.
      type: dict
calls:
  description: The requests to authentik (RV(ignore:authentik)), Google's Directory API (RV(ignore:google)) and for Google's token
    (RV(ignore:google_token)).
  returned: always
  type: dict
  sample: {authentik: 3, google: 0, google_token: 0}
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
  sample: authentik_forbidden
http_status:
  description: The HTTP status behind the failure, or null.
  returned: on failure
  type: int
"""


from ..module_utils._common.kind import MODELS
from ..module_utils._config.info import ConnectionInfo, connection_problem
from ..module_utils._module import Module, ModuleRunner, authentik_arguments, google_arguments, provider_arguments
from ..module_utils._objects.target import LOOKUPS


def argument_spec():
    """The module's options."""
    return dict(
        authentik_arguments(),
        **google_arguments(),
        **provider_arguments(),
        sync_object_model={"type": "str", "choices": list(MODELS), "aliases": ["model"]},
        sync_object_id={"type": "str", "aliases": ["object_id"]},
        lookup={"type": "str", "default": "auto", "choices": list(LOOKUPS)},
        compare={"type": "bool", "default": False},
    )


def main():
    module = Module(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("provider_id", "provider_name")],
        mutually_exclusive=[("provider_id", "provider_name"), ("service_account_file", "service_account_contents")],
    )
    ModuleRunner(module, ConnectionInfo).configure(connection_problem, reads_google=True)


if __name__ == "__main__":
    main()
