"""Twenty's GraphQL errors as ours. Twenty answers HTTP 200 with `errors[]`; texts as recorded on 2.21.0."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provisioning_pipeline.clients.http import plain_text
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind


@dataclass(frozen=True, slots=True)
class TwentyError:
    """The parts of `errors[0]` that tell what happened."""

    message: str
    code: str
    sub_code: str

    @staticmethod
    def of(error: Mapping[str, Any]) -> "TwentyError":
        """One entry of `errors[]`."""
        extensions = error.get("extensions")
        extensions = extensions if isinstance(extensions, dict) else {}
        return TwentyError(
            message=plain_text(str(error.get("message", ""))),
            code=plain_text(str(extensions.get("code", ""))),
            sub_code=plain_text(str(extensions.get("subCode", ""))),
        )


class TwentyFault(Fault):
    """A fault with Twenty's own error beside it, for callers that know one of them by heart."""

    def __init__(self, kind: FaultKind, reason: Reason, message: str, error: TwentyError) -> None:
        super().__init__(kind, reason, message)
        self.error = error


_NOT_ABOUT_THE_TOKEN = ("Workspace not found", "User not found in workspace")
_NO_MEMBER = (
    "User is not a member of the workspace",  # a login, a token, the exchange of a login token
    "User or user workspace not found",  # a token whose account is gone
    "User not found",  # a login; also: User not found in workspace or impersonation not enabled
    "User workspace not found",  # the exchange of a login token, a removal
    "User Workspace not found",  # the renewal of a token
    "Impersonator or target user workspace not found",  # the exchange of an impersonation
    "Invalid impersonation token, cannot find",  # a token from an impersonation
    "Invitation expired",  # a login: an invitation is looked for only where there is no membership
)
"""How messages begin by which Twenty says that there is no such member (recorded, or read in the source of 2.21)."""


def is_expired_token(error: TwentyError) -> bool:
    """Whether signing in again may help."""
    return error.code == "UNAUTHENTICATED" and not error.message.startswith(_NOT_ABOUT_THE_TOKEN)


def is_dead_token(error: TwentyError) -> bool:
    """Twenty no longer takes the token from anyone: it has run out, or was signed with another secret."""
    return error.code == "UNAUTHENTICATED" and error.sub_code == "UNAUTHENTICATED"


def is_no_member(error: TwentyError) -> bool:
    """Refused because that person is no member of that workspace, or has no account at all."""
    return error.message.startswith(_NO_MEMBER)


def is_gone(error: TwentyError) -> bool:
    """Refused because there is no such workspace any more, or no such member or account."""
    return error.message.startswith("Workspace not found") or is_no_member(error)


def is_without_record(error: TwentyError) -> bool:
    """The exchange of a login token is refused to a person who has a membership: the member record is missing."""
    return error.message == "User is not a member of the workspace"


def is_half_member(error: TwentyError) -> bool:
    """A removal is refused because the member record has no membership, no account or no role behind it."""
    return error.message.startswith(("User workspace not found", "UserEntity not found", "No role found"))


def is_duplicate(error: TwentyError) -> bool:
    """A member record cannot be made because another has its e-mail; soft-deleted ones count, too."""
    return error.message.startswith("A duplicate entry was detected")


def is_unknown_user(error: TwentyError) -> bool:
    """No account has this e-mail."""
    return "User not found" in error.message or error.sub_code == "USER_NOT_FOUND"


def is_used_login_token(error: TwentyError) -> bool:
    """The login token was exchanged before (proposed changes to versions after 2.38): another one is needed."""
    return error.message.startswith(("Login token has already been used", "Login token is missing its identifier"))


_EMAIL_STAYS = {
    "EMAIL_ALREADY_IN_USE": "another account there has that address",
    "EMAIL_UPDATE_RESTRICTED_TO_SINGLE_WORKSPACE": "the account belongs to several workspaces there, and Twenty "
    "changes the address of no such account",
    "PERMISSION_DENIED": "their role, or the workspace's setting of what members may edit in their profile, does not "
    "let them change it",
}


def why_email_stays(error: TwentyError) -> str:
    """Why Twenty did not give an account another e-mail, as a clause."""
    return _EMAIL_STAYS.get(error.sub_code, f"Twenty refused it: {error.message or error.code}".rstrip("."))


def is_password_login_off(error: TwentyError) -> bool:
    """The workspace lets no one log in or join by password; an impersonation comes in all the same."""
    return "password auth is not enabled for this workspace" in error.message.lower()


def is_second_factor(error: TwentyError) -> bool:
    """The workspace or the person asks for a second factor; an impersonation comes in without one."""
    return error.sub_code in (
        "TWO_FACTOR_AUTHENTICATION_PROVISION_REQUIRED",
        "TWO_FACTOR_AUTHENTICATION_VERIFICATION_REQUIRED",
    )


