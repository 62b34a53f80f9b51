# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans, held against the sandbox's Google: what it makes of a plan is what was wanted, and then nothing is left to plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.dirsync.authentik.plugins.module_utils._common.kind import GROUP, USER
from ansible_collections.dirsync.authentik.plugins.module_utils._objects.connection import tolerates_rows
from ansible_collections.dirsync.authentik.plugins.module_utils._objects.difference import unmet
from ansible_collections.dirsync.authentik.plugins.module_utils._sync import plan
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.direct.connection import plan_connection
from ansible_collections.dirsync.authentik.plugins.module_utils._sync.direct.passwords import (
    given_hash,
    random_password,
)
from tests.sandbox.google.checks import password as google_takes
from tests.sandbox.google.errors import ApiError
from tests.sandbox.google.settings import Settings
from tests.sandbox.google.state import Directory

DOMAIN = "corp.example.com"
SECRET = {"password": "something-long"}
letters = st.characters(codec="utf-8", categories=("L", "N"))
texts = st.text(letters, min_size=1, max_size=12)
locals_ = st.text(st.sampled_from("abcdefg.-_XYZ0123"), min_size=1, max_size=8).filter(lambda text: text.strip("."))
addresses = st.builds(lambda local: f"{local}@{DOMAIN}", locals_)
entries = st.fixed_dictionaries({"type": st.sampled_from(["work", "home"]), "value": texts})
mail_entries = st.builds(
    lambda address, kind: {"address": address, "type": kind}, addresses, st.sampled_from(["home", "work"])
)
names = st.fixed_dictionaries({"givenName": texts, "familyName": texts}, optional={"displayName": texts})
fields = {
    "suspended": st.booleans(),
    "orgUnitPath": st.sampled_from(["/", "/Staff", "/Staff/Guests"]),
    "includeInGlobalAddressList": st.booleans(),
    "recoveryEmail": st.just("") | addresses,
    "phones": st.lists(entries, max_size=3),
    "emails": st.lists(mail_entries, max_size=3),
    "notes": st.fixed_dictionaries({"value": texts}, optional={"contentType": st.just("text_plain")}),
    "customSchemas": st.dictionaries(
        texts, st.dictionaries(texts, st.integers() | texts, min_size=1, max_size=2), max_size=2
    ),
}
wanted_users = st.fixed_dictionaries({"primaryEmail": addresses, "name": names}, optional=fields)


def fresh() -> Directory:
    return Directory([DOMAIN], Settings(), frozenset({"id", "etag", "kind", "isAdmin"}))


def turned(value):
    """The same in another order and another case of addresses."""
    if isinstance(value, dict):
        return {
            key: item.upper() if key in ("primaryEmail", "address", "recoveryEmail") else turned(item)
            for key, item in reversed(value.items())
        }
    return [turned(item) for item in reversed(value)] if isinstance(value, list) else value


@given(wanted_users)
def test_a_created_account_is_what_was_wanted(wanted):
    directory = fresh()
    found = plan.plan_record(USER, wanted, None)
    assert found.method == "POST"
    assert not plan.refused_value(USER, found)
    resource = directory.create_user({**found.body, **SECRET}).resource
    assert unmet(USER, wanted, resource) == []
    assert plan.plan_record(USER, wanted, resource) == (None, {}, [])


@given(wanted_users, wanted_users)
def test_an_updated_account_is_what_was_wanted_and_then_nothing_is_left_to_plan(present, wanted):
    directory = fresh()
    user = directory.create_user({**present, **SECRET})
    found = plan.plan_record(USER, wanted, user.resource)
    if found.method is None:
        assert unmet(USER, wanted, user.resource) == []
    else:
        assert found.changes
        assert {item["path"].split(".")[0] for item in found.changes} == set(found.body)
        directory.update_user(user, found.body)
    assert unmet(USER, wanted, user.resource) == []
    assert plan.plan_record(USER, wanted, user.resource).method is None
    assert plan.plan_record(USER, turned(wanted), user.resource).method is None


