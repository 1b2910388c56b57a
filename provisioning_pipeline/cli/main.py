"""`provisioning`: the command line. Heavy imports stand inside the commands, so that --help is quick."""

import io
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from provisioning_pipeline.cli import keys, sandbox, serving, vouching, webhooks
from provisioning_pipeline.cli.exits import (
    ALL_READY,
    BAD_INPUT,
    RUN_FAILED,
    SOME_UNWELL,
    configured,
    fail,
)
from provisioning_pipeline.cli.extras import needs_sandbox
from provisioning_pipeline.cli.logs import AsLogged
from provisioning_pipeline.cli.terminal import Terminal, clean_what_python_prints, say, say_json

app = typer.Typer(
    name="provisioning",
    help="Gives every tenant a ready Twenty CRM workspace behind Clerk sign-in.\n\n"
    "Try it on this machine: provisioning demo. Against real systems: set PROVISIONING_* (docs/configuration.md), "
    "then provisioning preflight, provisioning plan, provisioning apply.\n\n"
    "Exit codes: 0 all ready, 1 the run itself failed, 2 bad input or settings, 3 done with some tenants not ready.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")
app.command()(sandbox.demo)
app.command()(serving.serve)
app.command()(vouching.vouch)

_NAME = re.compile(r"[^\x00]{1,255}")


def _tenant_names(names: list[str] | None) -> list[str]:
    for name in names or []:
        if not _NAME.fullmatch(name):
            message = f"{name!r} is no tenant name: give a slug or a database name, up to 255 characters."
            raise typer.BadParameter(message)
    return names or []


Tenants = Annotated[
    list[str] | None,
    typer.Argument(
        help="Slugs or database names; all tenants without any. One that begins with a hyphen goes after `--`.",
        callback=_tenant_names,
        metavar="[TENANT]...",
    ),
]
TenantsOrPlan = Annotated[
    list[str] | None,
    typer.Argument(
        help="Slugs or database names, or the name of one plan; all tenants without any.",
        callback=_tenant_names,
        metavar="[TENANT]...|PLAN_ID",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"provisioning {version('provisioning-pipeline')}")
        raise typer.Exit


@app.callback()
def _what_the_terminal_lacks(
    *,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say the version, and no more.")
    ] = False,
) -> None:
    """A letter that the terminal's encoding lacks becomes a question mark, and no error after the work was done."""
    clean_what_python_prints()
    for stream in (sys.stdout, sys.stderr):
        # one that a test put in its place may not be a file
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@app.command()
def migrate() -> None:
    """Create our tables (schema `provisioning`) in the registry's database, or bring them up to date."""
    import asyncio

    from provisioning_pipeline.ledger import revisions, schema
    from provisioning_pipeline.run.connections import connect
    from provisioning_pipeline.settings import Settings

    async def run(settings: Settings) -> tuple[str | None, str]:
        async with connect(settings, dry_run=False) as connections:
            database = connections.ledger.database
            before = await revisions.revision(database)
            await asyncio.to_thread(schema.migrate, settings.registry_url.get_secret_value())
            return before, database.where

    with configured() as settings:
        before, where = asyncio.run(run(settings))
        say(f"The ledger in {where} is at revision {revisions.HEAD} (was: {before or 'none'}).")


@app.command()
def preflight(as_json: AsJson = False) -> None:
    """Reach every configured system; say version, limits, and what is missing."""
    import asyncio
    import dataclasses

    from provisioning_pipeline.cli import tables
    from provisioning_pipeline.tasks.preflight import preflight as check

    with configured() as settings:
        found = asyncio.run(check(settings))
    if as_json:
        say_json([dataclasses.asdict(check) for check in found], indent=2)
    else:
        tables.checks(Terminal(), found)
    raise typer.Exit(ALL_READY if all(check.ok for check in found) else RUN_FAILED)


