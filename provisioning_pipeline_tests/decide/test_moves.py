"""Registry rows that name other databases: what counts as the same tenant, and what stays in doubt."""

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from provisioning_pipeline.decide.detection import Detected, DetectionPolicy, detect
from provisioning_pipeline.decide.lifecycle import LifecyclePolicy, with_lives
from provisioning_pipeline.decide.moves import Moves, moves_of
from provisioning_pipeline.decide.registry_loss import weigh_loss
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import ConditionType, Reason
from provisioning_pipeline.model.history import Budget, KnownRows
from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline_tests.decide.facts import EXCLUDED, condition, link, row

UUIDS = [str(UUID(int=number)) for number in range(1, 4)]


def moves(rows: list[dict[str, Any]], links: list[dict[str, Any]]) -> Moves:
    return moves_of(frames.frame(frames.REGISTRY, rows), frames.frame(frames.LINKS, links))


def known(database_name: str, registry_id: str, **other: Any) -> dict[str, Any]:
    slug = database_name.partition("_")[0]
    return link(database_name, slug=slug, workspace_id=f"workspace of {slug}", registry_id=registry_id) | other


def named(database_name: str, registry_id: str, **other: Any) -> dict[str, Any]:
    slug = database_name.partition("_")[0]
    return row(database_name, slug=slug, registry_id=registry_id) | other


ADA, BOB = known("ada_1", "1"), known("bob_1", "2")


def test_a_registry_at_rest_moves_no_tenant() -> None:
    assert moves([named("ada_1", "1"), named("bob_1", "2"), named("new_1", "3")], [ADA, BOB]) == Moves()


@pytest.mark.parametrize("sign", [{}, {"slug": "other", "clerk_org_id": "org_1"}])
def test_an_id_and_a_second_sign_make_the_same_tenant(sign: dict[str, str]) -> None:
    found = moves([named("ada_2", "1", **sign)], [ADA | {"clerk_org_id": "org_1"}])
    assert (found.followed, found.doubts) == ({"ada_1": "ada_2"}, {})


def test_a_number_alone_is_no_evidence_and_a_unique_id_is() -> None:
    assert moves([named("zoe_1", "1")], [ADA]).doubts.keys() == {"ada_1", "zoe_1"}
    assert moves([named("zoe_1", UUIDS[0])], [known("ada_1", UUIDS[0])]).followed == {"ada_1": "zoe_1"}


def test_ids_that_several_rows_have_say_nothing() -> None:
    assert moves([named("ada_2", "1"), named("bob_2", "1")], [ADA, BOB]) == Moves()


def test_rows_that_were_numbered_anew_are_known_by_their_databases() -> None:
    assert moves([named("ada_1", "2"), named("bob_1", "1")], [ADA, BOB]) == Moves()
    # a tenant of later got the id of one that was there
    assert moves([named("ada_1", "7"), named("zoe_1", "1")], [ADA]) == Moves()


def test_two_rows_that_changed_their_databases_are_both_in_doubt() -> None:
    found = moves([named("bob_1", "1", slug="ada"), named("ada_1", "2", slug="bob")], [ADA, BOB])
    assert (found.followed, found.doubts.keys()) == ({}, {"ada_1", "bob_1"})


def test_a_row_that_names_another_tenants_database_leaves_both_in_doubt() -> None:
    found = moves([named("bob_1", "1", slug="ada")], [ADA, BOB])
    assert (found.followed, found.doubts.keys()) == ({}, {"ada_1", "bob_1"})
    assert "tenant bob" in found.doubts["ada_1"]


def test_a_row_without_a_database_leaves_its_tenant_in_doubt() -> None:
    assert moves([named("ada_1", "1") | {"database_name": None}], [ADA]).doubts.keys() == {"ada_1"}


def test_a_second_row_for_the_old_database_does_not_make_two_tenants_of_one() -> None:
    found = moves([named("ada_2", "1"), named("ada_1", "7", slug="zoe")], [ADA])
    assert (found.followed, found.doubts.keys()) == ({}, {"ada_1", "ada_2"})
    # with its own slug in it, the old one is the tenant
    assert moves([named("ada_2", "1"), named("ada_1", "7")], [ADA]).doubts.keys() == {"ada_2"}


