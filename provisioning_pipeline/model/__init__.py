"""The nouns of this project: tenants, workspaces, members, onboarding flags, conditions, plans. No I/O."""
