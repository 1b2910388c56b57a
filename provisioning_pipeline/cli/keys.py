"""`provisioning keys`: the API keys of services."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from provisioning_pipeline.cli.exits import BAD_INPUT, configured, fail
from provisioning_pipeline.cli.terminal import say, say_json, show_rows
from provisioning_pipeline.model.api_key import EVERY_SCOPE, Reach, Scope

if TYPE_CHECKING:
    from provisioning_pipeline.clients.postgres import Database
    from provisioning_pipeline.ledger.api_keys import ApiKeys
    from provisioning_pipeline.model.api_key import ApiKey, Refusals
    from provisioning_pipeline.settings import Settings

T = TypeVar("T")

app = typer.Typer(
    name="keys",
    help="API keys of services that ask `provisioning serve` for tenants.\n\n"
    "Several may be valid at once. To rotate: create a new one, give it to the service, and revoke the old one once "
    "`provisioning keys list` no longer shows it in use. Give each service a key of its own, with no more scopes and "
    "tenants than it needs; what a key may do is settled when it is made.",
    no_args_is_help=True,
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, such as tenant-manager; shown in lists and timelines.")],
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="Valid for so many days; without it, until it is revoked.")
    ] = None,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="What it may do: tenants:read (list them, read them, their timelines and the metrics), tenants:write "
            "(register, update and reconcile them). Give it twice for both; without it, both."
        ),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="SLUG", help="Only the tenant with this slug; without it, every tenant.")
    ] = None,
    tenant_prefix: Annotated[
        str | None,
        typer.Option(metavar="PREFIX", help="Only tenants whose slugs begin so, such as eu-; also new ones."),
    ] = None,
) -> None:
    """Make a key and print it, this once: we store only its hash.

    The key alone goes to standard output, so that KEY=$(provisioning keys create tenant-manager) works.

    A dashboard: provisioning keys create dashboard --scope tenants:read

    The tenant manager of one region: provisioning keys create eu --tenant-prefix eu-
    """
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise fail("Give a name of up to 100 printable characters.", BAD_INPUT)
    if tenant is not None and tenant_prefix is not None:
        raise fail("Give --tenant or --tenant-prefix: a key is for one tenant, or for some.", BAD_INPUT)
    for slug in (tenant, tenant_prefix):
        if slug is not None and (not 1 <= len(slug) <= 255 or not slug.isprintable()):
            raise fail("Give a slug, or the beginning of one: up to 255 printable characters.", BAD_INPUT)
    scopes = frozenset(scope) if scope else EVERY_SCOPE
    reach = Reach(tenant, tenant_prefix)
    made, key = _with_keys(lambda keys: keys.create(name.strip(), days=days, scopes=scopes, reach=reach))
    until = f"until {made.expires_at:%Y-%m-%d}" if made.expires_at else "until it is revoked"
    may = f"{_scopes(made)} of {made.reach}"
    say(f"Key {made.id} for {made.name}, {may}, valid {until}. It is not shown again:", err=True)
    say(key)


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List the keys: what they may do with which tenants, until when, and when they were last used (to the minute).

    A key that an earlier version made has both scopes, for every tenant.
    """
    from datetime import UTC, datetime

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
                "scopes": sorted(key.scopes),
                "tenant": key.reach.tenant,
                "tenant_prefix": key.reach.tenant_prefix,
            }
            for key in found
        ]
        say_json(rows, indent=2)
        return
    if not found:
        say("There is no key yet: `provisioning keys create NAME` makes one.")
        return
    cells = []
    for key in found:
        days = [f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in (key.created_at, key.expires_at, key.last_used_at)]
        cells.append((key.id, key.name, key.state(now), _scopes(key), str(key.reach), *days))
    show_rows(("id", "name", "state", "may", "with", "created", "expires", "last used"), cells)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `provisioning keys list` shows it.")]) -> None:
    """Refuse a key from now on; servers that took it a moment ago do so within five seconds."""
    revoked = _with_keys(lambda keys: keys.revoke(key_id))
    if revoked is None:
        raise fail(f"There is no key {key_id!r}; `provisioning keys list` shows them.", BAD_INPUT)
    say(f"Key {revoked.id} ({revoked.name}) is revoked.")


@app.command("refusals")
def list_refusals(
    key_id: Annotated[
        str | None, typer.Option("--key", metavar="ID", help="Only of this key; without it, of all, and of wrong keys.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many of the last.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List what services were refused: by which key or from where, for which tenant, why, and how often.

    Refusals of one kind within an hour are one line, with the last one's words and request id; that id is in the
    server's log, too. Look for keys that ask for what is not theirs (organization_taken, database_taken, out_of_reach)
    and for addresses that try keys (wrong_key): `provisioning keys revoke ID` ends a key at once. A line without a
    tenant or an address counts what was beyond the number of kinds that are told apart.
    """
    from provisioning_pipeline.ledger.api_keys import refusals

    found = _in_ledger(lambda database: refusals(database, most=limit, key_id=key_id))
    if as_json:
        say_json([_refusal(one) for one in found], indent=2)
        return
    if not found:
        say("Nothing was refused.")
        return
    cells = []
    for one in found:
        kind = one.kind
        texts = (kind.reason, kind.api_key_id, kind.address, kind.tenant, kind.route, one.detail)
        cells.append((f"{one.last_at:%Y-%m-%d %H:%M}", str(one.times), *(text or "-" for text in texts)))
    show_rows(("last", "times", "why", "key", "from", "tenant", "asked", "told"), cells)


def _refusal(one: "Refusals") -> dict[str, str | int | None]:
    return {
        "reason": one.kind.reason,
        "status": one.kind.status,
        "times": one.times,
        "first_at": one.first_at.isoformat(),
        "last_at": one.last_at.isoformat(),
        "api_key_id": one.kind.api_key_id or None,
        "address": one.kind.address or None,
        "route": one.kind.route or None,
        "tenant": one.kind.tenant or None,
        "detail": one.detail,
        "request_id": one.request_id or None,
    }


def _scopes(key: "ApiKey") -> str:
    return ", ".join(sorted(key.scopes)) or "nothing"


def _with_keys(work: "Callable[[ApiKeys], Awaitable[T]]") -> T:
    from provisioning_pipeline.ledger.api_keys import ApiKeys

    return _in_ledger(lambda database: work(ApiKeys(database)))


def _in_ledger(work: "Callable[[Database], Awaitable[T]]") -> T:
    """Work on the ledger, which is made where there is none."""
    from provisioning_pipeline.ledger.schema import bring_up_to_date, ledger_database

    async def run(settings: "Settings") -> T:
        async with ledger_database(settings, read_only=False) as database:
            await bring_up_to_date(database, settings)
            return await work(database)

    with configured() as settings:
        return asyncio.run(run(settings))
