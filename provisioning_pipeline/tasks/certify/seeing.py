"""What a behaviour is made of: what is expected, how it is looked at, and what may come of it."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
from psycopg import Error

from provisioning_pipeline.clients.postgres_refusals import first_line
from provisioning_pipeline.clients.twenty.errors import TwentyError, TwentyFault
from provisioning_pipeline.model.contract import Observation, Standing
from provisioning_pipeline.model.fault import Fault
from provisioning_pipeline.tasks.certify.trial import Blocked, Trial, Unseen


class Unexpected(Exception):
    """What this program relies on does not hold; the text says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen. `differs`: what is needed holds, and something else is not as on the measured version."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One thing that this program relies on.

    Args:
        name: what it is about, in a few words.
        expected: what must be seen, in a clause.
        see: does it and returns what was seen. It raises `Unexpected` for what must not be, `Unseen` where there is no
            way to look, `Blocked` where something before it failed; a fault that it does not catch is unexpected too.
    """

    name: str
    expected: str
    see: Callable[[Trial], Awaitable[Seen | str]]


async def observe(topic: str, behaviour: str, expected: str, seeing: Awaitable[Seen | str]) -> Observation:
    """What is seen of one behaviour."""
    begun = time.monotonic()
    standing = Standing.FAILS
    try:
        found = await seeing
        seen = found if isinstance(found, Seen) else Seen(found)
        text, standing = seen.text, Standing.DIFFERS if seen.differs else Standing.HOLDS
    except Unexpected as unexpected:
        text = str(unexpected)
    except Blocked as blocked:
        text, standing = str(blocked), Standing.BLOCKED
    except Unseen as unseen:
        text, standing = str(unseen), Standing.UNSEEN
    except Fault as fault:
        text = fault.message
    except Error as error:
        text = f"PostgreSQL refused: {first_line(error)}"
    except httpx2.HTTPError as error:
        text = f"no usable answer: {type(error).__name__}"
    except (KeyError, TypeError, ValueError) as error:
        # an answer of another shape than the one that this program reads
        text = f"the answer cannot be read: {type(error).__name__}: {error}"
    return Observation(topic, behaviour, expected, text, standing, round(time.monotonic() - begun, 2))


def refusal(
    name: str,
    call: Callable[[Trial], Awaitable[Any]],
    message: str,
    code: str,
    sub_code: str = "",
    *,
    tells: Callable[[TwentyFault], bool] | None = None,
) -> Behaviour:
    """A call that must be refused.

    Args:
        message, code, sub_code: as 2.21.0 refuses it, the message by its beginning. Another form is noted.
        tells: what this program reads in the refusal; without it any refusal will do.
    """
    form = ", ".join(filter(None, (code, sub_code)))

    async def see(trial: Trial) -> Seen:
        fault = await refused(call(trial))
        found = in_words(fault.error)
        if tells is not None and not tells(fault):
            raise Unexpected(f"{found}, which is not recognised for what it is")
        same = fault.error.message.startswith(message) and (fault.error.code, fault.error.sub_code) == (code, sub_code)
        return Seen(found, differs=not same)

    return Behaviour(name, f"refused: {message} ({form})", see)


def denied(name: str, call: Callable[[Trial], Awaitable[Any]]) -> Behaviour:
    """A call that Twenty must refuse for want of the right to it."""
    form = ("Entity performing the request does not have permission", "FORBIDDEN", "PERMISSION_DENIED")
    return refusal(name, call, *form, tells=lambda fault: fault.error.code == "FORBIDDEN")


async def refused(call: Awaitable[Any]) -> TwentyFault:
    """The refusal that Twenty answers.

    Raises:
        Unexpected: when it is not refused.
    """
    try:
        answer = await call
    except TwentyFault as fault:
        return fault
    except Fault as fault:
        raise Unexpected(fault.message) from None
    raise Unexpected(f"it was not refused; the answer has {', '.join(answer) if isinstance(answer, dict) else answer}")


def in_words(error: TwentyError) -> str:
    """A refusal as Twenty words it, with its codes."""
    codes = ", ".join(filter(None, (error.code, error.sub_code)))
    return f"refused: {error.message}" + (f" ({codes})" if codes else "")


def must(condition: object, otherwise: str) -> None:
    """Raise `Unexpected` with these words unless that holds."""
    if not condition:
        raise Unexpected(otherwise)
