"""Which half members of ours, about whom Clerk says nothing, a plan is to mend."""

from collections.abc import Mapping

from provisioning_pipeline.decide.detection import Detected
from provisioning_pipeline.decide.organizations import Match
from provisioning_pipeline.model.tenant import MemberPlan
from provisioning_pipeline.run.observe import Seen
from provisioning_pipeline.steps.members.plan.half_members import OurPeople, half_members, to_mend
from provisioning_pipeline.steps.workspaces.plan.planner import Planner


def mending(
    seen: Seen,
    matches: Mapping[str, Match],
    detected: Mapping[str, Detected],
    planner: Planner,
    default_role: str,
) -> dict[str, tuple[MemberPlan, ...]]:
    """Database name → half members of ours about whom Clerk says nothing."""
    links = {name: found.link for name, found in detected.items() if found.link and found.link["workspace_id"]}
    places = {(link["server"], link["workspace_id"]): name for name, link in links.items()}
    linked = set(zip(seen.member_links["database_name"], seen.member_links["twenty_user_id"], strict=True))
    found = {}
    for name, half in half_members(places, seen.twenty.half_members, seen.twenty.members).items():
        taken_over = {row["twenty_user_id"] for row in seen.taken_over if row["database_name"] == name}
        without_organization = matches.get(name, Match()).organization_id is None
        ours = OurPeople(
            service=seen.twenty.service_users.get(links[name]["server"], ()),
            admin_user_id=links[name]["admin_user_id"] if without_organization else None,
            admin=planner.admin(detected[name], None, str(links[name]["server"])),
            taken_over={user for user in taken_over if (name, user) not in linked},
            default_role=default_role,
        )
        found[name] = to_mend(half, ours)
    return {name: members for name, members in found.items() if members}
