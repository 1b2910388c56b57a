"""The step install_apps: what is not installed yet is installed, as our account."""

from pydantic import TypeAdapter

from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty.operation import Answer, Id, Operation
from provisioning_pipeline.model.condition import Reason, is_true
from provisioning_pipeline.steps.scope import Scope, workspace_address
from provisioning_pipeline_tests.steps.install_apps.changes import APPS, APPS_INSTALLED, INSTALL_APPS


class _App(Answer):
    universal_identifier: Id


_FIND = Operation(
    "findManyApplications",
    Effect.READ,
    kind="query",
    selection="{ universalIdentifier }",
    answer=TypeAdapter(list[_App]),
)
_INSTALL = Operation(
    "installApplication",
    # installing what is installed answers the same app (2.21.0)
    Effect.WRITE,
    {"app": "String!"},
    "universalIdentifier: $app",
    "{ universalIdentifier }",
    answer=TypeAdapter(_App),
)


async def install_apps(scope: Scope) -> None:
    """Install what is missing, and settle AppsInstalled.

    Raises:
        Fault: when Twenty refuses an app; those before it stay installed.
    """
    scope.server.must_be_usable()
    address = await workspace_address(scope, await scope.link())
    installed = {app.universal_identifier for app in await scope.client.call_in(address, _FIND)}
    missing = [app for app in APPS if app not in installed]
    if missing:
        async with scope.change(INSTALL_APPS, ", ".join(missing)):
            for app in missing:
                await scope.client.call_in(address, _INSTALL, {"app": app})
    scope.set(is_true(APPS_INSTALLED, Reason.NOTHING_PENDING, f"All {len(APPS)} apps are installed."))
