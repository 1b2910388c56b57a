"""Does this server have everything that we are going to call?

Twenty refuses introspection to everyone without a workspace (production), and a fresh server has no workspace.
So every operation is sent with its root field skipped: the server validates fields, arguments and types against
its own schema, runs nothing, and names what it lacks. That works without a token and on any version.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind

_LACKS = (
    re.compile(r'Cannot query field "(?P<field>\w+)" on type "(?P<type>\w+)"'),
    re.compile(r'Unknown argument "(?P<field>\w+)" on field "(?P<type>[\w.]+)"'),
    re.compile(r'Field "(?P<field>\w+)" is not defined by type "(?P<type>\w+)"'),
    re.compile(r'Field "(?P<type>[\w.]+)" argument "(?P<field>\w+)" of type .* is required'),
    re.compile(r'Unknown type "(?P<field>\w+)"'),
)


def lacking(messages: Iterable[str]) -> tuple[str, ...]:
    """What validation errors say is missing, as `Type.field`; any other complaint stands as it is."""
    found: list[str] = []
    for message in messages:
        match = next((hit for pattern in _LACKS if (hit := pattern.search(message))), None)
        if match:
            groups = match.groupdict()
            found.append(f"{groups['type']}.{groups['field']}" if groups.get("type") else groups["field"])
        else:
            found.append(message)
    return tuple(dict.fromkeys(found))


def unsupported(system: str, missing: Iterable[str]) -> Fault:
    """The refusal to write to a server that lacks something."""
    names = ", ".join(missing)
    return Fault(
        FaultKind.SERVER,
        Reason.UNSUPPORTED_TWENTY,
        f"{system} lacks what provisioning needs: {names}. Nothing was written to it. "
        "Use a Twenty of the 2.x line (measured: 2.21).",
    )


def check_config(system: str, config: Mapping[str, Any]) -> None:
    """Refuse a server whose own settings make it send e-mails to new members, or keep programs out.

    Read off Twenty 2.21's source: with e-mail verification required, joining sends an e-mail and no login works
    before it is answered; with a captcha, or without passwords, no program signs in.

    Raises:
        Fault: of kind SERVER, naming the settings to change there.
    """
    wrong = []
    if config.get("isEmailVerificationRequired"):
        wrong.append("IS_EMAIL_VERIFICATION_REQUIRED=false (new members would get an e-mail and could not sign in)")
    if (config.get("captcha") or {}).get("provider"):
        wrong.append("no CAPTCHA_DRIVER (no program can sign in past a captcha)")
    if (config.get("authProviders") or {}).get("password") is False:
        wrong.append("AUTH_PASSWORD_ENABLED=true (the service account signs in by password)")
    if wrong:
        raise Fault(
            FaultKind.SERVER,
            Reason.UNSUPPORTED_TWENTY,
            f"{system} cannot be provisioned as it is set up. Nothing was written to it. It needs {'; '.join(wrong)}.",
        )
