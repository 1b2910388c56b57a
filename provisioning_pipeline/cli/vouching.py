"""`provisioning vouch`: an operator's word that an account at Twenty is its address's own."""

import asyncio
import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from provisioning_pipeline.cli.exits import BAD_INPUT, agreed, configured, fail
from provisioning_pipeline.cli.terminal import say, say_json, show_rows

if TYPE_CHECKING:
    from provisioning_pipeline.ledger.members import Vouched
    from provisioning_pipeline.tasks.vouch import ShutOut


def vouch(
    email: Annotated[str | None, typer.Argument(help="The address of the account at Twenty.")] = None,
    server: Annotated[str | None, typer.Option(help="The Twenty server, where several have such an account.")] = None,
    why: Annotated[str | None, typer.Option(help="How you know that the account is theirs; it is recorded.")] = None,
    by: Annotated[str | None, typer.Option(help="Who vouches; without it your name on this machine.")] = None,
    take_back: Annotated[bool, typer.Option("--take-back", help="Forget the vouches for this address.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List every account that an operator vouched for.")] = False,
    tenant: Annotated[
        str | None,
        typer.Option(metavar="SLUG", help="List the members of this tenant whose account proves nothing."),
    ] = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="With --tenant: vouch for all of these.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --all: do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Say that an account that was not made here belongs to the person with its address (reason AccountUnproven).

    Ask that person first: anyone can sign up at Twenty under any address, and has the account's password then. Have
    the person reset it in Twenty before you vouch. The next run gives them the role that Clerk says, Admin too, and
    they are signed in over HTTP from now on. The word holds for this one account while it has this address. Take it
    back with --take-back: the person keeps what they have then, and is not raised any more.

    `--tenant SLUG` lists the members of a tenant that this concerns, for example after taking over a Twenty in use;
    with `--all` it vouches for all of them.
    """
    if list_all:
        if email or take_back or tenant:
            raise fail("--list goes alone.", BAD_INPUT)
        _list(as_json=as_json)
    elif tenant is not None:
        if email or take_back:
            raise fail("--tenant goes with --all, and without an address.", BAD_INPUT)
        _tenant(tenant, (by or getpass.getuser()).strip(), _reason(why) if all_of_them else None, yes, as_json=as_json)
    elif email is None or "@" not in email:
        raise fail("Give the address of one account, or --list.", BAD_INPUT)
    elif take_back:
        _take_back(email, server, as_json=as_json)
    else:
        _vouch(email, server, (by or getpass.getuser()).strip(), _reason(why), as_json=as_json)


def _reason(why: str | None) -> str:
    reason = (why or "").strip()
    if not reason or len(reason) > 500 or not reason.isprintable():
        raise fail('Say how you know it, in up to 500 printable characters: --why "...".', BAD_INPUT)
    return reason


def _tenant(tenant: str, by: str, why: str | None, yes: bool, *, as_json: bool) -> None:
    """List who is shut out, and vouch for all of them where a reason is given."""
    from provisioning_pipeline.tasks.vouch import shut_out_of, vouch_for_all

    with configured() as settings:
        found = asyncio.run(shut_out_of(settings, tenant))
        if not as_json:
            _show(found, tenant)
        if why is not None and found:
            if yes or agreed(f"Vouch for all {len(found)} of them?", undone="changed"):
                asyncio.run(vouch_for_all(settings, found, by=by, why=why))
            else:
                why = None
    if as_json:
        rows = [
            {
                "server": member.server,
                "twenty_user_id": member.twenty_user_id,
                "email": member.email,
                "name": member.name,
                "created_at": member.created_at.isoformat(),
                "vouched": why is not None,
            }
            for member in found
        ]
        say_json(rows, indent=2)
    elif why is not None and found:
        say(f"{by} vouches for {len(found)}. The next run gives them the roles that Clerk says.")


def _show(found: "list[ShutOut]", tenant: str) -> None:
    if not found:
        say(f"Every account of the members of {tenant} that was checked is proved to be theirs.")
        return
    show_rows(
        ("e-mail", "name at Clerk", "server", "signed up"),
        [(member.email, member.name, member.server, f"{member.created_at:%Y-%m-%d %H:%M}") for member in found],
    )


def _vouch(email: str, server: str | None, by: str, why: str, *, as_json: bool) -> None:
    from provisioning_pipeline.tasks.vouch import vouch as give

    with configured() as settings:
        given = asyncio.run(give(settings, email, server=server, by=by, why=why))
    if as_json:
        document = {"server": given.server, "twenty_user_id": given.twenty_user_id, "email": given.email}
        say_json(document | {"created_at": given.created_at.isoformat(), "vouched_by": by, "why": why})
        return
    say(
        f"{by} vouches for {given.email} on {given.server} (account {given.twenty_user_id}, signed up "
        f"{given.created_at:%Y-%m-%d %H:%M}). The next run gives them the role that Clerk says."
    )
    if given.verified:
        say("Twenty says that its mailbox was verified, so it needed no vouch.")


def _take_back(email: str, server: str | None, *, as_json: bool) -> None:
    from provisioning_pipeline.tasks.vouch import take_back

    with configured() as settings:
        taken = asyncio.run(take_back(settings, email, server=server))
    if not taken:
        raise fail(f"No operator vouched for {email}; `provisioning vouch --list` shows the accounts.", BAD_INPUT)
    if as_json:
        say_json([_row(known) for known in taken], indent=2)
        return
    for known in taken:
        say(f"No operator vouches for {known.email} on {known.server} any more. They keep their role.")


def _list(*, as_json: bool) -> None:
    from provisioning_pipeline.tasks.vouch import vouched

    with configured() as settings:
        found = asyncio.run(vouched(settings))
    if as_json:
        say_json([_row(known) for known in found], indent=2)
        return
    if not found:
        say("No operator has vouched for any account.")
        return
    show_rows(
        ("e-mail", "server", "vouched by", "when", "why"),
        [(one.email, one.server, one.vouched_by, f"{one.vouched_at:%Y-%m-%d %H:%M}", one.why) for one in found],
    )


def _row(known: "Vouched") -> dict[str, str]:
    return asdict(known) | {"vouched_at": known.vouched_at.isoformat()}
