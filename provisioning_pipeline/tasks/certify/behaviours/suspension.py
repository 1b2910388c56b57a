"""Suspension: a lock as a run makes it ends access, and what it took is given back exactly as it was."""

from collections.abc import Awaitable
from contextlib import suppress

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.accounts import Account
from provisioning_pipeline.clients.twenty.errors import TwentyFault, is_no_member, is_not_permitted
from provisioning_pipeline.clients.twenty.members import Roster
from provisioning_pipeline.model.access_lock import DEFAULT_ROLE, EMPTY_ROLE, INVITE_LINK, ItemKind, LockedItem
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.steps.scope import Server
from provisioning_pipeline.steps.suspension.locking import take
from provisioning_pipeline.steps.suspension.plan import of_kind, setting, still_to_take, told
from provisioning_pipeline.steps.suspension.workspace import empty_role, look
from provisioning_pipeline.tasks.certify.keys import make_key
from provisioning_pipeline.tasks.certify.locked import Locked, PersonBefore
from provisioning_pipeline.tasks.certify.seeing import Behaviour, Seen, Unexpected, in_words, must, refused
from provisioning_pipeline.tasks.certify.trial import Blocked, Place, Trial, Unseen, setting_up

_READ = operations.COUNT_COMPANIES
_ROUNDS = 4


def _locked(trial: Trial) -> tuple[Place, Locked]:
    if trial.locked is None:
        raise Blocked("no workspace could be locked")
    return trial.in_other(), trial.locked


async def _lock(trial: Trial) -> str:
    """Lock the second workspace by the calls of the step itself, in its order."""
    place = trial.in_other()
    admin, member = await trial.joined(place), await trial.joined(place)
    await trial.grant(admin, place)
    await trial.client.skip_team_invitations(place.address)
    people = (await _as_they_are(trial, admin, place), await _as_they_are(trial, member, place))
    key = await make_key(trial, place)
    for token in (*(person.token for person in people), key.token):
        await setting_up("records cannot be read before there is a lock", trial.call(_READ, {}, token))
    await trial.client.access.must_be_lockable(place.address)
    items = await _taken(trial, place)
    trial.locked = Locked(people, key, items)
    return f"{told(items)}; nothing is left to take"


async def _as_they_are(trial: Trial, account: Account, place: Place) -> PersonBefore:
    # without the right to write there, the wizard shows a step, and must show the same afterwards
    with suppress(Unseen):
        await trial.drop_flags(account)
    status = await trial.status(account, place)
    return PersonBefore(account, await trial.entry(account, place), await trial.token(account, place), status)


async def _taken(trial: Trial, place: Place) -> tuple[LockedItem, ...]:
    server, address = Server(trial.client, trial.database), place.address
    empty = await empty_role(trial.client, address)
    taken: dict[tuple[str, str], LockedItem] = {}
    for _ in range(_ROUNDS):
        items = still_to_take(await look(server, address), empty)
        if not items:
            return tuple(taken.values())
        taken = {item.key: item for item in items} | taken
        met: dict[tuple[str, str], Fault] = {}
        await take(trial.client, address, empty, items, met)
        for fault in met.values():
            raise fault
    raise Unexpected(f"after {_ROUNDS} rounds there is still to be taken: {told(items)}")


async def _reads(trial: Trial) -> Seen:
    _, locked = _locked(trial)
    texts = set()
    for person in locked.people:
        fault = await refused(trial.call(_READ, {}, person.token))
        must(is_not_permitted(fault.error), f"{person.account.email}: {in_words(fault.error)}")
        texts.add(in_words(fault.error))
    return Seen("; ".join(sorted(texts)))


async def _renewals(trial: Trial) -> Seen:
    _, locked = _locked(trial)
    texts = set()
    for person in locked.people:
        fault = await refused(_renewed(trial, person))
        must(is_no_member(fault.error), f"{person.account.email}: {in_words(fault.error)}")
        texts.add(in_words(fault.error))
    return Seen("; ".join(sorted(texts)))


