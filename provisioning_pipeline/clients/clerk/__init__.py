"""Clerk's Backend API: organizations, memberships and users."""
