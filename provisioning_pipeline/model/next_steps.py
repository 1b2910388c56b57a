"""What a person does next about each reason, in one sentence that holds for every tenant with that reason.

A condition's message tells one tenant's facts; this is what a report says once for all of them. The long form is
docs/troubleshooting.md.
"""

from collections.abc import Mapping

from provisioning_pipeline.model.condition import Reason

NOTHING = "Nothing: the next run goes on by itself."

_NEXT_STEPS: Mapping[Reason, str] = {
    Reason.DATABASE_MISSING: "Let the tenant manager create the database again, or remove the registry row.",
    Reason.DATABASE_VANISHED: "Nothing, if the tenant manager cleaned up; else let it create the database again.",
    Reason.DATABASE_INVALID: "Drop the database; let the tenant manager create it anew if the tenant is to stay.",
    Reason.DATABASE_CLOSED: "Have the database's owner run ALTER DATABASE ... WITH ALLOW_CONNECTIONS true.",
    Reason.DATABASE_UNREACHABLE: "Give our user CONNECT and SELECT there (docs/operations.md, database privileges).",
    Reason.TENANT_DATABASE_UNSAFE: "Have the owner of that database take away what the sentence names.",
    Reason.TENANT_DATABASE_TOO_LARGE: "Have the owner of that database remove what the sentence names.",
    Reason.NOT_REGISTERED: "Register it, or set PROVISIONING_ADOPT_DATABASES=true.",
    Reason.ADOPTION_REFUSED: "Let the tenant manager register the database.",
    Reason.TENANT_SUSPENDED: "Nothing: the registry has set it aside.",
    Reason.TENANT_GONE: "Remove the workspace in Twenty if the customer left.",
    Reason.REGISTRY_ROW_GONE: "Drop the database if the customer left; else have the registry row put back.",
    Reason.REGISTRY_IN_DOUBT: "Have the registry's rows put back, or approve their loss under the name that is told.",
    Reason.REGISTRY_AMBIGUOUS: "Keep one registry row per database and per workspace, under the database's own name.",
    Reason.REGISTRY_UNREACHABLE: "Check PROVISIONING_REGISTRY_URL and that server.",
    Reason.REGISTRY_REFUSED: "Grant the right that the message names, or set PROVISIONING_REGISTRY_READY_STATUS.",
    Reason.NO_SERVER_FOR_TENANT: "Add a Twenty server, or widen a server's rule `tenants`.",
    Reason.SERVER_FULL: "Raise `capacity`, give Twenty an enterprise key, or add a server; the rest goes by itself.",
    Reason.SERVER_UNREACHABLE: "Check that the Twenty server is up and reachable from here.",
    Reason.SERVER_ERROR: "Nothing at first; if it stays, lower PROVISIONING_TENANT_CONCURRENCY.",
    Reason.SERVER_DATABASE_UNREACHABLE: "Check PROVISIONING_TWENTY_DATABASE_URL and our user's rights there.",
    Reason.SERVER_NOT_CONFIGURED: "Put the server back into the settings under the same name.",
    Reason.CREDENTIALS_REFUSED: "Correct the service account's password or the Clerk key in the settings.",
    Reason.SERVICE_ACCOUNT_MISSING: "Sign the service account up and make it a server admin (docs/operations.md).",
    Reason.CREATION_RESTRICTED: "Make the service account a server admin, and allow several workspaces in Twenty.",
    Reason.UNSUPPORTED_TWENTY: "Do what the message says; `provisioning preflight` names what is missing.",
    Reason.SUBDOMAIN_TAKEN: "Rename one of the workspaces that hold the tenant's subdomains.",
    Reason.SUBDOMAIN_REFUSED: NOTHING,
    Reason.ACTIVATION_BUSY: NOTHING,
    Reason.ACTIVATION_FAILED: "Look into Twenty's server log; the next run tries again.",
    Reason.WORKSPACE_UNPAID: "Have the customer pay in Twenty (Settings > Billing), within 7 days of its creation.",
    Reason.WORKSPACE_GONE: "`provisioning restart TENANT`, if the tenant is to get a new workspace.",
    Reason.DELETED_WORKSPACE_IN_USE: 'Give our user UPDATE on core."userWorkspace"; the next run retires the rows.',
    Reason.SERVICE_ACCOUNT_REMOVED: "Have an admin of the workspace invite the service account again, as Admin.",
    Reason.SERVICE_ACCOUNT_DEMOTED: "Have an admin of the workspace make the service account Admin again.",
    Reason.WORKSPACE_SUSPENDED: "Reactivate the workspace in Twenty's admin panel.",
    Reason.CONTRACT_UNPROVED: "Put right what the message says is new after the upgrade of Twenty.",
    Reason.PASSWORD_LOGIN_OFF: "Have an admin of the workspace turn Email and password on (Settings > Security).",
    Reason.SECOND_FACTOR_REQUIRED: "Have an admin of the workspace no longer enforce it (Settings > Security).",
    Reason.WORKSPACE_INCOMPLETE: "Do what the message says: it names who or what is missing in the workspace.",
    Reason.REFUSED_BY_TWENTY: "Read Twenty's words in the message, and its server log.",
    Reason.TENANT_BUSY: "Nothing; if it stays, look for a run that hangs.",
    Reason.UNEXPECTED_ERROR: "Report it as a defect; the next run tries again.",
    Reason.WAITING: NOTHING,
    Reason.NO_ORGANIZATION: "Write the id of its Clerk organization as `clerk_org_id` into the registry row.",
    Reason.ORGANIZATION_PROPOSED: "Confirm the organization: write its id as `clerk_org_id` into the registry row.",
    Reason.ORGANIZATION_AMBIGUOUS: "Leave the organization's id as `clerk_org_id` in the row of one tenant.",
    Reason.ORGANIZATION_MISSING: "Correct `clerk_org_id` in the registry row.",
    Reason.CLERK_UNREACHABLE: "Nothing at first; then check PROVISIONING_CLERK_BASE_URL and Clerk's status.",
    Reason.CLERK_READ_INCOMPLETE: "Nothing at first: the next run reads anew.",
    Reason.EMAIL_UNVERIFIED: "Have the person verify their e-mail at Clerk.",
    Reason.EMAIL_CHANGED: "Change the account's e-mail in Twenty, or undo the change at Clerk.",
    Reason.ACCOUNT_AMBIGUOUS: "Delete or rename all but one of the accounts in Twenty.",
    Reason.ACCOUNT_CLAIMED_TWICE: "Merge or delete one of the two people at Clerk.",
    Reason.ACCOUNT_UNPROVEN: "Ask whether the account is theirs; then `provisioning vouch`, or delete it in Twenty.",
    Reason.FOREIGN_PASSWORD: "Invite the person once in Twenty (Settings > Members); the next run links them.",
    Reason.INVITED: "Have the person accept Twenty's invitation.",
    Reason.HALF_MEMBER: "Grant the right, or delete the record, that the message names; the next run goes on.",
    Reason.ROLE_DIFFERS: "Nothing at first: the next run sets it; then look who changes roles in Twenty.",
    Reason.ROLE_UNKNOWN: "Make the role in Twenty, or correct PROVISIONING_MEMBER_ROLES.",
    Reason.MEMBERS_GONE: "Remove them in Twenty, or set PROVISIONING_MEMBERS_GONE.",
    Reason.LAST_ADMIN_KEPT: "Make somebody else admin at Clerk.",
    Reason.WAITS_FOR_APPROVAL: "Look at `provisioning plan`, then approve it or correct Clerk.",
    Reason.REMOVAL_NOT_PROVED: "Look at that person in Twenty (Settings > Members) now.",
    Reason.EXTERNAL_ID_TAKEN: "Clear the external id at Clerk, or set PROVISIONING_CLERK_STORE_EXTERNAL_ID=false.",
    Reason.STEPS_PENDING: "Give our user the right that the message names; the next run removes the rows.",
    Reason.ADMIN_UNKNOWN: "Make someone admin of its organization at Clerk, or name an admin in the registry row.",
    Reason.ADMIN_EMAIL_UNVERIFIED: "Have the admin verify their e-mail at Clerk.",
    Reason.INVITE_LINK_DISABLED: "Turn the invite link on in Twenty (Settings > Members).",
    Reason.LOGIN_REFUSED: "Look at the account in Twenty's admin panel.",
    Reason.WRONG_WORKSPACE: "Look at the person's workspaces and at the workspace's address in Twenty.",
    Reason.WIZARD_SHOWS: "`provisioning apply TENANT` clears it now; if it comes back, look for what sets it.",
}


def next_step(reason: Reason) -> str:
    """What to do about this reason."""
    return _NEXT_STEPS.get(reason, NOTHING)
