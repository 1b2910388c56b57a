"""Runs the migrations over psycopg 3, one process at a time."""

from typing import Any

import psycopg
from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

LOCK = 7_301_552_004
"""Advisory lock of the migrations; any number that nothing else uses."""


def run() -> None:
    """Upgrade online; there is no offline mode, because the lock needs a connection."""
    conninfo: dict[str, Any] = context.config.attributes["conninfo"]
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(**conninfo), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        # not IF NOT EXISTS: that needs the right to create schemas even where the schema stands already
        if connection.scalar(text("SELECT to_regnamespace('provisioning') IS NULL")):
            connection.execute(text("CREATE SCHEMA provisioning"))
        elif connection.scalar(text("SELECT to_regclass('provisioning.alembic_version') IS NOT NULL")):
            # under the lock, so that nobody changes it between this look and what follows
            found = connection.scalars(text("SELECT version_num FROM provisioning.alembic_version")).all()
            check = context.config.attributes.get("check")
            if check and (found or connection.scalar(text(context.config.attributes["other_tables"]))):
                check(found)
        context.configure(connection=connection, version_table_schema="provisioning", transactional_ddl=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


run()
