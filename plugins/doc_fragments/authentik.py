# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that connect to authentik."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  authentik_url:
    description:
      - The address of the authentik server, for example V(https://authentik.example.com), with its path prefix if it has one.
      - With http:// the token travels unencrypted. Unless the host is a loopback address, the module warns.
      - If it is not set, the environment variable E(AUTHENTIK_URL) is used.
    type: str
    required: true
  authentik_token:
    description:
      - An API token of authentik (I(Directory > Tokens), intent I(API Token)).
      - If it is not set, the environment variable E(AUTHENTIK_TOKEN) is used.
    type: str
    required: true
  validate_certs:
    description:
      - Whether the server's TLS certificate is checked.
      - If it is not set, the environment variable E(AUTHENTIK_INSECURE) is used, inverted.
    type: bool
    default: true
  ca_path:
    description:
      - A file with the certificate authorities to trust, in PEM form.
      - If it is not set, the environment variable E(AUTHENTIK_CA_PATH) is used; without that, the host's own authorities.
    type: path
  request_timeout:
    description:
      - Seconds that one request may take.
    type: float
    default: 30.0
"""
