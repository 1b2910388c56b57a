"""A world in which tenants live and leave, run by the real decisions; the steps only do to it what a plan says."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any

from provisioning_pipeline.decide.detection import DetectionPolicy, detect
from provisioning_pipeline.decide.lifecycle import LifecyclePolicy, with_lives
from provisioning_pipeline.decide.placement import Placement
from provisioning_pipeline.decide.registry_loss import RegistryLoss, loss_budget, weigh_loss
from provisioning_pipeline.model import frames
from provisioning_pipeline.model.access_lock import AccessLock, LockState
from provisioning_pipeline.model.change import ADOPT_DATABASE
from provisioning_pipeline.model.frames import ClerkSnapshot, TwentySnapshot
from provisioning_pipeline.model.history import KnownRows
from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.offboarding import Offboarding, Order
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.run.decide import UnknownPlan, registry_news
from provisioning_pipeline.run.endings import Endings, lives_of, twenty_unlocked, with_endings
from provisioning_pipeline.run.seen import KnownSoFar, RegistryTable, Seen, observed_of
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, DELETE_WORKSPACE
from provisioning_pipeline.steps.suspension.changes import LOCK_WORKSPACE, UNLOCK_WORKSPACE
from provisioning_pipeline.steps.workspaces.changes import CREATE_WORKSPACE
from provisioning_pipeline.steps.workspaces.plan.planner import Planner
from provisioning_pipeline_tests.decide.facts import SERVICE, server, workspace
from provisioning_pipeline_tests.run.test_deciding import the_settings

NAMES = ("ant", "bee", "cat", "dog")
GRACE = timedelta(days=30)
SETTLES = timedelta(hours=1)


class Killed(Exception):
    """The run was killed here."""


@cache
def settings_for(suspended: str, gone: str) -> Settings:
    """Budgets of one tenant, so that two at once are beyond them."""
    return the_settings(
        suspended=suspended,
        suspended_most=1,
        gone=gone,
        gone_most=1,
        gone_grace_days=GRACE.days,
        registry_row_gone_seconds=SETTLES.total_seconds(),
        registry_lost_most=1,
    )


@dataclass
class Workspace:
    """A workspace at Twenty. `members`: user → role of those who are in it; `out` are those whose record is marked."""

    id: str
    members: dict[str, str]
    out: dict[str, str] = field(default_factory=dict)
    deleted: bool = False

    def __post_init__(self) -> None:
        self.everyone = dict(self.members)

    def add(self, user: str, role: str) -> None:
        """Someone joins; `everyone` keeps in mind with which role."""
        self.members[user] = self.everyone[user] = role


@dataclass
class Link:
    """The ledger's row of a tenant."""

    workspace_id: str | None = None
    registered: bool = False
    row_gone_at: datetime | None = None
    row_settled: bool = False
    restarts: int = 0


@dataclass(frozen=True)
class Decided:
    """What a run would do; `news` is what it would write down of registry rows."""

    ended: Endings
    news: Mapping[str, tuple[Any, ...]]
    lives: Mapping[str, Lifecycle]
    loss: RegistryLoss

    @property
    def rests(self) -> bool:
        """Nothing is to be done or written down."""
        changes = [change for entry in self.ended.entries for change in entry.changes]
        return not (changes or self.ended.came_back or any(self.news.values()))


@dataclass(frozen=True)
class Step:
    """One thing that a run did: to the workspace of which tenant."""

    database_name: str
    what: str
    workspace_id: str


