"""Who comes over from hand-made workspaces: rows that anybody with a tenant database can write."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.tenant_database import FoundMember
from provisioning_pipeline.steps.databases.plan.take_over import (
    MOST_CONSIDERED,
    PUBLIC_DOMAINS,
    Candidates,
    TakeOverPolicy,
    known_domains,
    take_over,
)

POLICY = TakeOverPolicy(managers=frozenset({"manager"}), per_tenant=3, most=5)
OWN = frozenset({"acme.example"})


def people(*emails: str) -> list[FoundMember]:
    return [FoundMember(f"id-{email}", email, "", "", "Member", has_record=True) for email in emails]


def staff(count: int, domain: str = "acme.example") -> list[FoundMember]:
    return people(*(f"p{number}@{domain}" for number in range(count)))


def emails(members: tuple[FoundMember, ...]) -> list[str]:
    return [member.email for member in members]


def test_only_addresses_of_domains_that_the_tenant_is_known_by_or_that_are_listed_come_over() -> None:
    offered = {"a": Candidates(people("ann@acme.example", "ceo@bigbank.example", "x@listed.example"), domains=OWN)}
    overs = take_over(offered, replace(POLICY, domains=frozenset({"listed.example"})))
    found = overs.by_database["a"]
    assert emails(found.people) == ["ann@acme.example", "x@listed.example"]
    assert "ceo@bigbank.example" in found.told
    assert "PROVISIONING_TAKE_OVER_DOMAINS" in found.told
    assert not found.waits


@pytest.mark.parametrize(
    "address",
    [
        *("@acme.example", "a b@acme.example", "a@b@acme.example", "a@acme", "a\n@acme.example", "a@acme.example\n"),
        *("a..b@acme.example", ".a@acme.example", "ä@acme.example", "x" * 65 + "@acme.example", "a@-acme.example"),
    ],
)
def test_what_is_no_address_is_told_and_keeps_no_other_out(address: str) -> None:
    overs = take_over({"a": Candidates(people(address, "ann@acme.example"), domains=OWN)}, POLICY)
    assert emails(overs.by_database["a"].people) == ["ann@acme.example"]
    assert overs.by_database["a"].told


def test_from_a_database_of_another_role_nobody_comes_over() -> None:
    offered = {"a": Candidates(staff(1), owners=frozenset({"manager", "acme"}), domains=OWN)}
    found = take_over(offered, POLICY).by_database["a"]
    assert found.people == ()
    assert "belong to acme and not to the tenant manager" in found.told
    trusted = replace(POLICY, managers=frozenset({"manager", "acme"}))
    assert len(take_over(offered, trusted).by_database["a"].people) == 1


def test_who_came_over_before_counts_so_that_many_runs_take_no_more_than_one() -> None:
    assert len(take_over({"a": Candidates(staff(2), domains=OWN, before=1)}, POLICY).by_database["a"].people) == 2
    overs = take_over({"a": Candidates(staff(2), domains=OWN, before=2)}, POLICY)
    assert overs.by_database["a"].people == ()
    assert overs.by_database["a"].waits
    assert f"provisioning apply --approve {overs.waiting}" in overs.by_database["a"].told


COUNTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=6)


@given(COUNTS)
def test_without_an_approval_no_tenant_and_no_run_goes_beyond_its_budget(counts: list[tuple[int, int]]) -> None:
    offered = {
        f"t{number}": Candidates(staff(count), domains=OWN, before=before)
        for number, (count, before) in enumerate(counts)
    }
    overs = take_over(offered, POLICY)
    taken = {name: len(found.people) for name, found in overs.by_database.items()}
    assert sum(taken.values()) <= POLICY.most
    assert all(not count or count + offered[name].before <= POLICY.per_tenant for name, count in taken.items())
    everyone = sum(count for count, _ in counts)
    assert overs.people == everyone - sum(taken.values()), "each comes over or waits"
    assert (overs.waiting is None) is (overs.people == 0)
    if overs.waiting:
        approved = take_over(offered, replace(POLICY, approved=overs.waiting))
        assert approved.approved
        assert sum(len(found.people) for found in approved.by_database.values()) == everyone
        one_more = offered | {"new": Candidates(staff(4), domains=OWN)}
        assert not take_over(one_more, replace(POLICY, approved=overs.waiting)).approved, "others were not approved"


def test_what_is_looked_at_of_one_database_is_limited() -> None:
    offered = {"a": Candidates(staff(MOST_CONSIDERED + 7), domains=OWN)}
    overs = take_over(offered, replace(POLICY, per_tenant=10_000, most=10_000))
    assert len(overs.by_database["a"].people) == MOST_CONSIDERED
    assert "7 more people" in overs.by_database["a"].told


def test_a_mailbox_at_a_public_provider_makes_no_domain_the_tenants_own() -> None:
    assert known_domains(["Ann@Acme.example", "bob@gmail.com", "no address", "@x.example"]) == {"acme.example"}
    assert all(domain == domain.lower() for domain in PUBLIC_DOMAINS)
