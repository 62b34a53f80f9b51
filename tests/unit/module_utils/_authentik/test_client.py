# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authentik client's checks that need no server."""

from __future__ import annotations

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik import client
from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.errors import AuthentikError


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://a.test", "https://a.test"),
        ("https://a.test/", "https://a.test"),
        (" https://a.test:9443/auth/ ", "https://a.test:9443/auth"),
        ("http://127.0.0.1:9000/api/v3/", "http://127.0.0.1:9000"),
        ("https://[::1]:9443", "https://[::1]:9443"),
    ],
)
def test_urls(given, url):
    assert client.normalise_url(given) == url


@pytest.mark.parametrize(
    "given",
    [
        "",
        "a.test",
        "ftp://a.test",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https://user:secret@a.test",
        "https://a.test?x=1",
        "https://a.test#x",
        "https://a.test:port",
        "https://a.test:99999",
        "https://a .test",
        "https://a.test\r\nX: y",
    ],
)
def test_urls_that_are_refused_name_the_option_and_keep_the_secret(given):
    with pytest.raises(AuthentikError) as caught:
        client.normalise_url(given)
    assert caught.value.kind == "url"
    assert "authentik_url" in str(caught.value)
    assert "secret" not in str(caught.value)
