"""What can go wrong. The text of each error says what to do; none has the API key in it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioning_pipeline.client.tenant import Tenant

_ADVICE = {
    401: "Check api_key; `provisioning keys create NAME` makes a new one.",
    403: "Use a key with that scope, and for that tenant: `provisioning keys list` shows what each may do.",
    404: "Check the name; put_tenant registers a tenant.",
    409: "Asking again gives the same answer: change what conflicts.",
    422: "Correct what it names, then ask again.",
    429: "Ask less often, or later.",
    503: "Asking again later is safe.",
}
_ADVICE_SERVER = "The request is not at fault: the server's operator finds the error in its log by the request id."
_ADVICE_REDIRECT = "Redirects are not followed, so that the key goes nowhere else: give the right address as base_url."


class ProvisioningError(Exception):
    """A call did not give what was asked for. Every error of this client is one.

    Attributes:
        status: the HTTP status; None when there was no answer.
        title: the kind of trouble in a few words.
        detail: what happened, in sentences.
        request_id: by which the server's log names the call; None when the answer has none.
        retry_after_seconds: how long the server asked to wait; None when it did not say.
        code: why the server refused, as one word, such as `organization_taken`; None when it has none, or is older.
    """

    def __init__(self, status: int | None, title: str, detail: str, request_id: str | None = None) -> None:
        super().__init__(status, title, detail, request_id)
        self.status = status
        self.title = title
        self.detail = detail
        self.request_id = request_id
        self.retry_after_seconds: float | None = None
        self.code: str | None = None

    def __str__(self) -> str:
        kind = self.title if self.status is None else f"{self.title} (HTTP {self.status})"
        words = [f"{kind}: {self.detail}", self.advice]
        if self.retry_after_seconds:
            words.append(f"It asks to wait {self.retry_after_seconds:g} s.")
        if self.request_id:
            words.append(f"Request id: {self.request_id}")
        return " ".join(word for word in words if word)

    @property
    def advice(self) -> str:
        """What to do about an error of this status; empty when the detail says all."""
        if self.status is None:
            return ""
        if 300 <= self.status < 400:
            return _ADVICE_REDIRECT
        return _ADVICE.get(self.status, _ADVICE_SERVER if self.status >= 500 else "")


class Unreachable(ProvisioningError):
    """No answer came. The request may have taken effect all the same; asking again is safe."""


class NotAllowed(ProvisioningError):
    """The key is valid, but lacks the scope for the call, or is for other tenants; `code` says which."""


class UnexpectedAnswer(ProvisioningError):
    """The server agreed, but its answer lacks something mandatory or is something else altogether."""

    @property
    def advice(self) -> str:
        """The answer was a success, so its status gives no advice."""
        return "Check that base_url is the provisioning server's, that no proxy answers for it, and its version."


class NotReady(ProvisioningError):
    """A tenant did not become ready in time; the detail has the conditions that are not met."""

    tenant: "Tenant"
    """As it was when it was last read."""


def not_ready(tenant: "Tenant", timeout_seconds: float) -> NotReady:
    """The error that says what keeps this tenant from being ready."""
    unmet = tenant.unmet or tuple(condition for condition in tenant.conditions if not condition.met)
    reasons = [
        f"{condition.type} is {condition.status}, {condition.reason}: {condition.message}" for condition in unmet
    ]
    if tenant.aside:
        begin, end = f"{tenant.slug} is excluded, and waiting does not change that.", []
    else:
        begin = f"{tenant.slug} is still {tenant.state} after {timeout_seconds:g} s."
        end = [f"Run {tenant.run_id} is at it."] if tenant.run_id else []
        if tenant.look_again_at:
            end.append(f"The server looks again at {tenant.look_again_at.isoformat(timespec='seconds')}.")
        end.append("The server goes on by itself, so one may wait again.")
    end.append("docs/troubleshooting.md explains each reason.")
    error = NotReady(None, "Not ready", " ".join([begin, *reasons, *end]))
    error.tenant = tenant
    return error
