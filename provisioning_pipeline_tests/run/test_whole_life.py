"""No sequence of registry changes, runs and kills opens what is locked, or archives or deletes without a word for it.

What is asked here is told by the registry, the clock and what operators said, not by what the ledger thinks of them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.model.lifecycle import Lifecycle
from provisioning_pipeline.model.offboarding import Order
from provisioning_pipeline.run.decide import UnknownPlan
from provisioning_pipeline.steps.offboarding.changes import ARCHIVE_WORKSPACE, DELETE_WORKSPACE
from provisioning_pipeline.steps.suspension.changes import UNLOCK_WORKSPACE
from provisioning_pipeline_tests.run.lives import GRACE, NAMES, SETTLES, Decided, Step, World, settings_for

# mostly the first ones, so that much happens to one of them
TENANT = st.sampled_from([*NAMES, *NAMES[:2], *NAMES[:1] * 2])
GONE = ("report", "archive", "delete")
CHANGE_OF = {Order.ARCHIVE: ARCHIVE_WORKSPACE, Order.DELETE: DELETE_WORKSPACE, Order.UNDO: UNLOCK_WORKSPACE}
ENDS = {"begin archive": Order.ARCHIVE, "begin deletion": Order.DELETE, "delete": Order.DELETE}
LOCKS, UNLOCKS = {"begin lock", "shut out", "prove lock"}, {"begin unlock", "let back", "end lock"}

Word = tuple[Order, str, str, int]
"""What an operator said yes to: an order for a tenant's workspace, and how often it had come back before."""


@dataclass(frozen=True)
class Day:
    """What happens, and the run after it.

    Args:
        names: the run is for these tenants alone; None: for all.
        order: an operator asks this for the first of them.
        approves: how many listed names ago the operator approves; 0: the newest one; None: nothing is approved.
        killed: after so many things that it does; None: it gets through.
    """

    events: Sequence[tuple[str, Any]]
    names: Sequence[str] | None = None
    order: Order | None = None
    approves: int | None = None
    killed: int | None = None


EVENTS = st.one_of(
    st.tuples(st.just("row says"), st.tuples(TENANT, st.sampled_from(["active", "suspended", "deleted", "deleted"]))),
    st.tuples(st.just("rows go"), st.lists(TENANT, min_size=1, max_size=2)),
    st.tuples(st.just("row is doubled"), TENANT),
    st.tuples(st.just("database"), st.tuples(TENANT, st.booleans())),
    st.tuples(st.just("time passes"), st.sampled_from([timedelta(minutes=20), SETTLES, GRACE, GRACE])),
    st.tuples(
        st.just("policy"), st.tuples(st.sampled_from(["report", "lock", "lock"]), st.sampled_from([*GONE, "delete"]))
    ),
    st.tuples(st.just("joins"), TENANT),
    st.tuples(st.just("server"), st.sampled_from([True, True, False])),
    st.tuples(st.just("deleted in Twenty"), TENANT),
    st.tuples(st.just("restarts"), TENANT),
)
WAITS = st.tuples(st.just("time passes"), st.just(GRACE))
KILLED = st.none() | st.none() | st.integers(0, 6)
SOME = st.lists(TENANT, min_size=1, max_size=2)
DAYS = st.one_of(
    st.builds(Day, st.lists(EVENTS, min_size=1, max_size=2), names=st.none() | st.none() | SOME, killed=KILLED),
    st.builds(Day, st.lists(EVENTS, max_size=1), approves=st.sampled_from([0, 0, 0, 1, 2]), killed=KILLED),
    st.builds(Day, st.lists(WAITS, max_size=1), approves=st.just(0)),
    st.builds(
        Day, st.lists(EVENTS, max_size=1), names=SOME, order=st.sampled_from([None, *Order, *Order]), killed=KILLED
    ),
)


class Lives:
    """Rows come, change and go; people join; operators approve, order and take back; runs get through or are killed."""

    def __init__(self) -> None:
        self.world = World()
        self.returns: Counter[tuple[str, str]] = Counter()
        self.shown: dict[str, frozenset[Word]] = {}
        self.shown_locks: dict[str, frozenset[str]] = {}
        self.words: set[Word] = set()
        self.taken_back: set[str] = set()
        self.absent_since: dict[str, datetime] = {}
        self.settled: set[str] = set()
        self.restarted: set[str] = set()
        self.archived_at: dict[tuple[str, str], datetime] = {}
        self.had_row: set[str] = set()
        self._run()

    def passes(self, day: Day) -> None:
        """What happens that day, and its run."""
        for what, about in day.events:
            self._happens(what, about)
        if day.approves is not None:
            # the newest last, and what is long over among them
            known = ["never listed", *self.shown_locks, *self.shown]
            self._run(approved=known[-1 - day.approves % len(known)], killed=day.killed)
        elif day.order is not None and day.names is not None:
            self._order(day.names[0], day.order, day.killed)
        else:
            self._run(day.names, killed=day.killed)

    def _happens(self, what: str, about: Any) -> None:
        world = self.world
        match what:
            case "row says":
                world.rows[about[0]] = [about[1]]
            case "rows go":
                world.rows |= {name: [] for name in about}
            case "row is doubled":
                world.rows[about] = [*world.rows[about], "active"]
            case "database":
                (world.databases.add if about[1] else world.databases.discard)(about[0])
            case "time passes":
                world.now += about
            case "policy":
                world.settings = settings_for(*about)
            case "joins":
                world.joins(about)
            case "server":
                world.reachable = about
            case "deleted in Twenty":
                world.deleted_in_twenty(about)
            case "restarts":
                if world.restart(about):
                    self.restarted.add(about)

    def _order(self, name: str, order: Order, killed: int | None) -> None:
        """By hand, where the command would not refuse."""
        entries = self.world.plan([name], order=order).ended.entries
        if any(CHANGE_OF[order] in entry.changes for entry in entries):
            self._run([name], order=order, killed=killed)

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
            words = frozenset(self._word(Order(what), name) for what, name in lines)
            waiting = plan.ended.offboarded.waiting
            self.shown[waiting] = self.shown.pop(waiting, words)
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
                assert self.archived_at[place] + GRACE <= self.world.now, step
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
        waited = since is not None and self.world.now >= since + SETTLES
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


@given(st.lists(DAYS, min_size=8, max_size=18))
def test_whatever_happens_none_comes_in_who_may_not_and_nothing_goes_without_a_word(days: Sequence[Day]) -> None:
    lives = Lives()
    for day in days:
        lives.passes(day)
