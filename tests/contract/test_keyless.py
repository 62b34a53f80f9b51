# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""google_auth: application_default, against a metadata server, a token service and an IAM API on loopback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from unittest import mock

import pytest
from google.auth.compute_engine import _metadata

from tests.sandbox.google.platform import IDENTITY_PATH, PRINCIPAL, STS_PATH, SUBJECT_TOKEN
from tests.sandbox.google.settings import ACCOUNT
from tests.support.module import reaching, run_module
from tests.support.playbook import run_playbook

SUBJECT = "admin@corp.example.com"
IAM = "/v1/projects/-/serviceAccounts/"
METADATA = "/computeMetadata/v1/instance/service-accounts/default/"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/runner"
CALENDAR = "https://www.googleapis.com/auth/calendar"
ATTEMPTS = 5


class Host:
    """A host on a platform: what the environment says, and modules run on it."""

    def __init__(self, sandbox, folder):
        self.sandbox = sandbox
        self.folder = folder
        self.address = sandbox.google_api_endpoint.removeprefix("http://")
        self.environment = {
            "GCE_METADATA_HOST": self.address,
            "GCE_METADATA_IP": self.address,
            # Nobody's own login.
            "CLOUDSDK_CONFIG": str(folder),
            "GOOGLE_APPLICATION_CREDENTIALS": "",
        }
        self.outputs = []

    def settings(self, **given):
        self.sandbox.control("POST", "google/settings", given)

    def federated(self, impersonating=False, **changed):
        """The configuration of a workload identity federation, by a file or by an address as the source of the token."""
        token = self.folder / "token"
        token.write_text(SUBJECT_TOKEN)
        endpoint = self.sandbox.google_api_endpoint
        content = {
            "type": "external_account",
            "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": endpoint + STS_PATH,
            "credential_source": {"file": str(token)},
        }
        if impersonating:
            content["credential_source"] = {
                "url": endpoint + IDENTITY_PATH,
                "format": {"type": "json", "subject_token_field_name": "value"},
            }
            content["service_account_impersonation_url"] = f"{endpoint}{IAM}{ACCOUNT}:generateAccessToken"
        return self.named({**content, **changed})

    def named(self, content):
        path = self.folder / "credentials.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        self.environment["GOOGLE_APPLICATION_CREDENTIALS"] = str(path)

    def options(self, **given):
        return {
            **reaching(self.sandbox),
            "google_auth": "application_default",
            "delegated_subject": SUBJECT,
            "request_timeout": 10,
            **given,
        }

    def run(self, module="google_workspace_sync_object", check=False, env=None, **given):
        usual = {"sync_object_model": "user", "sync_object_id": "ada.example", "engine": "direct"}
        asked = self.options(**{**(usual if module == "google_workspace_sync_object" else {}), **given})
        asked = {name: value for name, value in asked.items() if value is not None}
        # google-auth reads the host's name when it is imported.
        with mock.patch.object(_metadata, "_GCE_METADATA_HOST", self.address):
            done = run_module(asked, module=module, check=check, env={**self.environment, **(env or {})})
        self.outputs.append(done.output)
        return done

    def asked(self):
        """What the platform and Google were asked, but for the directory itself."""
        return [item["path"] for item in self.sandbox.google_requests() if not item["path"].startswith("/admin/")]


@pytest.fixture(scope="module")
def sandbox(sandboxes):
    with sandboxes() as running:
        yield running


@pytest.fixture
def host(sandbox, tmp_path):
    sandbox.reset()
    found = Host(sandbox, tmp_path)
    found.settings(metadata_account=ACCOUNT)
    yield found
    key = json.loads(Path(sandbox.service_account_file).read_text())["private_key"].splitlines()[3]
    for output in found.outputs:
        for secret in ("ya29.", SUBJECT_TOKEN, key, "PRIVATE KEY"):
            assert secret not in output


def test_a_machine_with_a_service_account(host):
    done = host.run()
    assert (done.result["status"], done.result["basis"], done.warnings) == ("synced", "google", [])
    asked = host.asked()
    assert asked[0] == "/"
    assert asked[-4:] == [METADATA, METADATA + "token", IAM + ACCOUNT + ":signJwt", "/token"]
    assert done.result["calls"]["google_token"] == len(asked)
    again = host.run()
    assert (again.result["status"], again.result["changed"]) == ("unchanged", False)


def test_the_claims_that_are_signed(host):
    host.run(google_scopes=["https://www.googleapis.com/auth/admin.directory.user"], check=True)
    (sent,) = [item["body"] for item in host.sandbox.google_requests() if item["path"].endswith(":signJwt")]
    claims = json.loads(sent["payload"])
    assert claims.pop("exp") - claims.pop("iat") == 3600
    assert claims == {
        "iss": ACCOUNT,
        "sub": SUBJECT,
        "scope": "https://www.googleapis.com/auth/admin.directory.user",
        "aud": "https://oauth2.googleapis.com/token",
    }


