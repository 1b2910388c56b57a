"""Half members of ours about whom Clerk says nothing: our own account, a tenant's own admin, people taken over."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from provisioning_pipeline.model.frames import BROKEN_RECORDS, records
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.model.tenant import Admin, AdminUnknown, MemberPlan
from provisioning_pipeline.steps.members.changes import MEND_MEMBER


@dataclass(frozen=True, slots=True)
class HalfMember:
    """A membership of one tenant's workspace with which nobody comes in, and the role that it has."""

    user_id: str
    email: str
    role: str | None


@dataclass(frozen=True, slots=True)
class OurPeople:
    """Whom of one tenant we look after without Clerk.

    Args:
        service: user ids of our own account on the server.
        admin_user_id: the stored admin of a tenant without an organization, else None.
        admin: the same person with a name, where the registry tells one.
        taken_over: user ids of people of its hand-made workspace whom Clerk does not know.
        default_role: label of the role of whoever has none.
    """

    service: Collection[str]
    admin_user_id: str | None
    admin: Admin | AdminUnknown
    taken_over: Collection[str]
    default_role: str


def half_members(
    places: Mapping[tuple[str, str], str], half: pd.DataFrame, members: pd.DataFrame
) -> dict[str, tuple[HalfMember, ...]]:
    """Database name → memberships of its workspace with which nobody comes in.

    Args:
        places: (server, workspace id) → database name.
        half, members: frames with the columns of `HALF_MEMBERS` and `TWENTY_MEMBERS`.
    """
    broken = half[half["record"].isin(BROKEN_RECORDS)]
    if broken.empty:
        return {}
    roles = members[["server", "workspace_id", "user_id", "role"]]
    found: dict[str, tuple[HalfMember, ...]] = {}
    for row in records(broken.merge(roles, on=["server", "workspace_id", "user_id"], how="left")):
        name = places.get((row["server"], row["workspace_id"]))
        if name is not None:
            found[name] = (*found.get(name, ()), HalfMember(row["user_id"], row["email"], row["role"]))
    return found


def to_mend(half: Sequence[HalfMember], ours: OurPeople) -> tuple[MemberPlan, ...]:
    """Those of them whom we look after without Clerk, our own account first: it mends the others."""
    plans = [plan for member in half if (plan := _plan(member, ours)) is not None]
    return tuple(sorted(plans, key=lambda plan: (plan.twenty_user_id not in ours.service, plan.email)))


def _plan(member: HalfMember, ours: OurPeople) -> MemberPlan | None:
    first = last = ""
    if member.user_id in ours.service:
        role = ADMIN_ROLE
    elif member.user_id == ours.admin_user_id:
        role = ADMIN_ROLE
        if isinstance(ours.admin, Admin) and ours.admin.email == member.email:
            first, last = ours.admin.first_name, ours.admin.last_name
    elif member.user_id in ours.taken_over:
        role = member.role or ours.default_role
    else:
        return None
    changes = (MEND_MEMBER,)
    return MemberPlan(None, member.email, first, last, role, member.user_id, changes)
