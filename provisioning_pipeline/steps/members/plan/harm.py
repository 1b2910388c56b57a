"""How much a run may take away from people before somebody has to say yes."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.tenant import Finding, MemberPlan
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision


@dataclass(frozen=True, slots=True)
class Budget:
    """Removals and demotions that one run may make by itself.

    Args:
        share: of a tenant's members, at least one of them.
        most: in all.
        approved: the plan that somebody approved by name, or None.
    """

    share: float
    most: int
    approved: str | None = None

    def allowed(self, members: int) -> int:
        """How many in a tenant with so many members."""
        return max(1, int(self.share * members)) if self.most else 0


@dataclass(frozen=True, slots=True)
class Weighed:
    """Decisions within the budget.

    Args:
        decisions: what is beyond the budget is taken out of them and told as a finding.
        waiting: name of the plan that waits for approval, or None.
        approved: what was over the budget was approved by name.
        people: how many removals and demotions wait.
    """

    decisions: dict[str, MemberDecision]
    waiting: str | None
    people: int
    approved: bool = False


def weigh(decisions: Mapping[str, MemberDecision], members: Mapping[str, int], budget: Budget) -> Weighed:
    """Hold back what is beyond the budget: all that would harm a tenant over its share, or all if there is too much.

    `members` is how many members each tenant's workspace has. A demotion that takes back only what our own join gave is
    no harm: it is neither counted nor held back.
    """
    losing = harmed(decisions)
    total = sum(map(len, losing.values()))
    over = {
        name: people
        for name, people in losing.items()
        if total > budget.most or len(people) > budget.allowed(members.get(name, 0))
    }
    name = plan_name((tenant, person) for tenant, people in over.items() for person in people)
    if not over or name == budget.approved:
        return Weighed(dict(decisions), None, 0, approved=bool(over))
    return Weighed(
        {
            tenant: _held_back(decision, name, budget) if tenant in over else decision
            for tenant, decision in decisions.items()
        },
        name,
        sum(map(len, over.values())),
    )


def harmed(decisions: Mapping[str, MemberDecision]) -> dict[str, list[MemberPlan]]:
    """Tenant → the people who would lose something in it, for tenants that have any."""
    found = {name: _harmful(decision.members) for name, decision in decisions.items()}
    return {name: people for name, people in found.items() if people}


def plan_name(harmful: Iterable[tuple[str, MemberPlan]]) -> str:
    """A short name of these removals and demotions; another set of them has another name."""
    lines = sorted(
        f"{tenant} {person.clerk_user_id} {' '.join(sorted(person.harmful_changes))}" for tenant, person in harmful
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _harmful(members: Iterable[MemberPlan]) -> list[MemberPlan]:
    return [member for member in members if member.harmful_changes and not member.undoes_our_join]


def _held_back(decision: MemberDecision, name: str, budget: Budget) -> MemberDecision:
    kept: list[MemberPlan] = []
    findings = list(decision.findings)
    for member in decision.members:
        if member.undoes_our_join:
            kept.append(member)
            continue
        harmful = member.harmful_changes
        left = tuple(change for change in member.changes if not change.harmful)
        if left:
            kept.append(replace(member, changes=left))
        if harmful:
            findings.append(
                Finding(
                    Reason.WAITS_FOR_APPROVAL,
                    member.email,
                    f"{', '.join(harmful)} ({member.email}) waits, because the run would go beyond its budget of "
                    f"{budget.share:.0%} of a tenant's members and {budget.most} people in all. Look at "
                    f"`provisioning plan`, then run `provisioning apply --approve {name}`.",
                )
            )
    return replace(decision, members=tuple(kept), findings=tuple(findings))
