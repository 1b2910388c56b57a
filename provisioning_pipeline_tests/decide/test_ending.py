"""What the registry says right before access is taken decides, whatever it said when the run planned."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.lifecycle import LifecyclePolicy, not_ending_any_more
from provisioning_pipeline.model.lifecycle import Lifecycle

GONE, SUSPENDED = frozenset({"cancelled", "deleted"}), frozenset({"suspended"})
POLICY = LifecyclePolicy(GONE | SUSPENDED, GONE, timedelta(hours=1))
STATUSES = st.lists(st.sampled_from([*GONE, *SUSPENDED, " Cancelled ", "SUSPENDED", "active", "", None]), max_size=3)


@given(planned=st.sampled_from(Lifecycle), statuses=STATUSES)
def test_access_is_taken_only_while_every_row_still_says_what_was_planned(
    planned: Lifecycle, statuses: list[str | None]
) -> None:
    said = {(status or "").strip().lower() for status in statuses}
    ends = {
        Lifecycle.SUSPENDED: bool(said) and said <= GONE | SUSPENDED,
        Lifecycle.OFFBOARDING: said <= GONE,
    }.get(planned, False)
    assert (not_ending_any_more(planned, statuses, POLICY) is None) is ends


@pytest.mark.parametrize(
    ("planned", "statuses", "why"),
    [
        (Lifecycle.OFFBOARDING, ["active"], 'the registry says "active" of it by now'),
        (Lifecycle.OFFBOARDING, ["cancelled", "suspended"], 'the registry says "suspended" of it by now'),
        (Lifecycle.SUSPENDED, [], "its registry row is not there any more"),
        (Lifecycle.ACTIVE, ["suspended"], 'the registry says "suspended" of it by now'),
    ],
)
def test_it_is_said_what_the_registry_says(planned: Lifecycle, statuses: list[str | None], why: str) -> None:
    assert not_ending_any_more(planned, statuses, POLICY) == why
