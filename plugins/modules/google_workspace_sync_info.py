#!/usr/bin/python
# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: google_workspace_sync_info
short_description: Check whether a Google Workspace provider works, and what to do if it does not
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Run this first if something does not work. It checks a provider and reports each problem with its meaning and its remedy.
  - In authentik, it checks the provider, its application and mappings, the licence, the workers, the schedule and state of full syncs,
    the last tasks with their messages, and what the token's user may do.
  - At Google, it checks the token, each scope alone, the domains, the delegated subject, and what the subject may list.
  - On both sides, it checks connections that contradict Google, users and groups without a connection, and members of groups that have
    no account.
  - It evaluates the property mappings for a few users and groups.
notes:
  - With O(compare) it lists both sides, which takes a request for each 500 accounts at Google, 200 groups at Google, and 100 users or
    groups of authentik.
  - The module does not try what a token may do. It reads what authentik answers to C(OPTIONS) and the user's roles (authentik 2025.12
    and later). A permission that these do not show is V(null).
  - authentik calls a task done even if objects in it failed. So this module reads the lines of the tasks.
requirements:
  - authentik 2024.8 or later.
  - To read Google, google-api-python-client, google-auth and google-auth-httplib2 on the host that the module runs on, with Python
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
  compare:
    description:
      - Whether to list both sides and compare them.
    type: bool
    default: true
  sample:
    description:
      - For how many users, and for how many groups, to evaluate the property mappings.
    type: int
    default: 3
  tasks:
    description:
      - How many of the last tasks to report.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Check the provider
  dirsync.authentik.google_workspace_sync_info:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
  register: health

- name: Show what to do
  ansible.builtin.debug:
    msg: "{{ health.findings | map(attribute='remedy') | reject('equalto', '') | list }}"
"""

RETURN = r"""
healthy:
  description: Whether no finding is an V(error). See RV(complete) for whether everything could be checked.
  returned: success
  type: bool
complete:
  description: Whether no finding is V(unknown).
  returned: success
  type: bool
findings:
  description: What is wrong, worth knowing, or unknown, the most severe first.
  returned: always
  type: list
  elements: dict
  contains:
    severity:
      description:
        - V(error), syncs do not work, or do damage. V(warning), a part of them does not work, or may soon stop working.
          V(notice), worth knowing. V(unknown), could not be checked.
      type: str
    code:
      description: The kind of finding, for conditions in playbooks.
      type: str
    what:
      description: What the module found.
      type: str
    meaning:
      description: What it means.
      type: str
    remedy:
      description: What to do; may be empty.
      type: str
  sample:
    - severity: error
      code: scopes
      what: The domain-wide delegation lacks https://www.googleapis.com/auth/admin.directory.group.
      meaning: Google refuses the whole token when one of the scopes asked for is missing, so that nothing at all works.
      remedy: Add exactly these to the delegation of the service account.
provider:
  description: RV(ignore:pk), RV(ignore:name) and RV(ignore:options), as M(dirsync.authentik.google_workspace_provider_info) returns them.
  returned: always
  type: dict
licence:
  description: RV(ignore:status), RV(ignore:latest_valid) and the licensed numbers of users, or null.
  returned: success
  type: dict
workers:
  description: How many workers are alive, or null.
  returned: success
  type: int
schedule:
  description: The schedule of full syncs (authentik 2025.8 and later), or null.
  returned: success
  type: dict
sync:
  description: RV(ignore:is_running), RV(ignore:last_successful_sync) and RV(ignore:last_sync_status), or null.
  returned: success
  type: dict
tasks:
  description: The last tasks of the provider and its schedule, each with RV(ignore:name), RV(ignore:state), RV(ignore:time) and
    RV(ignore:messages).
  returned: success
  type: list
  elements: dict
token:
  description: The token's RV(ignore:username), whether it is a RV(ignore:superuser), and RV(ignore:permissions), a list of what the
    collection does (RV(ignore:what)), the RV(ignore:permission) for it, whether it is RV(ignore:held) (null for unknown), and whether it is
    RV(ignore:needed_to_sync).
  returned: success
  type: dict
google:
  description: Whether Google issues a RV(ignore:token), each of the RV(ignore:scopes) with whether it is RV(ignore:granted), the
    RV(ignore:domains), the RV(ignore:subject), and what may be listed; null if Google could not be read.
  returned: success
  type: dict
directory:
  description: Numbers of connections, RV(ignore:contradictions), objects without connection, RV(ignore:members_without_account) by group.
  returned: success
  type: dict
mapping_sample:
  description: The objects for which the property mappings were evaluated (RV(ignore:model), RV(ignore:name)), the
    RV(ignore:outcome), and the RV(ignore:reason) if they did not yield fields.
  returned: success
  type: list
  elements: dict
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


from ..module_utils._config.health import SyncInfo, problem
from ..module_utils._module import Module, ModuleRunner, authentik_arguments, google_arguments, provider_arguments


def argument_spec():
    """The module's options."""
    return dict(
        authentik_arguments(),
        **google_arguments(),
        **provider_arguments(),
        compare={"type": "bool", "default": True},
        sample={"type": "int", "default": 3},
        tasks={"type": "int", "default": 5},
    )


def main():
    module = Module(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("provider_id", "provider_name")],
        mutually_exclusive=[("provider_id", "provider_name"), ("service_account_file", "service_account_contents")],
    )
    ModuleRunner(module, SyncInfo).configure(problem, reads_google=True)


if __name__ == "__main__":
    main()
