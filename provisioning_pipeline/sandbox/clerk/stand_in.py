"""A stand-in Clerk instance: the real protocol on a loopback port, the state in memory."""

from collections import Counter
from types import TracebackType
from typing import Any, Literal, Self

from provisioning_pipeline.sandbox.clerk.app import build_app
from provisioning_pipeline.sandbox.clerk.gate import Gate
from provisioning_pipeline.sandbox.clerk.options import ClerkOptions
from provisioning_pipeline.sandbox.clerk.records import Membership, Organization, User, permissions
from provisioning_pipeline.sandbox.clerk.tokens import SigningKey, session_claims
from provisioning_pipeline.sandbox.clerk.webhooks import TellingState, Webhooks
from provisioning_pipeline.sandbox.faults import Faults
from provisioning_pipeline.sandbox.serving import LoopbackServer

DEFAULT_OPTIONS = ClerkOptions()


class StandInClerk:
    """Clerk's Backend API and JWKS, served from memory, with methods to arrange what is in it.

    Args:
        options: limits, environment, and where the state is kept, if anywhere.
        faults: what goes wrong; change it at any time.
        port: 0 for any free one.
    """

    def __init__(self, options: ClerkOptions = DEFAULT_OPTIONS, faults: Faults | None = None, port: int = 0) -> None:
        self.options = options
        self.webhooks = Webhooks()
        self.state = TellingState(options, self.webhooks)
        self.faults = faults if faults is not None else Faults()
        pem: str | None = None
        if options.state_file is not None and options.state_file.exists():
            pem = self.state.load(options.state_file)["signing_key"]
        self._key = SigningKey(self.state.instance_id, pem)
        self._gate = Gate(self.state, options, self.faults)
        app = build_app(self._gate, lambda: self._key.jwks(), self.webhooks, self._signed)
        self._server = LoopbackServer(app, port)

    # --- where it is

    @property
    def base_url(self) -> str:
        """The Backend API base, `/v1` included."""
        return f"{self._server.url}/v1"

    @property
    def frontend_url(self) -> str:
        """The Frontend API: the issuer of session tokens, with /.well-known/jwks.json below it."""
        return self._server.url

    @property
    def secret_key(self) -> str:
        """The Backend API key."""
        return self.state.secret_key

    @property
    def instance_id(self) -> str:
        """The id that `GET /instance` tells; also the key id of the signing key."""
        return self.state.instance_id

    @property
    def calls(self) -> Counter[str]:
        """How often each operation was called, such as `GET /organizations/{organization_id}`."""
        return self._gate.calls

    @property
    def mutating_calls(self) -> int:
        """How many calls that may change something arrived, answered well or not."""
        return self._gate.mutating_calls

    def reset_counters(self) -> None:
        """Start counting anew."""
        self._gate.reset_counters()
        self.webhooks.counts.clear()

    def clear(self) -> None:
        """Back to an empty instance: no people, no organizations, no webhook, no faults, counters at zero."""
        self.webhooks.forget_endpoint()
        self.webhooks.wait()
        self.state.clear()
        self.faults.latency_seconds = self.faults.error_rate = self.faults.drop_rate = 0.0
        self.faults.scripted.clear()
        self.reset_counters()

    # --- running

    def start(self) -> Self:
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop serving, and keep the state when the options name a file. Safe to call twice."""
        self._server.stop()
        self.webhooks.stop()
        self.save()

    def restart(self) -> None:
        """Stop and start on the same port with the same state."""
        self._server.restart()

    def save(self) -> None:
        """Write the state to the options' file, if there is one."""
        if self.options.state_file is not None:
            self.state.save(self.options.state_file, {"signing_key": self._key.pem()})

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # --- webhooks

    def set_webhook(self, url: str, secret: str) -> None:
        """Send an event for every change from now on, to `url` and signed with `secret` (`whsec_...`).

        Raises:
            ValueError: for what is no URL or no signing secret.
        """
        self.webhooks.set_endpoint(url, secret)

    def wait_for_webhooks(self) -> None:
        """Return once the events of every change so far were sent, each once; `webhooks` has the counts."""
        self.webhooks.wait()

    # --- arranging

    def add_organization(
        self,
        name: str,
        *,
        slug: str | None = None,
        created_by: str | None = None,
        public_metadata: dict[str, Any] | None = None,
    ) -> Organization:
        """A new organization; `created_by`, a user id, becomes its admin."""
        return self.state.add_organization(name, slug=slug, created_by=created_by, public_metadata=public_metadata)

    def add_user(
        self,
        email: str | None = None,
        *,
        first_name: str | None = None,
        last_name: str | None = None,
        status: str | None = "verified",
        external_id: str | None = None,
        reserved: bool = False,
        other_emails: tuple[str, ...] = (),
    ) -> User:
        """A new user; `status` is the verification status of the addresses, None for none at all."""
        return self.state.add_user(
            email,
            first_name=first_name,
            last_name=last_name,
            status=status,
            external_id=external_id,
            reserved=reserved,
            other_emails=other_emails,
        )

    def add_membership(self, organization_id: str, user_id: str, role: str = "org:member") -> Membership:
        return self.state.add_membership(organization_id, user_id, role)

    def set_role(self, organization_id: str, user_id: str, role: str) -> Membership:
        return self.state.set_role(organization_id, user_id, role)

    def remove_membership(self, organization_id: str, user_id: str) -> None:
        self.state.remove_membership(organization_id, user_id)

    def ban_user(self, user_id: str, *, banned: bool = True) -> None:
        with self.state.lock:
            user = self.state.user(user_id)
            user.banned = banned
            self.state.touch(user)

    def lock_user(self, user_id: str, *, locked: bool = True) -> None:
        with self.state.lock:
            user = self.state.user(user_id)
            user.locked = locked
            self.state.touch(user)

    def delete_user(self, user_id: str) -> None:
        self.state.delete_user(user_id)

    def delete_organization(self, organization_id: str) -> None:
        self.state.delete_organization(organization_id)

    def set_email_status(self, user_id: str, status: str | None) -> None:
        """Change the verification status of the primary address; None: its `verification` is null."""
        with self.state.lock:
            user = self.state.user(user_id)
            for email in user.emails:
                if email.id == user.primary_email_id:
                    email.status = status
            self.state.touch(user)

    # --- session tokens

    def rotate_signing_key(self, *, keep_kid: bool = True) -> None:
        """Sign with a new key from now on; the old one leaves the JWKS."""
        kid = self._key.kid if keep_kid else self.state.new_id("ins")
        self._key = SigningKey(kid)

    def session_token(
        self,
        user_id: str,
        organization_id: str | None = None,
        *,
        version: Literal[1, 2] = 2,
        seconds: int = 60,
        token_headers: dict[str, Any] | None = None,
        **claim_overrides: Any,
    ) -> str:
        """A session token as Clerk signs it. Overrides replace claims; `tokens.REMOVED` takes one away."""
        return self._signed(
            user_id,
            organization_id,
            version=version,
            seconds=seconds,
            claims=claim_overrides,
            token_headers=token_headers,
        )

    def _signed(
        self,
        user_id: str,
        organization_id: str | None,
        *,
        version: Literal[1, 2],
        seconds: int,
        claims: dict[str, Any],
        token_headers: dict[str, Any] | None = None,
    ) -> str:
        with self.state.lock:
            active = None
            if organization_id is not None:
                organization = self.state.organization(organization_id)
                membership = self.state.membership(organization.id, user_id)
                active = (organization, membership, permissions(membership.role))
                workspace = organization.public_metadata.get("twenty_workspace_id")
                if self.options.session_custom_claims and workspace is not None:
                    claims = {"twenty_workspace_id": workspace, **claims}
        signed = session_claims(
            version=version,
            issuer=self.frontend_url,
            user_id=user_id,
            seconds=seconds,
            active=active,
            overrides=claims,
        )
        return self._key.sign(signed, token_headers)
