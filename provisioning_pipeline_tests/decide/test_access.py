"""Which workspace a session leads to, for any state of ledger, registry and Clerk."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provisioning_pipeline.decide.access import AccessPolicy, claim_agrees, decide_access
from provisioning_pipeline.model.condition import Reason, Status
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.model.session import (
    LinkedTenant,
    Refusal,
    Refused,
    RegisteredTenant,
    Session,
    WorkspaceContext,
)

OURS, THEIRS = "org_1", "org_2"
POLICY = AccessPolicy(frozenset({"suspended", "deleted"}), {"org:admin": "Admin"}, "Member")
SESSION = Session("user_1", "sess_1", OURS, "org:admin", "https://clerk.example", 2_000_000_000, None, None)
WORKSPACE = "59610171-69cf-4d4c-9a53-000000000001"
ACME = LinkedTenant(
    "acme_db", "acme", True, "twenty", WORKSPACE, "https://acme.crm.example", Reason.WORKSPACE_ACTIVE, Status.TRUE,
    None, "59610171-69cf-4d4c-9a53-000000000002",
)  # fmt: skip
ROW = RegisteredTenant("acme_db", OURS, "active")
LEFT = Departure("left", None)

sessions = st.builds(
    replace,
    st.just(SESSION),
    role=st.sampled_from(["org:admin", "org:member", "", "admin", "org:other"]),
    workspace_id=st.none() | st.just(WORKSPACE) | st.text(max_size=5),
    impersonator=st.none() | st.just("user_9"),
)
linked_tenants = st.none() | st.builds(
    LinkedTenant,
    database_name=st.sampled_from(["acme_db", "beta_db"]),
    slug=st.sampled_from(["acme", "beta"]),
    slug_is_its_own=st.booleans(),
    server=st.none() | st.just("twenty"),
    workspace_id=st.none() | st.just(WORKSPACE),
    workspace_url=st.none() | st.just("https://acme.crm.example"),
    ready_reason=st.none() | st.sampled_from(Reason),
    workspace_status=st.none() | st.sampled_from(Status),
    workspace_reason=st.none() | st.sampled_from(Reason),
    twenty_user_id=st.none() | st.just("7"),
)
rows = st.builds(
    RegisteredTenant,
    database_name=st.sampled_from(["acme_db", "beta_db", "gamma_db"]),
    clerk_org_id=st.sampled_from([None, OURS, THEIRS]),
    status=st.sampled_from([None, "active", "Active", "trial", "suspended", "SUSPENDED", "Deleted"]),
)
registries = st.lists(rows, max_size=4)
departures = st.none() | st.builds(Departure, st.sampled_from(["left", "banned", "deleted"]), st.none())


def verdict(
    linked: LinkedTenant | None = ACME,
    registered: list[RegisteredTenant] | None = None,
    departure: Departure | None = None,
    session: Session = SESSION,
) -> WorkspaceContext | Refusal:
    """The workspace, or why there is none."""
    try:
        return decide_access(session, linked, [ROW] if registered is None else registered, departure, POLICY)
    except Refused as refused:
        return refused.why


def aside(registered: list[RegisteredTenant]) -> set[str]:
    """The databases of which some row says that they are set aside."""
    return {row.database_name for row in registered if (row.status or "").lower() in ("suspended", "deleted")}


# --- what never gives a workspace -------------------------------------------------------------------------------


@given(sessions, linked_tenants, registries, departures)
def test_a_workspace_is_given_only_where_all_agree(
    session: Session, linked: LinkedTenant | None, registered: list[RegisteredTenant], departure: Departure | None
) -> None:
    found = verdict(linked, registered, departure, session)

    if isinstance(found, Refusal):
        return
    assert linked is not None
    # the workspace is there
    assert linked.workspace_id
    assert linked.workspace_url
    assert linked.server
    gone = (Reason.WORKSPACE_GONE, Reason.WORKSPACE_SUSPENDED)
    assert not (linked.workspace_status is Status.FALSE and linked.workspace_reason in gone)
    # nobody set the tenant aside
    assert linked.database_name not in aside(registered)
    assert linked.database_name in {row.database_name for row in registered}
    assert linked.ready_reason not in (Reason.TENANT_SUSPENDED, Reason.TENANT_GONE)
    # the member is there
    assert departure is None
    # nobody who is not set aside says otherwise about the organization
    for row in registered:
        if row.database_name == linked.database_name:
            assert row.clerk_org_id in (None, "", OURS)
        elif row.clerk_org_id == OURS:
            assert row.database_name in aside(registered)
    # and it is the very one, with nobody else's session
    name = linked.slug if linked.slug_is_its_own else linked.database_name
    assert (found.tenant, found.database_name, found.server) == (name, linked.database_name, linked.server)
    assert (found.workspace_id, found.workspace_url) == (linked.workspace_id, linked.workspace_url)
    assert (found.twenty_user_id, found.session) == (linked.twenty_user_id, session)
    assert found.role == ("Admin" if session.role == "org:admin" else "Member")


@given(linked_tenants, registries, departures)
def test_refusals_are_words_of_403(
    linked: LinkedTenant | None, registered: list[RegisteredTenant], departure: Departure | None
) -> None:
    found = verdict(linked, registered, departure)

    assert isinstance(found, WorkspaceContext) or found in {
        Refusal.NO_WORKSPACE,
        Refusal.WORKSPACE_NOT_READY,
        Refusal.ORGANIZATION_DISPUTED,
        Refusal.TENANT_SUSPENDED,
        Refusal.NOT_A_MEMBER,
    }


@given(linked_tenants, registries, departures, st.randoms())
def test_the_order_of_rows_does_not_matter(
    linked: LinkedTenant | None, registered: list[RegisteredTenant], departure: Departure | None, random: object
) -> None:
    mixed = list(registered)
    random.shuffle(mixed)  # type: ignore[attr-defined]  # Hypothesis' own Random

    assert verdict(linked, mixed, departure) == verdict(linked, registered, departure)
    assert verdict(linked, registered * 2, departure) == verdict(linked, registered, departure)


@given(linked_tenants, registries, departures)
def test_what_clerk_says_only_takes_away(
    linked: LinkedTenant | None, registered: list[RegisteredTenant], departure: Departure | None
) -> None:
    without = verdict(linked, registered, None)
    told = verdict(linked, registered, departure)

    # the resolver asks Clerk only about who is let in without it
    if isinstance(without, Refusal):
        assert isinstance(told, Refusal)
    assert told in (without, Refusal.NOT_A_MEMBER)


@given(linked_tenants, registries, st.sampled_from(["gamma_db", "delta_db"]))
def test_a_row_that_is_set_aside_claims_nothing(
    linked: LinkedTenant | None, registered: list[RegisteredTenant], name: str
) -> None:
    assume(not any(row.database_name == name for row in registered))
    claims = [row for row in registered if row.clerk_org_id == OURS]
    # where nothing but set-aside rows claims it, the organization's tenant is suspended
    assume(linked is not None or claims)
    former = RegisteredTenant(name, OURS, "deleted")

    assert verdict(linked, [*registered, former]) == verdict(linked, registered)


# --- the order of refusals --------------------------------------------------------------------------------------

SUSPENDED_ROW = replace(ROW, status="suspended")
RIVAL = RegisteredTenant("rival_db", OURS, "active")
UNMADE = replace(ACME, workspace_id=None, workspace_url=None)
SET_ASIDE = replace(ACME, ready_reason=Reason.TENANT_GONE)


@pytest.mark.parametrize(
    ("linked", "registered", "departure", "expected"),
    [
        (None, [], None, Refusal.NO_WORKSPACE),
        (None, [], LEFT, Refusal.NO_WORKSPACE),
        (None, [ROW], None, Refusal.WORKSPACE_NOT_READY),
        (None, [SUSPENDED_ROW], None, Refusal.TENANT_SUSPENDED),
        (None, [SUSPENDED_ROW, RIVAL], None, Refusal.WORKSPACE_NOT_READY),
        (ACME, [SUSPENDED_ROW, RIVAL], LEFT, Refusal.TENANT_SUSPENDED),
        (SET_ASIDE, [ROW, RIVAL], LEFT, Refusal.ORGANIZATION_DISPUTED),
        (SET_ASIDE, [ROW], LEFT, Refusal.TENANT_SUSPENDED),
        (ACME, [ROW, RIVAL], LEFT, Refusal.ORGANIZATION_DISPUTED),
        (ACME, [replace(ROW, clerk_org_id=THEIRS)], None, Refusal.ORGANIZATION_DISPUTED),
        (ACME, [ROW, replace(ROW, clerk_org_id=THEIRS)], None, Refusal.ORGANIZATION_DISPUTED),
        (UNMADE, [ROW], LEFT, Refusal.NOT_A_MEMBER),
        (UNMADE, [ROW], None, Refusal.WORKSPACE_NOT_READY),
        (ACME, [ROW], LEFT, Refusal.NOT_A_MEMBER),
        (replace(ACME, server=None), [ROW], None, Refusal.WORKSPACE_NOT_READY),
        (replace(ACME, workspace_url=""), [ROW], None, Refusal.WORKSPACE_NOT_READY),
    ],
)
def test_the_order_of_refusals(
    linked: LinkedTenant | None, registered: list[RegisteredTenant], departure: Departure | None, expected: Refusal
) -> None:
    assert verdict(linked, registered, departure) is expected


@pytest.mark.parametrize(("reason", "status"), list(product(Reason, Status)))
def test_only_a_workspace_that_is_gone_is_no_longer_there(reason: Reason, status: Status) -> None:
    found = verdict(replace(ACME, workspace_reason=reason, workspace_status=status))

    gone = status is Status.FALSE and reason in (Reason.WORKSPACE_GONE, Reason.WORKSPACE_SUSPENDED)
    assert (found is Refusal.WORKSPACE_NOT_READY) == gone


@pytest.mark.parametrize(
    "registered",
    [[replace(ROW, clerk_org_id=None)], [replace(ROW, clerk_org_id="")], [replace(ROW, status=None)], [ROW, ROW]],
)
def test_a_registry_that_says_less_is_no_contradiction(registered: list[RegisteredTenant]) -> None:
    assert isinstance(verdict(ACME, registered), WorkspaceContext)


def test_a_member_who_is_not_linked_has_a_workspace_and_no_account() -> None:
    found = verdict(replace(ACME, twenty_user_id=None))

    assert isinstance(found, WorkspaceContext)
    assert (found.workspace_id, found.twenty_user_id) == (WORKSPACE, None)


def test_a_customer_who_came_back_as_another_tenant() -> None:
    back = replace(ACME, database_name="acme2_db", slug="acme2")
    registered = [replace(ROW, status="deleted"), RegisteredTenant("acme2_db", OURS, "active")]

    found = verdict(back, registered)

    assert isinstance(found, WorkspaceContext)
    assert found.database_name == "acme2_db"


# --- the claim --------------------------------------------------------------------------------------------------


@given(st.none() | st.text() | st.sampled_from([WORKSPACE, WORKSPACE.upper(), f" {WORKSPACE}", f"{WORKSPACE}\n"]))
def test_a_claim_agrees_when_there_is_none_or_it_is_the_same(claim: str | None) -> None:
    assert claim_agrees(claim, WORKSPACE) == (claim is None or claim in (WORKSPACE, WORKSPACE.upper()))


def test_a_tenant_whose_row_was_taken_away_is_gone() -> None:
    assert verdict(ACME, []) is Refusal.TENANT_SUSPENDED


def test_a_slug_that_is_another_tenants_too_is_no_name() -> None:
    found = verdict(replace(ACME, slug_is_its_own=False))

    assert isinstance(found, WorkspaceContext)
    assert found.tenant == ACME.database_name
