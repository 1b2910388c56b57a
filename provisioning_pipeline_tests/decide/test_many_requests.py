"""Which tenants a request for many is about."""

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.many_requests import Asked, KnownTenant, sorted_out
from provisioning_pipeline.model.api_key import EVERY_TENANT, Reach

ACME = KnownTenant("twenty_tenant_acme_1", "acme", excluded=False)
GONE = KnownTenant("twenty_tenant_acme_0", "acme", excluded=True, gone=True)
ASIDE = KnownTenant("twenty_tenant_beta_1", "beta", excluded=True)
TWINS = [KnownTenant(f"twenty_tenant_twin_{number}", "twin", excluded=False) for number in (1, 2)]
KNOWN = [ACME, GONE, ASIDE, *TWINS]
NAMES = st.lists(st.sampled_from([*(tenant.database_name for tenant in KNOWN), "acme", "beta", "twin", "nosuch"]))


def results(names: list[str], reach: Reach = EVERY_TENANT) -> list[Asked]:
    return [one.result for one in sorted_out(names, KNOWN, reach)]


def test_each_name_is_told_what_becomes_of_it() -> None:
    assert results(["acme", "beta", "twin", "nosuch"]) == [
        Asked.REQUESTED,
        Asked.EXCLUDED,
        Asked.AMBIGUOUS,
        Asked.UNKNOWN,
    ]


def test_a_tenant_that_is_gone_has_left_its_slug_to_the_next_customer() -> None:
    (one,) = sorted_out(["acme"], KNOWN, EVERY_TENANT)

    assert one.tenant == ACME


def test_a_database_name_goes_before_a_slug() -> None:
    other = KnownTenant("twenty_tenant_x", ACME.database_name, excluded=False)
    (one,) = sorted_out([ACME.database_name], [*KNOWN, other], EVERY_TENANT)

    assert one.tenant == ACME


def test_what_a_key_is_not_for_is_answered_like_what_there_is_not() -> None:
    assert results(["beta", "twin", "acme"], Reach(tenant="acme")) == [Asked.UNKNOWN, Asked.UNKNOWN, Asked.REQUESTED]


@given(NAMES, st.sampled_from([EVERY_TENANT, Reach(tenant="acme"), Reach(tenant_prefix="tw")]))
def test_every_name_gets_one_answer_and_none_is_about_a_tenant_out_of_reach(names: list[str], reach: Reach) -> None:
    found = sorted_out(names, KNOWN, reach)

    assert [one.name for one in found] == list(dict.fromkeys(names))
    for one in found:
        assert (one.tenant is None) == (one.result in (Asked.UNKNOWN, Asked.AMBIGUOUS))
        assert one.tenant is None or reach.covers(one.tenant.slug)
        assert one.result is not Asked.REQUESTED or (one.tenant is not None and not one.tenant.excluded)
