"""Runs a plan: the order inside a tenant, concurrency across tenants, locks, intents and outcomes. Decides nothing."""