def is_of_deleted_workspace(error: TwentyError) -> bool:
    """A sign-in fails because a workspace of that person is marked as deleted although their membership is not."""
    return "null (reading 'workspaceDiscoverability')" in error.message


def is_not_permitted(error: TwentyError) -> bool:
    """The caller's role does not give that."""
    return error.sub_code == "PERMISSION_DENIED"


def is_record_unknown(error: TwentyError) -> bool:
    """No record has this id, a deleted one neither."""
    return error.sub_code == "RECORD_NOT_FOUND"


def is_no_object(error: TwentyError) -> bool:
    """The workspace has no such object, or it has no such field: a customer may switch an object off."""
    return error.message.startswith("Cannot query field") or error.sub_code == "INVALID_ARGS_DATA"


def is_wrong_password(error: TwentyError) -> bool:
    """The account exists with another password."""
    return error.message.startswith("Wrong password") or "Incorrect login method" in error.message


def classify(error: TwentyError, *, call: str, system: str) -> TwentyFault:
    """What Twenty's answer asks of us, with the sentence that an operator needs."""
    text = error.message

    def means(kind: FaultKind, reason: Reason, message: str) -> TwentyFault:
        return TwentyFault(kind, reason, message, error)

    if "already being created" in text:
        return means(
            FaultKind.BUSY,
            Reason.ACTIVATION_BUSY,
            f"{system} is still activating this workspace; the next run looks again.",
        )
    if "applicationId in cache" in text:
        # a server that was killed while it made the workspace left a half-filled entry, which 2.21.0 never reads anew
        return means(
            FaultKind.TENANT,
            Reason.ACTIVATION_FAILED,
            f"{system} cannot activate the workspace: {text}. It was stopped while it made it and remembers it half. "
            "Empty its cache there (`yarn command:prod cache:flush` in the server's container); the next run goes on.",
        )
    if "valid enterprise key" in text:
        return means(
            FaultKind.SERVER,
            Reason.SERVER_FULL,
            f"{system} refuses another workspace: {text}. Add an enterprise key there, or another Twenty server "
            "to the settings, then run again.",
        )
    if "restricted to admins" in text:
        return means(
            FaultKind.SERVER,
            Reason.CREATION_RESTRICTED,
            f"{system} lets only server admins create workspaces and the service account is none. Give it "
            'canAccessFullAdminPanel and canImpersonate (core."user"), or set '
            "IS_WORKSPACE_CREATION_LIMITED_TO_SERVER_ADMINS=false there.",
        )
    if error.sub_code == "SIGNUP_DISABLED" or "New workspace setup is disabled" in text:
        return means(
            FaultKind.SERVER,
            Reason.CREATION_RESTRICTED,
            f"{system} allows no further workspace, or no account that has none: {text}. Set "
            "IS_MULTIWORKSPACE_ENABLED=true there. From 2.38 on a server with workspaces signs up no one new either, "
            "unless they are invited: invite the service account into a workspace there first.",
        )
    if error.sub_code == "PERMISSION_DENIED":
        return means(
            FaultKind.TENANT,
            Reason.SERVICE_ACCOUNT_DEMOTED,
            f"{system} refused {call}: {text}. The service account is no Admin of the workspace any more: have an "
            "admin there make it Admin again (Settings > Members).",
        )
    if is_of_deleted_workspace(error):
        return means(
            FaultKind.TENANT,
            Reason.DELETED_WORKSPACE_IN_USE,
            f"{system} fails at {call}, because a workspace of that person was marked as deleted by SQL while their "
            "membership stands. `provisioning plan` says which; the next run ends such memberships where it may.",
        )
    if error.sub_code == "SUBDOMAIN_ALREADY_TAKEN":
        return means(FaultKind.TENANT, Reason.SUBDOMAIN_TAKEN, f"{system}: {text}.")
    if error.sub_code == "SUBDOMAIN_NOT_VALID":
        return means(FaultKind.TENANT, Reason.SUBDOMAIN_REFUSED, f"{system}: {text}.")
    if error.sub_code == "LIMIT_REACHED":
        return means(FaultKind.TRANSIENT, Reason.SERVER_ERROR, f"{system} limits the rate of {call}: {text}.")
    if is_wrong_password(error):
        return means(
            FaultKind.TENANT, Reason.FOREIGN_PASSWORD, f"{system} knows this e-mail with a password that is not ours."
        )
    if error.sub_code in ("CANNOT_DELETE_LAST_ADMIN_USER", "CANNOT_UNASSIGN_LAST_ADMIN"):
        return means(
            FaultKind.TENANT,
            Reason.LAST_ADMIN_KEPT,
            f"{system} keeps the last Admin of a workspace. Give another member the role first.",
        )
    if is_password_login_off(error):
        return means(
            FaultKind.TENANT,
            Reason.PASSWORD_LOGIN_OFF,
            f"{system}: the workspace lets no one log in or join by password ({call}: {text}). An admin of the "
            "workspace turns Email and password on in Twenty (Settings > Security), or lets admins bypass that for "
            "our service account; the next run goes on.",
        )
    if is_second_factor(error):
        return means(
            FaultKind.TENANT,
            Reason.SECOND_FACTOR_REQUIRED,
            f"{system}: a second factor is asked for, which no program has ({call}: {text}). An admin of the "
            "workspace turns off that it is enforced in Twenty (Settings > Security); the next run goes on.",
        )
    if "Public invite link is disabled" in text:
        return means(
            FaultKind.TENANT,
            Reason.INVITE_LINK_DISABLED,
            f"{system}: the workspace's public invite link is off, so no one can join without an e-mail. "
            "Turn it on in Twenty under Settings > Members, then run again.",
        )
    return means(
        FaultKind.TENANT,
        Reason.REFUSED_BY_TWENTY,
        f"{system} refused {call}: {(text or error.code).rstrip('.')}. Its server log may say more; the next run tries "
        "again.",
    )


