"""No sequence of registry changes, runs and kills opens what is locked, or archives or deletes without a word for it.

What is asked here is told by the registry, the clock and what operators said, not by what the ledger thinks of them.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.offboarding import Order
from provisioning_pipeline.run.decide import UnknownPlan
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, DELETE_WORKSPACE
from provisioning_pipeline.steps.suspension.changes import UNLOCK_WORKSPACE
from provisioning_pipeline_tests.run.lives import GRACE, NAMES, SETTLES, Decided, Step, World, settings_for

TENANT = st.sampled_from(NAMES)
KILLED = st.none() | st.integers(0, 6)
CHANGE_OF = {Order.ARCHIVE: ARCHIVE_WORKSPACE, Order.DELETE: DELETE_WORKSPACE, Order.UNDO: UNLOCK_WORKSPACE}
ENDS = {"begin archive": Order.ARCHIVE, "begin deletion": Order.DELETE, "delete": Order.DELETE}
LOCKS, UNLOCKS = {"begin lock", "shut out", "prove lock"}, {"begin unlock", "let back", "end lock"}

Word = tuple[Order, str, str, int]
"""What an operator said yes to: an order for a tenant's workspace, and how often it had come back before."""


class Lives(RuleBasedStateMachine):
    """Rows come, change and go; people join; operators approve, order and take back; runs get through or are killed."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.returns: Counter[tuple[str, str]] = Counter()
        self.shown: dict[str, frozenset[Word]] = {}
        self.shown_locks: dict[str, frozenset[str]] = {}
        self.words: set[Word] = set()
        self.taken_back: set[str] = set()
        self.absent_since: dict[str, object] = {}
        self.settled: set[str] = set()
        self.restarted: set[str] = set()
        self.archived_at: dict[tuple[str, str], object] = {}
        self.had_row: set[str] = set()
        self._run()

    # --- what others do -------------------------------------------------------------------------------------------

    @rule(name=TENANT, status=st.sampled_from(["active", "suspended", "deleted"]))
    def row_says(self, name: str, status: str) -> None:
        self.world.rows[name] = [status]

    @rule(names=st.sets(TENANT, min_size=1))
    def rows_go(self, names: set[str]) -> None:
        for name in names:
            self.world.rows[name] = []

    @rule(name=TENANT)
    def row_is_doubled(self, name: str) -> None:
        self.world.rows[name] = [*self.world.rows[name], "active"]

    @rule(name=TENANT, there=st.booleans())
    def database(self, name: str, there: bool) -> None:
        (self.world.databases.add if there else self.world.databases.discard)(name)

    @rule(time=st.sampled_from([timedelta(minutes=20), SETTLES, GRACE]))
    def time_passes(self, time: timedelta) -> None:
        self.world.now += time

    @rule(suspended=st.sampled_from(["report", "lock"]), gone=st.sampled_from(["report", "archive", "delete"]))
    def policy(self, suspended: str, gone: str) -> None:
        self.world.settings = settings_for(suspended, gone)

    @rule(name=TENANT)
    def joins(self, name: str) -> None:
        self.world.joins(name)

    @rule(reachable=st.booleans())
    def server(self, reachable: bool) -> None:
        self.world.reachable = reachable

    @rule(name=TENANT)
    def workspace_is_deleted_in_twenty(self, name: str) -> None:
        if (place := self.world.workspace_of(name)) is not None:
            place.deleted, place.members, place.out = True, {}, {}

    @rule(name=TENANT)
    def restarts(self, name: str) -> None:
        if self.world.restart(name):
            self.restarted.add(name)

    # --- runs -----------------------------------------------------------------------------------------------------

    @rule(names=st.none() | st.sets(TENANT, min_size=1), killed=KILLED)
    def runs(self, names: set[str] | None, killed: int | None) -> None:
        self._run(names, killed=killed)

    @rule(data=st.data(), killed=KILLED)
    def approves(self, data: st.DataObject, killed: int | None) -> None:
        """Anything that was ever listed, also what is long over."""
        known = [*self.shown, *self.shown_locks, "never-listed"]
        self._run(approved=data.draw(st.sampled_from(known)), killed=killed)

    @rule(name=TENANT, order=st.sampled_from(Order), killed=KILLED)
    def orders(self, name: str, order: Order, killed: int | None) -> None:
        (entry,) = self.world.plan([name], order=order).ended.entries or (None,)
        if entry is not None and CHANGE_OF[order] in entry.changes:
            self._run({name}, order=order, killed=killed)

    def _run(
        self,
        names: Iterable[str] | None = None,
        approved: str | None = None,
        order: Order | None = None,
        killed: int | None = None,
    ) -> None:
        world = self.world
        try:
            plan = world.plan(names, approved, order)
        except UnknownPlan:
            return
        concerned = set(NAMES if names is None else names)
        self._hear(plan, concerned, approved, order)
        deleted_before = {each.id for each in world.workspaces.values() if each.deleted}
        locked_before, before = set(world.locks), self.words.copy()
        if approved in self.shown:
            self.words |= self.shown[approved]
        for step in (done := world.run(plan, killed)):
            self._may(step, plan, order, deleted_before)
        ended = {(ENDS[s.what], s.database_name) for s in done if s.what in ("begin archive", "begin deletion")}
        fresh = {found for found in ended if not any(word[:2] == found for word in before)}
        assert len(fresh) <= 1, fresh
        locks = {s.database_name for s in done if s.what == "begin lock"} - locked_before
        locks -= {name for _, name in ended}
        assert len(locks) <= 1 or self.shown_locks.get(approved or "", frozenset()) >= locks, locks
        if killed is None and names is None and world.reachable:
            self._is_as_the_registry_says(plan)
            assert world.plan().rests, world.plan()

    def _hear(self, plan: Decided, concerned: set[str], approved: str | None, order: Order | None) -> None:
        """What is read and said before anything is done."""
        if plan.ended.offboarded.waiting:
            lines = [line.split() for line in plan.ended.offboarded.lines]
            self.shown.setdefault(
                plan.ended.offboarded.waiting, frozenset(self._word(Order(what), name) for what, name in lines)
            )
        if plan.ended.locked.waiting:
            waiting = {
                entry.tenant.database_name
                for entry in plan.ended.entries
                if any("PROVISIONING_SUSPENDED_MOST" in condition.message for condition in entry.conditions)
            }
            self.shown_locks[plan.ended.locked.waiting] = frozenset(waiting)
        for name in concerned:
            if self.world.rows[name]:
                self.had_row.add(name)
                self.absent_since.pop(name, None)
                self.settled.discard(name)
            elif name not in plan.loss.kept:
                self.absent_since.setdefault(name, self.world.now)
            if order in (Order.ARCHIVE, Order.DELETE):
                self.settled.add(name)
                self.words.add(self._word(order, name))
            if order is Order.UNDO:
                self.taken_back.add(name)

    def _word(self, order: Order, name: str) -> Word:
        link = self.world.links[name]
        return order, name, str(link.workspace_id), self.returns[name, str(link.workspace_id)]

    def _may(self, step: Step, plan: Decided, order: Order | None, deleted_before: set[str]) -> None:
        """Whether this may have been done, by what the registry says and operators said."""
        name, place = step.database_name, (step.database_name, step.workspace_id)
        rows = self.world.rows[name] if step.what != "adopt" else []
        said = rows[0] if len(rows) == 1 else "ambiguous" if rows else "absent"
        left = said == "deleted" or (said == "absent" and self._is_settled(name))
        books = step.workspace_id in deleted_before
        if plan.lives[name] is Lifecycle.IN_DOUBT:
            assert books or (name in self.taken_back and step.what in {*UNLOCKS, "end offboarding"}), step
        if step.what in ENDS and not books:
            assert left, (step, said)
            assert (ENDS[step.what], *place, self.returns[place]) in self.words, (step, self.words)
            if ENDS[step.what] is Order.DELETE:
                assert self.archived_at[place] + GRACE <= self.world.now, step  # type: ignore[operator]
        if step.what == "archive":
            self.archived_at.setdefault(place, self.world.now)
        if step.what in LOCKS:
            self.taken_back.discard(name)
            archived = (Order.ARCHIVE, *place, self.returns[place]) in self.words
            assert said == "suspended" or (left and (archived or name in self.world.locks)), (step, said)
        if step.what in UNLOCKS:
            assert said == "active" or name in self.taken_back, (step, said)
        if step.what == "end offboarding":
            assert said == "active" or order is Order.UNDO, step
            self._is_over(name, step.workspace_id)
        if step.what == "bury":
            self._is_over(name, step.workspace_id)
        if step.what == "adopt":
            assert name not in self.had_row, step
        if step.what == "create":
            assert said == "active", (step, said)
            assert name in self.restarted or not self._had_workspace(name, step.workspace_id), step
            self.restarted.discard(name)

    def _is_settled(self, name: str) -> bool:
        since = self.absent_since.get(name)
        waited = since is not None and self.world.now >= since + SETTLES  # type: ignore[operator]
        return name not in self.world.databases or waited or name in self.settled

    def _is_over(self, name: str, workspace_id: str) -> None:
        self.words = {word for word in self.words if word[1:3] != (name, workspace_id)}
        self.archived_at.pop((name, workspace_id), None)
        self.returns[name, workspace_id] += 1

    def _had_workspace(self, name: str, but: str) -> bool:
        return any(f"admin-{name}" in each.everyone and each.id != but for each in self.world.workspaces.values())

    def _is_as_the_registry_says(self, plan: Decided) -> None:
        """After a run that got through: suspended tenants are locked, and customers have all that was taken."""
        waiting = self.shown_locks.get(plan.ended.locked.waiting or "", frozenset())
        for name in NAMES:
            place, rows = self.world.workspace_of(name), self.world.rows[name]
            if place is None or place.deleted or len(rows) != 1:
                continue
            if rows == ["suspended"] and self.world.settings.suspended == "lock" and name not in waiting:
                assert not place.members, (name, place)
            if rows == ["active"] and name in self.world.databases:
                assert name not in self.world.locks
                assert place.members == place.everyone


TestWholeLife = Lives.TestCase
TestWholeLife.settings = settings(stateful_step_count=30)
