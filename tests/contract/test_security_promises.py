# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences of docs/security.md that no other test holds: where a token goes, and what is not read."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.module import reaching, run_module

PERSON = {"sync_object_model": "user", "sync_object_id": "ada.example", "engine": "direct"}


@pytest.fixture(scope="module")
def running(sandboxes):
    with sandboxes() as found:
        yield found


@pytest.fixture
def sandbox(running):
    running.reset()
    return running


@pytest.fixture
def elsewhere():
    """A server that nobody named: its URL, and the headers of the requests that reached it."""
    reached: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reached.append({name.lower(): value for name, value in self.headers.items()})
            body = json.dumps({"detail": "no"}).encode()
            self.send_response(403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", reached
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("side", "path"), [("authentik", "/api/v3/"), ("google", "/admin/directory/"), ("google", "/token")]
)
def test_a_redirect_is_not_followed(sandbox, elsewhere, side, path, status):
    url, reached = elsewhere
    sandbox.fault(side, path=path, times=-1, status=status, headers={"Location": f"{url}/taken"}, body="")
    run = run_module({**reaching(sandbox), **PERSON, "google_wait": 1}, module="google_workspace_sync_object")
    assert run.result["failed"]
    assert reached == []


def test_netrc_is_not_read(sandbox, elsewhere, tmp_path, monkeypatch):
    """The token is what is sent, also where a file of the user's has a password for that host."""
    url, reached = elsewhere
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\ndefault login any password one\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    run_module({**reaching(sandbox), **PERSON, "authentik_url": url}, module="google_workspace_sync_object")
    assert {item["authorization"] for item in reached} == {f"Bearer {sandbox.authentik_token}"}
    reached.clear()
    run_module({**reaching(sandbox), **PERSON, "google_api_endpoint": url}, module="google_workspace_sync_object")
    assert reached
    assert not [item for item in reached if "basic" in item.get("authorization", "").lower()]


@pytest.mark.parametrize("option", ["authentik_url", "google_api_endpoint"])
def test_a_password_in_a_url_is_refused(sandbox, option):
    scheme, _, rest = reaching(sandbox)[option].partition("://")
    options = {**reaching(sandbox), **PERSON, option: f"{scheme}://somebody:s3cret-one@{rest}"}
    run = run_module(options, module="google_workspace_sync_object")
    assert run.result["failed"]
    assert option in run.result["msg"]
    assert "s3cret-one" not in json.dumps(run.result)
    assert sandbox.google_requests() + sandbox.authentik_requests() == []


def test_no_file_of_a_run_holds_a_secret(sandbox, tmp_path):
    """Report and journal hold the users' records without passwords, and only their owner can read them."""
    hashed = "5f4dcc3b5aa765d61d8327deb882cf99"
    expression = (
        "return {'name': {'givenName': user.username, 'familyName': 'X'}, 'password': '%s', 'hashFunction': 'MD5'}"
        % hashed
    )
    sandbox.control("POST", "authentik/mappings", {"name": "ours", "expression": expression, "model": "user"})
    sandbox.control("PATCH", "authentik/providers/1", {"property_mappings": ["ours"]})
    files = {"report_path": tmp_path / "report.jsonl", "journal": tmp_path / "journal.jsonl"}
    options = {name: str(path) for name, path in files.items()}
    run = run_module(
        {**reaching(sandbox), **options, "models": ["user"], "objects": ["ada.example"]}, module="google_workspace_sync"
    )
    assert run.result["status"] == "synced"
    sent = [item for item in sandbox.google_requests() if item["method"] == "POST" and hashed in json.dumps(item)]
    assert sent, "the hash goes to Google, and so could get into a file"
    with open(sandbox.service_account_file, encoding="utf-8") as file:
        key = json.load(file)["private_key"]
    for path in files.values():
        text = path.read_text()
        assert "user" in text
        assert path.stat().st_mode & 0o777 == 0o600
        assert not [
            secret for secret in (hashed, sandbox.authentik_token, key.split("\\n")[0], key[40:80]) if secret in text
        ]
