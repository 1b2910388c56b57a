"""What a plan foretells. That the calls are those of a real run is shown against the sandbox, in `pipeline`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.model.change import ADOPT_DATABASE, Change
from provisioning_pipeline.model.condition import ConditionType, Reason, is_false
from provisioning_pipeline.model.forecast import AgingWorkspace, Circumstances, CutName, Harm, Limit, Timed
from provisioning_pipeline.model.history import Waiting
from provisioning_pipeline.model.onboarding import CONNECT_ACCOUNT, CREATE_PROFILE, INVITE_TEAM
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, MemberPlan, Plan, Tenant, TenantPlan
from provisioning_pipeline.steps.databases.changes import MEND_WORKSPACE
from provisioning_pipeline.steps.forecast import forecast, paces
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import (
    ADD_MEMBER,
    DROP_LINK,
    LINK_MEMBER,
    REMOVE_MEMBER,
    SET_NAME,
    SET_ROLE,
    STORE_AT_CLERK,
)
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING, REMOVE_ROWS, STORE_LINK
from provisioning_pipeline.steps.workspaces.changes import ACTIVATE_WORKSPACE, ADD_ADMIN, CREATE_WORKSPACE

NOW = datetime(2026, 8, 10, tzinfo=UTC)
AT_REST = Circumstances(
    now=NOW,
    observing_clerk_calls=5,
    clerk_calls_per_10_seconds=800,
    clerk_calls_at_once=320,
    twenty_concurrency=8,
    tenant_concurrency=4,
    harm_allowed=50,
    reading_seconds=0.5,
)
CREATION = (
    CREATE_WORKSPACE,
    ACTIVATE_WORKSPACE,
    ADD_ADMIN,
    CLEAR_ONBOARDING,
    STORE_LINK,
    PROVE_LOGIN,
)
JOINING = (ADD_MEMBER, LINK_MEMBER, SET_NAME)
BY_SQL = (ADOPT_DATABASE, REMOVE_ROWS, MEND_WORKSPACE)


def member(user: str, *changes: Change, **others: Any) -> MemberPlan:
    return MemberPlan(user, f"{user}@x.test", "Ada", "L", others.pop("role", "Member"), None, changes, **others)


def tenant(slug: str = "acme", changes: tuple[Change, ...] = (), **others: Any) -> TenantPlan:
    """A tenant that has its workspace and needs this."""
    known: dict[str, Any] = {
        "adopt": False,
        "server": "twenty",
        "subdomains": (slug,),
        "workspace_id": f"workspace-{slug}",
        "admin": Admin(f"boss@{slug}.test", "Grace", "H", f"boss-{slug}"),
        "conditions": (),
    }
    return TenantPlan(Tenant(f"tenant_{slug}", slug, slug.title()), changes, **(known | others))


def new(slug: str = "acme", members: int = 0, **others: Any) -> TenantPlan:
    """A tenant that has none."""
    people = tuple(member(f"{slug}-{number}", *JOINING) for number in range(members))
    changes = CREATION + (JOINING if members else ())
    return tenant(slug, changes, **({"workspace_id": None, "members": people} | others))


def calls(*tenants: TenantPlan, **circumstances: Any) -> int:
    return forecast(Plan(tenants), replace(AT_REST, **circumstances)).twenty_calls


SOME_CHANGES = st.frozensets(st.sampled_from(Change.all_declared()), min_size=1, max_size=6).map(sorted).map(tuple)
MEMBERS = st.lists(
    st.builds(
        MemberPlan,
        clerk_user_id=st.sampled_from([None, "boss", "a", "b"]),
        email=st.sampled_from(["boss@x.test", "a@x.test", "b@x.test"]),
        first_name=st.sampled_from(["", "Ada"]),
        last_name=st.just(""),
        role=st.sampled_from(["Admin", "Member", "Guest"]),
        twenty_user_id=st.sampled_from([None, "account"]),
        changes=SOME_CHANGES,
        why=st.sampled_from(["", "somebody left at Clerk"]),
    ),
    max_size=3,
).map(tuple)
CONDITIONS = st.sampled_from([(), (is_false(ConditionType.WORKSPACE_READY, Reason.SERVER_FULL, "Full."),)])
PENDING = st.sampled_from([(), ((CREATE_PROFILE, INVITE_TEAM),), ((CONNECT_ACCOUNT,), (INVITE_TEAM,))])
TENANTS = st.builds(
    tenant,
    slug=st.integers().map(str),
    changes=st.just(()) | SOME_CHANGES,
    server=st.sampled_from([None, "eu", "us"]),
    workspace_id=st.sampled_from([None, "workspace"]),
    admin=st.sampled_from(
        [
            Admin("boss@x.test", "Grace", "H", "boss"),
            Admin("boss@x.test", "", ""),
            AdminUnknown(Reason.ADMIN_UNKNOWN, "Nobody."),
        ]
    ),
    members=MEMBERS,
    conditions=CONDITIONS,
    pending=PENDING,
    store_organization=st.sampled_from([None, "org_1"]),
)
FLEETS = st.lists(TENANTS, max_size=3, unique_by=lambda entry: entry.tenant.slug)
CIRCUMSTANCES = st.builds(
    Circumstances,
    now=st.just(NOW),
    observing_clerk_calls=st.integers(0, 100_000),
    clerk_calls_per_10_seconds=st.integers(1, 1000),
    clerk_calls_at_once=st.integers(1, 400),
    twenty_concurrency=st.integers(1, 64),
    tenant_concurrency=st.integers(1, 64),
    harm_allowed=st.integers(0, 50),
    reading_seconds=st.floats(0, 100),
    seconds_of_change=st.dictionaries(
        st.sampled_from(["eu", "us"]), st.dictionaries(st.sampled_from(Change.all_declared()), st.floats(0, 100))
    ),
    room=st.dictionaries(st.sampled_from(["eu", "us"]), st.none() | st.integers(-1, 3)),
    inhabited=st.frozensets(st.sampled_from(["eu", "us"])),
)


# --- calls --------------------------------------------------------------------------------------------------------


def test_a_fleet_at_rest_costs_what_observing_costs() -> None:
    found = forecast(Plan((tenant(), tenant("other"))), AT_REST)
    assert (found.clerk_calls, found.twenty_calls, found.seconds, found.first_limit) == (5, 0, 0.5, None)
    assert (found.cut_names, found.aging, found.harm) == ((), (), Harm(0, 50, 0))


def test_what_is_done_by_sql_calls_nobody() -> None:
    assert calls(tenant(changes=BY_SQL)) == 0


def test_work_that_no_server_can_take_calls_nobody() -> None:
    assert calls(new(server=None)) == 0


def test_every_operation_is_validated_once_on_each_server_that_is_written_to() -> None:
    login = tenant(changes=(PROVE_LOGIN,))
    # with /client-config, our account's sign-in, the look at the wizard from inside, and the login itself
    alone = len(operations.ALL) + 1 + 1 + 3 + 3
    assert calls(login) == alone
    assert calls(login, tenant("other", (PROVE_LOGIN,))) == alone + 3
    assert calls(login, tenant("far", (PROVE_LOGIN,), server="far")) == 2 * alone


def test_a_new_tenant_costs_more_on_a_server_where_the_wizard_can_be_looked_at() -> None:
    assert calls(new(), inhabited=frozenset({"twenty"})) == calls(new()) + 3


def test_everybodys_login_is_proved_where_somebody_joins_and_the_admins_alone_where_a_role_changes() -> None:
    joining = tenant(changes=JOINING, members=(member("a", *JOINING),))
    raised = tenant(changes=(SET_ROLE,), members=(member("a", SET_ROLE, role="Admin"),))
    others = {"tenant_acme": 4}
    assert calls(joining, members=others) == calls(joining) + 4 * 3
    assert calls(raised, members=others) == calls(raised)


def test_without_an_admin_no_login_is_proved() -> None:
    joining = tenant(changes=JOINING, members=(member("a", *JOINING),))
    unknown = replace(joining, admin=AdminUnknown(Reason.ADMIN_UNKNOWN, "Nobody."))
    assert calls(joining) - calls(unknown) == 3 + 1


def test_steps_of_more_people_take_more_calls() -> None:
    keys = (CONNECT_ACCOUNT, "ONBOARDING_NEWER_THAN_THIS_PENDING")
    entry = tenant(changes=(CLEAR_ONBOARDING, PROVE_LOGIN), pending=(keys,))
    # each signs in and clears the one step for which there is a call
    assert calls(replace(entry, pending=(keys,) * 5)) == calls(entry) + 4 * 3


def test_whose_link_goes_to_somebody_else_costs_no_call() -> None:
    def leaving(why: str) -> TenantPlan:
        return tenant(changes=(DROP_LINK,), members=(member("a", DROP_LINK, why=why),))

    assert calls(leaving("")) < calls(leaving("a@x.test left at Clerk"))


def test_clerk_is_written_to_once_for_the_workspace_and_once_for_each_person() -> None:
    people = (member("a", STORE_AT_CLERK), member("b", STORE_AT_CLERK), member("c", SET_NAME))
    entry = tenant(changes=(STORE_AT_CLERK, SET_NAME), members=people, store_organization="org_1")
    assert forecast(Plan((entry,)), AT_REST).clerk_calls == 5 + 1 + 2


@given(FLEETS, CIRCUMSTANCES)
def test_nothing_is_ever_negative_and_nothing_is_foretold_twice_differently(
    tenants: list[TenantPlan], circumstances: Circumstances
) -> None:
    found = forecast(Plan(tuple(tenants)), circumstances)
    assert min(found.twenty_calls, found.harm.planned) >= 0
    assert found.clerk_calls >= circumstances.observing_clerk_calls
    assert found.seconds >= circumstances.reading_seconds
    assert found.why
    assert forecast(Plan(tuple(tenants)), circumstances) == found


@given(FLEETS, CIRCUMSTANCES)
def test_tenants_without_work_at_twenty_change_nothing(tenants: list[TenantPlan], circumstances: Circumstances) -> None:
    idle = [tenant("idle"), tenant("rows", (REMOVE_ROWS,))]
    alone, beside = (forecast(Plan(tuple(those)), circumstances) for those in (tenants, [*tenants, *idle]))
    assert (alone.twenty_calls, alone.clerk_calls, alone.seconds) == (
        beside.twenty_calls,
        beside.clerk_calls,
        beside.seconds,
    )


@given(FLEETS, TENANTS, CIRCUMSTANCES)
def test_a_tenant_more_never_costs_less(
    tenants: list[TenantPlan], another: TenantPlan, circumstances: Circumstances
) -> None:
    without, with_it = (forecast(Plan(tuple(those)), circumstances) for those in (tenants, [*tenants, another]))
    assert with_it.clerk_calls >= without.clerk_calls
    assert with_it.twenty_calls >= without.twenty_calls
    assert with_it.seconds >= without.seconds - 1e-9


@given(st.integers(0, 200), st.integers(1, 20), CIRCUMSTANCES)
def test_more_members_never_cost_less(members: int, more: int, circumstances: Circumstances) -> None:
    few, many = (forecast(Plan((new(members=count),)), circumstances) for count in (members, members + more))
    assert many.twenty_calls > few.twenty_calls
    assert many.seconds >= few.seconds - 1e-9


# --- time ---------------------------------------------------------------------------------------------------------


def test_a_run_is_as_long_as_the_last_ones_were_for_the_same_changes_on_the_same_server() -> None:
    quick, slow, elsewhere = (
        forecast(
            Plan((new(members=3),)),
            replace(AT_REST, seconds_of_change={server: dict.fromkeys(Change.all_declared(), seconds)}),
        ).seconds
        for server, seconds in (("twenty", 0.1), ("twenty", 1.0), ("other", 100.0))
    )
    reading_and_servers = 0.5 + 0.3
    assert slow - reading_and_servers == pytest.approx(10 * (quick - reading_and_servers))
    assert elsewhere == forecast(Plan((new(members=3),)), AT_REST).seconds


def test_no_run_is_shorter_than_an_activation() -> None:
    slow = {"twenty": {ACTIVATE_WORKSPACE: 100.0}}
    assert forecast(Plan((new(),)), replace(AT_REST, seconds_of_change=slow)).seconds > 100


def test_a_fresh_real_server_is_foretold_what_one_took() -> None:
    # five tenants of four people: 41 to 48 s on two cores, 19 s where nothing else ran on the machine
    tenants = tuple(new(f"t{number}", members=3) for number in range(5))
    assert 19 <= forecast(Plan(tenants), AT_REST).seconds <= 48


def test_servers_work_side_by_side_and_each_does_one_thing_after_another() -> None:
    here, there = (
        tuple(new(f"{server}{number}", members=3, server=server) for number in range(4)) for server in ("eu", "us")
    )
    one, both, twice = (forecast(Plan(tenants), AT_REST).seconds for tenants in (here, here + there, (*here, *here)))
    assert both == pytest.approx(one)
    assert twice > 1.9 * (one - 0.8)


# --- what the last runs showed ------------------------------------------------------------------------------------


def shown(*timed: Timed) -> dict[str, dict[str, float]]:
    return paces(timed, tenant_concurrency=4, twenty_concurrency=8)


def test_whatever_ran_side_by_side_shared_the_time_that_each_took() -> None:
    activate, join = ACTIVATE_WORKSPACE, ADD_MEMBER
    assert shown(Timed("eu", activate, 1, 5.0)) == {"eu": {activate: 5.0}}
    assert shown(Timed("eu", activate, 40, 20.0), Timed("eu", join, 2, 1.0)) == {"eu": {activate: 5.0, join: 0.5}}


def test_one_crowded_run_makes_nothing_look_slow_and_servers_share_no_figures() -> None:
    runs = [Timed("eu", SET_NAME, 1, seconds) for seconds in (0.1, 0.1, 9.0)]
    found = shown(*runs, Timed("sandbox", SET_NAME, 1, 0.001))
    assert found == {"eu": {SET_NAME: 0.1}, "sandbox": {SET_NAME: 0.001}}


# --- what stops it ------------------------------------------------------------------------------------------------


def limit(plan: Plan, **circumstances: Any) -> tuple[Limit | None, str]:
    found = forecast(plan, replace(AT_REST, **circumstances))
    return found.first_limit, found.why


def test_more_new_workspaces_than_room() -> None:
    plan = Plan((new("a"), new("b"), new("c", server="other")))
    assert limit(plan, room={"twenty": 2, "other": None}) == (
        None,
        "No limit is reached.",
    )
    assert limit(plan, room={"twenty": 1, "other": None}) == (
        Limit.SERVER_ROOM,
        "2 workspaces are to be made on twenty, which has room for 1.",
    )


def test_tenants_for_whom_planning_found_no_place() -> None:
    full = is_false(ConditionType.WORKSPACE_READY, Reason.SERVER_FULL, "Every server is full.")
    waiting = tenant("late", server=None, workspace_id=None, conditions=(full,))
    assert limit(Plan((new(), waiting))) == (Limit.SERVER_ROOM, "1 new tenants wait for a place on a server.")


def test_harm_that_waits_is_a_limit_and_harm_within_the_budget_is_none() -> None:
    gone = member("a", REMOVE_MEMBER, why="a@x.test left at Clerk")
    within = Plan((tenant(changes=(REMOVE_MEMBER,), members=(gone,)),))
    assert forecast(within, AT_REST).harm == Harm(planned=1, allowed=50, waiting=0)
    assert limit(within)[0] is None

    beyond = replace(within, waiting=Waiting("abc", 60))
    assert forecast(beyond, AT_REST).harm == Harm(planned=1, allowed=50, waiting=60)
    assert limit(beyond)[0] is Limit.HARM_BUDGET
    assert limit(beyond)[1].startswith("60 removals and demotions wait for approval")


def test_clerk_is_the_limit_when_waiting_for_it_is_most_of_the_run() -> None:
    plan = Plan((tenant(),))
    assert limit(plan, observing_clerk_calls=320)[0] is None
    assert limit(plan, observing_clerk_calls=320 + 480) == (
        Limit.CLERK_RATE,
        "800 calls to Clerk at 800 in 10 s take 10 of the run's 10 s.",
    )
    # reading took as long as Clerk let it, and a little more
    assert limit(plan, observing_clerk_calls=320 + 480, reading_seconds=11.0)[0] is Limit.CLERK_RATE


def test_twenty_is_the_limit_of_a_long_run() -> None:
    few, many = (Plan(tuple(new(f"t{number}", members=3) for number in range(count))) for count in (4, 400))
    assert forecast(few, AT_REST).seconds < 60
    assert limit(few)[0] is None
    found, why = limit(many)
    assert found is Limit.TWENTY_CONCURRENCY
    assert f"{calls(*many.tenants)} calls to Twenty" in why
    assert "one thing after another" in why


def test_what_leaves_something_undone_comes_before_what_takes_time() -> None:
    plan = Plan((new("a"), new("b")), waiting=Waiting("abc", 60))
    slow: dict[str, Any] = {"observing_clerk_calls": 100_000}
    assert limit(plan, room={"twenty": 1}, **slow)[0] is Limit.SERVER_ROOM
    assert limit(plan, **slow)[0] is Limit.HARM_BUDGET
    assert limit(replace(plan, waiting=None), **slow)[0] is Limit.CLERK_RATE


# --- names and age ------------------------------------------------------------------------------------------------


def test_names_that_are_cut_are_told_for_workspaces_that_will_be_made() -> None:
    plan = Plan(
        (
            new("plain"),
            new("admin", subdomains=("admin-1a2b3c4d", "admin-1a2b3c4d5e6f")),
            tenant("was-cut", (SET_NAME,), subdomains=("other",)),
            tenant("nowhere", server=None, workspace_id=None, subdomains=()),
        )
    )
    assert forecast(plan, AT_REST).cut_names == (CutName("admin", "admin-1a2b3c4d"),)


def test_workspaces_that_go_within_two_days_are_told() -> None:
    ages = [AgingWorkspace(f"after-{days}", str(days), NOW - timedelta(days=days)) for days in (6, 5, 4)]
    found = forecast(Plan((), unactivated=tuple(ages)), AT_REST).aging
    assert [workspace.slug for workspace in found] == ["after-6", "after-5"]