@given(wanted_users, wanted_users)
def test_what_is_not_managed_is_never_written(present, wanted):
    found = plan.plan_record(USER, wanted, {**present, "id": "1"})
    assert set(found.body) <= set(wanted)
    assert set(found.body) <= {item["path"].split(".")[0] for item in unmet(USER, wanted, present)}


groups = st.fixed_dictionaries({"email": addresses, "name": texts}, optional={"description": st.none() | texts})


@given(groups, groups)
def test_groups_alike(present, wanted):
    directory = fresh()
    group = directory.create_group(present)
    found = plan.plan_record(GROUP, wanted, group.resource)
    if found.method:
        directory.update_group(group, found.body)
    assert unmet(GROUP, wanted, group.resource) == []
    assert plan.plan_record(GROUP, turned(wanted), group.resource).method is None


people = st.lists(st.integers(0, 9), unique=True, max_size=8)
roles = st.lists(st.sampled_from(["MEMBER", "MEMBER", "OWNER", "MANAGER"]), min_size=10, max_size=10)


@given(people, people, roles, st.sampled_from(["add", "exact", "ignore"]), st.sets(st.sampled_from(plan.KEEPABLE)))
def test_members(wanted, present, role, membership, keep):
    def address(number):
        return f"p{number}@{DOMAIN}"

    observed = [
        {
            "id": str(number),
            "email": address(number).upper(),
            "role": role[number],
            "type": "GROUP" if number == 9 else "USER",
        }
        for number in present
    ]
    # By id or by address, whatever is known.
    names = [str(number) if number % 2 and number in present else address(number) for number in wanted]
    found = plan.plan_members(names, observed, membership, keep)
    state = {item["email"].lower() for item in observed} - {item["email"].lower() for item in found.remove}
    state |= set(found.add)
    ours = {address(number) for number in wanted}
    there = {item["email"].lower() for item in observed}
    if membership == "ignore":
        assert found == ([], [], [])
    elif membership == "add":
        assert state == there | ours
    else:
        assert state == ours | set(found.kept)
        for number in present:
            protected = role[number].lower() in keep or (number == 9 and "group" in keep)
            assert (address(number) in found.kept) == (protected and number not in wanted)
    assert not {item["email"].lower() for item in found.remove} & ours
    after = [item for item in observed if item not in found.remove]
    after += [{"id": item, "email": item} for item in found.add]
    assert plan.plan_members([address(number) for number in wanted], after, membership, keep)[:2] == ([], [])


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"primaryEmail": "", "name": {"givenName": "A", "familyName": "B"}}, "no e-mail"),
        ({"primaryEmail": "@corp.example.com", "name": {"givenName": "A", "familyName": "B"}}, "not an e-mail address"),
        ({"primaryEmail": "a@b.test"}, "name.givenName is empty"),
        ({"primaryEmail": "a@b.test", "name": {"givenName": "A", "familyName": " "}}, "name.familyName is empty"),
        ({"primaryEmail": "a@b.test", "name": {"givenName": "A" * 61, "familyName": "B"}}, "more than 60"),
        ({"primaryEmail": "a@b.test", "name": {"givenName": "A<", "familyName": "B"}}, "angle bracket"),
    ],
)
def test_values_that_google_refuses_are_known_before(wanted, says):
    assert says in plan.refused_value(USER, plan.plan_record(USER, wanted, None))


def test_only_what_is_written_is_judged():
    record = {"id": "1", "primaryEmail": "a@b.test", "name": {"givenName": "A", "familyName": ""}, "suspended": True}
    found = plan.plan_record(USER, {"primaryEmail": "a@b.test", "suspended": False}, record)
    assert (found.method, found.body, plan.refused_value(USER, found)) == ("PUT", {"suspended": False}, "")


def test_a_random_password_is_one_that_google_takes():
    one, other = random_password(), random_password()
    assert one != other
    google_takes({"password": one})


