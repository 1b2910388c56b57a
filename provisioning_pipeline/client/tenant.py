"""The nouns of the HTTP API's answers."""

from dataclasses import dataclass
from datetime import datetime

_SUMMARY = "Ready"
_TOLD_ONLY = frozenset({"TenantDatabase", "Lifecycle", "AccessLocked", "Offboarded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One answer about a tenant.

    `type` is the question, for example `WorkspaceReady`; `status` is `True`, `False` or `Unknown`, as text; `reason` is
    a word that docs/troubleshooting.md explains; `message` is a sentence with the tenant's own facts.
    """

    type: str
    status: str
    reason: str
    message: str
    since: datetime

    @property
    def met(self) -> bool:
        """Whether the answer is yes."""
        return self.status == "True"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant as the server knows it.

    `state` is `ready`, `unwell` (something is still to be done) or `aside` (suspended or gone: nothing is wanted of
    it). `lifecycle` is `new`, `active`, `suspended`, `offboarding`, `gone` or `in_doubt`, and `lifecycle_evidence` says
    why; None comes from a server that does not say it. `waiting`: a run is still to look at it, or is at it. `user_id`
    is the admin's Twenty user id, `run_id` the Dagster run that the call started or found at work.
    """

    slug: str
    database_name: str
    state: str
    conditions: tuple[Condition, ...]
    status_url: str
    waiting: bool = False
    lifecycle: str | None = None
    lifecycle_evidence: str = ""
    clerk_org_id: str | None = None
    server: str | None = None
    workspace_id: str | None = None
    workspace_url: str | None = None
    user_id: str | None = None
    onboarding_status: str | None = None
    run_id: str | None = None
    look_again_at: datetime | None = None

    @property
    def ready(self) -> bool:
        """Whether workspace, members, onboarding and a real login are all as they should be, and no run is to come."""
        return self.state == "ready" and not self.waiting

    @property
    def aside(self) -> bool:
        """Whether nothing is wanted of it, so that waiting changes nothing."""
        return self.state == "aside"

    @property
    def unmet(self) -> tuple[Condition, ...]:
        """The conditions that keep it from being ready, in the order in which they depend on each other."""
        return tuple(
            condition
            for condition in self.conditions
            if not condition.met and condition.type not in {_SUMMARY, *_TOLD_ONLY}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What became of a request for one of many tenants.

    `result` is `requested`, `excluded` (suspended or gone), `ambiguous` (several tenants have this slug) or `unknown`;
    `database_name` is None where no one tenant is meant.
    """

    tenant: str
    result: str
    database_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyAsked:
    """What became of a request for many tenants. `run_id` is None where the server's sensor launches what is needed."""

    requested: int
    items: tuple[Asked, ...]
    run_id: str | None = None

    @property
    def left_out(self) -> tuple[Asked, ...]:
        """Those that no run looks at."""
        return tuple(one for one in self.items if one.result != "requested")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a tenant's timeline.

    `who` did `what`, and `source` is where it was seen; `run_id` is the run that did or saw it, None for a webhook.
    """

    at: datetime
    who: str
    source: str
    what: str
    run_id: str | None = None
    failed: bool = False