def test_a_federated_workload_that_signs_as_a_service_account(host):
    host.settings(metadata_account="", iam_creators={ACCOUNT: [PRINCIPAL]})
    host.federated()
    unnamed = host.run()
    assert unnamed.failed
    assert "name no service account that could sign" in unnamed.result["msg"]
    assert "GOOGLE_WORKSPACE_SERVICE_ACCOUNT_EMAIL" in unnamed.result["msg"]
    host.sandbox.clear_requests()
    done = host.run(env={"GOOGLE_WORKSPACE_SERVICE_ACCOUNT_EMAIL": ACCOUNT})
    assert done.result["status"] == "synced"
    assert host.asked() == [STS_PATH, IAM + ACCOUNT + ":signJwt", "/token"]


def test_a_federated_workload_that_impersonates_a_service_account(host):
    host.settings(metadata_account="", iam_creators={ACCOUNT: [PRINCIPAL, ACCOUNT]})
    host.federated(impersonating=True)
    done = host.run()
    assert done.result["status"] == "synced"
    account = IAM + ACCOUNT
    assert host.asked() == [IDENTITY_PATH, STS_PATH, account + ":generateAccessToken", account + ":signJwt", "/token"]


def test_a_whole_directory_is_signed_for_once(host):
    done = host.run("google_workspace_sync", engine="direct")
    assert done.result["changes_total"] > 10, done.result
    assert sum(path.endswith(":signJwt") for path in host.asked()) == 1


def test_tokens_that_do_not_last(host):
    host.settings(token_lifetime_s=2)
    done = host.run()
    assert done.result["status"] == "synced"
    assert sum(path.endswith(":signJwt") for path in host.asked()) > 1


def test_the_health_of_a_provider(host):
    found = host.run("google_workspace_sync_info").result["google"]
    assert found["token"] is True
    assert [item["granted"] for item in found["scopes"]] == [True] * 4
    # The identity is found once, and signs once for each token.
    assert sum(path == METADATA + "token" for path in host.asked()) == 1
    assert sum(path.endswith(":signJwt") for path in host.asked()) == 5


def test_scopes_and_subject_are_not_those_of_the_provider(host):
    host.sandbox.control(
        "PATCH", "authentik/providers/1", {"scopes": CALENDAR, "delegated_subject": "nobody@corp.example.com"}
    )
    assert host.run().result["status"] == "synced"
    host.sandbox.clear_requests()
    without = host.run(delegated_subject=None)
    assert without.failed
    for text in (
        "delegated_subject is missing",
        "GOOGLE_WORKSPACE_DELEGATED_SUBJECT",
        "google_auth: application_default",
    ):
        assert text in without.result["msg"]
    assert host.sandbox.google_requests() + host.sandbox.authentik_requests() == []


SETTINGS = [
    ({"metadata_account": "none"}, ["answered 404", "Attach a service account to this machine"]),
    (
        {"iam_creators": {}},
        ["iam.serviceAccounts.signJwt", "roles/iam.serviceAccountTokenCreator", f"on the service account {ACCOUNT}"],
    ),
    ({"iam_enabled": False}, ["Enable the IAM Service Account Credentials API"]),
    ({"iam_accounts": []}, ["answered 404", "Check service_account_email", "Token Creator"]),
    ({"metadata_scopes": ["https://www.googleapis.com/auth/devstorage.read_only"]}, ["scopes", "auth/cloud-platform"]),
    ({"delegated_scopes": []}, ["unauthorized_client", f"service account {ACCOUNT}", "admin.directory.user"]),
]


@pytest.mark.parametrize(("settings", "texts"), SETTINGS)
def test_what_is_missing_is_named(host, settings, texts):
    host.settings(**settings)
    done = host.run(service_account_email=ACCOUNT)
    assert done.failed and not done.result["changed"]
    for text in texts:
        assert text in done.result["msg"], done.result["msg"]


def test_a_subject_that_google_does_not_know(host):
    done = host.run(delegated_subject="nobody@corp.example.com")
    assert done.failed
    assert "invalid_grant" in done.result["msg"] and "nobody@corp.example.com" in done.result["msg"]
    assert "revoked" not in done.result["msg"]


def test_a_host_without_an_identity(host):
    host.settings(metadata_account="")
    done = host.run()
    assert done.failed
    assert "no metadata server answers" in done.result["msg"]
    assert "GOOGLE_APPLICATION_CREDENTIALS" in done.result["msg"]
    assert [path for path in host.asked() if path != "/"] == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"type": "-----BEGIN PRIVATE KEY-----"}',
        '{"type": "external_account"}',
        '"-----BEGIN PRIVATE KEY"',
    ],
)
def test_a_configuration_that_is_none(host, content):
    host.named(content)
    done = host.run()
    assert done.failed and not done.result["changed"]
    assert "GOOGLE_APPLICATION_CREDENTIALS" in done.result["msg"]
    assert host.asked() == []


def test_a_key_is_refused(host):
    host.named(Path(host.sandbox.service_account_file).read_text())
    done = host.run()
    assert done.failed
    assert "are a service account's key" in done.result["msg"] and "service_account_file" in done.result["msg"]
    assert host.asked() == []


