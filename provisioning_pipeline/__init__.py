"""A Dagster control plane that gives every tenant a ready Twenty CRM workspace behind Clerk sign-in."""

__version__ = "0.2.0"
