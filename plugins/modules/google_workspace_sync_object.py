#!/usr/bin/python
# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: google_workspace_sync_object
short_description: Sync one user or group from authentik to Google Workspace
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Syncs one user or group of a Google Workspace provider, and reports what changed at Google.
  - With O(engine=server), authentik writes to Google. With O(engine=direct), this module does, through Google's API and in the fewest
    calls. The result has the same form.
  - authentik's endpoint answers the same whether a sync wrote, had nothing to write, left the object out or could not reach
    Google. So this module reads Google's record, or authentik's own copy of it, before and after, and the log of the task that
    did the work.
  - An object that does not exist is never sent to authentik, which would retry it in the background for minutes.
  - This module deletes nothing at Google, except memberships with O(membership=exact).
notes:
  - Administrators' accounts at Google, and the account that the run acts as, are never taken over by address, suspended, archived,
    renamed, or given a password or recovery data.
  - authentik adds members to a group at Google and never removes any; see O(membership). Members without a Google account
    are skipped; the module names them.
  - authentik also syncs in the background whenever a user, group or membership is saved. RV(changed) reports what differs
    between the first read and the last, not who wrote it.
  - With RV(basis=connection), a drift at Google that authentik silently repaired is not visible.
requirements:
  - authentik 2024.8 or later.
  - For O(engine=direct), and to read Google, google-api-python-client, google-auth and google-auth-httplib2 on the host that
    the module runs on, with Python 3.10 or later. Without them O(engine=server) still works, see O(verify).
extends_documentation_fragment:
  - dirsync.authentik.authentik
  - dirsync.authentik.google
  - dirsync.authentik.provider
  - dirsync.authentik.ownership
  - dirsync.authentik.protection
  - dirsync.authentik.attributes
  - dirsync.authentik.attributes.action_group
attributes:
  check_mode:
    support: partial
    details:
      - Nothing that could write is sent. The result is predicted from what authentik's property mappings yield and from
        Google's record; if that cannot be known, RV(basis=assumed) and a warning say so.
      - A provider in dry run does the prediction itself, because it cannot write to Google then.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - With O(engine=server), if Google cannot be read, a group that has members is reported as changed each time, see
        RV(basis).
options:
  sync_object_model:
    description:
      - The kind of object to sync. V(user) and V(group) are short for authentik's names.
    type: str
    required: true
    choices: [authentik.core.models.User, authentik.core.models.Group, user, group]
    aliases: [model]
  sync_object_id:
    description:
      - The user or group, as O(lookup) says.
    type: str
    required: true
    aliases: [object_id]
  lookup:
    description:
      - What O(sync_object_id) is.
      - V(auto) accepts, for a user, the primary key (an integer), the UUID, the username or the e-mail, else the display name; for a
        group the primary key (a UUID) or the name.
      - If more than one object fits, such as one by its primary key and another by a username of digits, the task fails and
        says which O(lookup) leads to which of them. V(pk) accepts only a primary key.
    type: str
    default: auto
    choices: [auto, pk, uuid, username, email, name]
  override_dry_run:
    description:
      - Sync although the provider is set to dry run. Needs authentik 2025.4 or later.
      - It never makes a run in check mode write.
    type: bool
    default: false
  engine:
    description:
      - Who writes to Google.
      - V(server) is authentik itself. It lists the whole Google directory each time, writes without comparing, and needs no
        permissions of yours at Google.
      - V(direct) is this module. It reads the one record at Google, writes only what differs, and keeps authentik's connection
        correct. It works with a directory of any size and while authentik's worker is down, and needs Google's libraries.
    type: str
    default: server
    choices: [server, direct]
  membership:
    description:
      - How to sync the members of a group.
      - V(add) adds direct members in authentik that have a Google account, as authentik does.
      - V(exact) also removes members that do not belong, except those of O(keep_members). Needs O(engine=direct).
      - V(ignore) does not compare members. Needs O(engine=direct).
    type: str
    default: add
    choices: [add, exact, ignore]
  keep_members:
    description:
      - Members that O(membership=exact) does not remove although they are not members in authentik. These are owners and managers of the
        group, nested groups, and the whole customer (all users of the workspace).
    type: list
    elements: str
    default: [owner, manager, group, customer]
    choices: [owner, manager, group, customer]
  verify:
    description:
      - What to compare before and after the sync.
      - V(google) reads Google's record, and fails if that is not possible.
      - V(connection) reads authentik's copy of Google's last answer, and needs nothing beyond ansible-core.
      - V(auto) reads Google if its libraries and a service account are available (given here, or readable from the provider), else the
        connection.
      - V(none) does not check; RV(changed) is a guess.
      - O(engine=direct) always reads Google, and accepts V(auto) and V(google) only.
    type: str
    default: auto
    choices: [auto, google, connection, none]
  out_of_scope:
    description:
      - What to do about an object that the provider does not sync (a service account, not in the filter group, left out by a
        property mapping; with O(engine=direct) also one whose primary key authentik does not know, because it may be deleted, if
        O(lookup) says that it is a primary key or a connection to it is left).
    type: str
    default: warn
    choices: [warn, fail, ignore]
  fail_on:
    description:
      - The log levels of RV(messages) that fail the task with O(engine=server). authentik logs a failed sync as a warning.
    type: list
    elements: str
    default: [critical, exception, error, warning, warn]
    choices: [critical, exception, error, warning, warn, info, debug, notset]
  sync_timeout:
    description:
      - Seconds that the sync itself may take with O(engine=server), following its task included.
    type: float
    default: 120.0
  google_wait:
    description:
      - Seconds to wait for Google in all. A new group refuses members for a while, a new account is not complete, a renamed one refuses
        writes, and reads show old values after a write.
      - If the result is not certain by then, RV(status=unconfirmed).
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: Sync a user, and fail if that did not work
  dirsync.authentik.google_workspace_sync_object:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
    sync_object_model: user
    sync_object_id: ada.lovelace
  register: synced

