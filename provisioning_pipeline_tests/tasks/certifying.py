"""A certification of a sandbox's Twenty, and what is left there afterwards."""

import asyncio
from contextlib import ExitStack

from provisioning_pipeline.cli.certify import SandboxMails
from provisioning_pipeline.cli.certify_bench import sandbox_bench
from provisioning_pipeline.model.contract import Certificate, Standing
from provisioning_pipeline.tasks.certify.certify import Progress, Wanted, certify
from provisioning_pipeline.tasks.certify.clerk import ClerkTrial
from provisioning_pipeline_tests.world import World


def certified(
    world: World, *, crash_points: bool = False, clerk: bool = False, progress: Progress | None = None
) -> Certificate:
    """One certification of the world's server."""
    server = world.settings.servers[0]
    with ExitStack() as stack:
        wanted = Wanted(
            server,
            bench=stack.enter_context(sandbox_bench(world.settings, server)) if crash_points else None,
            mail=SandboxMails(server.base_url),
            clerk=ClerkTrial(world.settings) if clerk else None,
        )
        return asyncio.run(certify(world.settings, wanted, progress))


def broken(certificate: Certificate) -> dict[str, str]:
    """What does not hold: behaviour → what was seen."""
    spoilt = (Standing.FAILS, Standing.BLOCKED)
    return {seen.behaviour: seen.seen for seen in certificate.observations if seen.standing in spoilt}


def left(world: World) -> list[str]:
    """Living workspaces and accounts that a certification made."""
    workspaces = world.twenty(
        "SELECT subdomain FROM core.workspace WHERE \"deletedAt\" IS NULL AND starts_with(subdomain, 'certify-')"
    )
    accounts = world.twenty(
        'SELECT email::text FROM core."user" WHERE "deletedAt" IS NULL AND starts_with(email::text, \'certify-\')'
    )
    return [row[0] for row in (*workspaces, *accounts)]


def kept(world: World) -> list[bool]:
    """The certificates in the ledger, the oldest first: whether each holds."""
    return [row[0] for row in world.registry("SELECT holds FROM provisioning.certificate ORDER BY id")]


def service_accounts(world: World) -> list[bool]:
    """The living accounts of our service account: whether each is server admin."""
    email = world.settings.servers[0].service_email
    rows = world.twenty(
        'SELECT "canAccessFullAdminPanel" FROM core."user" WHERE "deletedAt" IS NULL AND email = %s', email
    )
    return [bool(row[0]) for row in rows]
