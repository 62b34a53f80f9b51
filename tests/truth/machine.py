# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine: changes on both sides, faults, and runs of the module, each held against the evidence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from hypothesis import currently_in_test_context, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.contract.test_fault_matrix import FAULTS
from tests.truth import harm, oracle
from tests.truth.world import KEY_CONTENTS, KEY_FILE, PERMISSIONS, VERSIONS, World

DOMAIN = "corp.example.com"
PEOPLE = ("ada", "bob", "robot")
GROUPS = ("Team", "Staff")
people = st.sampled_from(PEOPLE)
# Ada by her primary key, too, and Bob under the name that he may get.
asked_people = st.sampled_from([*PEOPLE, *PEOPLE, "6", "bobby"])
groups = st.sampled_from([*GROUPS, *GROUPS, "Crew", "Team!"])
addresses = st.sampled_from([f"{name}{more}@{DOMAIN}" for name in PEOPLE for more in ("", ".new")])
names = st.sampled_from(["Ada One", "Ada Two", "Mono", "Zoë van der Berg", "A  B"])

# Each row of Google's error table, and what is no answer of its API at all.
GOOGLE_FAULTS: list[dict[str, Any]] = [
    *(item.fault for item in FAULTS),
    {"status": 400, "reason": "invalid", "message": "Invalid Input: INVALID_OU_ID"},
    {"body": "[]", "content_type": "application/json"},
    {"body": "<html>", "content_type": "text/html"},
]
TOKEN_FAULTS: list[dict[str, Any]] = [
    {"status": 401, "reason": "unauthorized_client", "shape": "oauth"},
    {"status": 400, "reason": "invalid_grant", "message": "Invalid email or User ID", "shape": "oauth"},
    {"status": 503, "body": "<html>", "content_type": "text/html"},
    {"drop": True},
    {"body": "[]", "content_type": "application/json"},
]
AUTHENTIK_FAULTS: list[dict[str, Any]] = [
    {"status": 500, "body": "<html>", "content_type": "text/html"},
    {"status": 403},
    {"status": 404},
    {"status": 405, "body": "", "content_type": "text/html"},
    {"status": 502, "body": "<html>", "content_type": "text/html"},
    {"status": 503},
    {"status": 504, "body": "<html>", "content_type": "text/html", "when": "after"},
    {"status": 429, "headers": {"Retry-After": "1"}},
    {"status": 400, "body": {"non_field_errors": ["Something is wrong."]}, "content_type": "application/json"},
    {"drop": True},
    {"drop": True, "when": "after"},
    {"truncate": 10, "when": "after"},
    {"body": "[]", "content_type": "application/json"},
    {"body": "null", "content_type": "application/json"},
]
GOOGLE_PLACES = (
    ("GET", "/users"),
    ("POST", "/users"),
    ("PUT", "/users"),
    ("GET", "/groups"),
    ("POST", r"/groups(\?|$)"),
    ("PUT", "/groups"),
    ("GET", "/members"),
    ("POST", "/members"),
    ("DELETE", "/members"),
    ("GET", "/domains"),
)
TOKEN_PLACES = (("POST", "/token"),)
AUTHENTIK_PLACES = (
    ("GET", "/version"),
    ("GET", r"/google_workspace/\d+/"),
    ("GET", "/core/users"),
    ("GET", "/core/groups"),
    ("GET", "/google_workspace_"),
    ("POST", "/google_workspace_"),
    ("DELETE", "/google_workspace_"),
    ("POST", "/test/"),
    ("POST", "/sync/object/"),
    ("GET", "/tasks/"),
)
DEFAULT_MAPPING = "authentik default Google Workspace Mapping: "
MAPPINGS = ("zz notes", "zz skip", "zz fail", "zz hash", "zz description", "zz group skip", "zz group fail")


def changes(method: str, path: st.SearchStrategy[str], body: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(method), path, body)