async def _renewed(trial: Trial, person: PersonBefore) -> str:
    if await trial.client.first_taken((operations.RENEW_TOKEN,)) is None or person.token.refresh is None:
        raise Unseen("this server has no call for it")
    await trial.call(operations.RENEW_TOKEN, {"appToken": person.token.refresh}, None)
    return "a session that goes on"


async def _logins(trial: Trial) -> Seen:
    place, locked = _locked(trial)
    texts = [await _kept_out(_logged_in(trial, person.account, place)) for person in locked.people]
    return Seen("; ".join(sorted(set(texts))))


async def _logged_in(trial: Trial, account: Account, place: Place) -> str:
    await trial.session.log_in(account, place.address)
    return "a login"


async def _kept_out(attempt: Awaitable[str]) -> str:
    """How Twenty refuses a person for want of a member."""
    fault = await refused(attempt)
    must(is_no_member(fault.error), in_words(fault.error))
    return in_words(fault.error)


async def _impersonations(trial: Trial) -> Seen:
    place, locked = _locked(trial)
    texts = [await _kept_out(_impersonated(trial, person.account, place)) for person in locked.people]
    return Seen("; ".join(sorted(set(texts))))


async def _impersonated(trial: Trial, account: Account, place: Place) -> str:
    assert account.user_id is not None
    token = await trial.session.impersonation_token(account.user_id, place.address)
    await trial.session.exchange(account, place.address, token.value)
    return "a login"


async def _joins(trial: Trial) -> Seen:
    """By the link that the lock turned off, and, for those who were members, by one that is on."""
    place, locked = _locked(trial)
    before = await _roster(trial, place)
    stranger, member = trial.person(), locked.people[-1].account
    for account in (stranger, member):
        fault = await refused(trial.join(account, place))
        must(fault.reason is Reason.INVITE_LINK_DISABLED, f"with the link off: {in_words(fault.error)}")
    await trial.client.invite_links.turn_on(place.address)
    try:
        answer = await _joins_by_a_link_that_is_on(trial, member, place)
    finally:
        await trial.client.invite_links.turn_off(place.address)
    must(await _roster(trial, place) == before, "a join changed who is a member, or their record")
    must(not await trial.database.user_ids(stranger.email), "an account was made for a stranger")
    return Seen(f"{in_words(fault.error)}; with the link on a member {answer}")


async def _joins_by_a_link_that_is_on(trial: Trial, member: Account, place: Place) -> str:
    try:
        joined = await trial.join(member, place)
    except TwentyFault as fault:
        return f"is {in_words(fault.error)}"
    token = joined.login_token.token

    async def entered() -> str:
        await trial.session.exchange(member, place.address, token)
        return "a login"

    return f"is answered, and what comes of it is {await _kept_out(entered())}"


async def _roster(trial: Trial, place: Place) -> Roster:
    return await trial.database.records.roster(place.address.workspace_id)


async def _own_account(trial: Trial) -> str:
    place, _ = _locked(trial)
    seen = await trial.client.current_user(trial.service, place.address, by_new_login=True)
    must(seen.workspace_member_id == place.own_member_id, "its new login shows another member record, or none")
    await trial.call(_READ, {}, await trial.own_token(place))
    roles = await trial.client.access.roles(place.address)
    return f"comes in anew, reads records, and sees {len(roles)} roles"


async def _key(trial: Trial) -> Seen:
    _, locked = _locked(trial)
    fault = await refused(trial.call(_READ, {}, locked.key.token))
    return Seen(in_words(fault.error), differs="revoked" not in fault.error.message)


# --- back again -------------------------------------------------------------------------------------------------------


