"""Which organization is whose: read from ledger and registry, and given in one transaction with a last look."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from provisioning_pipeline.ledger.organizations import claims, store_organizations
from provisioning_pipeline.ledger.registration import register
from provisioning_pipeline.ledger.registry import Registry
from provisioning_pipeline.model.people import Claim
from provisioning_pipeline.model.tenant_request import Caller, Conflict, Registration
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline_tests.http.services import Tenants, tenants_in
from provisioning_pipeline_tests.ledger.conftest import ask_ledger, opened

T = TypeVar("T")
ASIDE = frozenset({"suspended", "deleted"})


@pytest.fixture(scope="module")
def shared(sandbox_postgres: SandboxPostgres) -> Iterator[Tenants]:
    with tenants_in(sandbox_postgres) as made:
        yield made


@pytest.fixture
def tenants(shared: Tenants) -> Tenants:
    """Nobody is registered yet."""
    shared.sql("TRUNCATE tenant_registry CASCADE")
    shared.sql("TRUNCATE provisioning.tenant_link CASCADE")
    return shared


def asked(tenants: Tenants, work: Callable[[Registry], Awaitable[T]]) -> T:
    return ask_ledger(tenants.url, lambda database: work(Registry(database, "tenant_registry")))


def stands(claim: Claim) -> bool:
    return claim.stands(ASIDE)


def stored(tenants: Tenants, **found: str) -> set[str]:
    """Who could not have theirs: slug → organization."""
    given = {f"twenty_tenant_{slug}": organization for slug, organization in found.items()}
    lost = asked(tenants, lambda registry: store_organizations(registry, given, stands=stands))
    return {name.removeprefix("twenty_tenant_") for name in lost}


def links(tenants: Tenants) -> dict[str, str | None]:
    return dict(tenants.sql("SELECT slug, clerk_org_id FROM provisioning.tenant_link ORDER BY slug"))


def silent(tenants: Tenants, slug: str, organization: str, status: str = "active") -> None:
    """A tenant whose organization the ledger alone knows."""
    tenants.add(slug, organization, status=status)
    tenants.sql("UPDATE tenant_registry SET clerk_org_id = NULL WHERE slug = %s", slug)


def test_claims_are_those_of_links_and_of_rows(tenants: Tenants) -> None:
    silent(tenants, "silent", "org_1")
    tenants.add("both", "org_2")
    tenants.add("row")
    tenants.sql("UPDATE tenant_registry SET clerk_org_id = 'org_1' WHERE slug = 'row'")
    tenants.add("gone", "org_3")
    tenants.sql("DELETE FROM tenant_registry WHERE slug = 'gone'")

    def claim(slug: str, organization: str, **other: Any) -> Claim:
        known = {"linked": True, "registered": True, "named": organization, "status": "active"} | other
        return Claim(organization, f"twenty_tenant_{slug}", **known)

    found = [
        claim("both", "org_2"),
        claim("gone", "org_3", registered=False, named=None, status=None),
        claim("row", "org_1", linked=False),
        claim("silent", "org_1", named=None),
    ]
    assert sorted(asked(tenants, claims), key=lambda one: one.database_name or "") == found
    some = asked(tenants, lambda registry: claims(registry, ["org_1"]))
    assert {(one.database_name, one.stands(ASIDE)) for one in some} == {
        ("twenty_tenant_row", True),
        ("twenty_tenant_silent", True),
    }


@pytest.mark.parametrize(
    ("arrange", "stood"),
    [
        ("SELECT", True),
        ("UPDATE tenant_registry SET clerk_org_id = 'org_1' WHERE slug = 'victim'", True),
        ("UPDATE tenant_registry SET clerk_org_id = 'org_9' WHERE slug = 'victim'", False),
        ("UPDATE tenant_registry SET status = ' Suspended' WHERE slug = 'victim'", False),
        ("DELETE FROM tenant_registry WHERE slug = 'victim'", False),
    ],
)
def test_a_link_is_taken_from_a_tenant_only_when_its_own_row_gives_it_up(
    tenants: Tenants, arrange: str, stood: bool
) -> None:
    silent(tenants, "victim", "org_1")
    tenants.add("other")
    tenants.sql("UPDATE tenant_registry SET clerk_org_id = 'org_1' WHERE slug = 'other'")
    tenants.sql(arrange)

    assert stored(tenants, other="org_1") == ({"other"} if stood else set())

    assert links(tenants) == ({"other": None, "victim": "org_1"} if stood else {"other": "org_1", "victim": None})
    (moved,) = tenants.sql(
        "SELECT organization_moved_at IS NOT NULL FROM provisioning.tenant_link WHERE slug = 'victim'"
    )
    assert moved == (not stood,)


def test_what_was_taken_out_of_one_row_goes_to_whose_row_names_it(tenants: Tenants) -> None:
    """As docs/operations.md has its owner move an organization. To take it out alone changes nothing."""
    tenants.add("old", "org_1")
    tenants.add("new")
    tenants.add("third")
    stored(tenants, old="org_1")
    tenants.sql("UPDATE tenant_registry SET clerk_org_id = NULL")

    # by its slug, say
    assert stored(tenants, third="org_1") == {"third"}
    tenants.sql("UPDATE tenant_registry SET clerk_org_id = 'org_1' WHERE slug = 'new'")
    assert stored(tenants, new="org_1") == set()

    assert links(tenants) == {"new": "org_1", "old": None, "third": None}


def test_two_tenants_may_exchange_theirs(tenants: Tenants) -> None:
    """By the registry, whose owner has written both rows."""
    tenants.add("one", "org_1")
    tenants.add("two", "org_2")
    tenants.sql("UPDATE tenant_registry SET clerk_org_id = CASE slug WHEN 'one' THEN 'org_2' ELSE 'org_1' END")

    assert stored(tenants, one="org_2", two="org_1") == set()
    assert links(tenants) == {"one": "org_2", "two": "org_1"}
    assert tenants.sql("SELECT 1 FROM provisioning.tenant_link WHERE organization_moved_at IS NOT NULL") == []


def test_a_run_that_read_before_a_key_registered_gives_nothing_away(tenants: Tenants) -> None:
    """It would have adopted the organization by its slug; by now a row names it."""
    tenants.add("slow")
    tenants.add("quick")
    tenants.sql("UPDATE tenant_registry SET clerk_org_id = 'org_1' WHERE slug = 'quick'")

    assert stored(tenants, slow="org_1") == {"slow"}
    assert stored(tenants, quick="org_1") == set()
    assert links(tenants) == {"quick": "org_1", "slow": None}


def test_what_is_stored_already_takes_no_lock(tenants: Tenants) -> None:
    tenants.add("acme", "org_1")
    with tenants.postgres.connect(tenants.name) as other, other.transaction():
        other.execute("LOCK TABLE provisioning.alembic_version IN SHARE UPDATE EXCLUSIVE MODE")
        assert stored(tenants, acme="org_1") == set()


@pytest.mark.parametrize("first", ["keys", "runs"])
def test_keys_and_runs_that_race_for_one_organization_give_it_to_one(tenants: Tenants, first: str) -> None:
    """Ten at a time, each on a connection of its own; whoever is first has it in ledger and registry alike."""
    for number in range(5):
        tenants.add(f"run{number}")

    async def race() -> list[Any]:
        async with opened(tenants.url, most_connections=10) as database:
            keys = [
                register(
                    Registry(database, "tenant_registry"),
                    Registration(f"key{number}", None, f"twenty_tenant_key{number}", "org_1", None),
                    Caller("0123456789ab", None, ""),
                    status="active",
                    aside=ASIDE,
                )
                for number in range(5)
            ]
            runs = [
                store_organizations(
                    Registry(database, "tenant_registry"), {f"twenty_tenant_run{number}": "org_1"}, stands=stands
                )
                for number in range(5)
            ]
            both = [*keys, *runs] if first == "keys" else [*runs, *keys]
            return await asyncio.gather(*both, return_exceptions=True)

    found = asyncio.run(race())

    assert all(isinstance(one, Conflict | tuple | frozenset) for one in found)
    named = tenants.sql("SELECT slug FROM tenant_registry WHERE clerk_org_id = 'org_1'")
    linked = tenants.sql("SELECT slug FROM provisioning.tenant_link WHERE clerk_org_id = 'org_1'")
    assert len(named) + len(linked) == 1