def test_a_database_that_was_left_is_no_tenants_and_is_not_adopted() -> None:
    links = frames.frame(frames.LINKS, [ADA])
    rows = frames.frame(frames.REGISTRY, [named("ada_2", "1")])
    found = moves_of(rows, links)
    databases = frames.frame(frames.DATABASES, [{"database_name": name} for name in ("ada_1", "ada_2")])
    policy = DetectionPolicy(adopt_databases=True, excluded_statuses=EXCLUDED)
    left, here = detect(databases, rows, found.of_links(links), policy, moves=found)
    assert condition(left, ConditionType.REGISTERED).reason is Reason.DATABASE_LEFT
    assert (left.eligible, left.adopt) == (False, False)
    assert here.eligible
    assert here.moved_from == "ada_1"
    assert here.link is not None
    assert here.link["workspace_id"] == "workspace of ada"


# --- a registry that is turned upside down ---------------------------------------------------------------------------

_EVER = timedelta(hours=1)
_LIVES = LifecyclePolicy(EXCLUDED, frozenset({"deleted"}), _EVER)
_BUDGET = Budget(share=0.1, most=50)


@dataclass(frozen=True)
class Row:
    """A registry row, and which customer it truly is."""

    customer: int
    registry_id: str
    database_name: str
    slug: str
    clerk_org_id: str | None
    status: str = "active"

    def in_frame(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "customer"} | {"name": self.slug}


