"""Where a new tenant goes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.placement import NoPlace, Placement, told_to_stay
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import Tenant
from provisioning_pipeline_tests.decide.facts import server, servers


def tenant(slug: str = "acme", database_name: str | None = None) -> Tenant:
    return Tenant(database_name or f"twenty_tenant_{slug}_00000000", slug, slug.title())


def placed(*rows: dict[str, Any], promised: tuple[str, ...] = ()) -> str | NoPlace:
    return Placement(servers(*rows), promised).place(tenant())


def test_a_tenant_goes_to_the_server_on_its_own_database() -> None:
    own = server("own", database_name=tenant().database_name, dedicated=True, capacity=1)
    assert placed(server("eu"), own, server("ruled", tenants="^acme$")) == "own"


def test_a_full_server_of_its_own_is_not_left_for_another() -> None:
    own = server("own", database_name=tenant().database_name, dedicated=True, capacity=1, workspaces=1)
    answer = placed(server("eu"), own)
    assert isinstance(answer, NoPlace)
    assert answer.reason is Reason.SERVER_FULL


def test_a_rule_goes_before_more_room() -> None:
    assert placed(server("eu"), server("vip", tenants="^ac", capacity=5, workspaces=4)) == "vip"


def test_a_rule_that_does_not_match_keeps_others_out() -> None:
    assert placed(server("eu", capacity=1), server("vip", tenants="^zenith$")) == "eu"


def test_a_full_server_whose_rule_matches_is_not_left_for_another() -> None:
    answer = placed(server("eu"), server("vip", tenants="^ac", capacity=2, workspaces=2))
    assert isinstance(answer, NoPlace)
    assert answer.reason is Reason.SERVER_FULL
    assert "vip (0 places left)" in answer.message
    assert "eu" not in answer.message


def test_the_most_room_wins_and_the_first_of_equals() -> None:
    assert placed(server("a", capacity=3), server("b", capacity=5), server("c", capacity=5)) == "b"
    assert placed(server("a", capacity=500), server("b", capacity=None)) == "b"


def test_places_that_are_promised_are_taken() -> None:
    rows = (server("a", capacity=2, workspaces=1),)
    assert placed(*rows) == "a"
    answer = placed(*rows, promised=("a",))
    assert isinstance(answer, NoPlace)
    assert answer.reason is Reason.SERVER_FULL


def test_promises_to_a_server_that_is_no_longer_configured_do_no_harm() -> None:
    assert placed(server("a", capacity=1), promised=("gone", "gone")) == "a"


def test_a_server_that_cannot_be_read_takes_nobody_and_its_own_words_are_kept() -> None:
    trouble = server("a", reason=Reason.SERVER_DATABASE_UNREACHABLE, message="no route to a")
    assert placed(trouble, server("b", capacity=1)) == "b"
    answer = placed(trouble)
    assert answer == NoPlace(Reason.SERVER_DATABASE_UNREACHABLE, "no route to a")


@pytest.mark.parametrize("rows", [(), (server("own", database_name="other", dedicated=True),)])
def test_no_server_for_the_tenant_is_said(rows: tuple[dict[str, Any], ...]) -> None:
    answer = placed(*rows)
    assert isinstance(answer, NoPlace)
    assert answer.reason is Reason.NO_SERVER_FOR_TENANT
    assert "'acme'" in answer.message


def test_a_server_that_holds_more_than_its_capacity_takes_nobody() -> None:
    answer = placed(server("a", capacity=1, workspaces=9))
    assert isinstance(answer, NoPlace)


# --- over any fleet -----------------------------------------------------------------------------------------------

SLUGS = ["a", "b", "c", "aa", "bb"]
SERVERS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["s1", "s2", "s3", "s4"]),
            "database_name": st.sampled_from([tenant(slug).database_name for slug in SLUGS[:2]] + ["x", "y"]),
            "capacity": st.none() | st.integers(0, 3),
            "workspaces": st.integers(0, 3),
            "tenants": st.none() | st.sampled_from(["^a", "b$", "zzz"]),
            "reason": st.none() | st.just(Reason.SERVER_UNREACHABLE),
        }
    ).map(lambda given: server(**given, dedicated=given["database_name"].startswith("twenty_tenant_"))),
    max_size=4,
    unique_by=lambda known: known["server"],
)


@given(SERVERS, st.lists(st.sampled_from(SLUGS), max_size=12), st.lists(st.sampled_from(["s1", "s2"]), max_size=2))
def test_no_server_is_overfilled_and_a_dedicated_one_takes_only_its_own(
    rows: list[dict[str, Any]], slugs: list[str], promised: list[str]
) -> None:
    placement = Placement(servers(*rows), promised)
    by_name = {known["server"]: known for known in rows}
    answers = [(slug, placement.place(tenant(slug))) for slug in slugs]
    taken = [(slug, answer) for slug, answer in answers if isinstance(answer, str)]
    for slug, name in taken:
        assert by_name[name]["reason"] is None
        if by_name[name]["dedicated"]:
            assert by_name[name]["database_name"] == tenant(slug).database_name
    for name, known in by_name.items():
        new = sum(answer == name for _, answer in taken)
        if known["capacity"] is not None and new:
            assert known["workspaces"] + promised.count(name) + new <= known["capacity"]


@given(SERVERS, st.lists(st.sampled_from(SLUGS), max_size=12))
def test_nobody_is_turned_away_while_a_server_open_to_them_has_room(
    rows: list[dict[str, Any]], slugs: list[str]
) -> None:
    placement = Placement(servers(*rows), ())
    counts = {known["server"]: known["workspaces"] for known in rows}
    for slug in slugs:
        own = [known for known in rows if known["database_name"] == tenant(slug).database_name]
        free_for_all = [known for known in rows if not known["dedicated"] and known["tenants"] is None]
        ruled = [known for known in rows if not known["dedicated"] and known["tenants"]]
        answer = placement.place(tenant(slug))
        if isinstance(answer, str):
            counts[answer] += 1
        elif own or not ruled:
            for known in own or free_for_all:
                full = known["capacity"] is not None and counts[known["server"]] >= known["capacity"]
                assert full or known["reason"] is not None


def test_a_tenant_that_lives_where_the_settings_would_not_place_it_stays_and_is_told() -> None:
    placement = Placement(servers(server("eu"), server("vip", tenants="^acme$")), ())
    living = [(tenant(), "eu"), (tenant("beta"), "eu"), (tenant(), "vip"), (tenant(), "of earlier settings")]
    (sentence,) = told_to_stay(living, placement)
    assert "acme on eu (now vip)" in sentence
    assert sentence.startswith("1 tenant lives")
    assert list(told_to_stay(living[1:], placement)) == []
