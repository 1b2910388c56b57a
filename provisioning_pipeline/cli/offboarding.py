"""Offboards a tenant by hand, or takes that back, after asking."""

import asyncio
from collections.abc import Mapping
from typing import Final

from provisioning_pipeline.cli.applying import applied_json, show
from provisioning_pipeline.cli.exits import ALL_READY, RUN_FAILED, SOME_UNWELL, agreed, run_to_an_end
from provisioning_pipeline.cli.terminal import say, say_json
from provisioning_pipeline.model.offboarding import Order
from provisioning_pipeline.run.run import apply as reconcile
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.tasks.offboard import leaving

_WHAT: Final[Mapping[Order, str]] = {
    Order.ARCHIVE: "Its members are locked out of workspace {workspace}. Every record stays, and `provisioning "
    "offboard {slug} --undo` gives them their access back.",
    Order.DELETE: "Workspace {workspace} is exported, its members are removed, and it is deleted. No call of Twenty's "
    "brings it back.",
    Order.UNDO: "Its members get back what they had in workspace {workspace} before it was archived.",
}
_QUESTIONS: Final[Mapping[Order, str]] = {
    Order.ARCHIVE: "Archive the workspace of {slug}?",
    Order.DELETE: "Delete the workspace of {slug}?",
    Order.UNDO: "Take the offboarding of {slug} back?",
}


def offboard_and_show(settings: Settings, tenant: str, order: Order, *, yes: bool, as_json: bool) -> int:
    """Look, ask, run the steps, show how it ended; the exit code.

    Raises:
        NotLeaving: when that does not fit where the tenant is in its life.
        typer.Exit: when there is no terminal to ask at.
    """
    found = asyncio.run(leaving(settings, tenant, order))
    say(f"{found.slug} is {found.lifecycle.in_words}. {found.evidence}", err=as_json)
    say(_WHAT[order].format(slug=found.slug, workspace=found.workspace_id), err=as_json)
    if not (yes or agreed(_QUESTIONS[order].format(slug=found.slug), undone="changed")):
        return ALL_READY
    applied = run_to_an_end(reconcile(settings, [found.database_name], order=order))
    if as_json:
        say_json(applied_json(applied))
    else:
        show(applied)
    if applied.broken:
        return RUN_FAILED
    return SOME_UNWELL if applied.totals.failed else ALL_READY
