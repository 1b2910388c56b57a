"""What Twenty's refusals about our own account and about deleted workspaces ask of an operator."""

from provisioning_pipeline.clients.twenty.errors import TwentyError, TwentyFault, classify, service_account_refused
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import FaultKind

SYSTEM, US = 'Twenty server "eu"', "ops@x.test"
# recorded on 2.21.0
DELETED_TEXT = "Cannot read properties of null (reading 'workspaceDiscoverability')"
DELETED = TwentyError(DELETED_TEXT, "INTERNAL_SERVER_ERROR", "")
DENIED = TwentyError("Entity performing the request does not have permission", "FORBIDDEN", "PERMISSION_DENIED")
OUTSIDE = TwentyError("User is not a member of the workspace.", "FORBIDDEN", "FORBIDDEN_EXCEPTION")
HALF_MADE = TwentyError("Could not find workspace Standard applicationId in cache 1", "INTERNAL_SERVER_ERROR", "")


def classified(error: TwentyError) -> TwentyFault:
    return classify(error, call="someCall", system=SYSTEM)


def test_a_call_that_our_account_may_no_longer_make_says_who_can_change_that() -> None:
    fault = classified(DENIED)
    assert (fault.kind, fault.reason) == (FaultKind.TENANT, Reason.SERVICE_ACCOUNT_DEMOTED)
    assert "make it Admin again" in fault.message


def test_our_account_outside_of_a_workspace_is_the_tenants_trouble_and_not_the_servers() -> None:
    fault = service_account_refused(SYSTEM, US, classified(OUTSIDE))
    assert (fault.kind, fault.reason) == (FaultKind.TENANT, Reason.SERVICE_ACCOUNT_REMOVED)
    assert US in fault.message
    assert "invite" in fault.message


def test_a_workspace_that_was_deleted_by_sql_is_a_persons_trouble_and_for_our_account_the_servers() -> None:
    fault = classified(DELETED)
    assert (fault.kind, fault.reason) == (FaultKind.TENANT, Reason.DELETED_WORKSPACE_IN_USE)
    assert "`provisioning plan` says which" in fault.message
    assert service_account_refused(SYSTEM, US, fault).kind is FaultKind.SERVER


def test_a_workspace_that_a_killed_server_remembers_half_names_the_command_that_empties_its_cache() -> None:
    fault = classified(HALF_MADE)
    assert (fault.kind, fault.reason) == (FaultKind.TENANT, Reason.ACTIVATION_FAILED)
    assert "cache:flush" in fault.message