def test_a_token_that_the_token_service_refuses(host):
    host.federated()
    (host.folder / "token").write_text("secret-but-expired-identity-token")
    done = host.run(service_account_email=ACCOUNT)
    assert done.failed
    assert "answered 400: invalid_grant" in done.result["msg"] and "workload identity provider" in done.result["msg"]
    assert "secret-but-expired" not in done.output
    host.sandbox.fault(
        "google",
        path=STS_PATH,
        status=400,
        body={"error": "invalid_grant", "error_description": "no: secret-but-expired-identity-token"},
    )
    done = host.run(service_account_email=ACCOUNT)
    assert "no: ********" in done.result["msg"]
    assert "secret-but-expired" not in done.output
    (host.folder / "token").unlink()
    done = host.run(service_account_email=ACCOUNT)
    assert "was not found" in done.result["msg"]


@pytest.mark.parametrize(
    "url",
    [
        "http://sts.example.com/v1/token",
        "ftp://127.0.0.1/v1/token",
        "file:///etc/passwd",
        "https://user:secret@sts.example.com/",
        "https://",
    ],
)
def test_addresses_beyond_this_host_must_be_encrypted(host, url):
    host.federated(token_url=url)
    done = host.run(service_account_email=ACCOUNT)
    assert done.failed
    assert "An address of the application default credentials" in done.result["msg"]
    assert "secret" not in done.output and "example.com/v1" not in done.output and "passwd" not in done.output
    assert host.asked() == []


@pytest.mark.parametrize("path", [METADATA + "token", ":signJwt", "^/token$"])
def test_what_passes_is_repeated(host, path):
    host.sandbox.fault("google", path=path, status=503, times=1)
    with mock.patch("time.sleep"):
        done = host.run()
    assert done.result["status"] == "synced"


@pytest.mark.parametrize("path", [METADATA + "token", ":signJwt", "^/token$"])
def test_what_does_not_pass_ends(host, path):
    host.sandbox.fault("google", path=path, status=503, times=-1)
    with mock.patch("time.sleep"):
        done = host.run(request_timeout=60)
    assert done.failed and "503" in done.result["msg"]
    assert len([item for item in host.asked() if re.search(path, item)]) == ATTEMPTS


def test_answers_that_are_no_tokens(host):
    endless = json.dumps({"access_token": "ya29.x", "expires_in": 1e300})
    for path, body in (
        (":signJwt", "[]"),
        (":signJwt", "{}"),
        ("^/token$", "[1]"),
        (METADATA + "token", "{}"),
        (METADATA + "token", endless),
        (METADATA, "[" * 100000),
        (METADATA, "[1]"),
    ):
        host.sandbox.control("DELETE", "google/faults")
        host.sandbox.fault("google", path=path, body=body, content_type="application/json", times=-1)
        with mock.patch("time.sleep"):
            done = host.run()
        assert done.failed and not done.result["changed"], (path, body)
        assert "Traceback" not in done.output


def test_what_does_not_go_together(host):
    key = host.sandbox.service_account_file
    cases = [
        ({"service_account_file": key}, "application_default and service_account_file are mutually exclusive"),
        ({"service_account_contents": Path(key).read_text()}, "service_account_contents are mutually exclusive"),
        ({"google_auth": "key", "service_account_email": ACCOUNT}, "service_account_email is for"),
        ({"service_account_email": "nobody"}, "service_account_email is not the e-mail address"),
        ({"service_account_email": f"../{ACCOUNT}"}, "service_account_email is not the e-mail address"),
        ({"delegated_subject": "admin"}, "delegated_subject is not an e-mail address"),
        ({"google_auth": "magic"}, "value of google_auth must be one of"),
    ]
    for options, text in cases:
        done = host.run(**options)
        assert done.failed and text in done.result["msg"], (options, done.result["msg"])
    done = host.run(env={"GCP_SERVICE_ACCOUNT_FILE": key})
    assert "GCP_SERVICE_ACCOUNT_FILE" in done.result["msg"]
    assert host.sandbox.google_requests() + host.sandbox.authentik_requests() == []


def test_a_playbook_in_a_process_of_its_own(host, tmp_path):
    play = tmp_path / "play.yml"
    tasks = [
        {
            "dirsync.authentik.google_workspace_sync_object": {
                **reaching(host.sandbox),
                "sync_object_model": "user",
                "sync_object_id": "ada.example",
                "engine": "direct",
            }
        }
    ]
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    environment = {
        **host.environment,
        "GOOGLE_WORKSPACE_AUTH": "application_default",
        "GOOGLE_WORKSPACE_DELEGATED_SUBJECT": SUBJECT,
    }
    done = run_playbook(play, {}, "-vvv", environment=environment)
    host.outputs.append(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-3000:]
    assert any(path.endswith(":signJwt") for path in host.asked())
    host.settings(iam_creators={})
    done = run_playbook(play, {}, "-vvv", environment=environment)
    host.outputs.append(done.stdout + done.stderr)
    assert done.returncode != 0 and "iam.serviceAccountTokenCreator" in done.stdout
