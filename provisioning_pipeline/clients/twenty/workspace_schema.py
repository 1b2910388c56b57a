"""The schema of a workspace in a Twenty server's database."""

from uuid import UUID


def schema_name(workspace_id: str) -> str:
    """The schema that Twenty makes for a workspace: its id as a number, in base 36."""
    digits, number, name = "0123456789abcdefghijklmnopqrstuvwxyz", UUID(workspace_id).int, ""
    while number:
        number, rest = divmod(number, 36)
        name = digits[rest] + name
    return f"workspace_{name or '0'}"
