"""What a contract allows: known servers go on, unknown ones begin with one tenant, incomplete ones are refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.contract import (
    Contract,
    Decision,
    Onboarding,
    contract_from,
    differences,
    in_turn,
    judge,
)
from provisioning_pipeline.model.tenant import Admin, Tenant, TenantPlan
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.workspaces.changes import ACTIVATE_WORKSPACE, CREATE_WORKSPACE

ONBOARDING = Onboarding(frozenset({"SYNC_EMAIL", "INVITE_TEAM", "COMPLETED"}), frozenset({"skipSyncEmail"}))
KNOWN = Contract(
    operations=frozenset({"mutation SignIn { signIn }", "query CurrentUser { currentUser }"}),
    columns={"user.id": "uuid", "user.email": "text", "workspace.id": "uuid"},
    activation_statuses=frozenset({"PENDING_CREATION", "ONGOING_CREATION", "ACTIVE", "SUSPENDED"}),
    onboarding=ONBOARDING,
)


def with_steps(*further: str) -> Contract:
    """The known server with further onboarding steps."""
    return replace(KNOWN, onboarding=replace(ONBOARDING, statuses=ONBOARDING.statuses | set(further)))


def test_what_was_measured_goes_on_at_once() -> None:
    assert judge(KNOWN, [KNOWN]).decision is Decision.GO
    assert differences(KNOWN, KNOWN) == ()


def test_what_nobody_could_read_makes_nothing_unknown() -> None:
    unread = replace(KNOWN, onboarding=None, activation_statuses=frozenset())
    assert judge(unread, [KNOWN]).decision is Decision.GO


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (with_steps("IMPORT_DATA"), "has an onboarding step IMPORT_DATA that is not known here"),
        (
            replace(KNOWN, onboarding=replace(ONBOARDING, statuses=ONBOARDING.statuses - {"INVITE_TEAM"})),
            "no longer has the onboarding step INVITE_TEAM",
        ),
        (
            replace(KNOWN, onboarding=replace(ONBOARDING, mutations=ONBOARDING.mutations | {"skipTour"})),
            "has an onboarding mutation skipTour that is not known here",
        ),
        (
            replace(KNOWN, activation_statuses=KNOWN.activation_statuses | {"ARCHIVED"}),
            "has an activation status ARCHIVED that is not known here",
        ),
        (
            replace(KNOWN, activation_statuses=KNOWN.activation_statuses - {"SUSPENDED"}),
            "no longer has the activation status SUSPENDED",
        ),
        (replace(KNOWN, operations=frozenset({"mutation SignIn { signIn }"})), "does not take currentUser"),
    ],
)
def test_what_is_complete_but_otherwise_begins_with_one_tenant(found: Contract, sentence: str) -> None:
    verdict = judge(found, [KNOWN])
    assert (verdict.decision, verdict.differences, verdict.missing) == (Decision.CANARY, (sentence,), ())


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        (replace(KNOWN, lacks=("Mutation.signIn",)), "Mutation.signIn"),
        (replace(KNOWN, columns={"user.id": "uuid", "workspace.id": "uuid"}), "core.user.email"),
        (replace(KNOWN, columns=dict(KNOWN.columns) | {"user.id": "integer"}), "core.user.id as uuid (it is integer)"),
        (replace(KNOWN, activation_statuses=frozenset({"ACTIVE", "PENDING_CREATION"})), "ONGOING_CREATION"),
        (replace(KNOWN, onboarding=replace(ONBOARDING, statuses=frozenset({"SYNC_EMAIL"}))), "COMPLETED"),
    ],
)
def test_what_lacks_something_is_refused_with_its_name(found: Contract, missing: str) -> None:
    verdict = judge(found, [KNOWN], [found])
    assert verdict.decision is Decision.REFUSED
    assert missing in " ".join(verdict.missing)


def test_the_version_that_it_is_most_like_is_the_one_it_is_compared_with() -> None:
    later = with_steps("BOOK_CALL")
    assert judge(later, [KNOWN, later]).decision is Decision.GO
    assert judge(KNOWN, [KNOWN, later]).decision is Decision.GO
    verdict = judge(with_steps("BOOK_CALL", "IMPORT_DATA"), [KNOWN, later])
    assert verdict.differences == ("has an onboarding step IMPORT_DATA that is not known here",)


def test_a_proof_holds_for_what_was_there_and_for_less_but_not_for_more() -> None:
    proved = [with_steps("IMPORT_DATA", "PICK_PLAN")]
    assert judge(with_steps("IMPORT_DATA", "PICK_PLAN"), [KNOWN], proved).decision is Decision.GO
    assert judge(with_steps("IMPORT_DATA"), [KNOWN], proved).decision is Decision.GO
    assert judge(with_steps("IMPORT_DATA", "TAKE_TOUR"), [KNOWN], proved).decision is Decision.CANARY
    unread = replace(KNOWN, onboarding=None)
    assert judge(with_steps("IMPORT_DATA"), [KNOWN], [unread]).decision is Decision.CANARY


NAMES = st.frozensets(st.sampled_from(["A", "B", "C", "COMPLETED"]))
CONTRACTS = st.builds(
    Contract,
    operations=st.frozensets(st.sampled_from(sorted(KNOWN.operations))),
    columns=st.dictionaries(st.sampled_from(sorted(KNOWN.columns)), st.sampled_from(["uuid", "text"])),
    activation_statuses=st.frozensets(st.sampled_from([*sorted(KNOWN.activation_statuses), "ARCHIVED"])),
    onboarding=st.none() | st.builds(Onboarding, NAMES, NAMES),
    lacks=st.lists(st.sampled_from(["Mutation.signIn", "User.email"]), unique=True).map(tuple),
)


@given(CONTRACTS)
def test_a_contract_is_kept_and_read_again_as_it_was(contract: Contract) -> None:
    again = contract_from(contract.as_json())
    assert again.fingerprint == contract.fingerprint
    assert again.as_json() == contract.as_json()


@given(CONTRACTS, CONTRACTS)
def test_one_fingerprint_is_one_contract(one: Contract, other: Contract) -> None:
    assert (one.fingerprint == other.fingerprint) == (one.as_json() == other.as_json())


@given(CONTRACTS, CONTRACTS, st.lists(CONTRACTS, max_size=3))
def test_every_verdict_gives_its_reason_and_no_proof_makes_up_for_what_is_missing(
    found: Contract, known: Contract, proved: list[Contract]
) -> None:
    known = replace(known, lacks=())
    alone, verdict = judge(found, [known]), judge(found, [known], proved)
    assert (verdict.decision is Decision.REFUSED) == bool(verdict.missing) == (alone.decision is Decision.REFUSED)
    if verdict.decision is Decision.CANARY:
        assert verdict.differences
        assert judge(found, [known], [*proved, found]).decision is Decision.GO
    if not found.lacks and alone.decision is Decision.GO:
        assert verdict.decision is Decision.GO
    unread = replace(found, onboarding=None)
    assert set(differences(unread, known)) <= set(differences(found, known))


def entry(name: str, *changes: Change) -> TenantPlan:
    """The plan of one tenant."""
    return TenantPlan(
        Tenant(name, name, name), changes, False, "eu", (), None, Admin("ada@acme.test", "Ada", "Byron"), ()
    )


def test_small_plans_go_first_and_who_was_tried_in_vain_goes_last() -> None:
    large = entry("a", CREATE_WORKSPACE, ACTIVATE_WORKSPACE, PROVE_LOGIN)
    small, smaller = entry("c", PROVE_LOGIN), entry("b", PROVE_LOGIN)
    assert in_turn([large, small, smaller]) == [smaller, small, large]
    assert in_turn([large, small, smaller], {"b", "c"}) == [large, smaller, small]


PLANS = [entry(name, *[PROVE_LOGIN] * size) for name, size in (("a", 2), ("b", 1), ("c", 2), ("d", 1))]


@given(st.permutations(PLANS))
def test_the_order_does_not_depend_on_how_the_plans_come(plans: list[TenantPlan]) -> None:
    assert [plan.tenant.slug for plan in in_turn(plans)] == ["b", "d", "a", "c"]
