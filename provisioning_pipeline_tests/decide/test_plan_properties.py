"""What holds for every plan, whatever the fleet is like."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning_pipeline.model.change import ADOPT_DATABASE
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import Admin
from provisioning_pipeline.steps.logins.changes import PROVE_LOGIN
from provisioning_pipeline.steps.workspaces.changes import ADD_ADMIN, CREATE_WORKSPACE
from provisioning_pipeline.steps.workspaces.plan.planner import databases_without_workspace
from provisioning_pipeline_tests.decide.facts import (
    ADMIN,
    EXCLUDED,
    SERVICE,
    WORKSPACE,
    find,
    flag,
    link,
    plans,
    row,
    server,
    workspace,
)

NAMES = ["one", "two", "three"]
IDS = {name: f"{number}" * 8 + WORKSPACE[8:] for number, name in enumerate(NAMES, start=1)}
KEYS = st.sampled_from(["ONBOARDING_A_PENDING", "ONBOARDING_B_PENDING"])


def states(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """One tenant in any state."""
    maybe = st.sampled_from
    return st.fixed_dictionaries(
        {
            "database": st.booleans(),
            "row": st.none()
            | st.builds(
                row,
                st.just(name),
                slug=maybe(["a", "b"]),
                status=maybe(["active", "suspended"]),
                clerk_org_id=maybe([None, "org_1"]),
                workspace_id=maybe([None, IDS[name]]),
            ),
            "link": st.none()
            | st.builds(
                link,
                st.just(name),
                server=maybe(["eu", "us"]),
                workspace_id=maybe([None, IDS[name]]),
                admin_user_id=maybe([None, ADMIN]),
                login_proved=st.booleans(),
                open_intent=st.booleans(),
            ),
            "workspace": st.none()
            | st.builds(
                workspace,
                server=maybe(["eu", "us"]),
                workspace_id=st.just(IDS[name]),
                activation_status=maybe(["ACTIVE", "PENDING_CREATION", "ONGOING_CREATION", "SUSPENDED"]),
                deleted=st.booleans(),
                has_metadata=st.booleans(),
            ),
        }
    )


FLEETS = st.tuples(*(states(name) for name in NAMES)).map(lambda found: dict(zip(NAMES, found, strict=True)))
SERVERS = st.lists(
    st.builds(server, st.sampled_from(["eu", "us"]), capacity=st.none() | st.integers(0, 2),
              reason=st.none() | st.just(Reason.SERVER_UNREACHABLE), message=st.just("down")),
    max_size=2, unique_by=lambda known: known["server"],
)  # fmt: skip
FLAGS = st.lists(
    st.builds(flag, KEYS, st.sampled_from([None, ADMIN, SERVICE]), st.sampled_from([None, *IDS.values()])), max_size=4
)


@settings(max_examples=50)
@given(FLEETS, SERVERS, FLAGS, st.booleans())
def test_every_plan_keeps_its_promises(
    fleet: dict[str, dict[str, Any]], servers: list[dict[str, Any]], flags: list[dict[str, Any]], adopt: bool
) -> None:
    found = find(
        [name for name in NAMES if fleet[name]["database"]],
        [fleet[name]["row"] for name in NAMES if fleet[name]["row"]],
        [fleet[name]["link"] for name in NAMES if fleet[name]["link"]],
        adopt=adopt,
    )
    reachable = {known["server"] for known in servers if known["reason"] is None}
    present = [about["workspace"] for about in fleet.values() if (about["workspace"] or {}).get("server") in reachable]
    seen: dict[str, Any] = {"servers": servers, "workspaces": present, "flags": flags}
    seen["service_users"] = {"eu": (SERVICE,), "us": ()}
    planned = plans(found, **seen)

    assert planned == plans(found, **seen)
    assert [entry.tenant.database_name for entry in planned] == [each.tenant.database_name for each in found]
    for entry in planned:
        about = fleet[entry.tenant.database_name]
        known = about["link"] or {}
        types = [condition.type for condition in entry.conditions]
        assert len(types) == len(set(types)), "one answer to each question"
        if entry.changes:
            assert about["database"]
            assert (about["row"] or {}).get("status") not in EXCLUDED
            assert about["row"] or adopt
        if set(entry.changes) - {ADOPT_DATABASE}:
            assert entry.server in reachable
        if CREATE_WORKSPACE in entry.changes:
            assert not known.get("workspace_id"), "a second workspace for one tenant"
            assert entry.subdomains
        if known.get("workspace_id") and known["server"] in reachable:
            assert entry.server == known["server"], "a tenant never moves"
        if ADD_ADMIN in entry.changes or PROVE_LOGIN in entry.changes:
            assert isinstance(entry.admin, Admin)
        assert (ADOPT_DATABASE in entry.changes) == entry.adopt
    probed = databases_without_workspace(found)
    for each in found:
        idle = bool((each.link or {}).get("workspace_id"))
        assert (each.tenant.database_name in probed) == (each.eligible and not idle)


@settings(max_examples=25)
@given(
    st.sampled_from(["active", "provisioning", None]),
    st.none() | st.just("org_1"),
    st.lists(
        st.builds(
            flag,
            KEYS,
            st.sampled_from([ADMIN, SERVICE, "somebody-else"]),
            st.sampled_from([WORKSPACE, "another-workspace", None]),
            st.sampled_from([False, "true", 1, None]),
        ),
        max_size=4,
    ),
    st.lists(st.just(server("us")), max_size=1),
    st.booleans(),
)
def test_a_tenant_at_rest_is_left_in_peace(
    status: str | None, org: str | None, flags: list[dict[str, Any]], more: list[dict[str, Any]], stores: bool
) -> None:
    found = find(["one"], [row("one", status=status, clerk_org_id=org, workspace_id=WORKSPACE)], [link("one")])
    (entry,) = plans(found, servers=[server(), *more], flags=flags, registry_stores=stores)
    assert entry.needs_work is False
    assert databases_without_workspace(found) == ()
