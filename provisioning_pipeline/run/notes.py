"""What a plan says about the whole run, in sentences. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from provisioning_pipeline.decide.placement import told
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import Retirement
from provisioning_pipeline.model.tenant_database import too_much
from provisioning_pipeline.run.seen import Seen
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.databases.plan.take_over import TakeOvers
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision
from provisioning_pipeline.steps.members.plan.harm import Weighed
from provisioning_pipeline.steps.offboarding.due import Offboarded
from provisioning_pipeline.steps.suspension.due import Locks

MOST_MISSED = 500
"""People who are missing at Clerk and checked one by one in a run; the next run checks the others."""


def notes(
    seen: Seen,
    settings: Settings,
    weighed: Weighed,
    overs: TakeOvers,
    retirements: Sequence[Retirement],
    *,
    missed: int,
) -> Iterator[str]:
    """The notes, in order.

    Args:
        missed: how many linked people are missing at Clerk.
    """
    if seen.loss.doubt:
        yield seen.loss.doubt
    for server in settings.servers:
        if server.name in seen.twenty.lost_accounts:
            yield (
                f'The service account {server.service_email} of Twenty server "{server.name}" was deleted with its '
                "last workspace. A run that makes a workspace there signs it up anew."
            )
    yield from told(retirements)
    clerk = seen.clerk
    if seen.tenant_role is not None and (danger := too_much(seen.tenant_role)):
        yield (
            f"Our user {seen.tenant_role.name} opens tenant databases, whose owners we do not know, and {danger}. "
            "`provisioning preflight` says how to make one with fewer rights."
        )
    if clerk.fault:
        yield f"Members were not compared: {clerk.fault.message}"
    for name, count in sorted(seen.twenty.unreadable.items()):
        yield (
            f'Whether members of {count} workspaces on Twenty server "{name}" are whole is not known: our user may '
            "not read their member records. `provisioning preflight` says what to grant."
        )
    if clerk.doubt and not seen.member_links.empty:
        yield f"No member was removed or demoted for being missing at Clerk: {clerk.doubt}"
    if missed > MOST_MISSED:
        yield (
            f"{missed} linked people are missing at Clerk; {MOST_MISSED} of them were checked one by one, the "
            "others wait for the next run."
        )
    if weighed.waiting:
        yield (
            f"{weighed.people} removals and demotions are beyond the budget of a run and wait: look at `provisioning "
            f"plan`, then run `provisioning apply --approve {weighed.waiting}`."
        )
    if overs.waiting:
        yield (
            f"{overs.people} people of workspaces inserted by SQL, in {', '.join(overs.named)}, are more than a run "
            "takes over by itself, and wait. `provisioning status TENANT` names them; they come over by "
            f"`provisioning apply --approve {overs.waiting}`."
        )
    yield from shut_out_in_plan(weighed.decisions, refused=not settings.unproven_sign_in)


def notes_of_endings(locked: Locks, offboarded: Offboarded) -> Iterator[str]:
    """What waits for approval because whole tenants lose their access by it."""
    if locked.waiting:
        yield (
            f"{locked.tenants} suspended tenants wait for their lock: by themselves runs lock no more than "
            f"PROVISIONING_SUSPENDED_MOST tenants in an hour. Look whether the registry is right, then run "
            f"`provisioning apply --approve {locked.waiting}`."
        )
    if offboarded.waiting:
        more = f" Another {offboarded.more} wait for the next approval." if offboarded.more else ""
        yield (
            f"Customers have left, and their workspaces wait: {', '.join(offboarded.lines)}. If that is right, run "
            f"`provisioning apply --approve {offboarded.waiting}`.{more}"
        )


def shut_out_in_plan(decisions: Mapping[str, MemberDecision], *, refused: bool) -> Iterator[str]:
    """How many people's accounts prove nothing, of all that a plan found; nothing where it found none."""
    people = {
        name: {found.person for found in decision.findings if found.reason is Reason.ACCOUNT_UNPROVEN}
        for name, decision in decisions.items()
    }
    tenants = sum(bool(found) for found in people.values())
    if tenants:
        yield shut_out_in_words(sum(map(len, people.values())), tenants, refused=refused)


def shut_out_in_words(members: int, tenants: int, *, refused: bool) -> str:
    """How many there are, what befalls them, and what to do."""
    who = "1 member has an account" if members == 1 else f"{members} members have accounts"
    where = "1 tenant" if tenants == 1 else f"{tenants} tenants"
    refusal = (
        " and are refused at POST /v1/session/twenty" if members > 1 else " and is refused at POST /v1/session/twenty"
    )
    return (
        f"{who} at Twenty, in {where}, made elsewhere: they get no other role{refusal if refused else ''} until an "
        "operator vouches for them. `provisioning vouch --tenant SLUG` lists those of a tenant; with --all it vouches "
        "for them."
    )
