#!/usr/bin/python
# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: google_workspace_provider
short_description: Manage a Google Workspace provider of authentik
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Creates, changes or removes a Google Workspace provider, and assigns it to an application.
  - Compares and changes only options that are given. An unchanged provider is not written.
  - A field that the server's version does not know is an error that names the version, because authentik would ignore it silently.
notes:
  - authentik starts a full sync whenever a provider is saved. So create it with O(dry_run=true), read what would happen, and
    then set O(dry_run=false).
  - From authentik 2025.8 on, a provider without an application syncs nothing, see O(application).
  - Providers are a feature of authentik Enterprise. Without a valid licence authentik refuses to create or change them, which this
    module reports with RV(code=licence). Removing one, and changing its application, does not need it.
  - The service account is compared without being shown. Servers up to 2026.5 show it to whoever may view the provider. If a server
    does not, because it keeps the key in a managed secret, a difference cannot be seen, see O(update_credentials).
requirements:
  - authentik 2024.8 or later.
extends_documentation_fragment:
  - dirsync.authentik.authentik
  - dirsync.authentik.attributes
  - dirsync.authentik.attributes.action_group
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - Not with O(update_credentials=always) on a server that does not show the service account.
options:
  state:
    description:
      - V(absent) removes the provider with all its connections. Nothing is deleted at Google.
    type: str
    default: present
    choices: [present, absent]
  name:
    description:
      - The provider's name, by which the module finds it (case-sensitive). With O(provider_id), its new name.
    type: str
  provider_id:
    description:
      - The primary key of an existing provider, to find it by that instead of its name.
    type: int
  property_mappings:
    description:
      - The property mappings for users, each by its name, managed id or primary key. All others are removed from the provider.
      - If this is left out, a new provider gets authentik's default one, as in its admin interface.
    type: list
    elements: str
  property_mappings_group:
    description:
      - The property mappings for groups, as for O(property_mappings).
    type: list
    elements: str
  credentials:
    description:
      - The service account's JSON key, as text or as a dictionary. Required for a new provider.
      - It is never taken from the environment, because that may hold another one for other modules.
    type: jsonarg
  credentials_file:
    description:
      - A file with the service account's JSON key, on the host that the module runs on.
      - Mutually exclusive with O(credentials).
    type: path
  credentials_ref:
    description:
      - The primary key of the managed secret that holds the service account, on servers that keep it there (after 2026.8).
      - Mutually exclusive with O(credentials) and O(credentials_file).
    type: str
  update_credentials:
    description:
      - When to write the service account of an existing provider.
      - V(on_difference) writes it if it differs. If the server does not show it, the module does not write it, and warns.
      - V(always) writes it also if the server does not show it. Then it does so every time and reports a change.
      - V(on_create) never writes it for an existing provider.
    type: str
    default: on_difference
    choices: [on_difference, always, on_create]
  delegated_subject:
    description:
      - The address of the Google Workspace administrator that the service account acts as. Required for a new provider.
    type: str
  scopes:
    description:
      - The OAuth scopes to ask for, in any order. If the delegation lacks one, Google refuses the whole token.
    type: list
    elements: str
  exclude_users_service_account:
    description:
      - Whether service accounts are left out.
    type: bool
  filter_group:
    description:
      - The group, by name or UUID, to whose direct members the sync is limited. An empty text syncs all users.
    type: str
  user_delete_action:
    description:
      - What happens at Google to a user who is deleted in authentik.
    type: str
    choices: [do_nothing, delete, suspend]
  group_delete_action:
    description:
      - What happens at Google to a group that is deleted in authentik. V(suspend) means V(do_nothing) for groups.
      - Google cannot restore a deleted group.
    type: str
    choices: [do_nothing, delete, suspend]
  default_group_email_domain:
    description:
      - The domain of the addresses that groups get. Required for a new provider.
    type: str
  dry_run:
    description:
      - Whether authentik writes nothing at Google (authentik 2025.4 and later).
    type: bool
  sync_page_size:
    description:
      - How many objects one task of a full sync handles (authentik 2025.12 and later).
    type: int
  sync_page_timeout:
    description:
      - How long such a task may take, for example V(minutes=30) (authentik 2025.12 and later).
    type: str
  discovery_enabled:
    description:
      - Whether a full sync first links what exists at Google already (authentik 2026.8 and later).
    type: bool
  application:
    description:
      - The application that the provider is assigned to as a backchannel provider, by its slug or name. Its other providers stay.
      - A provider has one such application, so it is removed from its present one. An empty text only removes it.
    type: str
  create_application:
    description:
      - Whether to create the application if it does not exist; O(application) is then its slug.
    type: bool
    default: false
  application_name:
    description:
      - The name of a new application, by default its slug. An existing one is not renamed.
    type: str
