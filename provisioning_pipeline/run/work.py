"""The steps of tenants, a few tenants at a time; each one's end is stored as it comes."""

from collections.abc import Callable, Sequence

from provisioning_pipeline.clients.concurrency import all_of
from provisioning_pipeline.model.change import Where
from provisioning_pipeline.model.tenant import TenantPlan
from provisioning_pipeline.run.connections import Connections, tenant_database
from provisioning_pipeline.run.state import Run, ends_the_run
from provisioning_pipeline.steps.chain import ChainResult, op_of, run_steps, server_steps, steps_for, together
from provisioning_pipeline.steps.scope import Record, Scope
from provisioning_pipeline.steps.step import Step

Progress = Callable[[TenantPlan, ChainResult], None]
"""Called with a tenant's plan and what its steps came to, as soon as that is in the ledger."""


async def work(
    run: Run, plans: Sequence[TenantPlan], only: Sequence[Step] | None = None, progress: Progress | None = None
) -> list[ChainResult]:
    """Run the steps of these tenants, or `only` some of them; what they came to, of those that had any.

    Raises:
        RunFault: when the ledger is lost on the way; nobody works on without it, and the next run goes on.
    """

    async def one(entry: TenantPlan, taken: Sequence[Step]) -> ChainResult:
        steps = [step for step in taken if step.where is Where.SERVER]
        results: list[ChainResult] = []
        async with run.under_way:
            for step in taken:
                if step.where is Where.OWN_DATABASE:
                    async with run.databases:
                        with run.timed(step.name):
                            results.append(await run_steps(scope_of(run.connections, entry, run.run_id), [step]))
            if steps:
                results.append(await _chain(run, scope_of(run.connections, entry, run.run_id), steps))
        result = together(results)
        # outside the places, so that the next tenant begins meanwhile
        await _store(run, result, tried=result.failed or not steps or steps[-1] is server_steps(entry)[-1])
        if progress:
            progress(entry, result)
        return result

    wanted = (
        (entry, [step for step in steps_for(entry) if only is None or op_of(step, entry) in only]) for entry in plans
    )
    with ends_the_run("PostgreSQL refused"):
        return await all_of(one(entry, taken) for entry, taken in wanted if taken)


async def _chain(run: Run, scope: Scope, steps: Sequence[Step]) -> ChainResult:
    """The steps in order, up to the first that fails. Between two of them another tenant may take the place."""
    scope.at_clerk = run.at_clerk.get(scope.database_name)
    for step in steps:
        async with run.places:
            with run.timed(step.name):
                result = await run_steps(scope, [step])
        if result.failed:
            break
    if scope.at_clerk is not None:
        run.at_clerk[scope.database_name] = scope.at_clerk
    return result


async def _store(run: Run, result: ChainResult, *, tried: bool) -> None:
    # outcomes first: what holds since stands after what was done
    await run.connections.journal.settle()
    again = {} if result.again_seconds is None else {result.database_name: result.again_seconds}
    await run.store_conditions({result.database_name: result.conditions}, tried=tried, again=again)
    if tried:
        await run.connections.turns.end([result.database_name])


def scope_of(connections: Connections, entry: TenantPlan, run_id: str) -> Scope:
    """The scope of a tenant."""
    settings, name = connections.settings, entry.tenant.database_name
    return Scope(
        plan=entry,
        twenty=connections.servers[entry.server] if entry.server else None,
        own_database=lambda: tenant_database(settings, name, read_only=False),
        ledger=connections.ledger,
        registry=connections.registry,
        members=connections.members,
        accounts=connections.accounts,
        removed_rows=connections.removed_rows,
        clerk=connections.clerk,
        record=Record(connections.journal, run_id, entry.tenant.database_name),
        settings=settings,
        lock_wait_seconds=settings.lock_wait_seconds,
    )
