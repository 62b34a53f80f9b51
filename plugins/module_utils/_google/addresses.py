# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses a secret may be sent to: https, or http that does not leave this host. Pure."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from urllib.parse import urlsplit

# No endpoint's address comes near this; a pasted key does.
LONGEST = 512
# Names and addresses of metadata servers beyond the link-local range; IPv6 addresses of Google's and Amazon's.
_METADATA = frozenset(("metadata", "metadata.google.internal", "fd20:ce::254", "fd00:ec2::254"))
_HOST = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this host's own."""
    return host == "localhost" or _is(host, "is_loopback")


def is_local(host: str) -> bool:
    """Whether requests to a host stay on this machine or with the platform that runs it (its metadata server)."""
    return is_loopback(host) or host in _METADATA or _is(host, "is_link_local")


def problem(address: t.Any, plain: t.Callable[[str], bool] = is_loopback) -> str | None:
    """What is wrong with an address that secrets are sent to, or None. The text never quotes the address.

    Args:
        address: what was given; anything.
        plain: callable that tells for which hosts http is accepted.
    """
    if not isinstance(address, str) or not address:
        return "is not text"
    if not re.match(r"^[\x21-\x7e]+$", address) or "\\" in address:
        return "contains control characters, spaces or other characters that no URL has"
    if len(address) > LONGEST:
        return "is longer than %d characters" % LONGEST
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        bracketed = "[" in parts.netloc
        sound = parts.port is None or parts.port > 0
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("https", "http"):
        return "does not begin with https://"
    if "@" in parts.netloc:
        return "contains a user name or password"
    if not host:
        return "names no host"
    if not sound or not (_is(host, "version") if bracketed else _HOST.match(host)):
        return "is not a URL"
    if "?" in address or "#" in address:
        return "contains a query or a fragment"
    if parts.scheme == "http" and not plain(host):
        return "uses http, which is not encrypted, and leaves this host"
    return None


def _is(host: str, what: str) -> bool:
    try:
        return bool(getattr(ipaddress.ip_address(host), what))
    except ValueError:
        return False