async def _give_back(trial: Trial) -> str:
    place, locked = _locked(trial)
    client, address = trial.client, place.address
    default = setting(locked.items, DEFAULT_ROLE)
    if default is not None and default.before["role"] is not None:
        await client.set_default_role(address, default.before["role"])
    for item in of_kind(locked.items, ItemKind.MEMBER):
        must(await client.access.let_back(address, item.id), f"the record of {item.name} is not there any more")
        if item.before["role"] is not None:
            await client.set_role(address, item.id, item.before["role"])
    for item in of_kind(locked.items, ItemKind.API_KEY):
        must(await client.access.restore_api_key(address, item.id), f"API key {item.name} is not there any more")
    if setting(locked.items, INVITE_LINK) is not None:
        await client.invite_links.turn_on(address)
    await _without_empty_role(trial, place)
    for person in locked.people:
        found = await trial.entry(person.account, place)
        must(found == person.entry, f"{person.account.email} was {person.entry}, and is {found}")
    again = await trial.database.default_role(address.workspace_id)
    if default is not None:
        must(again and again.id == default.before["role"], f"the default role is {again.label if again else 'none'}")
    link = await client.invite_links.read(address)
    must(link.enabled and link.hash == place.invite_hash, "the invite link is off, or another one")
    return f"{told(locked.items)}: the same roles and the same member records"


async def _without_empty_role(trial: Trial, place: Place) -> None:
    roles = {role.label: role.id for role in await trial.client.access.roles(place.address)}
    must(EMPTY_ROLE in roles, "the role of the lock is not there")
    if not await trial.database.holds_role(roles[EMPTY_ROLE]):
        await trial.client.access.delete_role(place.address, roles[EMPTY_ROLE])


async def _come_in_again(trial: Trial) -> str:
    place, locked = _locked(trial)
    shown = set()
    for person in locked.people:
        trial.client.forget(person.account, place.address)
        seen = await trial.client.current_user(person.account, place.address, by_new_login=True)
        must(seen.workspace_member_id == person.entry.workspace_member_id, "they come in with another record, or none")
        same = seen.onboarding_status == person.status
        must(same, f"the wizard shows {seen.onboarding_status}, and showed {person.status}")
        shown.add(str(seen.onboarding_status))
    return f"they come in with the record of before; the wizard shows {', '.join(sorted(shown))}, as before"


async def _sessions_again(trial: Trial) -> Seen:
    """No one relies on it: those whose session ended log in again."""
    _, locked = _locked(trial)
    texts, differs = [], False
    for person in locked.people:
        try:
            await trial.call(_READ, {}, person.token)
            await _renewed(trial, person)
        except TwentyFault as fault:
            texts.append(in_words(fault.error))
            differs = True
        else:
            texts.append("the token reads records again, and the session is renewed")
    return Seen("; ".join(sorted(set(texts))), differs)


async def _key_again(trial: Trial) -> str:
    _, locked = _locked(trial)
    await trial.call(_READ, {}, locked.key.token)
    return "reads records again"


LOCK = (
    Behaviour("locking a workspace", "takes every role, record and key, and nothing is left to take", _lock),
    Behaviour("records by a token from before a lock", "are refused at once for want of the right", _reads),
    Behaviour("renewing a session from before a lock", "is refused because there is no such member", _renewals),
    Behaviour("a new login while locked", "is refused because there is no such member", _logins),
    Behaviour("impersonating while locked", "comes to no login: there is no such member", _impersonations),
    Behaviour("joining while locked", "is refused while the link is off; while it is on, it changes nothing", _joins),
    Behaviour("our own account while locked", "comes in, reads records and sees roles", _own_account),
    Behaviour("an API key while locked", "is refused", _key),
)
RESUME = (
    Behaviour("giving a lock back", "the same roles, member records, default role and link", _give_back),
    Behaviour("a new login after a lock", "leads to the same record, and the wizard shows the same", _come_in_again),
    Behaviour("a token and a session from before a lock", "are good again", _sessions_again),
    Behaviour("an API key after a lock", "works again", _key_again),
)
