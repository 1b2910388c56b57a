"""A plan as a diff that a person reads."""

from dataclasses import replace

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false
from provisioning_pipeline.model.tenant import Admin, MemberPlan, Tenant, TenantPlan
from provisioning_pipeline.report.plan_lines import done_lines, duration, lines_of
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, LINK_MEMBER, REMOVE_MEMBER, SET_NAME
from provisioning_pipeline.steps.workspaces.changes import ADD_ADMIN, CREATE_WORKSPACE

ENTRY = TenantPlan(
    tenant=Tenant("twenty_tenant_acme_1", "acme", "Acme"),
    changes=(CREATE_WORKSPACE, ADD_ADMIN, ADD_MEMBER, REMOVE_MEMBER, PROVE_LOGIN),
    adopt=False,
    server="eu",
    subdomains=("acme", "acme-1"),
    workspace_id=None,
    admin=Admin("ada@acme.test", "Ada", "L"),
    conditions=(),
)


def member(*changes: Change, email: str, why: str = "") -> MemberPlan:
    return MemberPlan("user_1", email, "Bo", "B", "Member", None, changes, why)


def test_each_change_says_what_it_comes_to_and_what_takes_away_goes_before_what_gives() -> None:
    people = (
        member(ADD_MEMBER, LINK_MEMBER, SET_NAME, email="bo@acme.test"),
        member(REMOVE_MEMBER, email="cy@acme.test", why="left at Clerk"),
    )
    assert [str(line) for line in done_lines(replace(ENTRY, members=people))] == [
        "+ create workspace acme on eu",
        "+ add admin ada@acme.test",
        "~ prove login",
        "- remove cy@acme.test: left at Clerk",
        "+ add bo@acme.test as Member",
    ]


def test_what_needs_a_person_is_told_once_and_what_the_plan_settles_itself_is_not() -> None:
    missing = is_false(ConditionType.MEMBERS_SYNCED, Reason.ORGANIZATION_MISSING, "No such organization.")
    conditions = (
        missing,
        replace(missing, type=ConditionType.LOGIN_PROVED),
        is_false(ConditionType.ONBOARDING_COMPLETE, Reason.WAITING, "To be done."),
    )
    troubles = [str(line) for line in lines_of(replace(ENTRY, changes=(), conditions=conditions))]
    assert troubles == ["! OrganizationMissing: No such organization."]


def test_durations_read_like_a_clock_not_like_a_float() -> None:
    assert [duration(seconds) for seconds in (0.2, 42, 89, 300, 8000)] == ["0 s", "42 s", "89 s", "5 min", "2.2 h"]
