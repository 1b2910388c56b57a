"""Accounts without a workspace: who may sign up and in, and what tokens are worth."""

import base64
import json

from provisioning_pipeline_tests.sandbox.recording import steps
from provisioning_pipeline_tests.sandbox.recording.recorder import Recorder, Stage
from provisioning_pipeline_tests.sandbox.recording.steps import PASSWORD, SERVICE, SERVICE_PASSWORD


def signing_up(recorder: Recorder, stage: Stage) -> None:
    """The first account is the server's admin; what is refused, and how addresses are stored."""
    first = recorder.keep("the first", steps.SIGN_UP, email=SERVICE, password=SERVICE_PASSWORD)
    stage.tokens["service agnostic"] = steps.token_of(first)
    stage.tokens["refresh"] = first["data"]["signUp"]["tokens"]["refreshToken"]["token"]
    for label, email, password in (
        ("again", SERVICE, SERVICE_PASSWORD),
        ("again with another password", SERVICE, "Other-pass1"),
        ("password of 5 characters", "short@mail.example", "short"),
        ("password of 51 characters", "long@mail.example", "y" * 51),
        ("no password", "none@mail.example", ""),
        ("no address", "nobody", PASSWORD),
        ("two dots in the address", "dot..dot@mail.example", PASSWORD),
        ("a space before the address", " space@mail.example", PASSWORD),
        ("capitals", "Cap@Mail.Example", PASSWORD),
        ("capitals, in lower case", "cap@mail.example", PASSWORD),
    ):
        recorder.keep(label, steps.SIGN_UP, email=email, password=password)
    recorder.rows("stored", 'SELECT email, "isEmailVerified" FROM core."user" ORDER BY email')
    admins = '"canImpersonate", "canAccessFullAdminPanel"'
    recorder.rows("rights of the first", f'SELECT {admins} FROM core."user" WHERE email = %s', SERVICE)
    stage.tokens["plain agnostic"] = steps.sign_up(recorder, "plain@mail.example")


def signing_in(recorder: Recorder, stage: Stage) -> None:
    """Without a workspace to go to."""
    for label, email, password in (
        ("right", SERVICE, SERVICE_PASSWORD),
        ("wrong password", SERVICE, "wrong-pass1"),
        ("no password", SERVICE, ""),
        ("no such account", "nobody@mail.example", PASSWORD),
        ("other capitals", "CAP@MAIL.example", PASSWORD),
    ):
        recorder.keep(label, steps.SIGN_IN, email=email, password=password)
    exists = "query($email: String!) { checkUserExists(email: $email) { exists availableWorkspacesCount } }"
    recorder.keep("exists", exists, email=SERVICE)
    recorder.keep("does not exist", exists, email="nobody@mail.example")


def renewing(recorder: Recorder, stage: Stage) -> None:
    """What a refresh token gives, and what none is."""
    recorder.keep("right", steps.RENEW, token=stage.tokens["refresh"])
    recorder.keep("again within a minute", steps.RENEW, token=stage.tokens["refresh"])
    recorder.keep("an access token", steps.RENEW, token=stage.tokens["service agnostic"])
    recorder.keep("garbage", steps.RENEW, token="garbage")
    recorder.keep("nothing", steps.RENEW, token="")


def made_up(header: dict[str, str], claims: dict[str, str]) -> str:
    """A token in form, with a signature that means nothing."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), b"signature")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def wrong_tokens(recorder: Recorder, stage: Stage) -> None:
    """Bearer tokens that this server did not make."""
    good = stage.tokens["service agnostic"]
    head, claims, signature = good.split(".")
    kinds = {
        "none": None,
        "garbage": "garbage",
        "another signature": f"{head}.{claims}.{'A' * len(signature)}",
        "a signature cut short": f"{head}.{claims}.{'A' * 43}",
        "older, of nobody": made_up({"alg": "HS256", "typ": "JWT"}, {"sub": "x"}),
        "older, of a user": made_up(
            {"alg": "HS256", "typ": "JWT"}, {"userId": steps.UNKNOWN_ID, "type": "WORKSPACE_AGNOSTIC"}
        ),
        "of a key that is not there": made_up({"alg": "ES256", "typ": "JWT", "kid": steps.UNKNOWN_ID}, {"sub": "x"}),
    }
    for kind, token in kinds.items():
        recorder.keep(kind, steps.ME, token)
    basic = {"authorization": "Basic abc"}
    recorder.keep_http("not a bearer", "POST", "/metadata", json={"query": steps.ME}, headers=basic)
    bare = {"authorization": good}
    recorder.keep_http("without the word Bearer", "POST", "/metadata", json={"query": steps.ME}, headers=bare)