class World:
    """Tenants at registry, cluster and Twenty, and what the ledger knows of them."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.settings = settings_for("lock", "delete")
        self.rows: dict[str, list[str]] = {name: ["active"] for name in NAMES}
        self.databases = set(NAMES)
        self.links: dict[str, Link] = {}
        self.workspaces: dict[str, Workspace] = {}
        self.locks: dict[str, AccessLock] = {}
        self.offboardings: dict[tuple[str, str], Offboarding] = {}
        self.reachable = True
        self._ids, self._people = count(1), count(1)

    # --- reading, as `observe` does ------------------------------------------------------------------------------

    def plan(
        self, names: Iterable[str] | None = None, approved: str | None = None, order: Order | None = None
    ) -> Decided:
        """What a run would do.

        Raises:
            UnknownPlan: when nothing waits under the approved name.
        """
        seen = self._seen(names, approved, order)
        seen = replace(seen, twenty=twenty_unlocked(seen))
        observed = observed_of(seen, self.settings, {}, {}, {}, (), KnownSoFar.unasked(seen, self.settings))
        planner = Planner(seen.detected, observed, Placement(seen.twenty.servers, ()))
        entries = [planner.tenant(found) for found in seen.detected]
        ended = with_endings(entries, seen, self.settings, approved, order)
        if approved and not (seen.loss.approved or ended.locked.approved or ended.offboarded.approved):
            raise UnknownPlan
        return Decided(ended, registry_news(seen), lives_of(seen.detected), seen.loss)

    def _seen(self, names: Iterable[str] | None, approved: str | None, order: Order | None) -> Seen:
        chosen = set(NAMES if names is None else names)
        registry = [
            {"database_name": name, "slug": name, "name": name, "status": status, "workspace_id": self._known(name)}
            for name, statuses in self.rows.items()
            for status in statuses
        ]
        links = [self._link(name, link) for name, link in self.links.items()]
        known = {found["database_name"] for found in links if found["registered"] and not found["registry_row_gone_at"]}
        lost = tuple(known - {row["database_name"] for row in registry})
        loss = RegistryLoss()
        if lost:
            budget = loss_budget(self.settings.sessions, approved)
            found = KnownRows(len(known), lost, bool(registry))
            loss = weigh_loss("tenant_registry", found, budget, dropped=set(lost) - self.databases)
        detected = detect(
            frames.frame(frames.DATABASES, [{"database_name": name} for name in sorted(self.databases & chosen)]),
            frames.frame(frames.REGISTRY, [row for row in registry if row["database_name"] in chosen]),
            frames.frame(frames.LINKS, [link for link in links if link["database_name"] in chosen]),
            DetectionPolicy.of(self.settings),
            loss,
        )
        offboardings = self.newest_offboardings()
        policy = replace(LifecyclePolicy.of(self.settings), settled_by_hand=order in (Order.ARCHIVE, Order.DELETE))
        return Seen(
            detected=with_lives(detected, offboardings, loss, policy, self.now),
            registry=frames.frame(frames.REGISTRY, registry),
            twenty=self._twenty(),
            clerk=ClerkSnapshot(
                frames.frame(frames.ORGANIZATIONS, ()),
                frames.frame(frames.MEMBERSHIPS, ()),
                frames.frame(frames.CLERK_USERS, ()),
                asked=None,
            ),
            member_links=frames.frame(frames.MEMBER_LINKS, ()),
            user_links=frames.frame(frames.USER_LINKS, ()),
            intents=frames.frame(frames.MEMBER_INTENTS, ()),
            taken_over=(),
            inspections={},
            looked_at=self.now,
            loss=loss,
            table=RegistryTable("manager", stores_workspaces=False, status_writable=False),
            locks=dict(self.locks),
            offboardings=offboardings,
        )

    def newest_offboardings(self) -> dict[str, Offboarding]:
        """As the ledger's `Offboardings.all`."""
        in_order = sorted(self.offboardings.values(), key=lambda each: (each.begun_at, each.workspace_id))
        return {each.database_name: each for each in in_order}

    def _known(self, name: str) -> str | None:
        link = self.links.get(name)
        return link.workspace_id if link else None

    def _link(self, name: str, link: Link) -> dict[str, Any]:
        return {
            "database_name": name,
            "slug": name,
            "server": "eu" if link.workspace_id else None,
            "subdomain": name if link.workspace_id else None,
            "workspace_id": link.workspace_id,
            "login_proved": True,
            "open_intent": False,
            "invite_link_opened": False,
            "members_seen": False,
            "registered": link.registered or link.workspace_id is not None,
            "registry_row_gone_at": link.row_gone_at,
            "registry_row_settled": link.row_settled,
            "restarts": link.restarts,
        }

    def _twenty(self) -> TwentySnapshot:
        there = [found for found in self.workspaces.values() if self.reachable]
        living = [found for found in there if not found.deleted]
        away: dict[str, Any] = {} if self.reachable else {"reason": "ServerUnreachable", "message": "It is away."}
        account = {"server": "eu", "member": True, "manages": True, "role": "Admin", "invited": False, "kept_out": None}
        return TwentySnapshot(
            servers=frames.frame(frames.SERVERS, [server() | away]),
            workspaces=frames.frame(
                frames.WORKSPACES,
                [workspace(workspace_id=found.id, subdomain=found.id, deleted=found.deleted) for found in there],
            ),
            flags=frames.frame(frames.FLAGS, ()),
            members=frames.frame(
                frames.TWENTY_MEMBERS,
                [("eu", found.id, user, role) for found in living for user, role in found.members.items()]
                + [("eu", found.id, user, "No access (suspended)") for found in living for user in found.out],
            ),
            users=frames.frame(frames.TWENTY_USERS, ()),
            service_users={"eu": (SERVICE,)},
            service_access=frames.frame(
                frames.SERVICE_ACCESS, [account | {"workspace_id": found.id} for found in living]
            ),
            invitations=frames.frame(frames.INVITATIONS, ()),
            deleted_in_use={"eu": []},
            lost_accounts=frozenset(),
            half_members=frames.frame(
                frames.HALF_MEMBERS,
                [("eu", found.id, user, f"{user}@x.test", "deleted") for found in living for user in found.out],
            ),
        )

    # --- a run ----------------------------------------------------------------------------------------------------

    def run(self, plan: Decided, killed_after: int | None = None) -> list[Step]:
        """Write down and do what a plan says; what was done, also where it was killed.

        Args:
            killed_after: so many things it does before it is killed; None: it gets through.
        """
        done: list[Step] = []

        def does(name: str, what: str, workspace_id: str) -> None:
            if killed_after is not None and len(done) >= killed_after:
                raise Killed
            self._tick()
            done.append(Step(name, what, workspace_id))

        try:
            self._write_down(plan, does)
            for entry in plan.ended.entries:
                self._work(entry, does)
        except Killed:
            pass
        return done

    def _tick(self) -> None:
        self.now += timedelta(milliseconds=1)

    def _write_down(self, plan: Decided, does: Callable[[str, str, str], None]) -> None:
        for entry in plan.ended.entries:
            self.links.setdefault(entry.tenant.database_name, Link())
        self._tick()
        for name in {name for names in plan.news.values() for name in names}:
            link = self.links[name]
            link.registered = True
            link.row_gone_at = None if name in plan.news["registered"] else link.row_gone_at or self.now
            link.row_settled = name in plan.news["row_settled"]
        for end in plan.ended.came_back:
            does(end.database_name, "end offboarding", end.workspace_id)
            key = end.database_name, end.workspace_id
            self.offboardings[key] = replace(
                self.offboardings[key], undone_at=self.now, taken_back_at=self.now if end.by_hand else None
            )
        for entry in plan.ended.entries:
            if ADOPT_DATABASE in entry.changes:
                does(entry.tenant.database_name, "adopt", "")
                self.rows[entry.tenant.database_name] = ["active"]

    def _work(self, entry: TenantPlan, does: Callable[[str, str, str], None]) -> None:
        name, changes = entry.tenant.database_name, entry.changes
        if CREATE_WORKSPACE in changes:
            made = Workspace(f"{next(self._ids):08d}-0000-4000-8000-000000000000", {f"admin-{name}": "Admin"})
            does(name, "create", made.id)
            self.workspaces[made.id] = made
            self.links[name].workspace_id = made.id
        if LOCK_WORKSPACE in changes:
            self._lock(name, str(entry.workspace_id), does)
        if UNLOCK_WORKSPACE in changes:
            self._unlock(name, str(entry.workspace_id), does)
        if ARCHIVE_WORKSPACE in changes:
            self._archive(name, str(entry.workspace_id), does)
        if DELETE_WORKSPACE in changes:
            self._delete(name, str(entry.workspace_id), does)

    def _lock(self, name: str, workspace_id: str, does: Callable[[str, str, str], None]) -> None:
        does(name, "begin lock", workspace_id)
        known = self.locks.get(name)
        if known is None or known.workspace_id != workspace_id:
            known = AccessLock(name, "eu", workspace_id, LockState.LOCKING, "why", self.now, None, None, {})
        elif known.state is LockState.UNLOCKING:
            known = replace(known, state=LockState.LOCKING, begun_at=self.now)
        self.locks[name] = known
        place = self.workspaces[workspace_id]
        for user in sorted(place.members):
            self.locks[name] = replace(self.locks[name], roles={**self.locks[name].roles, user: place.members[user]})
            does(name, "shut out", workspace_id)
            place.out[user] = place.members.pop(user)
        does(name, "prove lock", workspace_id)
        self.locks[name] = replace(self.locks[name], state=LockState.LOCKED, locked_at=self.now)

    def _unlock(self, name: str, workspace_id: str, does: Callable[[str, str, str], None]) -> None:
        if name not in self.locks:
            return
        does(name, "begin unlock", workspace_id)
        self.locks[name] = replace(self.locks[name], state=LockState.UNLOCKING)
        place = self.workspaces[workspace_id]
        for user in sorted(place.out):
            does(name, "let back", workspace_id)
            place.members[user] = place.out.pop(user)
            roles = {known: role for known, role in self.locks[name].roles.items() if known != user}
            self.locks[name] = replace(self.locks[name], roles=roles)
        does(name, "end lock", workspace_id)
        del self.locks[name]

    def _begin(self, name: str, workspace_id: str, policy: str) -> None:
        known = self.offboardings.get((name, workspace_id))
        if known is None or known.undone_at is not None:
            known = Offboarding(name, name, None, "eu", workspace_id, "why", policy, self.now, "run")
        self.offboardings[name, workspace_id] = replace(known, policy=policy)

    def _mark(self, name: str, workspace_id: str, **stage: datetime) -> None:
        self.offboardings[name, workspace_id] = replace(self.offboardings[name, workspace_id], **stage)

    def _archive(self, name: str, workspace_id: str, does: Callable[[str, str, str], None]) -> None:
        does(name, "begin archive", workspace_id)
        self._begin(name, workspace_id, "archive")
        self._lock(name, workspace_id, does)
        does(name, "archive", workspace_id)
        self._mark(name, workspace_id, archived_at=self.now)

    def _delete(self, name: str, workspace_id: str, does: Callable[[str, str, str], None]) -> None:
        does(name, "begin deletion", workspace_id)
        self._begin(name, workspace_id, "delete")
        self._mark(
            name, workspace_id, delete_begun_at=self.offboardings[name, workspace_id].delete_begun_at or self.now
        )
        place = self.workspaces.get(workspace_id)
        if place is not None and not place.deleted:
            does(name, "delete", workspace_id)
            place.deleted = True
            place.members, place.out = {}, {}
        does(name, "mark deleted", workspace_id)
        self._mark(name, workspace_id, workspace_deleted_at=self.now)
        does(name, "bury", workspace_id)
        self._mark(name, workspace_id, gone_at=self.now)
        self.locks.pop(name, None)
        link = self.links[name]
        link.registered, link.workspace_id = True, None

    # --- what others do -------------------------------------------------------------------------------------------

    def joins(self, name: str) -> None:
        """Someone joins the tenant's workspace, locked or not."""
        place = self.workspace_of(name)
        if place is not None and not place.deleted:
            place.add(f"person-{next(self._people)}", "Member")

    def deleted_in_twenty(self, name: str) -> None:
        """An admin of the customer deletes the workspace."""
        place = self.workspace_of(name)
        if place is not None:
            place.deleted, place.members, place.out = True, {}, {}

    def restart(self, name: str) -> bool:
        """`provisioning restart`, where it would do something."""
        link, place = self.links.get(name), self.workspace_of(name)
        gone = self.newest_offboardings().get(name)
        if link is None:
            return False
        if link.workspace_id is None:
            if gone is None or not gone.is_over:
                return False
            self._mark(name, gone.workspace_id, undone_at=self.now)
        elif place is not None and place.deleted and self.reachable:
            link.registered, link.workspace_id = True, None
            self.locks.pop(name, None)
        else:
            return False
        link.restarts += 1
        return True

    def workspace_of(self, name: str) -> Workspace | None:
        """The workspace that is linked to the tenant."""
        known = self._known(name)
        return self.workspaces.get(known) if known else None
