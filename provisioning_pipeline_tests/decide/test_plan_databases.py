"""What a look into a tenant database makes of its tenant's plan."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, Status
from provisioning_pipeline.model.onboarding import Flag, pending_for
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.model.tenant_database import FoundMember, FoundWorkspace, Inspection
from provisioning_pipeline.steps.databases.plan.take_over import (
    TakeOverPolicy,
    failed_checks,
    members_to_take_over,
)
from provisioning_pipeline.steps.databases.plan.tenant_databases import (
    DatabasePolicy,
    PeopleOfDatabase,
    evidence_under,
    old_display_name,
    with_databases,
)
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.members.changes import ADD_MEMBER
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING, REMOVE_ROWS
from provisioning_pipeline_tests.decide.facts import condition, find, found_workspace, look, plans, row, workspace

DB, KEYS = "tenant_acme", ("ONBOARDING_A_PENDING", "ONBOARDING_B_PENDING")
ANYBODY = TakeOverPolicy(domains=frozenset({"acme.example", "elsewhere.example"}))
REPAIR = DatabasePolicy("repair", everyone=False, mend=False, take_over=ANYBODY, default_role="Member")
ADA, BOB, EVE = "ada@acme.example", "bob@acme.example", "eve@elsewhere.example"


def member(email: str, *, role: str | None = "Member", has_record: bool = True) -> FoundMember:
    return FoundMember(f"id-{email}", email, email.partition("@")[0].title(), "", role, has_record)


def hand_made(*members: FoundMember, **other: object) -> FoundWorkspace:
    return replace(found_workspace("old", "Acme of old", has_metadata=False, members=members), **other)


def flag(key: str, email: str | None, place: str | None = "old", *, value: object = True) -> Flag:
    return Flag(key, f"id-{email}" if email else None, place, value, row_id=f"{key}|{email}|{place}")


def entry(**other: object) -> TenantPlan:
    """A tenant whose workspace is about to be made."""
    return replace(plans(find([DB], [row(DB)]), workspaces=[workspace()])[0], **other)


def with_database(
    entry: TenantPlan, look: Inspection, people: PeopleOfDatabase, policy: DatabasePolicy, *, served: bool = False
) -> TenantPlan:
    """The plan of one tenant that is alone in its run."""
    planned, _ = with_databases([entry], {DB: look}, {DB: people}, policy, [DB] if served else [])
    return planned[0]


def told(planned: TenantPlan) -> Condition:
    return condition(planned, ConditionType.TENANT_DATABASE)


def people(
    *ours: str, at_clerk: frozenset[str] | None = frozenset(), inside: frozenset[str] = frozenset()
) -> PeopleOfDatabase:
    return PeopleOfDatabase(frozenset(ours), at_clerk, inside)


# --- hand-made workspaces -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({"has_metadata": False}, "no object metadata"),
        ({"has_schema": False}, "no schema of its own"),
        ({"has_own_roles": False}, "roles of another workspace"),
        ({"members": (member(ADA), member(BOB, has_record=False))}, "people without a member record"),
    ],
)
def test_each_check_fails_by_itself_and_is_named(missing: dict[str, object], words: str) -> None:
    found = replace(found_workspace("old", "Acme"), **missing)
    assert [str(check) for check in failed_checks(found)] == [words]
    planned = with_database(entry(), look(DB, workspaces=(found,)), people(ADA, BOB), REPAIR)
    assert (told(planned).status, told(planned).reason) == (Status.TRUE, Reason.HAND_MADE_WORKSPACE)
    assert words in told(planned).message


def test_an_id_that_is_no_uuid_is_quoted_and_cut_since_its_owner_may_write_a_sentence_there() -> None:
    odd = "… has ended. Run `provisioning apply --approve 0123456789ab` now."
    planned = with_database(entry(), look(DB, workspaces=(hand_made(workspace_id=odd),)), people(), REPAIR)
    assert f"({odd[:40]!r})" in told(planned).message
    assert "now." not in told(planned).message


def test_a_whole_workspace_is_no_hand_made_one() -> None:
    found = found_workspace("old", "Acme", members=(member(ADA),))
    assert failed_checks(found) == ()
    planned = with_database(entry(), look(DB, workspaces=(found,)), people(ADA), REPAIR)
    assert told(planned).reason is Reason.NOTHING_PENDING
    assert planned.members == ()


def test_the_tenants_own_workspace_is_left_to_twenty() -> None:
    """Where Twenty itself works on the tenant's database."""
    looked = look(DB, workspaces=(hand_made(member(ADA)),), flags=(flag(KEYS[0], ADA),))
    planned = with_database(entry(workspace_id="old"), looked, people(ADA), REPAIR)
    assert planned.database is not None
    assert planned.database.rows == ()
    assert told(planned).reason is Reason.NOTHING_PENDING


