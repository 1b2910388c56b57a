"""What tests of a lock ask: a workspace as it is at Twenty, and what its members may do there, over plain HTTP."""

from dataclasses import dataclass, replace
from typing import Any

import httpx2

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import Condition, ConditionType
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.run.work import TenantResult
from provisioning_pipeline.steps.suspension.changes import LOCK_WORKSPACE, UNLOCK_WORKSPACE
from provisioning_pipeline_tests.world import World, browser

UNTIL = "2031-01-01T00:00:00Z"


def planned(world: World, slug: str, change: Change) -> TenantPlan:
    """The plan of a tenant with this change and no other, after the registry has said what asks for it."""
    say(world, slug, "suspended" if change is LOCK_WORKSPACE else "active")
    (entry,) = world.plan(slug).tenants
    return replace(entry, changes=(change,), members=(), findings=(), withdrawals=(), pending=())


def say(world: World, slug: str, status: str) -> None:
    """The tenant manager writes this status to the tenant's row."""
    world.registry("UPDATE tenant_registry SET status = %s WHERE slug = %s RETURNING 1", status, slug)


def lock(world: World, slug: str) -> TenantResult:
    """A run that locks this tenant."""
    return world.run_planned(planned(world, slug, LOCK_WORKSPACE))


def unlock(world: World, slug: str) -> TenantResult:
    """A run that unlocks this tenant, and proves its logins."""
    return world.run_planned(planned(world, slug, UNLOCK_WORKSPACE))


def told(result: TenantResult) -> Condition:
    """What a run says of the lock."""
    (condition,) = (known for known in result.conditions if known.type is ConditionType.ACCESS_LOCKED)
    return condition


def workspace_of(world: World, slug: str) -> str:
    return str(world.link(slug)["workspace_id"])


def at_twenty(world: World, slug: str) -> dict[str, Any]:
    """Members (record, role, marked as deleted), keys (revoked) and settings of a tenant's workspace, by its tables."""
    workspace = workspace_of(world, slug)
    ((schema, link, default),) = world.twenty(
        'SELECT w."databaseSchema", w."isPublicInviteLinkEnabled", r.label FROM core.workspace w '
        'LEFT JOIN core.role r ON r.id = w."defaultRoleId" WHERE w.id = %s',
        workspace,
    )
    members = world.twenty(
        f"""
        SELECT u.email, m.id::text, r.label, m."deletedAt" IS NOT NULL FROM core."userWorkspace" uw
        JOIN core."user" u ON u.id = uw."userId"
        LEFT JOIN "{schema}"."workspaceMember" m ON m."userId" = u.id
        LEFT JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id LEFT JOIN core.role r ON r.id = t."roleId"
        WHERE uw."workspaceId" = %s AND uw."deletedAt" IS NULL ORDER BY 1
        """,
        workspace,
    )
    keys = world.twenty(
        'SELECT name, "revokedAt" IS NOT NULL FROM core."apiKey" WHERE "workspaceId" = %s ORDER BY name', workspace
    )
    roles = world.twenty('SELECT label FROM core.role WHERE "workspaceId" = %s ORDER BY label', workspace)
    return {
        "members": {row[0]: tuple(row[1:]) for row in members},
        "keys": dict(keys),
        "link": link,
        "default": default,
        "roles": [row[0] for row in roles],
    }


@dataclass(frozen=True)
class Session:
    """A member's browser from before, or a program with an API key."""

    http: httpx2.Client
    access: str
    refresh: str = ""

    def ask(self, document: str, path: str = "/metadata", **variables: Any) -> Any:
        """The data of an answer, or the message of its error."""
        headers = {"authorization": f"Bearer {self.access}"} if self.access else {}
        sent = {"query": document, "variables": variables}
        body = self.http.post(path, json=sent, headers=headers).json()
        return body["errors"][0]["message"] if "errors" in body else body["data"]

    def reads(self) -> Any:
        """What it sees of the workspace's records."""
        return self.ask("query{companies(first:1){totalCount}}", "/graphql")

    def renewed(self) -> Any:
        """What renewing it answers."""
        anew = Session(self.http, "")
        return anew.ask("mutation($t:String!){renewToken(appToken:$t){tokens{refreshToken{token}}}}", t=self.refresh)


def session_of(world: World, slug: str, email: str) -> Session:
    """A login by password of ours; raises AssertionError where it is refused, with Twenty's words."""
    http, url = browser(world.sandbox.twenty[0]), world.link(slug)["workspace_url"]
    password = derived_password(world.settings.member_password_key, email).get_secret_value()
    nobody = Session(http, "")
    login = nobody.ask(
        "mutation($e:String!,$p:String!,$o:String!){getLoginTokenFromCredentials(email:$e,password:$p,origin:$o)"
        "{loginToken{token}}}",
        e=email,
        p=password,
        o=url,
    )
    assert isinstance(login, dict), login
    found = nobody.ask(
        "mutation($t:String!,$o:String!){getAuthTokensFromLoginToken(loginToken:$t,origin:$o)"
        "{tokens{accessOrWorkspaceAgnosticToken{token} refreshToken{token}}}}",
        t=login["getLoginTokenFromCredentials"]["loginToken"]["token"],
        o=url,
    )
    assert isinstance(found, dict), found
    tokens = found["getAuthTokensFromLoginToken"]["tokens"]
    return Session(http, tokens["accessOrWorkspaceAgnosticToken"]["token"], tokens["refreshToken"]["token"])


def key_of(world: World, slug: str, name: str) -> Session:
    """A program with a new API key, which the tenant's admin has made."""
    admin = session_of(world, slug, world.link(slug)["admin_email"])
    roles = {role["label"]: role["id"] for role in admin.ask("query{getRoles{id label}}")["getRoles"]}
    made = admin.ask(
        "mutation($n:String!,$u:String!,$r:UUID!){createApiKey(input:{name:$n,expiresAt:$u,roleId:$r}){id}}",
        n=name,
        u=UNTIL,
        r=roles["Admin"],
    )
    token = admin.ask(
        "mutation($i:UUID!,$u:String!){generateApiKeyToken(apiKeyId:$i,expiresAt:$u){token}}",
        i=made["createApiKey"]["id"],
        u=UNTIL,
    )
    return Session(admin.http, token["generateApiKeyToken"]["token"])


def give_role(world: World, slug: str, email: str, label: str) -> None:
    """The tenant's admin makes a role of their own, and gives it to a member."""
    admin = session_of(world, slug, world.link(slug)["admin_email"])
    made = admin.ask(
        "mutation($r:CreateRoleInput!){createOneRole(createRoleInput:$r){id}}",
        r={"label": label, "canReadAllObjectRecords": True, "canBeAssignedToUsers": True},
    )
    admin.ask(
        "mutation($m:UUID!,$r:UUID!){updateWorkspaceMemberRole(workspaceMemberId:$m,roleId:$r){id}}",
        m=at_twenty(world, slug)["members"][email][0],
        r=made["createOneRole"]["id"],
    )
