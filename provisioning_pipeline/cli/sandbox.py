"""`provisioning sandbox` and `demo`: a whole fleet on this machine, to try the pipeline on without any account."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioning_pipeline.cli.exits import BAD_INPUT, RUN_FAILED, fail
from provisioning_pipeline.cli.extras import needs_sandbox
from provisioning_pipeline.cli.terminal import Terminal, plain, say
from provisioning_pipeline.model.names import first_few

if TYPE_CHECKING:
    import httpx2

    from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
    from provisioning_pipeline.settings import Settings

MEMBERS_AT_ONCE = 500
MOST_SHOWN = 20
DEMO_TENANTS = 4
_DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
"""

app = typer.Typer(
    name="sandbox",
    help="A made-up fleet on this machine: Postgres, Clerk and Twenty stand-ins, tenants with people.",
    no_args_is_help=True,
)


class FleetKind(StrEnum):
    """What the fleet looks like at first."""

    FRESH = "fresh"
    LIVED_IN = "lived-in"


class TwentyVersion(StrEnum):
    """Which Twenty the stand-in is."""

    V2_21 = "2.21"
    V2_38 = "2.38"
    V2_47 = "2.47"


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
        float, typer.Option(min=0, help="How long Twenty takes to activate a workspace; a real one: 2 to 6.")
    ] = 0.05,
    workspace_limit: Annotated[
        int | None, typer.Option(min=0, help="Most workspaces on the Twenty server; 5 without a licence.")
    ] = None,
    twenty: Annotated[
        TwentyVersion,
        typer.Option(
            help="Which Twenty it is. From 2.38 on: cookie sessions that it enforces, login tokens good once."
        ),
    ] = TwentyVersion.V2_21,
    dagster_url: Annotated[
        str, typer.Option(help="Where you run `dagster dev`, so that requests over HTTP launch runs there.")
    ] = "http://127.0.0.1:3000",
    host: Annotated[
        str | None,
        typer.Option(
            help="Name of this machine under which other containers reach the sandbox, too; the env file then is for "
            "them. Only in a network that is yours alone, as compose.yaml's is."
        ),
    ] = None,
) -> None:
    """Start the sandbox and keep it running until Ctrl-C."""
    needs_sandbox("`provisioning sandbox up`")
    from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
    from provisioning_pipeline.sandbox.twenty.options import TwentyOptions

    options = SandboxOptions(
        tenants=tenants,
        members=members,
        fleet=fleet.value,
        broken=broken,
        data=data,
        twenty=(
            TwentyOptions(version=twenty.value, activation_seconds=activation_seconds, workspace_limit=workspace_limit),
        ),
    )
    _run(Sandbox(options), options, env_file, Terminal(), dagster_url, host)


def _run(
    sandbox: "Sandbox",
    options: "SandboxOptions",
    env_file: Path | None,
    console: "Terminal",
    dagster_url: str,
    host: str | None,
) -> None:
    import signal
    import threading

    from provisioning_pipeline.sandbox.envfile import write_env_file
    from provisioning_pipeline.sandbox.postgres import PostgresUnavailableError
    from provisioning_pipeline.sandbox.sharing import shared

    asked_to_stop = threading.Event()
    # Before anything starts: Ctrl-C while starting then stops cleanly too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: asked_to_stop.set())
    try:
        with sandbox:
            environment = sandbox.environment() | {"PROVISIONING_DAGSTER_URL": dagster_url}
            with ExitStack() as stack:
                api_url = stack.enter_context(served(environment))
                if host is not None:
                    environment = stack.enter_context(shared(sandbox, host)) | {"PROVISIONING_DAGSTER_URL": dagster_url}
                if env_file is not None:
                    write_env_file(env_file, environment | {"PROVISIONING_API_URL": api_url})
                _tell(sandbox, options, env_file, console, api_url)
                asked_to_stop.wait()
                console.print("Stopping.")
    except (PostgresUnavailableError, OSError) as error:
        # with the end of a log
        raise fail(f"The sandbox could not start: {error}".splitlines(), RUN_FAILED) from None


