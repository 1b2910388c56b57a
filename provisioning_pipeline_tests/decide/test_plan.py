"""From observed state to a plan, one kind of tenant after another."""

from typing import Any

import pytest

from provisioning_pipeline.decide.organizations import Match
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.change import ADOPT_DATABASE
from provisioning_pipeline.model.condition import ConditionType, Reason, Status
from provisioning_pipeline.model.names import subdomains
from provisioning_pipeline.model.people import Membership, User
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, TenantPlan
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.onboarding.changes import CLEAR_ONBOARDING, STORE_LINK
from provisioning_pipeline.steps.workspaces.changes import (
    ACTIVATE_WORKSPACE,
    ADD_ADMIN,
    ADOPT_WORKSPACE,
    CREATE_WORKSPACE,
)
from provisioning_pipeline.steps.workspaces.plan.planner import databases_without_workspace
from provisioning_pipeline_tests.decide.facts import (
    ADMIN,
    SERVICE,
    WORKSPACE,
    condition,
    find,
    flag,
    found_workspace,
    link,
    look,
    member_link,
    plans,
    row,
    server,
    workspace,
)

DB = "twenty_tenant_acme_0a1b2c3d"
WHOLE = (CREATE_WORKSPACE, ACTIVATE_WORKSPACE)
REST = (CLEAR_ONBOARDING, STORE_LINK)
WORKSPACE_READY, LOGIN_PROVED = ConditionType.WORKSPACE_READY, ConditionType.LOGIN_PROVED
ADA: dict[str, Any] = {
    "holders": {"org_1": (Membership("u1", "org:admin", False, 1),)},
    "users": {"u1": User("u1", "ada@acme.test", "Ada", "L", False)},
}


def planned(
    registry: dict[str, Any] | None, known: dict[str, Any] | None = None, *, adopt: bool = True, **what: Any
) -> TenantPlan:
    """The plan of the one tenant."""
    found = find([DB], [registry] if registry else [], [known] if known else [], adopt=adopt)
    (entry,) = plans(found, **what)
    return entry


def at_rest(**what: Any) -> TenantPlan:
    """The plan of a tenant whose registry row and link agree, where nothing but `what` is odd."""
    return planned(row(DB, workspace_id=WORKSPACE), link(DB, **what.pop("known", {})), **what)


# --- a new tenant -------------------------------------------------------------------------------------------------


def test_a_new_tenant_gets_everything() -> None:
    entry = planned(row(DB, clerk_org_id="org_1"), **ADA)
    assert entry.changes == (*WHOLE, ADD_ADMIN, *REST, PROVE_LOGIN)
    assert (entry.server, entry.workspace_id, entry.adopt) == ("eu", None, False)
    assert entry.subdomains == subdomains("acme", "Acme", DB)
    assert entry.admin == Admin("ada@acme.test", "Ada", "L", "u1")


def test_a_new_tenant_whose_admin_nobody_knows_gets_its_workspace_all_the_same() -> None:
    entry = planned(row(DB))
    assert entry.changes == (*WHOLE, *REST)
    assert isinstance(entry.admin, AdminUnknown)
    assert entry.admin.reason is Reason.ADMIN_UNKNOWN


def test_a_database_without_a_row_is_adopted_first_under_the_name_that_it_gives_itself() -> None:
    entry = planned(None, inspections=[look(DB, workspaces=(found_workspace("w", "Acme International"),))])
    assert entry.adopt
    assert entry.changes[0] == ADOPT_DATABASE
    assert entry.tenant.name == "Acme International"


def test_the_registrys_name_goes_before_the_databases_own_unless_that_is_of_a_hand_made_workspace() -> None:
    whole, hand_made = found_workspace("w", "Other"), found_workspace("h", "Acme GmbH", has_metadata=False)
    assert planned(row(DB), inspections=[look(DB, workspaces=(whole,))]).tenant.name == "Acme"
    assert planned(row(DB), inspections=[look(DB, workspaces=(whole, hand_made))]).tenant.name == "Acme GmbH"


def test_two_names_in_one_database_are_neither_the_tenants_for_certain() -> None:
    names = found_workspace("v", "One", has_metadata=False), found_workspace("w", "Two", has_metadata=False)
    assert planned(row(DB), inspections=[look(DB, workspaces=names)]).tenant.name == "Acme"


def test_a_tenant_without_a_place_is_still_adopted_and_waits() -> None:
    full = [server(capacity=1, workspaces=1)]
    entry = planned(None, servers=full)
    assert entry.changes == (ADOPT_DATABASE,)
    assert entry.server is None
    assert condition(entry, WORKSPACE_READY).reason is Reason.SERVER_FULL
    assert planned(row(DB), servers=full).needs_work is False


