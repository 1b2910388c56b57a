"""A fifth step is a folder (`install_apps/`) and one line in `steps.STEPS`: it is planned, foretold, taken and told."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ariadne import MutationType, QueryType
from graphql import GraphQLResolveInfo

from provisioning_pipeline import steps
from provisioning_pipeline.model.condition import ALWAYS_ASKED, Reason, Status, derive_ready, is_true
from provisioning_pipeline.report.plan_lines import lines_of
from provisioning_pipeline.run.connections import connect
from provisioning_pipeline.run.run import Applied, plan_and_forecast
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions, schemas
from provisioning_pipeline.sandbox.twenty.callers import require_settings_permission, require_workspace
from provisioning_pipeline.sandbox.twenty.errors import TwentyError
from provisioning_pipeline.sandbox.twenty.runtime import call_of
from provisioning_pipeline.steps import DATABASES, LOGINS, MEMBERS, ONBOARDING, SUSPENSION, WORKSPACES, questions
from provisioning_pipeline.views.tenant_timeline import timeline
from provisioning_pipeline_tests.steps.install_apps.changes import APPS
from provisioning_pipeline_tests.steps.install_apps.step import APPS_STEP
from provisioning_pipeline_tests.world import World, settings_of

_APPS = """
type Application { universalIdentifier: String! }
extend type Query { findManyApplications: [Application!]! }
extend type Mutation { installApplication(universalIdentifier: String!): Application! }
"""


class Apps:
    """Apps in the stand-in Twenty, which has none: what a real 2.21.0 answers, run there by hand."""

    def __init__(self) -> None:
        self.installed: dict[str, list[str]] = {}
        self.registered = set(APPS)
        self.query, self.mutation = QueryType(), MutationType()
        self.query.set_field("findManyApplications", self._find)
        self.mutation.set_field("installApplication", self._install)

    async def _find(self, _: None, info: GraphQLResolveInfo) -> list[dict[str, str]]:
        workspace = require_workspace(call_of(info))
        return [{"universalIdentifier": app} for app in self.installed.get(str(workspace["id"]), ())]

    async def _install(self, _: None, info: GraphQLResolveInfo, **arguments: str) -> dict[str, str]:
        call, app = call_of(info), arguments["universalIdentifier"]
        await require_settings_permission(call)
        if app not in self.registered:
            raise TwentyError(f'No application registration found for identifier "{app}"', "NOT_FOUND")
        there = self.installed.setdefault(str(require_workspace(call)["id"]), [])
        if app not in there:
            there.append(app)
        return {"universalIdentifier": app}


@pytest.fixture
def apps(monkeypatch: pytest.MonkeyPatch) -> Apps:
    found = Apps()
    # a schema that was built for another test has the apps of that one
    monkeypatch.setattr(schemas, "_endpoints", schemas._endpoints.__wrapped__)
    monkeypatch.setattr(schemas, "_CORE", (*schemas._CORE, found.query, found.mutation))
    monkeypatch.setattr(schemas, "_further_statuses", lambda _options: _APPS)
    return found


@pytest.fixture
def world(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=2, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        # the one line
        monkeypatch.setattr(steps, "STEPS", (DATABASES, WORKSPACES, SUSPENSION, MEMBERS, ONBOARDING, APPS_STEP, LOGINS))
        yield World(sandbox)


def told(world: World) -> dict[str, list[str]]:
    """Slug → its lines in a plan."""
    return {entry.tenant.slug: [str(line) for line in lines_of(entry)] for entry in world.plan().tenants}


def as_foretold(world: World) -> Applied:
    overrides: dict[str, Any] = {"report_path": world.settings.report_path}
    _, forecast = asyncio.run(plan_and_forecast(settings_of(world.sandbox.environment(), **overrides), ()))
    applied = world.apply()
    assert abs(forecast.twenty_calls - applied.totals.twenty_calls) <= 3
    return applied


def events(world: World, slug: str) -> list[str]:
    """A tenant's timeline."""

    async def read() -> list[str]:
        async with connect(world.settings, dry_run=True) as connections:
            found = await timeline(connections.ledger.database, slug)
            assert found is not None
            return [event.what for event in found.events]

    return asyncio.run(read())


