# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a text may hold when it leaves."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from ansible_collections.dirsync.authentik.plugins.module_utils._common.texts import LONGEST_TEXT, forms, leaving, shown

JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"RS256"}', b'{"iss":"me"}', b"signed")
)
TOKEN = "ya29.a0AfB_byC-secret-token"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "character", ["\x1b", "\x00", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\u200b", "\ufeff"]
)
def test_characters_that_nobody_sees_are_replaced(character):
    for lines in (False, True):
        text = shown("a%sb" % character, lines)
        assert character not in text
        assert text.isprintable()


def test_lines():
    assert shown("a\nb\r\nc") == "a b c"
    assert shown("a\nb\r\nc", lines=True) == "a\nb\nc"


@pytest.mark.parametrize("secret", [JWT, TOKEN, KEY])
@pytest.mark.parametrize(
    "form", [str, lambda text: quote(text, safe=""), lambda text: base64.b64encode(text.encode()).decode()]
)
def test_secrets_are_masked(secret, form):
    text = shown("before %s after" % form(secret))
    assert form(secret)[:20] not in text
    assert form(secret)[-12:-2] not in text
    assert text.startswith("before ")


def test_a_long_text_is_cut():
    assert len(shown("x" * 10 * LONGEST_TEXT)) < LONGEST_TEXT + 100


def test_a_result_can_be_written_and_keeps_its_values():
    value = {
        "msg": "a\nb\ud800",
        "changes": [{"path": "notes", "after": "a\nb"}],
        "messages": [{"event": "x\x1b"}],
        "n": 1,
    }
    found = leaving(value)
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    assert found["changes"] == value["changes"]
    assert found["msg"] == "a b\ufffd"
    assert "\x1b" not in found["messages"][0]["event"]


@pytest.mark.parametrize("around", [b"", b"a", b"ab", b"abc", b"user:"])
def test_the_forms_of_a_secret(around):
    secret = "a-secret-that-nobody/may+see=here"
    quoted = base64.b64encode(around + secret.encode() + around).decode()
    assert any(form in quoted for form in forms(secret))
    assert quote(secret, safe="") in forms(secret)
