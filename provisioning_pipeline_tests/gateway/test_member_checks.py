"""Member checks of several processes, which have one part of Clerk's limit together."""

import asyncio
from collections import Counter

import pytest

from provisioning_pipeline.gateway.member_checks import MemberChecks
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.settings import Settings
from provisioning_pipeline_tests.http.fleet import fleet_in


async def checked(settings: Settings, organization: str, people: list[str], *, certain: bool = False) -> Counter[str]:
    """How the checks of these people end in a process that has made none before."""
    counts: Counter[str] = Counter()
    checks = MemberChecks(settings.sessions, counts)
    for person in people:
        await checks.standing(organization, person, certain=certain)
    await checks.close()
    return counts


def test_what_one_process_checks_counts_for_the_others_and_sign_ins_have_their_own(
    sandbox_postgres: SandboxPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioning_pipeline.gateway.member_checks._CHECK_SECONDS", 30.0)
    with StandInClerk() as clerk, fleet_in(sandbox_postgres) as fleet:
        people = [clerk.add_user(f"user{number}@acme.test").id for number in range(4)]
        acme = clerk.add_organization("Acme").id
        for person in people:
            clerk.add_membership(acme, person)
        settings = fleet.settings(
            clerk_base_url=clerk.base_url,
            clerk_secret_key=clerk.secret_key,
            # ten checks in 10 s of each kind, four of them at once
            clerk_requests_per_10_seconds=100,
            clerk_look_share=0.4,
        )
        first = asyncio.run(checked(settings, acme, people))
        taken = fleet.sql("SELECT split_part(name, ' ', 1) FROM provisioning.call_budget")
        # as many others would have it
        fleet.sql("UPDATE provisioning.call_budget SET taken_until = now() + interval '1 minute'")
        second = asyncio.run(checked(settings, acme, people))
        signing_in = asyncio.run(checked(settings, acme, people[:1], certain=True))
    assert first == {"asked": 4}
    assert taken == [("sessions",)]
    assert second == {"left out": 4}, "by itself it would have had room for four"
    assert signing_in == {"asked": 1}
