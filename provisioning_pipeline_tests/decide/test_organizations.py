"""Which organization is whose: registry, link, metadata, slug, in that order, and never one for two."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.organizations import Claimant, Match, match_organizations
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.people import Claim

Row = tuple[str, str, str | None, str | None]


def tenant(name: str, **other: Any) -> Claimant:
    """A tenant of which nothing is known but its slug."""
    return Claimant(**({"database_name": name, "slug": name, "registered": None, "linked": None,
                        "workspace_id": None} | other))  # fmt: skip


def organization(number: int, slug: str | None = None, workspace: str | None = None) -> Row:
    """One at Clerk."""
    return (f"org_{number}", f"Organization {number}", slug, workspace)


def elsewhere_by(way: str, organization_id: str) -> Claim:
    """What a tenant that is not looked at claims: by its `row`, by our `link`, or by a link that is `given up`."""
    named = organization_id if way == "row" else None
    return Claim(organization_id, "theirs", way != "row", True, named, "active", given_up=way == "given up")


def matched(
    *claimants: Claimant, at_clerk: list[Row], adopt: bool = False, elsewhere: Any = (), way: str = "row"
) -> dict[str, Match]:
    """What is found for these; `elsewhere` are organizations of tenants that are not looked at, by this way."""
    rows = frames.frame(frames.ORGANIZATIONS, at_clerk)
    claims = [elsewhere_by(way, organization_id) for organization_id in elsewhere]
    return match_organizations(claimants, rows, adopt_by_slug=adopt, elsewhere=claims)


EVERYTHING = [
    organization(1),
    organization(2),
    organization(3, workspace="ws"),
    organization(4, slug="acme"),
]


@pytest.mark.parametrize(
    ("known", "found"),
    [
        ({"registered": "org_1", "linked": "org_2", "workspace_id": "ws"}, "org_1"),
        ({"linked": "org_2", "workspace_id": "ws"}, "org_2"),
        ({"workspace_id": "ws"}, "org_3"),
        ({}, "org_4"),
    ],
)
def test_the_surest_word_counts(known: dict[str, Any], found: str) -> None:
    assert matched(tenant("acme", **known), at_clerk=EVERYTHING, adopt=True) == {"acme": Match(found)}


def test_a_slug_alone_only_proposes() -> None:
    match = matched(tenant("acme"), at_clerk=EVERYTHING)["acme"]
    assert (match.organization_id, match.reason) == (None, Reason.ORGANIZATION_PROPOSED)
    assert "org_4" in match.message
    assert "PROVISIONING_ADOPT_BY_SLUG" in match.message


def test_what_the_registry_says_stands_although_clerk_did_not_name_it() -> None:
    assert matched(tenant("acme", registered="org_9"), at_clerk=[])["acme"] == Match("org_9")


@pytest.mark.parametrize("rows", [[], [organization(1)], [organization(1, slug="other", workspace="another")]])
def test_a_tenant_that_nothing_fits_has_none(rows: list[Row]) -> None:
    assert matched(tenant("acme", workspace_id="ws"), at_clerk=rows, adopt=True)["acme"] == Match()


@pytest.mark.parametrize("slug", [None, ""])
def test_no_slug_fits_no_slug(slug: str | None) -> None:
    assert matched(tenant("acme", slug=""), at_clerk=[organization(1, slug=slug)], adopt=True)["acme"] == Match()


@pytest.mark.parametrize("adopt", [False, True])
def test_what_two_organizations_say_of_themselves_proves_nothing(adopt: bool) -> None:
    rows = [organization(1, slug="acme", workspace="ws"), organization(2, slug="acme", workspace="ws")]
    match = matched(tenant("acme", workspace_id="ws"), at_clerk=rows, adopt=adopt)["acme"]
    assert (match.organization_id, match.reason) == (None, Reason.ORGANIZATION_AMBIGUOUS)


SURE: list[dict[str, Any]] = [{"linked": "org_1"}, {"registered": "org_1"}, {"workspace_id": "ws"}]
"""The strongest first: whom the ledger has linked and whose row says nothing else keeps it."""


@pytest.mark.parametrize("one", range(3))
@pytest.mark.parametrize("two", range(2))
def test_an_organization_that_two_tenants_claim_is_the_stronger_claims_or_nobodys(one: int, two: int) -> None:
    rows = [organization(1, workspace="ws")]
    matches = matched(tenant("acme", **SURE[one]), tenant("other", **SURE[two]), at_clerk=rows, adopt=True)
    winner = {-1: "acme", 0: None, 1: "other"}[(one > two) - (one < two)]
    for name, match in matches.items():
        if name == winner:
            assert match == Match("org_1")
            continue
        assert (match.organization_id, match.reason) == (None, Reason.ORGANIZATION_AMBIGUOUS)
        assert "org_1" in match.message


@pytest.mark.parametrize("known", SURE[1:])
def test_a_claim_of_a_tenant_that_is_not_looked_at_counts(known: dict[str, Any]) -> None:
    rows = [organization(1, workspace="ws")]
    for way in ("row", "link"):
        match = matched(tenant("acme", **known), at_clerk=rows, elsewhere=["org_1"], way=way)["acme"]
        assert match.reason is Reason.ORGANIZATION_AMBIGUOUS


def test_another_tenants_row_takes_nothing_from_whom_the_ledger_linked_first() -> None:
    victim, newcomer = tenant("acme", linked="org_1"), tenant("evil", registered="org_1")
    matches = matched(victim, newcomer, at_clerk=[organization(1)])
    assert matches["acme"] == Match("org_1")
    assert matches["evil"].reason is Reason.ORGANIZATION_AMBIGUOUS
    # looked at alone, either of them
    assert matched(victim, at_clerk=[organization(1)], elsewhere=["org_1"]) == {"acme": Match("org_1")}
    alone = matched(newcomer, at_clerk=[organization(1)], elsewhere=["org_1"], way="link")["evil"]
    assert alone == matches["evil"]
    assert "is another tenant's already" in alone.message


def test_two_rows_of_the_registry_make_it_nobodys_even_if_one_tenant_is_linked() -> None:
    """Only the registry's owner can have written both, and only its owner can say which one is meant."""
    linked, other = tenant("acme", registered="org_1", linked="org_1"), tenant("other", registered="org_1")
    matches = matched(linked, other, at_clerk=[organization(1)])
    assert {match.reason for match in matches.values()} == {Reason.ORGANIZATION_AMBIGUOUS}


