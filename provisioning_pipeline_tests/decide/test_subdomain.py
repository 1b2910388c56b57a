"""Subdomains: valid under Twenty's rules (written down here once more), repeatable, and finally one's own."""

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioning_pipeline.model.names import RESERVED, is_subdomain, subdomains
from provisioning_pipeline.sandbox.twenty import subdomains as stand_in

SOME_RESERVED = ("admin", "app", "api", "www", "login", "signup", "billing", "settings", "otel-collector", "new-york")
ANY_TEXT = st.text(max_size=60)
SLUGS = st.one_of(
    ANY_TEXT,
    st.sampled_from(SOME_RESERVED),
    st.text(string.ascii_lowercase + string.digits + "-_ .", max_size=70),
    st.builds("api-{}".format, ANY_TEXT),
    st.builds("{}-{}".format, st.sampled_from(["a" * 20, "x" * 29, "api"]), ANY_TEXT),
)


def twenty_accepts(subdomain: str) -> bool:
    """The rules of the facts page, letter by letter."""
    return (
        3 <= len(subdomain) <= 30
        and set(subdomain) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        and subdomain[0] != "-"
        and subdomain[-1] != "-"
        and not subdomain.startswith("api-")
        and subdomain not in SOME_RESERVED
    )


@given(SLUGS, ANY_TEXT, ANY_TEXT)
@example("api-", "", "")
@example("api-" + "x" * 40, "", "")
@example("a" * 20 + "-" * 20 + "b", "", "")
@example("ⅷ", "", "")
@example("ß", "ß", "")
def test_every_candidate_is_valid_and_there_is_one(slug: str, name: str, database_name: str) -> None:
    found = subdomains(slug, name, database_name)
    assert found
    assert [subdomain for subdomain in found if not twenty_accepts(subdomain)] == []
    assert [subdomain for subdomain in found if not stand_in.is_valid(subdomain)] == []
    assert len(set(found)) == len(found)
    assert subdomains(slug, name, database_name) == found


@given(SLUGS, ANY_TEXT, st.lists(ANY_TEXT, min_size=2, max_size=2, unique=True))
def test_two_databases_never_share_their_last_candidate(slug: str, name: str, databases: list[str]) -> None:
    one, other = (subdomains(slug, name, database) for database in databases)
    assert one[-1] != other[-1]


@pytest.mark.parametrize("slug", ["api", "API", "Api!", "-api-"])
def test_a_tenant_called_api_gets_a_subdomain(slug: str) -> None:
    found = subdomains(slug, "API", "twenty_tenant_api_00000000")
    assert found
    assert all(twenty_accepts(subdomain) for subdomain in found)


@given(st.text(string.ascii_lowercase + string.digits, min_size=3, max_size=30).filter(twenty_accepts))
def test_a_good_slug_is_taken_as_it_is(slug: str) -> None:
    if slug in RESERVED:
        assert subdomains(slug, "", "db")[0] != slug
    else:
        assert subdomains(slug, "Some Name", "db")[0] == slug


@pytest.mark.parametrize(
    ("slug", "name", "first"),
    [
        ("acme", "Acme", "acme"),
        ("Acme_GmbH & Co.", "", "acme-gmbh-co"),
        ("müller", "", "muller"),
        ("", "東京タワー", "dongjingtawa"),
        ("", "Ромашка", "romashka"),
        ("Ромашка", "ignored", "romashka"),
        ("a" * 40, "", "a" * 30),
        ("a" * 29 + "-b", "", "a" * 29),
    ],
)
def test_what_people_would_expect(slug: str, name: str, first: str) -> None:
    assert subdomains(slug, name, "twenty_tenant_x_00000000")[0] == first


@pytest.mark.parametrize("slug", [*SOME_RESERVED, "ab", "a", "api-docs"])
def test_reserved_and_short_slugs_get_one_with_a_hash(slug: str) -> None:
    found = subdomains(slug, "", "twenty_tenant_x_00000000")
    assert re.fullmatch(r".+-[0-9a-f]{8}", found[0])
    assert re.fullmatch(r".+-[0-9a-f]{12}", found[-1])


@pytest.mark.parametrize("slug", ["", "!!!", "-"])
def test_a_tenant_without_any_name_is_called_tenant(slug: str) -> None:
    assert subdomains(slug, "", "one")[0] == "tenant"
    assert subdomains(slug, "", "one")[-1].startswith("tenant-")


@given(st.one_of(ANY_TEXT, st.text("ab-_A1.ä", max_size=32)))
def test_validity_is_judged_as_the_stand_in_judges_it(text: str) -> None:
    assert is_subdomain(text) == stand_in.is_valid(text)


def test_every_word_that_the_stand_in_reserves_is_reserved() -> None:
    assert stand_in.RESERVED <= RESERVED