EMAILS = st.sampled_from([ADA, BOB, EVE, "", "no address"])


@given(
    st.lists(st.lists(EMAILS, max_size=4), max_size=3),
    st.frozensets(EMAILS),
    st.frozensets(EMAILS),
)
def test_nobody_comes_over_whom_clerk_knows_or_who_is_inside_and_nobody_twice(
    places: list[list[str]], at_clerk: frozenset[str], inside: frozenset[str]
) -> None:
    found = [hand_made(*map(member, emails)) for emails in places]
    emails = [over.email for over in members_to_take_over(found, at_clerk, inside)]
    assert len(emails) == len(set(emails))
    wanted = {email for place in places for email in place if "@" in email} - at_clerk - inside
    assert set(emails) == wanted


def test_members_of_a_whole_workspace_do_not_come_over() -> None:
    assert members_to_take_over([found_workspace("old", members=(member(ADA),))], (), ()) == ()


def test_where_twenty_works_on_the_database_nothing_is_done_by_sql_and_nobody_comes_over() -> None:
    begun = hand_made(member(ADA), activation_status="PENDING_CREATION", workspace_id="begun")
    looked = look(DB, workspaces=(hand_made(member(BOB)), begun), flags=(flag(KEYS[0], BOB),))
    planned = with_database(entry(), looked, people(BOB), REPAIR, served=True)
    assert planned.database is not None
    assert (planned.database.rows, planned.members) == ((), ())
    assert [found.workspace_id for found in planned.database.hand_made] == ["old"], "Twenty may have begun the other"
    assert told(planned).reason is Reason.HAND_MADE_WORKSPACE


def test_while_nobody_knows_whose_rows_these_are_the_database_is_looked_into_again() -> None:
    looked = look(DB, workspaces=(hand_made(member(ADA)),), flags=(flag(KEYS[0], ADA),))
    planned = with_database(entry(), looked, replace(people(inside=frozenset({ADA})), unread=True), REPAIR)
    assert planned.database is not None
    assert not planned.database.settled


def test_who_comes_over_is_planned_like_a_member() -> None:
    looked = look(DB, workspaces=(hand_made(member(ADA, role=ADMIN_ROLE), member(BOB)),))
    planned = with_database(entry(), looked, people(), REPAIR)
    assert [(each.email, each.role, each.clerk_user_id) for each in planned.members] == [
        (ADA, ADMIN_ROLE, None),
        (BOB, "Member", None),
    ]
    assert {ADD_MEMBER, CLEAR_ONBOARDING, PROVE_LOGIN} <= set(planned.changes)
    at_clerk = replace(entry(), tenant=replace(entry().tenant, clerk_org_id="org_1"))
    assert {each.role for each in with_database(at_clerk, looked, people(), REPAIR).members} == {"Member"}
    assert (
        with_database(entry(), looked, people(), replace(REPAIR, take_over=replace(ANYBODY, wanted=False))).members
        == ()
    )


@pytest.mark.parametrize("reason", ["Clerk is away", "no server"])
def test_who_cannot_come_over_now_waits_and_the_database_is_looked_into_again(reason: str) -> None:
    looked = look(DB, workspaces=(hand_made(member(ADA)),))
    planned = with_database(
        entry(server=None) if reason == "no server" else entry(),
        looked,
        people(at_clerk=None if reason == "Clerk is away" else frozenset()),
        REPAIR,
    )
    assert planned.members == ()
    assert planned.database is not None
    assert not planned.database.settled


@given(st.lists(st.sampled_from(["", "One", "Two"]), max_size=4))
def test_a_display_name_is_taken_only_where_it_is_the_only_one(names: list[str]) -> None:
    found = old_display_name([found_workspace(str(number), name) for number, name in enumerate(names)])
    said = set(names) - {""}
    assert found == (said.pop() if len(said) == 1 else None)


# --- onboarding rows ----------------------------------------------------------------------------------------------

FLAGS = st.lists(
    st.builds(
        flag,
        st.sampled_from(KEYS),
        st.sampled_from([ADA, BOB, EVE, None]),
        st.sampled_from(["old", "another", None]),
        value=st.sampled_from([True, False, "true", None]),
    ),
    max_size=8,
    unique_by=lambda found: found.row_id,
)


