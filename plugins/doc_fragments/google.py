# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that give access to Google."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  service_account_file:
    description:
      - The JSON key of a service account with domain-wide delegation, as a file on the host that the module runs on.
      - If it is not set, the environment variable E(GCP_SERVICE_ACCOUNT_FILE) is used.
      - Without a service account here, the provider's own is used, as authentik shows it.
      - Mutually exclusive with O(service_account_contents).
    type: path
  service_account_contents:
    description:
      - The JSON key of a service account with domain-wide delegation, as text or as a dictionary.
      - If it is not set, the environment variable E(GCP_SERVICE_ACCOUNT_CONTENTS) is used.
    type: jsonarg
  delegated_subject:
    description:
      - The address of the Google Workspace administrator to act as. By default, the provider's.
      - If it is not set, the environment variable E(GOOGLE_WORKSPACE_DELEGATED_SUBJECT) is used.
    type: str
  google_scopes:
    description:
      - The OAuth scopes to ask for. By default, the provider's.
      - Google refuses the whole token when the domain-wide delegation lacks one of them.
      - If it is not set, the environment variable E(GCP_SCOPES) is used (comma separated).
    type: list
    elements: str
  google_api_endpoint:
    description:
      - The root of Google's Directory API.
      - If it is not set, the environment variable E(GOOGLE_WORKSPACE_API_ENDPOINT) is used.
    type: str
    default: https://admin.googleapis.com
"""