@contextmanager
def served(environment: Mapping[str, str]) -> Iterator[str]:
    """What `provisioning serve` serves, on a free port; its base URL."""
    from provisioning_pipeline.http.app import create_app
    from provisioning_pipeline.sandbox.serving import LoopbackServer
    from provisioning_pipeline.settings import PREFIX, Settings

    # lists and objects stand in the environment as JSON
    values: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): json.loads(value) if value.startswith(("[", "{")) else value
        for name, value in environment.items()
    }
    server = LoopbackServer(create_app(Settings(_env_file=None, **values)))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def _tell(
    sandbox: "Sandbox", options: "SandboxOptions", env_file: Path | None, console: "Terminal", api_url: str
) -> None:
    from rich.table import Table

    table = Table(title="The sandbox is running", title_justify="left", show_header=False, box=None)
    table.add_row("Twenty", ", ".join(f"{one.base_url} (as {one.options.version})" for one in sandbox.twenty))
    table.add_row("Clerk", sandbox.clerk.base_url)
    table.add_row("HTTP API", f"{api_url} (openapi.json; /reports/latest once a run has finished)")
    table.add_row("Postgres", f"127.0.0.1:{sandbox.postgres.port}, registry in database tenant_manager")
    count = sandbox.tenant_count()
    table.add_row("Tenants", f"{count} in the registry ({options.fleet})")
    kept = "kept" if options.data is not None else "removed at the end"
    table.add_row("Data", plain(f"{sandbox.data} ({kept})"))
    console.print(table)
    console.print()
    if env_file is None:
        console.print("Start it with --env-file FILE to get the settings for the other commands.")
    else:
        console.print("Next, in another terminal:")
        shown = plain(str(env_file))
        source = shown if "/" in shown else f"./{shown}"
        console.print(f"  set -a; . {source}; set +a; provisioning apply", soft_wrap=True)
        console.print("  provisioning sandbox add-tenant SLUG")
        console.print("  provisioning sandbox session-token SLUG")
    console.print("Ctrl-C stops everything.")


