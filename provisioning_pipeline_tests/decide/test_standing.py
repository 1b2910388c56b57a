"""How a workspace stands, and where it is reached since it was renamed."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.placement import retirements_of, told
from provisioning_pipeline.ledger.ledger import _free_to_move
from provisioning_pipeline.model.condition import Reason, Status
from provisioning_pipeline.model.names import is_subdomain, subdomains
from provisioning_pipeline.model.tenant import Address
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.workspaces.plan.standing import moved_to, standing_of
from provisioning_pipeline_tests.decide.facts import WORKSPACE, access, find, link, plans, row, workspace

DB = "twenty_tenant_acme_0a1b2c3d"
MANAGES = {"member": True, "manages": True, "role": "Admin", "invited": False, "kept_out": None}
FREE_AT = datetime(2026, 11, 29, 12, 5, 5, tzinfo=UTC)


def standing(access: dict[str, Any] | None = None, **other: Any) -> Any:
    return standing_of(workspace(**other), MANAGES if access is None else access, "eu", WORKSPACE, "acme", "ops@x.test")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ({"deleted": True}, Reason.WORKSPACE_GONE),
        ({"activation_status": "SUSPENDED"}, Reason.WORKSPACE_SUSPENDED),
        ({"activation_status": "SUSPENDED", "deleted": True}, Reason.WORKSPACE_GONE),
        ({"has_metadata": False}, Reason.WORKSPACE_INCOMPLETE),
        ({"activation_status": "ONGOING_CREATION", "free_in": 1.0, "free_at": FREE_AT}, Reason.ACTIVATION_BUSY),
        ({"access": {"member": False, "invited": False}}, Reason.SERVICE_ACCOUNT_REMOVED),
        ({"access": MANAGES | {"manages": False, "role": "Member"}}, Reason.SERVICE_ACCOUNT_DEMOTED),
        ({"access": MANAGES | {"manages": False, "role": None}}, Reason.SERVICE_ACCOUNT_DEMOTED),
        # who cannot do anything there says so before anybody is asked to pay
        (
            {"activation_status": "CREATED", "access": {"member": False, "invited": False}},
            Reason.SERVICE_ACCOUNT_REMOVED,
        ),
    ],
)
def test_nothing_is_done_in_a_workspace_that_is_closed_to_us(what: dict[str, Any], reason: Reason) -> None:
    found = standing(**what)
    assert (found.closed, found.condition.reason) == (True, reason)
    assert found.condition.status is not Status.TRUE


def test_whoever_lost_its_workspace_is_told_the_very_command() -> None:
    assert "`provisioning restart acme`" in standing(deleted=True).condition.message


def test_when_twenty_takes_the_activation_again_is_told_in_universal_time_and_kept_in_seconds() -> None:
    found = standing(activation_status="ONGOING_CREATION", free_in=60.0, free_at=FREE_AT)
    assert found.again_seconds == 60.0
    assert "2026-11-29 12:05:05 UTC" in found.condition.message


@pytest.mark.parametrize(("free_in", "waits"), [(305.0, True), (281.0, True), (280.0, False), (60.0, False)])
def test_a_run_waits_for_an_activation_that_was_begun_just_now(free_in: float, waits: bool) -> None:
    found = standing(activation_status="ONGOING_CREATION", free_in=free_in, free_at=FREE_AT)
    assert (found.unfinished, found.closed) == (waits, not waits)


@pytest.mark.parametrize("free_in", [0.0, -1.0, None])
def test_an_activation_whose_time_has_come_is_made_by_this_run(free_in: float | None) -> None:
    found = standing(activation_status="ONGOING_CREATION", free_in=free_in)
    assert (found.closed, found.unfinished) == (False, True)


def test_an_account_that_is_invited_again_comes_back() -> None:
    found = standing(MANAGES | {"member": False, "manages": False, "invited": True, "role": None})
    assert (found.closed, found.rejoins, found.condition.reason) == (False, True, Reason.WAITING)


def test_without_a_subscription_all_but_the_login_is_done() -> None:
    found = find([DB], [row(DB, workspace_id=WORKSPACE)], [link(DB, login_proved=False, workspace_url="http://a.x/")])
    (entry,) = plans(found, workspaces=[workspace(activation_status="CREATED")])
    assert PROVE_LOGIN not in entry.changes
    (paid,) = plans(found)
    assert PROVE_LOGIN in paid.changes


def test_a_plan_waits_for_the_time_of_an_activation_and_does_nothing_else() -> None:
    found = find([DB], [row(DB)], [link(DB, workspace_url=None)])
    waits = workspace(activation_status="ONGOING_CREATION", free_in=60.0, free_at=FREE_AT)
    (entry,) = plans(found, workspaces=[waits], service_access=access())
    assert (entry.changes, entry.look_again_seconds) == ((), 60.0)


# --- renamed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://old.localhost:3000/", Address("new", "http://new.localhost:3000/")),
        ("https://old.crm.example.com", Address("new", "https://new.crm.example.com")),
        ("https://other.crm.example.com/", Address("new", None)),
        ("https://old/", Address("new", None)),
        ("https://older.crm.example.com/", Address("new", None)),
    ],
)
def test_an_address_changes_its_first_label_or_has_to_be_asked(url: str, address: Address) -> None:
    assert moved_to({"subdomain": "old", "workspace_url": url}, {"subdomain": "new"}) == address


def test_an_address_that_nobody_has_stored_or_that_is_the_same_is_not_followed() -> None:
    assert moved_to({"subdomain": "old", "workspace_url": None}, {"subdomain": "new"}) is None
    assert moved_to({"subdomain": "old", "workspace_url": "http://old.x/"}, {"subdomain": "old"}) is None


NAMES = st.sampled_from("abcd")


@given(st.dictionaries(NAMES, NAMES), st.dictionaries(NAMES, NAMES))
def test_whoever_moves_takes_nobodys_subdomain(now: dict[str, str], wanted: dict[str, str]) -> None:
    held = {name: subdomain for name, subdomain in now.items() if list(now.values()).count(subdomain) == 1}
    free = _free_to_move([(name, "eu", subdomain) for name, subdomain in held.items()], wanted)
    after = held | {name: wanted[name] for name in free}
    distinct = {name: subdomain for name, subdomain in wanted.items() if list(wanted.values()).count(subdomain) == 1}
    assert len({after[name] for name in distinct if name in free}) == len([name for name in distinct if name in free])
    assert not {held[name] for name in held if name not in free} & {wanted[name] for name in free}


# --- deleted by SQL, and starting anew ----------------------------------------------------------------------------


def test_memberships_are_ended_where_they_are_a_tenants_or_our_own_and_told_elsewhere() -> None:
    rows = [
        {"workspace_id": "w1", "subdomain": "one", "members": 1, "service": True},
        {"workspace_id": "w2", "subdomain": "two", "members": 3, "service": False},
        {"workspace_id": "w3", "subdomain": "three", "members": 2, "service": False},
    ]
    found = retirements_of({"eu": rows}, {("eu", "w2"): DB, ("us", "w3"): "another server's"})
    assert [(each.workspace_id, each.ours, each.database_name) for each in found] == [
        ("w1", True, None),
        ("w2", True, DB),
        ("w3", False, None),
    ]
    sentences = list(told(found))
    assert ["ends these memberships" in sentence for sentence in sentences] == [True, True, False]
    assert "1 membership," in sentences[0]
    assert "none of ours" in sentences[2]


@given(st.text(min_size=1, max_size=60), st.integers(1, 5))
def test_each_restart_has_subdomains_that_were_never_tried(slug: str, restarts: int) -> None:
    tried = {name for before in range(restarts) for name in subdomains(slug, "", DB, restarts=before)}
    again = subdomains(slug, "", DB, restarts=restarts)
    assert all(map(is_subdomain, again))
    assert set(again) - tried
