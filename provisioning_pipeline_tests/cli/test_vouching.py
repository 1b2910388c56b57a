"""`provisioning vouch`: an operator's word is recorded, listed and taken back."""

import json
from collections.abc import Iterator

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.cli.test_cli import Done, provisioning
from provisioning_pipeline_tests.steps.test_members import people, ready, sign_up
from provisioning_pipeline_tests.steps.test_unproven import lose_the_ledger, own_passwords
from provisioning_pipeline_tests.world import World

CEO = "ceo@acme.example"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        made = World(sandbox)
        # whoever signs up first becomes the server's admin
        service = made.settings.servers[0]
        sign_up(made, service.service_email, service.service_password.get_secret_value())
        sign_up(made, CEO, "Their0wn-Password!")
        yield made


def vouch(world: World, *arguments: str) -> Done:
    return provisioning("vouch", *arguments, environment=world.sandbox.environment())


def listed(world: World) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(vouch(world, "--list", "--json").stdout)
    return found


@pytest.mark.slow
def test_a_vouch_is_recorded_with_who_and_why_and_taken_back(world: World) -> None:
    done = vouch(world, CEO.upper(), "--why", "She told me so.", "--by", "ops")

    assert (done.returncode, CEO in done.stdout) == (0, True)
    (known,) = listed(world)
    assert (known["email"], known["vouched_by"], known["why"]) == (CEO, "ops", "She told me so.")
    assert known["twenty_user_id"] in done.stdout
    assert vouch(world, CEO, "--take-back").returncode == 0
    assert listed(world) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Give the address"),
        ((CEO,), "how you know it"),
        ((CEO, "--why", " "), "how you know it"),
        (("nobody@acme.example", "--why", "x"), "no account nobody@acme.example"),
        ((CEO, "--why", "x", "--server", "mars"), "No Twenty server is called 'mars'"),
        ((CEO, "--take-back"), "No operator vouched for"),
        ((CEO, "--list"), "--list goes alone"),
    ],
)
def test_what_cannot_be_vouched_for_is_told_in_words(world: World, arguments: tuple[str, ...], told: str) -> None:
    done = vouch(world, *arguments)

    assert done.returncode == 2
    assert told in done.stderr
    assert listed(world) == []


@pytest.mark.slow
def test_all_members_of_a_tenant_who_are_refused_are_counted_listed_and_vouched_for(world: World) -> None:
    slug = ready(world, "inherited", members=3)
    emails = sorted(email.lower() for email in people(world, slug))
    lose_the_ledger(world, slug)
    own_passwords(world, emails)
    world.apply(slug)
    environment = world.sandbox.environment()

    (note,) = [note for note in world.plan(slug).notes if "vouch" in note]
    told = [provisioning(*command, environment=environment).stdout for command in (["status"], ["preflight"])]
    shown = json.loads(vouch(world, "--tenant", slug, "--json").stdout)
    asked = vouch(world, "--tenant", slug, "--all", "--why", "Old colleagues.")
    unasked = vouch(world, "--tenant", slug, "--all")
    unknown = vouch(world, "--tenant", "nobody-has-it")

    assert note.startswith("3 members have accounts at Twenty, in 1 tenant, made elsewhere")
    assert all("3 members have accounts" in " ".join(text.split()) for text in told)
    assert [(row["email"], row["vouched"]) for row in shown] == [(email, False) for email in emails]
    assert (asked.returncode, unasked.returncode, unknown.returncode) == (2, 2, 2)
    assert ("no terminal" in asked.stderr, "--why" in unasked.stderr) == (True, True)
    assert [known for known in listed(world) if known["email"] in emails] == []

    done = vouch(world, "--tenant", slug, "--all", "--why", "Old colleagues.", "--by", "ops", "--yes")

    assert done.returncode == 0
    assert {known["email"] for known in listed(world)} >= set(emails)
    assert json.loads(vouch(world, "--tenant", slug, "--json").stdout) == []
    assert [note for note in world.plan(slug).notes if "vouch" in note] == []
    assert "made elsewhere" not in provisioning("status", environment=environment).stdout
