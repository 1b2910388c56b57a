"""Access at Twenty ends while a tenant is suspended or archived, and comes back as it was."""
