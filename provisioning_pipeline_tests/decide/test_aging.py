"""Which workspaces Twenty's own clean-up will delete."""

from datetime import UTC, datetime, timedelta

from provisioning_pipeline.decide.placement import near_clean_up, unactivated
from provisioning_pipeline.model.frames import WORKSPACES, frame
from provisioning_pipeline_tests.decide.facts import WORKSPACE, workspace

NOW = datetime(2026, 8, 10, tzinfo=UTC)


def test_only_those_that_were_never_activated_age_and_the_oldest_comes_first() -> None:
    rows = [
        workspace(),
        workspace(workspace_id="b", subdomain="beta", created_at=NOW - timedelta(days=1)),
        workspace(workspace_id="c", subdomain="gamma", created_at=NOW - timedelta(days=6)),
        workspace(workspace_id="d", subdomain="delta", created_at=NOW - timedelta(days=6), deleted=True),
    ]
    found = unactivated(frame(WORKSPACES, rows), {"b": "the-tenant", WORKSPACE: "acme"})
    assert [(aging.slug, aging.workspace_id) for aging in found] == [("gamma", "c"), ("the-tenant", "b")]


def test_two_days_before_the_clean_up_it_is_near() -> None:
    rows = [
        workspace(workspace_id=str(days), subdomain=f"after-{days}", created_at=NOW - timedelta(days=days))
        for days in (0, 4, 5, 9)
    ]
    near = near_clean_up(unactivated(frame(WORKSPACES, rows), {}), NOW)
    assert [aging.slug for aging in near] == ["after-9", "after-5"]


def test_a_fleet_without_workspaces_has_none() -> None:
    assert unactivated(frame(WORKSPACES, []), {}) == ()


def test_a_workspace_that_was_never_paid_for_ages_like_one_that_was_never_activated() -> None:
    rows = [workspace(activation_status="CREATED", created_at=NOW - timedelta(days=6))]
    (found,) = near_clean_up(unactivated(frame(WORKSPACES, rows), {WORKSPACE: "acme"}), NOW)
    assert (found.slug, found.unpaid) == ("acme", True)
