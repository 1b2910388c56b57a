"""How long a Twenty server is busy with one change: as measured on a real one, until its own runs have shown it.

What takes time at Twenty is work of its processors (a password hash, an activation), so whatever runs side by side
waits for each other: five workspaces of four people each took 41 to 48 s on 2.21.0 on two cores beside its database
and worker, by this program and by a bare script alike. So a change counts by what it adds, not by how long it took.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

from provisioning_pipeline.model.forecast import Timed
from provisioning_pipeline.model.tenant import Change

DEFAULT_SECONDS: Final[Mapping[Change, float]] = {
    Change.CREATE_WORKSPACE: 0.2,
    Change.ACTIVATE_WORKSPACE: 4.5,
    Change.ADD_ADMIN: 0.5,
    Change.ADD_MEMBER: 0.4,
    Change.MEND_MEMBER: 0.4,
    Change.SET_NAME: 0.08,
    Change.SET_ROLE: 0.08,
    Change.DEMOTE_MEMBER: 0.08,
    Change.REMOVE_MEMBER: 1.0,
    Change.DROP_LINK: 0.3,
    Change.STORE_AT_CLERK: 0.05,
    Change.CLEAR_ONBOARDING: 0.06,
    Change.PROVE_LOGIN: 0.1,
}
"""Of Twenty 2.21.0 on two cores that it shares with its database and worker; an idle machine takes half of it."""

_OF_TENANT: Final = frozenset({Change.CREATE_WORKSPACE, Change.ACTIVATE_WORKSPACE, Change.ADD_ADMIN})
"""One at a time in each tenant that is worked on; all others wait for a place among the calls to the server."""


def paces(timed: Iterable[Timed], *, tenant_concurrency: int, twenty_concurrency: int) -> dict[str, dict[str, float]]:
    """Server → change → the seconds that one adds to a run there: the usual run, so that no crowded one counts alone.

    As many as could be under way at once shared the time that each of them took.
    """
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for each in timed:
        places = tenant_concurrency if each.change in _OF_TENANT else twenty_concurrency
        found[each.server, each.change].append(each.seconds / max(1, min(each.count, places)))
    by_server: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (server, change), seconds in found.items():
        by_server[server][change] = median(seconds)
    return dict(by_server)
