"""Where the later life of a tenant is cut, by sample."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.tasks.certify.ending import sampled
from provisioning_pipeline.tasks.certify.killed import WRITES, Call, cuts_of


def numbered(made: Sequence[tuple[str, Effect]]) -> list[Call]:
    """Calls as a run tells them: each with how many of its name there were with it."""
    counted: Counter[str] = Counter()
    calls = []
    for name, effect in made:
        counted[name] += 1
        calls.append(Call(name, effect, counted[name]))
    return calls


KINDS = {"lock": Effect.WRITE, "make": Effect.CREATE, "read": Effect.READ, "enter": Effect.EXCHANGE}
RUNS = st.lists(st.sampled_from(sorted(KINDS)).map(lambda name: (name, KINDS[name])), max_size=12).map(numbered)


@given(RUNS)
def test_a_run_is_cut_after_one_write_of_each_name_and_at_its_last_cut_and_never_twice_at_one_place(
    calls: list[Call],
) -> None:
    cuts = sampled(calls)

    assert len(set(cuts)) == len(cuts)
    assert {cut.call.name for cut in cuts if cut.call.effect in WRITES} == {
        call.name for call in calls if call.effect in WRITES
    }
    assert set(cuts) <= set(cuts_of(calls))
    assert set(cuts_of(calls)[-1:]) <= set(cuts)


def test_of_several_writes_of_a_name_the_middle_one_is_cut_so_that_some_are_done_and_some_are_not() -> None:
    calls = numbered([("lock", Effect.WRITE)] * 4)

    assert [str(cut) for cut in sampled(calls)] == ["after lock no. 2", "after lock no. 4"]