"""

EXAMPLES = r"""
- name: Set up a provider that syncs nothing yet, and its application
  dirsync.authentik.google_workspace_provider:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    name: Staff
    delegated_subject: admin@example.com
    credentials: "{{ vault_google_service_account }}"
    default_group_email_domain: example.com
    exclude_users_service_account: true
    user_delete_action: suspend
    group_delete_action: do_nothing
    dry_run: true
    application: staff
    application_name: Google Workspace for staff
    create_application: true

- name: Sync the members of one group, with a second mapping (run with --check --diff to see what differs)
  dirsync.authentik.google_workspace_provider:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    name: Staff
    filter_group: engineering
    property_mappings:
      - goauthentik.io/providers/google_workspace/user
      - Everybody in the directory
    dry_run: false

- name: Remove the provider; nothing is deleted at Google
  dirsync.authentik.google_workspace_provider:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    name: Staff
    state: absent
"""

RETURN = r"""
changed:
  description: Whether the provider or its application was changed; in check mode, whether it would be.
  returned: always
  type: bool
provider:
  description: The provider; empty if it is absent.
  returned: if the module read or wrote it
  type: dict
  contains:
    pk:
      description: The primary key; null in check mode for a new one.
      type: int
    name:
      description: The name.
      type: str
    application:
      description: The slug of its application, or null.
      type: str
operations:
  description: The writes to authentik; in check mode, those that would be.
  returned: always
  type: list
  elements: dict
  contains:
    method:
      description: The HTTP method.
      type: str
    resource:
      description: V(provider) or V(application).
      type: str
    key:
      description: The name, or the slug.
      type: str
    by:
      description: Always V(module).
      type: str
  sample:
    - method: PATCH
      resource: provider
      key: Staff
      by: module
diff:
  description: The provider's options before and after. Of the service account, only what is not secret is shown, and whether it differs.
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
  description: The kind of failure, for conditions in playbooks.
  returned: on failure
  type: str
  sample: licence
http_status:
  description: The HTTP status behind the failure, or null.
  returned: on failure
  type: int
"""


from ..module_utils._config.provider import DELETE_ACTIONS, ProviderWork, problem
from ..module_utils._module import Module, ModuleRunner, authentik_arguments


def argument_spec():
    """The module's options."""
    return dict(
        authentik_arguments(),
        state={"type": "str", "default": "present", "choices": ["present", "absent"]},
        name={"type": "str"},
        provider_id={"type": "int"},
        property_mappings={"type": "list", "elements": "str"},
        property_mappings_group={"type": "list", "elements": "str"},
        credentials={"type": "jsonarg", "no_log": True},
        credentials_file={"type": "path"},
        credentials_ref={"type": "str", "no_log": False},
        update_credentials={
            "type": "str",
            "default": "on_difference",
            "choices": ["on_difference", "always", "on_create"],
            "no_log": False,
        },
        delegated_subject={"type": "str"},
        scopes={"type": "list", "elements": "str"},
        exclude_users_service_account={"type": "bool"},
        filter_group={"type": "str"},
        user_delete_action={"type": "str", "choices": list(DELETE_ACTIONS)},
        group_delete_action={"type": "str", "choices": list(DELETE_ACTIONS)},
        default_group_email_domain={"type": "str"},
        dry_run={"type": "bool"},
        sync_page_size={"type": "int"},
        sync_page_timeout={"type": "str"},
        discovery_enabled={"type": "bool"},
        application={"type": "str"},
        create_application={"type": "bool", "default": False},
        application_name={"type": "str"},
    )


def main():
    module = Module(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("name", "provider_id")],
        mutually_exclusive=[("credentials", "credentials_file", "credentials_ref")],
    )
    ModuleRunner(module, ProviderWork).configure(problem)


if __name__ == "__main__":
    main()
