"""What of an offboarding is due: by policy and approval, by hand, and by what was begun."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from provisioning_pipeline.model import frames
from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.frames import TwentySnapshot
from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.offboarding import Offboarding, Order, Return
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, DELETE_WORKSPACE
from provisioning_pipeline.steps.offboarding.due import Offboarded, OffboardingPolicy, came_back, with_offboarding
from provisioning_pipeline_tests.decide.facts import LOOKED_AT, find, link, plans, row, server, workspace

NAMES = ("ant", "bee", "cat")
IDS = {name: f"{number:08d}-0000-4000-8000-000000000000" for number, name in enumerate(NAMES)}
NOW, GRACE = LOOKED_AT, timedelta(days=30)
DELETES = OffboardingPolicy(Order.DELETE, GRACE, 2)
LEAVING = dict.fromkeys(NAMES, Lifecycle.OFFBOARDING)
SPACES = [workspace(workspace_id=place, subdomain=name) for name, place in IDS.items()]


def entries() -> Sequence[TenantPlan]:
    links = [link(name, slug=name, workspace_id=IDS[name], registered=True) for name in NAMES]
    return plans(find(NAMES, [row(name, slug=name, status="deleted") for name in NAMES], links), workspaces=SPACES)


def twenty(*, deleted: bool = False, away: bool = False) -> TwentySnapshot:
    trouble = {"reason": "ServerUnreachable", "message": "away"} if away else {}
    spaces = [] if away else [space | {"deleted": deleted} for space in SPACES]
    empty = {
        "flags": frames.FLAGS,
        "members": frames.TWENTY_MEMBERS,
        "users": frames.TWENTY_USERS,
        "service_access": frames.SERVICE_ACCESS,
        "invitations": frames.INVITATIONS,
    }
    return TwentySnapshot(
        servers=frames.frame(frames.SERVERS, [server() | trouble]),
        workspaces=frames.frame(frames.WORKSPACES, spaces),
        service_users={},
        deleted_in_use={},
        lost_accounts=frozenset(),
        **{name: frames.frame(columns, ()) for name, columns in empty.items()},
    )


def left(name: str = "ant", **stages: object) -> dict[str, Offboarding]:
    begun = Offboarding(name, name, None, "eu", IDS[name], "why", "archive", NOW - GRACE, "run")
    return {name: replace(begun, **stages)}


def offboarded(
    offboardings: dict[str, Offboarding] | None = None,
    policy: OffboardingPolicy = DELETES,
    lives: dict[str, Lifecycle] = LEAVING,
    seen: TwentySnapshot | None = None,
) -> Offboarded:
    return with_offboarding(entries(), lives, offboardings or {}, seen or twenty(), policy, NOW)


def due(found: Offboarded, change: Change) -> list[str]:
    return [entry.tenant.database_name for entry in found.entries if change in entry.changes]


def test_without_approval_it_is_only_listed_as_many_as_one_approval_is_for() -> None:
    found = offboarded()
    assert (found.lines, found.more) == (("archive ant", "archive bee"), 1)
    assert not any(entry.changes for entry in found.entries)
    told = [
        condition.message for entry in found.entries for condition in entry.conditions if "approv" in condition.message
    ]
    assert f"--approve {found.waiting}`" in told[0]
    assert "PROVISIONING_GONE_MOST" in told[2]


def test_an_approval_is_for_what_was_listed_and_nothing_else() -> None:
    listed = offboarded().waiting
    approved = offboarded(policy=replace(DELETES, approved=listed))
    assert (approved.approved, due(approved, ARCHIVE_WORKSPACE)) == (True, ["ant", "bee"])
    later = offboarded(left(undone_at=NOW), replace(DELETES, approved=listed))
    assert (later.approved, due(later, ARCHIVE_WORKSPACE)) == (False, [])


def test_a_deletion_is_listed_only_after_the_grace_time() -> None:
    young = offboarded(left(archived_at=NOW - GRACE + timedelta(seconds=1)))
    assert "delete ant" not in young.lines
    assert "delete ant" in offboarded(left(archived_at=NOW - GRACE)).lines
    # the same tenant, archived another time
    assert offboarded(left(archived_at=NOW - GRACE)).waiting != offboarded(left(archived_at=NOW - 2 * GRACE)).waiting


def test_what_was_begun_goes_on_while_the_tenant_is_leaving() -> None:
    assert due(offboarded(left()), ARCHIVE_WORKSPACE) == ["ant"]
    begun = left(archived_at=NOW - GRACE, delete_begun_at=NOW)
    assert due(offboarded(begun), DELETE_WORKSPACE) == ["ant"]
    for lifecycle in (Lifecycle.ACTIVE, Lifecycle.SUSPENDED, Lifecycle.IN_DOUBT):
        assert not any(entry.changes for entry in offboarded(begun, lives=dict.fromkeys(NAMES, lifecycle)).entries)


def test_the_books_of_a_deleted_workspace_are_closed_whatever_its_tenant_is() -> None:
    begun, active = left(archived_at=NOW, delete_begun_at=NOW), dict.fromkeys(NAMES, Lifecycle.ACTIVE)
    assert due(offboarded(begun, lives=active, seen=twenty(deleted=True)), DELETE_WORKSPACE) == ["ant"]
    assert due(offboarded(begun, lives=active, seen=twenty(away=True)), DELETE_WORKSPACE) == []


def test_by_hand_a_workspace_is_deleted_only_once_it_is_archived() -> None:
    by_hand = replace(DELETES, wanted=None, order=Order.DELETE)
    assert not any(entry.changes for entry in offboarded(policy=by_hand).entries)
    assert due(offboarded(left(archived_at=NOW - GRACE), by_hand), DELETE_WORKSPACE) == ["ant"]


def test_an_offboarding_ends_only_while_its_workspace_is_seen_to_stand() -> None:
    active = dict.fromkeys(NAMES, Lifecycle.ACTIVE)
    archived = left(archived_at=NOW)
    assert came_back(entries(), active, archived, twenty()) == {"ant": Return("ant", IDS["ant"], by_hand=False)}
    assert came_back(entries(), LEAVING, archived, twenty(), Order.UNDO)["ant"].by_hand
    assert came_back(entries(), LEAVING, archived, twenty()) == {}
    for seen in (twenty(deleted=True), twenty(away=True)):
        assert came_back(entries(), active, archived, seen) == {}
