# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lookup changed_objects."""

from __future__ import annotations

DOCUMENTATION = r"""
name: changed_objects
short_description: Read which users and groups an event of authentik names, without evaluating the event
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Reads the variable C(resync_objects), or, if that is not defined, the variable C(ansible_eda), in which ansible-rulebook gives a
    playbook the event that it runs for.
  - Both hold texts of other people, such as display names. The lookup takes them as they stand. It never evaluates them as templates,
    compares each primary key with a pattern, and returns nothing else. A playbook must not use C(ansible_eda) in a template itself, since
    ansible-core 2.18 evaluates every string of it.
  - C(resync_objects) is a text or a list of entries such as C(user:6) and C(group:0f7ae77b-79a5-4c9d-8a0e-3a2d0f8ad9a4).
  - C(ansible_eda) has one event as C(event), or several as C(events). Each event has a C(payload) with C(action), V(model_created) or
    V(model_updated); C(model) with C(app), C(model_name) and C(pk); and, if known, the list C(former_members) of primary keys of users.
  - The playbook C(dirsync.authentik.resync_on_change) uses it.
options:
  _terms:
    description:
      - Not used; the lookup takes no terms.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Sync the users that an event names
  dirsync.authentik.google_workspace_sync_object:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
    sync_object_model: user
    sync_object_id: "{{ item }}"
    lookup: pk
  loop: "{{ lookup('dirsync.authentik.changed_objects').users }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary.
    - RV(ignore:users) is a list of primary keys of users, in digits. RV(ignore:groups) is a list of primary keys of groups, as UUIDs.
      RV(ignore:refused) is a list of sentences, one for each part of the input that names no user or group; they repeat no text of it.
  type: list
  elements: dict
"""

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..plugin_utils.changed_objects import from_events, from_objects


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(
        self, terms: t.Any, variables: t.Mapping[str, t.Any] | None = None, **kwargs: t.Any
    ) -> list[dict[str, list[str]]]:
        """See DOCUMENTATION.

        Raises:
            AnsibleError: terms or options were given, or neither variable is defined.
        """
        if terms or kwargs:
            raise AnsibleError("changed_objects takes no terms and no options; it reads resync_objects or ansible_eda.")
        known = variables or {}
        # As they stand: variables is what Ansible evaluates templates from, not the outcome.
        if known.get("resync_objects") is not None:
            changed = from_objects(known["resync_objects"])
        elif known.get("ansible_eda") is not None:
            changed = from_events(known["ansible_eda"])
        else:
            raise AnsibleError(
                "changed_objects: neither resync_objects nor ansible_eda is defined. ansible-rulebook defines ansible_eda; without it, "
                "give resync_objects, for example -e resync_objects=user:6."
            )
        return [{"users": changed.users, "groups": changed.groups, "refused": changed.refused}]
