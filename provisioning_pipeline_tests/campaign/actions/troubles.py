"""Servers that answer badly, hang or go away, and sessions that PostgreSQL ends."""

import threading
import time
from collections.abc import Callable

from provisioning_pipeline_tests.campaign import proxy
from provisioning_pipeline_tests.campaign.drawing import Action
from provisioning_pipeline_tests.campaign.fleet import Fleet
from provisioning_pipeline_tests.campaign.proxy import Trouble

OPERATIONS = (
    "",
    "signUpInNewWorkspace",
    "activateWorkspace",
    "signUpInWorkspace",
    "updateWorkspaceMemberRole",
    "updateWorkspaceMemberSettings",
    "getLoginTokenFromCredentials",
    "getAuthTokensFromLoginToken",
    "deleteUserFromWorkspace",
    "currentUser",
    "currentWorkspace",
    "sendInvitations",
)
"""Calls of Twenty's that are disturbed; the first is any."""
LISTS = ("", "GET /v1/organizations", "memberships", "GET /v1/users", "PATCH")
"""Calls of Clerk's; the first is any."""
_OUR_SESSIONS = "application_name = 'provisioning_pipeline'"
_SLOW = frozenset({"hang", "hang after", "limited", "limited until a date"})


def at_twenty(fleet: Fleet, action: Action) -> str:
    kinds = (*proxy.TROUBLES_BEFORE, *proxy.TROUBLES_AFTER, "lost", "lost", "error 502 after")
    trouble = _drawn(action, kinds, OPERATIONS)
    fleet.twenty.troubles.append(trouble)
    return f"at Twenty: {trouble}"


def at_clerk(fleet: Fleet, action: Action) -> str:
    kinds = (*proxy.TROUBLES_BEFORE, *proxy.TROUBLES_AFTER, *proxy.TROUBLES_OF_LISTS, *proxy.TROUBLES_OF_LISTS)
    trouble = _drawn(action, kinds, LISTS)
    fleet.clerk.troubles.append(trouble)
    return f"at Clerk: {trouble}"


def _drawn(action: Action, kinds: tuple[str, ...], names: tuple[str, ...]) -> Trouble:
    kind = kinds[int(action.choice * len(kinds))]
    name = names[int(action.person * len(names))]
    # many answers in a row wear out the retries, one does not
    times = 1 if kind in _SLOW else (1, 1, 2, 6)[int(action.tenant * 4)]
    return Trouble(
        kind, name, skip=int(action.tenant * 1000) % 12 if not name else int(action.tenant * 1000) % 3, times=times
    )


def twenty_hangs(fleet: Fleet, action: Action) -> str:
    if fleet.real:
        return "not with a real server"
    faults = fleet.sandbox.twenty[0].faults
    faults.hanging = True
    seconds = 0.3 + action.choice

    def answer_again() -> None:
        faults.hanging = False

    timer = threading.Timer(seconds, answer_again)
    timer.daemon = True
    timer.start()
    return f"Twenty hangs for {seconds:.2f} s"


def twenty_restarts(fleet: Fleet, _: Action) -> str:
    if fleet.real:
        return "not with a real server"
    fleet.sandbox.twenty[0].faults.hanging = False
    fleet.sandbox.twenty[0].restart()
    return "Twenty restarts"


def postgres_restarts(fleet: Fleet, action: Action) -> str:
    fleet.sandbox.postgres.stop()
    time.sleep(action.choice * 0.3)
    fleet.sandbox.postgres.start()
    return "Postgres is killed and starts again"


def sessions_terminated(fleet: Fleet, action: Action) -> str:
    share = "" if action.choice < 0.5 else " AND pid %% 2 = 0"
    found = fleet.cluster(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OUR_SESSIONS}{share} AND %s", True
    )
    return f"{len(found)} sessions of ours are terminated"


def lock_sessions_terminated(fleet: Fleet, _: Action) -> str:
    found = fleet.cluster(
        "SELECT pg_terminate_backend(pid) FROM pg_locks"
        " WHERE locktype = 'advisory' AND classid BETWEEN 730155 AND 730158"
    )
    return f"{len(found)} sessions that hold or wait for locks of ours are terminated"


ACTIONS: dict[str, Callable[[Fleet, Action], str]] = {
    "trouble at Twenty": at_twenty,
    "trouble at Clerk": at_clerk,
    "Twenty hangs": twenty_hangs,
    "Twenty restarts": twenty_restarts,
    "Postgres restarts": postgres_restarts,
    "sessions terminated": sessions_terminated,
    "lock sessions terminated": lock_sessions_terminated,
}