@pytest.mark.parametrize(
    ("secret", "taken"),
    [
        ({"password": "pbkdf2_sha256$600000$salt$hash"}, False),
        ({"password": "plain text"}, False),
        ({"password": "pbkdf2_sha256$600000$salt$hash", "hashFunction": "crypt"}, False),
        ({"password": "0" * 32, "hashFunction": "MD5"}, True),
        ({"password": "0" * 40, "hashFunction": "SHA-1"}, True),
        ({"password": "0" * 40, "hashFunction": "MD5"}, False),
        ({"password": "$6$rounds=5000$salt$" + "a" * 86, "hashFunction": "crypt"}, True),
        ({"password": "$6$rounds=50000$salt$" + "a" * 86, "hashFunction": "crypt"}, False),
        ({"password": "0" * 32, "hashFunction": "md4"}, False),
        ({"password": "0" * 32, "hashFunction": ["MD5"]}, False),
        ({"hashFunction": "MD5"}, False),
    ],
)
def test_only_hashes_that_google_takes_are_passed_on(secret, taken):
    found = given_hash(secret)
    assert found == (secret if taken else None)
    if found:
        google_takes(found)
    elif "hashFunction" in secret and isinstance(secret.get("password"), str) and "rounds" not in secret["password"]:
        with pytest.raises((ApiError, TypeError)):
            google_takes(secret)


RECORD = {"id": "7", "primaryEmail": "a@b.test", "aliases": ["old@b.test"]}


@pytest.mark.parametrize(
    ("row", "written", "tolerant", "removed", "google_id"),
    [
        (None, False, True, False, "a@b.test"),
        (None, True, False, False, None),
        ({"id": "r", "google_id": "A@b.test"}, True, True, False, None),
        ({"id": "r", "google_id": "old@b.test"}, False, True, False, None),
        ({"id": "r", "google_id": "7"}, False, False, False, None),
        ({"id": "r", "google_id": "other@b.test"}, False, True, True, "a@b.test"),
        # A row that a write has outdated stops every sync of these servers.
        ({"id": "r", "google_id": "a@b.test"}, True, False, True, None),
    ],
)
def test_rows(row, written, tolerant, removed, google_id):
    found = plan_connection(USER, row, RECORD, None, written, lambda: tolerant)
    assert (found.remove, found.google_id) == ([row] if removed else [], google_id)


@pytest.mark.parametrize(
    ("provider", "version", "tolerant"),
    [
        ({"sync_page_size": 100, "dry_run": False}, None, True),
        ({"dry_run": False}, (2025, 8), False),
        ({"dry_run": False}, (2025, 10), True),
        ({}, None, False),
    ],
)
def test_the_provider_tells_most_versions(provider, version, tolerant):
    def ask():
        assert version is not None
        return version

    assert tolerates_rows(provider, ask) is tolerant


members = st.lists(addresses.map(str.lower), unique=True, max_size=4)


@st.composite
def object_plans(draw):
    """Plans of groups, of every shape that comes about."""
    present = draw(st.none() | groups)
    wanted = draw(groups)
    before = None if present is None else {**present, "id": "g1"}
    observed = [{"email": item, "id": f"m{item}", "role": "MEMBER"} for item in draw(members)]
    row = draw(st.none() | st.just({"id": "c1", "google_id": "g1", "attributes": {}}))
    connections = plan.ConnectionPlan(
        [row] if row and draw(st.booleans()) else [], draw(st.sampled_from([None, "", "g1"])), ""
    )
    return plan.ObjectPlan(
        GROUP,
        "00000000-0000-4000-8000-000000000001",
        draw(texts),
        wanted["email"],
        row,
        before,
        observed,
        wanted,
        {},
        plan.plan_record(GROUP, wanted, before),
        plan.plan_members(draw(members), observed, draw(st.sampled_from(["add", "exact", "ignore"]))),
        connections,
        tuple(draw(st.lists(texts, max_size=2))),
        tuple(draw(st.lists(texts, max_size=2))),
    )


