"""What a lock still has to take of a workspace as it is now, and what each thing that it took is to be again. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from provisioning_pipeline.model.access_lock import DEFAULT_ROLE, EMPTY_ROLE, INVITE_LINK, ItemKind, LockedItem


@dataclass(frozen=True, slots=True)
class SeenMember:
    """A member of the workspace who is none of ours.

    Args:
        member_id: of their living record; None: they have none, so they cannot come in.
        role_id: of the role that they have; None: they have none, or no living record.
        manages: they may give roles and make API keys.
    """

    user_id: str
    email: str
    member_id: str | None
    role_id: str | None
    label: str | None
    manages: bool


@dataclass(frozen=True, slots=True)
class SeenWorkspace:
    """What a lock is about, as it is now.

    Args:
        keys: id → name, of API keys that work.
        default_role: id and label of the role that those who join get; None: there is none.
        link_enabled: people may join by the invite link.
    """

    members: tuple[SeenMember, ...]
    keys: Mapping[str, str]
    default_role: tuple[str, str] | None
    link_enabled: bool


def still_to_take(seen: SeenWorkspace, empty_role_id: str) -> tuple[LockedItem, ...]:
    """What a lock has to take, with what is so before, in the order in which it is taken; empty where all is locked.

    First what lets further people in, then the members, those who could undo it first.
    """
    return (
        *_settings(seen, empty_role_id),
        *(
            _member(member, member.member_id, empty_role_id)
            for member in sorted(seen.members, key=lambda member: (not member.manages, member.email))
            if member.member_id is not None
        ),
        *(LockedItem(ItemKind.API_KEY, key_id, name, {}) for key_id, name in sorted(seen.keys.items())),
    )


def _settings(seen: SeenWorkspace, empty_role_id: str) -> Iterable[LockedItem]:
    if seen.link_enabled:
        yield LockedItem(ItemKind.SETTING, INVITE_LINK, INVITE_LINK, {"enabled": True})
    if seen.default_role is None or seen.default_role[0] != empty_role_id:
        role, label = seen.default_role or (None, None)
        yield LockedItem(ItemKind.SETTING, DEFAULT_ROLE, DEFAULT_ROLE, {"role": role, "label": label})


def _member(member: SeenMember, member_id: str, empty_role_id: str) -> LockedItem:
    # a member with the empty role, of which nothing is written down, joined by it while the workspace was locked
    role = (None, EMPTY_ROLE) if member.role_id == empty_role_id else (member.role_id, member.label)
    before = dict(zip(("role", "label"), role, strict=True))
    return LockedItem(ItemKind.MEMBER, member_id, member.email, before, member.user_id)


def has_rights(item: LockedItem) -> bool:
    """Whether this member, as they were seen just now, has a role that may give something."""
    return item.before["label"] not in (None, EMPTY_ROLE)


def of_kind(items: Iterable[LockedItem], kind: ItemKind) -> list[LockedItem]:
    """Those of these that are of one kind, in their order."""
    return [item for item in items if item.kind is kind]


def setting(items: Iterable[LockedItem], name: str) -> LockedItem | None:
    """What was so before of one setting; None: the lock did not change it."""
    return next((item for item in items if item.key == (ItemKind.SETTING, name)), None)


@dataclass(frozen=True, slots=True)
class RoleAgain:
    """The role that is given back: None where there is none to give. `note` says why it is another than before."""

    id: str | None
    note: str | None = None


def default_role_again(item: LockedItem, roles: Mapping[str, str], fallback: str) -> RoleAgain:
    """The workspace's default role as it was, or the one with the label that members get by the settings.

    Args:
        roles: label → id, of the roles that there are now.
    """
    before = item.before.get("role")
    if before in roles.values():
        return RoleAgain(before)
    return RoleAgain(
        roles.get(fallback),
        f"the default role {item.before.get('label') or 'of before'} is no longer there, so it is "
        f"{fallback if fallback in roles else EMPTY_ROLE} now",
    )


def member_role_again(item: LockedItem, roles: Mapping[str, str], default_role_id: str | None) -> RoleAgain:
    """A member's role as it was; the default role for those who joined meanwhile, or whose role is no longer there."""
    before, label = item.before.get("role"), item.before.get("label")
    if before in roles.values():
        return RoleAgain(before)
    if label is None:
        return RoleAgain(None)
    if label == EMPTY_ROLE:
        return RoleAgain(default_role_id, f"{item.name} joined while it was locked and has the default role")
    return RoleAgain(
        default_role_id, f"the role {label} of {item.name} is no longer there, so they have the default role"
    )


def told(items: Sequence[LockedItem]) -> str:
    """What was taken or given back, counted."""
    members, keys = len(of_kind(items, ItemKind.MEMBER)), len(of_kind(items, ItemKind.API_KEY))
    parts = [_counted(members, "member"), _counted(keys, "API key")]
    parts += [item.name for item in of_kind(items, ItemKind.SETTING)]
    return ", ".join(part for part in parts if part) or "nothing"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}" if number else ""