- name: Show what changed at Google
  ansible.builtin.debug:
    msg: "{{ synced.status }}, {{ synced.changes | length }} differences (basis: {{ synced.basis }})"

- name: Sync a group and then show it, with the address and token given once
  module_defaults:
    group/dirsync.authentik.authentik:
      authentik_url: https://authentik.example.com
      authentik_token: "{{ vault_authentik_token }}"
  block:
    - name: Sync its members first, because authentik skips members without a Google account
      dirsync.authentik.google_workspace_sync_object:
        provider_id: 1
        sync_object_model: user
        sync_object_id: "{{ item }}"
      loop:
        - ada.lovelace
        - grace.hopper

    - name: Sync the group
      dirsync.authentik.google_workspace_sync_object:
        provider_id: 1
        sync_object_model: group
        sync_object_id: engineering

- name: Sync a user without authentik's worker, in the fewest calls
  dirsync.authentik.google_workspace_sync_object:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_id: 1
    sync_object_model: user
    sync_object_id: ada.lovelace
    engine: direct

- name: Give a group at Google exactly the members that it has in authentik, except for owners and managers
  dirsync.authentik.google_workspace_sync_object:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_id: 1
    sync_object_model: group
    sync_object_id: engineering
    engine: direct
    membership: exact

- name: Check that a user is the same on both sides (run with --check --diff)
  dirsync.authentik.google_workspace_sync_object:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_id: 1
    sync_object_model: authentik.core.models.User
    sync_object_id: ada.lovelace@example.com
    lookup: email
    verify: google
"""

RETURN = r"""
changed:
  description: Whether Google's record, or the group's membership, differs from before; in check mode, whether it would.
  returned: always
  type: bool
status:
  description:
    - V(synced), the record at Google changed and is in sync; V(unchanged), it was in sync.
    - V(out_of_scope), the provider does not sync this object. V(dry_run), the provider is set to dry run.
    - V(unconfirmed), the module could not see (yet) what the sync did, or Google was not ready in time; the warnings or the error say
      why. V(failed), the sync failed.
    - In check mode, what it would be.
  returned: always
  type: str
  sample: synced
messages:
  description: The log of this sync in order of time (authentik's, or the direct engine's own); secrets are masked.
  returned: always
  type: list
  elements: dict
  contains:
    timestamp:
      description: ISO 8601.
      type: str
    log_level:
      description: The level.
      type: str
    logger:
      description: Who wrote it.
      type: str
    event:
      description: The text.
      type: str
    attributes:
      description: Further values.
      type: dict
  sample:
    - timestamp: "2026-11-23T22:49:49.101352Z"
      log_level: info
      logger: authentik.enterprise.providers.google_workspace.tasks.google_workspace_sync_objects:gws:user:42:manual
      event: Syncing page 1 or Users
      attributes: {}
messages_source:
  description: Where RV(messages) come from, V(response), V(task_log), V(engine), or V(unavailable); a warning then gives the reason.
  returned: always
  type: str
  sample: task_log
object:
  description: The object in authentik; empty if it was not found.
  returned: always
  type: dict
  contains:
    model:
      description: The model's name in authentik.
      type: str
    pk:
      description: The primary key.
      type: str
    name:
      description: The username, or the group's name.
      type: str
    google_id:
      description: Google's record of the object, as its address or id, or null.
      type: str
    in_scope:
      description: Whether the provider syncs it.
      type: bool
changes:
  description:
    - The differences, each with RV(ignore:path), RV(ignore:before) and RV(ignore:after); for the path V(members) with
      RV(ignore:added) and RV(ignore:removed).
  returned: always
  type: list
  elements: dict
  sample:
    - path: name.givenName
      before: Adah
      after: Ada
    - path: members
      added: [ada.lovelace@example.com]
      removed: []
