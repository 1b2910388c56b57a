"""Runs of the program, and requests to its HTTP API, while everything else happens."""

import signal
import threading
import time
from collections.abc import Callable

import httpx2

from provisioning_pipeline_tests.campaign.drawing import Action
from provisioning_pipeline_tests.campaign.fleet import UNKNOWN_ID, Fleet
from provisioning_pipeline_tests.campaign.processes import Cut

MOST_BOUNDARIES = 120
"""A run at rest has some twenty boundaries, one that makes tenants hundreds."""
MOST_MOMENT_SECONDS = 1.5


def tenant_of(fleet: Fleet, action: Action) -> tuple[str, ...]:
    """The tenant of the action as an argument."""
    rows = fleet.registry("SELECT database_name FROM tenant_registry ORDER BY slug")
    found = fleet.pick([name for (name,) in rows], action.tenant)
    return (found,) if found else ()


def apply(fleet: Fleet, _: Action) -> str:
    return f"{fleet.run('apply', '--json').name} begins"


def apply_one(fleet: Fleet, action: Action) -> str:
    tenant = tenant_of(fleet, action)
    return f"{fleet.run('apply', '--json', *tenant).name} of {tenant} begins"


def apply_killed_at_boundary(fleet: Fleet, action: Action) -> str:
    # early boundaries are met by every run
    cut = Cut(int(MOST_BOUNDARIES * action.choice**2), "before" if action.person < 0.5 else "after")
    return f"{fleet.run('apply', '--json', cut=cut).name} begins, to die {cut.when} boundary {cut.boundary}"


def apply_killed(fleet: Fleet, action: Action) -> str:
    return _ended_by(fleet, action, signal.SIGKILL)


def apply_terminated(fleet: Fleet, action: Action) -> str:
    return _ended_by(fleet, action, signal.SIGTERM if action.person < 0.5 else signal.SIGINT)


def _ended_by(fleet: Fleet, action: Action, number: signal.Signals) -> str:
    seconds = MOST_MOMENT_SECONDS * action.choice
    run = fleet.run("apply", "--json")
    timer = threading.Timer(seconds, run.kill, [number])
    timer.daemon = True
    timer.start()
    return f"{run.name} begins, to get {number.name} after {seconds:.2f} s"


def two_applies(fleet: Fleet, _: Action) -> str:
    return " and ".join(fleet.run("apply", "--json").name for _ in range(2)) + " begin"


def plan(fleet: Fleet, _: Action) -> str:
    return f"{fleet.run('plan', '--json').name} begins"


def verify(fleet: Fleet, _: Action) -> str:
    return f"{fleet.run('verify', '--json').name} begins"


def put_tenant(fleet: Fleet, action: Action) -> str:
    tenant = tenant_of(fleet, action)
    if not tenant:
        return UNKNOWN_ID
    return f"PUT {tenant[0]}: {_sent(fleet, 'PUT', f'/v1/tenants/{tenant[0]}', fleet.api_key())}"


def sign_in(fleet: Fleet, action: Action) -> str:
    """A member asks for a sign-in, which puts that member right on the way."""
    state = fleet.sandbox.clerk.state
    memberships = state.memberships_in_order()
    found = fleet.pick(memberships, action.person)
    if found is None:
        return UNKNOWN_ID
    token = fleet.session_token(found.user_id, found.organization_id)
    return f"sign-in of {state.user(found.user_id).primary_email}: {_sent(fleet, 'POST', '/v1/session/twenty', token)}"


def kill_serve(fleet: Fleet, action: Action) -> str:
    """`serve` is killed while it may be signing somebody in."""
    state = fleet.sandbox.clerk.state
    found = fleet.pick(state.memberships_in_order(), action.person)
    if found is None:
        return UNKNOWN_ID
    token = fleet.session_token(found.user_id, found.organization_id)
    asking = threading.Thread(target=_sent, args=(fleet, "POST", "/v1/session/twenty", token), daemon=True)
    fleet.served()
    asking.start()
    time.sleep(action.choice * 0.3)
    if fleet.serving:
        fleet.serving.kill()
    asking.join(20)
    return f"serve is killed {action.choice * 0.3:.2f} s into a sign-in"


def _sent(fleet: Fleet, method: str, path: str, token: str) -> str:
    try:
        answer = httpx2.request(
            method, fleet.served() + path, headers={"Authorization": f"Bearer {token}"}, timeout=30, verify=False
        )
    except httpx2.HTTPError as error:
        return type(error).__name__
    if method == "PUT":
        # the answer to a sign-in holds a login token, as it should
        fleet.answers.append(answer.text)
    return str(answer.status_code)


ACTIONS: dict[str, Callable[[Fleet, Action], str]] = {
    "apply": apply,
    "apply one tenant": apply_one,
    "apply, killed at a boundary": apply_killed_at_boundary,
    "apply, killed at a moment": apply_killed,
    "apply, terminated": apply_terminated,
    "two applies at once": two_applies,
    "plan": plan,
    "verify": verify,
    "put tenant": put_tenant,
    "sign in": sign_in,
    "kill serve": kill_serve,
}