@app.command()
def certify(
    server: Annotated[
        str | None, typer.Option(help="Name of the server in the settings; needed where there are several.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
    skip_clerk: Annotated[bool, typer.Option("--skip-clerk", help="Look at Twenty alone.")] = False,
    skip_crash_points: Annotated[
        bool, typer.Option("--skip-crash-points", help="Look at behaviours alone; the verdict says so.")
    ] = False,
    session_token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN", help="A session token of your own, to be verified; - reads it from standard input."
        ),
    ] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Log file of Twenty's server or worker, to see e-mails in."),
    ] = None,
) -> None:
    """Prove on a Twenty server that everything this program relies on holds there.

    Before first use, and before each upgrade of Twenty: on a server of the new version, with the settings of the old
    one. It makes workspaces and accounts called certify-… (at most two workspaces at a time), tries every call with
    right and wrong arguments, and kills the life of one tenant at every call to see the next run mend it. Then it
    removes all of it, also after Ctrl-C; what a crash left is removed at the next start. No tenant is touched, no
    e-mail sent.

    At Clerk it reads; only on a development instance it writes, to an organization of its own.

    The certificate is stored in the ledger: `provisioning preflight` and the report show it, and warn when the server
    has changed since. A page is written beside the reports.

    Exit codes: 0 all holds (or not agreed to); 1 something does not, or could not be looked at; 2 bad input or
    settings, or no terminal to ask at.
    """
    from provisioning_pipeline.cli.certify import Options, certify_and_show

    if not skip_crash_points:
        needs_sandbox("`provisioning certify` (without --skip-crash-points)")
    options = Options(server, yes, as_json, skip_clerk, skip_crash_points, session_token, tuple(log or ()))
    with configured() as settings:
        code = certify_and_show(settings, options)
    raise typer.Exit(code)


@app.command()
def plan(tenants: Tenants = None, as_json: AsJson = False) -> None:
    """Show what `apply` would do, what it will take, and a name under which exactly this can be applied.

    Changes nothing anywhere: the connections themselves refuse to. The plan is stored as a file beside our tables
    (PROVISIONING_TABLES_PATH), so that `provisioning apply PLAN_ID` makes exactly what is shown here, or says what has
    changed since.
    """
    from provisioning_pipeline.cli.applying import plan_and_show

    with configured() as settings:
        plan_and_show(settings, tenants or (), as_json=as_json)


@app.command()
def apply(
    tenants: TenantsOrPlan = None,
    as_json: AsJson = False,
    approve: Annotated[
        str | None,
        typer.Option(
            metavar="PLAN_ID",
            help="Make the removals and demotions that wait under this name, as `plan` and the report name it.",
        ),
    ] = None,
    log_format: AsLogged = None,
) -> None:
    """Reconcile: detect, provision, members, onboard, link, prove, report.

    `provisioning apply PLAN_ID` makes exactly the plan that `provisioning plan` showed under that name; if anything
    is no longer as it was, it does nothing and shows the differences (exit code 2).
    """
    from provisioning_pipeline.cli.applying import apply_and_show

    with configured() as settings:
        applied = apply_and_show(settings, tenants or (), as_json=as_json, approved=approve, log_format=log_format)
    if applied.broken or applied.not_written:
        raise typer.Exit(RUN_FAILED)
    raise typer.Exit(SOME_UNWELL if applied.count("unwell") or applied.in_doubt else ALL_READY)


@app.command()
def verify(
    tenants: Tenants = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=0, help="Members of each tenant besides its admin; PROVISIONING_VERIFY_SAMPLE when not given."
        ),
    ] = None,
    as_json: AsJson = False,
    log_format: AsLogged = None,
) -> None:
    """Log in as each admin and some members, others each time, and see what they see. Changes nothing in Twenty."""
    from provisioning_pipeline.cli.verify import verify_and_show

    with configured() as settings:
        verified = verify_and_show(settings, tenants or (), sample=sample, as_json=as_json, log_format=log_format)
    if verified.broken:
        raise typer.Exit(RUN_FAILED)
    raise typer.Exit(ALL_READY if verified.all_proved else SOME_UNWELL)


