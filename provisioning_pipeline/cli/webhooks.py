"""`provisioning webhooks`: what is told of tenants by webhook, and whether it arrived."""

import asyncio
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from provisioning_pipeline.cli.exits import BAD_INPUT, configured, fail
from provisioning_pipeline.cli.terminal import say, say_json, show_rows

if TYPE_CHECKING:
    from provisioning_pipeline.model.announcement import Delivery
    from provisioning_pipeline.run.announcing import Delivered
    from provisioning_pipeline.settings import Settings

_SEND_SECONDS = 60.0

app = typer.Typer(
    name="webhooks",
    help="Webhooks that tell a tenant manager what becomes of tenants (PROVISIONING_WEBHOOK_URLS).",
    no_args_is_help=True,
)


@app.command("list")
def list_deliveries(
    undelivered: Annotated[bool, typer.Option("--undelivered", help="Only those that have not arrived.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many of the last.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List webhooks, newest first: of which tenant, to which host, how often they were tried, and what went wrong.

    A pending one is tried again by itself, ten times within three days; then it is given up (failed).
    """
    from provisioning_pipeline.ledger.announcements import Deliveries
    from provisioning_pipeline.ledger.schema import ledger_database

    async def run(settings: "Settings") -> "list[Delivery]":
        async with ledger_database(settings, read_only=True) as database:
            return await Deliveries(database).last(limit, undelivered=undelivered)

    with configured() as settings:
        found = asyncio.run(run(settings))
    hosts = {name: urlsplit(url.get_secret_value()).hostname or "" for name, url in settings.webhook_endpoints.items()}
    if as_json:
        say_json([_document(one, hosts) for one in found], indent=2)
        return
    if not found:
        say("No webhook is waiting." if undelivered else "No webhook was recorded.")
        return
    cells = []
    for one in found:
        next_try = f"{one.next_try_at:%Y-%m-%d %H:%M}" if one.state == "pending" else "-"
        told = (one.message_id, one.type, one.database_name, hosts.get(one.endpoint, "(no longer set)"))
        row = (f"{one.created_at:%Y-%m-%d %H:%M}", one.state, str(one.attempts), next_try, one.last_error or "-")
        cells.append((*told, *row))
    show_rows(("id", "type", "tenant", "to", "recorded", "state", "tries", "next try", "last error"), cells)


@app.command()
def retry(
    message_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="As `provisioning webhooks list` shows them; all that failed, without."),
    ] = None,
) -> None:
    """Send webhooks again that were given up or wait, now and then as often as new ones."""
    from uuid import UUID

    from provisioning_pipeline.ledger.announcements import Deliveries
    from provisioning_pipeline.ledger.schema import bring_up_to_date, ledger_database
    from provisioning_pipeline.run.announcing import deliver

    try:
        wanted = [str(UUID(message_id.removeprefix("msg_"))) for message_id in message_ids or []]
    except ValueError:
        raise fail("Give ids as `provisioning webhooks list` shows them.", BAD_INPUT) from None

    async def run(settings: "Settings") -> "tuple[int, Delivered]":
        async with ledger_database(settings, read_only=False) as database:
            await bring_up_to_date(database, settings)
            begun = await Deliveries(database).begin_anew(wanted or None)
            return begun, await deliver(settings, database, seconds=_SEND_SECONDS)

    with configured() as settings:
        if not settings.webhook_endpoints:
            raise fail("PROVISIONING_WEBHOOK_URLS is not set: there is nowhere to send them.", BAD_INPUT)
        begun, delivered = asyncio.run(run(settings))
    say(f"{begun} webhooks are tried again: {delivered}")


def _document(one: "Delivery", hosts: dict[str, str]) -> dict[str, object]:
    return {
        "id": one.message_id,
        "type": one.type,
        "database_name": one.database_name,
        "to": hosts.get(one.endpoint),
        "state": one.state,
        "tries": one.attempts,
        "recorded_at": one.created_at.isoformat(),
        "next_try_at": one.next_try_at.isoformat() if one.state == "pending" else None,
        "delivered_at": one.delivered_at and one.delivered_at.isoformat(),
        "failed_at": one.failed_at and one.failed_at.isoformat(),
        "last_error": one.last_error,
        "payload": one.payload,
    }
