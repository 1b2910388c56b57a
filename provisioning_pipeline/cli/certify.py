"""`provisioning certify`: asks, shows how it goes, and ends with a verdict, a table, a page, and the exit code."""

import asyncio
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
from pydantic import SecretStr

from provisioning_pipeline.cli.exits import ALL_READY, BAD_INPUT, RUN_FAILED, agreed, fail, until_told_to_stop
from provisioning_pipeline.cli.terminal import Terminal, plain, progress_bar, say_json, table
from provisioning_pipeline.model.contract import Certificate, CrashPoint, Observation, Standing
from provisioning_pipeline.report import certificate_page
from provisioning_pipeline.settings import Settings, TwentyServer
from provisioning_pipeline.tasks.certify.certify import Progress, Wanted, certify
from provisioning_pipeline.tasks.certify.clerk import ClerkTrial
from provisioning_pipeline.tasks.certify.mail import Logs, MailWitness
from provisioning_pipeline.tasks.certify.trial import EMAIL

_GLYPHS = {
    Standing.HOLDS: "[green]✓[/]",
    Standing.DIFFERS: "[green]≈[/]",
    Standing.FAILS: "[red]✗[/]",
    Standing.BLOCKED: "[red]?[/]",
    Standing.UNSEEN: "[dim]-[/]",
}


@dataclass(frozen=True)
class Options:
    """What the operator asked for on the command line."""

    server: str | None
    yes: bool
    as_json: bool
    skip_clerk: bool
    skip_crashes: bool
    session_token: str | None
    logs: tuple[Path, ...]


def certify_and_show(settings: Settings, options: Options) -> int:
    """Certify one server and show what came of it; the exit code.

    Raises:
        typer.Exit: when no such server is configured, or there is no terminal to ask at.
    """
    server = _server(settings, options.server)
    errors = Terminal(stderr=True)
    if not options.yes:
        errors.print(
            f"This makes workspaces and accounts to throw away on {plain(server.base_url)} (server "
            f'"{plain(server.name)}", as {plain(server.service_email)}), at most two workspaces at a time, called '
            "certify-…, and removes them at the end. No tenant is touched and no e-mail is sent. It takes a few "
            "minutes.",
            soft_wrap=True,
        )
        if not agreed("Go on?", undone="done"):
            errors.print("Nothing was done.")
            return ALL_READY
    with ExitStack() as stack:
        wanted = _wanted(settings, server, options, stack)
        certificate = _run(settings, wanted, quiet=options.as_json)
    path = certificate_page.write(certificate, settings.report_path, readers=settings.files_readable_by)
    if options.as_json:
        say_json(certificate.as_json() | {"page": str(path)}, indent=2)
    else:
        show(Terminal(), certificate, path)
    return ALL_READY if certificate.holds else RUN_FAILED


def _server(settings: Settings, name: str | None) -> TwentyServer:
    names = [server.name for server in settings.servers]
    if name is None and len(names) == 1:
        return settings.servers[0]
    if name not in names:
        asked = "Several servers are configured" if name is None else f"No server is called {name!r}"
        raise fail(f"{asked}: give --server with one of {', '.join(names)}.", BAD_INPUT)
    return settings.servers[names.index(name)]


def _wanted(settings: Settings, server: TwentyServer, options: Options, stack: ExitStack) -> Wanted:
    from provisioning_pipeline.cli.certify_bench import SandboxBench, sandbox_bench
    from provisioning_pipeline.sandbox.postgres import PostgresUnavailableError

    bench: SandboxBench | None = None
    without = "left out (--skip-crash-points)"
    if not options.skip_crashes:
        try:
            bench = stack.enter_context(sandbox_bench(settings, server))
        except PostgresUnavailableError as error:
            without = f"the embedded PostgreSQL for the throw-away registry does not start here ({error})"
    given = options.session_token or ""
    token = (sys.stdin.readline() if given == "-" else given).strip()
    return Wanted(
        server=server,
        bench=bench,
        without_bench=without,
        mail=_mail(server, options.logs),
        clerk=None if options.skip_clerk else ClerkTrial(settings, SecretStr(token) if token else None),
    )


class SandboxMails:
    """The e-mails that a stand-in of the sandbox would have sent."""

    name = "the sandbox's list of e-mails"

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url}/sandbox/state"
        self._before = len(self._all())

    def _all(self) -> list[str]:
        answer = httpx2.get(self._url, timeout=5, trust_env=False).json()
        return [str(mail["to"]) for mail in answer["mails"]]

    def sent(self) -> tuple[list[str], int]:
        """Addresses since the beginning, and how many e-mails showed none."""
        return [address for address in self._all()[self._before :] if EMAIL.fullmatch(address)], 0


def _mail(server: TwentyServer, logs: tuple[Path, ...]) -> MailWitness | None:
    if logs:
        return Logs(logs)
    try:
        return SandboxMails(server.base_url)
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        # a real server has no such path
        return None


def _run(settings: Settings, wanted: Wanted, *, quiet: bool) -> Certificate:
    with progress_bar(quiet=quiet) as bar:
        task = bar.add_task("beginning", total=None)
        stage = ""

        def begin(name: str, steps: int | None) -> None:
            nonlocal stage
            if name != stage:
                bar.reset(task, total=steps, description=name)
            stage = name
            bar.update(task, total=steps)

        def seen(observation: Observation) -> None:
            bar.update(task, advance=1, description=f"{stage}: {plain(observation.behaviour)}")
            if observation.standing in (Standing.FAILS, Standing.BLOCKED):
                bar.console.print(_line(observation), soft_wrap=True)

        def cut(point: CrashPoint) -> None:
            bar.update(task, advance=1, description=f"{stage}: {plain(point.moment)}")
            if not point.converges:
                bar.console.print(f"[red]✗[/] killed {plain(point.moment)}: {plain(point.seen)}", soft_wrap=True)

        return asyncio.run(until_told_to_stop(certify(settings, wanted, Progress(begin, seen, cut))))


def _line(seen: Observation) -> str:
    return f"{_GLYPHS[seen.standing]} {plain(seen.behaviour)}: expected {plain(seen.expected)}; seen {plain(seen.seen)}"


def show(console: Terminal, certificate: Certificate, page: str) -> None:
    """The whole certificate for a person."""
    rows = table("", "behaviour", "expected", "seen")
    topic = ""
    for seen in certificate.observations:
        if seen.topic != topic:
            topic = seen.topic
            rows.add_row("", f"[bold]{plain(topic)}[/]", "", "")
        rows.add_row(_GLYPHS[seen.standing], plain(seen.behaviour), plain(seen.expected), plain(seen.seen))
    console.print(rows)
    console.print()
    for point in certificate.crash_points:
        if not point.converges:
            console.print(f"[red]✗ killed {plain(point.moment)}[/]: {plain(point.seen)}", soft_wrap=True)
    for sentence in certificate.not_looked_at:
        console.print(f"[dim]Not looked at: {plain(sentence)}[/]", soft_wrap=True)
    for sentence in certificate.cleaning:
        console.print(f"[dim]{plain(sentence)}[/]", soft_wrap=True)
    contract = f"contract {certificate.contract.fingerprint}, " if certificate.contract else ""
    colour = "green" if certificate.holds else "red"
    console.print(f"[bold {colour}]{plain(certificate.verdict)}[/]", soft_wrap=True)
    console.print(f"{contract}{certificate.seconds:.0f} s. Page: {plain(page)}", soft_wrap=True)
