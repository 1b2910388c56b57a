"""No wizard: every pending onboarding step is cleared."""
