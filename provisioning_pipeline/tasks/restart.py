"""Lets a tenant whose workspace is gone start anew: the next run makes it a new one."""

import uuid
from dataclasses import dataclass

from provisioning_pipeline.ledger import revisions
from provisioning_pipeline.ledger.locks import tenant_lock
from provisioning_pipeline.ledger.offboardings import Offboardings, dig_up
from provisioning_pipeline.ledger.restarts import drop_workspace
from provisioning_pipeline.model.fault import BadInput, Fault, RunFault
from provisioning_pipeline.model.history import RunKind
from provisioning_pipeline.model.offboarding import Offboarding
from provisioning_pipeline.report.summary import tenant_lines
from provisioning_pipeline.run.connections import Connections, connect
from provisioning_pipeline.run.observe import UnknownTenants
from provisioning_pipeline.run.record import run_under_way
from provisioning_pipeline.run.work import ends_the_run
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.scope import Server
from provisioning_pipeline.views.tenant_timeline import SeveralTenants, one_of

TRIGGER = "operator"


class NotGone(BadInput):
    """The tenant has a workspace that stands, or none at all: there is nothing to start anew with."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A tenant's workspace that was deleted in Twenty.

    Args:
        hard: its row is gone, too; else Twenty keeps it for a while, with its subdomain.
        members: how many member links the ledger has of it.
        offboarded: a run of ours deleted it, and this is what the ledger has of that.
    """

    database_name: str
    slug: str
    server: str
    workspace_id: str
    subdomain: str
    hard: bool
    members: int
    offboarded: Offboarding | None = None


async def gone(settings: Settings, tenant: str) -> Gone:
    """The tenant's workspace, which Twenty itself says is deleted. Changes nothing.

    Raises:
        UnknownTenants: when no tenant has that name, or several do.
        NotGone: when the workspace stands, or we cannot say that it does not.
    """
    async with connect(settings, dry_run=True) as connections:
        return await _gone(connections, tenant)


async def restart(settings: Settings, found: Gone) -> str:
    """Drop the link to that workspace, under the tenant's lock and after checking again; the run id that records it.

    Raises:
        NotGone: when it stands after all, or the tenant has meanwhile got another one.
    """
    run_id = str(uuid.uuid4())
    async with connect(settings, dry_run=False) as connections:
        ledger = connections.ledger.database
        with ends_the_run("The ledger refused"):
            async with (
                run_under_way(connections, run_id),
                tenant_lock(ledger, found.database_name, wait_seconds=settings.lock_wait_seconds),
            ):
                again = await _gone(connections, found.database_name)
                detail = f"workspace {again.workspace_id} ({again.subdomain}) on {again.server} is gone"
                await connections.history.begin_run(run_id, TRIGGER, RunKind.RESTART)
                done = again.workspace_id == found.workspace_id and (
                    await dig_up(ledger, again.offboarded, run_id)
                    if again.offboarded
                    else await drop_workspace(ledger, found.database_name, found.workspace_id, run_id, detail)
                )
    if not done:
        raise NotGone(f"{found.slug} has another workspace by now; nothing was changed.")
    return run_id


async def _gone(connections: Connections, tenant: str) -> Gone:
    if await revisions.revision(connections.ledger.database) != revisions.HEAD:
        raise RunFault("The ledger is of another version of this program: run `provisioning migrate` first.")
    rows = await connections.ledger.tenant_rows(tenant)
    try:
        line = one_of(tenant_lines(rows), tenant)
    except SeveralTenants:
        several = f"Several tenants are called {tenant!r}: give the database name. `provisioning status` lists them."
        raise UnknownTenants(several) from None
    if line is None:
        raise UnknownTenants(f"No tenant is {tenant!r}. `provisioning status` lists them.")
    row = next(row for row in rows if row["database_name"] == line.database_name)
    offboarded = (await Offboardings(connections.ledger.database).all()).get(row["database_name"])
    if not row["workspace_id"] and offboarded is not None and offboarded.is_over:
        return Gone(
            row["database_name"],
            row["slug"],
            offboarded.server,
            offboarded.workspace_id,
            subdomain="",
            hard=False,
            members=0,
            offboarded=offboarded,
        )
    if not row["workspace_id"]:
        raise NotGone(f"{row['slug']} has no workspace; `provisioning apply {row['slug']}` makes one.")
    server = connections.servers.get(row["server"])
    if server is None:
        raise NotGone(
            f'{row["slug"]} lives on Twenty server "{row["server"]}", which is not in the settings, so we cannot '
            "say whether its workspace stands. Put the server back there."
        )
    database_name, slug, workspace_id = row["database_name"], row["slug"], row["workspace_id"]
    try:
        state = await server.database.workspace_state(workspace_id)
    except Fault as fault:
        raise NotGone(f"We cannot say whether the workspace of {slug} stands: {fault.message}") from None
    if state is not None and not state.deleted:
        raise NotGone(
            f"The workspace of {slug} stands: Twenty says {state.activation_status} of {workspace_id}. Only a tenant "
            "whose workspace was deleted in Twenty can start anew; delete it there first (Settings > General)."
        )
    if state is None and not await _is_our_server(connections, server):
        raise NotGone(
            f"{server.client.system} knows no workspace of any tenant, so its database may be another server's than "
            f"that on which {slug} was. Check its database URL in the settings."
        )
    link = await connections.ledger.link(database_name)
    members = len(await connections.members.of_tenant(database_name))
    return Gone(
        database_name, slug, server.client.name, workspace_id, link.subdomain or "", hard=state is None, members=members
    )


async def _is_our_server(connections: Connections, server: Server) -> bool:
    """Whether its database knows a workspace of ours, deleted ones counted; with a single tenant: any user at all."""
    links = await connections.ledger.links()
    there = links[(links["server"] == server.client.name) & links["workspace_id"].notna()]["workspace_id"].tolist()
    if len(there) > 1:
        return bool(await server.database.workspaces(there))
    return await server.database.has_any_user()
