"""The client distribution: what is in it, and that it works by itself."""
