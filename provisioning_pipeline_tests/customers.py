"""What a customer's admin does in Twenty, over plain HTTP and independent of the product's client."""

from typing import Any

from provisioning_pipeline.clients.twenty.accounts import derived_password
from provisioning_pipeline_tests.world import World, browser, login_of, read


class Customer:
    """The admin of a tenant's workspace, logged in once.

    Args:
        url: where the workspace is reached; the ledger's address when not given.
    """

    def __init__(self, world: World, slug: str, url: str | None = None) -> None:
        link = world.link(slug)
        self._server = world.sandbox.twenty[0]
        email = link["admin_email"]
        password = derived_password(world.settings.member_password_key, email).get_secret_value()
        with browser(self._server) as http:
            self._token = login_of(http, email, password, url or link["workspace_url"])
        schema = world.twenty('SELECT "databaseSchema" FROM core.workspace WHERE id = %s', link["workspace_id"])[0][0]
        self._records = {
            row[0]: row[1] for row in world.twenty(f'SELECT "userEmail", id::text FROM "{schema}"."workspaceMember"')
        }

    def _ask(self, document: str, **variables: Any) -> dict[str, Any]:
        with browser(self._server) as http:
            return read(http, document, variables, self._token)

    def _role(self, label: str) -> str:
        (found,) = (r["id"] for r in self._ask("query{getRoles{id label}}")["getRoles"] if r["label"] == label)
        return str(found)

    def set_role(self, email: str, label: str) -> None:
        """Give a member another role."""
        self._ask(
            "mutation($m:UUID!,$r:UUID!){updateWorkspaceMemberRole(workspaceMemberId:$m,roleId:$r){id}}",
            m=self._records[email],
            r=self._role(label),
        )

    def remove(self, email: str) -> None:
        """Take a member out."""
        self._ask(
            "mutation($m:String!){deleteUserFromWorkspace(workspaceMemberIdToDelete:$m){id}}", m=self._records[email]
        )

    def invite(self, email: str, label: str) -> None:
        """Invite somebody with a role."""
        document = "mutation($e:[String!]!,$r:UUID){sendInvitations(emails:$e,roleId:$r){success errors}}"
        assert self._ask(document, e=[email], r=self._role(label))["sendInvitations"]["success"]

    def set_default_role(self, label: str) -> None:
        """Have whoever joins get this role."""
        self._ask("mutation($r:UUID){updateWorkspace(data:{defaultRoleId:$r}){id}}", r=self._role(label))

    def rename(self, subdomain: str) -> None:
        """Have the workspace reached elsewhere."""
        self._ask("mutation($s:String!){updateWorkspace(data:{subdomain:$s}){id}}", s=subdomain)

    def delete_workspace(self) -> None:
        """Delete the workspace by Twenty's own call."""
        self._ask("mutation{deleteCurrentWorkspace{id}}")
