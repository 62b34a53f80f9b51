#!/usr/bin/python
# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: google_workspace_provider_info
short_description: List the Google Workspace providers of authentik
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Lists all Google Workspace providers, or one of them, as options of M(dirsync.authentik.google_workspace_provider).
  - If you pass RV(providers[].options) to that module, it changes nothing.
notes:
  - The module never returns a service account's private key.
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
      - Only the provider with this name.
    type: str
  provider_id:
    description:
      - Only the provider with this primary key.
    type: int
"""

EXAMPLES = r"""
- name: List the providers
  dirsync.authentik.google_workspace_provider_info:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
  register: found

- name: Show them as options, to keep them in Git
  ansible.builtin.debug:
    msg: "{{ found.providers | map(attribute='options') | list | to_nice_yaml }}"
"""

RETURN = r"""
providers:
  description: The providers; empty if there is none.
  returned: always
  type: list
  elements: dict
  contains:
    pk:
      description: The primary key.
      type: int
    name:
      description: The name.
      type: str
    application:
      description: The slug of its application, or null.
      type: str
    service_account:
      description: The parts of the service account that are not secret, or the reference to it; null if nothing is shown.
      type: dict
    service_account_shown:
      description: Whether this authentik shows the service account to the token's user.
      type: bool
    options:
      description: The options of M(dirsync.authentik.google_workspace_provider) that create this provider, without its service account.
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


from ..module_utils._config.info import ProviderInfo, provider_problem
from ..module_utils._module import Module, ModuleRunner, authentik_arguments


def argument_spec():
    """The module's options."""
    return dict(
        authentik_arguments(),
        name={"type": "str"},
        provider_id={"type": "int"},
    )


def main():
    module = Module(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        mutually_exclusive=[("name", "provider_id")],
    )
    ModuleRunner(module, ProviderInfo).configure(provider_problem)


if __name__ == "__main__":
    main()
