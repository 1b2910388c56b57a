"""Registry, ledger, tenant database and Clerk to throw away, from the sandbox: where a tenant's life is tried."""

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from psycopg import sql
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from provisioning_pipeline.ledger import schema
from provisioning_pipeline.sandbox.clerk import ClerkOptions, StandInClerk
from provisioning_pipeline.sandbox.postgres import PostgresUnavailableError, SandboxPostgres
from provisioning_pipeline.sandbox.registry import REGISTRY_DATABASE, TABLES, SeededTenant, tenant_id, write_tenants
from provisioning_pipeline.settings import Settings, TwentyServer
from provisioning_pipeline.tasks.certify.tenant import Person

_FOLDER = "provisioning-certify-"
_HELD = "held"
_PRISTINE, _SAVED = "pristine", "saved"
_TENANT = "twenty_tenant_certify"


class GivenSettings(Settings):
    """Settings that are exactly what is given: neither the environment nor a .env file has a say in them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given to the constructor, and nothing else."""
        return (init_settings,)


class SandboxBench:
    """A bench on an embedded PostgreSQL and a stand-in Clerk, around one real server."""

    def __init__(
        self, postgres: SandboxPostgres, clerk: StandInClerk, reports: Path, settings: Settings, server: TwentyServer
    ) -> None:
        self._postgres = postgres
        self._clerk = clerk
        self._reports = reports
        self._operators = settings
        self._server = server
        self._organization = ""
        self._people: dict[str, tuple[str, str]] = {}
        postgres.create_databases([_PRISTINE, _TENANT])
        postgres.execute(_PRISTINE, TABLES)
        schema.migrate(postgres.url(_PRISTINE))

    def settings(self, *, members_gone: str) -> Settings:
        """Settings of a standard installation; the server and the waits are the operator's."""
        theirs = self._operators
        given: dict[str, Any] = {
            "registry_url": self._postgres.url(REGISTRY_DATABASE),
            "tenant_cluster_url": self._postgres.url("postgres"),
            "twenty_servers": [self._server.model_dump() | {"capacity": None, "tenants": None}],
            "allow_http_hosts": theirs.allow_http_hosts,
            "clerk_base_url": self._clerk.base_url,
            "clerk_secret_key": self._clerk.secret_key,
            "member_password_key": theirs.member_password_key,
            "members_gone": members_gone,
            "suspended": "lock",
            "gone_grace_days": 0.0,
            "export_path": str(self._reports / "exports"),
            "report_path": str(self._reports),
            "request_timeout_seconds": theirs.request_timeout_seconds,
            "activation_timeout_seconds": theirs.activation_timeout_seconds,
            # one call after the other, so that every life makes the same calls in the same order
            "twenty_concurrency": 1,
        }
        return GivenSettings(**given)

    def begin(self, slug: str, name: str, people: tuple[Person, ...]) -> None:
        """One new tenant with its organization, and an empty ledger."""
        self._copy(_PRISTINE, REGISTRY_DATABASE)
        self._clerk.clear()
        self._organization = self._clerk.add_organization(name, slug=slug).id
        self._people = {}
        for person in people:
            user = self._clerk.add_user(person.email, first_name=person.first_name, last_name=person.last_name)
            self._people[person.email] = (user.id, "org:admin" if person.admin else "org:member")
        self._everybody_in()
        tenant = SeededTenant(tenant_id(slug), slug, name, _TENANT, self._organization)
        with self._postgres.connect(REGISTRY_DATABASE) as registry:
            write_tenants(registry, [tenant], {_TENANT: self._postgres.url(_TENANT)})

    def save(self) -> None:
        """Remember registry and ledger as they are."""
        self._copy(REGISTRY_DATABASE, _SAVED)

    def restore(self) -> None:
        """Put them back, and the organization as it was at the beginning."""
        self._copy(_SAVED, REGISTRY_DATABASE)
        self._clerk.state.organization(self._organization).public_metadata.clear()
        self._everybody_in()

    def leave(self, email: str) -> None:
        """A person leaves the organization."""
        self._clerk.remove_membership(self._organization, self._people[email][0])

    def become(self, status: str) -> None:
        """The registry has this status of the tenant from now on."""
        self._postgres.execute(REGISTRY_DATABASE, "UPDATE tenant_registry SET status = %s", [status])

    def workspace_at_clerk(self) -> str | None:
        """The workspace id in the organization's public metadata."""
        found = self._clerk.state.organization(self._organization).public_metadata.get("twenty_workspace_id")
        return None if found is None else str(found)

    def _everybody_in(self) -> None:
        inside = {membership.user_id for membership in self._clerk.state.members_of(self._organization)}
        for user_id, role in self._people.values():
            if user_id not in inside:
                self._clerk.add_membership(self._organization, user_id, role)

    def _copy(self, source: str, target: str) -> None:
        self._postgres.drop_database(target)
        # a killed run's connections end a moment after it, and no session may be in a database that is copied
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        self._postgres.execute("postgres", end, [source])
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log")
        self._postgres.execute("postgres", statement.format(sql.Identifier(target), sql.Identifier(source)))


@contextmanager
def sandbox_bench(settings: Settings, server: TwentyServer) -> Iterator[SandboxBench]:
    """A bench that runs until the end of the block, and leaves nothing behind.

    Raises:
        PostgresUnavailableError: when the embedded PostgreSQL does not start.
    """
    _remove_what_a_kill_left()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    with _hold(folder):
        try:
            with SandboxPostgres(folder / "postgres", keep=False) as postgres, StandInClerk(ClerkOptions()) as clerk:
                yield SandboxBench(postgres, clerk, folder / "reports", settings, server)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _hold(folder: Path) -> Iterator[None]:
    """Hold a bench's folder until the end of the block; the system lets go of it when the process dies.

    Raises:
        OSError: another process holds it, or it is gone.
    """
    with (folder / _HELD).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _remove_what_a_kill_left() -> None:
    """Stop the servers of benches whose process is gone, and remove their folders."""
    for running in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*/postgres/cluster/postmaster.pid"):
        folder = running.parents[2]
        # one that starts or stops just now has no server to ask: only its hold on the folder tells
        with suppress(OSError), _hold(folder):
            with (
                suppress(PostgresUnavailableError, subprocess.SubprocessError),
                SandboxPostgres(folder / "postgres", keep=False),
            ):
                pass
            shutil.rmtree(folder, ignore_errors=True)