def test_two_new_tenants_do_not_get_the_last_place_both() -> None:
    found = find(["one", "two"])
    first, second = plans(found, servers=[server(capacity=1)])
    assert first.server == "eu"
    assert second.server is None


def test_a_database_that_vanished_is_left_alone() -> None:
    entry = planned(None, inspections=[look(DB, vanished=True, reason=Reason.DATABASE_VANISHED)])
    assert (entry.changes, entry.adopt) == ((), False)
    assert condition(entry, ConditionType.DETECTED).reason is Reason.DATABASE_VANISHED


@pytest.mark.parametrize("reason", [Reason.DATABASE_UNREACHABLE, Reason.NO_SCHEMA_YET, Reason.OLDER_SCHEMA])
def test_a_database_that_could_not_be_looked_into_stops_nothing(reason: Reason) -> None:
    entry = planned(row(DB), inspections=[look(DB, reason=reason)])
    assert condition(entry, ConditionType.DETECTED).reason is Reason.DATABASE_PRESENT
    assert entry.changes[:2] == WHOLE


def test_a_creation_under_way_is_finished_on_its_own_server_even_if_that_is_full() -> None:
    begun = link(DB, workspace_id=None, admin_user_id=None, open_intent=True, server="small")
    rows = [server("small", capacity=1, workspaces=1), server("large")]
    entry = planned(row(DB), begun, servers=rows)
    assert entry.server == "small"
    assert entry.changes[:2] == WHOLE


def test_a_creation_under_way_waits_for_its_server() -> None:
    begun = link(DB, workspace_id=None, admin_user_id=None, open_intent=True, server="small")
    trouble = server("small", reason=Reason.SERVER_DATABASE_UNREACHABLE, message="no route")
    for rows, reason in (
        ([server()], Reason.SERVER_NOT_CONFIGURED),
        ([server(), trouble], Reason.SERVER_DATABASE_UNREACHABLE),
    ):
        entry = planned(row(DB), begun, servers=rows)
        assert entry.changes == ()
        assert condition(entry, WORKSPACE_READY).reason is reason


def test_a_creation_under_way_keeps_its_place_from_others() -> None:
    begun = link("one", workspace_id=None, admin_user_id=None, open_intent=True)
    found = find(["one", "two"], [row("one"), row("two")], [begun])
    first, second = plans(found, servers=[server(capacity=1)])
    assert first.server == "eu"
    assert condition(second, WORKSPACE_READY).reason is Reason.SERVER_FULL


@pytest.mark.parametrize("entry", [planned(row(DB, status="suspended"), link(DB)), planned(None, adopt=False)])
def test_nothing_is_done_for_whom_nothing_is_wanted(entry: TenantPlan) -> None:
    assert (entry.changes, entry.adopt, entry.subdomains) == ((), False, ())


# --- a tenant whose workspace only the registry knows -------------------------------------------------------------


def test_a_workspace_that_the_registry_names_is_adopted_after_the_ledger_was_lost() -> None:
    entry = planned(row(DB, workspace_id=WORKSPACE), workspaces=[workspace(subdomain="acme-hq")])
    assert entry.changes == (ADOPT_WORKSPACE, *REST)
    assert (entry.server, entry.workspace_id, entry.subdomains) == ("eu", WORKSPACE, ("acme-hq",))


def test_a_workspace_that_is_somebody_elses_by_our_own_link_is_not_adopted() -> None:
    found = find(["one", "two"], [row("one"), row("two", workspace_id=WORKSPACE)], [link("one")])
    _, second = plans(found)
    assert second.workspace_id is None
    assert CREATE_WORKSPACE in second.changes


def test_a_renamed_database_keeps_its_workspace() -> None:
    found = find(["new"], [row("new", workspace_id=WORKSPACE)], [link("old")])
    renamed, gone = plans(found)
    assert renamed.changes == (ADOPT_WORKSPACE, *REST)
    assert (renamed.workspace_id, renamed.renamed_from) == (WORKSPACE, "old")
    assert gone.changes == ()


@pytest.mark.parametrize("old", [{"databases": ["old", "new"]}, {"registry": [row("old", slug="old")]}])
def test_a_workspace_of_a_tenant_of_whom_anything_is_left_is_not_another_ones(old: dict[str, Any]) -> None:
    rows = [row("new", workspace_id=WORKSPACE), *old.get("registry", [])]
    found = find(old.get("databases", ["new"]), rows, [link("old")])
    (new,) = [entry for entry in plans(found) if entry.tenant.database_name == "new"]
    assert (new.workspace_id, new.renamed_from) == (None, None)


