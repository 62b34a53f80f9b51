#!/usr/bin/python
# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: google_workspace_mapping_info
short_description: List the Google Workspace property mappings of authentik, and what they yield
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Lists all Google Workspace property mappings, or one of them, with the providers that use them and what they yield for given users
    or groups.
  - RV(mappings[].options) are options for M(dirsync.authentik.google_workspace_mapping), which then changes nothing.
requirements:
  - authentik 2024.8 or later.
extends_documentation_fragment:
  - dirsync.authentik.authentik
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
  name:
    description:
      - Only the mapping with this name.
    type: str
  mapping_id:
    description:
      - Only the mapping with this primary key or managed id.
    type: str
  evaluate_for:
    description:
      - The users and groups to evaluate each mapping for. authentik evaluates them, and stores nothing.
    type: list
    elements: dict
    suboptions:
      user:
        description:
          - A user by primary key, UUID, username, e-mail or name. Exactly one of this and O(evaluate_for[].group) is required.
        type: str
      group:
        description:
          - A group by UUID or name.
        type: str
      lookup:
        description:
          - What the user or the group is named by, see O(dirsync.authentik.google_workspace_sync_object#module:lookup).
        type: str
        default: auto
        choices: [auto, pk, uuid, username, email, name]
      creating:
        description:
          - Whether it is evaluated as for an account that is to be created, or as for one that exists.
        type: bool
        default: true
"""

EXAMPLES = r"""
- name: Evaluate authentik's default mapping for a user
  dirsync.authentik.google_workspace_mapping_info:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    mapping_id: goauthentik.io/providers/google_workspace/user
    evaluate_for:
      - user: ada.lovelace
  register: found

- name: Show the result
  ansible.builtin.debug:
    var: found.mappings[0].results[0].result
"""

RETURN = r"""
mappings:
  description: The mappings; empty if there is none.
  returned: always
  type: list
  elements: dict
  contains:
    pk:
      description: The primary key.
      type: str
    name:
      description: The name.
      type: str
    managed:
      description: The managed id, or null.
      type: str
    used_by:
      description: What uses it, in authentik's words.
      type: list
      elements: str
    results:
      description: The result of each entry of O(evaluate_for), with the RV(ignore:user) or RV(ignore:group), the RV(ignore:outcome)
        (V(yields), V(skips), V(nothing) or V(fails)) and the RV(ignore:result); secrets are masked.
      type: list
      elements: dict
    options:
      description: The options of M(dirsync.authentik.google_workspace_mapping) that create exactly this mapping.
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

from ..module_utils._config.info import MappingInfo, mapping_problem
from ..module_utils._module import Module, ModuleRunner, authentik_arguments
from ..module_utils._objects.target import LOOKUPS


def argument_spec():
    """The module's options."""
    return dict(
        authentik_arguments(),
        name={"type": "str"},
        mapping_id={"type": "str"},
        evaluate_for={
            "type": "list",
            "elements": "dict",
            "options": {
                "user": {"type": "str"},
                "group": {"type": "str"},
                "lookup": {"type": "str", "default": "auto", "choices": list(LOOKUPS)},
                "creating": {"type": "bool", "default": True},
            },
        },
    )


def main():
    module = Module(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        mutually_exclusive=[("name", "mapping_id")],
    )
    ModuleRunner(module, MappingInfo).configure(mapping_problem)


if __name__ == "__main__":
    main()
