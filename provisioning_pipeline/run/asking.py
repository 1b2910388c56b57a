"""The answers to what deciding asks on the way: accounts, departures, joins, conditions of before. Reads only."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from provisioning_pipeline.decide.ownership import AccountKey
from provisioning_pipeline.ledger.revisions import has_ledger
from provisioning_pipeline.model.condition import ConditionType
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.people import Departure, Evidence
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.observe.snapshots import (
    departures,
)
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.decide import Deciding
from provisioning_pipeline.run.seen import (
    Answers,
    Demotion,
    Questions,
)
from provisioning_pipeline.steps.members.changes import ADD_MEMBER, INVITE_MEMBER, WITHDRAW_INVITATION


async def answering(connections: Connections, deciding: Deciding) -> Plan:
    """The plan, once everything that deciding asks on the way is answered.

    Raises:
        Fault: when the ledger cannot be read, or Clerk refuses the key.
    """
    questions = next(deciding)
    while True:
        answers = await ask(connections, questions)
        try:
            questions = deciding.send(answers)
        except StopIteration as decided:
            plan: Plan = decided.value
            return plan


async def ask(connections: Connections, questions: Questions) -> Answers:
    """The answers to one round of questions; nothing is sent anywhere for what is empty.

    Raises:
        Fault: when the ledger cannot be read, or Clerk refuses the key.
    """
    joins, added, watched_since = await _joins(connections, questions.demotions)
    return Answers(
        accounts=await _accounts(connections, questions.accounts),
        departures=await _departures(connections, questions.departures),
        invitations=frozenset(
            await connections.members.invited(INVITE_MEMBER, WITHDRAW_INVITATION, questions.invitations)
        ),
        emails=await _known_at_clerk(connections, questions.emails),
        joins=joins,
        added=frozenset(added),
        watched_since=watched_since,
        held=await _held(connections, questions.held),
    )


async def _accounts(connections: Connections, wanted: frozenset[AccountKey]) -> dict[AccountKey, Evidence]:
    """Of one whose server cannot be asked now nothing is known: no one is raised before their step asks again."""
    by_server: dict[str, list[str]] = {}
    for server, account in sorted(wanted):
        by_server.setdefault(server, []).append(account)
    databases, accounts = connections.twenty_databases, connections.accounts
    found: dict[AccountKey, Evidence] = {}
    for server, ids in by_server.items():
        if server not in databases:
            continue
        try:
            facts = await databases[server].account_facts(ids)
        except Fault:
            continue
        origins = await accounts.origins(server, ids)
        vouched = {known.twenty_user_id: known.email for known in await accounts.vouched(server, ids)}
        moves = await accounts.moves(server, ids)
        for row in facts:
            user = row["user_id"]
            found[server, user] = Evidence(
                row["email"],
                row["verified"],
                row["created_at"],
                origins.get(user),
                vouched.get(user),
                moves.get((user, row["email"])),
                row["workspaces"],
            )
    return found


async def _departures(connections: Connections, missing: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Departure]:
    """The second witness, with the time of Clerk's own event where it says none."""
    found = await departures(connections.clerk, missing)
    times = await connections.reviews.happened_at([key for key, gone in found.items() if gone.changed_at is None])
    return found | {key: replace(found[key], changed_at=int(at.timestamp() * 1000)) for key, at in times.items()}


async def _known_at_clerk(connections: Connections, emails: frozenset[str]) -> frozenset[str] | None:
    if not emails:
        return frozenset()
    try:
        return await connections.clerk.known_emails(emails)
    except Fault as fault:
        if fault.kind is FaultKind.SERVER:
            raise
        return None


async def _held(connections: Connections, names: Sequence[str]) -> dict[str, frozenset[ConditionType]]:
    if not names or not await has_ledger(connections.history.database):
        return {}
    return {name: before.held for name, before in (await connections.history.before(names)).items()}


_Times = dict[tuple[str, str, str], tuple[datetime, datetime, datetime]]


async def _joins(
    connections: Connections, demotions: Sequence[Demotion]
) -> tuple[_Times, set[tuple[str, str]], dict[str, datetime]]:
    """Of a server that cannot be asked now no one is known, and every demotion there counts against the budget."""
    if not demotions:
        return {}, set(), {}
    added = await connections.members.added(
        ADD_MEMBER, [(each.database_name, each.email, each.role) for each in demotions]
    )
    watched_since = await connections.ledger.known_since(sorted({each.database_name for each in demotions}))
    joins: _Times = {}
    for server in sorted({each.server for each in demotions}):
        theirs = [(each.workspace_id, each.account) for each in demotions if each.server == server]
        try:
            given = await connections.twenty_databases[server].roles_given(theirs)
        except Fault:
            continue
        joins |= {(server, *place): times for place, times in given.items()}
    return joins, added, watched_since
