"""Which tenants there are, for every way in which cluster, registry and links may disagree."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline_tests.decide.facts import EXCLUDED, condition, find, link, row

DB = "twenty_tenant_acme_0a1b2c3d"
DETECTED, REGISTERED = ConditionType.DETECTED, ConditionType.REGISTERED


def one(*arguments: Any, **options: Any) -> Detected:
    (found,) = find(*arguments, **options)
    return found


def answers(found: Detected) -> dict[ConditionType, tuple[Status, Reason]]:
    return {known.type: (known.status, known.reason) for known in found.conditions}


def test_a_row_and_its_database_make_a_tenant() -> None:
    found = one([DB], [row(DB, clerk_org_id="org_1")])
    assert (found.eligible, found.adopt, found.link) == (True, False, None)
    assert (found.tenant.slug, found.tenant.name, found.tenant.clerk_org_id) == ("acme", "Acme", "org_1")
    assert answers(found) == {
        DETECTED: (Status.TRUE, Reason.DATABASE_PRESENT),
        REGISTERED: (Status.TRUE, Reason.REGISTRY_ROW),
    }


def test_a_row_without_a_database_waits_for_it() -> None:
    found = one([], [row(DB)])
    assert (found.eligible, found.adopt) == (False, False)
    assert answers(found)[DETECTED] == (Status.FALSE, Reason.DATABASE_MISSING)
    assert answers(found)[REGISTERED] == (Status.TRUE, Reason.REGISTRY_ROW)


def test_a_database_without_a_row_is_adopted() -> None:
    found = one([DB])
    assert (found.eligible, found.adopt, found.registry) == (True, True, None)
    assert (found.tenant.slug, found.tenant.name) == ("acme", "Acme")
    assert answers(found)[REGISTERED] == (Status.TRUE, Reason.ADOPTED)


def test_a_database_without_a_row_is_left_alone_when_adoption_is_off() -> None:
    found = one([DB], adopt=False)
    assert (found.eligible, found.adopt) == (False, False)
    assert answers(found)[REGISTERED] == (Status.FALSE, Reason.NOT_REGISTERED)
    assert "PROVISIONING_ADOPT_DATABASES" in condition(found, REGISTERED).message


@pytest.mark.parametrize("status", ["suspended", "Suspended", "DELETED"])
def test_a_suspended_tenant_is_not_worked_on(status: str) -> None:
    found = one([DB], [row(DB, status=status)])
    assert found.eligible is False
    assert answers(found)[REGISTERED] == (Status.FALSE, Reason.TENANT_SUSPENDED)


def test_a_row_without_a_status_is_worked_on() -> None:
    assert one([DB], [row(DB, status=None)]).eligible


def test_two_rows_for_one_database_are_nobodys_to_choose() -> None:
    found = one([DB], [row(DB, registry_id="r1"), row(DB, registry_id="r2", status="suspended")])
    assert (found.eligible, found.adopt) == (False, False)
    assert answers(found)[REGISTERED] == (Status.FALSE, Reason.REGISTRY_AMBIGUOUS)


@pytest.mark.parametrize("status", ["active", "suspended"])
@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("Twenty_Tenant_Acme_0A1B2C3D", DB),
        (f" {DB}\n", DB),
        (f"twenty_tenant_{'x' * 60}_0a1b2c3d", f"twenty_tenant_{'x' * 49}"),
        (f"twenty_tenant_{'é' * 30}_0a1b2c3d", f"twenty_tenant_{'é' * 24}"),
    ],
)
def test_a_database_whose_row_writes_its_name_otherwise_is_not_adopted(written: str, made: str, status: str) -> None:
    by_name = {found.tenant.database_name: found for found in find([made], [row(written, slug="acme", status=status)])}
    assert not any(found.eligible or found.adopt for found in by_name.values())
    assert answers(by_name[made])[REGISTERED] == (Status.FALSE, Reason.REGISTRY_AMBIGUOUS)
    assert repr(written) in condition(by_name[made], REGISTERED).message
    assert answers(by_name[written])[DETECTED] == (Status.FALSE, Reason.DATABASE_MISSING)
    assert made in condition(by_name[written], DETECTED).message


def test_names_that_differ_in_capitals_are_two_tenants_where_both_databases_are_there() -> None:
    both = ["twenty_tenant_Acme_0a1b2c3d", DB]
    found = find(both, [row(both[0], slug="Acme"), row(both[1], slug="acme")])
    assert [entry.eligible for entry in found] == [True, True]


def test_a_tenant_that_is_gone_keeps_its_link_and_is_not_worked_on() -> None:
    found = one([], [], [link(DB)])
    assert (found.eligible, found.adopt, found.registry) == (False, False, None)
    assert found.link is not None
    assert answers(found) == {
        DETECTED: (Status.FALSE, Reason.TENANT_GONE),
        REGISTERED: (Status.FALSE, Reason.TENANT_GONE),
    }
    assert found.tenant.slug == "acme"


def test_registry_and_link_are_not_mixed_up() -> None:
    mine = link(DB, slug="linked", workspace_id="ours", admin_email="ours@x.test")
    found = one([DB], [row(DB, slug="registered", workspace_id="theirs", admin_email="theirs@x.test")], [mine])
    assert found.tenant.slug == "registered"
    assert found.registry is not None
    assert found.link is not None
    assert (found.registry["workspace_id"], found.registry["admin_email"]) == ("theirs", "theirs@x.test")
    assert (found.link["workspace_id"], found.link["admin_email"]) == ("ours", "ours@x.test")


@pytest.mark.parametrize("slug", [None, ""])
def test_a_row_without_a_slug_gets_one_from_its_database(slug: str | None) -> None:
    found = one([DB], [row(DB, slug=slug, name=None)])
    assert (found.tenant.slug, found.tenant.name) == ("acme", "acme")
    assert one([DB], [row(DB, slug=slug)], [link(DB, slug="known-before")]).tenant.slug == "known-before"


@pytest.mark.parametrize("name", [None, ""])
def test_a_row_without_a_database_name_is_no_tenant(name: str | None) -> None:
    assert find([], [row(name), row(name)]) == []


def test_an_adopted_database_does_not_take_a_slug_that_somebody_has() -> None:
    other = "twenty_tenant_acme_ffffffff"
    mine, adopted = find([DB, other], [row(DB)])
    assert (mine.tenant.slug, adopted.tenant.slug) == ("acme", "acme-ffffffff")


def test_two_adopted_databases_of_one_name_get_different_slugs() -> None:
    found = find([DB, "twenty_tenant_acme_ffffffff"])
    assert len({each.tenant.slug for each in found}) == 2


# --- over any fleet -----------------------------------------------------------------------------------------------

NAMES = st.sampled_from([f"twenty_tenant_{slug}" for slug in ("a_00000000", "b_00000000", "a_ffffffff", "c", "d-e_1")])
SLUGS = st.sampled_from(["a", "b", "c", None, ""])
ROWS = st.lists(
    st.builds(
        row,
        NAMES,
        slug=SLUGS,
        status=st.sampled_from(["active", "provisioning", "suspended", None]),
        registry_id=st.uuids().map(str),
    ),
    max_size=5,
)
LINKS = st.lists(st.builds(link, NAMES, slug=SLUGS), max_size=5, unique_by=lambda known: known["database_name"])
FLEETS = st.fixed_dictionaries(
    {"databases": st.lists(NAMES, max_size=5, unique=True), "registry": ROWS, "links": LINKS, "adopt": st.booleans()}
)


@settings(max_examples=25)
@given(FLEETS)
def test_everything_that_is_somewhere_appears_exactly_once(fleet: dict[str, Any]) -> None:
    found = [each.tenant.database_name for each in find(**fleet)]
    somewhere = {*fleet["databases"], *(each["database_name"] for each in fleet["registry"] + fleet["links"])}
    assert found == sorted(somewhere)


@settings(max_examples=25)
@given(FLEETS)
def test_nothing_is_adopted_or_worked_on_that_must_not_be(fleet: dict[str, Any]) -> None:
    registered = {each["database_name"] for each in fleet["registry"]}
    statuses: dict[str, list[Any]] = {name: [] for name in registered}
    for each in fleet["registry"]:
        statuses[each["database_name"]].append(each["status"])
    for found in find(**fleet):
        name = found.tenant.database_name
        present = name in fleet["databases"]
        may = statuses[name][0] not in EXCLUDED if len(statuses.get(name, ())) == 1 else name not in registered
        assert found.adopt == (present and name not in registered and fleet["adopt"])
        assert found.eligible == (present and may and (name in registered or fleet["adopt"]))
        assert (found.registry is None) == (name not in registered)


@settings(max_examples=25)
@given(FLEETS, st.randoms())
def test_neither_order_nor_repeats_of_the_input_matter(fleet: dict[str, Any], random: Any) -> None:
    once = {each["database_name"]: each for each in fleet["registry"]}
    fleet = fleet | {"registry": list(once.values())}
    shuffled = {
        "databases": random.sample(fleet["databases"] * 2, len(fleet["databases"]) * 2),
        "registry": random.sample(fleet["registry"], len(fleet["registry"])),
        "links": random.sample(fleet["links"] * 2, len(fleet["links"]) * 2),
        "adopt": fleet["adopt"],
    }
    assert find(**shuffled) == find(**fleet)


@settings(max_examples=25)
@given(FLEETS, st.randoms())
def test_rows_that_contradict_each_other_are_judged_alike_in_any_order(fleet: dict[str, Any], random: Any) -> None:
    def judged(fleet: dict[str, Any]) -> list[Any]:
        return [(each.tenant.database_name, each.eligible, each.adopt, each.conditions) for each in find(**fleet)]

    assert judged(fleet | {"registry": random.sample(fleet["registry"], len(fleet["registry"]))}) == judged(fleet)
