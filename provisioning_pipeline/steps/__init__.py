"""The steps of a run: one folder each, the only place where a step is known."""
