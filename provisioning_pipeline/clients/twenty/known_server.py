"""What is known of one Twenty server, from one connection to the next: a run connects anew for each of its steps."""

from dataclasses import dataclass, field

from provisioning_pipeline.clients.twenty.accounts import Door, Token
from provisioning_pipeline.clients.twenty.contract import Surface


@dataclass
class KnownServer:
    """Answers that hold for a run, and the tokens of those who are signed in. It lives in memory alone.

    Args:
        tokens: (e-mail, workspace id or nothing) → token, until it is about to expire.
        by_our_password: e-mail → whether the password that we derive let in at the last login.
        contract_met: everything that we use is there.
        version: as the server told it.
        surface: what it takes of our operations.
        doors, roles, own_members: by workspace: its address, its roles' ids by label, our own member record's id.
    """

    tokens: dict[tuple[str, str], Token] = field(default_factory=dict)
    by_our_password: dict[str, bool] = field(default_factory=dict)
    contract_met: bool = False
    version: str | None = None
    surface: Surface | None = None
    doors: dict[str, Door] = field(default_factory=dict)
    roles: dict[str, dict[str, str]] = field(default_factory=dict)
    own_members: dict[str, str | None] = field(default_factory=dict)
