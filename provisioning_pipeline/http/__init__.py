"""The HTTP API, and what only it asks for."""
