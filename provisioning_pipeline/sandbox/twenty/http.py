"""What of Twenty's HTTP is not GraphQL: bodies that cannot be read, paths that are not there, the public settings."""

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from provisioning_pipeline.sandbox.twenty.options import TwentyOptions


class Json(JSONResponse):
    """JSON as Express sends it."""

    media_type = "application/json; charset=utf-8"


class UnreadableError(Exception):
    """A request from which no query can be read; the answer says so."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


def _refused(message: str, status: int) -> UnreadableError:
    return UnreadableError(Json({"errors": [{"message": message}]}, status))


async def read_body(request: Request) -> dict[str, Any]:
    """Query, variables and name of the operation, from JSON, a form or the URL. Recorded on 2.21.0.

    A body without a query is refused at once; the real one leaves it without an answer for more than a minute.
    """
    if request.method == "GET":
        if "query" not in request.query_params:
            raise _refused("Must provide query string.", 200)
        return dict(request.query_params)
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        body: Any = dict(parse_qsl((await request.body()).decode()))
    else:
        body = await _json(request)
    if isinstance(body, list):
        raise _refused("Batching is not supported.", 400)
    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        raise _refused("Must provide query string.", 400)
    return body


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except json.JSONDecodeError as error:
        place = f"position {error.pos} (line {error.lineno} column {error.colno})"
        message = f"Expected property name or '}}' in JSON at {place}"
        answer = {"message": message, "error": "Bad Request", "statusCode": 400}
        raise UnreadableError(Json(answer, 400)) from None


async def not_found(request: Request, _error: Exception) -> Response:
    """A path that the server does not have."""
    message = f"Cannot {request.method} {request.url.path}"
    return Json({"message": message, "error": "Not Found", "statusCode": 404}, 404)


async def health(_: Request) -> Response:
    """Only that the process lives: it answers with Redis away, too (recorded on 2.21.0)."""
    return Json({"status": "ok", "info": {}, "error": {}, "details": {}})


def client_config(options: TwentyOptions) -> Response:
    """Twenty's public settings (names recorded on 2.21.0; what 2.38 has besides is from its schema).

    The version is that of the image; a server built without one tells none (source only).
    """
    config: dict[str, Any] = {
        "appVersion": options.traits.told,
        "billing": {"isBillingEnabled": options.billing, "trialPeriods": []},
        "aiModels": [],
        "authProviders": {"google": False, "magicLink": False, "password": True, "microsoft": False, "sso": []},
        "signInPrefilled": False,
        "isMultiWorkspaceEnabled": True,
        "isEmailVerificationRequired": options.email_verification_required,
        "defaultSubdomain": "app",
        "frontDomain": options.public_host,
        "publicFunctionDomain": None,
        "support": {"supportDriver": "NONE"},
        "sentry": {"release": options.traits.told},
        "captcha": {},
        "api": {"mutationMaximumAffectedRecords": 100},
        "onboarding": {},
        "isAttachmentPreviewEnabled": True,
        "analyticsEnabled": False,
        "canManageFeatureFlags": False,
        "publicFeatureFlags": [],
        "isMicrosoftMessagingEnabled": False,
        "isMicrosoftCalendarEnabled": False,
        "isGoogleMessagingEnabled": False,
        "isGoogleCalendarEnabled": False,
        "isConfigVariablesInDbEnabled": True,
        "isImapSmtpCaldavEnabled": True,
        "isEmailingDomainInDemoMode": True,
        "allowRequestsToTwentyIcons": False,
        "isCloudflareIntegrationEnabled": False,
        "isClickHouseConfigured": False,
        "isWorkspaceSchemaDDLLocked": False,
        "enterpriseInstanceType": "production",
    }
    if options.traits.sessions:
        config |= {
            "isCookieSessionEnabled": True,
            "calendarBookingPageId": None,
            "isBookCallOnboardingStepEnabled": options.billing,
            "isOnboardingAiChatEnabled": False,
        }
    return Json(config)
