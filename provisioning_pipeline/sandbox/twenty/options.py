"""What a test or a demonstration may set on a stand-in Twenty."""

from dataclasses import dataclass

from provisioning_pipeline.sandbox.twenty.versions import TRAITS, Traits, Version


@dataclass(frozen=True)
class FurtherStep:
    """An onboarding step that 2.21.0 does not have: the server sets its row, shows it last, and nothing clears it.

    Args:
        key: the key of its rows, like `ONBOARDING_IMPORT_DATA_PENDING`.
        status: what `onboardingStatus` then says, like `IMPORT_DATA`; none that 2.21.0 has.
        for_creator: the one who makes a workspace gets it there.
        for_joiners: everyone who joins a workspace gets it there.
    """

    key: str
    status: str
    for_creator: bool = True
    for_joiners: bool = True


@dataclass(frozen=True)
class TwentyOptions:
    """Settings of one stand-in. The defaults are those of a self-hosted server, except that it is quick.

    Args:
        workspace_limit: how many workspaces the server may hold; 5 is a server without an enterprise key.
        creation_limited_to_admins: only server admins create workspaces.
        activation_seconds: how long `activateWorkspace` takes; the real one takes 2 to 3 s.
        bcrypt_rounds: cost of a password; the real one uses 10.
        public_host: workspaces live at `http://<subdomain>.<public_host>:<port>/`.
        introspection_for_anonymous: answer introspection without a token, as a development server does.
        email_verification_required: the public settings say that new members must answer an e-mail first.
        second_factor_for_other_workspaces: refuse impersonation across workspaces for want of a second
            factor, as every server outside development does (source only); no one has one here.
        lacking: root fields taken out of the schemas, as on a server of another version. What they would clear is
            set all the same.
        further_steps: onboarding steps of a newer version, in the order in which they are shown.
        version: which Twenty it is (`versions.py`).
        login_tokens_once: a login token is taken once. None: as the version has it, which is once from 2.38 on
            (proposed for the real one, and to be met sooner or later).
        billing: the server sells subscriptions, and no workspace has one: from 2.38 on `activateWorkspace` answers
            CREATED, PLAN_REQUIRED is shown last, and BOOK_CALL before it (source only).
    """

    workspace_limit: int | None = None
    creation_limited_to_admins: bool = True
    activation_seconds: float = 0.05
    bcrypt_rounds: int = 4
    access_token_seconds: int = 30 * 60
    login_token_seconds: int = 15 * 60
    refresh_token_seconds: int = 60 * 24 * 3600
    public_host: str = "localhost"
    introspection_for_anonymous: bool = False
    email_verification_required: bool = False
    second_factor_for_other_workspaces: bool = True
    lacking: frozenset[str] = frozenset()
    further_steps: tuple[FurtherStep, ...] = ()
    version: Version = "2.21"
    login_tokens_once: bool | None = None
    billing: bool = False

    @property
    def traits(self) -> Traits:
        """How its version behaves."""
        return TRAITS[self.version]

    @property
    def takes_login_tokens_once(self) -> bool:
        """Whether the exchange of a login token spends it."""
        return self.traits.sessions if self.login_tokens_once is None else self.login_tokens_once


@dataclass(frozen=True)
class Mail:
    """An e-mail that the server would have sent."""

    to: str
    subject: str
