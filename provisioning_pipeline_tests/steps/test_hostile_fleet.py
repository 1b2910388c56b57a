"""A fleet of 30 in which the databases of many tenants attack whoever looks into them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from provisioning_pipeline.sandbox import hand_made
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions, core_sql
from provisioning_pipeline_tests.attacks import Attack, Ground, Victim
from provisioning_pipeline_tests.attacks.fleet import FLEET
from provisioning_pipeline_tests.world import World

TENANTS, MOST_BYTES = 30, 500_000_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    options = SandboxOptions(tenants=TENANTS - len(FLEET), members=2, twenty=(TwentyOptions(activation_seconds=0.0),))
    with Sandbox(options) as sandbox:
        yield World(sandbox)


def hostile_tenant(world: World, ground: Ground, slug: str, attack: Attack) -> Victim:
    """A tenant whose database, with a workspace of its people and steps of theirs, belongs to the attacker."""
    added = world.sandbox.add_tenant(slug)
    world.sandbox.postgres.drop_database(added.database_name)
    ground.make(added.database_name)
    with world.sandbox.postgres.connect(added.database_name) as connection:
        made = hand_made.insert_workspace(connection, slug, slug, added.tenant.members)
        for user in made.users:
            hand_made.insert_onboarding(
                connection, hand_made.CREATE_PROFILE, value=True, user_id=user, workspace_id=made.id
            )
    ground.does(added.database_name, attack.sql)
    return ground.victim(
        added.database_name,
        make_conninfo(world.settings.tenant_cluster_url.get_secret_value(), dbname=added.database_name),
    )


def test_every_tenant_becomes_ready_and_each_hostile_database_is_told(world: World) -> None:
    ground = Ground(world.sandbox.postgres, core_sql())
    slugs = {attack: f"hostile-{number}" for number, attack in enumerate(FLEET)}
    victims = [hostile_tenant(world, ground, slugs[attack], attack) for attack in FLEET]

    run = subprocess.Popen(
        [Path(sys.executable).with_name("provisioning"), "apply"],
        env=os.environ | world.sandbox.environment(),
        cwd=world.sandbox.data,
    )
    _, status, used = os.wait4(run.pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert used.ru_maxrss * 1024 < MOST_BYTES
    ready = world.registry("SELECT count(*) FROM provisioning.condition WHERE type = 'Ready' AND status = 'True'")
    assert ready == [(TENANTS,)]
    for attack, reason in FLEET.items():
        told = world.conditions(slugs[attack]).get("TenantDatabase", ("", ""))[1]
        # a machine that is busy with other things may come to the deadline of a look first
        assert reason is None or told in (reason, "DatabaseUnreachable"), (attack.name, told)
    for victim in victims:
        victim.must_be_untouched()
    assert world.twenty("SELECT email FROM core.\"user\" WHERE email LIKE '%%bigbank%%'") == []
