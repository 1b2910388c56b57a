"""Makes and updates the ledger's schema with Alembic."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, LiteralString, TypeVar

from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import LockNotAvailable
from psycopg.rows import TupleRow

from provisioning_pipeline.clients.postgres import PATIENCE_SECONDS, Database, Parameters, Query, Row, without_secrets
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.ledger.database import ledger_at
from provisioning_pipeline.ledger.revisions import (
    HEAD,
    OTHER_TABLES,
    SCHEMA,
    has_ledger,
    must_be_known,
    registry_refused,
    revision,
)
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.settings import GatewaySettings

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")
REQUEST_REVIEWS: Final[LiteralString] = """
UPDATE provisioning.tenant_link SET marked_at = greatest(marked_at, now()) WHERE database_name = ANY(%s)
"""
"""The older of two requests may be the last to end: the time of a request never moves back."""
_FIRST_WAIT_SECONDS = 60.0
"""For the lock of those who make a ledger where there is none: any role that may connect could hold it."""
_END_HOLDERS = (
    "SELECT pid, usename, pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
)


class LedgerTables:
    """Some tables of the ledger, in the registry's database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def fetch_if_made(self, query: Query, parameters: Parameters = None) -> list[Row]:
        """The rows of a query; none before there is a ledger. Raises as `has_ledger`."""
        return await self.database.fetch(query, parameters) if await has_ledger(self.database) else []

    async def tuples_if_made(self, query: Query, parameters: Parameters = None) -> list[TupleRow]:
        """The same, as tuples."""
        return await self.database.fetch_tuples(query, parameters) if await has_ledger(self.database) else []


def columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    """Rows, of which there is one at least, as the columns that `unnest` takes."""
    return [list(column) for column in zip(*rows, strict=True)]


async def bring_up_to_date(database: Database, settings: GatewaySettings) -> None:
    """Migrate the ledger in this database if it is at another revision. Raises as `revision` and `migrate`."""
    if await revision(database) != HEAD:
        await asyncio.to_thread(migrate, settings.registry_url.get_secret_value())


def migrate(url: str) -> None:
    """Bring the ledger to this code's revision. Safe to call at any time, also by two processes at once.

    Raises:
        Fault: when the database refuses, with the right that is missing.
        OtherLedger: when it is of a later version, or was restored in part.
    """
    from alembic import command
    from psycopg import Error
    from sqlalchemy.exc import DBAPIError

    config = alembic_config(url)
    config.attributes["check"] = lambda found: must_be_known(found, without_secrets(url))
    config.attributes["other_tables"] = OTHER_TABLES
    try:
        command.upgrade(config, "head")
    except (DBAPIError, Error) as error:
        cause = (isinstance(error, DBAPIError) and error.orig) or error
        if isinstance(cause, LockNotAvailable):
            raise Fault(
                FaultKind.BUSY,
                Reason.REGISTRY_REFUSED,
                f"Schema {SCHEMA} was not made in {without_secrets(url)}: the lock for making it was not free "
                f"within {_FIRST_WAIT_SECONDS:g} s. Where no other process of this program is at it, an administrator "
                f"ends the session that holds it: {_END_HOLDERS}.",
            ) from None
        raise registry_refused(
            f"Schema {SCHEMA} cannot be made or updated in {without_secrets(url)}: {first_line(cause)}. "
            f"Have its owner run CREATE SCHEMA {SCHEMA} AUTHORIZATION <our user>, or grant it CREATE on the database."
        ) from None


def alembic_config(url: str) -> "Config":
    """Alembic's configuration, without a file; the URL travels as an attribute so that it is never rendered."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["conninfo"] = conninfo_to_dict(url)
    config.attributes["first_wait_milliseconds"] = round(_FIRST_WAIT_SECONDS * 1000)
    return config


def ledger_database(
    settings: GatewaySettings,
    *,
    read_only: bool,
    most_connections: int = 1,
    patience_seconds: float = PATIENCE_SECONDS,
    most_of_all: int | None = None,
) -> Database:
    """As `ledger_at`, by the settings."""
    return ledger_at(
        settings.registry_url.get_secret_value(),
        read_only=read_only,
        most_connections=most_connections,
        patience_seconds=patience_seconds,
        most_of_all=most_of_all,
    )


async def in_ledger(settings: GatewaySettings, read: Callable[[Database], Awaitable[T]]) -> T:
    """What `read` finds in the ledger, over a connection of its own that cannot write."""
    async with ledger_database(settings, read_only=True) as database:
        return await read(database)
