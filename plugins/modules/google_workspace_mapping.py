#!/usr/bin/python
# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: google_workspace_mapping
short_description: Manage a Google Workspace property mapping of authentik
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Creates, changes or removes a property mapping, the Python code that turns a user or group of authentik into a record at Google.
  - With O(test_against), authentik evaluates it for given users or groups before it is saved. If it does not yield what is
    expected, the task fails and saves nothing.
notes:
  - authentik evaluates only stored mappings. So the module stores a new expression as a mapping that no provider uses, and removes it
    at once. Check mode stores nothing, so it does not test an expression that differs from the stored one.
  - A mapping does nothing until a provider uses it, see M(dirsync.authentik.google_workspace_provider).
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
      - Whether a changed expression passes O(test_against) is not predicted; a warning says so.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(absent) removes the mapping, also from the providers that use it; a warning names them.
    type: str
    default: present
    choices: [present, absent]
  name:
    description:
      - The mapping's name, by which the module finds it (case-sensitive). With O(mapping_id), its new name.
      - authentik merges the results of several mappings in the order of their names.
    type: str
  mapping_id:
    description:
      - The primary key or managed id of an existing mapping, to find it by that instead of its name.
    type: str
  expression:
    description:
      - The Python code. User mappings see C(user), C(provider), C(connection) and C(request); group mappings see C(group),
        C(provider) and C(connection). C(connection) is C(None) while the account is created. C(raise SkipObject) leaves an object out.
      - Required for a new mapping.
    type: str
  managed:
    description:
      - The managed id, by which something else manages the mapping. An empty text removes it.
    type: str
  test_against:
    description:
      - The users and groups to evaluate it for, and the expected results.
    type: list
    elements: dict
    suboptions:
      user:
        description:
          - A user by primary key, UUID, username, e-mail or name. Exactly one of this and O(test_against[].group) is required.
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
      outcome:
        description:
          - The expected outcome. Fields (V(yields)), C(SkipObject) (V(skips)), C(None) (V(nothing)), or an error (V(fails)).
        type: str
        default: yields
        choices: [yields, skips, nothing, fails]
      expect:
        description:
          - Fields that the result must hold, with these values; nested ones are compared field by field.
        type: dict
      exactly:
        description:
          - Whether the result must hold nothing else.
        type: bool
        default: false
      creating:
        description:
          - Whether it is evaluated as for an account that is to be created (C(connection) is C(None)), or as for one that exists.
        type: bool
        default: true
"""

EXAMPLES = r"""
- name: Set the department, and test the mapping before it is saved
  dirsync.authentik.google_workspace_mapping:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    name: Departments
    expression: |
      if user.type != "internal":
          raise SkipObject
      return {"organizations": [{"department": user.attributes.get("department", "none"), "primary": True}]}
    test_against:
      - user: ada.lovelace
        expect:
          organizations:
            - department: none
              primary: true
      - user: backup-robot
        outcome: skips

- name: Remove the mapping
  dirsync.authentik.google_workspace_mapping:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    name: Departments
    state: absent
"""

RETURN = r"""
changed:
  description: Whether the mapping was changed; in check mode, whether it would be.
  returned: always
  type: bool
mapping:
  description: The mapping; empty if it is absent.
  returned: if authentik was asked
  type: dict
  contains:
    pk:
      description: The primary key; null in check mode for a new one.
      type: str
    name:
      description: The name.
      type: str
    managed:
      description: The managed id, or null.
      type: str
tests:
  description: The result of each entry of O(test_against), in the same order.
  returned: when authentik was asked
  type: list
  elements: dict
  contains:
    user:
      description: The username, for a user.
      type: str
    group:
      description: The name, for a group.
      type: str
    outcome:
      description: V(yields), V(skips), V(nothing), V(fails), or V(unknown) if it was not tested.
      type: str
    result:
      description: The fields, or the reason; secrets are masked.
      type: raw
    unexpected:
      description: The differences from the expected result.
      type: list
      elements: str
operations:
  description: The writes to authentik, except those of a test; in check mode, those that would be.
  returned: always
  type: list
  elements: dict
  sample:
    - method: POST
      resource: mapping
      key: Departments
      by: module
diff:
  description: Name, managed id and expression before and after.
  returned: in diff mode
  type: dict
calls:
  description: The requests to authentik (RV(ignore:authentik)) and Google (RV(ignore:google), RV(ignore:google_token); none here).
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
  description: The kind of failure, for conditions in playbooks; V(test_failed) if a test failed; V(unexpected) if an error that the
    collection does not know stopped the module.
  returned: on failure
  type: str
  sample: test_failed
http_status:
  description: The HTTP status behind the failure, or null.
  returned: on failure
  type: int
"""

from ..module_utils._config.mapping import MappingWork, problem
from ..module_utils._config.mapping_tests import OUTCOMES
from ..module_utils._module import Module, ModuleRunner, authentik_arguments
from ..module_utils._objects.target import LOOKUPS


def argument_spec():
    """The module's options."""
    return dict(
        authentik_arguments(),
        state={"type": "str", "default": "present", "choices": ["present", "absent"]},
        name={"type": "str"},
        mapping_id={"type": "str"},
        expression={"type": "str"},
        managed={"type": "str"},
        test_against={
            "type": "list",
            "elements": "dict",
            "options": {
                "user": {"type": "str"},
                "group": {"type": "str"},
                "lookup": {"type": "str", "default": "auto", "choices": list(LOOKUPS)},
                "outcome": {"type": "str", "default": "yields", "choices": list(OUTCOMES)},
                "expect": {"type": "dict"},
                "exactly": {"type": "bool", "default": False},
                "creating": {"type": "bool", "default": True},
            },
        },
    )


def main():
    module = Module(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("name", "mapping_id")],
    )
    ModuleRunner(module, MappingWork).configure(problem)


if __name__ == "__main__":
    main()
