"""Half of a tenant's people are in Twenty already, in every state that one can be in: one run sets them all right."""

from collections.abc import Iterator

import pytest

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline.sandbox.preexisting import Preexisting, State, places_of, seed_preexisting
from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World

REPORTED = {State.FOREIGN_PASSWORD: "AccountUnproven", State.CAPITALS: "AccountAmbiguous"}
"""States in which nobody can be added silently; the person and what to do are named."""


@pytest.fixture(scope="module")
def seeded() -> Iterator[tuple[World, list[Preexisting]]]:
    """Two tenants with two new people each, and each state once per tenant; after one run."""
    with Sandbox(SandboxOptions(tenants=2, members=1, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        world = World(sandbox, harm_share=0.5)
        world.apply()
        key = world.settings.member_password_key
        people = seed_preexisting(
            sandbox, places_of(sandbox), len(State), lambda email: derived_password(key, email).get_secret_value()
        )
        for slug in ("acme", "brightwave"):
            new = sandbox.clerk.add_user(f"brand.new@{slug}.example", first_name="Brand", last_name="New")
            sandbox.clerk.add_membership(world.organization(slug), new.id)
        world.apply(harm_share=0.5)
        yield world, people


@pytest.mark.slow
@pytest.mark.parametrize("state", [state for state in State if state not in REPORTED])
def test_whoever_can_be_added_silently_is_a_whole_member(seeded: tuple[World, list[Preexisting]], state: State) -> None:
    world, people = seeded
    for person in (person for person in people if person.state is state):
        role = "Admin" if person.clerk_role == "org:admin" else "Member"
        name = f"{person.first_name} {person.last_name}".strip()
        assert world.members(person.slug)[person.email] == (role, name), person
        seen = world.sees_as(person.slug, person.email)
        assert (seen["status"], seen["workspace_id"]) == ("COMPLETED", world.link(person.slug)["workspace_id"]), person
        linked = world.registry(
            "SELECT twenty_user_id::text FROM provisioning.member_link WHERE clerk_user_id = %s", person.clerk_user_id
        )
        assert linked[0][0] == seen["user_id"], person


@pytest.mark.slow
@pytest.mark.parametrize("state", REPORTED)
def test_whoever_cannot_is_named_and_left_as_they_are(seeded: tuple[World, list[Preexisting]], state: State) -> None:
    world, people = seeded
    for person in (person for person in people if person.state is state):
        assert person.email not in world.members(person.slug)
        message = world.registry(
            "SELECT message FROM provisioning.condition WHERE database_name = %s AND type = 'MembersSynced'",
            world.link(person.slug)["database_name"],
        )[0][0]
        assert person.email in message


@pytest.mark.slow
def test_nobody_else_suffers_and_no_mail_is_sent_and_the_next_run_does_nothing(
    seeded: tuple[World, list[Preexisting]],
) -> None:
    world, _ = seeded
    for slug in ("acme", "brightwave"):
        assert world.sees_as(slug, f"brand.new@{slug}.example")["status"] == "COMPLETED"
        assert world.sees(slug)["status"] == "COMPLETED"
    assert world.sandbox.twenty[0].mails == []
    world.sandbox.reset_counters()
    assert world.apply(harm_share=0.5).summary.actions == 0
    assert world.mutating_calls() == 0
