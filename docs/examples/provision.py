"""Registers a tenant, waits until it is ready, and prints its workspace, its admin's user and its address.

    python provision.py SLUG DATABASE_NAME [CLERK_ORG_ID [ADMIN_EMAIL]]

PROVISIONING_API_URL and PROVISIONING_API_KEY must be set. Each argument may be a variable of its name instead; also
NAME (else the slug) and TIMEOUT_SECONDS (else 300).
"""

import os
import sys

from provisioning_pipeline.client import ProvisioningClient, ProvisioningError


def given(position: int, name: str) -> str | None:
    """An argument, or else the variable of its name; None where neither is there."""
    return sys.argv[position] if len(sys.argv) > position else os.environ.get(name) or None


def needed(value: str | None, name: str) -> str:
    """The value, or the program's end."""
    return value or sys.exit(f"{name} must be given.")


def main() -> None:
    """Register, wait, print."""
    base_url = needed(os.environ.get("PROVISIONING_API_URL"), "PROVISIONING_API_URL")
    api_key = needed(os.environ.get("PROVISIONING_API_KEY"), "PROVISIONING_API_KEY")
    slug = needed(given(1, "SLUG"), "SLUG")
    with ProvisioningClient(base_url, api_key) as client:
        client.put_tenant(
            slug,
            name=os.environ.get("NAME", slug),
            database_name=needed(given(2, "DATABASE_NAME"), "DATABASE_NAME"),
            clerk_org_id=given(3, "CLERK_ORG_ID"),
            admin_email=given(4, "ADMIN_EMAIL"),
        )
        tenant = client.wait_until_ready(slug, timeout_seconds=float(os.environ.get("TIMEOUT_SECONDS", "300")))
    print("workspace_id", tenant.workspace_id)
    print("user_id", tenant.user_id)
    print("workspace_url", tenant.workspace_url)


if __name__ == "__main__":
    try:
        main()
    except (ProvisioningError, ValueError) as error:
        sys.exit(str(error))
