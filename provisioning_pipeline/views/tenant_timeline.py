"""Tenants and what happened to them, read from the ledger.

In every function `most` is how many events there are to be at most, and `begin` where they begin: None is with the
newest.
"""

from collections.abc import Sequence

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.decide import timeline as decide
from provisioning_pipeline.decide.timeline import Position
from provisioning_pipeline.ledger.ledger import Ledger
from provisioning_pipeline.ledger.timeline import Timelines
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.report.summary import TenantLine
from provisioning_pipeline.report.timeline_page import Timeline
from provisioning_pipeline.run.conclude import tenants

MOST_EVENTS = 200
"""How many events are shown where the caller asks for no other number."""


class SeveralTenants(Exception):
    """A slug that several tenants have; `database_names` tells them apart."""

    def __init__(self, database_names: tuple[str, ...]) -> None:
        super().__init__(", ".join(database_names))
        self.database_names = database_names


def one_of(found: Sequence[TenantLine], name: str) -> TenantLine | None:
    """The tenant with this database name, else the one with this slug; None when there is none.

    A tenant that is gone leaves its slug to the next customer, and is asked for by its database name.

    Raises:
        SeveralTenants: when several have this slug.
    """
    found = [line for line in found if line.database_name == name] or found
    found = [line for line in found if line.reason is not Reason.TENANT_GONE] or found
    if len(found) > 1:
        raise SeveralTenants(tuple(sorted(line.database_name for line in found)))
    return found[0] if found else None


async def timelines(
    ledger: Database, name: str, *, most: int = MOST_EVENTS, begin: Position | None = None
) -> list[Timeline]:
    """Every tenant with this slug or database name, with its conditions and what happened to it."""
    lines = await tenants(Ledger(ledger), with_conditions=True, only=name)
    return [await _timeline(ledger, line, most, begin) for line in lines]


async def timeline(
    ledger: Database, name: str, *, most: int = MOST_EVENTS, begin: Position | None = None
) -> Timeline | None:
    """The tenant with this database name, else the one with this slug; None when there is none.

    Raises:
        SeveralTenants: when several have this slug.
    """
    line = one_of(await tenants(Ledger(ledger), with_conditions=True, only=name), name)
    return await _timeline(ledger, line, most, begin) if line else None


async def _timeline(ledger: Database, line: TenantLine, most: int, begin: Position | None) -> Timeline:
    enough = most + (begin.told if begin else 0) + 1
    kept = Timelines(ledger)
    rows = await kept.rows(line.database_name, until=begin.until if begin else None, most=enough)
    events, more = decide.page(decide.events(rows), begin, most)
    organization, members = await kept.organization_and_members(line.database_name)
    return Timeline(
        tenant=line,
        organization=organization,
        members=members,
        events=events,
        begin=str(begin) if begin else None,
        next=str(more) if more else None,
        reported=frozenset(await kept.reported(sorted({event.run_id for event in events if event.run_id}))),
    )
