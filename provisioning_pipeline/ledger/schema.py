"""Makes and updates the ledger's schema with Alembic."""

from pathlib import Path
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict

from provisioning_pipeline.clients.postgres import Database, without_secrets
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

if TYPE_CHECKING:
    from alembic.config import Config

SCHEMA = "provisioning"
HEAD = "0007"
"""The revision that this code works with; a test compares it with Alembic's own head."""


async def revision(database: Database) -> str | None:
    """The revision of the ledger in this database, or None when there is no ledger yet."""
    if not await exists(database):
        return None
    rows = await database.fetch("SELECT version_num FROM provisioning.alembic_version")
    return str(rows[0]["version_num"]) if rows else None


async def exists(database: Database) -> bool:
    """Whether there is a ledger, of this version or of an earlier one."""
    rows = await database.fetch("SELECT to_regclass('provisioning.alembic_version') IS NOT NULL AS found")
    return bool(rows[0]["found"])


async def has_ledger(database: Database) -> bool:
    """Whether the ledger's tables are there.

    Raises:
        Fault: when they are those of an earlier version of this program.
    """
    rows = await database.fetch(
        """
        SELECT to_regclass('provisioning.alembic_version') IS NOT NULL AS found,
               to_regclass('provisioning.certificate') IS NOT NULL AND EXISTS (
                   SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('provisioning.tenant_link')
                   AND attname = 'registered_at' AND NOT attisdropped
               ) AS current
        """
    )
    if rows[0]["found"] and not rows[0]["current"]:
        raise Fault(
            FaultKind.SERVER,
            Reason.REGISTRY_REFUSED,
            f"The ledger in {database.where} was made by an earlier version of this program. Run `provisioning "
            "migrate`: it keeps everything that is there.",
        )
    return bool(rows[0]["found"])


def migrate(url: str) -> None:
    """Bring the ledger to this code's revision. Safe to call at any time, also by two processes at once.

    Raises:
        Fault: when the database refuses, with the right that is missing.
    """
    from alembic import command
    from psycopg import Error
    from sqlalchemy.exc import DBAPIError

    try:
        command.upgrade(alembic_config(url), "head")
    except (DBAPIError, Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise Fault(
            FaultKind.SERVER,
            Reason.REGISTRY_REFUSED,
            f"Schema {SCHEMA} cannot be made or updated in {without_secrets(url)}: {str(cause).splitlines()[0]}. "
            f"Have its owner run CREATE SCHEMA {SCHEMA} AUTHORIZATION <our user>, or grant it CREATE on the database.",
        ) from None


def alembic_config(url: str) -> "Config":
    """Alembic's configuration, without a file; the URL travels as an attribute so that it is never rendered."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["conninfo"] = conninfo_to_dict(url)
    return config
