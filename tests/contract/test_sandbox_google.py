# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The finer points of the sandbox's Google, driven by google-api-python-client: what test_google_side leaves open."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request

import httplib2
import pytest
from googleapiclient.errors import HttpError
from googleapiclient.http import BatchHttpRequest

from tests.contract.test_google_side import SCOPES, client, person, refused

ADMIN = "admin@corp.example.com"


@pytest.fixture(scope="module")
def sandbox(sandboxes):
    # Leaving it fails the run if an answer was outside of Google's schema.
    with sandboxes(google_only=True) as running:
        yield running


@pytest.fixture
def directory(sandbox):
    sandbox.reset()
    return client(sandbox)


@pytest.fixture
def raw(sandbox, directory):
    """Return a function that sends a request past the client library: status, headers and body of the answer."""
    directory.users().get(userKey=ADMIN).execute()
    sandbox.clear_requests()
    token = directory._http.credentials.token

    def send(path, method="GET", body=None, **headers):
        request = urllib.request.Request(
            sandbox.google_api_endpoint + path,
            body,
            {"Authorization": f"Bearer {token}", **{name.replace("_", "-"): value for name, value in headers.items()}},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.headers, exc.read()

    return send


def run_batch(sandbox, directory, requests):
    """Return status or answer of each request of one batch, by its id."""
    results = {}

    def note(request_id, answer, error):
        results[request_id] = int(error.resp.status) if error else answer

    # The client's own new_batch_http_request() goes to Google whatever api_endpoint says.
    batch = BatchHttpRequest(callback=note, batch_uri=sandbox.google_api_endpoint + "/batch")
    for request_id, request in requests.items():
        batch.add(request, request_id=request_id)
    batch.execute(http=directory._http)
    return results


def test_put_clears_and_patch_keeps_lists(directory):
    users = directory.users()
    phones = [{"value": "1", "type": "work"}]
    users.insert(body=person("ada", phones=phones, recoveryEmail="ada@home.test")).execute()
    key = "ada@corp.example.com"
    assert users.patch(userKey=key, body={"phones": []}).execute()["phones"] == phones
    cleared = users.update(userKey=key, body={"phones": [], "recoveryEmail": None}).execute()
    assert "phones" not in cleared
    assert "recoveryEmail" not in cleared
    named = users.update(userKey=key, body={"name": {"givenName": "Augusta"}}).execute()["name"]
    assert (named["givenName"], named["familyName"], named["fullName"]) == ("Augusta", "Example", "Augusta Example")


def test_custom_schemas_come_back_as_text_and_only_when_asked_for(directory):
    users = directory.users()
    made = users.insert(body=person("ada", customSchemas={"Desk": {"floor": 3, "quiet": True}})).execute()
    assert made["customSchemas"] == {"Desk": {"floor": "3", "quiet": True}}
    assert "customSchemas" not in users.get(userKey=made["id"]).execute()
    assert "customSchemas" in users.get(userKey=made["id"], projection="full").execute()
    other = users.get(userKey=made["id"], projection="custom", customFieldMask="Other").execute()
    assert "customSchemas" not in other


def test_a_refused_change_changes_nothing(directory):
    users = directory.users()
    before = users.insert(body=person("ada")).execute()
    body = {"suspended": True, "name": {"familyName": "<b>"}, "primaryEmail": "new@corp.example.com"}
    assert refused(users.update(userKey=before["id"], body=body))[:2] == (400, "invalid")
    assert users.get(userKey=before["id"]).execute() == before


def test_aliases_belong_to_one_address_space(directory):
    users, groups = directory.users(), directory.groups()
    users.insert(body=person("ada")).execute()
    users.insert(body=person("bob")).execute()
    groups.insert(body={"email": "team@corp.example.com"}).execute()
    added = users.aliases().insert(userKey="ada@corp.example.com", body={"alias": "Countess@corp.example.com"})
    assert added.execute()["alias"] == "countess@corp.example.com"
    groups.aliases().insert(groupKey="team@corp.example.com", body={"alias": "crew@corp.example.com"}).execute()
    for taken in ("countess@corp.example.com", "CREW@corp.example.com", "team@corp.example.com"):
        assert refused(users.insert(body={**person("x"), "primaryEmail": taken}))[0] == 409
        assert refused(groups.insert(body={"email": taken}))[0] == 409
        assert refused(users.aliases().insert(userKey="bob@corp.example.com", body={"alias": taken}))[0] == 409
    shown = users.get(userKey="countess@corp.example.com").execute()
    assert {item["address"] for item in shown["emails"]} == {"ada@corp.example.com", "countess@corp.example.com"}
    listed = users.aliases().list(userKey=shown["id"]).execute()["aliases"]
    assert [item["alias"] for item in listed] == ["countess@corp.example.com"]
    users.aliases().delete(userKey=shown["id"], alias="countess@corp.example.com").execute()
    users.insert(body=person("countess")).execute()
    assert refused(users.insert(body={**person("x"), "primaryEmail": "x@elsewhere.test"}))[:2] == (404, "notFound")


def test_a_deleted_account_comes_back_by_its_id_and_without_its_groups(directory):
    users, members = directory.users(), directory.members()
    made = users.insert(body=person("ada")).execute()
    directory.groups().insert(body={"email": "team@corp.example.com"}).execute()
    members.insert(groupKey="team@corp.example.com", body={"email": made["primaryEmail"]}).execute()
    users.delete(userKey=made["id"]).execute()
    gone = users.list(customer="my_customer", showDeleted="true").execute()["users"]
    assert [user["id"] for user in gone] == [made["id"]]
    users.undelete(userKey=made["id"], body={"orgUnitPath": "/"}).execute()
    assert users.get(userKey="ada@corp.example.com").execute()["id"] == made["id"]
    assert members.hasMember(groupKey="team@corp.example.com", memberKey=made["id"]).execute() == {"isMember": False}


def test_members_roles_types_and_cycles(directory):
    groups, members = directory.groups(), directory.members()
    directory.users().insert(body=person("ada")).execute()
    for name in ("outer", "inner"):
        groups.insert(body={"email": f"{name}@corp.example.com"}).execute()
    outer, inner = "outer@corp.example.com", "inner@corp.example.com"
    members.insert(groupKey=outer, body={"email": inner}).execute()
    members.insert(groupKey=inner, body={"email": "ada@corp.example.com", "role": "OWNER"}).execute()
    assert refused(members.insert(groupKey=inner, body={"email": outer}))[:2] == (412, "conditionNotMet")
    assert refused(members.patch(groupKey=outer, memberKey=inner, body={"role": "OWNER"}))[0] == 400
    assert members.hasMember(groupKey=outer, memberKey="ada@corp.example.com").execute() == {"isMember": True}
    assert refused(members.get(groupKey=outer, memberKey="ada@corp.example.com"))[:2] == (404, "notFound")
    derived = members.list(groupKey=outer, includeDerivedMembership=True).execute()["members"]
    assert {member["email"] for member in derived} == {inner, "ada@corp.example.com"}
    outsider = members.insert(groupKey=outer, body={"email": "Guest@elsewhere.test"}).execute()
    assert (outsider["email"], outsider["type"]) == ("guest@elsewhere.test", "USER")
    everyone = members.insert(groupKey=outer, body={"type": "CUSTOMER"}).execute()
    assert "email" not in everyone
    promoted = members.update(groupKey=inner, memberKey="ada@corp.example.com", body={"role": "MANAGER"}).execute()
    assert promoted["role"] == "MANAGER"
    assert "members" not in members.list(groupKey=inner, roles="OWNER").execute()
    assert len(members.list(groupKey=inner, roles="OWNER,MANAGER").execute()["members"]) == 1


def test_a_renamed_group_keeps_id_and_old_address(directory):
    groups = directory.groups()
    made = groups.insert(body={"email": "team@corp.example.com", "name": "Team"}).execute()
    renamed = groups.update(groupKey=made["id"], body={"email": "crew@corp.example.com"}).execute()
    assert (renamed["id"], renamed["name"], renamed["aliases"]) == (made["id"], "Team", ["team@corp.example.com"])
    groups.delete(groupKey="team@corp.example.com").execute()
    assert refused(groups.get(groupKey=made["id"]))[:2] == (404, "notFound")


def test_searching(directory):
    users, groups = directory.users(), directory.groups()
    users.insert(body=person("ada")).execute()
    users.insert(body=person("adam", suspended=True)).execute()
    for name in ("alpha", "alpine", "beta"):
        groups.insert(body={"email": f"{name}@corp.example.com", "name": name.title()}).execute()
    directory.members().insert(groupKey="alpha@corp.example.com", body={"email": "ada@corp.example.com"}).execute()

    def found(kind, key, **more):
        collection = groups if kind == "groups" else users
        return [item[key] for item in collection.list(customer="my_customer", **more).execute().get(kind, [])]

    assert found("users", "primaryEmail", query="email:ada* isSuspended=true") == ["adam@corp.example.com"]
    assert found("groups", "name", query="name:alp*") == ["Alpha", "Alpine"]
    assert found("groups", "name", query="name:alp* memberKey=ada@corp.example.com") == ["Alpha"]
    assert found("groups", "name", userKey="ada@corp.example.com") == ["Alpha"]
    assert found("groups", "name", orderBy="email", sortOrder="DESCENDING") == ["Beta", "Alpine", "Alpha"]
    assert refused(groups.list(customer="my_customer", query="nonsense=1"))[:2] == (400, "invalid")
    assert refused(groups.list(customer="C0somebody"))[:2] == (403, "forbidden")
    assert refused(users.list())[0] == 400


def test_pages_are_stable_while_the_directory_changes(sandbox, directory):
    groups = directory.groups()
    for number in range(5):
        sandbox.control("POST", "google/groups", {"email": f"g{number}@corp.example.com"})
    first = groups.list(customer="my_customer", maxResults=2).execute()
    sandbox.control("DELETE", "google/groups/g0@corp.example.com")
    sandbox.control("POST", "google/groups", {"email": "a@corp.example.com"})
    second = groups.list(customer="my_customer", maxResults=2, pageToken=first["nextPageToken"]).execute()
    assert [group["email"][:2] for group in second["groups"]] == ["g2", "g3"]
    other = groups.list(domain="corp.example.com", maxResults=2, pageToken=first["nextPageToken"])
    assert refused(other)[:2] == (400, "invalid")


def test_partial_responses(directory):
    users = directory.users()
    answer = users.list(customer="my_customer", fields="users(name/fullName,emails(address)),nextPageToken").execute()
    assert answer == {"users": [{"name": {"fullName": "Workspace Administrator"}, "emails": [{"address": ADMIN}]}]}
    assert set(users.get(userKey=ADMIN, fields="*").execute()) > {"id", "etag", "name"}
    for wrong in ("nonsense", "users(nonsense)", "users(id"):
        assert refused(users.list(customer="my_customer", fields=wrong))[:2] == (400, "invalidParameter")


def test_etags(raw):
    path = f"/admin/directory/v1/users/{ADMIN}"
    _status, headers, body = raw(path)
    assert json.loads(body)["etag"] == headers["ETag"]
    status, _headers, body = raw(path, If_None_Match=headers["ETag"])
    assert (status, body) == (304, b"")
    raw(path, "PUT", b'{"suspended": false, "orgUnitPath": "/Staff"}', Content_Type="application/json")
    assert raw(path, If_None_Match=headers["ETag"])[0] == 200


def test_what_is_not_googles_is_not_answered_in_json(raw):
    status, headers, _body = raw("/admin/directory/v1/nonsense")
    assert (status, headers.get_content_type()) == (404, "text/html")
    status, _headers, body = raw("/admin/directory/v1/users", "POST", b'{"suspended": "yes"}')
    assert status == 400
    assert "suspended" in json.loads(body)["error"]["message"]
    assert raw("/admin/directory/v1/users", "POST", b"{")[0] == 400


def test_a_batch_answers_each_call_for_itself(sandbox, directory):
    users = directory.users()
    sandbox.fault("google", method="POST", path=r"/users\?", skip=1, status=403, reason="quotaExceeded")
    results = run_batch(
        sandbox,
        directory,
        {
            "made": users.insert(body=person("ada")),
            "refused": users.insert(body=person("bob")),
            "missing": users.get(userKey="nobody@corp.example.com"),
            "deleted": users.delete(userKey="ada@corp.example.com"),
        },
    )
    assert results["made"]["primaryEmail"] == "ada@corp.example.com"
    assert (results["refused"], results["missing"]) == (403, 404)
    assert not results["deleted"]
    assert [user["primaryEmail"] for user in sandbox.google_state()["users"]] == [ADMIN]
    paths = [entry["path"] for entry in sandbox.google_requests()]
    assert paths[1] == "/batch"
    assert len(paths) == 6


def test_each_call_of_a_batch_counts_against_the_quota(sandbox, directory):
    sandbox.control("POST", "google/settings", {"quota_per_minute": 3})
    users = directory.users()
    results = run_batch(sandbox, directory, {str(number): users.get(userKey=ADMIN) for number in range(5)})
    assert [results[str(number)] for number in (3, 4)] == [403, 403]
    assert all(isinstance(results[str(number)], dict) for number in range(3))


def test_what_is_fresh_is_not_fully_there(sandbox, directory):
    users, groups, members = directory.users(), directory.groups(), directory.members()
    sandbox.control("POST", "google/settings", {"lag_ms": 60_000})
    user = users.insert(body=person("ada")).execute()
    group = groups.insert(body={"email": "team@corp.example.com"}).execute()
    insert = members.insert(groupKey=group["id"], body={"email": ADMIN})
    assert refused(insert) == (404, "notFound", "Resource Not Found: groupKey")
    assert refused(users.delete(userKey=user["id"]))[:2] == (412, "conditionNotMet")
    assert users.update(userKey=user["id"], body={"suspended": True}).execute()["suspended"] is True
    assert len(users.list(customer="my_customer").execute()["users"]) == 1
    assert "groups" not in groups.list(customer="my_customer", query="email:team*").execute()
    sandbox.forward(61)
    insert.execute()
    groups.delete(groupKey=group["id"]).execute()
    assert refused(groups.insert(body={"email": "team@corp.example.com"}))[0] == 409
    sandbox.control("POST", "google/settings", {"lag_ms": 0, "update_lag_ms": 30_000})
    users.update(userKey=user["id"], body={"suspended": False}).execute()
    assert users.get(userKey=user["id"]).execute()["suspended"] is True
    sandbox.forward(31)
    assert users.get(userKey=user["id"]).execute()["suspended"] is False


def test_who_may_do_what(sandbox, directory):
    reader = client(sandbox, [SCOPES[0] + ".readonly"])
    assert reader.users().get(userKey=ADMIN).execute()["isAdmin"] is True
    status, reason, _message = refused(reader.users().delete(userKey=ADMIN))
    assert (status, reason) == (403, "insufficientPermissions")
    sandbox.control("POST", "google/users", person("ada"))
    plain = client(sandbox, subject="ada@corp.example.com")
    assert refused(plain.users().get(userKey=ADMIN))[:2] == (403, "forbidden")


def test_a_token_ends_and_is_fetched_again(sandbox, directory):
    directory.users().get(userKey=ADMIN).execute()
    sandbox.clear_requests()
    sandbox.fault("google", path="/users/", status=401, reason="authError")
    directory.users().get(userKey=ADMIN).execute()
    assert [entry["status"] for entry in sandbox.google_requests()] == [401, 200, 200]


def test_faults_at_the_level_of_the_connection(sandbox, raw):
    path = f"/admin/directory/v1/users/{ADMIN}"
    sandbox.fault("google", path="/users/", truncate=10)
    with pytest.raises(http.client.IncompleteRead):
        raw(path)
    body = json.dumps(person("ada")).encode()
    sandbox.fault("google", method="POST", path="/users$", drop=True, when="after")
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        raw("/admin/directory/v1/users", "POST", body)
    assert "ada@corp.example.com" in [user["primaryEmail"] for user in sandbox.google_state()["users"]]
    sandbox.fault("google", path="alt=", status=429, headers={"Retry-After": "7"}, shape="details")
    status, headers, answer = raw(path + "?alt=json")
    assert (status, headers["Retry-After"]) == (429, "7")
    assert json.loads(answer)["error"]["details"][0]["reason"] == "rateLimitExceeded"
    assert raw(path)[0] == 200


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"path": "("}, "one of"),
        ({"drop": 1}, "drop"),
        ({"times": 0, "drop": True}, "times"),
    ],
)
def test_a_senseless_fault_is_refused(sandbox, directory, fault, word):
    with pytest.raises(Exception, match=f"400.*{word}"):
        sandbox.fault("google", **fault)
    with pytest.raises(Exception, match="400.*nonsense"):
        sandbox.control("POST", "google/settings", {"nonsense": 1})


