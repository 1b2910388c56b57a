"""When a stored admin stands for their tenant, and what is planned when they do not."""

from typing import Any

import pytest

from provisioning_pipeline.model import frames
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.model.tenant import Admin, AdminUnknown
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.plan.decisions import desired_members
from provisioning_pipeline.steps.members.plan.harm import STORED_ADMINS, lost_admins
from provisioning_pipeline.steps.members.plan.tenant_members import LostAdmin, with_members
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING
from provisioning_pipeline.steps.workspaces.changes import ADD_ADMIN
from provisioning_pipeline_tests.decide.people import Town
from provisioning_pipeline_tests.decide.test_plan_members import BEA, UNKNOWN_ID, entry, known

ADA = "acc-ada"


def lost(town: Town, *, organization: bool = True, registry: str | None = None, **people: Any) -> LostAdmin | None:
    """What is lost of the tenant whose stored admin is Ada."""
    observed = town.people(**people)
    row = ("acme", "org_acme" if organization else None, "eu", "ws-acme", ADA, "ada@x.test", registry)
    return lost_admins(frames.frame(STORED_ADMINS, [row]), observed, desired_members(observed)).get("acme")


def town(role: str | None = "Admin", *, at_clerk: bool = True, inside: bool = True, linked: bool = True) -> Town:
    made = Town()
    made.tenant("acme")
    made.account(ADA, "ada@x.test")
    if at_clerk:
        made.person("ada")
        made.belongs("ada", "acme", "org:admin")
    if linked:
        made.is_account("ada", ADA)
        made.linked("ada", "acme", ADA)
    if inside:
        made.inside(ADA, "acme", role)
    return made


@pytest.mark.parametrize(
    ("made", "organization", "registry", "is_lost"),
    [
        (town(), True, None, None),
        (town(inside=False), True, None, LostAdmin(ADA, "ada", harmed=True)),
        (town("Member"), True, None, LostAdmin(ADA, "ada", harmed=True)),
        (town(None), True, None, LostAdmin(ADA, "ada", harmed=True)),
        # gone from Clerk: whoever is linked is missed, by a second witness
        (town(at_clerk=False), True, None, None),
        # nobody at Clerk, and never linked
        (town(at_clerk=False, linked=False), True, None, LostAdmin(ADA, None, harmed=False)),
        (town(linked=False), True, None, None),
        (town(at_clerk=False, linked=False), False, "ada@x.test", None),
        (town(at_clerk=False, linked=False), False, None, None),
        (town(at_clerk=False, linked=False), False, "bea@x.test", LostAdmin(ADA, None, harmed=False)),
        (town("Member", at_clerk=False, linked=False), False, "ada@x.test", LostAdmin(ADA, None, harmed=True)),
        (town(at_clerk=False, linked=False, inside=False), False, None, LostAdmin(ADA, None, harmed=True)),
    ],
)
def test_a_stored_admin_stands_while_they_are_admin_inside_and_named(
    made: Town, organization: bool, registry: str | None, is_lost: LostAdmin | None
) -> None:
    assert lost(made, organization=organization, registry=registry) == is_lost


def test_an_account_that_took_the_address_that_the_registry_names_is_still_the_admin() -> None:
    made = town(at_clerk=False, linked=False)
    made.twenty_users = [("eu", ADA, "new@x.test") if row[1] == ADA else row for row in made.twenty_users]
    assert lost(made, organization=False, registry="new@x.test") is None


def test_a_reading_that_is_not_whole_makes_nobody_a_stranger() -> None:
    assert lost(town(at_clerk=False, linked=False), complete=False) is None


HARMED, UNNAMED = LostAdmin(ADA, "ada", harmed=True), LostAdmin(ADA, None, harmed=False)


def planned(loss: LostAdmin, heir: Admin | AdminUnknown, *changes: Change, goes_on: bool = False) -> Any:
    asked: list[str | None] = []

    def another(_entry: Any, before: str | None) -> Admin | AdminUnknown:
        asked.append(before)
        return heir

    facts = known(lost_admins={"acme": loss}, another_admin=another, goes_on_without=lambda _entry, _unknown: goes_on)
    found = with_members(entry(*changes), facts, ADA)
    assert asked == [loss.clerk_user_id]
    return found


@pytest.mark.parametrize("loss", [HARMED, UNNAMED])
def test_whoever_can_stand_for_the_tenant_is_made_its_admin(loss: LostAdmin) -> None:
    found = planned(loss, BEA)
    assert found.admin == BEA
    assert found.changes == (ADD_ADMIN, CLEAR_ONBOARDING, PROVE_LOGIN)
    assert found.lost_admin == ADA


def test_without_anybody_the_departed_one_is_neither_signed_in_nor_advised_to_be_invited() -> None:
    found = planned(HARMED, UNKNOWN_ID, PROVE_LOGIN)
    assert (found.admin, found.changes, found.lost_admin) == (UNKNOWN_ID, (), ADA)
    (told,) = [condition for condition in found.conditions if condition.type is ConditionType.LOGIN_PROVED]
    assert (told.status, told.reason) == (Status.FALSE, Reason.ADMIN_UNKNOWN)


def test_an_admin_whom_nobody_names_stays_while_nobody_else_is_named() -> None:
    found = planned(UNNAMED, UNKNOWN_ID)
    assert (found.changes, found.lost_admin, found.admin.email) == ((), None, "ada@x.test")


def test_where_the_members_prove_the_workspace_it_goes_on_without_an_admin() -> None:
    found = planned(HARMED, AdminUnknown(Reason.ACCOUNT_UNPROVEN, "unproven"), goes_on=True)
    assert [condition for condition in found.conditions if condition.type is ConditionType.LOGIN_PROVED] == []
