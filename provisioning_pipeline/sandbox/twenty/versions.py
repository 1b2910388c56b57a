"""What tells the versions apart that the stand-in can play.

2.21 is measured on a running 2.21.0. Of 2.38 the behaviour is source only (a compiled 2.38 server) and the schema that
of the released one; 2.47 is what newer source is known to lack besides. 1.x is there to be refused: the schema of 2.21
without what Twenty of September 2025 (source only, commit 0285fce) lacks or serves elsewhere.
"""

from dataclasses import dataclass, replace
from typing import Literal

Version = Literal["1.x", "2.21", "2.38", "2.47"]

CONNECT_ACCOUNT = "ONBOARDING_CONNECT_ACCOUNT_PENDING"
INSTALL_APPS = "ONBOARDING_INSTALL_APPS_PENDING"
CREATE_PROFILE = "ONBOARDING_CREATE_PROFILE_PENDING"
INVITE_TEAM = "ONBOARDING_INVITE_TEAM_PENDING"
BOOK_CALL = "ONBOARDING_BOOK_CALL_PENDING"

_SYNC_EMAIL = (CONNECT_ACCOUNT, "SYNC_EMAIL")
_APPS_INSTALLATION = (INSTALL_APPS, "APPS_INSTALLATION")
_PROFILE_CREATION = (CREATE_PROFILE, "PROFILE_CREATION")
_INVITE_TEAM = (INVITE_TEAM, "INVITE_TEAM")
_BOOK_CALL = (BOOK_CALL, "BOOK_CALL")


@dataclass(frozen=True)
class Traits:
    """How one version behaves.

    Args:
        told: the version that the public settings give; None where they give none.
        steps: key and status of each onboarding step; the first pending one is the status.
        creator: the keys that are set for the one who makes a workspace.
        new_account: the keys that are set for an account made by joining.
        sessions: token-issuing calls set a cookie and leave a row, and `signOut` is there (always on since August
            2026, in 2.38).
        reversible: steps take `isAutoSkipped`, remember what was done, and can be gone back to (2.33).
        sign_up_needs_destination: an account is only made where it has somewhere to go (August 2026, in 2.38).
        invitations_limited: at most 10 while INVITE_TEAM is pending, with billing off too.
    """

    told: str | None
    steps: tuple[tuple[str, str], ...]
    creator: tuple[str, ...]
    new_account: tuple[str, ...]
    sessions: bool = False
    reversible: bool = False
    sign_up_needs_destination: bool = False
    invitations_limited: bool = True


_NEWER_STEPS = (_SYNC_EMAIL, _APPS_INSTALLATION, _PROFILE_CREATION, _INVITE_TEAM, _BOOK_CALL)

TRAITS: dict[Version, Traits] = {
    "2.21": Traits(
        told="2.21.0",
        steps=(_SYNC_EMAIL, _APPS_INSTALLATION, _PROFILE_CREATION, _INVITE_TEAM),
        creator=(CONNECT_ACCOUNT, CREATE_PROFILE, INSTALL_APPS),
        new_account=(CREATE_PROFILE, INSTALL_APPS),
    ),
    "2.38": Traits(
        told="2.38.0",
        steps=_NEWER_STEPS,
        creator=(CONNECT_ACCOUNT, INSTALL_APPS, CREATE_PROFILE),
        new_account=(CONNECT_ACCOUNT, CREATE_PROFILE),
        sessions=True,
        reversible=True,
        sign_up_needs_destination=True,
        invitations_limited=False,
    ),
    "2.47": Traits(
        told="2.47.0",
        steps=tuple(step for step in _NEWER_STEPS if step is not _APPS_INSTALLATION),
        creator=(CONNECT_ACCOUNT, CREATE_PROFILE),
        new_account=(CONNECT_ACCOUNT, CREATE_PROFILE),
        sessions=True,
        reversible=True,
        sign_up_needs_destination=True,
        invitations_limited=False,
    ),
}
TRAITS["1.x"] = replace(TRAITS["2.21"], told=None)