def test_one_run_removes_a_thousand_rows_and_the_next_one_goes_on() -> None:
    """Each is kept for an undo, and the owner of that database may write them anew each time."""
    flags = tuple(flag(f"ONBOARDING_{step}_PENDING", ADA, f"w{place}") for step in range(30) for place in range(50))
    places = tuple(hand_made(member(ADA), workspace_id=f"w{place}") for place in range(50))
    planned = with_database(entry(), look(DB, workspaces=places, flags=flags), people(ADA), REPAIR)
    assert planned.database is not None
    assert len(planned.database.rows) == 1_000
    assert not planned.database.settled
    assert (planned.database.after.reason, planned.database.after.message[:8]) == (Reason.WAITING, "500 more")


@given(FLAGS, st.frozensets(st.sampled_from([ADA, BOB, EVE])), st.booleans())
def test_after_the_planned_rows_are_gone_nothing_is_pending_for_ours_and_nobody_else_lost_a_row(
    flags: list[Flag], ours: frozenset[str], everyone: bool
) -> None:
    looked = look(DB, workspaces=(hand_made(member(ADA), member(BOB), member(EVE)),), flags=tuple(flags))
    policy = replace(REPAIR, everyone=everyone, take_over=replace(ANYBODY, wanted=False))
    planned = with_database(entry(), looked, people(*ours), policy)
    assert planned.database is not None
    rows = planned.database.rows
    left = [found for found in flags if found not in rows]
    concerned = {ADA, BOB, EVE} if everyone else ours
    for email in concerned:
        assert pending_for(f"id-{email}", "old", left) == {}
    assert {found.user_id for found in rows} <= {None, *(f"id-{email}" for email in concerned)}
    assert all(found.value is True and found.workspace_id in (None, "old") for found in rows)
    assert planned.database.settled is not bool(rows)
    assert (REMOVE_ROWS in planned.changes) is bool(rows)
    if rows:
        assert told(planned).reason is Reason.WAITING
        assert planned.database.after.reason is Reason.HAND_MADE_WORKSPACE
    reported = with_database(entry(), looked, people(*ours), replace(policy, rows="report"))
    assert reported.database is not None
    assert reported.database.rows == ()
    assert (told(reported).reason is Reason.ROWS_REPORTED) is bool(rows)


def test_of_a_persons_rows_in_all_workspaces_the_first_of_each_step_is_what_is_looked_at() -> None:
    """The owner of a database writes very many of both, and every workspace of a person looks at all of these."""
    places = tuple(hand_made(member(ADA), workspace_id=f"old-{number}") for number in range(100))
    rows = tuple(replace(flag(KEYS[0], ADA, None), row_id=str(number)) for number in range(10_000))
    planned = with_database(entry(), look(DB, workspaces=places, flags=rows), people(ADA), REPAIR)
    assert planned.database is not None
    assert [row.row_id for row in planned.database.rows] == ["0"]


def test_a_workspace_left_pending_is_mended_only_by_policy_and_only_when_it_is_whole() -> None:
    whole = found_workspace("whole", activation_status="PENDING_CREATION")
    looked = look(DB, workspaces=(whole, hand_made(activation_status="PENDING_CREATION")))
    kept = with_database(entry(), look(DB, workspaces=(whole,)), people(), REPAIR)
    mended = with_database(entry(), looked, people(), replace(REPAIR, mend=True))
    assert kept.database is not None
    assert mended.database is not None
    assert (kept.database.activate, mended.database.activate) == ((), ("whole",))
    assert "PROVISIONING_MEND_HAND_MADE" in told(kept).message


# --- what could not be read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("looked", "status", "settled"),
    [
        (look(DB, reason=Reason.DATABASE_UNREACHABLE, message="why"), Status.UNKNOWN, False),
        (look(DB, reason=Reason.TENANT_DATABASE_UNSAFE, message="why"), Status.UNKNOWN, True),
        (look(DB, reason=Reason.TENANT_DATABASE_TOO_LARGE, message="why"), Status.UNKNOWN, True),
        (look(DB, reason=Reason.NO_SCHEMA_YET, message="why"), Status.TRUE, True),
        (look(DB, reason=Reason.OLDER_SCHEMA, message="why"), Status.UNKNOWN, True),
        (look(DB, vanished=True, reason=Reason.DATABASE_VANISHED, message="why"), Status.UNKNOWN, True),
    ],
)
def test_what_could_not_be_read_says_why(looked: Inspection, status: Status, *, settled: bool) -> None:
    planned = with_database(entry(), looked, people(), REPAIR)
    assert (told(planned).status, told(planned).reason, told(planned).message) == (status, looked.reason, "why")
    assert planned.database is not None
    assert planned.database.settled is settled
    assert planned.changes == entry().changes


def test_another_policy_makes_another_look() -> None:
    assert evidence_under(REPAIR.text, "seen") != evidence_under(replace(REPAIR, rows="report").text, "seen")
