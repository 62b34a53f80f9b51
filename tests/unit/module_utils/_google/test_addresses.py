# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses a secret may be sent to, and whom a service account acts as."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._google import addresses
from ansible_collections.dirsync.authentik.plugins.module_utils._google.credentials import (
    DEFAULT_SCOPES,
    ApplicationDefault,
    Credentials,
    choose,
    of_options,
)
from ansible_collections.dirsync.authentik.plugins.module_utils._google.errors import GoogleError

GOOD = [
    "https://oauth2.googleapis.com/token",
    "https://oauth2.example.com:8443/a/b",
    "https://[2001:db8::1]/token",
    "http://127.0.0.1:4711/token",
    "http://127.9.9.9/token",
    "http://localhost/token",
    "http://[::1]:4711/token",
    "HTTPS://OAUTH2.googleapis.com/token",
]
PART = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj"
BAD = [
    "http://oauth2.googleapis.com/token",
    "http://127.0.0.1.example.com/token",
    "http://localhost.example.com/token",
    "http://example.com#127.0.0.1",
    "http://127.0.0.1@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://0.0.0.0/token",
    "http://169.254.169.254/token",
    "http://127.1/token",
    "http://2130706433/token",
    "ftp://127.0.0.1/token",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "//oauth2.googleapis.com/token",
    "oauth2.googleapis.com/token",
    "https:/oauth2.googleapis.com/token",
    "https://",
    "https:///token",
    "https://:443/token",
    "https://user@oauth2.googleapis.com/token",
    "https://user:secret@oauth2.googleapis.com/token",
    "https://oauth2.googleapis.com/token?x=1",
    "https://oauth2.googleapis.com/token#x",
    "https://oauth2.googleapis.com:0/token",
    "https://oauth2.googleapis.com:99999/token",
    "https://oauth2.googleapis.com:x/token",
    "https://[::1/token",
    "https://oauth2.googleapis.com/\ntoken",
    "https://oauth2.googleapis.com/ token",
    " https://oauth2.googleapis.com/token",
    "https://oauth2.g\u043eogleapis.com/token",
    "https://oauth2.googleapis.com/" + "x" * 600,
    "-----BEGIN PRIVATE KEY-----\n" + PART + "\n-----END PRIVATE KEY-----\n",
    "https://-----BEGIN PRIVATE KEY-----/",
    "https://oauth2.googleapis.com/" + PART,
    "https://" + PART + "/token",
    PART,
    7,
    ["https://oauth2.googleapis.com/token"],
    {"x": 1},
    True,
]
NO_OPTIONS = {
    "google_auth": "key",
    "service_account_email": None,
    "service_account_file": None,
    "service_account_contents": None,
    "delegated_subject": None,
    "google_scopes": None,
}


def key(token_uri="https://oauth2.googleapis.com/token"):
    return {
        "type": "service_account",
        "client_email": "a@example.com",
        "private_key": "-----BEGIN PRIVATE KEY-----\n" + PART + "\n-----END PRIVATE KEY-----\n",
        "token_uri": token_uri,
    }


@pytest.mark.parametrize("token_uri", GOOD)
def test_where_a_signature_may_be_sent(token_uri):
    assert Credentials(key(token_uri), "admin@example.com", [], "x").info["token_uri"] == token_uri


@pytest.mark.parametrize("token_uri", BAD)
def test_where_it_may_not(token_uri):
    with pytest.raises(GoogleError) as caught:
        Credentials(key(token_uri), "admin@example.com", [], "service_account_file")
    text = str(caught.value)
    assert "token_uri in the service account of service_account_file" in text
    for part in (PART, "PRIVATE KEY", "secret", "passwd", "example.com/", "127.0.0.1", "alert"):
        assert part not in text


@given(st.text() | st.from_regex(r"(http|https|ftp)://[a-z0-9.:@/\\#?\[\]%]*"))
def test_any_text_is_judged(text):
    found = addresses.problem(text)
    assert found is None or text not in found or len(text) < 12
    if found is None:
        assert text.lower().startswith(("https://", "http://127.", "http://localhost", "http://[::1]"))


PROVIDER = {
    "credentials": key(),
    "scopes": "https://www.googleapis.com/auth/calendar, https://www.googleapis.com/auth/drive",
    "delegated_subject": "ceo@example.com",
}
OWN = [
    {"service_account_contents": json.dumps(key())},
    {"google_auth": "application_default"},
    {"google_auth": "application_default", "service_account_email": "a@p.iam.gserviceaccount.com"},
]


@pytest.mark.parametrize("own", OWN)
def test_nothing_of_the_provider_is_chosen_for_own_credentials(own):
    options = {**NO_OPTIONS, **own, "delegated_subject": "admin@example.com"}
    found = choose(options, PROVIDER)
    assert (found.subject, found.scopes, found.own) == ("admin@example.com", list(DEFAULT_SCOPES), True)
    found = choose({**options, "google_scopes": ["a", "  ", "b "]}, PROVIDER)
    assert found.scopes == ["a", "b"]
    assert found.asking_for(["c"]).scopes == ["c"] and found.asking_for(["c"]).subject == "admin@example.com"


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("subject", [None, "", "  ", "admin", "admin@example.com other@example.com"])
def test_own_credentials_need_a_subject(own, subject):
    with pytest.raises(GoogleError, match="GOOGLE_WORKSPACE_DELEGATED_SUBJECT") as caught:
        of_options({**NO_OPTIONS, **own, "delegated_subject": subject})
    assert caught.value.message.startswith("delegated_subject is ")


def test_the_providers_own_credentials_act_as_the_provider_says():
    found = choose(NO_OPTIONS, PROVIDER)
    assert not isinstance(found, ApplicationDefault)
    assert (found.subject, found.own) == ("ceo@example.com", False)
    assert found.scopes == ["https://www.googleapis.com/auth/calendar", "https://www.googleapis.com/auth/drive"]
    found = choose({**NO_OPTIONS, "delegated_subject": "x@example.com", "google_scopes": ["s"]}, PROVIDER)
    assert (found.subject, found.scopes) == ("x@example.com", ["s"])