def service_account_refused(system: str, email: str, fault: TwentyFault) -> Fault:
    """The refusal to sign our own account in: nothing at this server goes on without it. Any other fault stays."""
    if is_unknown_user(fault.error):
        return Fault(
            FaultKind.SERVER,
            Reason.SERVICE_ACCOUNT_MISSING,
            f"{system} has no account {email}. Sign it up there with the configured password (from 2.38 on a server "
            "with workspaces signs up only who is invited to one) and give it server-admin rights "
            '(canAccessFullAdminPanel and canImpersonate in core."user"). Only on a server without any user is it '
            "created by itself.",
        )
    if is_wrong_password(fault.error):
        return Fault(
            FaultKind.SERVER,
            Reason.CREDENTIALS_REFUSED,
            f"{system} refuses the password of the service account {email}. "
            "Correct PROVISIONING_TWENTY_SERVICE_PASSWORD (or its entry in PROVISIONING_TWENTY_SERVERS).",
        )
    if is_of_deleted_workspace(fault.error):
        return Fault(FaultKind.SERVER, fault.reason, fault.message)
    if is_no_member(fault.error):
        return TwentyFault(
            FaultKind.TENANT,
            Reason.SERVICE_ACCOUNT_REMOVED,
            f"{system}: the service account {email} is no member of the workspace any more. Have an admin there invite "
            "it as Admin (Settings > Members).",
            fault.error,
        )
    if is_password_login_off(fault.error) or is_second_factor(fault.error):
        return TwentyFault(
            fault.kind, fault.reason, f"The service account {email} cannot sign in. {fault.message}", fault.error
        )
    return fault


def leads_elsewhere(system: str, url: str, workspace_id: str, led_to: str) -> Fault:
    """The address of a workspace is another workspace's by now: customers may rename theirs at any time."""
    return Fault(
        FaultKind.TENANT,
        Reason.WRONG_WORKSPACE,
        f"{system}: {url} leads to workspace {led_to} by now, and not to {workspace_id}: they were renamed in Twenty. "
        "Nothing was done there; the next run reads the addresses anew.",
    )


def without_record(system: str, email: str, workspace_id: str, fault: TwentyFault) -> TwentyFault:
    """The half member who has a membership and no member record, seen at a login."""
    return TwentyFault(
        FaultKind.TENANT,
        Reason.HALF_MEMBER,
        f"{system}: {email} has a membership of workspace {workspace_id} but no member record in it, or one that is "
        "marked as deleted, so they cannot come in. The next run mends that.",
        fault.error,
    )


def without_membership(system: str, workspace_member_id: str, workspace_id: str, fault: TwentyFault) -> TwentyFault:
    """The half member who has a member record and no whole membership, seen at a removal."""
    return TwentyFault(
        FaultKind.TENANT,
        Reason.HALF_MEMBER,
        f"{system} cannot remove member {workspace_member_id} of workspace {workspace_id}, who has a "
        f"member record but no whole membership ({fault.error.message.rstrip('.')}). With a role and a "
        "membership (joining makes one) the person can be removed.",
        fault.error,
    )


def record_in_the_way(system: str, email: str, fault: TwentyFault) -> TwentyFault:
    """The member record of another account that has this e-mail, seen at a join."""
    return TwentyFault(
        FaultKind.TENANT,
        Reason.HALF_MEMBER,
        f"{system}: {email} cannot join, because the workspace keeps a member record with this e-mail that belongs to "
        "another or a deleted account; a record that is marked as deleted counts, too. Twenty has no call that removes "
        'it: delete it for good from "workspaceMember" in the workspace\'s schema; the next run adds them.',
        fault.error,
    )
