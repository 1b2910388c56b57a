"""Shows a plan in the terminal, with its forecast and the name under which it can be applied."""

import asyncio
import json
from collections.abc import Collection
from dataclasses import asdict

from rich.console import Console

from provisioning_pipeline.cli import tables
from provisioning_pipeline.pipeline.apply import foretold
from provisioning_pipeline.pipeline.plans import keep, saved_plan
from provisioning_pipeline.settings import Settings


def plan_and_show(settings: Settings, tenants: Collection[str], *, as_json: bool) -> None:
    """Plan, keep the plan, and show it; with `as_json` only one object on standard output."""
    plan, forecast = asyncio.run(foretold(settings, tenants))
    saved = saved_plan(plan, settings)
    keep(saved, settings)
    if as_json:
        document = {"plan_id": saved.id, **tables.plan_json(plan), "forecast": forecast and asdict(forecast)}
        print(json.dumps(document, indent=2, default=str))
        return
    console = Console()
    tables.plan(console, plan)
    if forecast:
        tables.forecast(console, forecast)
    console.print(f"Exactly this: `provisioning apply {saved.id}`", soft_wrap=True)
