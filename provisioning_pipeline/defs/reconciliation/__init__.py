"""What a reconciliation leaves to look at: assets and their checks."""
