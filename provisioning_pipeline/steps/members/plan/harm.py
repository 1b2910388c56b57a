"""How much a run may take from members before an operator has to approve it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pandas as pd

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.model.approval import name_for_approval
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import Columns, frame, records
from provisioning_pipeline.model.history import Budget
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.tenant import Admin, Finding, MemberPlan, TenantPlan
from provisioning_pipeline.steps.members.plan.decisions import MemberDecision
from provisioning_pipeline.steps.members.plan.people import People
from provisioning_pipeline.steps.members.plan.tenant_members import LostAdmin, workspace_usable
from provisioning_pipeline.steps.workspaces.plan.planner import Observed, admin_of


@dataclass(frozen=True, slots=True)
class Weighed:
    """Decisions within the budget.

    Args:
        decisions: what is beyond the budget is taken out of them and reported as a finding.
        waiting: name of the plan that waits for approval, or None.
        approved: what was over the budget was approved by name.
    """

    decisions: Mapping[str, MemberDecision]
    waiting: str | None = None
    people: int = 0
    approved: bool = False


def weigh(decisions: Mapping[str, MemberDecision], members: Mapping[str, int], budget: Budget) -> Weighed:
    """Hold back what is beyond the budget: all that would harm a tenant over its share, or all if there is too much.

    `members` is how many members each tenant's workspace has. A demotion that takes back only what our own join gave is
    no harm: it is neither counted nor held back.
    """
    losing = {name: people for name, decision in decisions.items() if (people := decision.harmed)}
    total = sum(map(len, losing.values()))
    over = {
        name: people
        for name, people in losing.items()
        if total > budget.most or len(people) > budget.allowed(members.get(name, 0))
    }
    name = plan_name((tenant, person) for tenant, people in over.items() for person in people)
    if not over or name == budget.approved:
        return Weighed(decisions, approved=bool(over))
    return Weighed(
        {
            tenant: _held_back(decision, name, budget) if tenant in over else decision
            for tenant, decision in decisions.items()
        },
        name,
        sum(map(len, over.values())),
    )


def plan_name(harmful: Iterable[tuple[str, MemberPlan]]) -> str:
    """A short name of these removals and demotions; another set of them has another name."""
    lines = sorted(
        f"{tenant} {person.clerk_user_id} {' '.join(sorted(person.harmful_changes))}" for tenant, person in harmful
    )
    return name_for_approval(lines)


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


STORED_ADMINS: Final[Columns] = (
    *("database_name", "organization_id", "server", "workspace_id", "admin_user_id", "admin_email", "registry_email"),
)
"""The tenants with a stored admin whose workspace can be read.

Without an `organization_id` the registry names the admin: `registry_email`, in lower case, is the address that it or a
request names now; None: it names none.
"""


def stored_admins(
    drafts: Sequence[TenantPlan],
    links: Mapping[str, Mapping[str, Any]],
    unread: Collection[str],
    by_name: Mapping[str, Detected],
    observed: Observed,
) -> pd.DataFrame:
    """The stored admins that can be judged now: whether they stand for their tenants."""
    rows = []
    for entry in drafts:
        name, organization = entry.tenant.database_name, entry.tenant.clerk_org_id
        link = links[name]
        if not link.get("admin_user_id") or not link.get("workspace_id") or name in unread:
            continue
        if entry.server is None or not workspace_usable(entry) or not by_name[name].eligible:
            continue
        named = None if organization else admin_of(observed, by_name[name], None, entry.server)
        email = named.email if isinstance(named, Admin) else None
        account = link["admin_user_id"], link["admin_email"]
        rows.append((name, organization, entry.server, link["workspace_id"], *account, email))
    return frame(STORED_ADMINS, rows)


def lost_admins(admins: pd.DataFrame, people: People, desired: pd.DataFrame) -> dict[str, LostAdmin]:
    """Database name → its stored admin, where they are outside the workspace, lowered, or no longer named as admin.

    Args:
        admins: frame with the columns of `STORED_ADMINS`.
        desired: rows of `desired_members`.
    """
    accounts = set(admins["admin_user_id"])
    members = people.twenty_members[people.twenty_members["user_id"].isin(accounts)]
    members = members.rename(columns={"user_id": "admin_user_id"}).assign(inside=True)
    members = members.drop_duplicates(["server", "workspace_id", "admin_user_id"])
    rows = admins.merge(members, on=["server", "workspace_id", "admin_user_id"], how="left")
    emails = people.twenty_users[people.twenty_users["user_id"].isin(accounts)]
    emails = emails.rename(columns={"user_id": "admin_user_id", "email": "account_email"})
    rows = rows.merge(emails.drop_duplicates(["server", "admin_user_id"]), on=["server", "admin_user_id"], how="left")
    by_clerk = rows["organization_id"].notna()
    rows = rows.assign(
        harmed=rows["inside"].isna() | (rows["role"] != ADMIN_ROLE),
        # no active member at Clerk, and never linked: a linked member is missed, or lowered, on evidence
        stranger=by_clerk & ~_known_at_clerk(rows, people, desired) & people.complete,
        # the account may have the address by now that the registry names
        another=~by_clerk
        & rows["registry_email"].notna()
        & (rows["registry_email"] != rows["admin_email"])
        & (rows["registry_email"] != rows["account_email"]),
    )
    links = people.member_links[people.member_links["twenty_user_id"].isin(accounts)]
    users = {(row["database_name"], row["twenty_user_id"]): row["clerk_user_id"] for row in records(links)}
    return {
        row["database_name"]: LostAdmin(
            row["admin_user_id"], users.get((row["database_name"], row["admin_user_id"])), bool(row["harmed"])
        )
        for row in records(rows[rows["harmed"] | rows["stranger"] | rows["another"]])
    }


def _known_at_clerk(rows: pd.DataFrame, people: People, desired: pd.DataFrame) -> "pd.Series[bool]":
    """Which of these admins are active members of their tenant's organization, or linked there."""
    accounts = set(rows["admin_user_id"])
    active = desired[desired["account"].isin(accounts)]
    links = people.member_links[people.member_links["twenty_user_id"].isin(accounts)]
    known = {
        *zip(active["database_name"], active["account"], strict=True),
        *zip(links["database_name"], links["twenty_user_id"], strict=True),
    }
    found = [key in known for key in zip(rows["database_name"], rows["admin_user_id"], strict=True)]
    return pd.Series(found, index=rows.index, dtype=bool)
