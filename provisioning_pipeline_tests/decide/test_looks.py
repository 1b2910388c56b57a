"""Which tenant databases are worth a look: all but those of which everything says that nothing changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.tenant_database import LastInspection
from provisioning_pipeline.steps.databases.plan.tenant_databases import due, evidence_under

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DAY = 86_400.0
SETTLED = LastInspection(evidence_under("repair", "1 2 3"), NOW - timedelta(hours=1), settled=True)


def is_due(
    last: LastInspection | None, evidence: str | None = "1 2 3", policy: str = "repair", now: datetime = NOW
) -> bool:
    found = due(
        ["acme"],
        {"acme": evidence} if evidence else {},
        {"acme": last} if last else {},
        policy,
        now,
        full_look_seconds=DAY,
    )
    return found == ["acme"]


def test_a_settled_look_is_good_while_nothing_changes() -> None:
    assert not is_due(SETTLED)


@pytest.mark.parametrize(
    ("last", "evidence", "policy", "now"),
    [
        (None, "1 2 3", "repair", NOW),
        (replace(SETTLED, settled=False), "1 2 3", "repair", NOW),
        (SETTLED, "1 2 4", "repair", NOW),
        (SETTLED, None, "repair", NOW),
        (SETTLED, "1 2 3", "report", NOW),
        (SETTLED, "1 2 3", "repair", SETTLED.looked_at + timedelta(days=1)),
        (SETTLED, "1 2 3", "repair", SETTLED.looked_at - timedelta(seconds=1)),
    ],
    ids=["never", "unsettled", "written to", "no evidence", "another policy", "a day old", "from the future"],
)
def test_any_doubt_is_worth_a_look(
    last: LastInspection | None, evidence: str | None, policy: str, now: datetime
) -> None:
    assert is_due(last, evidence, policy, now)


NAMES = st.lists(st.sampled_from("abcdef"), unique=True)
EVIDENCE = st.sampled_from(["1", "2"])
POLICY = st.sampled_from(["repair", "report"])
AGES = st.floats(-10, 10, allow_nan=False)
LOOKS = st.builds(
    lambda evidence, policy, age, settled: LastInspection(
        evidence_under(policy, evidence), NOW - timedelta(seconds=age), settled
    ),
    *(EVIDENCE, POLICY, AGES, st.booleans()),
)


@given(
    names=NAMES,
    evidence=st.dictionaries(st.sampled_from("abcdef"), EVIDENCE),
    inspections=st.dictionaries(st.sampled_from("abcdef"), LOOKS),
    policy=POLICY,
    full_look_seconds=st.integers(0, 10),
)
def test_due_is_who_has_no_good_look_and_looking_settles_it(
    names: list[str],
    evidence: dict[str, str],
    inspections: dict[str, LastInspection],
    policy: str,
    full_look_seconds: int,
) -> None:
    found = due(names, evidence, inspections, policy, NOW, full_look_seconds)
    assert found == [name for name in names if name in found]
    for name in set(names) - set(found):
        assert inspections[name].settled
        assert inspections[name].evidence == evidence_under(policy, evidence[name])
        assert timedelta(0) <= NOW - inspections[name].looked_at < timedelta(seconds=full_look_seconds)

    # each is decided on its own, and nobody else's looks count
    assert found == [
        name
        for name in names
        if due(
            [name],
            evidence,
            {key: look for key, look in inspections.items() if key == name},
            policy,
            NOW,
            full_look_seconds,
        )
    ]

    # once looked into and settled, only who gives no evidence is due again
    now = {
        name: LastInspection(evidence_under(policy, evidence[name]), NOW, True) for name in found if name in evidence
    }
    again = due(names, evidence, inspections | now, policy, NOW, full_look_seconds)
    assert again == [name for name in found if name not in evidence or full_look_seconds == 0]
