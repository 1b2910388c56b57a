"""`provisioning sandbox`: a whole fleet on this machine, to try the pipeline on without any account."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions

BAD_INPUT = 2
FAILED = 1

app = typer.Typer(
    name="sandbox",
    help="A made-up fleet on this machine: Postgres, Clerk and Twenty stand-ins, tenants with people.",
    no_args_is_help=True,
)


class FleetKind(StrEnum):
    """What the fleet looks like at first."""

    FRESH = "fresh"
    LIVED_IN = "lived-in"


@app.command()
def up(
    tenants: Annotated[int, typer.Option(min=0, max=2000, help="New, healthy tenants.")] = 3,
    members: Annotated[int, typer.Option(min=1, max=500, help="People per tenant, the admin included.")] = 4,
    fleet: Annotated[
        FleetKind, typer.Option(help="lived-in adds one tenant in each odd state that tenant managers leave.")
    ] = FleetKind.FRESH,
    broken: Annotated[bool, typer.Option("--broken", help="Add a tenant whose database was never created.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Keep everything here; without it, all is gone at the end."),
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the PROVISIONING_* settings to this file.")
    ] = None,
    activation_seconds: Annotated[
        float, typer.Option(min=0, help="How long Twenty takes to activate a workspace; a real one: 2 to 3.")
    ] = 0.05,
    workspace_limit: Annotated[
        int | None, typer.Option(min=0, help="Most workspaces on the Twenty server; 5 without a licence.")
    ] = None,
) -> None:
    """Start the sandbox and keep it running until Ctrl-C."""
    from rich.console import Console

    from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
    from provisioning_pipeline.sandbox.twenty.options import TwentyOptions

    options = SandboxOptions(
        tenants=tenants,
        members=members,
        fleet=fleet.value,
        broken=broken,
        data=data,
        twenty=(TwentyOptions(activation_seconds=activation_seconds, workspace_limit=workspace_limit),),
    )
    _run(Sandbox(options), options, env_file, Console())


def _run(sandbox: "Sandbox", options: "SandboxOptions", env_file: Path | None, console: "Console") -> None:
    import signal
    import threading

    from provisioning_pipeline.sandbox.envfile import write_env_file
    from provisioning_pipeline.sandbox.postgres import PostgresUnavailableError

    asked_to_stop = threading.Event()
    # Before anything starts: Ctrl-C while starting then stops cleanly too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: asked_to_stop.set())
    try:
        with sandbox, served(sandbox.environment()) as api_url:
            if env_file is not None:
                write_env_file(env_file, sandbox.environment() | {"PROVISIONING_API_URL": api_url})
            _tell(sandbox, options, env_file, console, api_url)
            asked_to_stop.wait()
            console.print("Stopping.")
    except (PostgresUnavailableError, OSError) as error:
        _fail(f"The sandbox could not start: {error}", FAILED)


@contextmanager
def served(environment: Mapping[str, str]) -> Iterator[str]:
    """What `provisioning serve` serves, on a free port; its base URL."""
    from provisioning_pipeline.api.app import create_app
    from provisioning_pipeline.sandbox.serving import LoopbackServer
    from provisioning_pipeline.settings import PREFIX, Settings

    values: dict[str, Any] = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items()}
    server = LoopbackServer(create_app(Settings(_env_file=None, **values)))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def _tell(
    sandbox: "Sandbox", options: "SandboxOptions", env_file: Path | None, console: "Console", api_url: str
) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="The sandbox is running", title_justify="left", show_header=False, box=None)
    table.add_row("Twenty", ", ".join(server.base_url for server in sandbox.twenty))
    table.add_row("Clerk", sandbox.clerk.base_url)
    table.add_row("Reports", f"{api_url}/reports/latest, once a run has finished")
    table.add_row("Postgres", f"127.0.0.1:{sandbox.postgres.port}, registry in database tenant_manager")
    count = sandbox.tenant_count()
    table.add_row("Tenants", f"{count} in the registry ({options.fleet})")
    kept = "kept" if options.data is not None else "removed at the end"
    table.add_row("Data", escape(f"{sandbox.data} ({kept})"))
    console.print(table)
    console.print()
    if env_file is None:
        console.print("Start it with --env-file FILE to get the settings for the other commands.")
    else:
        console.print("Next, in another terminal:")
        shown = escape(str(env_file))
        source = shown if "/" in shown else f"./{shown}"
        console.print(f"  set -a; . {source}; set +a; provisioning apply", soft_wrap=True)
        console.print("  provisioning sandbox add-tenant SLUG")
    console.print("Ctrl-C stops everything.")


NEEDED = (
    "PROVISIONING_REGISTRY_URL",
    "PROVISIONING_TENANT_CLUSTER_URL",
    "PROVISIONING_CLERK_BASE_URL",
    "PROVISIONING_CLERK_SECRET_KEY",
)


@app.command("add-tenant")
def add_tenant(
    slug: Annotated[str, typer.Argument(help="Letters, digits and hyphens, at most 40.")],
    name: Annotated[str | None, typer.Option(help="Display name; made from the slug without it.")] = None,
    members: Annotated[int, typer.Option(min=1, max=500, help="People, the admin included.")] = 2,
) -> None:
    """Add a tenant to a running sandbox: registry row, database, organization, people."""
    import httpx
    import psycopg

    from provisioning_pipeline.sandbox import fleet

    try:
        fleet.check_slug(slug)
        settings = _settings()
        added = fleet.add_tenant(
            registry_url=settings["PROVISIONING_REGISTRY_URL"],
            tenant_cluster_url=settings["PROVISIONING_TENANT_CLUSTER_URL"],
            clerk_base_url=settings["PROVISIONING_CLERK_BASE_URL"],
            clerk_secret_key=settings["PROVISIONING_CLERK_SECRET_KEY"],
            slug=slug,
            name=name,
            members=members,
        )
    except (fleet.SlugError, fleet.NotASandboxError, fleet.TenantExistsError) as refusal:
        _fail(f"{refusal}.".replace("..", "."), BAD_INPUT)
    except psycopg.Error as error:
        _fail(f"The sandbox's database refused: {str(error).splitlines()[0]}", FAILED)
    except httpx.HTTPStatusError as error:
        _fail(f"The sandbox's Clerk refused with status {error.response.status_code}.", FAILED)
    typer.echo(f"Added {added.slug}: database {added.database_name}, admin {added.admin_email}.")


def _settings() -> dict[str, str]:
    """The variables that adding needs, from the environment, then from `.env` in this folder."""
    import os

    from dotenv import dotenv_values

    found = {**dotenv_values(".env"), **os.environ}
    values = {name: found.get(name) or "" for name in NEEDED}
    missing = [name for name, value in values.items() if not value]
    if missing:
        _fail(
            f"{missing[0]} is not set: load the env file of a running sandbox first "
            "(`provisioning sandbox up --env-file FILE`, then `set -a; . FILE; set +a`).",
            BAD_INPUT,
        )
    return values


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
