"""The table of changes: a change is its name, wherever it comes from, and brings all that is known of it."""

import copy
import json
import pickle
from dataclasses import asdict

import pytest
from pydantic import TypeAdapter

from provisioning_pipeline import steps
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.tenant import MemberPlan
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, DEMOTE_MEMBER, REMOVE_MEMBER, SET_NAME, SET_ROLE

STORED = """
adopt database, create workspace, adopt workspace, start anew, retire memberships, follow address, rejoin workspace,
activate workspace, add admin, add member, invite member, withdraw invitation, mend half member, link member, drop link,
set name, set role, demote member, remove member, revoke API key, close invite link, renew invite link,
restore default role, store at Clerk, clear onboarding step, remove onboarding rows, mend hand-made workspace,
store link, prove login
"""
"""As they stand in ledgers out there."""


def test_ledgers_of_before_are_understood() -> None:
    assert steps.STEPS, "what the steps declare is known once they are imported"
    stored = {name.strip() for name in STORED.replace("\n", " ").split(",")}
    assert stored <= {str(change) for change in Change.all_declared()}


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda change: pickle.loads(pickle.dumps(change))])
def test_a_copy_is_the_change_itself(again: object) -> None:
    assert callable(again)
    assert again(REMOVE_MEMBER) is REMOVE_MEMBER


def test_a_plan_in_json_holds_names_and_comes_back_with_all_that_is_known_of_them() -> None:
    plan = MemberPlan("user_1", "a@x.test", "A", "B", "Member", None, (SET_NAME, DEMOTE_MEMBER))
    adapter = TypeAdapter(MemberPlan)
    written = adapter.dump_json(plan)

    assert json.loads(written)["changes"] == ["set name", "demote member"]
    assert json.loads(json.dumps(asdict(plan)))["changes"] == ["set name", "demote member"]
    back = adapter.validate_json(written)
    assert back == plan
    assert back.harmful_changes == (DEMOTE_MEMBER,)


def test_a_change_of_another_version_is_shown_by_its_name_and_nothing_is_made_of_it() -> None:
    unknown = Change.named("paint workspace")

    assert unknown == "paint workspace"
    assert unknown not in Change.all_declared()
    known = [unknown.harmful, unknown.read_only, unknown.sends_email, unknown.drift]
    assert not any(known)
    back = TypeAdapter(tuple[Change, ...]).validate_json('["paint workspace", "add member"]')
    assert back == ("paint workspace", ADD_MEMBER)
    assert pickle.loads(pickle.dumps(unknown)) == unknown


def test_two_changes_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="add member"):
        Change("add member")


def test_what_takes_away_comes_first_and_a_role_before_a_name() -> None:
    changes = sorted([SET_NAME, ADD_MEMBER, SET_ROLE, DEMOTE_MEMBER, REMOVE_MEMBER], key=lambda change: change.order)
    assert changes == [REMOVE_MEMBER, DEMOTE_MEMBER, ADD_MEMBER, SET_ROLE, SET_NAME]