def each(path: str, names: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return names.map(path.format)


def born(name: str) -> dict[str, str]:
    return {"username": name, "name": f"{name.title()} Three", "email": f"{name}@{DOMAIN}"}


group_addresses = st.sampled_from([f"team@{DOMAIN}", f"staff@{DOMAIN}", f"other@{DOMAIN}"])
nothing = st.none()
AUTHENTIK_CHANGES = (
    changes("PATCH", each("users/{}", people), st.builds(lambda name: {"name": name}, names)),
    changes(
        "PATCH",
        each("users/{}", people),
        st.builds(
            lambda email: {"email": email},
            addresses | st.sampled_from(["outside@elsewhere.test", "", f"admin@{DOMAIN}"]),
        ),
    ),
    # The primary key of somebody else.
    changes("PATCH", st.just("users/robot"), st.just({"username": "6"})),
    changes("PATCH", st.just("users/6"), st.just({"username": "robot"})),
    changes("PATCH", each("users/{}", people), st.builds(lambda active: {"is_active": active}, st.booleans())),
    changes("POST", each("groups/{}/members", groups), st.builds(lambda name: {"username": name}, people)),
    changes("DELETE", st.builds("groups/{}/members/{}".format, groups, people), nothing),
    # Names of groups are unique in authentik.
    changes("PATCH", st.just("groups/Team"), st.just({"name": "Crew"})),
    changes("PATCH", st.just("groups/Crew"), st.just({"name": "Team"})),
    # Another name, and the same address.
    changes("PATCH", st.just("groups/Staff"), st.sampled_from([{"name": "team"}, {"name": "Team!"}])),
    changes("PATCH", st.sampled_from(["groups/team", "groups/Team!"]), st.just({"name": "Staff"})),
    changes("DELETE", st.just("groups/Team"), nothing),
    changes("POST", st.just("groups"), st.just({"name": "Team", "members": ["ada"]})),
    changes("PATCH", st.just("users/bob"), st.just({"username": "bobby"})),
    changes("PATCH", st.just("users/bobby"), st.just({"username": "bob"})),
    changes("DELETE", each("users/{}", people), nothing),
    changes("POST", st.just("users"), st.builds(born, people)),
    changes(
        "PATCH",
        st.just("providers/1"),
        st.sampled_from(
            [
                {"dry_run": True},
                {"dry_run": False},
                {"filter_group": "Team"},
                {"filter_group": None},
                {"exclude_users_service_account": False},
                {"application": None},
                {"property_mappings": []},
                {"property_mappings_group": []},
            ]
        ),
    ),
)
GOOGLE_CHANGES = (
    changes(
        "PATCH",
        each("users/{}", addresses),
        st.sampled_from(
            [
                {"name": {"givenName": "Drifted"}},
                {"suspended": True},
                {"isAdmin": True},
                {"isDelegatedAdmin": True},
                {"orgUnitPath": "/Staff"},
                {"phones": [{"value": "1", "type": "work"}]},
            ]
        ),
    ),
    changes("PATCH", each("users/{}", addresses), st.builds(lambda address: {"primaryEmail": address}, addresses)),
    changes("DELETE", each("users/{}", addresses), nothing),
    changes(
        "POST",
        st.just("users"),
        st.builds(
            lambda address: {"primaryEmail": address, "name": {"givenName": "Some", "familyName": "Body"}}, addresses
        ),
    ),
    # Another record under the same address.
    changes(
        "RENEW",
        each("users/{}", addresses),
        st.just({"name": {"givenName": "Some", "familyName": "Body"}}),
    ),
    changes("RENEW", each("groups/{}", group_addresses), st.sampled_from([{"name": "Team"}, {"name": "Other"}])),
    # An address that is somebody else's alias, or a group's.
    changes("POST", st.just(f"users/admin@{DOMAIN}/aliases"), st.builds(lambda alias: {"alias": alias}, addresses)),
    changes("DELETE", each(f"users/admin@{DOMAIN}/aliases/{{}}", addresses), nothing),
    changes(
        "POST",
        each("groups/{}/aliases", group_addresses),
        st.builds(lambda alias: {"alias": alias}, addresses | group_addresses),
    ),
    changes(
        "POST",
        st.just("groups"),
        st.builds(lambda address: {"email": address, "name": "Taken"}, addresses | group_addresses),
    ),
    changes(
        "PATCH",
        each("groups/{}", group_addresses),
        st.sampled_from([{"name": "Drifted"}, {"description": "by hand"}, {"email": f"other@{DOMAIN}"}]),
    ),
    changes("DELETE", each("groups/{}", group_addresses), nothing),
    changes(
        "POST",
        each("groups/{}/members", group_addresses),
        st.builds(
            lambda member, role: {"email": member, "role": role},
            addresses | st.sampled_from([f"admin@{DOMAIN}", "guest@elsewhere.test", f"staff@{DOMAIN}"]),
            st.sampled_from(["MEMBER", "OWNER"]),
        ),
    ),
    changes("POST", each("groups/{}/members", group_addresses), st.just({"type": "CUSTOMER", "role": "MEMBER"})),
    changes("DELETE", st.builds("groups/{}/members/{}".format, group_addresses, addresses), nothing),
)


def faults(
    side: str, places: tuple[tuple[str, str], ...], answers: list[dict[str, Any]]
) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.builds(
        lambda place, fault, times, skip: (
            side,
            {**fault, "method": place[0], "path": place[1], "times": times, "skip": skip},
        ),
        st.sampled_from(places),
        st.sampled_from(answers),
        st.sampled_from([1, 1, 2, -1]),
        st.sampled_from([0, 0, 1]),
    )


FAULTS_OF_GOOGLE = faults("google", GOOGLE_PLACES, GOOGLE_FAULTS)
FAULTS_OF_TOKENS = faults("google", TOKEN_PLACES, TOKEN_FAULTS)
FAULTS_OF_AUTHENTIK = faults("authentik", AUTHENTIK_PLACES, AUTHENTIK_FAULTS)
LAGS = st.tuples(
    st.just("lag"),
    st.builds(
        lambda name, milliseconds: {name: milliseconds},
        st.sampled_from(["lag_ms", "rename_lag_ms", "update_lag_ms"]),
        st.sampled_from([60, 60000]),
    ),
)
PERMISSION = st.tuples(st.just("lack"), st.sampled_from(PERMISSIONS))
CREDENTIALS = st.sampled_from([("service_account_file", KEY_FILE), ("service_account_contents", KEY_CONTENTS)])
Step = tuple[str, dict[str, Any]]


def told(step: Callable[..., None]) -> Callable[..., None]:
    """Keep a rule's name and what it was called with, so that a sequence can be walked again."""

    @functools.wraps(step)
    def kept(self: Truth, **data: Any) -> None:
        self.story.append((step.__name__, data))
        step(self, **data)

    return kept


class Truth(RuleBasedStateMachine):
    """Sequences of changes and runs.

    Attributes:
        story: the rules so far, as (name, arguments): what ``walk`` takes.
    """

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.story: list[Step] = []

    @initialize(version=st.sampled_from(VERSIONS))
    @told
    def begin(self, version: str) -> None:
        self.world = World(version)

    # Changes. Each is one value, so that runs are about half of all steps.

    @rule(change=st.one_of(*AUTHENTIK_CHANGES))
    @told
    def change_authentik(self, change: tuple[str, str, Any]) -> None:
        method, path, body = change
        if body and "dry_run" in body and self.world.number < (2025, 4):
            return
        self.world.control(method, "authentik/" + path, body)

    @rule(change=st.one_of(*GOOGLE_CHANGES))
    @told
    def change_google(self, change: tuple[str, str, Any]) -> None:
        method, path, body = change
        if method != "RENEW":
            self.world.control(method, "google/" + path, body)
        elif self.world.control("DELETE", "google/" + path):
            kind, _slash, address = path.partition("/")
            key = "primaryEmail" if kind == "users" else "email"
            self.world.control("POST", "google/" + kind, {key: address, **body})

    @rule(name=st.sampled_from(MAPPINGS))
    @told
    def assign_mapping(self, name: str) -> None:
        self.assign({name}, set())

    @rule(names=st.sampled_from([MAPPINGS, [DEFAULT_MAPPING + "User"], [DEFAULT_MAPPING + "Group"]]))
    @told
    def take_mapping_away(self, names: list[str]) -> None:
        self.assign(set(), set(names))

    @rule()
    @told
    def give_default_mappings_back(self) -> None:
        self.assign({DEFAULT_MAPPING + "User", DEFAULT_MAPPING + "Group"}, set(MAPPINGS))

    def assign(self, more: set[str], less: set[str]) -> None:
        state = self.world.state()
        for kind, key in (("user", "property_mappings"), ("group", "property_mappings_group")):
            assigned = set(state["providers"][0][key])
            mappings = [item for item in state["mappings"] if item["model"] == kind]
            before = {item["name"] for item in mappings if item["pk"] in assigned}
            after = (before | more) - less
            now = [item["name"] for item in mappings if item["name"] in after]
            if set(now) != before:
                self.world.control("PATCH", "authentik/providers/1", {key: now})

    @rule(wrong=st.one_of(FAULTS_OF_GOOGLE, FAULTS_OF_AUTHENTIK, FAULTS_OF_TOKENS, LAGS, PERMISSION))
    @told
    def go_wrong(self, wrong: tuple[str, Any]) -> None:
        kind, what = wrong
        if kind == "lack":
            self.world.lack(what)
        elif kind == "lag":
            self.world.lag(what)
        else:
            self.world.fault(kind, **what)

    @precondition(lambda self: self.world.faults or self.world.lacking)
    @rule()
    @told
    def calm(self) -> None:
        self.world.calm()

    # The module

    @rule(
        name=asked_people,
        options=st.fixed_dictionaries(
            {}, optional={"override_dry_run": st.just(True), "out_of_scope": st.sampled_from(["fail", "ignore"])}
        ),
        key=st.none() | st.none() | CREDENTIALS,
        check=st.booleans(),
    )
    @told
    def sync_person_directly(
        self, name: str, options: dict[str, Any], key: tuple[str, str] | None, check: bool
    ) -> None:
        asked = {"sync_object_model": "user", "sync_object_id": name, "engine": "direct", **options}
        # A key of the operator's own acts as nobody whom authentik names.
        own = {key[0]: key[1], "delegated_subject": f"admin@{DOMAIN}"} if key else {}
        self.sync({**asked, **own}, check)

    @rule(
        name=people,
        heir=st.none() | people,
        change=st.fixed_dictionaries({}, optional={"is_active": st.just(False)}),
        engine=st.sampled_from(["direct", "direct", "server"]),
        check=st.booleans(),
    )
    @told
    def recycle_an_address(self, name: str, heir: str | None, change: dict[str, Any], engine: str, check: bool) -> None:
        """Somebody who was synced gives an address up, which somebody else may get, and is synced once more."""
        found = [item for item in self.world.state()["users"] if item["username"] == name]
        old = found[0]["email"] if found else ""
        if not old:
            return
        self.sync({"sync_object_model": "user", "sync_object_id": name, "engine": "direct"}, False)
        fresh = f"{name}.left@{DOMAIN}"
        self.world.control("PATCH", f"authentik/users/{name}", {"email": fresh, **change})
        if heir not in (None, name):
            self.world.control("PATCH", f"authentik/users/{heir}", {"email": old})
        self.sync({"sync_object_model": "user", "sync_object_id": name, "engine": engine}, check)

    @rule(
        group=groups,
        membership=st.sampled_from(["add", "exact", "exact", "ignore"]),
        options=st.fixed_dictionaries(
            {}, optional={"override_dry_run": st.just(True), "keep_members": st.sampled_from([[], ["group"]])}
        ),
        check=st.booleans(),
    )
    @told
    def sync_group_directly(self, group: str, membership: str, options: dict[str, Any], check: bool) -> None:
        asked = {"sync_object_model": "group", "sync_object_id": group, "engine": "direct", "membership": membership}
        self.sync({**asked, **options}, check)

    @rule(
        name=asked_people,
        verify=st.sampled_from(["auto", "auto", "google", "connection", "none"]),
        options=st.fixed_dictionaries(
            {}, optional={"override_dry_run": st.just(True), "fail_on": st.sampled_from([[], ["critical"]])}
        ),
        check=st.booleans(),
    )
    @told
    def sync_person_by_the_server(self, name: str, verify: str, options: dict[str, Any], check: bool) -> None:
        self.sync({"sync_object_model": "user", "sync_object_id": name, "verify": verify, **options}, check)

    @rule(group=groups, verify=st.sampled_from(["auto", "auto", "connection"]), check=st.booleans())
    @told
    def sync_group_by_the_server(self, group: str, verify: str, check: bool) -> None:
        self.sync({"sync_object_model": "group", "sync_object_id": group, "verify": verify}, check)

    def sync(self, options: dict[str, Any], check: bool) -> None:
        """Run; in check mode also for real; and, where it went well, once more."""
        try:
            first = self.examine(options, check)
            if check and not self.world.faults and not self.world.lacking:
                real = self.examine(options, False)
                oracle.same_prediction(first, real)
                first = real
            if (
                not self.world.faults
                and first["status"] in ("synced", "unchanged")
                and first["basis"] == "google"
                and not check
            ):
                again = self.examine(options, False)
                keeps = self.world.number >= (2025, 10)
                # Where the direct engine cannot keep a connection, what proved whose account it is may be gone with it.
                unproven = not keeps and again.get("code") == "conflict"
                if (options.get("engine") == "direct" and not unproven) or keeps:
                    oracle.claim(not again["changed"], "a second run changed something", again)
                    oracle.claim(again["status"] == "unchanged", "a second run", again["status"], again.get("msg"))
        except Exception:
            # A traceback instead of a result is no truth either.
            if currently_in_test_context():
                note(f"walk({self.story!r})\n{self.world.script()}")
            raise

    def examine(self, options: dict[str, Any], check: bool) -> dict[str, Any]:
        """One run, held against what the sandbox saw; returns its result."""
        world = self.world
        sandbox = world.sandbox
        observed = world.settled()
        before = observed["google"]["state"]
        quiet = not world.faults and not world.lacking
        sandbox.clear_requests()
        run = world.run(options, check)
        seen = sandbox.observed()
        google, log = seen["google"], seen["authentik"]["requests"]
        # What authentik still does then is not the run's any more.
        state = world.settled(seen)["authentik"]["state"]
        evidence = oracle.Evidence(
            options, check, run, before, google["state"], state, google["requests"], log, quiet, world.version
        )
        tasks = [task for task in state["tasks"] if task["actor_name"].endswith("sync_objects")]
        oracle.check(evidence, world.secrets, tasks if quiet and not check and world.number >= (2025, 10) else None)
        if evidence.direct or (quiet and options.get("verify") in (None, "auto", "google")):
            names = {(evidence.kind, str(item["pk"])) for item in evidence.targets()}
            harm.check(harm.Scene(options, before, google["state"], observed["authentik"]["state"], names))
        return run.result


def walk(story: list[Step]) -> World:
    """Walk a sequence again; raises FalseClaim where a claim of it is false, and returns the world as it is then."""
    machine = Truth()
    for name, data in story:
        getattr(machine, name)(**data)
    return machine.world
