"""A registry that lost rows: what is believed, what is in doubt, and what becomes of the tenants meanwhile."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.detection import Detected, DetectionPolicy, detect
from provisioning_pipeline.decide.registry_loss import RegistryLoss, loss_name, weigh_loss
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import SET_ASIDE, ConditionType, Reason, Status
from provisioning_pipeline.model.history import Budget, KnownRows
from provisioning_pipeline_tests.decide.facts import EXCLUDED, condition, link, row

NAMES = [f"twenty_tenant_t{number}_0a1b2c3d" for number in range(12)]
BUDGET = Budget(share=0.1, most=50)
MISSING = datetime(2026, 11, 30, tzinfo=UTC)


def weigh(known: int, lost: int, *, dropped: int = 0, rows: bool | None = True, **budget: Any) -> RegistryLoss:
    names = [f"t{number}" for number in range(lost)]
    allowed = Budget(**({"share": 0.1, "most": 50} | budget))
    return weigh_loss("tenant_registry", KnownRows(known, names, rows), allowed, dropped=names[:dropped])


@pytest.mark.parametrize(
    ("loss", "in_doubt"),
    [
        (weigh(known=0, lost=0, rows=False), False),  # nothing was ever known
        (weigh(known=1, lost=1, rows=False), False),  # the only tenant left
        (weigh(known=2, lost=2, rows=False), True),
        (weigh(known=10, lost=1), False),
        (weigh(known=10, lost=2), True),
        (weigh(known=10, lost=2, dropped=2), False),  # their databases are gone as well
        (weigh(known=10, lost=3, dropped=1), True),
        (weigh(known=10, lost=10, dropped=10, rows=False), True),  # a whole server that is being restored
        (weigh(known=2000, lost=50), False),
        (weigh(known=2000, lost=51), True),
        (weigh(known=10, lost=5, share=0.5), False),
        (weigh(known=10, lost=1, most=0), True),
        (weigh(known=1, lost=1, rows=None), True),  # no table at all
        (weigh(known=0, lost=0, rows=None), False),
    ],
)
def test_how_much_may_be_lost(loss: RegistryLoss, in_doubt: bool) -> None:
    assert (loss.doubt is not None) == in_doubt
    assert loss.kept == (loss.lost if in_doubt else frozenset())


def test_a_loss_is_approved_by_the_name_of_exactly_these_rows() -> None:
    doubt = weigh(known=10, lost=5)
    assert loss_name(doubt.lost) in (doubt.doubt or "")
    assert weigh(known=10, lost=5, approved=loss_name(doubt.lost)).doubt is None
    assert weigh(known=10, lost=6, approved=loss_name(doubt.lost)).doubt is not None


def detected(
    rows: dict[str, str], databases: set[str], links: dict[str, bool], *, adopt: bool = True
) -> tuple[RegistryLoss, dict[str, Detected]]:
    """Detection over a registry (name → status), databases and a ledger (name → its row is known to be gone)."""
    known = {name for name, gone in links.items() if not gone}
    lost = known - rows.keys()
    loss = weigh_loss(
        "tenant_registry", KnownRows(len(known), tuple(lost), bool(rows)), BUDGET, dropped=lost - databases
    )
    found = detect(
        frames.frame(frames.DATABASES, [{"database_name": name} for name in sorted(databases)]),
        frames.frame(frames.REGISTRY, [row(name, slug=name, status=status) for name, status in rows.items()]),
        frames.frame(
            frames.LINKS,
            [
                link(name, slug=name, registered=True, registry_row_gone_at=MISSING if gone else None)
                for name, gone in links.items()
            ],
        ),
        DetectionPolicy(adopt_databases=adopt, excluded_statuses=EXCLUDED),
        loss,
    )
    return loss, {entry.tenant.database_name: entry for entry in found}


NAME = st.sampled_from(NAMES)


@given(
    rows=st.dictionaries(NAME, st.sampled_from(["active", "suspended", "Pending"])),
    databases=st.sets(NAME),
    links=st.dictionaries(NAME, st.booleans()),
    adopt=st.booleans(),
)
def test_what_was_known_with_a_row_is_never_adopted_and_a_doubtful_registry_changes_nobody(
    rows: dict[str, str], databases: set[str], links: dict[str, bool], adopt: bool
) -> None:
    loss, found = detected(rows, databases, links, adopt=adopt)
    for name, entry in found.items():
        if entry.adopt:
            assert adopt
            assert not loss.doubt
            assert name not in links
            assert name not in rows
        if name in links and name not in rows:
            assert not entry.eligible
        if name in loss.kept:
            assert not any(known.type is ConditionType.REGISTERED for known in entry.conditions)
            assert not any(known.reason in SET_ASIDE for known in entry.conditions)
        if rows.get(name) == "suspended":
            assert not entry.eligible


DB, RENAMED = "twenty_tenant_acme_0a1b2c3d", "twenty_tenant_acme_ffffffff"


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("registry", [[], [row(DB, status="Suspended")]])
def test_a_database_with_the_name_of_somebody_who_was_taken_out_is_not_adopted(
    present: bool, registry: list[dict[str, Any]]
) -> None:
    found = detect(
        frames.frame(frames.DATABASES, [{"database_name": name} for name in ([DB] if present else []) + [RENAMED]]),
        frames.frame(frames.REGISTRY, registry),
        frames.frame(frames.LINKS, [link(DB, registered=True)]),
        DetectionPolicy(adopt_databases=True, excluded_statuses=EXCLUDED),
    )
    (renamed,) = (entry for entry in found if entry.tenant.database_name == RENAMED)
    assert (renamed.adopt, renamed.eligible) == (False, False)
    assert condition(renamed, ConditionType.REGISTERED).reason is Reason.NOT_REGISTERED
    assert DB in condition(renamed, ConditionType.REGISTERED).message


def test_the_customer_who_is_still_there_keeps_nobody_of_that_name_from_being_adopted() -> None:
    found = detect(
        frames.frame(frames.DATABASES, [{"database_name": DB}, {"database_name": RENAMED}]),
        frames.frame(frames.REGISTRY, [row(DB)]),
        frames.frame(frames.LINKS, [link(DB, registered=True)]),
        DetectionPolicy(adopt_databases=True, excluded_statuses=EXCLUDED),
    )
    assert [entry.adopt for entry in found] == [False, True]


@pytest.mark.parametrize(
    ("trouble", "reason"), [("invalid", Reason.DATABASE_INVALID), ("closed", Reason.DATABASE_CLOSED)]
)
@pytest.mark.parametrize("registry", [[], [row(DB)]])
@pytest.mark.parametrize("links", [[], [link(DB, registered=True)]])
def test_nothing_is_made_for_a_database_to_which_nobody_can_connect(
    trouble: str, reason: Reason, registry: list[dict[str, Any]], links: list[dict[str, Any]]
) -> None:
    (found,) = detect(
        frames.frame(frames.DATABASES, [{"database_name": DB, "trouble": trouble}]),
        frames.frame(frames.REGISTRY, registry),
        frames.frame(frames.LINKS, links),
        DetectionPolicy(adopt_databases=True, excluded_statuses=EXCLUDED),
    )
    assert (found.adopt, found.eligible) == (False, False)
    told = condition(found, ConditionType.DETECTED)
    assert (told.status, told.reason) == (Status.FALSE, reason)
    assert condition(found, ConditionType.REGISTERED).reason is not Reason.ADOPTED
