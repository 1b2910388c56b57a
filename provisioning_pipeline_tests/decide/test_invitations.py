"""Which invitations of ours end: never by a reading that is not whole, and never a customer's."""

from dataclasses import replace
from typing import Any

import pytest

from provisioning_pipeline.decide.ownership import KnownAccounts
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.history import Before
from provisioning_pipeline.model.people import Origin
from provisioning_pipeline.model.tenant import Plan, Withdrawal
from provisioning_pipeline.steps.drift import find_drift
from provisioning_pipeline.steps.forecast import forecast
from provisioning_pipeline.steps.members.changes import WITHDRAW_INVITATION
from provisioning_pipeline.steps.members.plan.decisions import with_target
from provisioning_pipeline.steps.members.plan.people import INVITATIONS_OF_TENANTS, People, desired_members
from provisioning_pipeline.steps.members.plan.tenant_members import with_members, withdrawals
from provisioning_pipeline_tests.decide.people import Town, policy
from provisioning_pipeline_tests.decide.test_forecast import AT_REST
from provisioning_pipeline_tests.decide.test_ownership import CEO, evidence
from provisioning_pipeline_tests.decide.test_plan_members import entry, known

VOUCHED: dict[str, Any] = {"vouched_email": CEO}


def invited(
    role: str | None = "Member", *, ours: bool = True, email: str = CEO, member: bool = True, **account: Any
) -> People:
    """The CEO is outside and has an open invitation; `account` is what is known of their account."""
    town = Town("eu")
    town.tenant("acme")
    town.person("ceo")
    town.account("theirs", CEO)
    if member:
        town.belongs("ceo", "acme", "org:admin")
    return town.people(
        invitations=frames.frame(INVITATIONS_OF_TENANTS, [("acme", "eu", "ws-acme", email, role, ours)]),
        accounts=KnownAccounts({("eu", "theirs"): evidence(**account)}),
    )


def ended(people: People) -> list[str]:
    """Whose invitations end."""
    found = withdrawals(people, policy(), with_target(desired_members(people), policy()))
    return [withdrawal.email for withdrawal in found.get("acme", ())]


def test_a_proved_members_invitation_with_the_default_role_stands() -> None:
    assert ended(invited(**VOUCHED)) == []
    believed = invited(verified=True)
    assert ended(replace(believed, accounts=replace(believed.accounts, trusts_mailboxes=True))) == []
    assert ended(believed) == [CEO]


@pytest.mark.parametrize(
    "people",
    [
        invited(),
        # unchecked: whom we invited had a password of their own
        invited(origin=None),
        invited(**VOUCHED, member=False),
        invited(**VOUCHED, email="nobody@x.test"),
        invited("Admin", **VOUCHED),
        invited("Sales", **VOUCHED),
        invited(None, **VOUCHED),
    ],
)
def test_whoever_should_not_come_in_or_would_get_more_is_uninvited(people: People) -> None:
    (invitation,) = frames.records(people.invitations)
    assert ended(people) == [invitation["email"]]
    assert ended(replace(people, complete=False)) == []
    theirs = people.invitations.assign(ours=False)
    assert ended(replace(people, invitations=theirs)) == []


def test_policy_trusts_every_account() -> None:
    people = invited(origin=Origin(CEO, ours=False))
    trusting = replace(people.accounts, trusts=True)

    assert ended(people) == [CEO]
    assert ended(replace(people, accounts=trusting)) == []
    assert ended(replace(people, accounts=KnownAccounts())) == []


def test_a_withdrawal_alone_is_work_of_the_members_step() -> None:
    gone = (Withdrawal("vp@x.test", "nobody has this address"),)
    found = with_members(entry(), known(decisions={}, withdrawals={"acme": gone}), None)

    assert found.changes == (WITHDRAW_INVITATION,)
    assert found.withdrawals == gone
    unmade = with_members(entry(workspace_id=None), known(decisions={}, withdrawals={"acme": gone}), None)
    assert unmade.withdrawals == ()
    (drift,) = find_drift(Plan((found,)), {"acme": Before(ready=True, held=frozenset())})
    assert drift.detail == "withdraw invitation vp@x.test."
    twice = replace(found, withdrawals=(*gone, Withdrawal("cfo@x.test", "nobody has this address")))
    calls = [forecast(Plan((each,)), AT_REST).twenty_calls for each in (found, twice)]
    assert calls[1] - calls[0] == 2
