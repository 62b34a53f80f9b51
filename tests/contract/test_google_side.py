# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's Google, driven by google-api-python-client; its own answers are held against the discovery document."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import google_auth_httplib2
import httplib2
import pytest
from google.auth.exceptions import RefreshError
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

SCOPES = [
    "https://www.googleapis.com/auth/admin.directory." + name
    for name in ("user", "group", "group.member", "domain.readonly")
]


@pytest.fixture(scope="module")
def sandbox(sandboxes):
    # Leaving it fails the run if an answer was outside of Google's schema.
    with sandboxes(google_only=True) as running:
        yield running


@pytest.fixture
def directory(sandbox):
    sandbox.reset()
    return client(sandbox)


def client(sandbox, scopes=SCOPES, subject="admin@corp.example.com"):
    info = json.loads(Path(sandbox.service_account_file).read_text())
    credentials = service_account.Credentials.from_service_account_info(info, scopes=scopes, subject=subject)
    http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http(timeout=10))
    return build(
        "admin",
        "directory_v1",
        http=http,
        static_discovery=True,
        client_options={"api_endpoint": sandbox.google_api_endpoint},
    )


def person(name, **more):
    return {
        "primaryEmail": f"{name}@corp.example.com",
        "name": {"givenName": name.title(), "familyName": "Example"},
        "password": "not a secret",
        **more,
    }


def refused(request):
    with pytest.raises(HttpError) as caught:
        request.execute()
    error = json.loads(caught.value.content)["error"]
    return int(caught.value.resp.status), error["errors"][0]["reason"], error["message"]


def test_a_user_from_creation_to_deletion(directory):
    users = directory.users()
    made = users.insert(body=person("Ada", isAdmin=True)).execute()
    assert made["primaryEmail"] == "ada@corp.example.com"
    assert made["isAdmin"] is False
    assert "password" not in made
    changed = users.update(
        userKey=made["id"], body={"suspended": True, "phones": [{"value": "1", "type": "work"}]}
    ).execute()
    assert (changed["suspended"], changed["name"]["givenName"]) == (True, "Ada")
    renamed = users.update(userKey="ADA@corp.example.com", body={"primaryEmail": "ada.b@corp.example.com"}).execute()
    assert renamed["aliases"] == ["ada@corp.example.com"]
    assert users.get(userKey="ada@corp.example.com").execute()["id"] == made["id"]
    assert refused(users.insert(body=person("ada"))) == (409, "duplicate", "Entity already exists.")
    users.delete(userKey=made["id"]).execute()
    assert refused(users.get(userKey=made["id"]))[:2] == (404, "notFound")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"primaryEmail": "x@corp.example.com", "password": "long enough"}, "Name"),
        ({**person("x"), "name": {"givenName": "X", "familyName": ""}}, "FamilyName"),
        ({**person("x"), "password": "short"}, "assword"),
    ],
)
def test_what_google_wants_of_a_new_user(directory, body, text):
    status, reason, message = refused(directory.users().insert(body=body))
    assert (status, reason in ("invalid", "required")) == (400, True)
    assert text in message


def test_groups_and_members(directory):
    users, groups, members = directory.users(), directory.groups(), directory.members()
    for name in ("ada", "bob"):
        users.insert(body=person(name)).execute()
    team = groups.insert(body={"email": "team@corp.example.com", "name": "Team's One"}).execute()
    members.insert(groupKey=team["id"], body={"email": "ada@corp.example.com"}).execute()
    again = members.insert(groupKey=team["id"], body={"email": "ADA@corp.example.com", "role": "OWNER"})
    assert refused(again) == (409, "duplicate", "Member already exists.")
    nobody = members.insert(groupKey=team["id"], body={"email": "nobody@corp.example.com"})
    assert refused(nobody)[:2] == (404, "notFound")
    assert groups.get(groupKey="team@corp.example.com").execute()["directMembersCount"] == "1"
    found = groups.list(customer="my_customer", query="name='Team\\'s One'").execute()["groups"]
    assert [item["id"] for item in found] == [team["id"]]
    users.delete(userKey="ada@corp.example.com").execute()
    assert "members" not in members.list(groupKey=team["id"]).execute()


def test_paging_is_complete_and_fields_lose_the_token(sandbox, directory):
    for number in range(1100):
        sandbox.control(
            "POST",
            "google/users",
            {"primaryEmail": f"u{number:04}@corp.example.com", "name": {"givenName": "U", "familyName": "X"}},
        )
    users = directory.users()
    request, found, pages = users.list(customer="my_customer", maxResults=500), [], 0
    while request is not None:
        answer = request.execute()
        found += [user["primaryEmail"] for user in answer["users"]]
        request, pages = users.list_next(request, answer), pages + 1
    assert (len(found), pages, found) == (1101, 3, sorted(found))
    cut = users.list(customer="my_customer", maxResults=500, fields="users(primaryEmail)").execute()
    assert list(cut) == ["users"]
    assert set(cut["users"][0]) == {"primaryEmail"}
    assert len(users.list(customer="my_customer").execute()["users"]) == 100


def test_what_the_discovery_document_does_not_know_is_refused(sandbox, directory):
    token = directory._http.credentials
    directory.users().get(userKey="admin@corp.example.com").execute()

    def status(path, data=None):
        request = urllib.request.Request(
            sandbox.google_api_endpoint + path,
            data,
            {"Authorization": f"Bearer {token.token}", "Content-Type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        return caught.value.code

    assert status("/admin/directory/v1/nonsense") == 404
    assert status("/admin/directory/v1/users?customer=my_customer&nonsense=1") == 400
    assert status("/admin/directory/v1/users?customer=my_customer&maxResults=many") == 400
    assert status("/admin/directory/v1/users", json.dumps({**person("x"), "nonsense": 1}).encode()) == 400


@pytest.mark.parametrize(
    ("scopes", "subject", "code"),
    [
        ([*SCOPES, "https://www.googleapis.com/auth/calendar"], "admin@corp.example.com", "unauthorized_client"),
        (SCOPES, "nobody@corp.example.com", "invalid_grant"),
    ],
)
def test_tokens_that_are_not_given(sandbox, directory, scopes, subject, code):
    with pytest.raises(RefreshError, match=code):
        client(sandbox, scopes, subject).users().get(userKey="x").execute()


def test_lag_quota_and_faults(sandbox, directory):
    users = directory.users()
    sandbox.control("POST", "google/settings", {"lag_ms": 400})
    made = users.insert(body=person("ada")).execute()
    assert refused(users.get(userKey=made["id"]))[0] == 404
    assert users.get(userKey="ada@corp.example.com").execute()["id"] == made["id"]
    sandbox.control("POST", "google/settings", {"lag_ms": 0, "quota_per_minute": 1})
    sandbox.fault(
        "google", method="GET", path="/users/", status=503, reason="backendError", message="Try again", times=1
    )
    assert refused(users.get(userKey="ada@corp.example.com"))[:2] == (503, "backendError")
    sandbox.fault("google", method="GET", path="/users/", drop=True, times=2)
    with pytest.raises((OSError, httplib2.HttpLib2Error)):
        users.get(userKey="ada@corp.example.com").execute()
    statuses = {refused_or_ok(users.get(userKey="ada@corp.example.com")) for _ in range(3)}
    assert (403, "quotaExceeded") in statuses


def refused_or_ok(request):
    try:
        request.execute()
    except HttpError as exc:
        return int(exc.resp.status), json.loads(exc.content)["error"]["errors"][0]["reason"]
    return 200, ""
