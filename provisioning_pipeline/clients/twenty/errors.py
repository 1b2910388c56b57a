"""Twenty's GraphQL errors as ours. Twenty answers HTTP 200 with `errors[]`; texts as recorded on 2.21.0."""

from dataclasses import dataclass
from typing import Any

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind


@dataclass(frozen=True, slots=True)
class TwentyError:
    """The parts of `errors[0]` that tell what happened."""

    message: str
    code: str
    sub_code: str

    @staticmethod
    def read(answer: dict[str, Any]) -> "TwentyError | None":
        """The first error of an answer, if it has one."""
        errors = answer.get("errors")
        if not errors:
            return None
        extensions = errors[0].get("extensions") or {}
        return TwentyError(
            message=str(errors[0].get("message", "")),
            code=str(extensions.get("code", "")),
            sub_code=str(extensions.get("subCode", "")),
        )


class TwentyFault(Fault):
    """A fault with Twenty's own error beside it, for callers that know one of them by heart."""

    def __init__(self, kind: FaultKind, reason: Reason, message: str, error: TwentyError) -> None:
        super().__init__(kind, reason, message)
        self.error = error


def is_expired_token(error: TwentyError) -> bool:
    """Whether signing in again may help."""
    return error.code == "UNAUTHENTICATED" and "Workspace not found" not in error.message


def is_unknown_user(error: TwentyError) -> bool:
    """No account has this e-mail."""
    return "User not found" in error.message or error.sub_code == "USER_NOT_FOUND"


def is_wrong_password(error: TwentyError) -> bool:
    """The account exists with another password."""
    return error.message.startswith("Wrong password") or "Incorrect login method" in error.message


def classify(error: TwentyError, *, call: str, system: str) -> TwentyFault:
    """What Twenty's answer asks of us, with the sentence that an operator needs."""
    text = error.message
    if "already being created" in text:
        return TwentyFault(
            FaultKind.BUSY,
            Reason.ACTIVATION_BUSY,
            f"{system} is still activating this workspace; the next run looks again.",
            error,
        )
    if "valid enterprise key" in text:
        return TwentyFault(
            FaultKind.SERVER,
            Reason.SERVER_FULL,
            f"{system} refuses another workspace: {text}. Add an enterprise key there, or another Twenty server "
            "to the settings, then run again.",
            error,
        )
    if "restricted to admins" in text:
        return TwentyFault(
            FaultKind.SERVER,
            Reason.CREATION_RESTRICTED,
            f"{system} lets only server admins create workspaces and the service account is none. Give it "
            'canAccessFullAdminPanel and canImpersonate (core."user"), or set '
            "IS_WORKSPACE_CREATION_LIMITED_TO_SERVER_ADMINS=false there.",
            error,
        )
    if error.sub_code == "SIGNUP_DISABLED" or "New workspace setup is disabled" in text:
        return TwentyFault(
            FaultKind.SERVER,
            Reason.CREATION_RESTRICTED,
            f"{system} allows no further workspace: {text}. Set IS_MULTIWORKSPACE_ENABLED=true there.",
            error,
        )
    if error.sub_code == "SUBDOMAIN_ALREADY_TAKEN":
        return TwentyFault(FaultKind.TENANT, Reason.SUBDOMAIN_TAKEN, f"{system}: {text}.", error)
    if error.sub_code == "SUBDOMAIN_NOT_VALID":
        return TwentyFault(FaultKind.TENANT, Reason.SUBDOMAIN_REFUSED, f"{system}: {text}.", error)
    if error.sub_code == "LIMIT_REACHED":
        return TwentyFault(
            FaultKind.TRANSIENT, Reason.SERVER_ERROR, f"{system} limits the rate of {call}: {text}.", error
        )
    if is_wrong_password(error):
        return TwentyFault(
            FaultKind.TENANT,
            Reason.FOREIGN_PASSWORD,
            f"{system} knows this e-mail with a password that is not ours.",
            error,
        )
    if "Public invite link is disabled" in text:
        return TwentyFault(
            FaultKind.TENANT,
            Reason.INVITE_LINK_DISABLED,
            f"{system}: the workspace's public invite link is off, so nobody can join without an e-mail. "
            "Turn it on in Twenty under Settings > Members, then run again.",
            error,
        )
    return TwentyFault(
        FaultKind.TENANT, Reason.REFUSED_BY_TWENTY, f"{system} refused {call}: {text or error.code}.", error
    )
