"""`provisioning verify` as a person and as a script meet it."""

import json
from collections.abc import Iterator

import pytest

from provisioning_pipeline.cli.verify import missed_in_words
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import FaultKind
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline.tasks.verify import NotLookedAt
from provisioning_pipeline_tests.cli.test_cli import provisioning
from provisioning_pipeline_tests.undoing import Site
from provisioning_pipeline_tests.world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Two ready tenants."""
    options = SandboxOptions(tenants=2, members=2, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        world = World(sandbox)
        world.apply()
        yield world


@pytest.mark.slow
def test_all_proved_is_0_a_pending_step_3_and_after_apply_0_again(world: World) -> None:
    environment = world.sandbox.environment()
    well = provisioning("verify", environment=environment)
    alone = provisioning("verify", "acme", "--sample", "0", environment=environment)
    link = world.link("acme")
    world.twenty(
        'INSERT INTO core."keyValuePair" (key, "userId", "workspaceId", value, type) '
        "VALUES ('ONBOARDING_INSTALL_APPS_PENDING', %s, %s, 'true', 'USER_VARIABLE') RETURNING id",
        link["admin_user_id"],
        link["workspace_id"],
    )

    shown = provisioning("verify", environment=environment)
    told = provisioning("verify", "acme", "--sample", "0", "--json", environment=environment)
    status = provisioning("status", "acme", environment=environment)

    assert (well.returncode, shown.returncode, told.returncode) == (0, 3, 3)
    assert "4 of 4 logins proved in 2 tenants" in well.stdout
    assert "1 of 1 login proved in 1 tenant, " in alone.stdout
    assert "3 of 4 logins proved in 2 tenants" in shown.stdout
    assert all(word in shown.stdout for word in (link["admin_email"], "APPS_INSTALLATION", "provisioning apply acme"))
    result = json.loads(told.stdout)
    assert (result["tenants"], result["proved"], result["not_looked_at"]) == (1, 0, [])
    (failed,) = result["failed"]
    assert (failed["slug"], failed["person"], failed["reason"]) == ("acme", link["admin_email"], "WizardShows")
    assert "WizardShows" in status.stdout

    assert provisioning("apply", environment=environment).returncode == 0
    assert provisioning("verify", environment=environment).returncode == 0


@pytest.mark.slow
def test_before_any_workspace_there_is_nobody_to_log_in_as(sandbox_postgres: SandboxPostgres) -> None:
    done = provisioning("verify", environment=Site(sandbox_postgres).environment())

    assert done.returncode == 0
    assert "No tenant has a workspace yet: `provisioning apply` makes them." in done.stdout


def test_a_tenant_that_waits_for_more_than_a_run_says_for_what(sandbox_postgres: SandboxPostgres) -> None:
    site = Site(sandbox_postgres)
    why = "The registry names database x, which is not there."
    sandbox_postgres.execute(
        site.registry,
        "INSERT INTO provisioning.tenant_link (database_name, slug) VALUES ('x', 'bare'), ('y', 'fresh') RETURNING 1",
    )
    sandbox_postgres.execute(
        site.registry,
        "INSERT INTO provisioning.condition (database_name, type, status, reason, message, run_id) "
        "VALUES ('x', 'Ready', 'False', 'DatabaseMissing', %s, 'r1') RETURNING 1",
        [why],
    )

    done = provisioning("verify", "bare", "fresh", "--json", environment=site.environment())

    told = {
        missed["slug"]: (missed["reason"], missed["message"]) for missed in json.loads(done.stdout)["not_looked_at"]
    }
    assert told == {
        "bare": ("DatabaseMissing", why),
        "fresh": ("Waiting", "It has no workspace yet: `provisioning apply fresh` makes it."),
    }
    assert done.returncode == 3


def test_tenants_that_were_missed_for_the_same_reason_are_told_together() -> None:
    def missed(slug: str, message: str) -> NotLookedAt:
        return NotLookedAt(f"db_{slug}", slug, FaultKind.SERVER, Reason.SERVER_UNREACHABLE, message)

    many = [missed(slug, "It is away.") for slug in ("a", "b", "c", "d")]

    assert missed_in_words([*many, missed("e", "It is slow.")]) == [
        "4 tenants (a, b, c, …): ServerUnreachable: It is away.",
        "e: ServerUnreachable: It is slow.",
    ]


@pytest.mark.parametrize("argument", ["no such", "unknown-tenant", "--sample=-1"])
def test_bad_input_is_2_in_words(world: World, argument: str) -> None:
    done = provisioning("verify", argument, environment=world.sandbox.environment())

    assert done.returncode == 2
    assert argument.removeprefix("--").partition("=")[0] in done.stderr


@pytest.mark.slow
def test_without_a_usable_server_it_could_not_run(world: World) -> None:
    environment = world.sandbox.environment() | {"PROVISIONING_TWENTY_BASE_URL": "http://127.0.0.1:9"}

    done = provisioning("verify", environment=environment)

    assert done.returncode == 1
    assert "? 2 tenants (acme, brightwave): ServerUnreachable" in done.stdout
    assert "2 tenants not looked at" in done.stdout
    assert world.conditions("acme")["LoginProved"][0] == "True"


def test_an_unreachable_registry_is_one_sentence(world: World) -> None:
    url = "postgresql://u:canary-5ecret@127.0.0.1:9/db"

    done = provisioning("verify", environment=world.sandbox.environment() | {"PROVISIONING_REGISTRY_URL": url})

    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "canary-5ecret" not in done.stdout + done.stderr
