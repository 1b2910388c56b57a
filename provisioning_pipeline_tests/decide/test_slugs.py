"""Slugs of databases that nobody named are slugs whatever the names hold, and no two databases have one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.names import is_slug, name_of, namesakes_of, slug_of, slugs_of
from provisioning_pipeline_tests.decide.facts import find, link, row

# halves of surrogate pairs, too
ANYTHING = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=63)
NAMES = ANYTHING | ANYTHING.map("twenty_tenant_{}".format) | ANYTHING.map("twenty_tenant_{}_0a1b2c3d".format)
ALIKE = st.builds(
    "twenty_tenant_{}{}".format,
    st.sampled_from(["acme", "ACME", "ac me", "acmé", "acme-ffffffff", "acme--ffffffff"]),
    st.sampled_from(["", "_ffffffff", "_00000000", "_", "-"]),
)


@pytest.mark.parametrize(
    ("database_name", "slug"),
    [
        ("twenty_tenant_acme_0a1b2c3d", "acme"),
        ("twenty_tenant_acme-west_0a1b2c3d", "acme-west"),
        ("twenty_tenant_acme", "acme"),
        ("twenty_tenant__0a1b2c3d", "0a1b2c3d"),
        ("twenty_tenant_ACME_0a1b2c3d", "acme"),
        ("crm_of_zenith", "crm-of-zenith"),
        ("twenty_tenant_-", "twenty-tenant"),
        ("twenty_tenant_../../etc", "etc"),
        ("twenty_tenant_<img src=x onerror=alert(1)>", "img-src-x-onerror-alert-1"),
        ("twenty_tenant_a\nb_0a1b2c3d", "a-b"),
        ("twenty_tenant_\x1b[2Jready\u202e", "2jready"),
        ("twenty_tenant_Bücher & Söhne_0a1b2c3d", "bucher-sohne"),
        ("twenty_tenant_日本_0a1b2c3d", "riben"),
        ("\u202e\u200b", "tenant"),
        ("x" * 63, "x" * 63),
    ],
)
def test_slugs_of_databases_that_nobody_named(database_name: str, slug: str) -> None:
    assert slug_of(database_name) == slug


@given(NAMES)
def test_whatever_a_name_holds_its_slug_is_one(database_name: str) -> None:
    assert is_slug(slug_of(database_name))
    assert name_of(slug_of(database_name))


@given(st.sets(NAMES | ALIKE, max_size=12), st.sets(st.sampled_from(["acme", "acme-ffffffff", "tenant", "日本"])))
def test_no_two_databases_get_one_slug_and_none_gets_one_that_is_taken(names: set[str], taken: set[str]) -> None:
    found = slugs_of(names, taken)

    assert found.keys() == names
    assert len(set(found.values())) == len(names)
    assert not set(found.values()) & taken
    assert all(is_slug(slug) for slug in found.values())
    assert slugs_of(sorted(names, reverse=True), taken) == found


@given(st.sets(ALIKE, max_size=8), st.lists(st.sampled_from(["acme", "acme-ffffffff", None]), max_size=2))
def test_no_two_tenants_of_a_fleet_get_one_slug(names: set[str], registered: list[str | None]) -> None:
    rows = [row(f"twenty_tenant_r{number}", slug=slug) for number, slug in enumerate(dict.fromkeys(registered))]
    found = find(sorted(names), rows)
    assert len({each.tenant.slug for each in found}) == len(found)


def test_two_databases_of_one_name_go_by_the_hashes_in_their_names() -> None:
    names = ["twenty_tenant_acme_ffffffff", "twenty_tenant_acme_00000000", "twenty_tenant_ACME_00000000"]
    first, second, other = (slugs_of(names, ())[name] for name in names)
    assert (first, second) == ("acme-ffffffff", "acme-00000000")
    assert other.startswith("acme-")


def test_who_was_adopted_under_an_older_slug_keeps_it() -> None:
    (found,) = find(["crm_of_zenith"], [], [link("crm_of_zenith", slug="crm_of_zenith")])
    assert found.tenant.slug == "crm_of_zenith"
    (found,) = find(["crm_of_zenith"], [row("crm_of_zenith", slug="../../etc")])
    assert found.tenant.slug == "../../etc"


def test_a_namesake_of_a_suspended_tenant_is_not_adopted_under_the_slug_of_now_either() -> None:
    old, new = "twenty_tenant_foo_bar_11111111", "twenty_tenant_foo_bar_22222222"
    suspended = [row(old, slug="foo_bar", status="suspended")]
    found = find([old, new], suspended, [link(old, slug="foo_bar", registered=True)])
    assert [each.adopt for each in found] == [False, False]
    # a run over some tenants reads those rows that may be namesakes
    assert namesakes_of(new) == ("foo-bar", "foo_bar")
