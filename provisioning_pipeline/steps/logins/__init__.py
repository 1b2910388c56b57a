"""Proof by real logins."""
