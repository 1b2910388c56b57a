"""A PostgreSQL with many tenant databases and a ledger, and how many queries it has answered."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from provisioning_pipeline.ledger import schema
from provisioning_pipeline.sandbox.hand_made import CREATE_PROFILE, INVITE_TEAM, insert_onboarding, insert_workspace
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.registry import SeededMember
from provisioning_pipeline.sandbox.twenty import core_sql

LEDGER = "ledger"
PATTERN = "^tenant_[0-9]+$"
_TEMPLATE = "tenant_template"
_AT_A_TIME = 50
_LOGGED_QUERY = re.compile(rb"LOG:  (?:statement|execute [^:]+): ")
_PEOPLE = [
    SeededMember(f"person{number}@acme.example", "Pat", f"Number {number}", f"user_{number}", "org:member")
    for number in range(5)
]


class Fleet:
    """The running server.

    Args:
        names: the tenant databases.
    """

    def __init__(self, postgres: SandboxPostgres, names: list[str]) -> None:
        self._postgres = postgres
        self.names = names
        self.url = postgres.url()
        self.ledger_url = postgres.url(LEDGER)

    @contextmanager
    def counted(self) -> Iterator[Callable[[], int]]:
        """How many queries the server has been sent by sessions that began meanwhile, in whichever database."""
        ((folder,),) = self._postgres.execute("postgres", "SHOW data_directory")
        log = Path(folder) / "log"
        self._postgres.execute("postgres", "ALTER ROLE postgres SET log_statement = 'all'")
        begun = log.stat().st_size
        try:
            yield lambda: len(_LOGGED_QUERY.findall(log.read_bytes()[begun:]))
        finally:
            self._postgres.execute("postgres", "ALTER ROLE postgres RESET log_statement")


@contextmanager
def fleet(databases: int, progress: Callable[[int], None]) -> Iterator[Fleet]:
    """So many tenant databases. `progress` is told how many there are, now and then."""
    with tempfile.TemporaryDirectory(prefix="provisioning-flags-", ignore_cleanup_errors=True) as folder:
        # a server that root starts belongs to another user, who must be able to pass through
        Path(folder).chmod(0o755)
        with SandboxPostgres(Path(folder), keep=False) as postgres:
            # it is a writer too: it analyzes pg_database from within some tenant database, which is then looked into
            postgres.execute("postgres", "ALTER SYSTEM SET autovacuum = off")
            postgres.execute("postgres", "SELECT pg_reload_conf()")
            schema.migrate(postgres.create_database(LEDGER))
            _make_template(postgres)
            names = [f"tenant_{number:06d}" for number in range(databases)]
            for begin in range(0, databases, _AT_A_TIME):
                postgres.create_databases(names[begin : begin + _AT_A_TIME], template=_TEMPLATE)
                progress(min(begin + _AT_A_TIME, databases))
            yield Fleet(postgres, names)


def _make_template(postgres: SandboxPostgres) -> None:
    postgres.create_database(_TEMPLATE)
    postgres.execute(_TEMPLATE, core_sql())
    with postgres.connect(_TEMPLATE) as connection:
        acme = insert_workspace(connection, "acme", "Acme", _PEOPLE, database_schema="workspace_acme")
        insert_onboarding(connection, INVITE_TEAM, value=True, user_id=None, workspace_id=acme.id)
        for user_id in acme.users:
            insert_onboarding(connection, CREATE_PROFILE, value=True, user_id=user_id, workspace_id=acme.id)