def test_changes_by_hand_are_seen_but_not_recorded(sandbox, directory):
    sandbox.control("POST", "google/users", {**person("ada"), "lastLoginTime": "2026-01-01T00:00:00.000Z"})
    sandbox.control("PATCH", "google/users/ada@corp.example.com", {"name": {"familyName": "Changed"}})
    sandbox.control("POST", "google/groups", {"email": "team@corp.example.com"})
    sandbox.control("POST", "google/groups/team@corp.example.com/members", {"email": "ada@corp.example.com"})
    sandbox.control("POST", "google/users/ada@corp.example.com/aliases", {"alias": "a@corp.example.com"})
    assert sandbox.google_requests() == []
    shown = directory.users().get(userKey="a@corp.example.com").execute()
    assert (shown["name"]["givenName"], shown["name"]["familyName"]) == ("Ada", "Changed")
    assert shown["lastLoginTime"] == "2026-01-01T00:00:00.000Z"
    [group] = sandbox.google_state()["groups"]
    assert [member["email"] for member in group["members"]] == ["ada@corp.example.com"]
    sandbox.control("DELETE", "google/groups/team@corp.example.com/members/ada@corp.example.com")
    sandbox.control("DELETE", "google/users/ada@corp.example.com")
    with pytest.raises(HttpError):
        directory.users().get(userKey="ada@corp.example.com").execute()


def test_no_secret_is_recorded(sandbox, directory):
    run_batch(sandbox, directory, {"one": directory.users().get(userKey=ADMIN)})
    record = json.dumps(sandbox.google_requests())
    assert directory._http.credentials.token not in record
    assert "eyJ" not in record


def test_the_connection_may_end_before_any_answer(sandbox, directory):
    # httplib2 tries once more by itself, so one lost connection would go unnoticed.
    sandbox.fault("google", path="/users/", drop=True, times=-1)
    with pytest.raises((OSError, httplib2.HttpLib2Error, http.client.HTTPException)):
        directory.users().get(userKey=ADMIN).execute()
