"""The repair of tenants' own databases."""
