#!/usr/bin/python
# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: google_workspace_sync
short_description: Sync the whole directory, or many objects, from authentik to Google Workspace
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Syncs every user and group of a Google Workspace provider, writes only what differs, and reports what was done.
  - With O(engine=direct), the module lists both sides once, compares them, and writes only differences, through Google's API and
    within its quota. Before the first write it checks the whole plan against the safety limits.
  - With O(engine=server), the module starts authentik's own full sync and follows it to its end. If one is already running, it waits
    for that one first.
  - If an object fails, the others are still synced; the task fails at the end and lists it.
  - After an interruption, at any point, run the task again.
notes:
  - Users are synced before groups, groups before their members; removals and deletions come last.
  - Google's listings can be minutes old. So the module looks up each object that Google does not list before it creates anything.
    A value that was changed at Google in these minutes may be written once more.
  - Administrators' accounts at Google, and the account that the run acts as, are never taken over by address, suspended, archived,
    renamed, deleted, or given a password or recovery data. With O(engine=server), nothing is started that would do so.
  - No two objects are synced to one account or group. The object that is connected to it keeps it; the others fail and are named.
  - For one object, use M(dirsync.authentik.google_workspace_sync_object).
  - With O(engine=server), authentik 2025.8 and later lets only a superuser start a full sync, and authentik 2025.6 and earlier can
    only run one again, so the provider's first one cannot be started.
requirements:
  - authentik 2024.8 or later.
  - For O(engine=direct), google-api-python-client, google-auth and google-auth-httplib2 on the host that the module runs on, with
    Python 3.10 or later. pydantic-monty for O(mapping_evaluation=local) and, to be fast, for O(mapping_evaluation=auto).
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
      - With O(engine=direct), nothing that could write is sent and the plan is exact. With O(engine=server), the module does not
        predict what authentik would do, see RV(basis).
  diff_mode:
    support: full
    details:
      - Shows as many objects as O(result_limit) allows.
  idempotent:
    support: partial
    details:
      - With O(engine=direct), fully. authentik's own sync, O(engine=server), writes without comparing; RV(changed) says whether
        anything is different.
