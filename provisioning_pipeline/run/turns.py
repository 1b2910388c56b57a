"""Taking turns: which due tenants the next run is for, and the turns of those that a run has had."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from provisioning_pipeline.decide.turns import Waits, take_turns
from provisioning_pipeline.ledger.pending import Turns
from provisioning_pipeline.ledger.runs import tenants_at_work
from provisioning_pipeline.ledger.schema import bring_up_to_date, ledger_database
from provisioning_pipeline.model.history import LastRun
from provisioning_pipeline.settings import Settings

Runs = Callable[[frozenset[str]], Mapping[str, LastRun]]
"""Work → its last run, of these works; those without a run are left out."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to launch.

    Args:
        names: database names; none: it is no tenant's turn.
        work: names this launch: the same until it has become a run.
        next_in: seconds until it is the next tenant's turn; None: no tenant waits.
    """

    names: tuple[str, ...]
    work: str
    next_in: float | None


async def next_launch(
    settings: Settings, due: Mapping[str, str], busy: Collection[str], runs: Runs, *, asker: str, most: int
) -> Launch:
    """Give the next of the due tenants that no run works on their turn, at most so many, and remember that.

    Args:
        due: database name → why it is due.
        busy: slugs or database names of tenants that an unfinished run is at.
        runs: what Dagster knows.
        asker: the sensor that asks.

    Raises:
        Fault: when the ledger cannot be read, written to or brought to this program's revision.
    """
    async with ledger_database(settings, read_only=False) as database:
        # or a run that cannot even do this would be launched with every tick
        await bring_up_to_date(database, settings)
        turns_of_all = Turns(database)
        # the command line and another Dagster may be at them, too
        held = await tenants_at_work(database, due) | await turns_of_all.databases_of(busy)
        free = {name: due[name] for name in due.keys() - held}
        async with turns_of_all.open() as opened:
            turns = await opened.of(free)
            taken = take_turns(
                free,
                turns,
                runs(frozenset(turn.work for turn in turns.values() if turn.work)),
                now=opened.now,
                asker=asker,
                waits=Waits(settings.retry_seconds, settings.retry_most_seconds),
                most=most,
            )
            if free.keys() - turns.keys():
                await opened.see(due.keys())
            text = "\n".join(
                f"{name}:{due[name]}:{turn.attempts}:{turn.due_since.timestamp()}"
                for name, turn in sorted(taken.turns.items())
            )
            work = hashlib.sha256(text.encode()).hexdigest()[:16]
            launched = {
                name: replace(turn, cause=due[name], attempts=turn.attempts + 1, work=work, asked_by=asker)
                for name, turn in taken.turns.items()
            }
            if launched:
                await opened.launch(launched)
    return Launch(tuple(sorted(launched)), work, taken.next_in)
