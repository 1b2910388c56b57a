"""What a person should know about a whole plan, one sentence or two each."""

from collections.abc import Iterator, Mapping, Sequence

from provisioning_pipeline.decide.retirements import told
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import Retirement
from provisioning_pipeline.model.tenant_role import too_much
from provisioning_pipeline.run.seen import Seen
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.databases.plan.take_over import TakeOvers
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision
from provisioning_pipeline.steps.members.plan.harm import Weighed


def notes(
    seen: Seen,
    settings: Settings,
    weighed: Weighed,
    overs: TakeOvers,
    retirements: Sequence[Retirement],
    *,
    missed: int,
    most_missed: int,
) -> Iterator[str]:
    """The notes, in order.

    Args:
        missed: how many linked people are missing at Clerk.
        most_missed: how many of them were looked at one by one.
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
            f"Our user {seen.tenant_role.name} opens tenant databases, whose owners may be anybody, and {danger}. "
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
        yield f"Nobody was removed or demoted for being missing at Clerk: {clerk.doubt}"
    if missed > most_missed:
        yield (
            f"{missed} linked people are missing at Clerk; {most_missed} of them were looked at one by one, the "
            "others wait for the next run."
        )
    if weighed.waiting:
        yield (
            f"{weighed.people} removals and demotions are beyond the budget of a run and wait: look at `provisioning "
            f"plan`, then run `provisioning apply --approve {weighed.waiting}`."
        )
    if overs.waiting:
        yield (
            f"{overs.people} people of hand-made workspaces, in {', '.join(overs.named)}, are more than a run takes "
            "over by itself, and wait. `provisioning status TENANT` names them; they come over by `provisioning apply "
            f"--approve {overs.waiting}`."
        )
    yield from shut_out_in_plan(weighed.decisions, refused=not settings.unproven_sign_in)


def shut_out_in_plan(decisions: Mapping[str, MemberDecision], *, refused: bool) -> Iterator[str]:
    """How many people's accounts prove nothing, of everybody whom a plan found; nothing where it found nobody."""
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
    door = (
        " and are refused at POST /v1/session/twenty" if members > 1 else " and is refused at POST /v1/session/twenty"
    )
    return (
        f"{who} at Twenty, in {where}, made elsewhere: they get no other role{door if refused else ''} until somebody "
        "vouches for them. `provisioning vouch --tenant SLUG` lists those of a tenant; with --all it vouches for them."
    )
