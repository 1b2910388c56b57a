"""The layers put together: one reconciliation, and the preflight. Used by the command line and by Dagster alike."""