@app.command()
def undo(
    run_id: Annotated[
        str,
        typer.Argument(
            metavar="RUN_ID", help="The run, as its report names it; its first 8 characters or more will do."
        ),
    ],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put back the rows that a run removed by SQL and the activation statuses that it set, after showing them.

    The next run removes the rows again, except those in tenants' own databases where PROVISIONING_TENANT_DATABASES is
    report; statuses it sets again unless PROVISIONING_MEND_HAND_MADE=false. People who were taken over stay members.

    Exit codes: 0 all back, nothing to do or not agreed to; 1 the ledger cannot be read or written to; 2 bad input or
    settings, no such run or several, or no terminal to ask at; 3 some not put back.
    """
    from provisioning_pipeline.cli.undo import undo_and_show

    with configured() as settings:
        code = undo_and_show(settings, run_id, yes=yes, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def restart(
    tenant: Annotated[str, typer.Argument(help="Slug or database name.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let a tenant whose workspace was deleted in Twenty start anew: the next run makes it a new, empty one.

    Refused as long as the workspace exists, and where we cannot see whether it does. Writes to the ledger alone.

    Exit codes: 0 done or not agreed to; 1 the ledger cannot be read or written to; 2 the workspace is not gone, no such
    tenant, or no terminal to ask at.
    """
    from provisioning_pipeline.cli.restart import restart_and_show

    with configured() as settings:
        code = restart_and_show(settings, tenant, yes=yes, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def offboard(
    tenant: Annotated[str, typer.Argument(help="Slug or database name.")],
    delete: Annotated[
        bool, typer.Option("--delete", help="Export and delete a workspace that was archived before.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Give the members of an archived workspace their access back.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Archive the workspace of a customer who left: its members are locked out, and every record stays.

    For tenants that are offboarding, or in doubt because their registry row is missing: your word settles that. With
    --delete, after the grace time, it exports and deletes the workspace, with the same steps as an approved run.

    Exit codes: 0 done or not agreed to; 1 the run itself failed; 2 the tenant is not leaving, no such tenant, or no
    terminal to ask at; 3 a step did not get through, and the next run goes on.
    """
    from provisioning_pipeline.cli.offboarding import offboard_and_show
    from provisioning_pipeline.model.offboarding import Order

    if delete and undo:
        message = "--delete and --undo exclude each other"
        raise typer.BadParameter(message)
    order = Order.DELETE if delete else Order.UNDO if undo else Order.ARCHIVE
    with configured() as settings:
        code = offboard_and_show(settings, tenant, order, yes=yes, as_json=as_json)
    raise typer.Exit(code)


@app.command()
def status(
    tenant: Annotated[str | None, typer.Argument(help="Slug or database name; all tenants without.")] = None,
    as_json: AsJson = False,
    events: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many of the tenant's last events are shown.")
    ] = 200,
) -> None:
    """Show what the ledger knows: every tenant, or one with all of its conditions and what happened to it.

    What happened is shown newest last: when it was seen or done, who is behind it, what it was, and in which run.
    """
    import asyncio

    from provisioning_pipeline.cli import tables
    from provisioning_pipeline.ledger.announcements import Deliveries
    from provisioning_pipeline.model.announcement import undelivered_in_words
    from provisioning_pipeline.report.summary import cut_in_words, verdict_of
    from provisioning_pipeline.report.timeline_page import Timeline
    from provisioning_pipeline.run.conclude import tenants as read
    from provisioning_pipeline.run.connections import connect
    from provisioning_pipeline.settings import Settings
    from provisioning_pipeline.tasks.vouch import shut_out_summary
    from provisioning_pipeline.views.fleet import cut_since_last_finished
    from provisioning_pipeline.views.tenant_timeline import timelines

    async def run(settings: Settings) -> tuple[list[Timeline], list[str], list[str]]:
        async with connect(settings, dry_run=True) as connections:
            if tenant is not None:
                return await timelines(connections.ledger.database, tenant, most=events), [], []
            lines = await read(connections.ledger, with_conditions=as_json)
            cut = [cut_in_words(point) for point in await cut_since_last_finished(connections.ledger.database)]
            undelivered = undelivered_in_words(await Deliveries(connections.ledger.database).counts())
            notes = [note for note in (await shut_out_summary(connections), undelivered) if note]
            return [Timeline(line) for line in lines], notes, cut

    with configured() as settings:
        chosen, notes, cut = asyncio.run(run(settings))
    if tenant is not None and not chosen:
        raise fail(f"The ledger knows no tenant called {tenant!r}. `provisioning status` lists them.", BAD_INPUT)
    if as_json:
        rows = [tables.tenant_json(found.tenant) for found in chosen]
        if tenant is not None:
            rows = [row | tables.timeline_json(found) for row, found in zip(rows, chosen, strict=True)]
        say_json(rows, indent=2)
    elif not chosen:
        say("Nothing is recorded yet: `provisioning apply` looks for tenants.")
    elif tenant is None:
        tables.tenants(Terminal(), [found.tenant for found in chosen])
        say("", verdict_of([found.tenant for found in chosen]))
        if notes:
            say(*notes)
        if cut:
            say(*cut, "`provisioning apply` goes on from there.")
    else:
        for found in chosen:
            tables.tenant(Terminal(), found.tenant)
            tables.timeline(Terminal(), found)
