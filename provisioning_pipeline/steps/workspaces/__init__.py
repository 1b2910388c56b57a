"""A workspace through Twenty's own services, activated, with its admin."""
