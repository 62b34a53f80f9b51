# SPDX-FileCopyrightText: the dirsync.authentik contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The situations that were recorded on real servers: how to get there, who is synced, and what a person would say of it.

``recorded`` names the exchanges (files below ``recorded/``) that show the situation, by server version. ``expect`` is what
a person who reads the recording would want the module to report: changed, status, and a part of its message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.process import Sandbox

OLD, MIDDLE, NEW = "2024.8.1", "2025.8.6", "2025.12.4"
USER, GROUP = "authentik.core.models.User", "authentik.core.models.Group"

Step = Callable[["World"], None]


class World:
    """A sandbox on its way into a situation."""

    def __init__(self, sandbox: Sandbox, version: str) -> None:
        self.sandbox = sandbox
        self.version = version
        self.state = sandbox.control("GET", "authentik/state")

    def pk(self, kind: str, name: str) -> str:
        """The primary key of a user or group by name."""
        listed, key = (self.state["users"], "username") if kind == USER else (self.state["groups"], "name")
        return str(next(item["pk"] for item in listed if item[key] == name))

    def post(self, body: Any, path: str = "providers/google_workspace/1/sync/object/") -> Any:
        """Post to authentik as akadmin."""
        from tests.contract.http import call

        return call(self.sandbox, "POST", f"/api/v3/{path}", body=body)


@dataclass
class Situation:
    """One situation; see the module's text."""

    id: str
    recorded: dict[str, list[str]]
    given: list[Step] = field(default_factory=list)
    kind: str = USER
    name: str = "alice"
    object_id: str | None = None
    body: dict[str, Any] = field(default_factory=dict)
    changed: bool = False
    status: str = "failed"
    says: str = ""
    warns: str = ""
    # The module resolves the object itself and does not post at all.
    unsent: bool = False


def synced(*names: str, kind: str = USER) -> Step:
    """Objects that were synced before."""

    def step(world: World) -> None:
        for name in names:
            world.post({"sync_object_model": kind, "sync_object_id": world.pk(kind, name)})

    return step


def google(method: str, path: str, body: Any = None) -> Step:
    """A change by hand at Google."""
    return lambda world: world.sandbox.control(method, f"google/{path}", body)


def authentik(method: str, path: str, body: Any = None) -> Step:
    """A silent change in authentik."""
    return lambda world: world.sandbox.control(method, f"authentik/{path}", body)


def fault(method: str, path: str, **what: Any) -> Step:
    """A fault of Google's."""
    return lambda world: world.sandbox.fault("google", method=method, path=path, **what)


def group_id(world: World, name: str) -> str:
    """A group's id at Google."""
    return next(item["id"] for item in world.sandbox.google_state()["groups"] if item["name"] == name)


def fresh_row(name: str, kind: str = "group") -> Step:
    """Drop a stored connection, so that servers before 2025.10 link the object anew and do not stumble over it."""

    def step(world: World) -> None:
        rows = world.sandbox.control("GET", "authentik/state")["connections"]
        pk = world.pk(GROUP if kind == "group" else USER, name)
        for row in rows:
            if row["kind"] == kind and str(row["obj"]) == pk:
                world.sandbox.control("DELETE", f"authentik/connections/{row['id']}")

    return step


def mapping(expression: str, model: str = "user") -> list[Step]:
    """Another mapping in place of the default one."""
    key = "property_mappings" if model == "user" else "property_mappings_group"
    return [
        authentik(
            "POST", "mappings", {"name": "lab broken", "expression": expression, "model": model, "assigned": False}
        ),
        authentik("PATCH", "providers/1", {key: ["lab broken"]}),
    ]


USERS = r"/users"
ONE_USER = r"/users/[^/?]+"
GROUPS = r"/groups(\?|$)"
ONE_GROUP = r"/groups/[^/?]+(\?|$)"
MEMBERS = r"/members"
NOT_FOUND = {"status": 404, "reason": "notFound", "message": "Resource Not Found"}
TEAM = [synced("alice", "bob", "carol"), synced("Team One", kind=GROUP), fresh_row("Team One")]


