"""A living fleet: the sandbox behind proxies, the runs that work on it, and what the campaign knows of its past."""

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import psycopg

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.sandbox.postgres import free_port
from provisioning_pipeline.sandbox.preexisting import Server
from provisioning_pipeline.sandbox.sandbox import SERVICE_EMAIL, Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.campaign.drawing import FleetScript
from provisioning_pipeline_tests.campaign.processes import Cut, Run, start, warm_up
from provisioning_pipeline_tests.campaign.proxy import Proxy
from provisioning_pipeline_tests.http.services import key_of
from provisioning_pipeline_tests.world import settings_of

Item = TypeVar("Item")
UNKNOWN_ID = "nobody is there for it"
"""What an action says that finds nobody it could happen to."""
SLOTS = ("a", "b")
"""Names of the runs that may be at work at once; `s` is the HTTP API."""
_SERVING = "s"


@dataclass
class Tenant:
    """A customer, and what the campaign remembers of it.

    Args:
        organization: its organization at Clerk by the registry row, whether that is still there or not.
        members: e-mails of all who were ever members of it at Clerk.
        strangers: e-mails of those who joined its workspace on their own.
        home: the one workspace that is its own, once it was seen.
        kept_row: its registry row while that is deleted.
        lacks: why it can have no workspace, if it cannot: `database` or `whole database`.
        had_row: the tenant manager once registered it.
    """

    slug: str
    database: str
    organization: str | None
    members: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)
    home: str | None = None
    kept_row: dict[str, Any] | None = None
    lacks: str = ""
    had_row: bool = True

    def owns(self, subdomain: str) -> bool:
        """Whether a workspace at this address was made for this tenant."""
        return re.fullmatch(rf"{re.escape(self.slug)}(-[0-9a-f]{{8}}|-[0-9a-f]{{12}})?", subdomain) is not None


@dataclass(frozen=True)
class RealTwenty:
    """A real server to work on in place of the stand-in."""

    base_url: str
    database_url: str
    empty: str
    """Command that empties it; it is run before each fleet."""


