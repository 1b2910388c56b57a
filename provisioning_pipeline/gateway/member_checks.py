"""Member checks: questions to Clerk about single members, within a budget that never starves a reconciliation."""

import asyncio
import logging
from collections import Counter

from provisioning_pipeline.clients.clerk.member_reader import MemberReader
from provisioning_pipeline.clients.remembered import Remembered
from provisioning_pipeline.clients.windows import BURST, WINDOW_SECONDS
from provisioning_pipeline.gateway.turns import Turns
from provisioning_pipeline.ledger.call_budget import CALLS_PER_CHECK, CallBudget, budgets_of_checks
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.model.people import Departure
from provisioning_pipeline.values.sessions import SessionSettings

_LOG = logging.getLogger(__name__)
_CHECK_SECONDS = 3.0
_FIRST_REST_SECONDS = 5.0
_LONGEST_REST_SECONDS = 20.0
_REMEMBERED = 50_000

Standing = Departure | bool


class MemberChecks:
    """Clerk as sessions ask it, in one event loop.

    Args:
        counts: how checks ended: asked, failed, left out.
    """

    def __init__(self, settings: SessionSettings, counts: Counter[str]) -> None:
        self._counts = counts
        self._clerk = MemberReader(settings.clerk_base_url, settings.clerk_secret_key, timeout_seconds=_CHECK_SECONDS)
        half = settings.clerk_requests_per_10_seconds * settings.clerk_look_share / 2
        # sign-ins have a half for themselves, and wait for it: nothing else can use it up
        self._turns = {certain: _turns(half) for certain in (True, False)}
        # what other processes check counts, too
        self._budgets = {
            certain: CallBudget(settings.registry_url, budget)
            for certain, budget in budgets_of_checks(settings).items()
        }
        self._active: Remembered[tuple[str, str], bool] = Remembered(_REMEMBERED)
        self._active_seconds = max(1.0, settings.session_cache_seconds)
        self.loop = asyncio.get_running_loop()
        self._no_check_before = 0.0
        self._rest = _FIRST_REST_SECONDS
        self._asking: dict[tuple[str, str, bool], asyncio.Task[Standing]] = {}

    async def close(self) -> None:
        """Close the connections to Clerk, and those to the ledger for its budget."""
        await self._clerk.close()
        for budget in self._budgets.values():
            await budget.__aexit__(None, None, None)

    async def standing(self, organization_id: str, user_id: str, *, certain: bool) -> Standing:
        """How a member is gone, else True: an active member, or False: nothing certain, or Clerk could not be asked.

        Callers that ask the same at the same time get the same answer. `certain`: it is of now, and worth a few
        seconds' wait; else an active member may have been one a moment ago.
        """
        key = organization_id, user_id
        if not certain and key in self._active:
            return True
        asking = self._asking.get((*key, certain))
        if asking is None:
            asking = self._asking[*key, certain] = asyncio.create_task(self._check(*key, certain=certain))
            asking.add_done_callback(lambda _: self._asking.pop((*key, certain), None))
        # shielded: one caller who hangs up shall not leave the others without an answer
        found = await asyncio.shield(asking)
        if found is True:
            self._active.keep(key, True, self._active_seconds)
        else:
            self._active.forget(key)
        return found

    async def _check(self, organization_id: str, user_id: str, *, certain: bool) -> Standing:
        clock = asyncio.get_running_loop().time
        if clock() < self._no_check_before or not await self._turn(certain=certain):
            self._counts["left out"] += 1
            return False
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                found = await self._clerk.standing(organization_id, user_id)
        except (Fault, TimeoutError) as error:
            why = error.message if isinstance(error, Fault) else f"no answer within {_CHECK_SECONDS:g} s"
            _LOG.warning("A member could not be checked at Clerk: %s", why)
            self._counts["failed"] += 1
            # so that not every member waits for an answer that does not come; once for all that were under way
            if clock() >= self._no_check_before:
                self._no_check_before = clock() + self._rest
                self._rest = min(self._rest * 2, _LONGEST_REST_SECONDS)
            return False
        self._rest, self._no_check_before = _FIRST_REST_SECONDS, 0.0
        self._counts["asked"] += 1
        return found

    async def _turn(self, *, certain: bool) -> bool:
        """Whether it is our turn, after at most so many seconds for each: in this process, and among all."""
        within = _CHECK_SECONDS if certain else 0.0
        if not await self._turns[certain].turn(within):
            return False
        wait = await self._budgets[certain].take(within=within)
        if wait is not None:
            await asyncio.sleep(wait)
        return wait is not None


def _turns(calls: float) -> Turns:
    """The turns of checks, if so many calls may begin in 10 seconds: no window of those sees more."""
    at_once = max(1.0, BURST * calls / CALLS_PER_CHECK)
    return Turns(at_once, (1 - BURST) * calls / CALLS_PER_CHECK / WINDOW_SECONDS)
