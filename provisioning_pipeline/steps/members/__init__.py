"""The members of Clerk as members of the workspace."""
