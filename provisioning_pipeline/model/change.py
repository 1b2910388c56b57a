"""One kind of change of the world, with all that is known of it: the table of changes is made of these.

A step declares its own in `steps/<step>/changes.py`. Those that no step makes are declared here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, Self

from provisioning_pipeline.model.condition import Declared
from provisioning_pipeline.model.history import Actor, Before, DriftCause, Source

if TYPE_CHECKING:
    from provisioning_pipeline.model.tenant import TenantPlan

Sign = Literal["+", "~", "-"]
"""In a plan's lines: what is added, changed, taken away."""


class Where(StrEnum):
    """What a planned change needs in order to be made."""

    SERVER = "a Twenty server that is ready"
    OWN_DATABASE = "the tenant's own database"
    REGISTRY = "the registry's database"


@dataclass(frozen=True, slots=True)
class Cause:
    """Who made a change necessary, as a plan tells it.

    `detail` is a sentence; `{changes}` in it stands for all changes of the tenant that have this very cause.
    """

    cause: DriftCause
    source: Source
    who: Actor
    detail: str = "{changes}."


class Change(Declared):
    """A kind of change, as plans announce it and as the ledger keeps it.

    Args:
        name: kept in the ledger for ever, so it never changes.
        sign: of its lines in a plan.
        lines: what a plan says of it for the whole tenant; its name by default, nothing where it is about a person.
        of_person: what a plan says of it for one person: a template over `person`, `role`, `name`, `email` (the new
            one), `why` (which may be empty) and `because` (the same in brackets). Empty: it is never about one person.
        covers: the plan says nothing of a person's other changes besides this one.
        seconds: that one adds to the work of a Twenty server, until that server's own runs have shown it; measured on
            2.21.0 on two cores that it shares with its database and worker.
        calls: HTTP calls to Twenty that one takes when nothing goes wrong.
        at_once: several in one tenant may be under way at once; so it always is with changes of persons.
        by_our_account: our account signs in to the workspace for it, once for all of them.
        takes_room: the server has one workspace more by it.
        proves_everybody: afterwards the logins of all members of ours are proved, not only the admin's.
        ends_access: no login is proved after it, because no member comes in.
        harmful: takes something away from a person; a run has a budget for these.
        read_only: is recorded without having changed anything.
        sends_email: Twenty sends one.
        drift: who made it necessary; a function where that depends on the plan and on what held before, None where it
            says nothing of that.
        where: what it needs.
    """

    sign: Sign
    _lines: "Callable[[TenantPlan], Iterable[str]] | None"
    of_person: str
    covers: bool
    seconds: float
    calls: int
    at_once: bool
    by_our_account: bool
    takes_room: bool
    proves_everybody: bool
    ends_access: bool
    harmful: bool
    read_only: bool
    sends_email: bool
    drift: "Cause | Callable[[TenantPlan, Before], Cause | None] | None"
    where: Where
    order: int
    """How many were declared before: of one person's changes the first declared tells why, and is told first."""

    def __new__(
        cls,
        name: str,
        *,
        sign: Sign = "~",
        lines: "Callable[[TenantPlan], Iterable[str]] | None" = None,
        of_person: str = "",
        covers: bool = False,
        seconds: float = 0.0,
        calls: int = 0,
        at_once: bool = False,
        by_our_account: bool = False,
        takes_room: bool = False,
        proves_everybody: bool = False,
        ends_access: bool = False,
        harmful: bool = False,
        read_only: bool = False,
        sends_email: bool = False,
        drift: "Cause | Callable[[TenantPlan, Before], Cause | None] | None" = None,
        where: Where = Where.SERVER,
        declared: bool = True,
    ) -> Self:
        self = super().__new__(cls, name)
        self.sign, self._lines, self.of_person, self.covers = sign, lines, of_person, covers
        self.seconds, self.calls, self.at_once = seconds, calls, at_once or bool(of_person)
        self.by_our_account, self.takes_room, self.proves_everybody = by_our_account, takes_room, proves_everybody
        self.ends_access = ends_access
        self.harmful, self.read_only, self.sends_email = harmful, read_only, sends_email
        self.drift, self.where, self.order = drift, where, len(cls._declared)
        if declared:
            self._declare()
        return self

    @classmethod
    def _undeclared(cls, name: str) -> Self:
        return cls(name, declared=False)

    def lines(self, plan: "TenantPlan") -> Iterable[str]:
        """What this plan says of it for the whole tenant."""
        if self._lines is not None:
            return self._lines(plan)
        return () if self.of_person else (str(self),)


# --- what no step makes ---------------------------------------------------------------------------------------------


def _renamed(plan: "TenantPlan") -> str:
    return plan.address.subdomain if plan.address else "another address"


def _organizations(plan: "TenantPlan") -> str:
    return f"{plan.tenant.clerk_org_id}, and no longer {plan.organization_before}"


ADOPT_DATABASE: Final = Change(
    "adopt database",
    sign="+",
    where=Where.REGISTRY,
    drift=lambda plan, _: Cause(
        DriftCause.TENANT_MANAGER,
        Source.REGISTRY,
        Actor.TENANT_MANAGER,
        f"Database {plan.tenant.database_name} has no registry row any more.",
    ),
)
FOLLOW_ADDRESS: Final = Change(
    "follow address",
    where=Where.REGISTRY,
    lines=lambda plan: (f"follow address: the workspace was renamed to {_renamed(plan)} in Twenty",),
    drift=lambda plan, _: Cause(
        DriftCause.TWENTY, Source.WORKSPACE, Actor.TWENTY, f"The workspace was renamed to {_renamed(plan)}."
    ),
)
FOLLOW_DATABASE: Final = Change(
    "follow database",
    where=Where.REGISTRY,
    lines=lambda plan: (f"follow database: its registry row names it now, and no longer {plan.moved_from}",),
    drift=lambda plan, _: Cause(
        DriftCause.TENANT_MANAGER,
        Source.REGISTRY,
        Actor.TENANT_MANAGER,
        f"Its registry row names {plan.tenant.database_name} now, and no longer {plan.moved_from}.",
    ),
)
FOLLOW_ORGANIZATION: Final = Change(
    "follow organization",
    where=Where.REGISTRY,
    lines=lambda plan: (f"follow organization: {_organizations(plan)}",),
    drift=lambda plan, _: Cause(
        DriftCause.TENANT_MANAGER,
        Source.REGISTRY,
        Actor.TENANT_MANAGER,
        f"It has another Clerk organization: {_organizations(plan)}.",
    ),
)
RESTART_TENANT: Final = Change("start anew", where=Where.REGISTRY)
RETIRE_MEMBERSHIPS: Final = Change("retire memberships")
