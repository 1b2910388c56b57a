"""Clients of a Twenty server, and what is around them: workspaces, members, and what the server's rows say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
from pydantic import SecretStr

from provisioning_pipeline.clients.transport import CallCounter
from provisioning_pipeline.clients.twenty.accounts import Account, WorkspaceAddress, derived_password
from provisioning_pipeline.clients.twenty.client import TwentyClient
from provisioning_pipeline.clients.twenty.wire import TwentyWire
from provisioning_pipeline.sandbox.twenty import StandInTwenty
from provisioning_pipeline.settings import TwentyServer

SERVICE, PASSWORD = "provisioner@platform.test", "service-c4nary"
KEY = SecretStr("a key that no one knows")


@asynccontextmanager
async def client(
    server: StandInTwenty | str,
    *,
    email: str = SERVICE,
    password: str = PASSWORD,
    dry_run: bool = False,
    concurrency: int = 8,
) -> AsyncIterator[TwentyClient]:
    """A client of a stand-in, or of whatever answers at a URL."""
    known = isinstance(server, StandInTwenty)
    settings = TwentyServer(
        name="eu",
        base_url=server.base_url if known else server,
        database_url=SecretStr(server.database_url if known else "postgresql://x/x"),
        service_email=email,
        service_password=SecretStr(password),
    )
    wire = TwentyWire(settings, timeout_seconds=10, dry_run=dry_run, counter=CallCounter(), concurrency=concurrency)
    async with TwentyClient(settings, wire, activation_timeout_seconds=10) as opened:
        yield opened


@asynccontextmanager
async def ready(server: StandInTwenty) -> AsyncIterator[TwentyClient]:
    """A client whose service account exists and is the server's admin."""
    async with client(server) as opened:
        if not sql(server, 'SELECT 1 FROM core."user" WHERE email = %s', SERVICE):
            await opened.sign_up_service_account()
        yield opened


async def cleared(opened: TwentyClient, account: Account, address: WorkspaceAddress, key: str) -> None:
    """Clear one onboarding step of a member by the call that this server has for it."""
    call = await opened.step_call(key)
    assert call is not None, key
    await opened.clear_step(account, address, call)


async def workspace(opened: TwentyClient) -> WorkspaceAddress:
    """An active workspace of the service account."""
    created = await opened.create_workspace("Acme", f"acme-{uuid4().hex[:8]}")
    await opened.enter(created)
    address = created.address
    assert await opened.activate_workspace(address) == "ACTIVE"
    return address


async def joined(opened: TwentyClient, account: Account, address: WorkspaceAddress) -> None:
    """The account comes in by the workspace's invite link."""
    await opened.join(account, address, (await opened.invite_links.read(address)).hash)


def sql(server: StandInTwenty, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """The rows that a statement answers in Twenty's own database."""
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def workspaces(server: StandInTwenty) -> int:
    """How many workspaces the server has."""
    return int(sql(server, "SELECT count(*) FROM core.workspace")[0][0])


def person(email: str | None = None, password: str | None = None, user_id: str | None = None) -> Account:
    """An account by the password that we derive, or by another; without an e-mail, a new one."""
    email = email or f"{uuid4().hex[:8]}@acme.test"
    return Account(email, SecretStr(password) if password else derived_password(KEY, email), user_id)


def role_of(server: StandInTwenty, email: str) -> list[tuple[Any, ...]]:
    """The role in each workspace of which the account is a member."""
    return sql(
        server,
        """SELECT r.label FROM core."userWorkspace" uw JOIN core."user" u ON u.id = uw."userId"
           LEFT JOIN core."roleTarget" t ON t."userWorkspaceId" = uw.id LEFT JOIN core.role r ON r.id = t."roleId"
           WHERE u.email = %s AND uw."deletedAt" IS NULL""",
        email,
    )
