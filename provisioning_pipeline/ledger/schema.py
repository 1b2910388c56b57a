"""Makes and updates the ledger's schema with Alembic."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Final, LiteralString, TypeVar

from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege, LockNotAvailable, UndefinedTable
from psycopg.rows import TupleRow

from provisioning_pipeline.clients.postgres import PATIENCE_SECONDS, Database, Parameters, Query, Row, without_secrets
from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import BadInput, Fault, FaultKind
from provisioning_pipeline.settings import GatewaySettings

if TYPE_CHECKING:
    from alembic.config import Config

T = TypeVar("T")
SCHEMA = "provisioning"
HEAD = "0016"
"""The revision that this code works with; a test compares it with Alembic's own head."""
OTHER_TABLES: Final = """
SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('provisioning') AND relkind = 'r'
AND relname <> 'alembic_version' LIMIT 1
"""
"""A row when the schema holds more than the table that says at which revision it is."""
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
_KNOWN = frozenset(f"{number:04}" for number in range(1, int(HEAD) + 1))
_later_is_fine: ContextVar[bool] = ContextVar("later_is_fine", default=False)


class OtherLedger(BadInput):
    """The ledger is none that this version of the program can work on; the text says which and what to do."""


@contextmanager
def beside_later_versions() -> Iterator[None]:
    """Go on with a ledger that a later version has updated meanwhile, as a server does that was started before.

    Migrations only add: what this version reads and writes stays where it is. A run does not go on so, because it would
    decide by another version than the ledger's.
    """
    token = _later_is_fine.set(True)
    try:
        yield
    finally:
        _later_is_fine.reset(token)


def registry_refused(message: str) -> Fault:
    """What is in the way in the registry's database, which a person has to put right."""
    return Fault(FaultKind.SERVER, Reason.REGISTRY_REFUSED, message)


async def revision(database: Database) -> str | None:
    """The revision of the ledger in this database, or None when there is no ledger yet.

    Raises:
        OtherLedger: when this version cannot work on it, nor bring it up to date.
    """
    try:
        return (await _state(database))[0]
    except UndefinedTable:
        return None


async def _state(database: Database) -> tuple[str | None, bool]:
    """The revision, and whether the newest table is there."""
    try:
        rows = await database.fetch(
            "SELECT version_num, to_regclass('provisioning.webhook_delivery') IS NOT NULL AS whole "
            "FROM provisioning.alembic_version"
        )
    except InsufficientPrivilege as error:
        (role,) = await database.fetch("SELECT quote_ident(current_user) AS name")
        raise registry_refused(
            f"Our user may not read the ledger in {database.where}, because schema {SCHEMA} belongs to another role. "
            f"Have its owner run: GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role['name']}; "
            f"GRANT ALL ON ALL TABLES IN SCHEMA {SCHEMA} TO {role['name']}; "
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO {role['name']}."
        ) from error
    found = [str(row["version_num"]) for row in rows]
    if not found and not await database.fetch(OTHER_TABLES):
        return None, False
    _must_be_known(found, database.where)
    return found[0], bool(rows[0]["whole"])


def _must_be_known(found: Sequence[str], where: str) -> None:
    """Refuse revisions that this version cannot bring up to date."""
    if not found:
        raise OtherLedger(
            f"The ledger in {where} has no revision ({SCHEMA}.alembic_version is empty): it was restored in part. "
            f"Restore the schema {SCHEMA} whole."
        )
    if len(found) > 1:
        raise OtherLedger(
            f"The ledger in {where} is at several revisions ({', '.join(sorted(found))}), so two versions of this "
            f"program have changed it. Restore the schema {SCHEMA} from before that."
        )
    (only,) = found
    if only in _KNOWN or (only.isdecimal() and _later_is_fine.get()):
        return
    made = "made by a later version of this program" if only.isdecimal() else "not made by this program"
    raise OtherLedger(
        f"The ledger in {where} is at revision {only}, and this version knows none after {HEAD}: it was {made}. "
        "Nothing was changed. Install the version that the rest of your processes run."
    )


async def has_ledger(database: Database) -> bool:
    """Whether the ledger's tables are there.

    Raises:
        Fault: when they are those of an earlier version of this program, or not all there.
        OtherLedger: as `revision`.
    """
    try:
        found, whole = await _state(database)
    except UndefinedTable:
        return False
    if found is not None and found < HEAD:
        raise registry_refused(
            f"The ledger in {database.where} was made by an earlier version of this program. Run `provisioning "
            "migrate`: it keeps everything that is there."
        )
    if found is not None and not whole:
        raise registry_refused(
            f"The ledger in {database.where} says that it is at revision {found}, but lacks tables of it: it was "
            f"restored in part. Restore the schema {SCHEMA} whole, then run `provisioning migrate`."
        )
    return found is not None


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
    config.attributes["check"] = lambda found: _must_be_known(found, without_secrets(url))
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
    """The database of registry and ledger, with what `Database` says of the rest. Opened on first use."""
    return Database(
        settings.registry_url.get_secret_value(),
        system="The tenant registry",
        unreachable=Reason.REGISTRY_UNREACHABLE,
        read_only=read_only,
        most_connections=most_connections,
        patience_seconds=patience_seconds,
        most_of_all=most_of_all,
    )


async def in_ledger(settings: GatewaySettings, read: Callable[[Database], Awaitable[T]]) -> T:
    """What `read` finds in the ledger, over a connection of its own that cannot write."""
    async with ledger_database(settings, read_only=True) as database:
        return await read(database)