class UpsideDown(RuleBasedStateMachine):
    """Whatever becomes of the registry, between two readings or over many."""

    numbers: Any

    @initialize(unique=st.booleans(), organizations=st.booleans(), tenants=st.integers(1, 4))
    def begin(self, unique: bool, organizations: bool, tenants: int) -> None:
        self.unique, self.organizations = unique, organizations
        self.numbers = itertools.count(1)
        self.ids = itertools.count(1)
        self.now = datetime(2026, 11, 30, tzinfo=UTC)
        self.rows: list[Row] = []
        self.databases: set[str] = set()
        self.links: dict[str, dict[str, Any]] = {}
        self.owners: dict[str, int] = {}
        self.customers = 0
        for _ in range(tenants):
            self.a_customer_comes()
        self.backup = list(self.rows)
        self.found: list[Detected] = []
        self.a_run_reads()

    def an_id(self) -> str:
        number = next(self.ids)
        return str(UUID(int=number)) if self.unique else str(number)

    def put(self, number: int, **what: Any) -> None:
        if self.rows:
            at = number % len(self.rows)
            self.rows[at] = replace(self.rows[at], **what)

    # --- what its owner does

    @rule()
    def a_customer_comes(self) -> None:
        self.customers += 1
        number = next(self.numbers)
        name, organization = f"t{number}_0", f"org_{number}" if self.organizations else None
        self.rows.append(Row(self.customers, self.an_id(), name, f"t{number}", organization))
        self.databases.add(name)

    @rule(number=st.integers(0, 9))
    def a_row_is_taken_away(self, number: int) -> None:
        if self.rows:
            self.rows.pop(number % len(self.rows))

    @rule()
    def all_rows_are_gone(self) -> None:
        self.rows.clear()

    @rule()
    def a_backup_is_made(self) -> None:
        self.backup = list(self.rows)

    @rule(renumbered=st.booleans())
    def the_backup_comes_back(self, renumbered: bool) -> None:
        # a restored table goes on to number where it stood, so ids are given twice
        self.rows = list(self.backup)
        if renumbered:
            if not self.unique:
                self.ids = itertools.count(1)
            self.rows = [replace(row, registry_id=self.an_id()) for row in self.rows]

    @rule(number=st.integers(0, 9), along=st.booleans())
    def a_row_names_a_new_database(self, number: int, along: bool) -> None:
        if self.rows:
            old, new = self.rows[number % len(self.rows)].database_name, f"n{next(self.numbers)}_0"
            self.databases.add(new)
            if along:
                self.databases.discard(old)
            self.put(number, database_name=new)

    @rule(number=st.integers(0, 9), other=st.integers(0, 9))
    def a_row_names_the_database_of_another(self, number: int, other: int) -> None:
        if self.rows:
            self.put(number, database_name=self.rows[other % len(self.rows)].database_name)

    @rule(number=st.integers(0, 9), other=st.integers(0, 9))
    def two_rows_swap_their_databases(self, number: int, other: int) -> None:
        if self.rows:
            one, two = self.rows[number % len(self.rows)], self.rows[other % len(self.rows)]
            self.put(number, database_name=two.database_name)
            self.put(other, database_name=one.database_name)

    @rule(number=st.integers(0, 9), other=st.integers(0, 9))
    def a_slug_changes(self, number: int, other: int) -> None:
        if self.rows:
            taken = self.rows[other % len(self.rows)].slug
            self.put(number, slug=taken if number % 2 else f"s{next(self.numbers)}")

    @rule(number=st.integers(0, 9), status=st.sampled_from(["active", "suspended", "deleted"]))
    def a_status_changes(self, number: int, status: str) -> None:
        self.put(number, status=status)

    @rule(number=st.integers(0, 9))
    def a_database_is_dropped(self, number: int) -> None:
        if self.rows:
            self.databases.discard(self.rows[number % len(self.rows)].database_name)

    @rule()
    def a_day_passes(self) -> None:
        self.now += timedelta(days=1)

    # --- what a run makes of it

    @rule()
    def a_run_reads(self) -> None:
        registry = frames.frame(frames.REGISTRY, [row.in_frame() for row in self.rows])
        links = frames.frame(frames.LINKS, list(self.links.values()))
        databases = frames.frame(frames.DATABASES, [{"database_name": name} for name in sorted(self.databases)])
        moved = moves_of(registry, links)
        after = moved.of_links(links)
        had = {
            str(each["database_name"])
            for each in frames.records(after)
            if each["registered"] and not each["registry_row_gone_at"]
        }
        lost = had - {row.database_name for row in self.rows} - moved.doubts.keys()
        loss = weigh_loss(
            "rows", KnownRows(len(had), tuple(lost), bool(self.rows)), _BUDGET, dropped=lost - self.databases
        )
        policy = DetectionPolicy(adopt_databases=True, excluded_statuses=EXCLUDED)
        detected = detect(databases, registry, after, policy, loss, moved)
        self.found = with_lives(detected, {}, loss, _LIVES, self.now)
        self.links = {str(each["database_name"]): each for each in frames.records(after)}
        for found in self.found:
            self.follow(found, kept=loss.kept)

    def follow(self, found: Detected, *, kept: Any) -> None:
        """What `write_down` stores, and what the steps make."""
        name, registered = found.tenant.database_name, found.registry is not None
        known = self.links.setdefault(name, frames.records(frames.frame(frames.LINKS, [{"database_name": name}]))[0])
        known["slug"] = found.tenant.slug
        if found.in_doubt:
            return
        if registered and found.registry is not None:
            id_ = found.registry["registry_id"]
            if [row.registry_id for row in self.rows].count(id_) == 1:
                for other in self.links.values():
                    other["registry_id"] = None if other["registry_id"] == id_ else other["registry_id"]
                known |= {"registry_id": id_, "left_for": None}
            known |= {"registered": True, "registry_row_gone_at": None, "registry_row_settled": None}
        elif known["registered"] and name not in kept:
            known["registry_row_gone_at"] = known["registry_row_gone_at"] or self.now
        if found.life is not None and found.life.settles:
            known["registry_row_settled"] = True
        if not found.eligible:
            return
        if found.adopt:
            # no run ever read a row that named it
            assert not any(known[what] for what in ("registered", "left_for", "workspace_id"))
            self.customers += 1
            self.rows.append(Row(self.customers, self.an_id(), name, found.tenant.slug, None))
        customers = [row.customer for row in self.rows if row.database_name == name]
        known["clerk_org_id"] = found.tenant.clerk_org_id
        if known["workspace_id"] is None:
            known["workspace_id"] = f"workspace {next(self.numbers)}"
            left = [each["workspace_id"] for each in self.links.values() if each["registry_row_settled"]]
            # a customer who had left for good, and comes back, is another tenant
            self.customers += customers[0] in {self.owners[each] for each in left if each}
            self.owners[known["workspace_id"]] = customers[0]

    # --- what holds, always

    @invariant()
    def no_customer_is_born_twice(self) -> None:
        assert len(self.owners) <= self.customers

    @invariant()
    def each_workspace_is_one_tenants(self) -> None:
        linked = [each["workspace_id"] for each in self.links.values() if each["workspace_id"]]
        assert sorted(linked) == sorted(self.owners)

    @invariant()
    def what_is_not_active_says_why(self) -> None:
        for found in self.found:
            assert found.life is not None
            assert found.life.lifecycle is Lifecycle.ACTIVE or found.life.evidence.endswith(".")


TestUpsideDown = UpsideDown.TestCase
TestUpsideDown.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
