"""Where a tenant is in its life, and by what evidence."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from provisioning_pipeline.decide.lifecycle import LifecyclePolicy, with_lives
from provisioning_pipeline.decide.registry_loss import RegistryLoss
from provisioning_pipeline.model.lifecycle import Life, Lifecycle
from provisioning_pipeline.model.offboarding import Offboarding
from provisioning_pipeline_tests.decide.facts import LOOKED_AT, WORKSPACE, find, link, row

ACME = "tenant_acme"
HOUR = timedelta(hours=1)
NOW = LOOKED_AT
POLICY = LifecyclePolicy({"suspended", "deleted"}, {"deleted"}, HOUR)
LEFT = Offboarding(ACME, "acme", "org_1", "eu", WORKSPACE, "It left.", "delete", NOW, "run", archived_at=NOW)


def known(**other: Any) -> dict[str, Any]:
    """A tenant that had a row when a run last looked."""
    return link(ACME, registered=True, **other)


def life(
    links: list[dict[str, Any]],
    status: str | None = None,
    *,
    there: bool = True,
    offboarding: Offboarding | None = None,
    loss: RegistryLoss | None = None,
    policy: LifecyclePolicy = POLICY,
) -> Life:
    """Of the one tenant; without a status it has no row."""
    rows = [] if status is None else [row(ACME, status=status)]
    detected = find([ACME] if there else [], rows, links)
    offboardings = {} if offboarding is None else {ACME: offboarding}
    (found,) = with_lives(detected, offboardings, loss or RegistryLoss(), policy, NOW)
    assert found.life is not None
    # no run works for one that is neither new nor active
    assert not found.eligible or found.life.lifecycle in (Lifecycle.NEW, Lifecycle.ACTIVE)
    return found.life


@pytest.mark.parametrize(
    ("status", "links", "lifecycle", "evidence"),
    [
        ("active", [], Lifecycle.NEW, "has no workspace yet"),
        ("active", [known()], Lifecycle.ACTIVE, "has it as a customer"),
        (" Suspended ", [known()], Lifecycle.SUSPENDED, '"suspended"'),
        ("suspended", [], Lifecycle.SUSPENDED, '"suspended"'),
        ("deleted", [known()], Lifecycle.OFFBOARDING, '"deleted", so the customer has left'),
        ("deleted", [known(workspace_id=None)], Lifecycle.GONE, "has no workspace"),
        (None, [], Lifecycle.NEW, "a database without a registry row"),
    ],
)
def test_a_row_says_where_its_tenant_is(
    status: str | None, links: list[dict[str, Any]], lifecycle: Lifecycle, evidence: str
) -> None:
    found = life(links, status)
    assert found.lifecycle is lifecycle
    assert evidence in found.evidence


@pytest.mark.parametrize(
    ("missing", "lifecycle", "settles"),
    [
        (None, Lifecycle.IN_DOUBT, False),
        (timedelta(minutes=59), Lifecycle.IN_DOUBT, False),
        (HOUR, Lifecycle.OFFBOARDING, True),
    ],
)
def test_only_a_later_reading_settles_that_a_row_is_gone(
    missing: timedelta | None, lifecycle: Lifecycle, settles: bool
) -> None:
    found = life([known(registry_row_gone_at=None if missing is None else NOW - missing)])
    assert (found.lifecycle, found.settles) == (lifecycle, settles)


def test_where_a_person_settles_it_no_time_does_but_their_word() -> None:
    links = [known(registry_row_gone_at=NOW - 1000 * HOUR)]
    policy = replace(POLICY, settled_after=None)
    assert life(links, policy=policy).lifecycle is Lifecycle.IN_DOUBT
    assert life(links, policy=replace(policy, settled_by_hand=True)).lifecycle is Lifecycle.OFFBOARDING


def test_without_a_database_a_missing_row_needs_no_other_witness() -> None:
    assert life([known()], there=False).lifecycle is Lifecycle.OFFBOARDING
    assert life([known(workspace_id=None)], there=False).lifecycle is Lifecycle.GONE


def test_of_rows_whose_loss_is_not_believed_nothing_is_concluded() -> None:
    loss = RegistryLoss(frozenset({ACME}), doubt="The table is empty.", kept=frozenset({ACME}))
    found = life([known(registry_row_gone_at=NOW - 10 * HOUR)], loss=loss)
    assert (found.lifecycle, found.evidence) == (Lifecycle.IN_DOUBT, "The table is empty.")


def test_what_an_operator_took_back_stays_until_the_row_was_back() -> None:
    links = [known(registry_row_gone_at=NOW - 2 * HOUR, registry_row_settled=True)]
    taken_back = replace(LEFT, undone_at=NOW - HOUR, taken_back_at=NOW - HOUR)
    found = life(links, offboarding=taken_back)
    assert found.lifecycle is Lifecycle.IN_DOUBT
    assert "An operator took its offboarding back on 2025-12-31 23:00 UTC" in found.evidence
    earlier = replace(LEFT, undone_at=NOW - 3 * HOUR, taken_back_at=NOW - 3 * HOUR)
    assert life(links, offboarding=earlier).lifecycle is Lifecycle.OFFBOARDING


def test_an_offboarding_that_the_row_ended_is_no_word_about_the_next_absence() -> None:
    links = [known(registry_row_gone_at=NOW - 2 * HOUR)]
    assert life(links, offboarding=replace(LEFT, undone_at=NOW - HOUR)).lifecycle is Lifecycle.OFFBOARDING


def test_a_tenant_that_is_gone_is_not_born_again_by_its_row() -> None:
    over, links = replace(LEFT, gone_at=NOW), [known(workspace_id=None)]
    back = life(links, "active", offboarding=over)
    assert back.lifecycle is Lifecycle.IN_DOUBT
    assert "`provisioning restart acme`" in back.evidence
    for status in ("suspended", "deleted", None):
        assert life(links, status, offboarding=over).lifecycle is Lifecycle.GONE
    assert life(links, "active", offboarding=replace(over, undone_at=NOW)).lifecycle is Lifecycle.NEW