@given(object_plans())
def test_a_plan_is_plain_data(found):
    """What is packed comes back as it was: the same operations, the same effects."""
    again = plan.ObjectPlan.unpack(found.pack())
    assert again == found
    assert again.operations() == found.operations()
    assert plan.effects(again) == plan.effects(found)


@given(object_plans())
def test_the_operations_of_a_plan_stand_in_the_order_of_its_steps(found):
    operations = found.operations()
    assert [item for step in plan.STEPS for item in found.operations(step)] == operations
    assert [item.key for item in found.operations("add")] == found.members.add
    assert [item.on for item in found.operations("remove")] == found.members.remove
    assert (found.operations("record") != []) == (found.record.method is not None)
    assert found.differs == any(item.step != "connection" for item in operations)
    assert (found.action is None) == (not found.differs)
    shown = [item.shown() for item in operations]
    assert all(item["by"] == "module" and ("group" in item) == (item["resource"] == "member") for item in shown)


SUSPENDED, ACTIVE = {"suspended": True}, {"suspended": False}


@pytest.mark.parametrize(
    ("before", "body", "method", "expected"),
    [
        (ACTIVE, SUSPENDED, "PUT", {"suspensions"}),
        ({}, SUSPENDED, "PUT", {"suspensions"}),
        ({}, {"archived": True}, "PUT", {"suspensions"}),
        (SUSPENDED, {"archived": True}, "PUT", {"suspensions"}),
        (SUSPENDED, {"archived": True, "suspended": False}, "PUT", {"suspensions"}),
        (SUSPENDED, ACTIVE, "PUT", {"reactivations", "updates"}),
        ({"archived": True}, {"archived": False}, "PUT", {"reactivations", "updates"}),
        # Neither loses nor gets access, and is written all the same.
        (SUSPENDED, SUSPENDED, "PUT", {"changes", "updates"}),
        (None, SUSPENDED, "POST", {"creations"}),
        (ACTIVE, {}, "DELETE", {"deletions"}),
        (ACTIVE, {"name": {}}, "PUT", {"changes", "updates"}),
        ({"primaryEmail": "a@b.test"}, {"primaryEmail": "c@b.test"}, "PUT", {"renames", "updates"}),
        ({"primaryEmail": "A@b.test"}, {"primaryEmail": "a@b.test"}, "PUT", {"changes", "updates"}),
        (
            {"primaryEmail": "a@b.test", "suspended": False},
            {"primaryEmail": "c@b.test", "suspended": True, "recoveryEmail": "x@y.test"},
            "PUT",
            {"renames", "suspensions", "changes"},
        ),
        ({}, {"recoveryEmail": "x@y.test"}, "PUT", {"changes", "updates"}),
        (ACTIVE, {}, None, set()),
    ],
)
def test_effects(before, body, method, expected):
    record = plan.RecordPlan(method, body, [])
    found = plan.effects(plan.ObjectPlan(USER, "6", "ada", "", None, before, None, {}, {}, record))
    assert {name for name, number in found.items() if number} == expected
    assert set(found) == set(plan.EFFECTS)


@given(st.text(min_size=1), st.sampled_from([USER, GROUP]))
def test_whichever_field_is_written_counts(field, kind):
    """No list of fields decides: what no other effect counts is a change."""
    record = plan.RecordPlan("PUT", {field: "another value"}, [])
    found = plan.effects(plan.ObjectPlan(kind, "6", "ada", "", None, {"id": "1"}, None, {}, {}, record))
    assert sum(found[name] for name in ("suspensions", "reactivations", "renames", "changes")) == 1


