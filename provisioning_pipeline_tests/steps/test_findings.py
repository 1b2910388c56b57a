"""What a refusal about one person says: who, where, what, and what to do."""

from types import SimpleNamespace
from typing import Any

import pytest

from provisioning_pipeline.clients.twenty.errors import TwentyError, classify
from provisioning_pipeline.clients.twenty.members import Roster
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind
from provisioning_pipeline.model.tenant import MemberPlan
from provisioning_pipeline.steps.members.act.joining import Work, guarded
from provisioning_pipeline.steps.members.changes import ADD_MEMBER

pytestmark = pytest.mark.anyio
SYSTEM = 'Twenty server "eu"'
ADA = MemberPlan("user_1", "ada@x.test", "Ada", "L", "Member", None, (ADD_MEMBER,))
NAMELESS = MemberPlan("user_2", "bob@x.test", "", "", "Member", None, (ADD_MEMBER,))


def work() -> Work:
    scope: Any = SimpleNamespace(plan=SimpleNamespace(tenant=SimpleNamespace(slug="acme")))
    address: Any = None
    return Work(scope, address, Roster((), ()), [])


async def refused(call: str, text: str) -> None:
    raise classify(TwentyError(text, "FORBIDDEN", ""), call=call, system=SYSTEM)


@pytest.mark.parametrize(
    "call",
    [
        "signUpInWorkspace",
        "updateWorkspaceMemberRole",
        "updateWorkspaceMemberSettings",
        "deleteUserFromWorkspace",
        "sendInvitations",
        "getLoginTokenFromCredentials",
    ],
)
async def test_a_refusal_at_any_call_names_person_address_tenant_and_what_to_do(call: str) -> None:
    doing = work()
    await guarded(doing, ADA, refused(call, "No way"))
    await guarded(doing, NAMELESS, refused(call, "No way"))
    ada, bob = doing.findings
    assert (ada.reason, ada.person) == (Reason.REFUSED_BY_TWENTY, "ada@x.test")
    assert ada.message.startswith(f"Ada L (ada@x.test) in the workspace of acme: {SYSTEM} refused {call}: No way.")
    assert ada.message.endswith("the next run tries again.")
    assert bob.message.startswith("bob@x.test in the workspace of acme: ")


async def test_an_address_that_is_none_is_to_be_corrected_at_clerk() -> None:
    doing = work()
    await guarded(doing, ADA, refused("signUpInWorkspace", "email must be an email"))
    assert doing.findings[0].message.endswith("Correct the address at Clerk.")


async def test_what_is_the_servers_trouble_is_no_finding_about_a_person() -> None:
    async def away() -> None:
        raise Fault(FaultKind.SERVER, Reason.SERVER_UNREACHABLE, "away")

    doing = work()
    with pytest.raises(Fault, match="away"):
        await guarded(doing, ADA, away())
    assert doing.findings == []
