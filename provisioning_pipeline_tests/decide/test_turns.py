"""Whose turn it is: everybody's comes, nobody's wait depends on others, nobody is in two runs at once."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.decide.turns import CLAIMED_SECONDS, Waits, take_turns
from provisioning_pipeline.model.history import LastRun, Turn

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WAITS = Waits(first=60, longest=3600)
NAMES = [f"t{number:02d}" for number in range(12)]


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def taken(turn: Turn | None, run: LastRun | None, *, cause: str = "1", asker: str = "sensor") -> bool:
    turns = {} if turn is None else {"acme": turn}
    runs = {} if run is None else {"w": run}
    found = take_turns({"acme": cause}, turns, runs, now=NOW, asker=asker, waits=WAITS, most=10)
    assert bool(found.turns) is (found.next_in is None)
    return bool(found.turns)


def launched(ago: float, attempts: int = 1) -> Turn:
    return Turn(NOW - seconds(9000), "1", attempts, NOW - seconds(ago), "w", "sensor")


def test_a_new_tenant_goes_at_once_and_one_whose_run_failed_after_a_wait_that_doubles() -> None:
    assert taken(None, None)
    for attempts, wait in ((1, 60), (2, 120), (3, 240), (7, 3600), (1000, 3600)):
        turn = launched(8000, attempts)
        assert not taken(turn, LastRun(NOW - seconds(wait - 1), succeeded=False))
        assert not taken(turn, LastRun(NOW - seconds(wait - 1), succeeded=False), cause="2"), "whatever came meanwhile"
        assert not taken(turn, LastRun(NOW - seconds(wait - 1), succeeded=True))
        assert taken(turn, LastRun(NOW - seconds(wait), succeeded=False))


def test_what_happened_after_a_run_that_went_well_does_not_wait() -> None:
    assert taken(launched(10, attempts=5), LastRun(NOW - seconds(1), succeeded=True), cause="2")


def test_a_launch_of_which_dagster_has_no_run_counts_for_another_sensor_for_a_moment_alone() -> None:
    assert taken(launched(1), None), "the sensor itself: its tick broke off, or the run was deleted"
    assert not taken(launched(CLAIMED_SECONDS - 1), None, asker="clerk")
    assert taken(launched(CLAIMED_SECONDS), None, asker="clerk")


def test_a_run_that_was_given_up_counts_from_its_launch() -> None:
    assert not taken(launched(59), LastRun(None, succeeded=False))
    assert taken(launched(60), LastRun(None, succeeded=False))


def test_no_wait_is_too_long_to_be_counted() -> None:
    for waits in (Waits(1e300, 1e308), Waits(1e-9, 1e300)):
        assert waits.after(10_000) > seconds(0)


def test_ten_thousand_are_sorted_longest_due_first() -> None:
    due = {f"t{number}": "1" for number in range(10_000)}
    turns = {name: Turn(NOW - seconds(number)) for number, name in enumerate(due)}

    found = take_turns(due, turns, {}, now=NOW, asker="sensor", waits=WAITS, most=1000)

    assert list(found.turns) == [f"t{number}" for number in range(9999, 8999, -1)]


# --- a simulation of sensors, runs and tenants ------------------------------------------------------------------


@dataclass
class World:
    """Two sensors over one ledger. Runs take some ticks; a failing tenant stays due, the others end their turn."""

    failing: frozenset[str]
    most: int
    now: datetime = NOW
    turns: dict[str, Turn] = field(default_factory=dict)
    runs: dict[str, LastRun] = field(default_factory=dict)
    at_work: dict[str, tuple[datetime, list[str]]] = field(default_factory=dict)
    launches: Counter[str] = field(default_factory=Counter)

    def tick(self, due: dict[str, str], asker: str, lasts: float, *, breaks_off: bool) -> None:
        busy = {name for _, names in self.at_work.values() for name in names}
        free = {name: cause for name, cause in due.items() if name not in busy}
        known = {name: self.turns[name] for name in free if name in self.turns}
        found = take_turns(free, known, self.runs, now=self.now, asker=asker, waits=WAITS, most=self.most)
        for name in free.keys() - known.keys():
            self.turns[name] = Turn(self.now)
        assert not busy & found.turns.keys()
        assert len(found.turns) <= self.most
        if not found.turns:
            return
        work = f"{len(self.runs)} {len(self.at_work)} {self.now}"
        for name, turn in found.turns.items():
            self.turns[name] = replace(
                turn, cause=due[name], attempts=turn.attempts + 1, launched_at=self.now, work=work, asked_by=asker
            )
        if not breaks_off:
            self.launches.update(found.turns.keys())
            self.at_work[work] = (self.now + seconds(lasts), list(found.turns))

    def pass_time(self, by: float) -> None:
        self.now += seconds(by)
        for work, (end, names) in list(self.at_work.items()):
            if end <= self.now:
                del self.at_work[work]
                self.runs[work] = LastRun(end, succeeded=not self.failing & set(names))
                for name in set(names) - self.failing:
                    self.turns.pop(name, None)


STEPS = st.tuples(
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from(["sensor", "clerk"]),
    st.floats(1, 300),
    st.floats(1, 90),
    st.booleans(),
)


@given(st.sets(st.sampled_from(NAMES)), st.integers(1, 5), st.lists(STEPS, min_size=20, max_size=80))
def test_runs_per_tenant_are_bounded_by_its_wait_and_nobody_is_in_two(
    failing: set[str], most: int, steps: list[tuple[set[str], str, float, float, bool]]
) -> None:
    world = World(frozenset(failing), most)
    for number, (due, asker, lasts, passes, breaks_off) in enumerate(steps):
        # another set with each tick, and another cause
        world.tick(dict.fromkeys(due, str(number)), asker, lasts, breaks_off=breaks_off)
        world.pass_time(passes)

    elapsed, bound = world.now - NOW, 1
    while sum((WAITS.after(attempts) for attempts in range(1, bound + 1)), seconds(0)) <= elapsed:
        bound += 1
    assert all(world.launches[name] <= bound for name in failing)


@given(st.sets(st.sampled_from(NAMES)), st.integers(1, 5))
def test_every_due_tenant_gets_its_turn_while_others_fail_for_ever(failing: set[str], most: int) -> None:
    world = World(frozenset(failing), most)
    for _ in range(len(NAMES) // most + 1):
        world.tick(dict.fromkeys(NAMES, "1"), "sensor", 10, breaks_off=False)
        world.pass_time(30)

    assert set(world.launches) == set(NAMES)
