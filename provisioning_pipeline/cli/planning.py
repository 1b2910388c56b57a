"""Shows a plan in the terminal, with its forecast and the name under which it can be applied."""

import asyncio
from collections.abc import Collection
from dataclasses import asdict

from provisioning_pipeline.cli import tables
from provisioning_pipeline.cli.terminal import Terminal, plain, say_json
from provisioning_pipeline.clients.files import NotWritten
from provisioning_pipeline.run.run import foretold
from provisioning_pipeline.run.saved_plans import SavedPlan, keep, saved_plan
from provisioning_pipeline.settings import Settings


def plan_and_show(settings: Settings, tenants: Collection[str], *, as_json: bool) -> None:
    """Plan, keep the plan, and show it; with `as_json` only one object on standard output."""
    plan, forecast = asyncio.run(foretold(settings, tenants))
    saved = saved_plan(plan, settings)
    refusal = _kept(saved, settings)
    if as_json:
        document = {"plan_id": None if refusal else saved.id, **tables.plan_json(plan), "forecast": asdict(forecast)}
        say_json(document, indent=2)
        return
    console = Terminal()
    tables.plan(console, plan)
    tables.forecast(console, forecast)
    console.print(plain(refusal) if refusal else f"Exactly this: `provisioning apply {saved.id}`", soft_wrap=True)


def _kept(saved: SavedPlan, settings: Settings) -> str | None:
    """Keep the plan; why it could not be kept, or None. Looking at a plan needs no place to write to."""
    try:
        keep(saved, settings)
    except NotWritten as error:
        return f"The plan has no name to apply it by: {error}"
    return None
