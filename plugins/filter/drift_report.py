# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filter drift_report."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drift_report
short_description: Turn the result of google_workspace_sync into a page, a JSON document or numbers
version_added: 0.1.0
author:
  - The dirsync.authentik contributors (@dirsync)
description:
  - Describes in words what M(dirsync.authentik.google_workspace_sync) found in check mode.
  - The role P(dirsync.authentik.drift_report#role) uses it and does everything else that a report needs.
options:
  _input:
    description:
      - The registered result of M(dirsync.authentik.google_workspace_sync), run in check mode, whether it failed or not.
    type: dict
    required: true
  report:
    description:
      - The text of the file that the module wrote because of its O(dirsync.authentik.google_workspace_sync#module:report_path).
    type: str
    default: ""
  form:
    description:
      - What to return.
      - V(page) is one HTML page that needs nothing else, V(json) one JSON document with everything, V(summary) the numbers.
    type: str
    default: page
    choices: [page, json, summary]
  title:
    description:
      - The title of the page.
    type: str
    default: Directory drift report
"""

EXAMPLES = r"""
- name: Compare authentik with Google Workspace
  dirsync.authentik.google_workspace_sync:
    authentik_url: https://authentik.example.com
    authentik_token: "{{ vault_authentik_token }}"
    provider_name: Google Workspace
  check_mode: true
  register: compared

- name: Show the result in words
  ansible.builtin.debug:
    msg: "{{ (compared | dirsync.authentik.drift_report(form='summary')).headline }}"
"""

RETURN = r"""
_value:
  description:
    - With O(form=page) and O(form=json), a text. With O(form=summary), a dictionary with RV(ignore:state), RV(ignore:headline),
      RV(ignore:drift), RV(ignore:complete), RV(ignore:changes_total), RV(ignore:failed_total), RV(ignore:orphans_total),
      RV(ignore:safety_limits_exceeded), RV(ignore:counts), RV(ignore:status), RV(ignore:code) and RV(ignore:msg).
  type: raw
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..plugin_utils.drift_report import as_json, as_page, build, summary


def drift_report(
    result: t.Any, report: str = "", form: str = "page", title: str = "Directory drift report"
) -> str | dict[str, t.Any]:
    """See DOCUMENTATION.

    Raises:
        AnsibleFilterError: the input or the form is none of those that are documented.
    """
    if not isinstance(result, dict):
        raise AnsibleFilterError(
            f"drift_report wants the registered result of google_workspace_sync, a dictionary, not {type(result).__name__}."
        )
    if form == "summary":
        return summary(result)
    if form not in ("page", "json"):
        raise AnsibleFilterError(f"drift_report: form is page, json or summary, not '{form}'.")
    document = build(result, str(report), str(title))
    return as_page(document) if form == "page" else as_json(document)


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The filters by name."""
        return {"drift_report": drift_report}
