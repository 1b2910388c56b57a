"""A fifth step, as docs/adding-a-step.md shows it: every workspace has the same apps."""
