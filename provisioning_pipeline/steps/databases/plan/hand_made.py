"""Which workspaces in tenant databases were inserted by SQL, and who is to be taken over from them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum

from provisioning_pipeline.model.tenant_database import FoundMember, FoundWorkspace, Look


class Check(StrEnum):
    """What every workspace has that Twenty itself made, in words for what is missing."""

    OBJECT_METADATA = "no object metadata"
    SCHEMA = "no schema of its own"
    ROLES = "roles of another workspace"
    MEMBER_RECORDS = "people without a member record"


def failed_checks(workspace: FoundWorkspace) -> tuple[Check, ...]:
    """What is missing in this workspace; empty when Twenty could have made it."""
    return tuple(_failed(workspace))


def _failed(workspace: FoundWorkspace) -> Iterator[Check]:
    if not workspace.has_metadata:
        yield Check.OBJECT_METADATA
    if not workspace.has_schema:
        yield Check.SCHEMA
    if not workspace.has_own_roles:
        yield Check.ROLES
    if not all(member.has_record for member in workspace.members):
        yield Check.MEMBER_RECORDS


def members_to_take_over(
    workspaces: Sequence[FoundWorkspace], at_clerk: Collection[str], inside: Collection[str]
) -> tuple[FoundMember, ...]:
    """Members of hand-made workspaces whom Clerk does not know at all and who are not inside yet, each e-mail once.

    Somebody whom Clerk knows is a member by Clerk's word or not at all: who has left there must not come back by old
    rows. `at_clerk` and `inside` are e-mails in lower case.
    """
    found: dict[str, FoundMember] = {}
    for workspace in workspaces:
        if failed_checks(workspace):
            for member in workspace.members:
                if "@" in member.email and member.email not in at_clerk and member.email not in inside:
                    found.setdefault(member.email, member)
    return tuple(found.values())


def old_names(looks: Mapping[str, Look], registered: Collection[str]) -> dict[str, str]:
    """Database name → what the database itself says that its tenant is called.

    A hand-made workspace keeps its name; where the registry has no row, whatever workspace is there tells it.
    """
    found = {
        name: old_display_name([place for place in look.workspaces if name not in registered or failed_checks(place)])
        for name, look in looks.items()
    }
    return {name: called for name, called in found.items() if called}


def old_display_name(workspaces: Sequence[FoundWorkspace]) -> str | None:
    """What a tenant database says that its tenant is called; None when it does not say, or says two names."""
    names = {workspace.display_name for workspace in workspaces if workspace.display_name}
    return names.pop() if len(names) == 1 else None