options:
  engine:
    description:
      - Who writes to Google.
      - V(direct) is this module. V(server) is authentik itself, by its own full sync. That lists the whole Google directory for every page
        of objects, writes everything, and removes no member. Safety limits, shards and other options of a run do not apply to it.
    type: str
    default: direct
    choices: [direct, server]
  models:
    description:
      - The kinds of objects to sync.
    type: list
    elements: str
    default: [user, group]
    choices: [user, group]
  objects:
    description:
      - Sync only these users and groups, as O(lookup) says. If the option is not given (or null), all are synced.
      - An empty list syncs nothing, with a warning, so a computed list that came out empty does not sync the whole directory.
      - An entry is looked up in all O(models); the prefix C(user:) or C(group:) selects one. It must fit exactly one object.
      - The module then reads each object instead of listing both sides. Needs O(engine=direct).
    type: list
    elements: str
  lookup:
    description:
      - What the entries of O(objects) are, see O(dirsync.authentik.google_workspace_sync_object#module:lookup).
    type: str
    default: auto
    choices: [auto, pk, uuid, username, email, name]
  membership:
    description:
      - How to sync the members of groups.
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
  orphans:
    description:
      - What to do about orphans. An orphan is an account or group at Google that a connection leads to, and whose user or group the
        provider no longer syncs (for example, not in the filter group any more, or left out by a property mapping).
      - V(ignore) does not search for them. V(report) lists them in RV(orphans).
      - V(apply) carries out the provider's delete actions (delete, suspend, nothing) and removes the connection. Needs
        O(engine=direct).
    type: str
    default: report
    choices: [ignore, report, apply]
  allow_group_deletion:
    description:
      - Whether O(orphans=apply) may delete groups if the provider's delete action is to delete. Google cannot restore a group.
    type: bool
    default: false
  mapping_evaluation:
    description:
      - Who evaluates the property mappings with O(engine=direct).
      - V(server) is authentik, with one request for each object and mapping. V(local) is this module, without asking authentik; a
        mapping that it cannot evaluate fails.
      - V(auto) evaluates in this module each mapping that gives the same as authentik for a sample of the objects; authentik evaluates
        the others.
    type: str
    default: auto
    choices: [auto, server, local]
  mapping_sample:
    description:
      - How many objects of each kind O(mapping_evaluation=auto) compares with authentik.
    type: int
    default: 20
  safety_limits:
    description:
      - What a run may do at most. Each limit is a number (V(10)) or a percentage (V(5%)), rounded up. A limit that is not given keeps its
        default.
      - Every effect of the plan counts, whether a property mapping, an orphan or a change in authentik causes it. Numbers and percentages
        hold for users and for groups separately.
      - Percentages are of what the provider manages; these are the records that its connections lead to, and those that its objects
        have without a connection. With O(objects), they are of the objects named. For members, they are of the members that the
        compared groups have at Google.
      - If a plan exceeds a limit, the run stops before the first write. O(safety_limits.removals_per_group) leaves only that group
        alone, which then fails with the code V(guard). O(force) overrides every limit.
    type: dict
    suboptions:
      suspensions:
        description:
          - How many accounts a run may suspend or archive.
        type: str
        default: 5%
      deletions:
        description:
          - How many accounts, and how many groups, a run may delete.
        type: str
        default: 1%
      creations:
        description:
          - How many accounts, and how many groups, a run may create. Raise it for a first run.
        type: str
        default: "50"
      renames:
        description:
          - How many accounts, and how many groups, a run may give another address.
        type: str
        default: 5%
      reactivations:
        description:
          - How many suspended or archived accounts a run may reactivate.
        type: str
        default: 5%
      adoptions:
        description:
          - How many accounts, and how many groups, a run may take over, that is, sync although no connection of the provider leads to
            them. Not applied with authentik 2025.8 and earlier, which keep no connections of the direct engine.
        type: str
        default: "25"
      removals:
        description:
          - How many members a run may remove from all groups together. A percentage allows at least what is to be removed from a single
            group within O(safety_limits.removals_per_group).
        type: str
        default: 20%
      removals_per_group:
        description:
          - How many members a run may remove from one group, of the members that it has at Google.
        type: str
        default: 50%
      unlinked:
        description:
          - How many connections of orphans a run may remove whose record stays in use. The orphans that it suspends or deletes are not
            counted here.
        type: str
        default: 5%
      changes:
        description:
          - How many accounts, and how many groups, may differ in any other field. Creations, takeovers, and differences that another
            limit counts (of the address, suspended, archived) are not counted. A percentage is not applied to O(objects).
        type: str
        default: 50%
      missing:
        description:
          - How many of the connected accounts (or groups) may be missing in Google's listing, and how many of the connected users (or
            groups) in authentik's. If more are missing, the listing came back too short. After many accounts were created, Google's
            listing can be incomplete for some minutes.
        type: str
        default: 10%
      floor:
        description:
          - What every percentage allows at least, so that small directories can change. V(0%) allows nothing.
        type: int
        default: 3
  force:
    description:
      - Continue although a safety limit is exceeded or a listing came back too short. The result and a warning say what was overridden.
    type: bool
    default: false
  override_dry_run:
    description:
      - Sync although the provider is set to dry run. Needs O(engine=direct) and authentik 2025.4 or later.
      - It never makes a run in check mode write.
    type: bool
    default: false
  queries_per_minute:
    description:
      - How many requests to Google a run may make in a minute. Google allows 2400 for each service account by default.
      - If Google refuses a request, the run slows down for a while and sends it again.
    type: float
    default: 2340.0
  user_creations_per_second:
    description:
      - How many users a run may create in a second. Google allows ten for each domain.
    type: float
    default: 9.0
  parallel:
    description:
      - How many requests to Google may run in parallel.
    type: int
    default: 16
  google_wait:
    description:
      - Seconds to wait for Google, for each object. A new group refuses members for a while, a new account is not complete, a renamed
        one refuses writes.
    type: float
    default: 60.0
  shard_index:
    description:
      - Which shard of the objects this run syncs, counted from 0. An object belongs to the same shard in every run.
    type: int
    default: 0
  shard_count:
    description:
      - In how many shards the objects are divided, for runs in parallel. Safety limits and quota are divided too, so all shards together
        keep to them.
      - A group's members need their accounts first, so sync the users of all shards before the groups.
    type: int
    default: 1
  journal:
    description:
      - A file on the host that the module runs on, to which every write is appended before it is sent and when it was answered.
      - If a run finds the journal of an interrupted run of the same kind, not older than an hour, it skips the groups that were done;
        RV(counts) has them as skipped. Needs O(engine=direct).
    type: path
  report_path:
    description:
      - A file on the host that the module runs on, for every change, failure and orphan, as JSON Lines. Only its owner can read it.
    type: path
  progress_path:
    description:
      - A file on the host that the module runs on, to which the progress is written, as JSON Lines.
      - If the module runs on the controller, Ansible's own output shows the progress, see O(show_progress).
    type: path
  show_progress:
    description:
      - Whether Ansible's output shows the progress while the module runs (with C(connection=local)), on standard error. On a terminal
        every few seconds, elsewhere less often, never with C(no_log).
      - If it is not set, the environment variable E(DIRSYNC_SHOW_PROGRESS) of the controller is used.
    type: bool
    default: true
  result_limit:
    description:
      - How many changes, failed objects and orphans the result shows; O(report_path) has all of them.
    type: int
    default: 100
  max_objects:
    description:
      - The most users, groups, connections or members that one listing of authentik or Google may have. A longer listing fails the
        run before it writes.
    type: int
    default: 1000000
  fail_on_objects:
    description:
      - Whether the task fails if an object failed or could not be confirmed.
    type: bool
    default: true
  verify:
    description:
      - What to compare before and after the sync with O(engine=server). See
        O(dirsync.authentik.google_workspace_sync_object#module:verify). O(engine=direct) always reads Google.
    type: str
    default: auto
    choices: [auto, google, connection, none]
  fail_on:
    description:
      - The log levels of RV(messages) that fail the task with O(engine=server). authentik logs a failed sync as a warning.
    type: list
    elements: str
    default: [critical, exception, error, warning, warn]
    choices: [critical, exception, error, warning, warn, info, debug, notset]
  sync_timeout:
    description:
      - Seconds that the sync itself may take with O(engine=server), following its tasks included. If the sync takes longer, it
        continues, and the task fails. If another sync is already running, the module first waits for it, at most as long.
    type: float
    default: 3600.0
"""

EXAMPLES = r"""
- name: Sync every user and group, and remove members that do not belong
  dirsync.authentik.google_workspace_sync:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
    membership: exact
  register: synced

- name: Show the totals
  ansible.builtin.debug:
    msg: "{{ synced.changes_total }} changes, {{ synced.failed_total }} failed: {{ synced.counts }}"

- name: Sync some users and their group in one task
  dirsync.authentik.google_workspace_sync:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
    objects:
      - user:ada.lovelace
      - user:grace.hopper
      - group:engineering

- name: See what a nightly run would do (run with --check --diff)
  dirsync.authentik.google_workspace_sync:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
    membership: exact
    orphans: apply
    safety_limits:
      suspensions: 10
      deletions: 0
"""

RETURN = r"""
changed:
  description: Whether anything at Google differs from before; in check mode, whether it would.
  returned: always
  type: bool
status:
  description:
    - V(synced), something was written and all is in sync; V(unchanged), all was in sync; V(dry_run), the provider is set to dry run.
    - V(unconfirmed), the module could not see what the sync did. V(failed), an object failed, or the run did not finish.
    - In check mode, what it would be.
  returned: always
  type: str
  sample: synced
counts:
  description:
    - Numbers of objects by kind, RV(ignore:users) and RV(ignore:groups), and by what happened to them or, in check mode, would happen.
    - RV(ignore:total) is what authentik lists (of this shard). RV(ignore:skipped) were done by the interrupted run in the journal.
    - For groups also RV(ignore:members_added), RV(ignore:members_removed), and RV(ignore:members_skipped), members without an account.
  returned: always
  type: dict
  sample:
    users: {total: 1529, unchanged: 1500, created: 9, updated: 17, suspended: 3, deleted: 0, unlinked: 0, orphans: 0,
      out_of_scope: 0, skipped: 0, failed: 0, unconfirmed: 0}
changes:
  description: What changed, an entry for each object, as many as O(result_limit) allows.
  returned: always
  type: list
  elements: dict
  contains:
    model:
      description: The model's name in authentik.
      type: str
    pk:
      description: The primary key in authentik.
      type: str
    name:
      description: The username, or the group's name.
      type: str
    google_id:
      description: Google's record of the object, as its address or id, or null.
      type: str
    action:
      description: V(created), V(updated), V(suspended) or V(deleted).
      type: str
    changes:
      description: The differences, as in RV(dirsync.authentik.google_workspace_sync_object#module:changes).
      type: list
      elements: dict
changes_total:
  description: How many objects changed.
  returned: always
  type: int
failed_objects:
  description: The objects that failed, each with RV(ignore:msg) and RV(ignore:code), as many as O(result_limit) allows.
  returned: always
  type: list
  elements: dict
failed_total:
  description: How many objects failed or could not be confirmed.
  returned: always
  type: int
orphans:
  description:
    - Connected accounts and groups whose object is out of scope, each with RV(ignore:why) and the RV(ignore:action) that was taken or,
      in check mode, would be.
  returned: always
  type: list
  elements: dict
safety_limits:
  description:
    - The safety limits of the run that were compared with the plan, and those of single groups that are exceeded.
  returned: always
  type: list
  elements: dict
  contains:
    option:
      description: The suboption of O(safety_limits).
      type: str
    limit:
      description: Its value.
      type: str
    allowed:
      description: How many it allows in this run.
      type: int
    planned:
      description: How many are planned.
      type: int
    of:
      description: What a percentage is of.
      type: int
    what:
      description: What is counted, in words.
      type: str
    exceeded:
      description: Whether more are planned than allowed.
      type: bool
    overridden:
      description: Whether it is exceeded and O(force) overrides it.
      type: bool
    group:
      description: The name of the group, for V(removals_per_group) only.
      type: str
plan:
  description:
    - The totals of the plan, known before the first write, or null if the run ended before. RV(plan.text) is the line that is shown
      before the first write.
  returned: always
  type: dict
  contains:
    counts:
      description:
        - For RV(ignore:users) and RV(ignore:groups), the number of each effect, as O(safety_limits) counts it; also
          RV(ignore:updates) and RV(ignore:additions), members to add.
      type: dict
    text:
      description: The same in words.
      type: str
  sample:
    text: "plan: 1 create, 7 update, 2 suspend, 0 delete, 3 members to add, 1 to remove; within all safety limits"
mapping_evaluation:
  description: Who evaluated each property mapping, V(local) or V(server), and why.
  returned: always
  type: list
  elements: dict
rate:
  description: The requests to Google per minute, the limit, and how often Google refused because of its quota.
  returned: always
  type: dict
messages:
  description: The log of the run in order of time (authentik's, or the direct engine's own), the first thousand lines; secrets are masked.
  returned: always
  type: list
  elements: dict
messages_source:
  description: Where RV(messages) come from, V(engine), V(task_log), V(response) or V(unavailable); a warning then gives the reason.
  returned: always
  type: str
basis:
  description: What RV(changed) is based on, see RV(dirsync.authentik.google_workspace_sync_object#module:basis).
  returned: always
  type: str
calls:
  description: The requests to authentik (RV(ignore:authentik)), to Google's Directory API (RV(ignore:google)) and for Google's token
    (RV(ignore:google_token)).
  returned: always
  type: dict
engine:
  description: Who wrote to Google.
  returned: always
  type: str
server_version:
  description: authentik's version, or null if it was not read.
  returned: always
  type: str
report_path:
  description: The file with every change, failure and orphan, or null.
  returned: always
  type: str
duration:
  description: Seconds.
  returned: always
  type: float
diff:
  description: The state at Google before and after, of the objects in RV(changes).
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
    - The kind of failure, for conditions in playbooks. V(objects), single objects failed. V(guard), a safety limit or a
      listing that came back too short stopped the run. V(given_up), Google failed repeatedly, or the journal could not be written.
      V(unexpected), an error that the collection does not know stopped the run.
    - With O(engine=server) also V(sync_failed), a page of objects crashed; V(google_not_reached), authentik could not reach Google;
      V(sync_unfinished), O(sync_timeout) is over; V(sync_unanswered), it is not known whether the sync started. Before anything is sent,
      V(not_assigned), V(no_worker), V(no_schedule), V(no_full_sync_yet), V(conflict), V(protected) and V(already_running).
  returned: on failure
  type: str
  sample: objects
http_status:
  description: The HTTP status behind the failure, or null.
  returned: on failure
  type: int
"""

from ansible.module_utils.basic import env_fallback

from ..module_utils._authentik.log_events import LEVELS
from ..module_utils._mappings.evaluator import MODES
from ..module_utils._module import (
    ModuleRunner,
    SyncModule,
    authentik_arguments,
    google_arguments,
    ownership_arguments,
    protection_arguments,
    provider_arguments,
)
from ..module_utils._objects.target import LOOKUPS
from ..module_utils._sync.direct.directory import DirectorySync
from ..module_utils._sync.directory_outcome import DirectoryOutcome
from ..module_utils._sync.guard.safety_limits import DEFAULTS, FLOOR, parse_limits
from ..module_utils._sync.options import DirectoryOptions
from ..module_utils._sync.plan import KEEPABLE
from ..module_utils._sync.server.directory import FullServerSync

ENGINES = {"direct": DirectorySync, "server": FullServerSync}
LIMITS = {name: {"type": "str", "default": default} for name, default in DEFAULTS.items()}


def argument_spec():
    """The module's options."""
    return dict(
        authentik_arguments(),
        **google_arguments(),
        **provider_arguments(),
        **ownership_arguments(),
        **protection_arguments(),
        safety_limits={
            "type": "dict",
            "apply_defaults": True,
            "options": dict(LIMITS, floor={"type": "int", "default": FLOOR}),
        },
        engine={"type": "str", "default": "direct", "choices": ["direct", "server"]},
        models={"type": "list", "elements": "str", "default": ["user", "group"], "choices": ["user", "group"]},
        objects={"type": "list", "elements": "str"},
        lookup={"type": "str", "default": "auto", "choices": list(LOOKUPS)},
        membership={"type": "str", "default": "add", "choices": ["add", "exact", "ignore"]},
        keep_members={"type": "list", "elements": "str", "default": list(KEEPABLE), "choices": list(KEEPABLE)},
        orphans={"type": "str", "default": "report", "choices": ["ignore", "report", "apply"]},
        allow_group_deletion={"type": "bool", "default": False},
        mapping_evaluation={"type": "str", "default": "auto", "choices": list(MODES)},
        mapping_sample={"type": "int", "default": 20},
        force={"type": "bool", "default": False},
        override_dry_run={"type": "bool", "default": False},
        queries_per_minute={"type": "float", "default": 2340.0},
        user_creations_per_second={"type": "float", "default": 9.0},
        parallel={"type": "int", "default": 16},
        google_wait={"type": "float", "default": 60.0},
        shard_index={"type": "int", "default": 0},
        shard_count={"type": "int", "default": 1},
        journal={"type": "path"},
        report_path={"type": "path"},
        progress_path={"type": "path"},
        show_progress={"type": "bool", "default": True, "fallback": (env_fallback, ["DIRSYNC_SHOW_PROGRESS"])},
        result_limit={"type": "int", "default": 100},
        max_objects={"type": "int", "default": 1000000},
        fail_on_objects={"type": "bool", "default": True},
        verify={"type": "str", "default": "auto", "choices": ["auto", "google", "connection", "none"]},
        fail_on={"type": "list", "elements": "str", "default": list(LEVELS[:5]), "choices": list(LEVELS)},
        sync_timeout={"type": "float", "default": 3600.0},
    )


def main():
    module = SyncModule(
        outcome=DirectoryOutcome,
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
    try:
        limits = parse_limits(params["safety_limits"])
    except ValueError as exc:
        runner.refuse(str(exc))
    request = DirectoryOptions.of(params, safety_limits=limits, out_of_scope="ignore", check_mode=module.check_mode)
    problem = request.problem(params["engine"])
    if problem:
        runner.refuse(problem)
    runner.check_seconds("sync_timeout", "google_wait")
    runner.check_google_options()
    more = {"report_path": params["report_path"]}
    if params["engine"] == "direct":
        more["journal_path"] = params["journal"]
    elif params["journal"]:
        runner.refuse("journal needs engine: direct; what authentik writes by itself is in its own log.")
    authentik = runner.authentik()
    return ENGINES[params["engine"]](
        authentik,
        request,
        runner.open_directory,
        runner.warn,
        runner.keep_secret,
        tell=runner.progress_writer("progress_path"),
        **more,
    )


if __name__ == "__main__":
    main()