def test_two_tenants_never_get_one_workspace_whatever_the_registry_says() -> None:
    found = find(["one", "two"], [row("one", workspace_id=WORKSPACE), row("two", workspace_id=WORKSPACE)])
    assert [entry.workspace_id for entry in plans(found)].count(WORKSPACE) <= 1


def test_while_a_server_cannot_be_read_nothing_is_made_for_a_workspace_that_may_be_there() -> None:
    rows = [server(), server("us", reason=Reason.SERVER_DATABASE_UNREACHABLE, message="no route")]
    entry = planned(row(DB, workspace_id=WORKSPACE), servers=rows, workspaces=[])
    assert entry.changes == ()
    assert condition(entry, WORKSPACE_READY).reason is Reason.SERVER_DATABASE_UNREACHABLE


@pytest.mark.parametrize("rows", [[], [workspace(deleted=True)]])
def test_a_registered_workspace_that_is_nowhere_is_made_anew(rows: list[dict[str, Any]]) -> None:
    entry = planned(row(DB, workspace_id=WORKSPACE), workspaces=rows)
    assert entry.changes[:2] == WHOLE
    assert entry.workspace_id is None


# --- a tenant with a workspace ------------------------------------------------------------------------------------


def test_a_tenant_at_rest_needs_nothing() -> None:
    entry = at_rest()
    assert entry.changes == ()
    assert (entry.server, entry.workspace_id) == ("eu", WORKSPACE)
    assert condition(entry, WORKSPACE_READY).status is Status.TRUE


@pytest.mark.parametrize(("user", "here"), [(ADMIN, WORKSPACE), (SERVICE, WORKSPACE), (None, WORKSPACE), (ADMIN, None)])
def test_a_pending_step_of_any_level_is_cleared_and_the_login_proved_again(user: str | None, here: str | None) -> None:
    entry = at_rest(flags=[flag("ONBOARDING_SOMETHING_NEW_PENDING", user, here)])
    assert entry.changes == (CLEAR_ONBOARDING, PROVE_LOGIN)
    told = condition(entry, ConditionType.ONBOARDING_COMPLETE)
    assert told.reason is Reason.STEPS_PENDING
    assert "ONBOARDING_SOMETHING_NEW_PENDING" in told.message


def test_steps_of_somebody_else_are_not_ours_to_clear() -> None:
    others = "cccccccc-0000-4000-8000-000000000000"
    rows = [flag("ONBOARDING_A_PENDING", others), flag("ONBOARDING_B_PENDING", ADMIN, others), flag("THEME", ADMIN)]
    assert at_rest(flags=rows).changes == ()


def test_steps_on_another_server_are_not_this_tenants() -> None:
    rows = [flag("ONBOARDING_A_PENDING", ADMIN) | {"server": "us"}]
    assert at_rest(flags=rows, servers=[server(), server("us")]).changes == ()


@pytest.mark.parametrize("status", ["PENDING_CREATION", "ONGOING_CREATION"])
def test_an_unfinished_activation_is_gone_on_with(status: str) -> None:
    entry = at_rest(workspaces=[workspace(activation_status=status, has_metadata=False)])
    assert entry.changes == (ACTIVATE_WORKSPACE, CLEAR_ONBOARDING, PROVE_LOGIN)
    assert condition(entry, WORKSPACE_READY).reason is Reason.WAITING


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], Reason.WORKSPACE_GONE),
        ([workspace(deleted=True)], Reason.WORKSPACE_GONE),
        ([workspace(server="us")], Reason.WORKSPACE_GONE),
        ([workspace(activation_status="SUSPENDED")], Reason.WORKSPACE_SUSPENDED),
        ([workspace(activation_status="INACTIVE")], Reason.WORKSPACE_SUSPENDED),
        ([workspace(activation_status="A_STATUS_OF_LATER")], Reason.WORKSPACE_SUSPENDED),
        ([workspace(has_metadata=False)], Reason.WORKSPACE_INCOMPLETE),
    ],
)
def test_a_broken_workspace_is_told_and_not_touched(rows: list[dict[str, Any]], reason: Reason) -> None:
    entry = at_rest(workspaces=rows, flags=[flag("ONBOARDING_A_PENDING", ADMIN)])
    assert entry.changes == ()
    told = condition(entry, WORKSPACE_READY)
    assert (told.status, told.reason) == (Status.FALSE, reason)


def test_a_server_that_is_not_configured_is_named_and_nothing_is_made_elsewhere() -> None:
    entry = at_rest(servers=[server("us")])
    assert entry.changes == ()
    assert condition(entry, WORKSPACE_READY).reason is Reason.SERVER_NOT_CONFIGURED
    assert '"eu"' in condition(entry, WORKSPACE_READY).message