class Fleet:
    """Everything that one fleet consists of. Use as a context manager.

    Args:
        script: how it begins, and by which policies.
        folder: where the evidence goes: output of the runs, reports.
        real: a real, empty Twenty in place of the stand-in.
    """

    sandbox: Sandbox
    twenty: Proxy
    clerk: Proxy

    def __init__(self, script: FleetScript, folder: Path, real: RealTwenty | None = None) -> None:
        self.script = script
        self.folder = folder
        self.real = real
        self.tenants: list[Tenant] = []
        self.runs: list[Run] = []
        self.log: list[str] = []
        self.violations: list[str] = []
        self.changed_emails: dict[str, str] = {}
        """Clerk user → the address that they had before it was changed, and not yet changed back."""
        self.earlier_emails: dict[str, set[str]] = {}
        """Clerk user → every address that they had once: their account at Twenty has that with which they came in."""
        self.touched: set[tuple[str, str]] = set()
        """Database and e-mail of those whose membership this episode changed on purpose; `*` for all of a tenant."""
        self.settings: dict[str, str] = {}
        """Settings that differ from those of the campaign."""
        self.row_deleted = False
        """A known registry row was deleted in this episode."""
        self.mails_expected = 0
        self.answers: list[str] = []
        """What the HTTP API answered to the tenant manager."""
        self.numbers = 0
        self._stack = ExitStack()
        self._serving: Run | None = None
        self._port = 0
        self._key: str | None = None
        self._connections: dict[str, psycopg.Connection[tuple[Any, ...]]] = {}

    # --- living

    def __enter__(self) -> Self:
        if self.real:
            subprocess.run(shlex.split(self.real.empty), check=True, capture_output=True)
        warm_up()
        with ExitStack() as stack:
            options = SandboxOptions(
                tenants=min(self.script.tenants, 3) if self.real else self.script.tenants,
                members=self.script.members,
                twenty=(TwentyOptions(activation_seconds=0.02),),
            )
            self.sandbox = stack.enter_context(Sandbox(options))
            upstream = self.real.base_url if self.real else self.sandbox.twenty[0].base_url
            self.twenty, self.clerk = Proxy(upstream), Proxy(self.sandbox.clerk.frontend_url)
            for proxy in (self.twenty, self.clerk):
                proxy.start()
                stack.callback(proxy.stop)
            self.tenants = [
                Tenant(tenant.slug, tenant.database_name, tenant.clerk_org_id) for tenant in self.sandbox.tenants
            ]
            self._port = free_port()
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        for connection in self._connections.values():
            connection.close()
        for run in [*self.runs, *([self._serving] if self._serving else [])]:
            run.kill()
            run.wait(10)

    # --- how the program is set up

    def environment(self, slot: str) -> dict[str, str]:
        """The settings of the process of this name."""
        environment = self.sandbox.environment() | {
            "PROVISIONING_TWENTY_BASE_URL": self.twenty.url(slot),
            "PROVISIONING_CLERK_BASE_URL": f"{self.clerk.url(slot)}/v1",
            "PROVISIONING_REQUEST_TIMEOUT_SECONDS": "30" if self.real else "5",
            "PROVISIONING_ACTIVATION_TIMEOUT_SECONDS": "60" if self.real else "6",
            "PROVISIONING_LOCK_WAIT_SECONDS": "4",
            "PROVISIONING_SESSION_CACHE_SECONDS": "0",
            "PROVISIONING_SIGN_INS_PER_MINUTE": "1000",
            "PROVISIONING_MEMBERS_GONE": self.script.gone,
            "PROVISIONING_HARM_SHARE": "1.0",
            "PROVISIONING_ONBOARDING_PEOPLE": "everyone" if self.script.everyone else "ours",
            "PROVISIONING_REPORT_PATH": str(self.folder / "reports"),
        }
        if self.real:
            environment["PROVISIONING_TWENTY_DATABASE_URL"] = self.real.database_url
        return environment | self.settings

    @property
    def service_email(self) -> str:
        """Our account at Twenty."""
        return SERVICE_EMAIL

    def password_of(self, email: str) -> str:
        """The password of an account that the program made."""
        from pydantic import SecretStr

        key = SecretStr(self.environment("a")["PROVISIONING_MEMBER_PASSWORD_KEY"])
        return derived_password(key, email).get_secret_value()

    @property
    def secrets(self) -> set[str]:
        """Everything that may stand in no output."""
        environment = self.environment("a")
        found = {
            environment[f"PROVISIONING_{name}"]
            for name in ("TWENTY_SERVICE_PASSWORD", "CLERK_SECRET_KEY", "MEMBER_PASSWORD_KEY", "CLERK_WEBHOOK_SECRET")
        }
        return found | {self.sandbox.registry_url.split(":")[2].split("@")[0], "eyJhbGciOi"}

    # --- asking, over connections of the campaign's own

    def sql(self, url: str, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[Any]:
        """Rows of one statement, or of several without parameters. A connection that broke is made anew."""
        for attempt in (1, 2):
            connection = self._connections.get(url)
            if connection is None or connection.closed:
                connection = psycopg.connect(url, autocommit=True, application_name="campaign", connect_timeout=10)
                self._connections[url] = connection
            try:
                cursor = connection.execute(query.encode(), parameters)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                if attempt == 2 or not connection.broken:
                    raise
        return []

    def registry(self, query: str, *parameters: Any) -> list[Any]:
        """Rows from the registry's database, which also holds the ledger."""
        return self.sql(self.sandbox.registry_url, query, parameters or None)

    def core(self, query: str, *parameters: Any) -> list[Any]:
        """Rows from Twenty's database."""
        return self.sql(self.twenty_database_url, query, parameters or None)

    def cluster(self, query: str, *parameters: Any) -> list[Any]:
        """Rows from the tenant cluster."""
        return self.sql(self.sandbox.postgres.url(), query, parameters or None)

    @property
    def twenty_database_url(self) -> str:
        """Twenty's own database."""
        return self.real.database_url if self.real else self.sandbox.twenty[0].database_url

    def service(self) -> Server:
        """Twenty as our service account sees it, past the proxy. Close it."""
        password = self.environment("a")["PROVISIONING_TWENTY_SERVICE_PASSWORD"]
        return Server(self.twenty.upstream, self.twenty_database_url, SERVICE_EMAIL, password, "localhost")

    def row(self, tenant: Tenant) -> dict[str, Any] | None:
        """The tenant's registry row."""
        rows = self.registry("SELECT to_jsonb(t) FROM tenant_registry t WHERE database_name = %s", tenant.database)
        return dict(rows[0][0]) if rows else None

    def mails(self) -> int:
        """How many e-mails left the stand-in."""
        return 0 if self.real else len(self.sandbox.twenty[0].mails)

    @property
    def most_tenants(self) -> int:
        """More are not made: a real server without a key holds five workspaces, and one of them may be half made."""
        return 4 if self.real else 8

    # --- choosing

    @staticmethod
    def pick(items: Sequence[Item], number: float) -> Item | None:
        """One of these, by a number between 0 and 1; None of none."""
        return items[int(number * len(items))] if items else None

    def next_number(self) -> int:
        """A number that nothing in this fleet has yet."""
        self.numbers += 1
        return self.numbers

    # --- runs

    def run(self, *arguments: str, cut: Cut | None = None, defect: str | None = None, slot: str | None = None) -> Run:
        """Begin a run. Where two are at work already, the older one comes to its end first."""
        while slot is None:
            busy = {run.slot for run in self.runs if run.alive}
            free = [name for name in SLOTS if name not in busy]
            if free:
                slot = free[0]
            else:
                next(run for run in self.runs if run.alive).wait()
        run = start(
            f"{len(self.runs):03d}-{arguments[0]}",
            slot,
            arguments,
            self.environment(slot),
            self.folder / "runs",
            cut=cut,
            defect=defect,
        )
        self.runs.append(run)
        return run

    def wait_for_runs(self) -> None:
        """Return once no run is at work."""
        for run in self.runs:
            run.wait()

    # --- the HTTP API

    def served(self) -> str:
        """The address of `provisioning serve`, begun anew if it was killed."""
        url = f"http://127.0.0.1:{self._port}"
        if self._serving is None or not self._serving.alive:
            self._serving = start(
                f"serve-{self.next_number():03d}",
                _SERVING,
                ("serve", "--port", str(self._port)),
                self.environment(_SERVING),
                self.folder / "serve",
            )
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and self._serving.alive:
                with suppress(httpx2.HTTPError):
                    if httpx2.get(f"{url}/healthz", timeout=2).status_code == 200:
                        break
                time.sleep(0.05)
        return url

    def stop_serving(self) -> None:
        """Kill the process that serves; the next request begins another."""
        if self._serving is not None:
            self._serving.kill()
            self._serving.wait(10)
        self._serving = None

    def api_key(self) -> str:
        """The tenant manager's key to the HTTP API."""
        if self._key is None:
            schema.migrate(self.sandbox.registry_url)
            self._key = key_of(settings_of(self.environment("a")))
        return self._key

    @property
    def serving(self) -> Run | None:
        """The process that serves, if one was begun."""
        return self._serving

    # --- between episodes

    def begin_episode(self) -> None:
        """Forget what belonged to the last episode alone."""
        self.runs.clear()
        self.log.clear()
        self.violations.clear()
        self.answers.clear()
        self.row_deleted = False
        self.touched.clear()
        self.twenty.forget()
        self.clerk.forget()
        shutil.rmtree(self.folder / "runs", ignore_errors=True)
        shutil.rmtree(self.folder / "reports", ignore_errors=True)

    def calm(self) -> None:
        """No more trouble: faults off, servers up, and five minutes pass for activations that were cut off."""
        self.wait_for_runs()
        self.twenty.troubles.clear()
        self.clerk.troubles.clear()
        if not self.real:
            self.sandbox.twenty[0].faults.hanging = False
            # its pooled connections may be broken, and each would cost one answer
            self.sandbox.twenty[0].restart()
        self.core(
            'UPDATE core.workspace SET "updatedAt" = "updatedAt" - interval \'6 minutes\''
            " WHERE \"activationStatus\" = 'ONGOING_CREATION'"
        )

    def session_token(self, user_id: str, organization: str) -> str:
        """A session of this member, as Clerk signs it."""
        return self.sandbox.clerk.session_token(user_id, organization)

    def dump(self) -> str:
        """All of the ledger as text."""
        tables = self.registry("SELECT tablename FROM pg_tables WHERE schemaname = 'provisioning'")
        found = {
            name: [row[0] for row in self.registry(f"SELECT to_jsonb(t) FROM provisioning.{name} t")]
            for (name,) in tables
        }
        return json.dumps(found, indent=1, default=str)
