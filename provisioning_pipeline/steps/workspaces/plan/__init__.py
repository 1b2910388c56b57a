"""What a tenant's workspace needs. Pure."""
