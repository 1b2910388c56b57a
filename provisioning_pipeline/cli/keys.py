"""`provisioning keys`: the API keys of services."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from provisioning_pipeline.cli.exits import BAD_INPUT, fail, one_sentence, settings_or_exit
from provisioning_pipeline.cli.terminal import Terminal, plain, say, say_json

if TYPE_CHECKING:
    from provisioning_pipeline.ledger.api_keys import ApiKeys

T = TypeVar("T")

app = typer.Typer(
    name="keys",
    help="API keys of services that ask `provisioning serve` for tenants.\n\n"
    "Several may be valid at once. To rotate: create a new one, give it to the service, and revoke the old one once "
    "`provisioning keys list` no longer shows it in use.",
    no_args_is_help=True,
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, such as tenant-manager; shown in lists and timelines.")],
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Valid for so many days; without it, until it is revoked.")
    ] = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept.

    The key alone goes to standard output, so that KEY=$(provisioning keys create tenant-manager) works.
    """
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise fail("Give a name of up to 100 printable characters.", BAD_INPUT)
    made, key = _with_keys(lambda keys: keys.create(name.strip(), days=days))
    until = f"until {made.expires_at:%Y-%m-%d}" if made.expires_at else "until it is revoked"
    say(f"Key {made.id} for {made.name}, valid {until}. It is not shown again:", err=True)
    say(key)


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List the keys: whose they are, until when, and when they were last used (to the minute)."""
    from datetime import UTC, datetime

    from rich.table import Table

    now = datetime.now(UTC)
    found = _with_keys(lambda keys: keys.all())
    if as_json:
        rows = [
            {
                "id": key.id,
                "name": key.name,
                "state": key.state(now),
                "created_at": key.created_at.isoformat(),
                "expires_at": key.expires_at and key.expires_at.isoformat(),
                "last_used_at": key.last_used_at and key.last_used_at.isoformat(),
                "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
            }
            for key in found
        ]
        say_json(rows, indent=2)
        return
    if not found:
        say("There is no key yet: `provisioning keys create NAME` makes one.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("id", "name", "state", "created", "expires", "last used"):
        table.add_column(heading)
    for key in found:
        days = [f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in (key.created_at, key.expires_at, key.last_used_at)]
        table.add_row(key.id, plain(key.name), key.state(now), *days)
    Terminal().print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `provisioning keys list` shows it.")]) -> None:
    """Refuse a key from now on; servers that took it a moment ago do so within five seconds."""
    revoked = _with_keys(lambda keys: keys.revoke(key_id))
    if revoked is None:
        raise fail(f"There is no key {key_id!r}; `provisioning keys list` shows them.", BAD_INPUT)
    say(f"Key {revoked.id} ({revoked.name}) is revoked.")


def _with_keys(work: "Callable[[ApiKeys], Awaitable[T]]") -> T:
    """Work on the keys of the ledger, which is made where there is none."""
    from provisioning_pipeline.ledger import schema
    from provisioning_pipeline.ledger.api_keys import ApiKeys
    from provisioning_pipeline.ledger.database import ledger_database

    settings = settings_or_exit()

    async def run() -> Any:
        async with ledger_database(settings, read_only=False) as database:
            return await work(ApiKeys(database))

    with one_sentence():
        schema.migrate(settings.registry_url.get_secret_value())
        found: T = asyncio.run(run())
    return found