def test_a_tenants_own_row_gives_up_what_it_was_linked_to() -> None:
    moved = tenant("acme", registered="org_2", linked="org_1")
    matches = matched(moved, tenant("heir", registered="org_1"), at_clerk=[organization(1), organization(2)])
    assert matches == {"acme": Match("org_2"), "heir": Match("org_1")}


def test_what_the_registrys_owner_took_out_of_one_row_and_wrote_into_another_has_moved() -> None:
    old, new = tenant("acme", linked="org_1", given_up=True), tenant("heir", registered="org_1")
    matches = matched(old, new, at_clerk=[organization(1)])
    assert matches["heir"] == Match("org_1")
    assert matches["acme"].reason is Reason.ORGANIZATION_AMBIGUOUS
    assert matched(new, at_clerk=[organization(1)], elsewhere=["org_1"], way="given up") == {"heir": Match("org_1")}


def test_what_was_only_taken_out_of_its_row_stays() -> None:
    rows = [organization(1, slug="other", workspace="ws")]
    matches = matched(
        tenant("acme", linked="org_1", given_up=True),
        tenant("other", workspace_id="ws"),
        at_clerk=rows,
        adopt=True,
    )
    assert matches["acme"] == Match("org_1")
    assert matches["other"].reason is Reason.ORGANIZATION_AMBIGUOUS


@pytest.mark.parametrize("adopt", [False, True])
def test_a_slug_never_goes_against_a_link_of_a_tenant_that_is_not_looked_at(adopt: bool) -> None:
    rows = [organization(1, slug="acme")]
    assert matched(tenant("acme"), at_clerk=rows, adopt=adopt, elsewhere=["org_1"], way="link")["acme"] == Match()


@pytest.mark.parametrize("adopt", [False, True])
def test_a_slug_never_goes_against_a_claim(adopt: bool) -> None:
    rows = [organization(1, slug="acme")]
    beside = matched(tenant("acme"), tenant("other", registered="org_1"), at_clerk=rows, adopt=adopt)
    assert beside == {"acme": Match(), "other": Match("org_1")}
    assert matched(tenant("acme"), at_clerk=rows, adopt=adopt, elsewhere=["org_1"])["acme"] == Match()


