# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where keyless requests go, and what may be said of them."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._google import keyless
from ansible_collections.dirsync.authentik.plugins.module_utils._google.credentials import ApplicationDefault
from ansible_collections.dirsync.authentik.plugins.module_utils._google.errors import GoogleError

ACCOUNT = "sync@project-1.iam.gserviceaccount.com"


class Identity:
    valid = True
    service_account_email = ACCOUNT

    def apply(self, headers):
        headers["authorization"] = "Bearer token-of-the-identity"


class Answer:
    status = 200

    def __init__(self, content):
        self.data = json.dumps(content).encode()


class Listener:
    """A sender that keeps what it is given, and sends nothing."""

    what = "read it"
    refusal = None

    def __init__(self):
        self.sent = []

    def __call__(self, url, method="GET", body=None, headers=None, timeout=None, **more):
        self.sent.append((url, body))
        return Answer({"signedJwt": "a.b.c"} if url.endswith(":signJwt") else {"access_token": "t", "expires_in": 60})


@pytest.mark.parametrize(
    ("endpoint", "iam", "token_uri"),
    [
        (
            "https://admin.googleapis.com",
            "https://iamcredentials.googleapis.com",
            "https://oauth2.googleapis.com/token",
        ),
        ("https://proxy.example.com", "https://iamcredentials.googleapis.com", "https://oauth2.googleapis.com/token"),
        ("http://127.0.0.1:4711", "http://127.0.0.1:4711", "http://127.0.0.1:4711/token"),
        ("http://localhost:4711/", "http://localhost:4711", "http://localhost:4711/token"),
    ],
)
def test_a_test_server_and_google_do_not_mix(endpoint, iam, token_uri):
    sender: Any = Listener()
    application = ApplicationDefault("admin@example.com", [], "", {"source": Identity()})
    keyless.signer(application, endpoint, sender, threading.Lock()).refresh(None)
    assert [url for url, _body in sender.sent] == [f"{iam}/v1/projects/-/serviceAccounts/{ACCOUNT}:signJwt", token_uri]
    claims = json.loads(json.loads(sender.sent[0][1])["payload"])
    assert claims["aud"] == "https://oauth2.googleapis.com/token"


def sender():
    def transport(timeout, past_proxies):
        raise AssertionError("nothing may be sent")

    return keyless.Sender(transport, 5, lambda exc, what, host: GoogleError("unreachable", str(exc)))


@pytest.mark.parametrize(
    "url",
    [
        "http://sts.example.com/v1/token",
        "http://127.0.0.1.example.com/",
        "http://10.0.0.1/",
        "gopher://127.0.0.1/",
        "https://a:b@127.0.0.1/",
        "",
        None,
    ],
)
def test_what_is_not_encrypted_is_not_sent(url):
    with pytest.raises(GoogleError, match="GCE_METADATA_HOST") as caught:
        sender()(url or "")
    assert "127.0.0.1" not in str(caught.value) and "a:b" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]", "127.0.0.1:80", "localhost"]
)
def test_metadata_servers_are_reached_over_http(host):
    with pytest.raises(AssertionError, match="nothing may be sent"):
        sender()(f"http://{host}/computeMetadata/v1/project/project-id?alt=text")


def test_what_was_sent_is_not_said():
    listener = sender()
    for body, headers in (
        (b"grant_type=x&subject_token=identity-token&scope=y", {}),
        (None, {"Authorization": "Bearer access-token"}),
        (b"", {"X-aws-ec2-metadata-token": "session-token"}),
    ):
        with pytest.raises(AssertionError):
            listener("https://sts.example.com/v1/token", "POST", body, headers)
    said = listener.clean("a identity-token b access-token\x1b[2K\nc session-token " + "d" * 1000)
    assert said.startswith("a ******** b ******** [2K c ******** d")
    assert len(said) == 300
    assert listener.clean("-----BEGIN PRIVATE KEY-----\nMII") == "********"
