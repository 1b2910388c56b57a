"""Lets a tenant whose workspace is gone start anew, after asking."""

import asyncio

from provisioning_pipeline.cli.exits import ALL_READY, BAD_INPUT, agreed, fail, run_to_an_end
from provisioning_pipeline.cli.terminal import say, say_json
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.tasks.restart import Gone, NotGone, gone
from provisioning_pipeline.tasks.restart import restart as start_anew


def restart_and_show(settings: Settings, tenant: str, *, yes: bool, as_json: bool) -> int:
    """Look, ask, drop the link, and say what comes next; the exit code.

    Raises:
        typer.Exit: when the workspace is not gone, or there is no terminal to ask at.
    """
    try:
        found = asyncio.run(gone(settings, tenant))
        say(_seen(found), err=as_json)
        if not (yes or agreed(f"Give {found.slug} a new, empty workspace?", undone="changed")):
            _end(found, None, "Nothing was changed.", as_json=as_json)
            return ALL_READY
        run_id = run_to_an_end(start_anew(settings, found))
    except NotGone as fault:
        raise fail(f"{fault} Nothing was changed.", BAD_INPUT) from None
    sentence = f"The next run makes {found.slug} a new workspace: `provisioning apply {found.slug}` does that now."
    _end(found, run_id, sentence, as_json=as_json)
    return ALL_READY


def _seen(found: Gone) -> str:
    if found.offboarded is not None:
        exported = found.offboarded.export_path
        kept = f" What it held was exported to {exported}." if exported else ""
        return f"Workspace {found.workspace_id} of {found.slug} on {found.server} was deleted by a run of ours.{kept}"
    kept = (
        "Its row is gone, too."
        if found.hard
        else f"Twenty keeps its row for a while, and with it the subdomain {found.subdomain}, so the new one may be "
        "called otherwise."
    )
    return (
        f"Workspace {found.workspace_id} of {found.slug} on {found.server} was deleted in Twenty. {kept} "
        f"{found.members} member links, the admin and the proofs of logins will be forgotten; the members come back "
        "from Clerk. The data of the old workspace does not."
    )


def _end(found: Gone, run_id: str | None, sentence: str, *, as_json: bool) -> None:
    if as_json:
        document = {
            "tenant": found.slug,
            "database_name": found.database_name,
            "workspace_id": found.workspace_id,
            "server": found.server,
            "restarted": run_id is not None,
            "run_id": run_id,
            "verdict": sentence,
        }
        say_json(document, indent=2)
    else:
        say(sentence)