@pytest.mark.parametrize("adopt", [False, True])
def test_one_slug_of_two_tenants_is_nobodys_to_choose(adopt: bool) -> None:
    rows = [organization(1, slug="acme")]
    matches = matched(tenant("one", slug="acme"), tenant("two", slug="acme"), at_clerk=rows, adopt=adopt)
    assert {match.reason for match in matches.values()} == {Reason.ORGANIZATION_AMBIGUOUS}
    assert all(match.organization_id is None for match in matches.values())


def test_a_tenant_whose_organization_is_known_leaves_its_slug_to_the_other() -> None:
    rows = [organization(1, slug="acme"), organization(2)]
    known = tenant("one", slug="acme", registered="org_2")
    matches = matched(known, tenant("two", slug="acme"), at_clerk=rows, adopt=True)
    assert matches == {"one": Match("org_2"), "two": Match("org_1")}


# --- over any fleet -----------------------------------------------------------------------------------------------

IDS = [f"org_{number}" for number in range(3)]
MAYBE_ID = st.sampled_from([None, None, *IDS])
CLAIMANTS = st.lists(
    st.builds(
        Claimant,
        st.sampled_from("abcd"),
        st.sampled_from(["x", "y", ""]),
        MAYBE_ID,
        MAYBE_ID,
        st.sampled_from([None, "ws1", "ws2"]),
        st.booleans(),
    ),
    unique_by=lambda claimant: claimant.database_name,
)
ORGANIZATIONS = st.lists(
    st.tuples(
        st.sampled_from(IDS),
        st.just("Name"),
        st.sampled_from([None, "x", "y"]),
        st.sampled_from([None, "ws1", "ws2", "theirs"]),
    ),
    unique_by=lambda row: row[0],
)
ELSEWHERE = st.lists(st.sampled_from(IDS), max_size=2)


@given(CLAIMANTS, ORGANIZATIONS, ELSEWHERE, st.booleans())
def test_no_two_tenants_ever_get_the_same_organization(
    claimants: list[Claimant], rows: list[Row], elsewhere: list[str], adopt: bool
) -> None:
    matches = matched(*claimants, at_clerk=rows, elsewhere=elsewhere, adopt=adopt)
    assert list(matches) == [claimant.database_name for claimant in claimants]
    taken = [match.organization_id for match in matches.values() if match.organization_id]
    assert len(taken) == len(set(taken))
    linked_first = {claimant.linked for claimant in claimants if not claimant.registered}
    assert not set(taken) & set(elsewhere) - linked_first
    for claimant in claimants:
        sole_link = [other.linked for other in claimants if not other.registered].count(claimant.linked) == 1
        if claimant.linked and not claimant.registered and not claimant.given_up and sole_link:
            # whatever the others claim
            assert matches[claimant.database_name] == Match(claimant.linked)
    for match in matches.values():
        assert (match.reason is None) == (match.message == "")
        assert not (match.reason and match.organization_id)


@given(CLAIMANTS, ORGANIZATIONS, ELSEWHERE)
def test_adopting_by_slug_takes_nothing_from_a_sure_claim(
    claimants: list[Claimant], rows: list[Row], elsewhere: list[str]
) -> None:
    careful = matched(*claimants, at_clerk=rows, elsewhere=elsewhere)
    adopting = matched(*claimants, at_clerk=rows, elsewhere=elsewhere, adopt=True)
    for name, match in careful.items():
        if match.reason is not Reason.ORGANIZATION_PROPOSED:
            assert adopting[name] == match
    for claimant in claimants:
        sure = claimant.registered or claimant.linked
        if sure:
            assert adopting[claimant.database_name].organization_id in (sure, None)


@given(CLAIMANTS, ORGANIZATIONS, ELSEWHERE, st.booleans(), st.randoms(use_true_random=False))
def test_neither_order_nor_repeated_rows_matter(
    claimants: list[Claimant], rows: list[Row], elsewhere: list[str], adopt: bool, random: Random
) -> None:
    stirred = random.sample(rows * 2, len(rows) * 2)
    others = random.sample(claimants, len(claimants))
    found = matched(*others, at_clerk=stirred, elsewhere=reversed(elsewhere), adopt=adopt)
    assert found == matched(*claimants, at_clerk=rows, elsewhere=elsewhere, adopt=adopt)
