"""What accounts at Twenty prove about their addresses, asked only of those that are to get something."""

from collections.abc import Collection, Iterable

from provisioning_pipeline.decide.ownership import AccountKey, KnownAccounts
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.people import Evidence, User
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.observe import Seen


class AskedAccounts:
    """The accounts that a plan asked about. Reads only: nobody signs in to make a plan."""

    def __init__(self, connections: Connections, seen: Seen) -> None:
        self._connections = connections
        self._seen = seen
        self.evidence: dict[AccountKey, Evidence] = {}
        self._by_email: dict[tuple[str, str], str] = {}
        self._linked = {
            (server, clerk): account
            for server, clerk, account in seen.user_links[["server", "clerk_user_id", "twenty_user_id"]].itertuples(
                index=False
            )
        }
        policy = connections.settings.members_unproven
        self.known = KnownAccounts(self.evidence, trusts=policy == "trust", trusts_mailboxes=policy == "trust-mailbox")
        """What is known so far; it grows with every question."""

    def of_people(self, users: Iterable[User], emails: Collection[str] = ()) -> set[AccountKey]:
        """The accounts, on any server, of these people at Clerk and of these addresses."""
        known = list(users)
        wanted = {*emails, *(user.verified_email for user in known if user.verified_email)}
        if not wanted:
            return set()
        accounts = self._seen.twenty.users
        found = accounts[accounts["email"].isin(wanted)]
        ids = {user.user_id for user in known}
        linked = {(server, account) for (server, clerk), account in self._linked.items() if clerk in ids}
        return {*zip(found["server"], found["user_id"], strict=True), *linked}

    async def made_by_others(self) -> set[AccountKey]:
        """Every account that is known to have a password that is not ours."""
        return set(await self._connections.accounts.made_by_others())

    async def ask(self, wanted: Collection[AccountKey]) -> None:
        """Learn about these accounts; of one whose server cannot be asked now nothing is known.

        That is enough to plan: nobody is raised before the step that does it has asked again.
        """
        if self.known.trusts:
            return
        by_server: dict[str, list[str]] = {}
        for server, account in sorted(set(wanted) - self.evidence.keys()):
            by_server.setdefault(server, []).append(account)
        for server, ids in by_server.items():
            await self._ask(server, ids)

    async def _ask(self, server: str, ids: list[str]) -> None:
        databases, accounts = self._connections.twenty_databases, self._connections.accounts
        if server not in databases:
            return
        try:
            facts = await databases[server].account_facts(ids)
        except Fault:
            return
        origins = await accounts.origins(server, ids)
        vouched = {known.twenty_user_id: known.email for known in await accounts.vouched(server, ids)}
        for row in facts:
            user = row["user_id"]
            self._by_email[server, row["email"]] = user
            self.evidence[server, user] = Evidence(
                row["email"], row["verified"], row["created_at"], origins.get(user), vouched.get(user)
            )

    def unproved(self, server: str, email: str, clerk_user_id: str | None) -> Evidence | None:
        """The account there of this Clerk user, else with this address, if it is known to prove nothing."""
        linked = self._linked.get((server, clerk_user_id)) if clerk_user_id else None
        if linked is not None and (server, linked) in self.evidence:
            return self.known.unproved(server, linked, clerk_user_id)
        account = self._by_email.get((server, email))
        return self.known.unproved(server, account, clerk_user_id) if account else None
