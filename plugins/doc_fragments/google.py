# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that give access to Google."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  google_auth:
    description:
      - How the module authenticates to Google.
      - V(key) uses the JSON key in O(service_account_file) or O(service_account_contents), and without one of them the key of the
        provider, as authentik shows it.
      - V(application_default) uses no key. Google's library google-auth finds the identity of the machine or workload (the metadata
        server on Google Cloud, or workload identity federation by the file that E(GOOGLE_APPLICATION_CREDENTIALS) names), and the
        IAM Service Account Credentials API signs for the service account that has the domain-wide delegation. The identity needs
        the role I(Service Account Token Creator) on that service account. A key that is found in this way is refused.
      - V(application_default) is mutually exclusive with O(service_account_file) and O(service_account_contents).
      - If it is not set, the environment variable E(GOOGLE_WORKSPACE_AUTH) is used.
    type: str
    choices: [key, application_default]
    default: key
  service_account_email:
    description:
      - The e-mail address of the service account that has the domain-wide delegation, for O(google_auth=application_default) only.
      - By default, the service account of the application default credentials. Required if they name none, for example with a
        workload identity federation without impersonation.
      - If it is not set, the environment variable E(GOOGLE_WORKSPACE_SERVICE_ACCOUNT_EMAIL) is used.
    type: str
  service_account_file:
    description:
      - The JSON key of a service account with domain-wide delegation, as a file on the host that the module runs on.
      - If it is not set, the environment variable E(GCP_SERVICE_ACCOUNT_FILE) is used.
      - By default, the provider's own service account is used, as authentik shows it.
      - If you set this option, O(delegated_subject) is required.
      - Its C(token_uri) must be an https:// URL (http:// for a loopback address only).
      - Mutually exclusive with O(service_account_contents).
    type: path
  service_account_contents:
    description:
      - The JSON key of a service account with domain-wide delegation, as text or as a dictionary.
      - If it is not set, the environment variable E(GCP_SERVICE_ACCOUNT_CONTENTS) is used.
      - If you set this option, O(delegated_subject) is required.
      - Its C(token_uri) must be an https:// URL (http:// for a loopback address only).
    type: jsonarg
  delegated_subject:
    description:
      - The address of the Google Workspace administrator to act as.
      - Required with O(service_account_file), O(service_account_contents) and O(google_auth=application_default). They never act as
        the subject that authentik shows, because whoever may change the provider there could then choose any account.
      - With the provider's own service account, the default is the provider's subject.
      - If it is not set, the environment variable E(GOOGLE_WORKSPACE_DELEGATED_SUBJECT) is used.
    type: str
  google_scopes:
    description:
      - The OAuth scopes to ask for.
      - With O(service_account_file), O(service_account_contents) and O(google_auth=application_default), the default is the scopes that
        authentik asks for by default, C(admin.directory.user), C(admin.directory.group), C(admin.directory.group.member) and
        C(admin.directory.domain.readonly), whatever scopes authentik shows.
      - With the provider's own service account, the default is the provider's scopes.
      - If the domain-wide delegation lacks one of them, Google refuses the whole token.
      - If it is not set, the environment variable E(GCP_SCOPES) is used (comma separated).
    type: list
    elements: str
  google_api_endpoint:
    description:
      - The root of Google's Directory API.
      - It must be an https:// URL; http:// is accepted for a loopback address only. Then O(google_auth=application_default) asks the IAM
        Service Account Credentials API and the token endpoint at the same address.
      - If it is not set, the environment variable E(GOOGLE_WORKSPACE_API_ENDPOINT) is used.
    type: str
    default: https://admin.googleapis.com
"""
