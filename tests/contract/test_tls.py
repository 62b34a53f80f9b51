# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS with real certificates in front of both sides: what is trusted, and what is refused with which remedy."""

from __future__ import annotations

import datetime
import ipaddress
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
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.module import reaching
from tests.support.tree import ROOT

HOST = "127.0.0.1"
# Whether the authority of the good certificate is trusted, and the certificate.
REFUSED = [
    (trusting, name)
    for trusting in (False, True)
    for name in ("good", "expired", "wrong host", "unknown authority", "self-signed")
    if not (trusting and name == "good")
]


class Front:
    """A TLS server on loopback that passes everything on to a plain one; its certificate and key are in one file."""

    def __init__(self, certificate: Path, behind: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
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


def self_signed() -> bytes:
    """A certificate that nobody but itself vouches for, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def world(tmp_path_factory, sandboxes):
    """The sandbox, fronts with each kind of certificate for both sides, and the authority's file."""
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    # As in the field: an authority signs another one, which signs the server's, and the server shows the chain.
    signing = authority.create_child_ca()
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    issued = {
        "good": signing.issue_cert(HOST),
        "expired": signing.issue_cert(HOST, not_after=past),
        "wrong host": signing.issue_cert("elsewhere.test"),
        "unknown authority": stranger.issue_cert(HOST),
    }
    certificates = {name: folder / f"{name}.pem" for name in (*issued, "self-signed")}
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(str(certificates[name]))
    certificates["self-signed"].write_bytes(self_signed())
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    with sandboxes() as sandbox:
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


@pytest.mark.parametrize("engine", ["direct", "server"])
def test_an_own_authority_is_accepted_on_both_sides(world, engine):
    sandbox, urls, authority = world
    result = call(
        sandbox,
        {"HTTPLIB2_CA_CERTS": authority},
        authentik_url=urls["authentik", "good"],
        ca_path=authority,
        google_api_endpoint=urls["google", "good"],
        engine=engine,
    )
    assert result["status"] in ("synced", "unchanged"), result.get("msg")
    assert result["basis"] == "google"


def test_the_environment_names_the_authority_too(world):
    sandbox, urls, authority = world
    result = call(sandbox, {"AUTHENTIK_CA_PATH": authority}, authentik_url=urls["authentik", "good"])
    assert result["status"] in ("synced", "unchanged"), result.get("msg")


@pytest.mark.parametrize("engine", ["direct", "server"])
@pytest.mark.parametrize(("trusting", "name"), REFUSED)
def test_authentik_is_refused_without_a_request(world, name, trusting, engine):
    sandbox, urls, authority = world
    sandbox.clear_requests()
    trust = {"ca_path": authority} if trusting else {}
    result = call(sandbox, authentik_url=urls["authentik", name], engine=engine, **trust)
    assert (result["failed"], result["code"], result["changed"]) == (True, "authentik_tls", False)
    assert "ca_path" in result["msg"]
    assert sandbox.authentik_requests() == []


@pytest.mark.parametrize("options", [{}, {"engine": "server", "verify": "google"}], ids=["direct", "server"])
@pytest.mark.parametrize(("trusting", "name"), REFUSED)
def test_google_is_refused_without_a_request(world, name, trusting, options):
    sandbox, urls, authority = world
    sandbox.clear_requests()
    environment = {"HTTPLIB2_CA_CERTS": authority} if trusting else {}
    result = call(sandbox, environment, google_api_endpoint=urls["google", name], **options)
    assert (result["failed"], result["code"], result["changed"]) == (True, "google_tls", False), result["msg"]
    assert "HTTPLIB2_CA_CERTS" in result["msg"]
    assert [item["path"] for item in sandbox.google_requests() if item["path"] != "/token"] == []


def test_a_server_sync_that_may_not_trust_google_rests_on_what_authentik_says(world):
    """verify: auto looks at Google where it can, and else says what its result rests on."""
    sandbox, urls, _authority = world
    result = call(sandbox, google_api_endpoint=urls["google", "self-signed"], engine="server")
    assert result["basis"] in ("connection", "assumed"), result
    assert not result.get("failed")


@pytest.mark.parametrize("name", ["expired", "wrong host", "unknown authority", "self-signed"])
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