def test_of_a_server_that_cannot_be_read_nothing_is_claimed() -> None:
    entry = at_rest(servers=[server(reason=Reason.SERVER_DATABASE_UNREACHABLE, message="no route")], workspaces=[])
    assert entry.changes == ()
    told = condition(entry, WORKSPACE_READY)
    assert (told.status, told.reason, told.message) == (
        Status.UNKNOWN,
        Reason.SERVER_DATABASE_UNREACHABLE,
        "no route",
    )


def test_an_admin_who_became_known_is_added() -> None:
    known = link(DB, admin_user_id=None, admin_email=None, login_proved=False)
    entry = planned(row(DB, workspace_id=WORKSPACE, clerk_org_id="org_1"), known, **ADA)
    assert entry.changes == (ADD_ADMIN, CLEAR_ONBOARDING, PROVE_LOGIN)
    assert entry.admin == Admin("ada@acme.test", "Ada", "L", "u1")


def test_a_workspace_whose_admin_nobody_knows_waits_with_the_reason() -> None:
    entry = at_rest(known={"admin_user_id": None, "admin_email": None, "login_proved": False})
    assert entry.changes == ()
    told = condition(entry, LOGIN_PROVED)
    assert (told.status, told.reason) == (Status.FALSE, Reason.ADMIN_UNKNOWN)


def test_a_lost_proof_is_made_again_for_the_admin_that_we_know() -> None:
    entry = at_rest(known={"login_proved": False})
    assert entry.changes == (PROVE_LOGIN,)
    assert isinstance(entry.admin, Admin)
    assert entry.admin.email == "ada@acme.test"


@pytest.mark.parametrize("believed", [None, "22222222-2222-4222-8222-222222222222"])
def test_a_registry_that_is_behind_is_told_if_it_can_store_it(believed: str | None) -> None:
    behind = row(DB, workspace_id=believed)
    assert planned(behind, link(DB)).changes == (STORE_LINK,)
    assert planned(behind, link(DB), registry_stores=False).changes == ()


def test_a_tenant_whose_row_was_removed_is_not_said_to_be_in_the_registry() -> None:
    entry = planned(None, link(DB))
    registered = condition(entry, ConditionType.REGISTERED)
    assert registered.status is not Status.TRUE or ADOPT_DATABASE in entry.changes


# --- its organization and its members -------------------------------------------------------------------------


def test_the_organization_that_was_matched_is_the_tenants_whatever_the_registry_says() -> None:
    holders = {"org_2": (Membership("u1", "org:admin", False, 1),)}
    entry = planned(row(DB, clerk_org_id="org_1"), organizations={DB: Match("org_2")}, **(ADA | {"holders": holders}))
    assert entry.tenant.clerk_org_id == "org_2"
    assert isinstance(entry.admin, Admin)


def test_an_organization_that_nobody_may_tell_gives_no_admin() -> None:
    ambiguous = Match(None, Reason.ORGANIZATION_AMBIGUOUS, "two tenants")
    entry = planned(row(DB, clerk_org_id="org_1"), organizations={DB: ambiguous}, **ADA)
    assert entry.tenant.clerk_org_id is None
    assert isinstance(entry.admin, AdminUnknown)


def test_steps_of_linked_members_are_cleared_and_those_of_other_tenants_members_are_not_looked_at() -> None:
    other = "cccccccc-0000-4000-8000-000000000000"
    links = [member_link(DB, "u1", ADMIN), member_link("another", "u2", other)]
    known = frames.frame(frames.MEMBER_LINKS, links)
    member = "dddddddd-0000-4000-8000-000000000000"
    assert at_rest(flags=[flag("ONBOARDING_A_PENDING", other)], member_links=known).changes == ()
    known = frames.frame(frames.MEMBER_LINKS, [*links, member_link(DB, "u3", member)])
    entry = at_rest(flags=[flag("ONBOARDING_A_PENDING", member)], member_links=known)
    assert entry.changes == (CLEAR_ONBOARDING, PROVE_LOGIN)


# --- what to look into --------------------------------------------------------------------------------------------


def test_only_databases_of_tenants_without_a_workspace_are_looked_into() -> None:
    rows = [row("new"), row("resting"), row("begun"), row("missing"), row("suspended", status="suspended")]
    links = [link("resting"), link("begun", workspace_id=None, open_intent=True)]
    found = find(["new", "resting", "begun", "suspended"], rows, links)
    assert databases_without_workspace(found) == ("begun", "new")
