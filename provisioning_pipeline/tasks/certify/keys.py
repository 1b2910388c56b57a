"""An API key of a throw-away workspace. This program makes none otherwise."""

from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty.accounts import Token
from provisioning_pipeline.clients.twenty.operation import Answer, Operation, TokenText
from provisioning_pipeline.clients.twenty.operations import WithId
from provisioning_pipeline.model.people import ADMIN_ROLE
from provisioning_pipeline.tasks.certify.locked import MadeKey
from provisioning_pipeline.tasks.certify.trial import Place, Trial, setting_up

_LIVES = timedelta(days=1)


class _KeyToken(Answer):
    token: TokenText


_CREATE_API_KEY = Operation(
    "createApiKey",
    Effect.WRITE,
    {"name": "String!", "expiresAt": "String!", "roleId": "UUID!"},
    "input: {name: $name, expiresAt: $expiresAt, roleId: $roleId}",
    "{ id }",
    answer=TypeAdapter(WithId),
)
_GENERATE_API_KEY_TOKEN = Operation(
    "generateApiKeyToken",
    Effect.WRITE,
    {"apiKeyId": "UUID!", "expiresAt": "String!"},
    selection="{ token }",
    answer=TypeAdapter(_KeyToken),
)


async def make_key(trial: Trial, place: Place) -> MadeKey:
    """Make an API key that has the role Admin there.

    Raises:
        Blocked: when Twenty makes none.
    """
    ours, until = await trial.own_token(place), datetime.now(UTC) + _LIVES
    variables = {"name": "certify", "expiresAt": until.isoformat(), "roleId": place.roles[ADMIN_ROLE]}
    lacking = "no API key could be made"
    made = await setting_up(lacking, trial.call(_CREATE_API_KEY, variables, ours))
    asked = {"apiKeyId": made.id, "expiresAt": until.isoformat()}
    answer = await setting_up(lacking, trial.call(_GENERATE_API_KEY_TOKEN, asked, ours))
    return MadeKey(made.id, Token(answer.token, until))