def test_a_record_that_is_taken_over_is_no_change():
    record = plan.RecordPlan("PUT", {"name": {}, "suspended": True}, [])
    taken = plan.ObjectPlan(USER, "6", "ada", "", None, {"id": "1"}, None, {}, {}, record, adopts=True)
    found = plan.effects(taken)
    assert {name for name, number in found.items() if number} == {"adoptions", "suspensions"}
    # Nothing to write, and still taken over; and one that is to be made is not.
    assert plan.effects(taken._replace(record=plan.NO_RECORD))["adoptions"] == 1
    assert plan.effects(taken._replace(before=None, record=plan.RecordPlan("POST", {}, [])))["adoptions"] == 0


@pytest.mark.parametrize(
    ("method", "body", "google_id", "unlinked"),
    [(None, {}, None, 2), (None, {}, "a@b.test", 0), ("PUT", SUSPENDED, None, 0), ("DELETE", {}, None, 0)],
)
def test_a_connection_is_unlinked_where_its_record_stays(method, body, google_id, unlinked):
    connections = plan.ConnectionPlan([{"id": "1"}, {"id": "2"}], google_id, "")
    record = plan.RecordPlan(method, body, [])
    found = plan.ObjectPlan(USER, "6", "ada", "", None, {"id": "7"}, None, {}, {}, record, connections=connections)
    assert plan.effects(found)["unlinked"] == unlinked


@st.composite
def user_plans(draw):
    """Plans of users: what comes of any wanted record against any present one."""
    present = draw(st.none() | wanted_users)
    wanted = draw(wanted_users)
    before = None if present is None else {**present, "id": "1"}
    return plan.ObjectPlan(
        USER,
        str(draw(st.integers(0, 5))),
        "somebody",
        "",
        None,
        before,
        None,
        wanted,
        {},
        plan.plan_record(USER, wanted, before),
        connections=plan.ConnectionPlan(draw(st.lists(st.just({"id": "c"}), max_size=2)), None, ""),
        adopts=draw(st.booleans()),
    )


def summed(plans):
    found = {name: {USER: 0, GROUP: 0} for name in plan.EFFECTS}
    for item in plans:
        for name, number in plan.effects(item).items():
            found[name][item.kind] += number
    return found


@given(st.lists(user_plans() | object_plans(), max_size=8), st.randoms(), st.integers(0, 8))
def test_totals_are_the_sum_of_what_is_in_the_plan(plans, chosen, out):
    """In whichever order plans are added, packed or not, and whoever is taken out."""
    there = {(item.kind, item.pk): item for item in plans}
    first, second = plan.DirectoryPlan(), plan.DirectoryPlan()
    for item in plans:
        first.add(item)
    shuffled = list(there.values())
    chosen.shuffle(shuffled)
    for item in shuffled:
        second.add(item)
    assert first.totals() == second.totals() == summed(there.values())
    gone = list(there)[:out]
    for key in gone:
        assert first.pop(*key) == there[key]
    assert first.totals() == summed(item for key, item in there.items() if key not in gone)
    for key in list(there)[out:]:
        first.pop(*key)
    assert first.totals() == summed([])


def test_totals_hold_orphans():
    whole = plan.DirectoryPlan()
    suspended = plan.RecordPlan("PUT", {"suspended": True}, [{"path": "suspended", "before": None, "after": True}])
    plans = [
        plan.ObjectPlan(USER, str(number), f"u{number}", "", None, {"id": str(number)}, None, {}, {}, suspended)
        for number in range(3)
    ]
    for item in plans:
        whole.add(item)
    gone = plan.RecordPlan("DELETE", {}, [])
    whole.orphans = [plan.ObjectPlan(GROUP, "g", "g", "", None, {"id": "g"}, None, {}, {}, gone), plans[0]]
    found = {name: numbers for name, numbers in whole.totals().items() if any(numbers.values())}
    assert found == {"suspensions": {USER: 4, GROUP: 0}, "deletions": {USER: 0, GROUP: 1}}
    assert whole.pop(USER, "1") == plans[1]
    assert whole.pks(USER) == ["0", "2"]
    assert whole.get(USER, "1") is None
    assert whole.totals()["suspensions"][USER] == 3
