"""Runs the migrations over psycopg 3, one process at a time."""

from typing import Any

import psycopg
from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

LOCK = 7_301_552_004
"""Advisory lock of those who make a ledger where there is none; any number that nothing else uses."""


def run() -> None:
    """Upgrade online; there is no offline mode, because the lock needs a connection."""
    conninfo: dict[str, Any] = context.config.attributes["conninfo"]
    engine = create_engine(
        "postgresql+psycopg://",
        # through a pooler, the next statement may meet another session
        creator=lambda: psycopg.connect(**conninfo, prepare_threshold=None),
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        # a timeout that was set for our role is for queries; a migration that is cut would be tried for ever
        for timeout in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {timeout} = 0"))
        if connection.scalar(text("SELECT current_setting('transaction_timeout', true)")) is not None:
            connection.execute(text("SET LOCAL transaction_timeout = 0"))
        # names of our own are qualified, and no others are meant
        connection.execute(text("SET LOCAL search_path = pg_catalog, pg_temp"))
        there = text("SELECT to_regclass('provisioning.alembic_version') IS NOT NULL")
        if not connection.scalar(there):
            wait = context.config.attributes["first_wait_milliseconds"]
            connection.execute(text(f"SET LOCAL lock_timeout = {wait:d}"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            connection.execute(text("SET LOCAL lock_timeout = 0"))
        # not IF NOT EXISTS: that needs the right to create schemas even where the schema stands already
        if connection.scalar(text("SELECT to_regnamespace('provisioning') IS NULL")):
            connection.execute(text("CREATE SCHEMA provisioning"))
        elif connection.scalar(there):
            # which only those can take who may write to the ledger
            connection.execute(text("LOCK TABLE provisioning.alembic_version IN SHARE ROW EXCLUSIVE MODE"))
            # under the lock, so that nothing changes it between this look and what follows
            found = connection.scalars(text("SELECT version_num FROM provisioning.alembic_version")).all()
            check = context.config.attributes.get("check")
            if check and (found or connection.scalar(text(context.config.attributes["other_tables"]))):
                check(found)
        context.configure(connection=connection, version_table_schema="provisioning", transactional_ddl=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


run()
