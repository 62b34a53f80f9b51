# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine: changes on both sides, faults, and runs of the module, each held against the evidence."""

from __future__ import annotations

from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.truth import oracle
from tests.truth.world import PERMISSIONS, VERSIONS, World

DOMAIN = "corp.example.com"
PEOPLE = ("ada", "bob", "robot")
GROUPS = ("Team", "Staff")
people = st.sampled_from(PEOPLE)
groups = st.sampled_from(GROUPS)
addresses = st.sampled_from([f"{name}{more}@{DOMAIN}" for name in PEOPLE for more in ("", ".new")])
names = st.sampled_from(["Ada One", "Ada Two", "Mono", "Zoë van der Berg", "A  B"])

GOOGLE_FAULTS: list[dict[str, Any]] = [
    {"status": 403, "reason": "userRateLimitExceeded"},
    {"status": 403, "reason": "quotaExceeded", "message": "Request rate higher than configured."},
    {"status": 429, "reason": "rateLimitExceeded", "headers": {"Retry-After": "1"}},
    {"status": 503, "reason": "backendError"},
    {"status": 503, "reason": "backendError", "when": "after"},
    {"status": 500, "reason": "backendError"},
    {"status": 401, "reason": "authError"},
    {"status": 403, "reason": "forbidden"},
    {"status": 403, "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "shape": "details"},
    {"status": 403, "reason": "accessNotConfigured"},
    {"status": 404, "reason": "notFound", "message": "Resource Not Found"},
    {"status": 404, "body": "<html>", "content_type": "text/html"},
    {"status": 409, "reason": "duplicate", "message": "Entity already exists."},
    {"status": 409, "reason": "conflict", "message": "Conflict"},
    {"status": 412, "reason": "conditionNotMet", "message": "User creation is not complete"},
    {"status": 412, "reason": "conditionNotMet", "message": "Cyclic memberships not allowed"},
    {"status": 400, "reason": "invalid", "message": "Invalid Input: primaryEmail"},
    {"status": 400, "reason": "invalid", "message": "A system error has occurred"},
    {"drop": True},
    {"drop": True, "when": "after"},
    {"truncate": 15, "when": "after"},
    {"body": "[]", "content_type": "application/json"},
]
AUTHENTIK_FAULTS: list[dict[str, Any]] = [
    {"status": 500, "body": "<html>", "content_type": "text/html"},
    {"status": 403},
    {"status": 404},
    {"status": 405, "body": "", "content_type": "text/html"},
    {"status": 502, "body": "<html>", "content_type": "text/html"},
    {"status": 503},
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
    ("POST", "/token"),
)
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
USER_MAPPINGS = ("zz notes", "zz skip", "zz fail", "zz hash")


class Truth(RuleBasedStateMachine):
    """Sequences of changes and runs."""

    world: World

    @initialize(version=st.sampled_from(VERSIONS))
    def begin(self, version: str) -> None:
        self.world = World(version)

    # authentik

    @rule(name=people, full=names)
    def rename_person(self, name: str, full: str) -> None:
        self.world.control("PATCH", f"authentik/users/{name}", {"name": full})

    @rule(name=people, email=addresses | st.sampled_from(["outside@elsewhere.test", ""]))
    def change_email(self, name: str, email: str) -> None:
        self.world.control("PATCH", f"authentik/users/{name}", {"email": email})

    @rule(name=people, active=st.booleans())
    def deactivate(self, name: str, active: bool) -> None:
        self.world.control("PATCH", f"authentik/users/{name}", {"is_active": active})

    @rule(group=groups, name=people, there=st.booleans())
    def regroup(self, group: str, name: str, there: bool) -> None:
        if there:
            self.world.control("POST", f"authentik/groups/{group}/members", {"username": name})
        else:
            self.world.control("DELETE", f"authentik/groups/{group}/members/{name}")

    @rule(name=people)
    def delete_person(self, name: str) -> None:
        self.world.control("DELETE", f"authentik/users/{name}")

    @rule(name=people)
    def create_person(self, name: str) -> None:
        body = {"username": name, "name": f"{name.title()} Three", "email": f"{name}@{DOMAIN}"}
        self.world.control("POST", "authentik/users", body)

    @rule(
        change=st.sampled_from(
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
        )
    )
    def change_provider(self, change: dict[str, Any]) -> None:
        if "dry_run" in change and self.world.version < "2025.4":
            return
        self.world.control("PATCH", "authentik/providers/1", change)

    @rule(name=st.sampled_from(USER_MAPPINGS))
    def assign_mapping(self, name: str) -> None:
        state = self.world.state()
        assigned = set(state["providers"][0]["property_mappings"])
        now = [item["name"] for item in state["mappings"] if item["pk"] in assigned or item["name"] == name]
        self.world.control("PATCH", "authentik/providers/1", {"property_mappings": now})

    @rule()
    def assign_description(self) -> None:
        state = self.world.state()
        assigned = set(state["providers"][0]["property_mappings_group"])
        now = [item["name"] for item in state["mappings"] if item["pk"] in assigned or item["name"] == "zz description"]
        self.world.control("PATCH", "authentik/providers/1", {"property_mappings_group": now})

    # Google

    @rule(
        name=people,
        change=st.sampled_from(
            [
                {"name": {"givenName": "Drifted"}},
                {"suspended": True},
                {"orgUnitPath": "/Staff"},
                {"phones": [{"value": "1", "type": "work"}]},
            ]
        ),
    )
    def drift(self, name: str, change: dict[str, Any]) -> None:
        self.world.control("PATCH", f"google/users/{name}@{DOMAIN}", change)

    @rule(name=people, address=addresses)
    def rename_at_google(self, name: str, address: str) -> None:
        self.world.control("PATCH", f"google/users/{name}@{DOMAIN}", {"primaryEmail": address})

    @rule(name=people)
    def delete_at_google(self, name: str) -> None:
        self.world.control("DELETE", f"google/users/{name}@{DOMAIN}")

    @rule(address=addresses)
    def exists_at_google(self, address: str) -> None:
        body = {"primaryEmail": address, "name": {"givenName": "Some", "familyName": "Body"}}
        self.world.control("POST", "google/users", body)

    @rule(address=addresses)
    def taken_as_alias(self, address: str) -> None:
        self.world.control("POST", f"google/users/admin@{DOMAIN}/aliases", {"alias": address})

    @rule(address=addresses | st.sampled_from([f"team@{DOMAIN}", f"staff@{DOMAIN}"]))
    def taken_by_a_group(self, address: str) -> None:
        self.world.control("POST", "google/groups", {"email": address, "name": "Taken"})

    @rule(
        group=groups,
        change=st.sampled_from([{"name": "Drifted"}, {"description": "by hand"}, {"email": f"other@{DOMAIN}"}]),
    )
    def drift_of_group(self, group: str, change: dict[str, Any]) -> None:
        self.world.control("PATCH", f"google/groups/{group.lower()}@{DOMAIN}", change)

    @rule(group=groups)
    def delete_group(self, group: str) -> None:
        self.world.control("DELETE", f"google/groups/{group.lower()}@{DOMAIN}")

    @rule(
        group=groups,
        member=addresses | st.sampled_from([f"admin@{DOMAIN}", "guest@elsewhere.test", f"staff@{DOMAIN}"]),
        role=st.sampled_from(["MEMBER", "OWNER"]),
    )
    def foreign_member(self, group: str, member: str, role: str) -> None:
        self.world.control("POST", f"google/groups/{group.lower()}@{DOMAIN}/members", {"email": member, "role": role})

    # What goes wrong

    @rule(
        place=st.sampled_from(GOOGLE_PLACES),
        fault=st.sampled_from(GOOGLE_FAULTS),
        times=st.sampled_from([1, 1, 2, -1]),
        skip=st.sampled_from([0, 0, 1]),
    )
    def fault_of_google(self, place: tuple[str, str], fault: dict[str, Any], times: int, skip: int) -> None:
        self.world.fault("google", **{**fault, "method": place[0], "path": place[1], "times": times, "skip": skip})

    @rule(
        place=st.sampled_from(AUTHENTIK_PLACES),
        fault=st.sampled_from(AUTHENTIK_FAULTS),
        times=st.sampled_from([1, 1, -1]),
    )
    def fault_of_authentik(self, place: tuple[str, str], fault: dict[str, Any], times: int) -> None:
        self.world.fault("authentik", **{**fault, "method": place[0], "path": place[1], "times": times})

    @rule(lag=st.sampled_from([{"lag_ms": 300}, {"lag_ms": 60000}, {"rename_lag_ms": 300}, {"rename_lag_ms": 60000}]))
    def lag(self, lag: dict[str, int]) -> None:
        self.world.faults = True
        self.world.control("POST", "google/settings", lag)

    @rule(permission=st.sampled_from(PERMISSIONS))
    def lack(self, permission: str) -> None:
        self.world.lack(permission)

    @precondition(lambda self: self.world.faults or self.world.lacking)
    @rule()
    def calm(self) -> None:
        self.world.calm()

    # The module

    @rule(
        name=people,
        options=st.fixed_dictionaries(
            {}, optional={"override_dry_run": st.just(True), "out_of_scope": st.sampled_from(["fail", "ignore"])}
        ),
        check=st.booleans(),
    )
    def sync_person_directly(self, name: str, options: dict[str, Any], check: bool) -> None:
        self.sync({"sync_object_model": "user", "sync_object_id": name, "engine": "direct", **options}, check)

    @rule(group=groups, membership=st.sampled_from(["add", "exact", "ignore"]), check=st.booleans())
    def sync_group_directly(self, group: str, membership: str, check: bool) -> None:
        options = {"sync_object_model": "group", "sync_object_id": group, "engine": "direct", "membership": membership}
        self.sync(options, check)

    @rule(name=people, verify=st.sampled_from(["auto", "auto", "google", "connection", "none"]), check=st.booleans())
    def sync_person_by_the_server(self, name: str, verify: str, check: bool) -> None:
        self.sync({"sync_object_model": "user", "sync_object_id": name, "verify": verify}, check)

    @rule(group=groups, verify=st.sampled_from(["auto", "auto", "connection"]), check=st.booleans())
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
                if options.get("engine") == "direct" or self.world.version >= "2025.10":
                    oracle.claim(not again["changed"], "a second run changed something", again)
                    oracle.claim(again["status"] == "unchanged", "a second run", again["status"], again.get("msg"))
        except oracle.FalseClaim:
            note(self.world.script())
            raise

    def examine(self, options: dict[str, Any], check: bool) -> dict[str, Any]:
        """One run, held against what the sandbox saw; returns its result."""
        world = self.world
        sandbox = world.sandbox
        world.settle()
        before = sandbox.google_state()
        quiet = not world.faults and not world.lacking
        sandbox.clear_requests()
        run = world.run(options, check)
        google_log, authentik_log = sandbox.google_requests(), sandbox.authentik_requests()
        after = sandbox.google_state()
        world.settle()
        state = world.state()
        evidence = oracle.Evidence(options, check, run, before, after, state, google_log, authentik_log, quiet)
        tasks = [task for task in state["tasks"] if task["actor_name"].endswith("sync_objects")]
        oracle.check(evidence, world.secrets, tasks if quiet and not check and world.version >= "2025.10" else None)
        return run.result
