"""Deletion: a deleted workspace lets no one and nothing in, and what became of its accounts and its subdomain."""

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.errors import TwentyFault, is_gone
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.tasks.certify import clean
from provisioning_pipeline.tasks.certify.keys import make_key
from provisioning_pipeline.tasks.certify.locked import Deleted
from provisioning_pipeline.tasks.certify.seeing import Behaviour, Seen, in_words, must, refused
from provisioning_pipeline.tasks.certify.trial import DISPLAY_NAME, Blocked, Trial, subdomain


def _gone(trial: Trial) -> Deleted:
    if trial.deleted is None:
        raise Blocked("no workspace could be deleted")
    return trial.deleted


async def _delete(trial: Trial) -> Seen:
    """Delete the second workspace by the call of the step itself."""
    place, alone = trial.in_other(), await trial.joined(trial.in_other())
    elsewhere = await trial.joined_both()
    key = await make_key(trial, place)
    tokens = {
        "our own account": await trial.own_token(place),
        "a member": await trial.token(alone, place),
        "a member of two workspaces": await trial.token(elsewhere, place),
    }
    await trial.client.delete_workspace(place.address)
    # the trial's own sessions there are no use any more
    trial.session.forget(trial.service, place.address)
    trial.other, trial.deleted = None, Deleted(place.address, alone, elsewhere, tokens, key)
    state = await trial.database.workspace_state(place.address.workspace_id)
    must(state is None or state.deleted, "Twenty's database has it as before")
    status = state.activation_status if state else "its row is gone"
    return Seen(f"marked as deleted, {status}", differs=status != "SUSPENDED")


async def _tokens(trial: Trial) -> Seen:
    gone = _gone(trial)
    texts = set()
    for whose, token in gone.tokens.items():
        fault = await refused(trial.call(operations.CURRENT_USER, {}, token))
        must(is_gone(fault.error), f"the token of {whose}: {in_words(fault.error)}")
        texts.add(in_words(fault.error))
    return Seen("; ".join(sorted(texts)))


async def _logins(trial: Trial) -> Seen:
    gone = _gone(trial)
    texts = set()
    for account in (trial.service, gone.alone, gone.elsewhere):
        variables = {**account.credentials(), "origin": gone.address.url}
        fault = await refused(trial.call(operations.GET_LOGIN_TOKEN_FROM_CREDENTIALS, variables, None))
        must(is_gone(fault.error), f"{account.email}: {in_words(fault.error)}")
        texts.add(in_words(fault.error))
    return Seen("; ".join(sorted(texts)))


async def _proof(trial: Trial) -> str:
    gone = _gone(trial)
    still = await trial.client.still_open(gone.address, gone.tokens["our own account"])
    must(still is None, f"{still}")
    return "a run takes it for proved"


async def _key(trial: Trial) -> Seen:
    fault = await refused(trial.call(operations.COUNT_COMPANIES, {}, _gone(trial).key.token))
    return Seen(in_words(fault.error), differs=not is_gone(fault.error))


async def _accounts(trial: Trial) -> Seen:
    gone, main = _gone(trial), trial.in_main()
    seen = await trial.client.current_user(gone.elsewhere, main.address, by_new_login=True)
    must(seen.workspace_id == main.address.workspace_id, "who is in another workspace cannot come into that one")
    ours = await trial.client.current_user(trial.service, main.address, by_new_login=True)
    must(ours.workspace_member_id == main.own_member_id, "our own account cannot come into the other one")
    stays = bool(await trial.database.user_ids(gone.alone.email))
    went = "stay, too" if stays else "went with it"
    return Seen(f"those who are in another workspace come in there; the others {went}", differs=stays)


async def _subdomain(trial: Trial) -> Seen:
    """No one relies on it: a run that finds the subdomain taken takes another one, and adopts no deleted workspace."""
    _gone(trial)
    assert trial.begun_at is not None
    domain = subdomain(trial.run, "b")
    found = await trial.database.workspace_left_behind(domain, trial.service.email, trial.begun_at)
    must(found is None, "the deleted workspace would be adopted as one whose answer was lost")
    variables = {"displayName": DISPLAY_NAME, "subdomain": domain}
    try:
        made = await trial.call(operations.SIGN_UP_IN_NEW_WORKSPACE, variables, await trial.agnostic())
    except TwentyFault as fault:
        must(fault.reason is Reason.SUBDOMAIN_TAKEN, in_words(fault.error))
        return Seen(f"stays taken: {in_words(fault.error)}")
    # its place is needed, and it is thrown away like all others
    await clean.delete_workspace(trial, made.workspace.id)
    return Seen("is free again", differs=True)


DELETION = (
    Behaviour("deleting a workspace", "marks it as deleted", _delete),
    Behaviour("a token from before a deletion", "is refused because there is no such workspace", _tokens),
    Behaviour("a new login at a deleted workspace", "is refused because there is no such workspace", _logins),
    Behaviour("the proof of a deletion", "finds no way in", _proof),
    Behaviour("an API key of a deleted workspace", "is refused", _key),
    Behaviour(
        "accounts of a deleted workspace",
        "stay where they are in another one, ours too; the others go with it",
        _accounts,
    ),
    Behaviour("the subdomain of a deleted workspace", "stays taken, or is free; nothing is adopted by it", _subdomain),
)
