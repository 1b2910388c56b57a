"""The whole sandbox: Postgres, a seeded fleet, stand-in Clerk and stand-in Twenty, started together."""

import base64
import json
import secrets
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import httpx2

from provisioning_pipeline.sandbox import fleet
from provisioning_pipeline.sandbox.clerk import ClerkOptions, StandInClerk
from provisioning_pipeline.sandbox.clerk.stand_in import DEFAULT_OPTIONS as DEFAULT_CLERK
from provisioning_pipeline.sandbox.fleet import AddedTenant
from provisioning_pipeline.sandbox.postgres import SandboxPostgres, free_port
from provisioning_pipeline.sandbox.registry import REGISTRY_DATABASE, TEMPLATE_DATABASE, SeededTenant
from provisioning_pipeline.sandbox.roles import grant_everywhere, make_tenant_role
from provisioning_pipeline.sandbox.twenty.options import TwentyOptions

if TYPE_CHECKING:
    from provisioning_pipeline.sandbox.twenty import StandInTwenty

SERVICE_EMAIL = "provisioner@platform.test"


@dataclass(frozen=True)
class SandboxOptions:
    """What a sandbox holds.

    Args:
        tenants: how many fresh tenants; with a lived-in fleet, these come on top.
        members: people in each fresh tenant's organization, the admin included.
        fleet: `fresh`, or `lived-in` with one tenant in each state that a tenant manager leaves behind.
        broken: add a registry row whose database was never created.
        data: where everything is kept; None for a temporary folder that `stop` removes.
        twenty: one entry per Twenty server.
        clerk: settings of the stand-in Clerk.
    """

    tenants: int = 3
    members: int = 4
    fleet: Literal["fresh", "lived-in"] = "fresh"
    broken: bool = False
    data: Path | None = None
    twenty: tuple[TwentyOptions, ...] = (TwentyOptions(),)
    clerk: ClerkOptions = DEFAULT_CLERK