def transient(number: int, reason: str, message: str) -> dict[str, Any]:
    """A fault with a status, as Google words it."""
    return {"status": number, "reason": reason, "message": message}


SITUATIONS = [
    # -- written ----------------------------------------------------------------------------------------------------
    Situation(
        "user-create",
        {
            OLD: ["001", "009", "013", "014", "297"],
            MIDDLE: ["02-", "06a", "06b"],
            NEW: ["02-", "06a", "06b", "12a", "60a"],
        },
        changed=True,
        status="synced",
    ),
    Situation(
        "user-in-sync",
        {
            OLD: ["002", "003", "082", "118", "201"],
            MIDDLE: ["03-", "04g", "10k", "12b"],
            NEW: ["10k", "10l", "11j", "32-perm-sync-global-view+add", "32-perm-sync-object-view+add", "65e"],
        },
        [synced("alice")],
        status="unchanged",
    ),
    Situation(
        "user-padded-id", {OLD: ["048"], NEW: ["09k"]}, [synced("alice")], object_id=" {pk} ", status="unchanged"
    ),
    Situation(
        "user-inactive", {OLD: ["038"], MIDDLE: ["14d"], NEW: ["14d"]}, name="inactive", changed=True, status="synced"
    ),
    Situation(
        "user-drift-repaired",
        {NEW: ["04-user-changed"]},
        [synced("alice"), google("PATCH", "users/alice@example.com", {"name": {"givenName": "Eve"}})],
        changed=True,
        status="synced",
    ),
    Situation(
        "user-drift-after-row-deleted",
        {OLD: ["008"], MIDDLE: ["04f"]},
        [
            synced("alice"),
            google("PATCH", "users/alice@example.com", {"name": {"givenName": "Eve"}}),
            fresh_row("alice", "user"),
        ],
        changed=True,
        status="synced",
    ),
    Situation(
        "user-deleted-at-google",
        {OLD: ["033", "114", "145"]},
        [synced("bob"), google("DELETE", "users/bob@example.com")],
        name="bob",
        changed=True,
        status="synced",
    ),
    Situation(
        "user-renamed",
        {OLD: ["036"], NEW: ["60b"]},
        [synced("carol"), authentik("PATCH", "users/carol", {"email": "carol.new@example.com"})],
        name="carol",
        changed=True,
        status="synced",
    ),
    Situation(
        "user-google-401-once",
        {OLD: ["137"]},
        [fault("POST", USERS, status=401, reason="authError", message="Invalid Credentials")],
        changed=True,
        status="synced",
    ),
    Situation(
        "domains-401-once",
        {OLD: ["179"]},
        [synced("alice"), fault("GET", "/domains", status=401, reason="authError", message="Invalid Credentials")],
        status="unchanged",
    ),
    Situation(
        "group-create",
        {OLD: ["015"], NEW: ["05-"]},
        [synced("alice", "bob", "carol")],
        GROUP,
        "Team One",
        changed=True,
        status="synced",
    ),
    Situation(
        "group-create-one-member-linked",
        {MIDDLE: ["05-"], NEW: ["05-"]},
        [synced("alice")],
        GROUP,
        "Team One",
        changed=True,
        status="synced",
        warns="bob, carol",
    ),
    Situation(
        "group-create-no-member-linked",
        {OLD: ["025", "164"], MIDDLE: ["15c"], NEW: ["08-"]},
        [],
        GROUP,
        "Empty Group",
        changed=True,
        status="synced",
    ),
    Situation(
        "group-members-new",
        {MIDDLE: ["06c"], NEW: ["06c"]},
        [synced("alice"), synced("Team One", kind=GROUP), synced("bob", "carol"), fresh_row("Team One")],
        GROUP,
        "Team One",
        changed=True,
        status="synced",
    ),
    Situation(
        "group-in-sync",
        {OLD: ["018", "020", "023", "024", "062", "135", "156", "170"], MIDDLE: ["06e", "06f"], NEW: ["06d", "12c"]},
        TEAM,
        GROUP,
        "Team One",
        status="unchanged",
    ),
    Situation(
        "group-member-removed-in-authentik",
        {OLD: ["022"], MIDDLE: ["07-"], NEW: ["07-"]},
        [*TEAM, authentik("DELETE", "groups/Team One/members/carol")],
        GROUP,
        "Team One",
        status="unchanged",
    ),
    Situation(
        "group-renamed-in-authentik",
        {OLD: ["029"]},
        [
            *TEAM[:2],
            authentik("PATCH", "groups/Team One", {"name": "Team Two"}),
        ],
        GROUP,
        "Team Two",
        changed=True,
        status="synced",
    ),
    Situation(
        "group-deleted-at-google",
        {OLD: ["032"], NEW: ["22b", "29a"]},
        [*TEAM[:2], lambda world: world.sandbox.control("DELETE", f"google/groups/{group_id(world, 'Team One')}")],
        GROUP,
        "Team One",
        changed=True,
        status="synced",
    ),
    Situation(
        "group-empty-again",
        {NEW: ["15c"]},
        [synced("Empty Group", kind=GROUP), authentik("PATCH", "providers/1", {"filter_group": "Other Group"})],
        GROUP,
        "Empty Group",
        status="unchanged",
    ),
    Situation(
        "filter-group-inside",
        {OLD: ["107"], MIDDLE: ["15b"], NEW: ["15b"]},
        [synced("alice"), authentik("PATCH", "providers/1", {"filter_group": "Team One"})],
        status="unchanged",
    ),
    Situation(
        "group-renamed-at-google",
        {OLD: ["030"]},
        [
            *TEAM,
            synced("Team One", kind=GROUP),
            lambda world: world.sandbox.control(
                "PATCH", f"google/groups/{group_id(world, 'Team One')}", {"name": "Another"}
            ),
        ],
        GROUP,
        "Team One",
        changed=True,
        status="synced",
    ),
    Situation(
        "empty-group-deleted-at-google",
        {NEW: ["66b"]},
        [
            synced("Empty Group", kind=GROUP),
            lambda world: world.sandbox.control("DELETE", f"google/groups/{group_id(world, 'Empty Group')}"),
        ],
        GROUP,
        "Empty Group",
        changed=True,
        status="synced",
    ),
    Situation(
        "user-renamed-second-row",
        {NEW: ["60c"]},
        [
            synced("carol"),
            authentik("PATCH", "users/carol", {"email": "carol.new@example.com"}),
            synced("carol"),
        ],
        name="carol",
        status="unchanged",
    ),
    Situation(
        "group-after-a-member-was-renamed",
        {OLD: ["037"]},
        [
            synced("alice", "bob", "carol"),
            authentik("PATCH", "users/carol", {"email": "carol.new@example.com"}),
            synced("carol"),
            synced("Team One", kind=GROUP),
            fresh_row("Team One"),
        ],
        GROUP,
        "Team One",
        status="unchanged",
    ),
    # -- left alone, silently ---------------------------------------------------------------------------------------
    Situation(
        "user-unknown",
        {OLD: ["050", "051", "052"], MIDDLE: ["09e"], NEW: ["09e"]},
        object_id="999999",
        says="no user '999999'",
        unsent=True,
    ),
    Situation(
        "group-unknown",
        {OLD: ["063"], NEW: ["09f"]},
        [],
        GROUP,
        object_id="00000000-0000-4000-8000-000000000000",
        says="no group",
        unsent=True,
    ),
    Situation(
        "anonymous", {OLD: ["060"], MIDDLE: ["14g"], NEW: ["14g"]}, object_id="1", says="no user '1'", unsent=True
    ),
    Situation(
        "service-account-excluded",
        {OLD: ["284"], MIDDLE: ["14f"], NEW: ["14f"]},
        [authentik("PATCH", "providers/1", {"exclude_users_service_account": True})],
        name="robot",
        status="out_of_scope",
        warns="exclude_users_service_account",
        unsent=True,
    ),
    Situation("service-account-included", {OLD: ["283"]}, name="robot", changed=True, status="synced"),
    Situation(
        "filter-group-outside",
        {MIDDLE: ["15a"]},
        [authentik("PATCH", "providers/1", {"filter_group": "Other Group"})],
        status="out_of_scope",
        warns="filter_group",
        unsent=True,
    ),
    Situation(
        "mapping-skips",
        {NEW: ["65a"]},
        [synced("bob"), *mapping("raise SkipObject()")],
        name="bob",
        status="out_of_scope",
        warns="SkipObject",
    ),
    Situation(
        "domains-503",
        {OLD: ["184"], NEW: ["24d"]},
        [
            synced("bob"),
            google("PATCH", "users/bob@example.com", {"name": {"givenName": "Eve"}}),
            fault("GET", "/domains", **transient(503, "backendError", "x")),
        ],
        name="bob",
        says="could not reach Google",
    ),
    Situation(
        "domains-403-429-500",
        {OLD: ["180", "182", "183"]},
        [
            synced("bob"),
            google("PATCH", "users/bob@example.com", {"name": {"givenName": "Eve"}}),
            fault("GET", "/domains", **transient(403, "forbidden", "Not Authorized")),
        ],
        name="bob",
        says="could not reach Google",
    ),
    Situation(
        "no-application-old",
        {OLD: ["104"]},
        [synced("alice"), authentik("PATCH", "providers/1", {"application": None})],
        status="unchanged",
    ),
    Situation(
        "no-application",
        {MIDDLE: ["01-"]},
        [authentik("PATCH", "providers/1", {"application": None})],
        says="not assigned to an application",
    ),
    # -- refused by authentik or Google -----------------------------------------------------------------------------
    Situation(
        "domain-outside",
        {MIDDLE: ["14a-"], NEW: ["14a"]},
        name="outsider",
        says="Invalid email domain: olga@elsewhere.test",
    ),
    Situation("no-email", {OLD: ["040"], MIDDLE: ["14b"], NEW: ["14b"]}, name="noemail", says="no e-mail"),
    Situation("one-word-name", {MIDDLE: ["14c"], NEW: ["14c"]}, name="mononym", says="Invalid Given/Family Name"),
    Situation(
        "no-mappings",
        {OLD: ["105"]},
        [synced("alice"), authentik("PATCH", "providers/1", {"property_mappings": []})],
        says="no property mapping",
    ),
    Situation(
        "mapping-none",
        {OLD: ["288"], NEW: ["65d"]},
        [synced("bob"), *mapping("return None")],
        name="bob",
        says="no property mapping",
    ),
    Situation(
        "mapping-broken",
        {NEW: ["65b-"]},
        [synced("bob"), *mapping("return undefined_name")],
        name="bob",
        says="lab broken",
    ),
    Situation(
        "update-400",
        {OLD: ["121"], MIDDLE: ["20a"], NEW: ["20a"]},
        [synced("alice"), fault("PUT", ONE_USER, **transient(400, "invalid", "Invalid Input: injected"))],
        says="Google rejects",
    ),
    Situation(
        "create-400",
        {OLD: ["136"], MIDDLE: ["20b"], NEW: ["20b"]},
        [fault("POST", USERS, **transient(400, "invalid", "Invalid Input: injected"))],
        says="Google rejects",
    ),
    Situation(
        "update-403",
        {OLD: ["123"]},
        [
            synced("alice"),
            fault("PUT", ONE_USER, **transient(403, "forbidden", "Not Authorized to access this resource/api")),
        ],
        says="Not Authorized",
    ),
    Situation(
        "create-403",
        {OLD: ["138"], MIDDLE: ["21b"], NEW: ["21b"]},
        [fault("POST", USERS, **transient(403, "forbidden", "Not Authorized to access this resource/api"))],
        says="Not Authorized",
    ),
    Situation(
        "update-quota",
        {OLD: ["131"], MIDDLE: ["21a"]},
        [
            synced("alice"),
            fault(
                "PUT",
                ONE_USER,
                domain="usageLimits",
                **transient(403, "quotaExceeded", "Quota exceeded for quota metric"),
            ),
        ],
        says="later",
    ),
    Situation(
        "update-500",
        {OLD: ["128"], MIDDLE: ["24a"], NEW: ["24a"]},
        [synced("bob"), fault("PUT", ONE_USER, **transient(500, "backendError", "Internal error"))],
        name="bob",
        says="Google answered 500",
    ),
    Situation(
        "update-503",
        {OLD: ["130"], NEW: ["24b"]},
        [
            synced("bob"),
            fault("PUT", ONE_USER, **transient(503, "backendError", "Service unavailable. Please try again")),
        ],
        name="bob",
        says="Google answered 503",
    ),
    Situation(
        "create-503",
        {OLD: ["143", "142"], NEW: ["24c"]},
        [fault("POST", USERS, **transient(503, "backendError", "Service unavailable. Please try again"))],
        says="Google answered 503",
    ),
    *(
        Situation(
            f"update-{code}",
            {OLD: [ref]},
            [synced("alice"), fault("PUT", ONE_USER, **transient(code, reason, text))],
            says=f"Google answered {code}",
        )
        for code, ref, reason, text in (
            (412, "125", "conditionNotMet", "x"),
            (413, "126", "uploadTooLarge", "x"),
            (429, "127", "rateLimitExceeded", "Rate Limit Exceeded"),
        )
    ),
    *(
        Situation(
            f"create-{code}",
            {OLD: [ref]},
            [fault("POST", USERS, **transient(code, reason, text))],
            says=f"Google answered {code}",
        )
        for code, ref, reason, text in (
            (412, "140", "conditionNotMet", "x"),
            (429, "141", "rateLimitExceeded", "Rate Limit Exceeded"),
        )
    ),
    Situation(
        "update-502-html",
        {OLD: ["195"]},
        [
            synced("alice"),
            fault("PUT", ONE_USER, status=502, body="<html>Bad gateway</html>", content_type="text/html"),
        ],
        says="Google answered 502",
    ),
    Situation(
        "update-not-json",
        {OLD: ["194"]},
        [
            synced("alice"),
            fault("PUT", ONE_USER, status=200, body="this is not JSON", content_type="text/plain", when="after"),
        ],
        status="unchanged",
    ),
    *(
        Situation(
            f"group-update-{code}",
            {OLD: [ref]},
            [synced("Empty Group", kind=GROUP), fault("PUT", "/groups/", **transient(code, reason, "x"))],
            GROUP,
            "Empty Group",
            says=says,
        )
        for code, ref, reason, says in (
            (400, "149", "invalid", "Google rejects"),
            (429, "152", "rateLimitExceeded", "429"),
            (500, "153", "backendError", "500"),
            (503, "154", "backendError", "503"),
        )
    ),
    *(
        Situation(
            f"group-create-{code}",
            {OLD: [ref]},
            [fault("POST", GROUPS, **transient(code, reason, "x"))],
            GROUP,
            "Empty Group",
            says=says,
        )
        for code, ref, reason, says in (
            (400, "157", "invalid", "Google rejects"),
            (403, "158", "forbidden", "403"),
            (500, "162", "backendError", "500"),
            (503, "163", "backendError", "503"),
        )
    ),
    Situation(
        "member-400",
        {OLD: ["167"]},
        [*TEAM, fault("POST", MEMBERS, **transient(400, "invalid", "Bad Request"))],
        GROUP,
        "Team One",
        says="Google rejects",
    ),
    Situation(
        "member-403",
        {MIDDLE: ["24f"]},
        [*TEAM, fault("POST", MEMBERS, **transient(403, "forbidden", "Not Authorized"))],
        GROUP,
        "Team One",
        says="Not Authorized",
    ),
    Situation(
        "member-503",
        {OLD: ["174"]},
        [*TEAM, fault("POST", MEMBERS, **transient(503, "backendError", "The service is currently unavailable."))],
        GROUP,
        "Team One",
        says="503",
    ),
    # -- adopted ----------------------------------------------------------------------------------------------------
    Situation(
        "alias-of-another",
        {OLD: ["146"], MIDDLE: ["23b"], NEW: ["23b"]},
        [
            google(
                "POST",
                "users",
                {"primaryEmail": "someone@example.com", "name": {"givenName": "Some", "familyName": "One"}},
            ),
            google("POST", "users/someone@example.com/aliases", {"alias": "heidi@example.com"}),
        ],
        name="heidi",
        says="alias of another account at Google, someone@example.com",
        unsent=True,
    ),
    Situation(
        "alias-adopted-before",
        {OLD: ["147"], MIDDLE: ["23c"]},
        [
            google(
                "POST",
                "users",
                {"primaryEmail": "someone@example.com", "name": {"givenName": "Some", "familyName": "One"}},
            ),
            google("POST", "users/someone@example.com/aliases", {"alias": "heidi@example.com"}),
            synced("heidi"),
        ],
        name="heidi",
        says="someone@example.com",
        unsent=True,
    ),
    Situation(
        "put-404-post-409",
        {OLD: ["132", "148"]},
        [synced("alice"), fault("PUT", ONE_USER, **NOT_FOUND)],
        status="unchanged",
    ),
    Situation(
        "create-409-nobody-there",
        {OLD: ["144"]},
        [fault("POST", USERS, **transient(409, "duplicate", "Entity already exists."))],
        says="held by something else",
    ),
    Situation(
        "group-409-other-name",
        {NEW: ["23d"]},
        [google("POST", "groups", {"email": "empty-group@example.com", "name": "Other name"})],
        GROUP,
        "Empty Group",
        says="run the task again",
    ),
    Situation(
        "group-409-other-name-with-members",
        {OLD: ["165"]},
        [
            synced("alice", "bob", "carol"),
            google("POST", "groups", {"email": "team-one@example.com", "name": "Other name"}),
        ],
        GROUP,
        "Team One",
        changed=True,
        says="run the task again",
    ),
    Situation(
        "group-409-other-name-again",
        {OLD: ["166"]},
        [
            synced("alice", "bob", "carol"),
            google("POST", "groups", {"email": "team-one@example.com", "name": "Other name"}),
            synced("Team One", kind=GROUP),
        ],
        GROUP,
        "Team One",
        changed=True,
        status="synced",
    ),
    Situation(
        "group-put-404-post-409",
        {OLD: ["155"]},
        [synced("Empty Group", kind=GROUP), fault("PUT", "/groups/", **NOT_FOUND)],
        GROUP,
        "Empty Group",
        status="unchanged",
    ),
    # -- 405 --------------------------------------------------------------------------------------------------------
    Situation(
        "rows-that-stop-everything",
        {OLD: ["004", "005", "010", "133", "293"]},
        [synced("alice"), google("PATCH", "users/alice@example.com", {"name": {"givenName": "Eve"}})],
        says="differs from Google's record",
    ),
    Situation(
        "rows-stop-others",
        {OLD: ["011"]},
        [synced("alice"), google("PATCH", "users/alice@example.com", {"name": {"givenName": "Eve"}})],
        name="bob",
        says="differs from Google's record",
    ),
    Situation(
        "rows-stop-groups",
        {OLD: ["016"], MIDDLE: ["06d-"]},
        [synced("alice"), synced("Team One", kind=GROUP)],
        GROUP,
        "Team One",
        says="differs",
    ),
    Situation(
        "rows-stop-other-groups",
        {MIDDLE: ["06d2"]},
        [synced("alice"), synced("Team One", kind=GROUP)],
        GROUP,
        "Empty Group",
        says="differs",
    ),
    *(
        Situation(
            f"wrong-id-{name}", refs, [synced("alice")], kind, "alice", object_id=object_id, says=says, unsent=True
        )
        for name, refs, kind, object_id, says in (
            ("float", {OLD: ["049"]}, USER, "6.0", "no user '6.0'"),
            ("group-by-name", {OLD: ["064"], MIDDLE: ["09g"], NEW: ["09g"]}, GROUP, "Nonsense", "no group 'Nonsense'"),
            ("group-num-pk", {NEW: ["09h"]}, GROUP, "32112", "no group '32112'"),
            (
                "uuid-of-nobody",
                {OLD: ["043", "066"], MIDDLE: ["09a"], NEW: ["09a"]},
                USER,
                "a5d877f1-7590-49f5-a575-eee9d52730ff",
                "no user",
            ),
            ("user-pk-for-group", {OLD: ["067"]}, GROUP, "6", "no group '6'"),
            ("nobodys-name", {OLD: ["044"], MIDDLE: ["09b"], NEW: ["09b"]}, USER, "nobody", "no user 'nobody'"),
        )
    ),
    Situation(
        "member-unknown-to-google",
        {OLD: ["042", "113"]},
        [*TEAM[:2], google("DELETE", "users/alice@example.com"), fresh_row("Team One")],
        GROUP,
        "Team One",
        says="member",
    ),
    Situation(
        "member-404", {OLD: ["169"]}, [*TEAM, fault("POST", MEMBERS, **NOT_FOUND)], GROUP, "Team One", says="member"
    ),
    Situation(
        "update-409",
        {OLD: ["124"]},
        [synced("alice"), fault("PUT", ONE_USER, **transient(409, "duplicate", "Entity already exists."))],
        says="405",
    ),
    Situation("create-404", {OLD: ["139"]}, [fault("POST", USERS, **NOT_FOUND)], says="405"),
    Situation(
        "group-create-404", {OLD: ["159"]}, [fault("POST", GROUPS, **NOT_FOUND)], GROUP, "Empty Group", says="405"
    ),
    Situation(
        "group-create-409-then-404",
        {OLD: ["160"]},
        [fault("POST", GROUPS, **transient(409, "duplicate", "Entity already exists."))],
        GROUP,
        "Empty Group",
        says="405",
    ),
    Situation(
        "listing-503",
        {OLD: ["190"], NEW: ["26a"]},
        [synced("bob"), fault("GET", USERS + r"\?customer", **transient(503, "backendError", "Service unavailable"))],
        name="bob",
        says="405",
    ),
    *(
        Situation(
            f"listing-{code}",
            {OLD: [ref]},
            [synced("bob"), fault("GET", USERS + r"\?customer", **transient(code, reason, "x"))],
            name="bob",
            says="405",
        )
        for code, ref, reason in (
            (400, "185", "invalid"),
            (403, "186", "forbidden"),
            (404, "187", "notFound"),
            (429, "188", "rateLimitExceeded"),
        )
    ),
    Situation(
        "group-listing-403",
        {OLD: ["191"], NEW: ["26b"]},
        [
            synced("Empty Group", kind=GROUP),
            fault(
                "GET",
                r"/groups\?customer=my_customer&maxResults",
                **transient(403, "forbidden", "Not Authorized to access this resource/api"),
            ),
        ],
        GROUP,
        "Empty Group",
        says="405",
    ),
    Situation(
        "domains-404",
        {MIDDLE: ["24e"]},
        [synced("bob"), fault("GET", "/domains", **transient(404, "notFound", "x"))],
        name="bob",
        says="405",
    ),
    Situation(
        "domains-400",
        {OLD: ["178"]},
        [synced("bob"), fault("GET", "/domains", **transient(400, "invalid", "x"))],
        name="bob",
        says="405",
    ),
    Situation("mapping-syntax-error", {OLD: ["287"]}, [synced("alice"), *mapping("return (")], says="405"),
    Situation(
        "mapping-emails-without-address",
        {OLD: ["289"]},
        [synced("alice"), *mapping('return {"emails": [{"type": "work"}]}')],
        says="405",
    ),
    Situation(
        "update-dropped", {OLD: ["192"]}, [synced("alice"), fault("PUT", ONE_USER, drop=True, times=2)], says="405"
    ),
    Situation(
        "member-dropped",
        {OLD: ["193"]},
        [*TEAM, fault("POST", MEMBERS, drop=True, times=2)],
        GROUP,
        "Team One",
        says="405",
    ),
    Situation(
        "domains-dropped", {OLD: ["197"]}, [synced("alice"), fault("GET", "/domains", drop=True, times=2)], says="405"
    ),
    Situation(
        "slow-google",
        {MIDDLE: ["27a"], NEW: ["27a"]},
        [
            synced("bob"),
            google("PATCH", "users/bob@example.com", {"name": {"givenName": "Eve"}}),
            fresh_row("bob", "user"),
            fault("PUT", ONE_USER, delay_ms=1700),
        ],
        name="bob",
        changed=True,
        status="synced",
    ),
    Situation(
        "worker-stopped",
        {NEW: ["31a"]},
        [synced("bob"), authentik("POST", "settings", {"worker": False})],
        name="bob",
        says="no worker is running",
    ),
    Situation(
        "token-refused-by-delegation",
        {OLD: ["176"]},
        [synced("bob"), fault("POST", "/token", shape="oauth", times=-1, **transient(401, "unauthorized_client", "x"))],
        name="bob",
        says="405",
        warns="domain-wide delegation",
    ),
    Situation(
        "token-refused",
        {MIDDLE: ["25a"], NEW: ["25a"]},
        [
            synced("bob"),
            fault(
                "POST",
                "/token",
                shape="oauth",
                times=-1,
                **transient(400, "invalid_grant", "Invalid email or User ID"),
            ),
        ],
        name="bob",
        says="service account",
        warns="delegated subject",
    ),
    # -- dry run ----------------------------------------------------------------------------------------------------
    Situation(
        "dry-run-create", {NEW: ["13a"]}, [authentik("PATCH", "providers/1", {"dry_run": True})], status="dry_run"
    ),
    Situation(
        "dry-run-update",
        {NEW: ["13b"]},
        [synced("alice"), authentik("PATCH", "providers/1", {"dry_run": True})],
        status="dry_run",
    ),
    Situation(
        "dry-run-override-false",
        {NEW: ["13e"]},
        [authentik("PATCH", "providers/1", {"dry_run": True})],
        body={"override_dry_run": False},
        status="dry_run",
    ),
    Situation(
        "dry-run-group-update",
        {MIDDLE: ["13c"], NEW: ["13c"]},
        [synced("Empty Group", kind=GROUP), authentik("PATCH", "providers/1", {"dry_run": True})],
        GROUP,
        "Empty Group",
        status="dry_run",
    ),
    Situation(
        "dry-run-group-create",
        {MIDDLE: ["13d"], NEW: ["13d"]},
        [authentik("PATCH", "providers/1", {"dry_run": True})],
        GROUP,
        "Empty Group",
        status="dry_run",
    ),
    Situation(
        "dry-run-overridden",
        {MIDDLE: ["13f"]},
        [authentik("PATCH", "providers/1", {"dry_run": True})],
        body={"override_dry_run": True},
        changed=True,
        status="synced",
    ),
    Situation(
        "dry-run-overridden-update",
        {MIDDLE: ["13g"]},
        [synced("alice"), authentik("PATCH", "providers/1", {"dry_run": True})],
        body={"override_dry_run": True},
        status="unchanged",
    ),
    Situation(
        "dry-run-overridden-group",
        {MIDDLE: ["13h"], NEW: ["13h", "66a"]},
        [
            authentik("PATCH", "groups/Team One", {"name": "Dry Group"}),
            authentik("DELETE", "groups/Dry Group/members/bob"),
            authentik("DELETE", "groups/Dry Group/members/carol"),
            synced("alice"),
            authentik("PATCH", "providers/1", {"dry_run": True}),
        ],
        GROUP,
        "Dry Group",
        body={"override_dry_run": True},
        changed=True,
        status="synced",
    ),
]
