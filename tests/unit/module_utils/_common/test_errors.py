# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both sides' errors share, and how a result names them."""

from __future__ import annotations

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._authentik.errors import AuthentikError
from ansible_collections.dirsync.authentik.plugins.module_utils._common.errors import RemoteError
from ansible_collections.dirsync.authentik.plugins.module_utils._google.errors import GoogleError
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.outcome import BaseOutcome

FIELDS = [{"field": "name", "messages": ["too long"]}]


@pytest.mark.parametrize(
    ("error", "retryable", "affects_all", "may_have_been_applied"),
    [
        (GoogleError("rate", "x", http_status=403), True, True, False),
        (GoogleError("transient", "x", http_status=503), True, True, True),
        (GoogleError("transient", "x", http_status=400), True, True, False),
        (GoogleError("forbidden", "x", http_status=403), False, True, False),
        (GoogleError("conflict", "x", http_status=409), False, False, False),
        (AuthentikError("throttled", "x", http_status=429), True, True, False),
        (AuthentikError("server", "x", http_status=502, sent=True), True, True, True),
        (AuthentikError("server", "x", http_status=500, sent=True), False, True, True),
        (AuthentikError("network", "x"), True, True, False),
        (AuthentikError("refused", "x"), False, True, False),
        (AuthentikError("validation", "x", http_status=400), False, False, False),
        (AuthentikError("not_found", "x", http_status=404), False, False, False),
    ],
)
def test_what_an_error_means(error, retryable, affects_all, may_have_been_applied):
    assert isinstance(error, RemoteError)
    assert (error.retryable, error.affects_all) == (retryable, affects_all)
    assert error.may_have_been_applied is may_have_been_applied


@pytest.mark.parametrize(
    ("error", "code", "errors"),
    [
        (GoogleError("limit", "It is full.", "Free some.", 412), "google_limit", []),
        (AuthentikError("validation", "It is full.", "Free some.", 412, FIELDS), "authentik_validation", FIELDS),
    ],
)
def test_a_result_shows_either_side_alike(error, code, errors):
    outcome = BaseOutcome("direct")
    outcome.fail_by(error)
    result = outcome.result(False)
    assert (result["msg"], result["code"], result["errors"], result["http_status"]) == (
        "It is full. Free some.",
        code,
        errors,
        412,
    )
