"""A page for a person that a link did not lead into their workspace: what happened, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from provisioning_pipeline.model.session import Refusal
from provisioning_pipeline.report.page import page_environment


@dataclass(frozen=True, slots=True)
class Words:
    """What a page says: a headline, what happened, and what the reader does about it."""

    headline: str
    happened: str
    to_do: str


@dataclass(frozen=True, slots=True)
class RefusalPage:
    """A refusal, as it is shown.

    Args:
        detail: the sentence that a program gets; nothing in it comes from the request.
        retry_seconds: when another try may help; None: the refusal does not say so.
        application_url: where the reader signs in; None: it is not known.
        request_id: as in the server's log.
    """

    status: HTTPStatus
    code: str | None
    detail: str
    retry_seconds: int | None
    application_url: str | None
    request_id: str

    @property
    def words(self) -> Words:
        """What it says, by its code, or else by its status."""
        return _BY_CODE.get(self.code or "") or _BY_STATUS.get(self.status, _OTHERWISE)


def render(page: RefusalPage) -> str:
    """The page: without script, and with nothing from elsewhere."""
    return page_environment().get_template("refusal.html").render(page=page, words=page.words)


_SIGN_IN_AGAIN = "Open the application, sign in there, and choose the link to the CRM again."
_SIGN_OUT_FIRST = "Sign out of the application, sign in again, and choose the link to the CRM once more."
_ASK = "Tell the people who run the application, with the words under “For support”."
_ASK_YOUR_ADMIN = "Ask an administrator of your organization."

_UNUSABLE = Words(
    "Your sign-in cannot be used here", "We cannot use the sign-in that your browser sent.", _SIGN_OUT_FIRST
)
_EXPIRED = Words(
    "Your sign-in has run out",
    "Your browser sent a sign-in that is too old. That happens when no tab of the application was open for a minute.",
    "Open the application, which renews it, and choose the link to the CRM again.",
)
_NO_ACCOUNT = Words(
    "Your account is not ready",
    "Your organization has a CRM, but we could not set up your account in it.",
    f"Try again in a few minutes. If that does not help: {_ASK[0].lower()}{_ASK[1:]}",
)

_BY_CODE: Final[Mapping[str, Words]] = MappingProxyType(
    {
        Refusal.NO_SESSION: Words("You are not signed in", "Your browser sent no sign-in.", _SIGN_IN_AGAIN),
        Refusal.TOKENS_DISAGREE: Words(
            "You are signed in twice",
            "Your browser sent sign-ins of two people or organizations, so we cannot tell whose CRM you want.",
            _SIGN_OUT_FIRST,
        ),
        Refusal.INVALID_TOKEN: _UNUSABLE,
        Refusal.NOT_A_SESSION: _UNUSABLE,
        Refusal.WRONG_PARTY: _UNUSABLE,
        Refusal.TOKEN_EXPIRED: _EXPIRED,
        Refusal.TOKEN_NOT_YET_VALID: _EXPIRED,
        Refusal.SESSION_PENDING: Words(
            "Your sign-in is not finished",
            "A step of your sign-in is open, such as choosing an organization.",
            "Open the application, finish that step, and choose the link to the CRM again.",
        ),
        Refusal.NO_ORGANIZATION: Words(
            "No organization is chosen",
            "Each organization has a CRM of its own, and you have chosen none.",
            "Choose an organization in the application, and then the link to the CRM.",
        ),
        Refusal.NO_WORKSPACE: Words(
            "Your organization has no CRM", "We know of no CRM for the organization that you have chosen.", _ASK
        ),
        Refusal.WORKSPACE_NOT_READY: Words(
            "The CRM is not ready yet",
            "We are still setting up your organization's CRM.",
            f"Try again in a few minutes. If that does not help: {_ASK[0].lower()}{_ASK[1:]}",
        ),
        Refusal.ORGANIZATION_DISPUTED: Words(
            "It is not certain whose CRM this is", "Your organization is registered for two CRMs.", _ASK
        ),
        Refusal.TENANT_SUSPENDED: Words(
            "This CRM is suspended", "Your organization's CRM is suspended or closed.", _ASK_YOUR_ADMIN
        ),
        Refusal.NOT_A_MEMBER: Words(
            "You are not a member", "You are not, or no longer, a member of the organization.", _ASK_YOUR_ADMIN
        ),
        Refusal.MEMBER_NOT_LINKED: _NO_ACCOUNT,
        Refusal.LOGIN_DISABLED: Words(
            "The CRM does not let you in from here",
            "The CRM's own settings forbid a sign-in from the application.",
            "An administrator of the CRM turns on “Email and password” in Twenty (Settings > Security), or no longer "
            "enforces a second factor.",
        ),
        Refusal.WORKSPACE_CLAIM_WRONG: Words(
            "Your sign-in names another CRM",
            "Your sign-in and our records name different CRMs for your organization.",
            f"Wait for a minute and try again. If that does not help: {_ASK[0].lower()}{_ASK[1:]}",
        ),
        Refusal.OTHER_TENANT: Words(
            "This link is for another organization",
            "The link leads to the CRM of another organization than the one that you have chosen.",
            "Choose that organization in the application, and then the link to its CRM.",
        ),
        Refusal.FOREIGN_ORIGIN: _UNUSABLE,
        Refusal.IMPERSONATED: Words(
            "Support cannot open this CRM",
            "Another person opened this sign-in in the user's name, and that does not open the CRM.",
            "The user has to open the CRM.",
        ),
        Refusal.ACCOUNT_UNPROVEN: Words(
            "Your account has to be confirmed",
            "Another person may have made the account in the CRM that has your e-mail address.",
            _ASK,
        ),
        Refusal.NOT_A_NAVIGATION: Words(
            "Open the link itself",
            "This address opens the CRM only when you choose a link to it, not inside of another page.",
            "Choose the link to the CRM in the application.",
        ),
    }
)
_BY_STATUS: Final[Mapping[HTTPStatus, Words]] = MappingProxyType(
    {
        HTTPStatus.UNPROCESSABLE_ENTITY: Words("The link is not right", "A part of the link cannot be used.", _ASK),
        HTTPStatus.TOO_MANY_REQUESTS: Words(
            "Too many tries", "You have opened the CRM too often within a minute.", "Wait, and try again."
        ),
        HTTPStatus.SERVICE_UNAVAILABLE: Words(
            "The CRM cannot be opened right now", "Something that we need does not answer.", "Wait, and try again."
        ),
    }
)
_OTHERWISE: Final = Words("The CRM cannot be opened", "The request could not be answered.", _ASK)
