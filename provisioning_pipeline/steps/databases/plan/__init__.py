"""What a tenant's own database needs. Pure."""
