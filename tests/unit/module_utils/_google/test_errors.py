# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Google's errors, in both shapes of their bodies."""

from __future__ import annotations

import json

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._google.credentials import Credentials, parse_key
from ansible_collections.dirsync.authentik.plugins.module_utils._google.errors import GoogleError, explain

CONTEXT = {"scopes": ["scope-a"], "subject": "admin@x.test", "client_id": "7", "endpoint": "https://g.test"}


def classic(code, reason, message="text"):
    return json.dumps({"error": {"code": code, "message": message, "errors": [{"reason": reason, "domain": "global"}]}})


def modern(code, reason, message="text"):
    return json.dumps({"error": {"code": code, "message": message, "details": [{"@type": "x", "reason": reason}]}})


@pytest.mark.parametrize("shape", [classic, modern])
@pytest.mark.parametrize(
    ("status", "reason", "kind", "retryable"),
    [
        (403, "userRateLimitExceeded", "rate", True),
        (403, "quotaExceeded", "rate", True),
        (429, "rateLimitExceeded", "rate", True),
        (503, "backendError", "transient", True),
        (500, "backendError", "transient", True),
        (401, "authError", "unauthorized", False),
        (403, "forbidden", "forbidden", False),
        (403, "insufficientPermissions", "scope", False),
        (403, "accessNotConfigured", "disabled", False),
        (404, "notFound", "not_found", False),
        (409, "duplicate", "conflict", False),
        (412, "conditionNotMet", "precondition", False),
        (400, "invalid", "invalid", False),
    ],
)
def test_kinds(shape, status, reason, kind, retryable):
    error = explain(status, shape(status, reason), "read it", CONTEXT)
    assert (error.kind, error.retryable, error.http_status, error.reason) == (kind, retryable, status, reason)
    assert "read it" in str(error)
    assert "text" in str(error)


def test_a_404_that_is_not_googles_means_a_wrong_address():
    error = explain(404, b"<html>", "read it", CONTEXT)
    assert error.kind == "wrong_address"
    assert "google_api_endpoint" in str(error)


def test_remedies_name_what_to_change():
    assert "admin@x.test" in explain(403, classic(403, "forbidden"), "x", CONTEXT).remedy
    assert "scope-a" in explain(403, classic(403, "insufficientPermissions"), "x", CONTEXT).remedy


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"type": "authorized_user", "private_key": "SECRET"}'])
def test_what_is_no_key_is_refused_without_being_quoted(text):
    with pytest.raises(GoogleError) as caught:
        parse_key(text, "service_account_contents")
    assert "SECRET" not in str(caught.value)
    assert "ervice_account_contents" in str(caught.value)


def test_an_incomplete_key_is_refused():
    with pytest.raises(GoogleError, match="token_uri"):
        Credentials({"client_email": "a", "private_key": "SECRET"}, "admin@x.test", [], "x")
    with pytest.raises(GoogleError, match="delegated_subject"):
        Credentials({"client_email": "a", "private_key": "b", "token_uri": "https://c.test/token"}, "", [], "x")
