"""Where a tenant's life is tried: registry, ledger, tenant database and Clerk to throw away, on this machine.

The command line hands in one: only it may use the sandbox.
"""

from dataclasses import dataclass
from typing import Protocol

from provisioning_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Person:
    """A person in the organization of the tenant."""

    email: str
    first_name: str
    last_name: str
    admin: bool


class Bench(Protocol):
    """The systems around the server on trial. Each method returns once its effect is there."""

    def settings(self, *, members_gone: str) -> Settings:
        """Settings that lead to these systems and to the server on trial alone; everything else as by default."""

    def begin(self, slug: str, name: str, people: tuple[Person, ...]) -> None:
        """One new tenant with its organization, and an empty ledger: nothing is left of what was before."""

    def save(self) -> None:
        """Remember registry, ledger and organization as they are, in place of what was remembered before."""

    def restore(self) -> None:
        """Put back what was remembered."""

    def leave(self, email: str) -> None:
        """A person leaves the organization."""

    def workspace_at_clerk(self) -> str | None:
        """The workspace id in the organization's public metadata."""