def drift(world: World) -> list[tuple[str, str]]:
    """Slug and what the last run found to differ."""
    return [
        tuple(row)
        for row in world.registry(
            "SELECT l.slug, d.detail FROM provisioning.drift d JOIN provisioning.tenant_link l USING (database_name) "
            "WHERE d.run_id = (SELECT run_id FROM provisioning.run ORDER BY begun_at DESC LIMIT 1) ORDER BY 1, 2"
        )
    ]


@pytest.mark.slow
def test_a_folder_and_a_line_make_a_step_that_is_planned_foretold_taken_and_told(world: World, apps: Apps) -> None:
    slugs = sorted(told(world))
    assert all("+ install 2 apps" in lines for lines in told(world).values())

    applied = as_foretold(world)
    assert applied.count("ready") == len(slugs) == 2
    assert sorted(apps.installed) == sorted(workspace.id for workspace in world.workspaces())
    assert all(installed == list(APPS) for installed in apps.installed.values())
    for slug in slugs:
        assert world.conditions(slug)["AppsInstalled"] == ("True", "NothingPending")
        assert any("install apps" in event for event in events(world, slug))
    assert ("install apps", 2) in [(change, count) for change, count, _ in applied.summary.done_by_change]

    # at rest nothing is due, nothing is called
    assert not any(told(world).values())
    assert as_foretold(world).totals.twenty_calls == 0


def test_only_a_step_that_is_taken_has_a_say_in_what_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    assert questions() == ALWAYS_ASKED

    monkeypatch.setattr(steps, "STEPS", (DATABASES, WORKSPACES, SUSPENSION, MEMBERS, ONBOARDING, APPS_STEP, LOGINS))
    assert [str(type_) for type_ in questions()][-3:] == ["OnboardingComplete", "AppsInstalled", "LoginProved"]
    whole = {type_: is_true(type_, Reason.ALL_TRUE, "") for type_ in ALWAYS_ASKED}
    assert derive_ready(whole).status is Status.TRUE
    assert derive_ready(whole, questions()).message == "AppsInstalled has not been looked at yet."


@pytest.mark.slow
def test_tenants_of_before_get_it_too_and_a_refusal_is_told_and_healed(
    world: World, apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(steps, "STEPS", (DATABASES, WORKSPACES, SUSPENSION, MEMBERS, ONBOARDING, LOGINS))
        world.apply()
    first, second = sorted(told(world))
    assert apps.installed == {}
    assert told(world)[first] == ["+ install 2 apps"]

    apps.registered.discard(APPS[1])
    assert world.apply().count("ready") == 0
    assert drift(world) == [(first, "Apps are not installed."), (second, "Apps are not installed.")]
    status, reason = world.conditions(first)["AppsInstalled"]
    assert (status, reason) == ("False", "RefusedByTwenty")
    assert all(installed == [APPS[0]] for installed in apps.installed.values())

    apps.registered.add(APPS[1])
    assert as_foretold(world).count("ready") == 2
    assert all(installed == list(APPS) for installed in apps.installed.values())


@pytest.mark.parametrize("name", ["changes.py", "act.py", "step.py"])
def test_the_page_that_shows_how_to_add_a_step_has_the_code_that_runs_here(name: str) -> None:
    tests = Path(__file__).parent
    code = (tests / "install_apps" / name).read_text("utf-8")
    page = (tests.parents[1] / "docs" / "adding-a-step.md").read_text("utf-8")
    assert f"```python\n{code.replace('provisioning_pipeline_tests.steps', 'provisioning_pipeline.steps')}```" in page
