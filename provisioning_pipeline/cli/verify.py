"""Runs a verification in the terminal: progress while it works, the failures in a table and the totals at the end."""

import logging
from collections.abc import Collection, Sequence

from provisioning_pipeline.cli.exits import run_to_an_end
from provisioning_pipeline.cli.logs import LogFormat, log_as
from provisioning_pipeline.cli.terminal import Terminal, plain, progress_bar, say_json, table
from provisioning_pipeline.model.names import visible
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.tasks.verify import NotLookedAt, TenantVerified, Verified
from provisioning_pipeline.tasks.verify import verify as prove

_LOG = logging.getLogger(__name__)
_MOST_NAMED = 3


def verify_and_show(
    settings: Settings,
    tenants: Collection[str],
    *,
    sample: int | None,
    as_json: bool,
    log_format: LogFormat | None = None,
) -> Verified:
    """Verify and show how it goes; with `as_json` only one object on standard output.

    With `log_format` a log says how it goes, and no bar does.
    """
    if log_format:
        log_as(log_format)
    with progress_bar(quiet=as_json or log_format is not None) as bar:
        task = bar.add_task("looking", total=None)

        def progress(done: TenantVerified, count: int) -> None:
            mark = "?" if done.not_looked_at else "✗" if done.failures else "✓"
            bar.update(task, total=count, advance=1, description=f"{plain(done.slug)} {mark}")
            if log_format:
                words = {"?": "was not looked at", "✗": "has people who do not get in", "✓": "lets everyone in"}[mark]
                level = logging.INFO if mark == "✓" else logging.WARNING
                _LOG.log(level, "%s %s.", visible(done.slug), words, extra={"tenant": done.slug})

        verified = run_to_an_end(prove(settings, tenants, sample=sample, progress=progress))
    if as_json:
        say_json(verified_json(verified))
    else:
        show(Terminal(), verified)
    return verified


def show(console: Terminal, verified: Verified) -> None:
    """The end of a verification for a person."""
    if verified.failures:
        rows = table("tenant", "person", "what they would see", "what to do")
        for failure in verified.failures:
            cells = (failure.email, f"{failure.reason}: {failure.seen}", failure.advice)
            rows.add_row(f"[bold]{plain(failure.slug)}[/]", *map(plain, cells))
        console.print(rows)
        console.print()
    for server in verified.servers:
        if not server.ok:
            console.print(f"[yellow]! {plain(server.message)}[/]")
    for sentence in missed_in_words(verified.not_looked_at):
        console.print(f"[yellow]? {plain(sentence)}[/]")
    for defect in verified.defects:
        console.print(f"[red]An unforeseen error: {plain(defect)}[/]")
    console.print(f"[bold]{totals(verified)}[/]")


def totals(verified: Verified) -> str:
    """One line: how many came in, of how many tenants, and how many tenants were not looked at."""
    logins, failed, missed = len(verified.proofs), len(verified.failures), len(verified.not_looked_at)
    if not (logins or missed):
        return (
            "No tenant's workspace is active: `provisioning status` says why."
            if verified.workspaces
            else "No tenant has a workspace yet: `provisioning apply` makes them."
        )
    line = f"{logins - failed} of {_counted(logins, 'login')} proved in {_counted(verified.tenants, 'tenant')}"
    line += f", {_counted(missed, 'tenant')} not looked at" if missed else ""
    return f"{line}, {verified.seconds:.1f} s."


def missed_in_words(missed: Sequence[NotLookedAt]) -> list[str]:
    """One sentence for each reason why a tenant was not examined, with all tenants that have it."""
    slugs: dict[str, list[str]] = {}
    for tenant in missed:
        slugs.setdefault(f"{tenant.reason}: {tenant.message}", []).append(tenant.slug)
    sentences = []
    for why, found in slugs.items():
        more = ", …" if len(found) > _MOST_NAMED else ""
        named = f"{len(found)} tenants ({', '.join(found[:_MOST_NAMED])}{more})" if len(found) > 1 else found[0]
        sentences.append(f"{named}: {why}")
    return sentences


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def verified_json(verified: Verified) -> dict[str, object]:
    """The end of a verification for a machine."""
    return {
        "run_id": verified.run_id,
        "tenants": verified.tenants,
        "proved": len(verified.proofs) - len(verified.failures),
        "failed": [
            {
                "slug": failure.slug,
                "database_name": failure.database_name,
                "person": failure.email,
                "reason": failure.reason,
                "seen": failure.seen,
                "what_to_do": failure.advice,
            }
            for failure in verified.failures
        ],
        "not_looked_at": [
            {
                "slug": missed.slug,
                "database_name": missed.database_name,
                "reason": missed.reason,
                "message": missed.message,
            }
            for missed in verified.not_looked_at
        ],
        "servers": [
            {"server": server.server, "contract": server.fingerprint, "ok": server.ok, "message": server.message}
            for server in verified.servers
        ],
        "defects": list(verified.defects),
        "seconds": round(verified.seconds, 3),
    }
