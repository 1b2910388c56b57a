"""What is said of the end of a tenant that is a customer again holds no more, and no step comes that would say so."""

from collections.abc import Mapping, Sequence

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from provisioning_pipeline.model.condition import Condition, ConditionType, Reason


async def drop_what_is_over(
    connection: AsyncConnection[TupleRow],
    known: Mapping[str, Mapping[ConditionType, Condition]],
    found: Mapping[str, Sequence[Condition]],
) -> None:
    """Delete these conditions of tenants that are customers by what was found, or else known.

    Of a lock only what a last look at the registry kept a run from: an end of it says itself that it is open again.

    Args:
        known, found: database name → conditions, as the ledger has them and as they are about to be stored.
    """
    over = [(name, str(type_)) for name, before in known.items() for type_ in _over(before, found[name])]
    if over:
        await connection.execute(
            """
            DELETE FROM provisioning.condition c USING unnest(%s::text[], %s::text[]) AS over(name, type)
            WHERE c.database_name = over.name AND c.type = over.type
            """,
            [[name for name, _ in over], [type_ for _, type_ in over]],
        )


def _over(before: Mapping[ConditionType, Condition], found: Sequence[Condition]) -> list[ConditionType]:
    life = next((each for each in found if each.type is ConditionType.LIFECYCLE), before.get(ConditionType.LIFECYCLE))
    if life is None or life.reason not in (Reason.LIFE_NEW, Reason.LIFE_ACTIVE):
        return []
    lock = before.get(ConditionType.ACCESS_LOCKED)
    kept_from_it = lock is not None and lock.reason is Reason.REGISTRY_CHANGED
    offboarded = [ConditionType.OFFBOARDED] * (ConditionType.OFFBOARDED in before)
    return [*offboarded, *([ConditionType.ACCESS_LOCKED] * kept_from_it)]