class Sandbox:
    """Everything that the pipeline talks to, on loopback ports. Use as a context manager, or start and stop.

    A second start on a kept data folder continues with the same databases, organizations and secrets, and
    with the same ports where they are free; the fleet is seeded only once.
    """

    postgres: SandboxPostgres
    clerk: StandInClerk
    twenty: list["StandInTwenty"]
    data: Path

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self.options = options or SandboxOptions()
        self.tenants: list[SeededTenant] = []
        self._running: ExitStack | None = None
        self._notes: dict[str, Any] = {}

    @property
    def registry_url(self) -> str:
        """The tenant manager's database."""
        return self.postgres.url(REGISTRY_DATABASE)

    @property
    def tenant_cluster_url(self) -> str:
        """The cluster that holds the tenant databases, as the role that opens them."""
        return self._tenant_cluster_url

    def start(self) -> Self:
        """Start everything; returns once all of it accepts connections."""
        if self._running is not None:
            return self
        with ExitStack() as stack:
            self.data = self._make_folder(stack)
            self._notes = self._read_notes()
            self.postgres = stack.enter_context(
                SandboxPostgres(self.data / "postgres", keep=self.options.data is not None)
            )
            self._tenant_cluster_url = make_tenant_role(self.postgres, self._secret("tenant_role_password", 16))
            self.clerk = stack.enter_context(self._make_clerk())
            self._seed_once()
            self.twenty = self._start_twenty(stack)
            self._notes["ports"] = {
                "clerk": _port(self.clerk.frontend_url),
                **{f"twenty-{number}": _port(server.base_url) for number, server in enumerate(self.twenty)},
            }
            self._write_notes()
            self._running = stack.pop_all()
        return self

    def stop(self) -> None:
        """Stop everything; a temporary data folder is removed. Safe to call twice."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """Every setting that the pipeline needs to work on this sandbox."""
        return {
            "PROVISIONING_REGISTRY_URL": self.registry_url,
            "PROVISIONING_TENANT_CLUSTER_URL": self.tenant_cluster_url,
            **self._twenty_environment(),
            "PROVISIONING_CLERK_BASE_URL": self.clerk.base_url,
            "PROVISIONING_CLERK_SECRET_KEY": self.clerk.secret_key,
            "PROVISIONING_CLERK_WEBHOOK_SECRET": self._webhook_secret(),
            "PROVISIONING_CLERK_ISSUERS": json.dumps([self.clerk.frontend_url]),
            "PROVISIONING_MEMBER_PASSWORD_KEY": self._secret("member_password_key", 32),
            "PROVISIONING_REPORT_PATH": str(self.data / "reports"),
        }

    def add_tenant(self, slug: str, name: str | None = None, members: int = 2) -> AddedTenant:
        """Add a tenant while everything runs, as its tenant manager would."""
        return fleet.add_tenant(
            registry_url=self.registry_url,
            clerk_base_url=self.clerk.base_url,
            clerk_secret_key=self.clerk.secret_key,
            slug=slug,
            name=name,
            members=members,
        )

    def tenant_count(self) -> int:
        """Rows in the registry now."""
        return int(self.postgres.execute(REGISTRY_DATABASE, "SELECT count(*) FROM tenant_registry")[0][0])

    def reset_counters(self) -> None:
        """Start counting calls anew at every stand-in."""
        self.clerk.reset_counters()
        for server in self.twenty:
            httpx2.post(f"{server.base_url}/sandbox/reset", trust_env=False).raise_for_status()

    # --- parts

    def _make_folder(self, stack: ExitStack) -> Path:
        if self.options.data is not None:
            folder = self.options.data.expanduser().resolve()
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        folder = Path(tempfile.mkdtemp(prefix="provisioning-sandbox-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _make_clerk(self) -> StandInClerk:
        options = self.options.clerk
        if self.options.data is not None and options.state_file is None:
            options = replace(options, state_file=self.data / "clerk.json")
        return StandInClerk(options, port=self._kept_port("clerk"))

    def _seed_once(self) -> None:
        if self._notes.get("seeded"):
            self._follow_moved_port()
            self._grant_once()
            return
        options = self.options
        if REGISTRY_DATABASE in self.postgres.databases():
            # A first start that died while seeding left part of a fleet.
            self._drop_half_seeded()
            self.clerk.clear()
        self.tenants = fleet.seed_fresh(self.postgres, self.clerk, tenants=options.tenants, members=options.members)
        if options.fleet == "lived-in":
            from provisioning_pipeline.sandbox.lived_in import seed_lived_in

            self.tenants += seed_lived_in(self.postgres, self.clerk)
        if options.broken:
            self.tenants.append(fleet.seed_broken(self.postgres, self.clerk))
        self.clerk.save()
        self._notes |= {"seeded": True, "granted": True, "cluster": self.postgres.url("")}
        self._write_notes()

    def _grant_once(self) -> None:
        """What was made before there was a role for tenant databases gets its rights."""
        if not self._notes.get("granted"):
            rows = self.postgres.execute(REGISTRY_DATABASE, "SELECT database_name FROM tenant_registry")
            named = {str(name) for (name,) in rows} | {TEMPLATE_DATABASE}
            grant_everywhere(self.postgres, named & self.postgres.databases())
            self._notes["granted"] = True

    def _drop_half_seeded(self) -> None:
        for name in self.postgres.databases() - {"postgres"}:
            self.postgres.drop_database(name)

    def _follow_moved_port(self) -> None:
        before, now = self._notes.get("cluster"), self.postgres.url("")
        if before and before != now:
            self.postgres.execute(
                REGISTRY_DATABASE,
                "UPDATE tenant_registry SET database_url = replace(database_url, %s, %s)",
                [before, now],
            )
            self._notes["cluster"] = now

    def _start_twenty(self, stack: ExitStack) -> list["StandInTwenty"]:
        from provisioning_pipeline.sandbox.twenty import StandInTwenty

        names = ["twenty" if number == 1 else f"twenty_{number}" for number in range(1, self._servers() + 1)]
        self.postgres.create_databases(sorted(set(names) - self.postgres.databases()))
        servers: list[StandInTwenty] = []
        for number, (name, options) in enumerate(zip(names, self.options.twenty, strict=True)):
            port = self._kept_port(f"twenty-{number}")
            server = StandInTwenty(self.postgres.url(name), options, port=port)
            server.start()
            stack.callback(server.stop)
            servers.append(server)
        return servers

    def _servers(self) -> int:
        return len(self.options.twenty)

    def _twenty_environment(self) -> dict[str, str]:
        password = self._secret("service_password", 16)
        servers = [
            {
                "name": f"twenty-{number}",
                "base_url": server.base_url,
                "database_url": server.database_url,
                "service_email": SERVICE_EMAIL,
                "service_password": password,
                **({"capacity": options.workspace_limit} if options.workspace_limit is not None else {}),
            }
            for number, (server, options) in enumerate(zip(self.twenty, self.options.twenty, strict=True), start=1)
        ]
        if len(servers) != 1:
            return {"PROVISIONING_TWENTY_SERVERS": json.dumps(servers)}
        return {
            f"PROVISIONING_TWENTY_{name.upper()}": str(servers[0][name])
            for name in ("base_url", "database_url", "service_email", "service_password")
        }

    # --- what is remembered between starts

    def _secret(self, name: str, size: int) -> str:
        if name not in self._notes:
            self._notes[name] = secrets.token_hex(size)
            self._write_notes()
        return str(self._notes[name])

    def _webhook_secret(self) -> str:
        """Like those of Clerk: 24 bytes in base64."""
        return "whsec_" + base64.b64encode(bytes.fromhex(self._secret("webhook_secret", 24))).decode()

    def _kept_port(self, name: str) -> int:
        kept = self._notes.get("ports", {}).get(name)
        return free_port(int(kept)) if kept else 0

    def _read_notes(self) -> dict[str, Any]:
        try:
            notes: dict[str, Any] = json.loads((self.data / "sandbox.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return notes

    def _write_notes(self) -> None:
        draft = self.data / "sandbox.new"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(self._notes))
        draft.replace(self.data / "sandbox.json")


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/")[0])
