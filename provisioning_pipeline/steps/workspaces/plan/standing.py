"""What can be done in a workspace that is there: how it stands itself, and how our own account stands in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final
from urllib.parse import urlsplit

from provisioning_pipeline.model.condition import Condition, ConditionType, Reason, is_false, is_true, is_unknown
from provisioning_pipeline.model.frames import STALE_ACTIVATION
from provisioning_pipeline.model.tenant import Address

UNFINISHED: Final = frozenset({"PENDING_CREATION", "ONGOING_CREATION"})
ACTIVE: Final = is_true(ConditionType.WORKSPACE_READY, Reason.WORKSPACE_ACTIVE, "The workspace is active.")
ACTIVATING_SECONDS: Final = 20.0
"""How long an activation that was begun may still be under way: 2.21.0 takes 3 to 6 s for one."""
_READY: Final = ConditionType.WORKSPACE_READY


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant's workspace stands.

    Args:
        closed: nothing can be done in it through Twenty.
        unfinished: it waits for its activation, which this run makes.
        unpaid: it is made, and its members get no further than the bill: no login can be proved.
        rejoins: our account was removed from it and is invited again, so that it comes back by signing in.
        again_seconds: after how long it can be gone on with, where that is known.
    """

    condition: Condition
    closed: bool = False
    unfinished: bool = False
    unpaid: bool = False
    rejoins: bool = False
    again_seconds: float | None = None


def standing_of(
    row: Mapping[str, Any] | None,
    access: Mapping[str, Any] | None,
    server: str,
    workspace_id: str,
    slug: str,
    account: str,
) -> Standing:
    """How this workspace stands.

    Args:
        row: of `WORKSPACES`, or None where the server knows no such workspace.
        access: our account's row of `SERVICE_ACCESS` there, or None where it is neither member nor invited.
    """
    if row is None or row["deleted"]:
        text = (
            f'Workspace {workspace_id} was deleted on Twenty server "{server}", and no call of Twenty\'s brings it '
            f"back. Nothing is made in its place by itself: `provisioning restart {slug}` lets the next run make a new "
            "one."
        )
        return Standing(_no(Reason.WORKSPACE_GONE, text), closed=True)
    status = row["activation_status"]
    if status == "ONGOING_CREATION" and (row["free_in"] or 0) > STALE_ACTIVATION.total_seconds() - ACTIVATING_SECONDS:
        begun = "Twenty is activating the workspace; this run waits for it and goes on."
        return Standing(is_false(_READY, Reason.WAITING, begun), unfinished=True)
    if status == "ONGOING_CREATION" and (row["free_in"] or 0) > 0:
        text = (
            f"Twenty has begun to activate workspace {workspace_id}. If it was stopped at that, it takes the call "
            f"again at {row['free_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC; the first run after that makes it."
        )
        under_way = is_unknown(_READY, Reason.ACTIVATION_BUSY, text)
        return Standing(under_way, closed=True, again_seconds=row["free_in"])
    if status in UNFINISHED:
        waits = "The workspace exists and waits for its activation; this run goes on with it."
        return Standing(_no(Reason.WAITING, waits), unfinished=True)
    if status not in ("ACTIVE", "CREATED"):
        text = f"Twenty says {status} of workspace {workspace_id}. Reactivate it in Twenty's admin panel."
        return Standing(_no(Reason.WORKSPACE_SUSPENDED, text), closed=True)
    if not row["has_metadata"]:
        text = (
            f"Workspace {workspace_id} says {status} but has no object metadata: it was not made by Twenty's own "
            "services and cannot be opened."
        )
        return Standing(_no(Reason.WORKSPACE_INCOMPLETE, text), closed=True)
    if access is None or not (access["member"] or access["invited"]):
        return Standing(removed(workspace_id, account), closed=True)
    if access["kept_out"]:
        return Standing(kept_out(Reason(access["kept_out"]), workspace_id, account), closed=True)
    if not access["member"]:
        text = f"{account} was removed from the workspace and is invited again; this run comes back by signing in."
        return Standing(_no(Reason.WAITING, text), rejoins=True)
    if not access["manages"]:
        return Standing(demoted(workspace_id, account, access["role"]), closed=True)
    return Standing(unpaid(workspace_id), unpaid=True) if status == "CREATED" else Standing(ACTIVE)


def _no(reason: Reason, text: str) -> Condition:
    return is_false(_READY, reason, text)


def unpaid(workspace_id: str) -> Condition:
    """The server asks for a subscription, and this workspace has none: people can join, and see the bill."""
    return _no(
        Reason.WORKSPACE_UNPAID,
        f"Workspace {workspace_id} is made and has no subscription (Twenty says CREATED), so that its members get no "
        "further than the bill. Twenty deletes it 7 days after its creation. Have the customer pay there.",
    )


def removed(workspace_id: str, account: str) -> Condition:
    """Our account is outside."""
    return _no(
        Reason.SERVICE_ACCOUNT_REMOVED,
        f"The service account {account} is no member of workspace {workspace_id} any more, so that nothing can be done "
        "there. Have an admin of the workspace invite it as Admin (Settings > Members); the next run comes back by "
        "signing in.",
    )


def demoted(workspace_id: str, account: str, role: str | None) -> Condition:
    """Our account is inside and may change nothing."""
    return _no(
        Reason.SERVICE_ACCOUNT_DEMOTED,
        f"The service account {account} is {f'only {role}' if role else 'without a role'} in workspace {workspace_id}, "
        "so that nothing can be done there. Have an admin of the workspace make it Admin again (Settings > Members); "
        "the next run goes on.",
    )


def kept_out(reason: Reason, workspace_id: str, account: str) -> Condition:
    """A setting of the workspace lets no program sign in."""
    setting = (
        "refuses logins by password. An admin of the workspace turns Email and password on in Twenty (Settings > "
        "Security), or lets admins bypass that it is off"
        if reason is Reason.PASSWORD_LOGIN_OFF
        else "enforces a second factor, which no program has. An admin of the workspace turns that off in Twenty "
        "(Settings > Security)"
    )
    return _no(
        reason,
        f"The service account {account} cannot sign in to workspace {workspace_id}, so that nothing can be done there: "
        f"it {setting}; the next run goes on.",
    )


def moved_to(link: Mapping[str, Any], row: Mapping[str, Any]) -> Address | None:
    """The workspace's address if it was renamed in Twenty since the ledger learnt it, else None.

    Twenty puts the subdomain before its own host, so where the old address begins with the old subdomain, only that
    changes; else Twenty has to be asked.
    """
    old, new = link["subdomain"], row["subdomain"]
    if old == new or not link["workspace_url"]:
        return None
    url = urlsplit(str(link["workspace_url"]))
    first, dot, rest = url.netloc.partition(".")
    if not dot or first != old:
        return Address(new, None)
    return Address(new, url._replace(netloc=f"{new}.{rest}").geturl())
