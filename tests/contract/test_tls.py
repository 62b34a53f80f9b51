# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS with real certificates in front of both sides: what is trusted, and what is refused with which remedy."""

from __future__ import annotations

import datetime
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.sandbox.process import Sandbox
from tests.support.module import reaching
from tests.support.tree import ROOT

HOST = "127.0.0.1"
# Whether the authority of the good certificate is trusted, and the certificate.
REFUSED = [
    (trusting, name)
    for trusting in (False, True)
    for name in ("good", "expired", "wrong host", "self-signed")
    if not (trusting and name == "good")
]


class Front:
    """A TLS server on loopback that passes everything on to a plain one."""

    def __init__(self, certificate: trustme.LeafCert, behind: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._behind = (HOST, urlsplit(behind).port)
        self._socket = socket.create_server((HOST, 0))
        self.url = f"https://{HOST}:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _address = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(plain,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as near, socket.create_connection(
                self._behind
            ) as far:
                back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                back.start()
                _pump(near, far)
                back.join()
        except OSError:
            # A client that does not trust us hangs up.
            plain.close()

    def close(self) -> None:
        self._socket.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The sandbox, fronts with each kind of certificate for both sides, and the authority's file."""
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    certificates = {
        "good": authority.issue_cert(HOST),
        "expired": authority.issue_cert(HOST, not_after=past),
        "wrong host": authority.issue_cert("elsewhere.test"),
        "self-signed": stranger.issue_cert(HOST),
    }
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    with Sandbox() as sandbox:
        fronts = {
            (side, name): Front(certificate, url)
            for name, certificate in certificates.items()
            for side, url in (("authentik", sandbox.authentik_url), ("google", sandbox.google_api_endpoint))
        }
        yield sandbox, {key: front.url for key, front in fronts.items()}, str(path)
        for front in fronts.values():
            front.close()


RUNNER = """
import json, sys
from tests.support.module import run_module
parameters, environment = json.load(sys.stdin)
run = run_module(parameters, env=environment)
print(json.dumps({"result": run.result, "output": run.output}))
"""


def call(sandbox, environment=None, **more):
    """In a process of its own, as httplib2 reads its authorities once."""
    parameters = {
        **reaching(sandbox),
        "sync_object_model": "user",
        "sync_object_id": "ada.example",
        "engine": "direct",
        "request_timeout": 5,
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / '.build'}", **(environment or {})},
        input=json.dumps([parameters, environment or {}]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert sandbox.authentik_token not in found["output"]
    return found["result"]


def test_an_own_authority_is_accepted_on_both_sides(world):
    sandbox, urls, authority = world
    result = call(
        sandbox,
        {"HTTPLIB2_CA_CERTS": authority},
        authentik_url=urls["authentik", "good"],
        ca_path=authority,
        google_api_endpoint=urls["google", "good"],
    )
    assert result["status"] in ("synced", "unchanged"), result.get("msg")


def test_the_environment_names_the_authority_too(world):
    sandbox, urls, authority = world
    result = call(sandbox, {"AUTHENTIK_CA_PATH": authority}, authentik_url=urls["authentik", "good"])
    assert result["status"] in ("synced", "unchanged"), result.get("msg")


@pytest.mark.parametrize(("trusting", "name"), REFUSED)
def test_authentik_is_refused_without_a_request(world, name, trusting):
    sandbox, urls, authority = world
    sandbox.clear_requests()
    result = call(sandbox, authentik_url=urls["authentik", name], **({"ca_path": authority} if trusting else {}))
    assert (result["failed"], result["code"], result["changed"]) == (True, "authentik_tls", False)
    assert "ca_path" in result["msg"]
    assert sandbox.authentik_requests() == []


@pytest.mark.parametrize(("trusting", "name"), REFUSED)
def test_google_is_refused_without_a_request(world, name, trusting):
    sandbox, urls, authority = world
    sandbox.clear_requests()
    environment = {"HTTPLIB2_CA_CERTS": authority} if trusting else {}
    result = call(sandbox, environment, google_api_endpoint=urls["google", name])
    assert (result["failed"], result["code"], result["changed"]) == (True, "google_tls", False), result["msg"]
    assert "HTTPLIB2_CA_CERTS" in result["msg"]
    assert [item["path"] for item in sandbox.google_requests() if item["path"] != "/token"] == []


@pytest.mark.parametrize("name", ["expired", "wrong host", "self-signed"])
def test_the_check_can_be_switched_off_for_authentik(world, name):
    sandbox, urls, _authority = world
    result = call(sandbox, authentik_url=urls["authentik", name], validate_certs=False)
    assert result["status"] in ("synced", "unchanged"), result.get("msg")


def test_a_file_that_is_no_authority(world, tmp_path: Path):
    sandbox, urls, _authority = world
    path = tmp_path / "ca.pem"
    path.write_text("this is no certificate")
    result = call(sandbox, authentik_url=urls["authentik", "good"], ca_path=str(path))
    assert (result["failed"], result["code"]) == (True, "authentik_tls")
    assert "ca_path" in result["msg"]