NEEDED = (
    "PROVISIONING_REGISTRY_URL",
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
    from provisioning_pipeline.sandbox import fleet

    try:
        fleet.check_slug(slug)
        settings = _settings()
        with _one_sentence():
            added = fleet.add_tenant(
                registry_url=settings["PROVISIONING_REGISTRY_URL"],
                clerk_base_url=settings["PROVISIONING_CLERK_BASE_URL"],
                clerk_secret_key=settings["PROVISIONING_CLERK_SECRET_KEY"],
                slug=slug,
                name=name,
                members=members,
            )
    except (fleet.SlugError, fleet.NotASandboxError, fleet.TenantExistsError) as refusal:
        raise fail(f"{refusal}.".replace("..", "."), BAD_INPUT) from None
    say(f"Added {added.slug}: database {added.database_name}, admin {added.admin_email}.")


@app.command("session-token")
def session_token(
    tenant: Annotated[str, typer.Argument(help="Slug or database name of a tenant in the sandbox's registry.")],
    email: Annotated[
        str | None, typer.Option(help="Whose session; without it, the organization's admin of longest standing.")
    ] = None,
    seconds: Annotated[
        int, typer.Option(min=-86_400, max=86_400, help="How long it is valid, as with Clerk; below 0: it is over.")
    ] = 60,
    v1: Annotated[bool, typer.Option("--v1", help="Clerk's older form, with the claims org_id and org_role.")] = False,
) -> None:
    """Print a Clerk session token of a person in a tenant of the running sandbox, and nothing else.

    [bold]curl -H "Authorization: Bearer $(provisioning sandbox session-token acme)" $PROVISIONING_API_URL/v1/session[/]

    Only the sandbox's Clerk signs it: what trusts a real Clerk refuses it.
    """
    import httpx2

    settings = _settings()
    base_url, key = settings["PROVISIONING_CLERK_BASE_URL"], settings["PROVISIONING_CLERK_SECRET_KEY"]
    _check_that_it_is_a_sandbox(base_url, key)
    headers = {"Authorization": f"Bearer {key}"}
    with _one_sentence():
        organization_id = _organization_of(settings["PROVISIONING_REGISTRY_URL"], tenant)
        with httpx2.Client(base_url=base_url, headers=headers, timeout=10, trust_env=False) as clerk:
            user_id = _member(_members(clerk, organization_id, tenant), tenant, email)
            wanted = {"user_id": user_id, "organization_id": organization_id, "seconds": seconds}
            control = clerk.base_url.copy_with(path="/sandbox/session-token")
            answer = clerk.post(control, json=wanted | {"version": 1 if v1 else 2}).raise_for_status()
    say(answer.json()["token"])


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn failures of the sandbox's servers into one sentence."""
    import httpx2
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise fail(f"The sandbox's database refused: {str(error).splitlines()[0]}", RUN_FAILED) from None
    except httpx2.HTTPStatusError as error:
        raise fail(f"The sandbox's Clerk refused with status {error.response.status_code}.", RUN_FAILED) from None
    except httpx2.TransportError:
        raise fail("The sandbox's Clerk gave no answer.", RUN_FAILED) from None


def _check_that_it_is_a_sandbox(clerk_base_url: str, secret_key: str) -> None:
    from contextlib import closing

    import httpx2

    from provisioning_pipeline.sandbox import fleet

    try:
        with closing(fleet.OverHttp(clerk_base_url, secret_key)) as directory:
            directory.check_that_it_is_a_stand_in()
    except (fleet.NotASandboxError, httpx2.InvalidURL):
        raise fail(
            "What PROVISIONING_CLERK_BASE_URL names is no sandbox (or is not running), and no other Clerk signs a "
            "session token on demand. Start a sandbox with `provisioning sandbox up --env-file FILE` and load that "
            "file: `set -a; . FILE; set +a`.",
            BAD_INPUT,
        ) from None


def _organization_of(registry_url: str, tenant: str) -> str:
    """The Clerk organization of the tenant that has this slug or database name."""
    import psycopg

    with psycopg.connect(registry_url) as registry:
        found = registry.execute(
            "SELECT database_name, clerk_org_id FROM tenant_registry WHERE slug = %(name)s OR database_name = %(name)s "
            "ORDER BY database_name",
            {"name": tenant},
        ).fetchall()
        slugs = [str(slug) for (slug,) in registry.execute("SELECT slug FROM tenant_registry ORDER BY slug")]
    if not found:
        known = (
            f"There are {_listed(slugs)}" if slugs else "It has no tenants; `provisioning sandbox add-tenant` adds one"
        )
        raise fail(f"The sandbox has no tenant {tenant!r}. {known}.", BAD_INPUT)
    if len(found) > 1:
        raise fail(
            f"Several tenants are called {tenant!r}. Give one of {_listed([row[0] for row in found])}.", BAD_INPUT
        )
    ((_, organization_id),) = found
    if not organization_id:
        raise fail(
            f"Tenant {tenant!r} has no Clerk organization in the registry, so there is no one to sign in.", BAD_INPUT
        )
    return str(organization_id)


def _members(clerk: "httpx2.Client", organization_id: str, tenant: str) -> list[dict[str, Any]]:
    """The organization's memberships as Clerk shows them, oldest first."""
    import httpx2

    found: list[dict[str, Any]] = []
    while True:
        page: dict[str, str | int] = {"limit": MEMBERS_AT_ONCE, "offset": len(found), "order_by": "+created_at"}
        answer = clerk.get(f"/organizations/{organization_id}/memberships", params=page)
        if answer.status_code == httpx2.codes.NOT_FOUND:
            raise fail(f"The Clerk organization of tenant {tenant!r} is gone ({organization_id}).", BAD_INPUT)
        memberships = answer.raise_for_status().json()["data"]
        found += memberships
        if len(memberships) < MEMBERS_AT_ONCE:
            return found


def _member(memberships: list[dict[str, Any]], tenant: str, email: str | None) -> str:
    """The user id of the one with this e-mail, or of the oldest admin."""
    from provisioning_pipeline.sandbox.fleet import ADMIN

    people = [(one["public_user_data"], one["role"]) for one in memberships]
    if email is not None:
        fitting = [person for person, _ in people if (person["identifier"] or "").lower() == email.lower()]
    else:
        fitting = [person for person, role in people if role == ADMIN]
    if not fitting:
        lacking = f"no member {email}" if email is not None else "no admin"
        emails = [str(person["identifier"]) for person, _ in people if person["identifier"]]
        there = f"Give --email with one of {_listed(emails)}" if emails else "It has no members"
        raise fail(f"The organization of tenant {tenant!r} has {lacking}. {there}.", BAD_INPUT)
    return str(fitting[0]["user_id"])


def _listed(names: list[str]) -> str:
    return first_few([name or "(an empty slug)" for name in names], MOST_SHOWN)


def _settings() -> dict[str, str]:
    """The variables that lead to a sandbox, from the environment, then from `.env` in this folder."""
    import os

    from dotenv import dotenv_values

    from provisioning_pipeline.settings.sources import ENCODING, file_faults

    faults = file_faults(Path(".env"))
    if faults:
        raise fail(faults, BAD_INPUT)
    found = {**dotenv_values(".env", encoding=ENCODING), **os.environ}
    values = {name: found.get(name) or "" for name in NEEDED}
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise fail(
            f"{missing[0]} is not set: load the env file of a running sandbox first "
            "(`provisioning sandbox up --env-file FILE`, then `set -a; . FILE; set +a`).",
            BAD_INPUT,
        )
    return values


def demo(
    ui: Annotated[bool, typer.Option("--ui", help="Keep the fleet and open Dagster's UI on it until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(help="Port of Dagster's UI.")] = 3000,
    report_path: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("reports"),
    twenty: Annotated[TwentyVersion, typer.Option(help="Which Twenty the stand-in is.")] = TwentyVersion.V2_21,
) -> None:
    """Provision five made-up tenants, one of them broken, and show what came of it.

    Everything runs on this machine: PostgreSQL, a stand-in Twenty and a stand-in Clerk. No setting is read.
    """
    needs_sandbox("`provisioning demo`")
    from provisioning_pipeline.cli.applying import apply_and_show
    from provisioning_pipeline.cli.exits import RUN_FAILED, one_sentence
    from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
    from provisioning_pipeline.sandbox.twenty.options import TwentyOptions

    console = Terminal()
    console.print("Starting PostgreSQL, Twenty and Clerk stand-ins with 5 tenants, one of them broken …")
    played = (TwentyOptions(version=twenty.value),)
    with Sandbox(SandboxOptions(tenants=DEMO_TENANTS, broken=True, twenty=played)) as sandbox:
        environment = sandbox.environment() | {"PROVISIONING_REPORT_PATH": str(report_path)}
        with one_sentence():
            settings = settings_from(environment)
            applied = apply_and_show(settings, (), as_json=False)
        if ui:
            environment |= {"PROVISIONING_DAGSTER_URL": f"http://127.0.0.1:{port}"}
            with served(environment) as api_url:
                _dagster(environment | {"PROVISIONING_API_URL": api_url}, sandbox.data, port, console)
        else:
            console.print("Dagster's UI on such a fleet: [bold]provisioning demo --ui[/]")
    if applied.broken or applied.summary.count("ready") != DEMO_TENANTS:
        raise typer.Exit(RUN_FAILED)


def settings_from(environment: dict[str, str]) -> "Settings":
    """Settings from these variables alone: nothing of the shell or of `.env` may leak into a demonstration.

    It stays on this machine, so no proxy is asked either.
    """
    import os

    from provisioning_pipeline.settings import PREFIX, load_settings
    from provisioning_pipeline.values.environment import PROXIES

    for name in [name for name in os.environ if name.startswith(PREFIX) or name.lower() in PROXIES]:
        del os.environ[name]
    os.environ.update(environment)
    return load_settings(_env_file=None)


def _dagster(environment: dict[str, str], data: Path, port: int, console: Terminal) -> None:
    import os
    import signal
    import subprocess
    import sys

    home = data / "dagster"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(_DAGSTER_YAML)
    command = [sys.executable, "-m", "dagster", "dev", "-m", "provisioning_pipeline.definitions", "-p", str(port)]
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and arguments
        command, env=os.environ | environment | {"DAGSTER_HOME": str(home)}, start_new_session=True
    )
    console.print(f"Dagster's UI: [bold]http://127.0.0.1:{port}[/] (in a few seconds; Ctrl-C stops everything)")
    # to the whole group: `dagster dev` does not pass a signal on to its children
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.killpg(process.pid, signal.SIGTERM))
    process.wait()
