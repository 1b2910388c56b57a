"""Clerk's error answers."""

from typing import Any


class ClerkRefusalError(Exception):
    """A call that Clerk refuses, with the status and the error object that it answers."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        long_message: str | None = None,
        *,
        meta: dict[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {
            "message": message,
            "long_message": long_message or message,
            "code": code,
        }
        if meta:
            self.error["meta"] = meta
        self.retry_after = retry_after


def not_found(what: str, identifier: str) -> ClerkRefusalError:
    """404 for an object that is not there."""
    reason = f"No {what} was found with id {identifier}"
    return ClerkRefusalError(404, "resource_not_found", "not found", reason)


def invalid_parameter(name: str, reason: str) -> ClerkRefusalError:
    """422 for a parameter that Clerk does not accept."""
    return ClerkRefusalError(422, "form_param_value_invalid", "is invalid", reason, meta={"param_name": name})


def missing_parameter(name: str) -> ClerkRefusalError:
    """422 for a body without a required field."""
    return ClerkRefusalError(
        422, "form_param_missing", "is missing", f"{name} must be included.", meta={"param_name": name}
    )


def identifier_taken(name: str) -> ClerkRefusalError:
    """422 for a value that must be unique in the instance and is not."""
    return ClerkRefusalError(
        422,
        "form_identifier_exists",
        f"That {name.replace('_', ' ')} is taken. Please try another.",
        meta={"param_name": name},
    )


def too_many_requests(retry_after: int) -> ClerkRefusalError:
    """429 with the seconds to wait."""
    return ClerkRefusalError(
        429, "too_many_requests", "Too many requests. Please try again in a bit.", retry_after=retry_after
    )
