"""A stand-in Clerk: Backend API, JWKS and session tokens of a made-up instance."""

from provisioning_pipeline.sandbox.clerk.options import ClerkOptions
from provisioning_pipeline.sandbox.clerk.records import EmailAddress, Membership, Organization, User
from provisioning_pipeline.sandbox.clerk.stand_in import StandInClerk
from provisioning_pipeline.sandbox.clerk.tokens import REMOVED

__all__ = ["REMOVED", "ClerkOptions", "EmailAddress", "Membership", "Organization", "StandInClerk", "User"]
