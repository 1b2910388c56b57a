"""The API calls of a new tenant and nothing else: no ledger, no SQL, no locks, no retries, no decisions.

Same documents, same order, same concurrency as the pipeline, over httpx2. The documents are the pipeline's own, so they
cannot drift; the order can, and so the benchmark compares what the stand-ins counted. What is left out on purpose are
the contract probes: they belong to the pipeline's cost.
"""

import asyncio
from collections.abc import Sequence

from benchmarks.calls import Clerk, Person, Twenty
from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.sandbox.fleet import AddedTenant
from provisioning_pipeline.settings import Settings


async def provision(settings: Settings, tenants: Sequence[AddedTenant]) -> None:
    """Send every call that makes these tenants' workspaces ready, with all their members."""
    async with Clerk(settings) as clerk, Twenty(settings) as twenty:
        people = await clerk.people()
        agnostic = await twenty.sign_in()
        gate = asyncio.Semaphore(settings.tenant_concurrency)

        async def one(tenant: AddedTenant) -> None:
            async with gate:
                await _Tenant(settings, clerk, twenty, tenant).make(agnostic, people[tenant.clerk_org_id])

        async with asyncio.TaskGroup() as group:
            for tenant in tenants:
                group.create_task(one(tenant))


class _Tenant:
    def __init__(self, settings: Settings, clerk: Clerk, twenty: Twenty, tenant: AddedTenant) -> None:
        self._settings = settings
        self._clerk = clerk
        self._twenty = twenty
        self._tenant = tenant
        self._origin = ""
        self._service = ""

    async def make(self, agnostic: str, people: Sequence[Person]) -> None:
        twenty, (admin, *others) = self._twenty, people
        # provision_workspaces: the workspace, then its admin
        workspace_id = await self._workspace(agnostic)
        (joined,) = await self._join([admin])
        await twenty.call(operations.CURRENT_USER, {}, joined)
        # backfill_members
        tokens = await self._join(others)
        await self._clerk.store_workspace_id(self._tenant.clerk_org_id, workspace_id)
        # repair_onboarding: ours; each member's came with the member
        await self._clear_own_steps()
        # verify_logins: the admin's anew, the others' is the one that they joined with
        tokens.append(await twenty.log_in(twenty.account(admin.email), self._origin))
        await asyncio.gather(*(twenty.must_be_completed(token, workspace_id) for token in tokens))

    async def _workspace(self, agnostic: str) -> str:
        twenty = self._twenty
        names = {"displayName": self._tenant.tenant.name, "subdomain": self._tenant.slug}
        made = await twenty.call(operations.SIGN_UP_IN_NEW_WORKSPACE, names, agnostic)
        self._origin = made["workspace"]["workspaceUrls"]["subdomainUrl"]
        before = await twenty.exchange(made, self._origin)
        await twenty.call(operations.ACTIVATE_WORKSPACE, {}, before)
        self._service = await twenty.log_in(twenty.service, self._origin)
        return str(made["workspace"]["id"])

    async def _join(self, people: Sequence[Person]) -> list[str]:
        workspace = await self._twenty.call(operations.CURRENT_WORKSPACE, {}, self._service)
        return await self._twenty.add_members(people, self._service, workspace["inviteHash"], self._origin)

    async def _clear_own_steps(self) -> None:
        twenty, service = self._twenty, self._service
        seen = await twenty.call(operations.CURRENT_USER, {}, service)
        first, _, last = self._settings.service_member_name.partition(" ")
        await twenty.call(operations.SKIP_SYNC_EMAIL, {}, service)
        await twenty.set_name(seen["workspaceMember"]["id"], first, last, service)
        await twenty.call(operations.INSTALL_NO_APPS, {}, service)
        await twenty.call(operations.SEND_INVITATIONS, {"emails": []}, service)