operations:
  description: The writes that are proven; in check mode and for a provider in dry run, those that would be.
  returned: always
  type: list
  elements: dict
  contains:
    method:
      description: The HTTP method, or null if it is not known.
      type: str
    resource:
      description: V(user), V(group) or V(member) at Google, or V(connection) in authentik.
      type: str
    key:
      description: The address.
      type: str
    by:
      description: Who wrote, V(authentik) or V(module).
      type: str
    group:
      description: The address of the group, for a V(member).
      type: str
  sample:
    - method: PUT
      resource: user
      key: ada.lovelace@example.com
      by: authentik
skipped_members:
  description: The usernames of a group's members that were skipped, because they have no Google account.
  returned: always; empty if Google was not read
  type: list
  elements: str
basis:
  description:
    - What RV(changed) is based on.
    - V(google), Google's record before and after. V(connection), authentik's copy of Google's last answer; a new connection does not
      show whether its account was created or taken over, so it counts as V(assumed).
      V(assumed), the module does not know, and a warning says why. V(nothing_sent), nothing that could write was sent.
  returned: always
  type: str
  sample: google
calls:
  description: The requests to authentik (RV(ignore:authentik)), to Google's Directory API (RV(ignore:google)) and for Google's token
    (RV(ignore:google_token)).
  returned: always
  type: dict
  sample: {authentik: 6, google: 2, google_token: 1}
engine:
  description: Who wrote to Google.
  returned: always
  type: str
  sample: server
server_version:
  description: authentik's version, or null if it was not read; the direct engine mostly does not read it.
  returned: always
  type: str
  sample: 2025.12.4
duration:
  description: Seconds.
  returned: always
  type: float
  sample: 1.9
diff:
  description: The state at Google before and after.
  returned: in diff mode
  type: dict
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
  description:
    - The kind of failure, for conditions in playbooks. V(unexpected), an error that the collection does not know stopped the sync.
  returned: on failure
  type: str
  sample: not_written
http_status:
  description: The HTTP status behind the failure, or null.
  returned: on failure
  type: int
"""

from ..module_utils._authentik.log_events import LEVELS
from ..module_utils._common.kind import MODELS
from ..module_utils._module import (
    ModuleRunner,
    SyncModule,
    authentik_arguments,
    google_arguments,
    ownership_arguments,
    protection_arguments,
    provider_arguments,
)
from ..module_utils._objects.target import LOOKUPS, check_lookup
from ..module_utils._sync.direct.engine import DirectSync
from ..module_utils._sync.options import ObjectOptions
from ..module_utils._sync.outcome import Outcome
from ..module_utils._sync.plan import KEEPABLE
from ..module_utils._sync.server.engine import ServerSync

ENGINES = {"server": ServerSync, "direct": DirectSync}


def argument_spec():
    """The module's options."""
    return dict(
        authentik_arguments(),
        **google_arguments(),
        **provider_arguments(),
        **ownership_arguments(),
        **protection_arguments(),
        sync_object_model={"type": "str", "required": True, "choices": list(MODELS), "aliases": ["model"]},
        sync_object_id={"type": "str", "required": True, "aliases": ["object_id"]},
        lookup={"type": "str", "default": "auto", "choices": list(LOOKUPS)},
        override_dry_run={"type": "bool", "default": False},
        engine={"type": "str", "default": "server", "choices": list(ENGINES)},
        membership={"type": "str", "default": "add", "choices": ["add", "exact", "ignore"]},
        keep_members={"type": "list", "elements": "str", "default": list(KEEPABLE), "choices": list(KEEPABLE)},
        verify={"type": "str", "default": "auto", "choices": ["auto", "google", "connection", "none"]},
        out_of_scope={"type": "str", "default": "warn", "choices": ["warn", "fail", "ignore"]},
        fail_on={"type": "list", "elements": "str", "default": list(LEVELS[:5]), "choices": list(LEVELS)},
        sync_timeout={"type": "float", "default": 120.0},
        google_wait={"type": "float", "default": 60.0},
    )


def main():
    module = SyncModule(
        outcome=Outcome,
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("provider_id", "provider_name")],
        mutually_exclusive=[("provider_id", "provider_name"), ("service_account_file", "service_account_contents")],
    )
    runner = ModuleRunner(module)
    with runner.guarded():
        run = prepare(module, runner)
    runner.sync(run)


def prepare(module, runner):
    """The engine, from the module's options; ends the module where they cannot be used."""
    params = module.params
    request = ObjectOptions.of(
        params,
        kind=MODELS[params["sync_object_model"]],
        object_id=params["sync_object_id"].strip(),
        check_mode=module.check_mode,
    )
    problem = request.problem(params["engine"]) or check_lookup(request.kind, request.object_id, request.lookup)
    if problem:
        runner.refuse(problem)
    runner.check_seconds("sync_timeout", "google_wait")
    runner.check_google_options()
    authentik = runner.authentik()
    return ENGINES[params["engine"]](authentik, request, runner.open_directory, runner.warn, runner.keep_secret)


if __name__ == "__main__":
    main()
