"""Bringing members in, putting them right, and taking them out."""
