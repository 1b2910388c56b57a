"""How long a Twenty server is busy with one change: as measured on a real one, until its own runs have shown it.

What takes time at Twenty is work of its processors (a password hash, an activation), so whatever runs side by side
waits for each other: five workspaces of four people each took 41 to 48 s on 2.21.0 on two cores beside its database
and worker, by this program and by a bare script alike. So a change counts by what it adds, not by how long it took.
"""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from provisioning_pipeline.model.change import Change
from provisioning_pipeline.model.forecast import Timed


def paces(timed: Iterable[Timed], *, tenant_concurrency: int, twenty_concurrency: int) -> dict[str, dict[str, float]]:
    """Server → change → the seconds that one adds to a run there: the usual run, so that no crowded one counts alone.

    As many as could be under way at once shared the time that each of them took: one in each tenant that is worked on,
    or, of a change that is made `at_once`, as many as there are places among the calls to the server.
    """
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for each in timed:
        places = twenty_concurrency if Change.named(each.change).at_once else tenant_concurrency
        found[each.server, each.change].append(each.seconds / max(1, min(each.count, places)))
    by_server: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for (server, change), seconds in found.items():
        by_server[server][change] = median(seconds)
    return dict(by_server)
