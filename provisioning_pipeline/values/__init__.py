"""What settings may hold, each kind with its check, and those of the middleware; without pydantic."""
