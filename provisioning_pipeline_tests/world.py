"""A sandbox with questions about its state: what tests ask after the pipeline ran."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.model.tenant import Plan, TenantPlan
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.run.run import Applied, apply, dry_run
from provisioning_pipeline.run.work import Run, TenantResult, work
from provisioning_pipeline.sandbox.sandbox import Sandbox
from provisioning_pipeline.sandbox.twenty import StandInTwenty, TwentyOptions
from provisioning_pipeline.settings import PREFIX, Settings
from provisioning_pipeline.tasks.restart import gone, restart


def settings_of(environment: dict[str, str], **overrides: Any) -> Settings:
    """Settings from these variables alone."""
    import json

    values: dict[str, Any] = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items()}
    for name in {"twenty_servers", "clerk_issuers"} & values.keys():
        values[name] = json.loads(values[name])
    return Settings(_env_file=None, **(values | overrides))


@dataclass(frozen=True)
class Workspace:
    """A workspace as its rows say it."""

    id: str
    subdomain: str
    status: str
    deleted: bool


class World:
    """A running sandbox and the settings that point at it."""

    def __init__(self, sandbox: Sandbox, **overrides: Any) -> None:
        self.sandbox = sandbox
        self.overrides = overrides
        self.settings = settings_of(sandbox.environment(), **overrides)

    # --- doing --------------------------------------------------------------------------------------------------

    def apply(self, *tenants: str, **overrides: Any) -> Applied:
        """One reconciliation."""
        settings = settings_of(self.sandbox.environment(), **overrides) if overrides else self.settings
        return asyncio.run(apply(settings, tenants))

    def apply_approved(self, approved: str, *tenants: str, **overrides: Any) -> Applied:
        """One reconciliation for which somebody approved a plan."""
        settings = settings_of(self.sandbox.environment(), **overrides)
        return asyncio.run(apply(settings, tenants, approved=approved))

    def plan(self, *tenants: str) -> Plan:
        """What a reconciliation would do."""
        return asyncio.run(dry_run(self.settings, tenants))

    def plan_with(self, *tenants: str, **overrides: Any) -> Plan:
        """What a reconciliation would do with other settings."""
        return asyncio.run(dry_run(settings_of(self.sandbox.environment(), **overrides), tenants))

    def restart(self, tenant: str, **overrides: Any) -> None:
        """An operator lets the tenant start anew."""
        settings = settings_of(self.sandbox.environment() | overrides.pop("environment", {}), **overrides)

        async def look_and_restart() -> None:
            await restart(settings, await gone(settings, tenant))

        asyncio.run(look_and_restart())

    def run_planned(self, entry: TenantPlan) -> TenantResult:
        """The steps of one tenant as they were planned, whatever has happened since."""

        async def run() -> TenantResult:
            async with connect(self.settings, dry_run=False) as connections:
                (result,) = await work(Run(connections, "planned"), [entry])
                return result

        return asyncio.run(run())

    # --- asking -------------------------------------------------------------------------------------------------

    def registry(self, query: str, *parameters: Any) -> list[Any]:
        """Rows from the registry's database."""
        return list(self.sandbox.postgres.execute("tenant_manager", query, parameters or None))

    def twenty(self, query: str, *parameters: Any, server: int = 0) -> list[Any]:
        """Rows from a Twenty server's database."""
        name = self.sandbox.twenty[server].database_url.rsplit("/", 1)[1]
        return list(self.sandbox.postgres.execute(name, query, parameters or None))

    def workspaces(self, server: int = 0) -> list[Workspace]:
        """Every workspace of a server."""
        rows = self.twenty(
            'SELECT id::text, subdomain, "activationStatus"::text, "deletedAt" IS NOT NULL FROM core.workspace '
            "ORDER BY subdomain",
            server=server,
        )
        return [Workspace(*row) for row in rows]

    def link(self, slug: str) -> dict[str, Any]:
        """The ledger's row of a tenant."""
        rows = self.registry(
            "SELECT to_jsonb(l) FROM provisioning.tenant_link l WHERE slug = %s OR database_name = %s", slug, slug
        )
        return dict(rows[0][0])

    def pending(self, server: int = 0) -> list[tuple[str, str]]:
        """Every onboarding row that anybody would still meet."""
        return [
            tuple(row)
            for row in self.twenty(
                "SELECT key, COALESCE(\"userId\"::text, '') FROM core.\"keyValuePair\" WHERE key LIKE 'ONBOARDING%%' "
                "AND value = 'true'::jsonb",
                server=server,
            )
        ]

    def sees(self, slug: str, server: int = 0) -> dict[str, Any]:
        """What the tenant's admin sees after a real login, over plain HTTP and independent of the product's client."""
        link = self.link(slug)
        return real_login(
            self.sandbox.twenty[server],
            link["admin_email"],
            derived_password(self.settings.member_password_key, link["admin_email"]).get_secret_value(),
            link["workspace_url"],
        )

    def sees_as(self, slug: str, email: str, server: int = 0) -> dict[str, Any]:
        """What this person sees in the tenant's workspace after a real login with the password that we derive."""
        password = derived_password(self.settings.member_password_key, email).get_secret_value()
        return real_login(self.sandbox.twenty[server], email, password, self.link(slug)["workspace_url"])

    def members(self, slug: str, server: int = 0) -> dict[str, tuple[str, str]]:
        """E-mail → (role, name) of everybody in the tenant's workspace but the service account."""
        workspace = self.link(slug)["workspace_id"]
        found = self.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', workspace, server=server)
        schema = found[0][0]
        rows = self.twenty(
            f"""
            SELECT u.email, r.label, trim(m."nameFirstName" || ' ' || m."nameLastName")
            FROM core."userWorkspace" uw
            JOIN core."user" u ON u.id = uw."userId"
            LEFT JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id
            LEFT JOIN core.role r ON r.id = t."roleId"
            LEFT JOIN "{schema}"."workspaceMember" m ON m."userId" = u.id
            WHERE uw."workspaceId" = %s AND uw."deletedAt" IS NULL AND u.email <> %s
            """,
            workspace,
            self.settings.servers[server].service_email,
            server=server,
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def organization(self, slug: str) -> str:
        """The Clerk organization that the registry names."""
        return str(self.registry("SELECT clerk_org_id FROM tenant_registry WHERE slug = %s", slug)[0][0])

    def clerk_user(self, email: str) -> str:
        """The id of a person at Clerk."""
        user = self.sandbox.clerk.state.user_by_email(email)
        assert user is not None, email
        return user.id

    def conditions(self, slug: str) -> dict[str, tuple[str, str]]:
        """Condition type → (status, reason) of a tenant."""
        rows = self.registry(
            "SELECT c.type, c.status, c.reason FROM provisioning.condition c "
            "JOIN provisioning.tenant_link l USING (database_name) WHERE l.slug = %s OR l.database_name = %s",
            slug,
            slug,
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def mutating_calls(self) -> int:
        """Calls that could have changed something, as the stand-ins counted them."""
        return sum(server.mutating_calls for server in self.sandbox.twenty) + self.sandbox.clerk.mutating_calls


def real_login(server: StandInTwenty, email: str, password: str, origin: str) -> dict[str, Any]:
    """Sign in with a password and read `currentUser`."""
    with browser(server) as http:
        token = login_of(http, email, password, origin)
        user = read(http, _SEEN, {}, token)["currentUser"]
    return {
        "email": user["email"],
        "status": user["onboardingStatus"],
        "workspace_id": user["currentWorkspace"]["id"],
        "user_id": user["id"],
    }


def browser(server: StandInTwenty) -> httpx2.Client:
    """Somebody's browser before a Twenty server."""
    return browser_of(server.base_url)


def browser_of(base_url: str) -> httpx2.Client:
    """Somebody's browser before the Twenty server at this address."""
    return httpx2.Client(base_url=base_url, timeout=10, verify=False)


def enter_by_password(http: httpx2.Client, email: str, password: str, origin: str) -> dict[str, Any]:
    """`currentUser` of whom this password signs in."""
    return dict(read(http, _SEEN, {}, login_of(http, email, password, origin))["currentUser"])


_SEEN = "query{currentUser{id email onboardingStatus currentWorkspace{id}}}"


def login_of(http: httpx2.Client, email: str, password: str, origin: str) -> str:
    """An access token by password."""
    login = read(
        http,
        "mutation($e:String!,$p:String!,$o:String!){getLoginTokenFromCredentials(email:$e,password:$p,origin:$o)"
        "{loginToken{token}}}",
        {"e": email, "p": password, "o": origin},
    )
    return _exchanged(http, login["getLoginTokenFromCredentials"]["loginToken"]["token"], origin)


def enter(http: httpx2.Client, login_token: str, origin: str) -> dict[str, Any]:
    """`currentUser` of whom this login token signs in, read as Twenty's front end reads it."""
    return dict(read(http, _SEEN, {}, _exchanged(http, login_token, origin))["currentUser"])


def _exchanged(http: httpx2.Client, login_token: str, origin: str) -> str:
    tokens = read(
        http,
        "mutation($t:String!,$o:String!){getAuthTokensFromLoginToken(loginToken:$t,origin:$o)"
        "{tokens{accessOrWorkspaceAgnosticToken{token}}}}",
        {"t": login_token, "o": origin},
    )
    return str(tokens["getAuthTokensFromLoginToken"]["tokens"]["accessOrWorkspaceAgnosticToken"]["token"])


def read(http: httpx2.Client, document: str, variables: dict[str, Any], token: str = "") -> dict[str, Any]:
    """The data of an answer of Twenty's `/metadata`."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = http.post("/metadata", json={"query": document, "variables": variables}, headers=headers).json()
    assert "errors" not in answer, answer
    return dict(answer["data"])


@contextmanager
def upgraded(world: World, options: TwentyOptions) -> Iterator[None]:
    """The world's server as another version of itself, over the same database and at the same address."""
    before = world.sandbox.twenty[0]
    port = int(before.base_url.rpartition(":")[2])
    before.stop()
    after = StandInTwenty(before.database_url, options, port=port)
    after.start()
    world.sandbox.twenty[0] = after
    try:
        yield
    finally:
        after.stop()
        before.start()
        world.sandbox.twenty[0] = before
