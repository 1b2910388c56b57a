"""Twenty's errors: the same messages and codes as recorded on 2.21.0, unless a line says "source only"."""

from typing import Any
from uuid import uuid4

Friendly = str | dict[str, str] | None


class TwentyError(Exception):
    """An error as a client sees it in `errors[]`: a message and its extensions."""

    def __init__(
        self, message: str, code: str, sub_code: str | None = None, friendly: Friendly = "An error occurred."
    ) -> None:
        super().__init__(message)
        self.message = message
        self.extensions: dict[str, Any] = {"code": code}
        if sub_code is not None:
            self.extensions["subCode"] = sub_code
        if friendly is not None:
            self.extensions["userFriendlyMessage"] = friendly

    def as_entry(self) -> dict[str, Any]:
        """The entry of `errors[]`."""
        return {"message": self.message, "extensions": self.extensions}


NOT_PERMITTED = "You do not have permission to perform this action."
NOT_SIGNED_IN = "You must be authenticated to perform this action."


def forbidden_resource() -> TwentyError:
    """A guard said no: there is no user, or no workspace, in the token."""
    return TwentyError("Forbidden resource", "FORBIDDEN")


def permission_denied() -> TwentyError:
    """The caller's role lacks the permission."""
    return TwentyError(
        "Entity performing the request does not have permission",
        "FORBIDDEN",
        "PERMISSION_DENIED",
        "User does not have permission.",
    )


def forbidden(message: str, friendly: Friendly = NOT_PERMITTED, sub_code: str = "FORBIDDEN_EXCEPTION") -> TwentyError:
    """Refused by a rule of the sign-up, the sign-in or the workspace."""
    return TwentyError(message, "FORBIDDEN", sub_code, friendly)


def bad_input(message: str, friendly: Friendly = None, sub_code: str = "INVALID_INPUT") -> TwentyError:
    """An argument that the server does not accept."""
    return TwentyError(message, "BAD_USER_INPUT", sub_code, message if friendly is None else friendly)


def conflict(message: str, sub_code: str, friendly: str) -> TwentyError:
    """The state of another workspace forbids it."""
    return TwentyError(message, "CONFLICT", sub_code, friendly)


def internal(message: str, friendly: Friendly = "An error occurred.") -> TwentyError:
    """What the real server throws as a plain error."""
    return TwentyError(message, "INTERNAL_SERVER_ERROR", None, friendly)


def unauthenticated(message: str, sub_code: str, friendly: Friendly) -> TwentyError:
    """Something that the caller named to prove who it is does not exist, or does not hold."""
    return TwentyError(message, "UNAUTHENTICATED", sub_code, friendly)


def workspace_not_found() -> TwentyError:
    """No workspace answers to this host."""
    return unauthenticated("Workspace not found", "WORKSPACE_NOT_FOUND", "Workspace not found.")


def tokens_workspace_not_found() -> TwentyError:
    """The token's workspace is gone: refused before the query is looked at."""
    friendly = {"id": "EhVOPs", "message": "Workspace not found."}
    return unauthenticated("Workspace not found", "WORKSPACE_NOT_FOUND", friendly)


def user_not_found() -> TwentyError:
    """No account has this e-mail (source only)."""
    return unauthenticated("User not found", "USER_NOT_FOUND", "User not found.")


def token_refused(message: str) -> TwentyError:
    """A bearer token that is not ours, is damaged, or has expired: refused before anything is read."""
    return unauthenticated(message, "UNAUTHENTICATED", {"id": "z+7x/s", "message": NOT_SIGNED_IN})


def no_such_membership() -> TwentyError:
    """A token whose account or membership is gone, in a place where no cache has it (recorded on 2.21.0)."""
    return unauthenticated(
        "User or user workspace not found",
        "USER_NOT_FOUND",
        {"id": "l9dlVi", "message": "User does not have access to this workspace"},
    )


def no_role() -> TwentyError:
    """A member without a role: nothing that asks for rights answers, `currentUser` neither (recorded on 2.21.0)."""
    return internal(
        "No role found for userWorkspace",
        "Your role in this workspace could not be found. Please contact your workspace administrator.",
    )


def role_not_found() -> TwentyError:
    """No such role in this workspace (source only)."""
    return TwentyError(
        "Role not found",
        "NOT_FOUND",
        "ROLE_NOT_FOUND",
        "The role you are looking for could not be found. It may have been deleted or you may not have access to it.",
    )


def role_label_taken(label: str) -> TwentyError:
    """A workspace has one role of each label (recorded on 2.21.0)."""
    taken = "A role with this label already exists"
    error = TwentyError(
        "Multiple validation errors occurred while creating role", "METADATA_VALIDATION_FAILED", None, f"{taken}."
    )
    failure = {
        "errors": [{"code": "ROLE_LABEL_ALREADY_EXISTS", "message": taken, "userFriendlyMessage": f"{taken}."}],
        "flatEntityMinimalInformation": {"label": label, "universalIdentifier": str(uuid4())},
        "metadataName": "role",
        "status": "fail",
        "type": "create",
    }
    error.extensions |= {
        "errors": {"role": [failure]},
        "message": "Validation failed for 1 role",
        "summary": {"role": 1, "totalErrors": 1},
    }
    return error


def rejected_argument(message: str, friendly: Friendly = "An error occurred.") -> TwentyError:
    """What the server's validation of arguments says (recorded on 2.21.0)."""
    return TwentyError(message, "BAD_USER_INPUT", None, friendly)


def not_found_by_id(message: str) -> TwentyError:
    """What the framework's own exception for a bad request becomes on GraphQL (recorded on 2.21.0)."""
    return TwentyError(message, "GRAPHQL_VALIDATION_FAILED")


def malformed_uuid(value: str, friendly: Friendly = "An error occurred.") -> TwentyError:
    """A string that reached PostgreSQL as an id (recorded on 2.21.0)."""
    return internal(f'invalid input syntax for type uuid: "{value}"', friendly)


def not_a_member_any_more() -> TwentyError:
    """A token whose owner was removed from the workspace."""
    return forbidden(
        "User is not a member of the workspace",
        {"id": "pMOjQa", "message": "User is not a member of the workspace."},
    )


def metadata_missing(workspace_id: object) -> TwentyError:
    """The workspace has no objects: not activated, or made by hand."""
    return internal(
        f'Object metadata for object "workspaceMember" is missing in workspace "{workspace_id}"'
        " with object metadata collection length: 0",
        "Data structure is invalid.",
    )
