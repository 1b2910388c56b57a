"""What the members of a workspace need. Pure."""
