"""The embedded Postgres."""

import json
import os
import warnings
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from provisioning_pipeline.sandbox.postgres import PostgresUnavailableError, SandboxPostgres, free_port


def test_databases_come_and_go(sandbox_postgres: SandboxPostgres) -> None:
    url = sandbox_postgres.create_database("come-and-go")
    sandbox_postgres.execute("come-and-go", "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)")

    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("SELECT sum(n) FROM t").fetchone() == (3,)
        sandbox_postgres.drop_database("come-and-go")
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT 1")
    assert "come-and-go" not in sandbox_postgres.databases()
    sandbox_postgres.drop_database("come-and-go")


def test_a_copy_of_a_template_and_parameters(sandbox_postgres: SandboxPostgres) -> None:
    sandbox_postgres.create_database("original")
    sandbox_postgres.execute("original", "CREATE TABLE t (n int)")
    sandbox_postgres.execute("original", "INSERT INTO t VALUES (%s)", [7])
    sandbox_postgres.create_databases(["copy_1", "copy_2", "copy_3"], template="original")

    assert sandbox_postgres.execute("copy_3", "SELECT n FROM t WHERE n = %(n)s", {"n": 7}) == [(7,)]
    for name in ("copy_1", "copy_2", "copy_3", "original"):
        sandbox_postgres.drop_database(name)


def test_urls_are_loopback_and_hold_a_password(sandbox_postgres: SandboxPostgres) -> None:
    parts = conninfo_to_dict(sandbox_postgres.url("name with space"))

    assert parts["host"] == "127.0.0.1"
    assert parts["port"] == str(sandbox_postgres.port)
    assert len(str(parts["password"])) >= 16
    assert parts["dbname"] == "name with space"


@pytest.mark.slow
def test_a_second_start_finds_everything_again(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with SandboxPostgres(tmp_path) as first:
            url = first.create_database("kept")
        assert not first.running

    with SandboxPostgres(tmp_path) as second:
        assert second.url("kept") == url
        assert "kept" in second.databases()
        second.start()
        other = SandboxPostgres(tmp_path)
        with pytest.raises(PostgresUnavailableError, match="another sandbox"):
            other.start()
        abandon(second)
        # The owner is gone, its server still runs: it is replaced.
        with other:
            assert "kept" in other.databases()


def abandon(postgres: SandboxPostgres) -> None:
    """As if the process that started it had been killed."""
    SandboxPostgres._running.discard(postgres.data)
    notes = json.loads((postgres.data / "postgres.json").read_text())
    notes["owner_pid"] = 2**22 + 1
    (postgres.data / "postgres.json").write_text(json.dumps(notes))


def test_the_folder_of_a_living_process_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "postmaster.pid").write_text("1\n")
    (tmp_path / "postgres.json").write_text(json.dumps({"owner_pid": os.getppid()}))

    with pytest.raises(PostgresUnavailableError, match=f"process {os.getppid()}"):
        SandboxPostgres(tmp_path).start()


def test_a_taken_port_is_not_insisted_on(sandbox_postgres: SandboxPostgres) -> None:
    assert free_port(sandbox_postgres.port) != sandbox_postgres.port
    spare = free_port()
    assert free_port(spare) == spare
