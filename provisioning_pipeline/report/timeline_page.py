"""One tenant and its timeline as one HTML page that needs nothing else: no network, no script."""

from dataclasses import dataclass
from datetime import UTC
from itertools import groupby
from typing import Any

from provisioning_pipeline.model.history import Event
from provisioning_pipeline.model.reasons import next_step
from provisioning_pipeline.report.page import WEB, page_environment
from provisioning_pipeline.report.summary import TenantLine

_VERDICTS = {"ready": "is ready", "unwell": "needs a look", "aside": "is excluded"}


@dataclass(frozen=True, slots=True)
class Timeline:
    """One tenant with everything that is known of it, and a part of its timeline.

    Args:
        members: how many accounts are linked as its members.
        events: newest first.
        begin: where `events` begins, as it was asked for; None: with the newest.
        next: from where on there is more; None: there is no more.
        reported: the runs that have a report.
    """

    tenant: TenantLine
    organization: str | None = None
    members: int = 0
    events: tuple[Event, ...] = ()
    begin: str | None = None
    next: str | None = None
    reported: frozenset[str] = frozenset()

    @property
    def verdict(self) -> str:
        """The tenant in a few words."""
        return f"{self.tenant.slug} {_VERDICTS[self.tenant.state]}"

    @property
    def next_step(self) -> str | None:
        """What a person does about it, if anything."""
        return next_step(self.tenant.reason) if self.tenant.state == "unwell" else None

    @property
    def days(self) -> list[tuple[str, list[Event]]]:
        """The events by day (UTC), newest first."""
        return [(day, list(found)) for day, found in groupby(self.events, lambda event: f"{event.at:%Y-%m-%d}")]


def render(timeline: Timeline, *, limit: int | None = None) -> str:
    """The page. Everything that comes from outside is escaped.

    It links to runs' reports, and to its own older events, relative to `/tenants/SLUG`; these with `limit`, the number
    of events that the caller asked for, if any.
    """
    url = timeline.tenant.workspace_url
    return (
        page_environment()
        .get_template("timeline.html")
        .render(
            timeline=timeline,
            tenant=timeline.tenant,
            limit=limit,
            # only one that a browser may be sent to
            address=url if url and url.startswith(WEB) else None,
            utc=lambda at: f"{at.astimezone(UTC):%Y-%m-%d %H:%M}",
        )
    )


def event_json(event: Event) -> dict[str, Any]:
    """One event for a machine."""
    return {
        "at": event.at.isoformat(),
        "who": event.who,
        "source": event.source,
        "what": event.what,
        "run_id": event.run_id,
        "failed": event.failed,
    }
