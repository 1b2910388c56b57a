"""`provisioning vouch`: an operator's word is recorded, listed and taken back."""

import json
from collections.abc import Iterator

import pytest

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.act.test_members import sign_up
from provisioning_pipeline_tests.cli.test_cli import Done, provisioning
from provisioning_pipeline_tests.world import World

CEO = "ceo@acme.example"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=0, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        made = World(sandbox)
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
        ((CEO, "--take-back"), "Nobody vouched for"),
        ((CEO, "--list"), "--list goes alone"),
    ],
)
def test_what_cannot_be_vouched_for_is_told_in_words(world: World, arguments: tuple[str, ...], told: str) -> None:
    done = vouch(world, *arguments)

    assert done.returncode == 2
    assert told in done.stderr
    assert listed(world) == []
