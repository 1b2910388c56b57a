"""What each reason means and what a person does about it: the one place where that is written.

Reports, alerts, tables and `provisioning status` take the next step from here, and docs/troubleshooting.md is rendered
from all of it (`python -m provisioning_pipeline.cli.reference`). A condition's message adds one tenant's own facts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from provisioning_pipeline.model.condition import ConditionType, Reason

_WAIT = "Nothing: the next run goes on by itself."
_NONE = "Nothing."


@dataclass(frozen=True, slots=True)
class Explanation:
    """What people are told about one reason, whichever tenant has it.

    Args:
        means: what is the case, in Markdown. Links are relative to the folder docs.
        next_step: what a person does next, in one sentence without links.
        details: what else the page says about that step, in Markdown.
    """

    means: str
    next_step: str = _WAIT
    details: str = ""


_DETECTED: Mapping[Reason, Explanation] = {
    Reason.DATABASE_PRESENT: Explanation("The database is on the cluster.", _NONE),
    Reason.DATABASE_MISSING: Explanation(
        "The registry has a row, but the cluster has no such database: its creation broke off or has not ended yet.",
        "Let the tenant manager create the database again, or remove the registry row.",
    ),
    Reason.DATABASE_VANISHED: Explanation(
        "The database was dropped while a run was reading it.",
        "Nothing, if the tenant manager cleaned up; else let it create the database again.",
    ),
    Reason.DATABASE_INVALID: Explanation(
        "A `DROP DATABASE` was interrupted (`datconnlimit = -2` in `pg_database`), so nothing can ever connect to this "
        "database again. No workspace is made for its tenant.",
        "Drop the database; let the tenant manager create it anew if the tenant is to stay.",
        "Its owner has to drop it.",
    ),
    Reason.DATABASE_CLOSED: Explanation(
        "The database takes no connections (`ALLOW_CONNECTIONS false`, or `CONNECTION LIMIT 0`). Meanwhile runs do "
        "nothing for its tenant and take nothing away: sessions still pass.",
        "Have the database's owner run ALTER DATABASE ... WITH ALLOW_CONNECTIONS true.",
        "The next run goes on.",
    ),
}

_TENANT_DATABASE: Mapping[Reason, Explanation] = {
    Reason.DATABASE_UNREACHABLE: Explanation(
        "The database could not be read; the message says why. Until then an adopted tenant or a workspace inserted "
        "by SQL may lack its display name, no member is taken over from there, and no row is removed. As the error of "
        "a whole run it means the tenant cluster.",
        "Give our user CONNECT and SELECT there (docs/installation.md, database privileges).",
        "[Database privileges](installation.md#database-privileges) has the grants. For the cluster, check "
        "`PROVISIONING_TENANT_CLUSTER_URL`.",
    ),
    Reason.NO_SCHEMA_YET: Explanation("The database has no schema `core`.", _NONE),
    Reason.DATABASE_REFUSED: Explanation(
        "PostgreSQL refused the repair, mostly because a right is missing. Nothing was changed.",
        'Grant UPDATE and DELETE on core."keyValuePair" there, or set PROVISIONING_TENANT_DATABASES=report.',
        "To mend a workspace, grant UPDATE on `core.workspace` too ([grants](installation.md#database-privileges)).",
    ),
    Reason.TENANT_DATABASE_UNSAFE: Explanation(
        "Something stands there through which the database's owner could run code with our rights: a view or a foreign "
        "table in place of a table, a row policy, a trigger, a rule, or an index or default that calls a function of "
        "theirs. So we did not read the database, or changed no row in it. The message names what it is.",
        "Have the owner of that database take away what the message names.",
        "Nothing else of the tenant waits for it. [security.md](security.md) says why.",
    ),
    Reason.TENANT_DATABASE_TOO_LARGE: Explanation(
        "The database holds more rows, or larger values, than we read of one tenant. The message names the table and "
        "the limit. We took nothing from it.",
        "Have the owner of that database remove what the message names.",
        "Where the rows are honest, raise `PROVISIONING_TENANT_DATABASE_ROWS` instead.",
    ),
    Reason.OLDER_SCHEMA: Explanation(
        "Tables or columns are missing there: the copy is of an older Twenty, or incomplete. What is there was read.",
        _NONE,
    ),
    Reason.HAND_MADE_WORKSPACE: Explanation(
        "A workspace was inserted there by SQL and lacks what Twenty's own workspaces have; no one can open it, and "
        "the tenant has a proper one. Or a complete workspace was left in `PENDING_CREATION`.",
        "Nothing; to make a complete workspace ACTIVE, set PROVISIONING_MEND_HAND_MADE=true.",
        "The rows of an incomplete workspace stay as they are.",
    ),
    Reason.ROWS_REPORTED: Explanation(
        "Onboarding rows of our members are pending there, and `PROVISIONING_TENANT_DATABASES` is `report`.",
        "Set PROVISIONING_TENANT_DATABASES=repair to have the rows removed.",
    ),
    Reason.ROWS_CHANGED: Explanation(
        "Rows or workspaces changed between reading and repair, so we left them. With the words `lets us change` "
        "(which also occur for a Twenty server) PostgreSQL let us delete fewer rows than it showed us, so we deleted "
        "none.",
        "Nothing at first: the next run reads again.",
        "With the words `lets us change`, look for a trigger or a row policy on that table.",
    ),
    Reason.NOTHING_PENDING: Explanation("No onboarding row of our members is pending there.", _NONE),
}

_REGISTERED: Mapping[Reason, Explanation] = {
    Reason.REGISTRY_ROW: Explanation("The registry has a row for the database.", _NONE),
    Reason.ADOPTED: Explanation(
        "The database had no registry row, and we added one.",
        "Write the id of its Clerk organization as `clerk_org_id` into the registry row.",
    ),
    Reason.NOT_REGISTERED: Explanation(
        "The database has no registry row and `PROVISIONING_ADOPT_DATABASES` is off; or its name belongs to a tenant "
        "that is suspended or was taken out of the registry; or nothing can connect to it. As the error of a whole "
        "run: the configured table is not a tenant registry.",
        "Register it, or set PROVISIONING_ADOPT_DATABASES=true.",
        "For a whole run, correct `PROVISIONING_REGISTRY_TABLE`.",
    ),
    Reason.ADOPTION_REFUSED: Explanation(
        "The database has no registry row and the table did not take one. The message says why: a required column, a "
        "slug that is taken, a missing INSERT grant.",
        "Let the tenant manager register the database.",
    ),
    Reason.TENANT_SUSPENDED: Explanation(
        "The registry's status is one of `PROVISIONING_REGISTRY_EXCLUDED_STATUSES`. The tenant is excluded on purpose: "
        "it counts neither as ready nor as not ready.",
        "Nothing: the registry has excluded it.",
    ),
    Reason.TENANT_GONE: Explanation(
        "Database and row are gone (or only the row, if the tenant had no database). The tenant is excluded. Its "
        "workspace stays until its [offboarding](operations.md#customers-who-left) is approved.",
        "Look at `provisioning plan`, or run `provisioning offboard TENANT`, if the customer left.",
    ),
    Reason.REGISTRY_ROW_GONE: Explanation(
        "The database once had a registry row; the row was deleted and the database stayed. The tenant is excluded and "
        "the gateway refuses it, like a suspended one. No run adopts it again, even if the database is created anew.",
        "Drop the database if the customer left; else have the registry row put back.",
        "To bring the tenant back, have the tenant manager insert the row, or ask for it with `PUT /v1/tenants/SLUG`: "
        "the next run goes by the row.",
    ),
    Reason.REGISTRY_CHANGED: Explanation(
        "A run was about to lock, archive or delete the tenant's workspace, and asked the registry once more: it says "
        "something else of the tenant than when the run planned, or cannot be read. Nothing was taken.",
        "Nothing; the next run plans anew, by what the registry says then.",
    ),
    Reason.REGISTRY_IN_DOUBT: Explanation(
        "The registry has [lost many rows at once](operations.md#a-registry-that-lost-rows), so we adopt no database "
        "without a row.",
        "Have the registry's rows put back, or approve their loss under the name that plan and report show.",
    ),
    Reason.MOVE_IN_DOUBT: Explanation(
        "A registry row that was one tenant's names another database now, and the rest does not fit: that database is "
        "another tenant's, or two tenants changed places, or nothing but a number says that it is the same tenant. The "
        "tenants that the message names [stay as they are](operations.md#moves), with their workspaces.",
        "Have the tenant manager write each tenant's own database, slug and clerk_org_id into its row.",
    ),
    Reason.DATABASE_LEFT: Explanation(
        "The tenant that had this database has [another one](operations.md#moves) by its registry row, and took its "
        "workspace along. We do not adopt the database that it left.",
        "Drop the database when nothing there is needed any more.",
        "If another tenant is to have it, register it: the row makes it that tenant's.",
    ),
    Reason.REGISTRY_AMBIGUOUS: Explanation(
        "Several rows name this database, or the same workspace. Or a row without a database spells this one's name "
        "differently (capitals, a blank, more than the 63 bytes that PostgreSQL keeps), so we do not adopt it.",
        "Keep one registry row per database and per workspace, under the database's own name.",
        "Leave the workspace id in the row of its own tenant; write `database_name` as `\\l` shows it.",
    ),
    Reason.REGISTRY_UNREACHABLE: Explanation(
        "The registry's database gave no connection.",
        "Check PROVISIONING_REGISTRY_URL and that server.",
    ),
    Reason.REGISTRY_REFUSED: Explanation(
        "The registry's database refused a statement: a right is missing, or its column does not take a status. Or a "
        "trigger, a rule or a policy of the table drops what we write. As the error of a whole run, and in the "
        "gateway's log: row-level security, a missing right to a column, or a materialized view would show us a part "
        "of the registry as if it were the whole.",
        "Grant the right that the message names, or set PROVISIONING_REGISTRY_READY_STATUS.",
        "The message has the statement.",
    ),
}

_WORKSPACE_READY: Mapping[Reason, Explanation] = {
    Reason.WORKSPACE_ACTIVE: Explanation("The workspace is active.", _NONE),
    Reason.NO_SERVER_FOR_TENANT: Explanation(
        "Each configured Twenty server is reserved for another tenant, or has a rule `tenants` that does not match.",
        "Add a Twenty server, or widen a server's rule `tenants`.",
    ),
    Reason.SERVER_FULL: Explanation(
        "No server has room: `capacity` is reached, or Twenty refused (5 workspaces without an enterprise key).",
        "Raise `capacity`, give Twenty an enterprise key, or add a server; the rest goes by itself.",
    ),
    Reason.SERVER_UNREACHABLE: Explanation(
        "Twenty gave no usable answer after several tries: none at all, an HTTP 5xx, or an answer that is not Twenty's "
        "(a proxy's HTML page, broken JSON, a field that is missing or of another type). The message says which call "
        "and what came back. Other tenants went on.",
        "Check that the Twenty server is up and reachable from here.",
        "Check its base URL, and what stands in front of it: proxy, firewall, login page.",
    ),
    Reason.SERVER_ERROR: Explanation(
        "Twenty limits the rate of a call.",
        "Nothing at first; if it stays, lower PROVISIONING_TENANT_CONCURRENCY.",
    ),
    Reason.SERVER_DATABASE_UNREACHABLE: Explanation(
        "The server's database gave no connection, or our user may not read it.",
        "Check PROVISIONING_TWENTY_DATABASE_URL and our user's rights there.",
        "See the [grants](installation.md#database-privileges).",
    ),
    Reason.SERVER_NOT_CONFIGURED: Explanation(
        "The tenant lives on a server whose name is not in the settings. We move no workspace to another server.",
        "Put the server back into the settings under the same name.",
        "[Moves](operations.md#moves) says what to do if the tenant is to live elsewhere.",
    ),
    Reason.CREDENTIALS_REFUSED: Explanation(
        "Twenty refuses the service account's password. As the error of a whole run, Clerk refuses its key.",
        "Correct the service account's password or the Clerk key in the settings.",
        "They are `PROVISIONING_TWENTY_SERVICE_PASSWORD` (or its entry in `PROVISIONING_TWENTY_SERVERS`) and "
        "`PROVISIONING_CLERK_SECRET_KEY`.",
    ),
    Reason.SERVICE_ACCOUNT_MISSING: Explanation(
        "The server has users, but not our account. If Twenty deleted the account with its last workspace, this reason "
        "does not appear: the next run that makes a workspace signs it up anew.",
        "Sign the service account up and make it a server admin (docs/installation.md).",
        "[The service account](installation.md#the-service-account) has the commands.",
    ),
    Reason.CREATION_RESTRICTED: Explanation(
        "Twenty lets only server admins create workspaces and our account is not one; or multi-workspace mode is off "
        "there.",
        "Make the service account a server admin, and allow several workspaces in Twenty.",
        "Instead of the first, `IS_WORKSPACE_CREATION_LIMITED_TO_SERVER_ADMINS=false` will do; the second is "
        "`IS_MULTIWORKSPACE_ENABLED=true`.",
    ),
    Reason.UNSUPPORTED_TWENTY: Explanation(
        "The server lacks something that we need (fields, arguments, columns: the message names them), or is a Twenty "
        "1.x, or the address leads to something other than Twenty, or the configured database is not the server's, or "
        "something on the way adds a browser's session cookie (`CSRF_ORIGIN_MISMATCH`). We wrote nothing to it.",
        "Do what the message says; `provisioning preflight` names what is missing.",
        "Check base URL and database URL.",
    ),
    Reason.SUBDOMAIN_TAKEN: Explanation(
        "Every candidate belongs to another workspace; or the workspace that we found is linked to another tenant.",
        "Rename one of the workspaces that hold the tenant's subdomains.",
    ),
    Reason.SUBDOMAIN_REFUSED: Explanation(
        "Twenty does not take the subdomain. We try the next candidate.",
        _WAIT,
    ),
    Reason.ACTIVATION_BUSY: Explanation(
        "Twenty has begun to activate the workspace, and we cannot see whether it is still doing so. A run waits for "
        "an activation that began within the last 20 seconds. If the server was stopped meanwhile, it takes the call "
        "again after 5 minutes; the message says when. No run waits so long, and the other tenants go on.",
        _WAIT,
        "The tenant is due again at that time, and the first run after it makes the call.",
    ),
    Reason.ACTIVATION_FAILED: Explanation(
        "Twenty activated the workspace, but its status is not ACTIVE.",
        "Look into Twenty's server log; the next run tries again.",
        "A server that was killed while it made the workspace may remember half of it (`…applicationId in cache`): "
        "empty its cache as the message says, `yarn command:prod cache:flush` on Twenty 2.21.",
    ),
    Reason.WORKSPACE_UNPAID: Explanation(
        "Twenty asks for a subscription and the workspace has none (status CREATED, from 2.22 on, with billing on). It "
        "exists and its members are in it, but they get no further than the bill, so no login is proved. Twenty "
        "deletes the workspace 7 days after its creation.",
        "Have the customer pay in Twenty (Settings > Billing), within 7 days of its creation.",
        "The next run proves the logins.",
    ),
    Reason.WORKSPACE_GONE: Explanation(
        "The workspace was deleted in Twenty, and Twenty has no call that brings it back. No run makes another one by "
        "itself. A verification reports it for each login.",
        "`provisioning restart TENANT`, if the tenant is to get a new workspace.",
        "The new one is empty ([start anew](operations.md#starting-anew-with-a-tenant)).",
    ),
    Reason.DELETED_WORKSPACE_IN_USE: Explanation(
        "A workspace was marked as deleted by SQL and its memberships stayed. Each sign-in of such a member then fails "
        "on the whole server (2.21.0: `Cannot read properties of null (reading 'workspaceDiscoverability')`), and so "
        "do ours. Before it signs in, a run ends the memberships of tenants' workspaces and of those that our account "
        "is in, as Twenty's own deletion does; `provisioning plan` says which.",
        'Give our user UPDATE on core."userWorkspace"; the next run retires the rows.',
        "The column `deletedAt` will do ([grants](installation.md#database-privileges)). We only report a workspace "
        "that is not ours: delete it by Twenty's own call.",
    ),
    Reason.WORKSPACE_SUSPENDED: Explanation(
        "Twenty says that the workspace is neither active nor being created (suspended, inactive).",
        "Reactivate the workspace in Twenty's admin panel.",
    ),
    Reason.SERVICE_ACCOUNT_REMOVED: Explanation(
        "A customer's admin removed our account from the workspace, so we can do nothing there.",
        "Have an admin of the workspace invite the service account again, as Admin.",
        "They do it under Settings > Members. The next run comes back by signing in.",
    ),
    Reason.SERVICE_ACCOUNT_DEMOTED: Explanation(
        "A customer's admin took the role Admin from our account, or Twenty refused a call of ours because rights were "
        "missing. We can do nothing there, and members who join meanwhile keep their wizard.",
        "Have an admin of the workspace make the service account Admin again.",
        "The next run does everything that is due.",
    ),
    Reason.CONTRACT_UNPROVED: Explanation(
        "The server differs from the Twenty versions that we know, for example by a new onboarding step. On such a "
        "server one canary tenant goes first, and its login was not proved; or none of the tenants due has a member "
        "whose login we could prove. We did not touch this tenant.",
        "Put right what the message says is new after the upgrade of Twenty.",
        "The message also says how the canary tenant ended. "
        "[After an upgrade of Twenty](installation.md#after-an-upgrade-of-twenty) has the steps; a later run tries "
        "again by itself.",
    ),
    Reason.PASSWORD_LOGIN_OFF: Explanation(
        "An admin of the workspace turned login by e-mail and password off, so the service account cannot sign in and "
        "no new member can join. We sign in members who are inside by impersonation where the service account still "
        "can.",
        "Have an admin of the workspace turn Email and password on (Settings > Security).",
        "It is enough that admins may bypass that it is off. The next run goes on.",
    ),
    Reason.SECOND_FACTOR_REQUIRED: Explanation(
        "The workspace enforces a second factor, which a program does not have; or the person has one and the service "
        "account cannot impersonate them.",
        "Have an admin of the workspace no longer enforce it (Settings > Security).",
        "Members with a second factor of their own need nothing: we check their logins by impersonation.",
    ),
    Reason.WORKSPACE_INCOMPLETE: Explanation(
        "The workspace says ACTIVE but was not made by Twenty's own services; or it lacks the service account, that "
        "account's member record, or the record of the admin or of a member.",
        "Do what the message says: it names who or what is missing in the workspace.",
        "Add the service account as Admin, remove the person and have them added again, or start anew.",
    ),
    Reason.REFUSED_BY_TWENTY: Explanation(
        "Twenty refused a call for a reason that we do not know; the message has Twenty's own words.",
        "Read Twenty's words in the message, and its server log.",
    ),
    Reason.TENANT_BUSY: Explanation(
        "Another run has held this tenant's lock for longer than `PROVISIONING_LOCK_WAIT_SECONDS`; or the connection "
        "that held our lock broke, and this run stopped before its next write. The message names the session that "
        "holds the lock.",
        "Nothing; if it stays, look for a run that hangs.",
        "Or end that session with the statement that the message gives. Where its role is `none of this program's`, "
        "keep that role out, too.",
    ),
    Reason.UNEXPECTED_ERROR: Explanation(
        "An error that we did not foresee, named by file, line and type. The run fails because of it.",
        "Report it as a defect; the next run tries again.",
    ),
    Reason.WAITING: Explanation(
        "No run has looked at this yet, or an earlier condition does not hold yet.",
        _WAIT,
    ),
}

_MEMBERS_SYNCED: Mapping[Reason, Explanation] = {
    Reason.MEMBERS_LINKED: Explanation(
        "Every active member of the Clerk organization is linked and in the workspace with the right role.",
        _NONE,
    ),
    Reason.NO_ORGANIZATION: Explanation(
        "The tenant has no Clerk organization, so we keep only its admin. The tenant can be ready all the same.",
        "Nothing; if it has an organization, write that id as `clerk_org_id` into the registry row.",
    ),
    Reason.ORGANIZATION_PROPOSED: Explanation(
        "A Clerk organization has exactly the tenant's slug, and nothing else says whose it is. We added no member.",
        "Confirm the organization: write its id as `clerk_org_id` into the registry row.",
        "Or set `PROVISIONING_ADOPT_BY_SLUG=true`.",
    ),
    Reason.ORGANIZATION_AMBIGUOUS: Explanation(
        "Several tenants claim the same organization in the same way (by the registry, or by `twenty_workspace_id` in "
        "its metadata); or another tenant has it already, or got it while the run was reading; or several tenants have "
        "its slug; or several organizations name one workspace. This tenant does not get the organization, and we "
        "added and removed no member. The tenant that [has it](security.md#whose-an-organization-is) keeps it.",
        "Leave the organization's id as `clerk_org_id` in the row of one tenant.",
        "To move an organization that the other tenant's row never named, write it there first and let a run look, "
        "then take it out.",
    ),
    Reason.ORGANIZATION_MISSING: Explanation(
        "Clerk knows no organization with that id. We remove no member for that.",
        "Correct `clerk_org_id` in the registry row.",
        "The key of another Clerk instance shows like this too.",
    ),
    Reason.CLERK_UNREACHABLE: Explanation(
        "Clerk gave no usable answer after several tries: none at all, an HTTP 5xx, or an answer that is not Clerk's "
        "(an HTML page, a 404 from something in front of it, JSON of another shape). We remove no member for that, and "
        "tenants whose members were compared before keep that result.",
        "Nothing at first; then check PROVISIONING_CLERK_BASE_URL and Clerk's status.",
        "We take that URL as it is; Clerk's own needs `/v1`. For HTTP 429 see the [rate limit](operations.md#members).",
    ),
    Reason.CLERK_READ_INCOMPLETE: Explanation(
        "We could not prove that Clerk's answer is complete, on the second try either: a short page, a page that could "
        "not be read, a count that changed, an entry that we could not understand. The organization, or its admin, was "
        "not in it. An incomplete read never removes or demotes anyone.",
        "Nothing at first: the next run reads anew.",
        "If it stays, the message says which list is in doubt and why.",
    ),
    Reason.EMAIL_UNVERIFIED: Explanation(
        "A member has no verified primary e-mail at Clerk, so we can neither make nor find an account for them.",
        "Have the person verify their e-mail at Clerk.",
        "The next run adds them.",
    ),
    Reason.EMAIL_CHANGED: Explanation(
        "Clerk has a new e-mail for a linked member. They stay linked to their account with its old e-mail; we make no "
        "second account. The message says why we do not change it, where `PROVISIONING_EMAIL_CHANGES=follow` is set.",
        "Change the account's e-mail in Twenty, or undo the change at Clerk.",
        "Or set `PROVISIONING_EMAIL_CHANGES=follow`: the next run changes it where Twenty lets it.",
    ),
    Reason.ACCOUNT_AMBIGUOUS: Explanation(
        "Several accounts at Twenty have that e-mail in different spellings, or the only one is written with capitals.",
        "Delete or rename all but one of the accounts in Twenty.",
        'Write the e-mail of the remaining one in lower case in `core."user"`.',
    ),
    Reason.ACCOUNT_CLAIMED_TWICE: Explanation(
        "Two people at Clerk claim the same Twenty account (one is linked to it, another now has its e-mail), or a "
        "member has the e-mail of the service account. We did nothing for them.",
        "Merge or delete one of the two people at Clerk.",
        "Or delete the wrong row of `provisioning.user_link`. Give the service account an address of its own.",
    ),
    Reason.ACCOUNT_UNPROVEN: Explanation(
        "We did not make the Twenty account that has a member's address, and its password is not ours, so it "
        "[proves nothing](security.md#accounts-that-prove-nothing), and we sign no one in to it over HTTP. The message "
        "says who it is, on which server, since when, and what they keep. With status True: the person is in the "
        "workspace and keeps their role, and the tenant is ready. With status False: they are in no workspace of the "
        "tenant, and we neither added nor invited them. A run withdraws an invitation that we sent before. It reports "
        "one that someone else sent: with it, the holder of the account joins by signing in.",
        "Ask whether the account is theirs; then `provisioning vouch`, or delete it in Twenty.",
        "Ask by a way that does not need that account. If it is theirs: they reset its password in Twenty, then you "
        'run `provisioning vouch EMAIL --server NAME --why "..."`; the next run gives them their role. If it is not: '
        "remove it from its workspaces and delete it in Twenty; the next run makes one of their own.",
    ),
    Reason.FOREIGN_PASSWORD: Explanation(
        "A member has an account on that server with a password of their own, so we cannot add them without an e-mail. "
        "Or we would have to invite them and the default role is Admin, and we invite no one as Admin.",
        "Invite the person once in Twenty (Settings > Members); the next run links them.",
        "Or set `PROVISIONING_MEMBERS_FOREIGN_PASSWORD=invite`.",
    ),
    Reason.INVITED: Explanation(
        "A member has a password of their own, so Twenty invited them by e-mail, as the policy says. The invitation "
        "gives them the default role; they get their own role from the run that links them.",
        "Have the person accept Twenty's invitation.",
        "The next run links them. We send an invitation again when it has run out, or when an earlier version sent it "
        "with a higher role and this one [withdrew](security.md#accounts-that-prove-nothing) it.",
    ),
    Reason.HALF_MEMBER: Explanation(
        "A member has a membership without a member record, or with one that is marked as deleted, and we may not mend "
        "it. Or a record of another or deleted account (itself marked as deleted or not) has their e-mail and blocks "
        "the join.",
        "Grant the right, or delete the record, that the message names; the next run goes on.",
        "The right mends the first case ([grants](installation.md#database-privileges)). In the second, delete the "
        "record for good.",
    ),
    Reason.ROLE_UNKNOWN: Explanation(
        "The mapping gives a role that the workspace does not have; the message lists those that it has. A member who "
        "is in the workspace keeps their role. One who is not does not join, since no default role may stand in for "
        "theirs.",
        "Make the role in Twenty, or correct PROVISIONING_MEMBER_ROLES.",
        "Or correct `PROVISIONING_MEMBER_DEFAULT_ROLE`.",
    ),
    Reason.ROLE_DIFFERS: Explanation(
        "After the step, the database gives a member another role than the one that we set: someone changed it "
        "during the run, or Twenty did not take it.",
        "Nothing at first: the next run sets it; then look who changes roles in Twenty.",
    ),
    Reason.MEMBERS_GONE: Explanation(
        "A member that we added or linked was deleted, is banned, or is no longer a member at Clerk, as a second read "
        "confirmed, and is still a member in Twenty.",
        "Remove them in Twenty, or set PROVISIONING_MEMBERS_GONE.",
        "See [removals](operations.md#removals).",
    ),
    Reason.LAST_ADMIN_KEPT: Explanation(
        "A member is to lose the role Admin, but no other active admin would be left; or the service account has no "
        "member record, so no one may be removed.",
        "Make another member admin at Clerk.",
        "The next run promotes them, and the one after it goes on.",
    ),
    Reason.WAITS_FOR_APPROVAL: Explanation(
        "Removals and demotions go beyond the budget of a run. We made none of this tenant's.",
        "Look at `provisioning plan`, then approve it or correct Clerk.",
        "Approve with `provisioning apply --approve` and the name that the message gives.",
    ),
    Reason.REMOVAL_NOT_PROVED: Explanation(
        "We removed a member, but an old token or a new login was still let in, or an invitation is open, or the "
        "refusal had another reason.",
        "Look at that person in Twenty (Settings > Members) now.",
        "Look at the invitations too. The next run finds them outside the workspace and reports it no more.",
    ),
    Reason.EXTERNAL_ID_TAKEN: Explanation(
        "A Clerk user has another `external_id` already, or another user has ours. We left it as it is.",
        "Clear the external id at Clerk, or set PROVISIONING_CLERK_STORE_EXTERNAL_ID=false.",
    ),
    Reason.API_KEYS_UNCERTAIN: Explanation(
        "A member who could make API keys was removed, and keys made since they joined still work, or Twenty did not "
        "list them. Twenty does not record who made a key, so whether one is theirs cannot be told.",
        "Look at the keys that the message names, and revoke in Twenty (Settings > APIs & Webhooks) what is theirs.",
        "With `PROVISIONING_MEMBERS_GONE_API_KEYS=revoke` a removal revokes all of them.",
    ),
}

_ONBOARDING_COMPLETE: Mapping[Reason, Explanation] = {
    Reason.STEPS_CLEARED: Explanation(
        "Nothing is pending for the service account, the admin, and the members that we linked or took over; with "
        "`PROVISIONING_ONBOARDING_PEOPLE=everyone` for no one in the workspace.",
        _NONE,
    ),
    Reason.STEPS_PENDING: Explanation(
        "Before the step: something is pending, and the run clears it. After the step: Twenty has no call that clears "
        "these rows and we may not remove them; or they change while we remove them (then the condition is Unknown).",
        "Give our user the right that the message names; the next run removes the rows.",
        'The right is SELECT, UPDATE and DELETE on `core."keyValuePair"` of that server\'s database '
        "([grants](installation.md#database-privileges)). Rows that change need nothing, unless it stays: then another "
        "program writes them anew.",
    ),
}

_LOGIN_PROVED: Mapping[Reason, Explanation] = {
    Reason.LOGIN_COMPLETED: Explanation(
        "The logins of the admin, and of each member that we checked, land in the right workspace, and Twenty shows no "
        "onboarding step (`COMPLETED`).",
        _NONE,
    ),
    Reason.ADMIN_UNKNOWN: Explanation(
        "No admin is known: the registry has neither `clerk_org_id` nor an admin user, or the organization has no "
        "active holder of a role that `PROVISIONING_MEMBER_ROLES` maps to Admin. The workspace is made and waits. Also "
        "when the stored admin is no longer admin of the workspace (removed, or made Member) and no one is named in "
        "their place, or when the person to be made admin has ceased to be one at Clerk.",
        "Make someone admin of its organization at Clerk, or name an admin in the registry row.",
        "Setting `clerk_org_id` in the row will do too. The next run makes them Admin.",
    ),
    Reason.ADMIN_EMAIL_UNVERIFIED: Explanation(
        "No admin of the organization has a verified primary e-mail.",
        "Have the admin verify their e-mail at Clerk.",
    ),
    Reason.INVITE_LINK_DISABLED: Explanation(
        "The workspace's public invite link is off, and turning it on for the join did not help.",
        "Turn the invite link on in Twenty (Settings > Members).",
        "The next run goes on.",
    ),
    Reason.LOGIN_REFUSED: Explanation(
        "Twenty refused the login of the admin or of a member. The message names the first of them and how many others "
        "failed.",
        "Look at the account in Twenty's admin panel.",
        "If they were removed from the workspace there, the next run adds them again while Clerk or the registry names "
        "them.",
    ),
    Reason.WRONG_WORKSPACE: Explanation(
        "The login lands in another workspace.",
        "Look at the person's workspaces and at the workspace's address in Twenty.",
    ),
    Reason.WIZARD_SHOWS: Explanation(
        "The login works and would show an onboarding step; the message names it.",
        "`provisioning apply TENANT` clears it now; if it comes back, look for what sets it.",
        "After a verification you need do nothing: the next reconciliation clears it. After a reconciliation, look for "
        "what sets it: no row of that person or of the workspace says so (`PLAN_REQUIRED` is billing).",
    ),
}

_READY: Mapping[Reason, Explanation] = {
    Reason.ALL_TRUE: Explanation("Workspace, members, onboarding and a real login are all as they should be.", _NONE),
}

_LIFECYCLE: Mapping[Reason, Explanation] = {
    Reason.LIFE_NEW: Explanation("The tenant is known and has no workspace yet.", _WAIT),
    Reason.LIFE_ACTIVE: Explanation("The tenant is a customer and has a workspace.", _NONE),
    Reason.LIFE_SUSPENDED: Explanation(
        "The registry's status is an excluded one, and not one of `PROVISIONING_REGISTRY_GONE_STATUSES`. The HTTP API "
        "and the gateway refuse its sessions. With `PROVISIONING_SUSPENDED=lock` its members are locked out at Twenty "
        "as well.",
        "Nothing: the registry has suspended it.",
        "Once the registry has it as a customer again, the next run gives its members their access back.",
    ),
    Reason.LIFE_OFFBOARDING: Explanation(
        "The customer has left: the registry says so, or its row was taken away and a later reading or an operator "
        "settled that. The workspace is still there. What happens to it, `PROVISIONING_GONE` says, and only after "
        "[approval](operations.md#offboarding-a-tenant).",
        "Look at `provisioning plan`; approve the offboarding there, or have the registry row put back.",
    ),
    Reason.LIFE_GONE: Explanation("The customer has left, and has no workspace any more.", _NONE),
    Reason.LIFE_IN_DOUBT: Explanation(
        "What is known of the tenant does not fit together: its registry row is missing and it is not settled yet "
        "what that means, the registry has lost many rows at once, several rows name its database, or a tenant whose "
        "workspace was deleted has a row again. We make, lock and delete nothing for it.",
        "Read the evidence; have the registry corrected, or settle it with `provisioning offboard TENANT`.",
    ),
}

_OFFBOARDED: Mapping[Reason, Explanation] = {
    Reason.ARCHIVED: Explanation(
        "The workspace is archived: no member comes in, and every record stays in Twenty. The run proved it.",
        "Nothing; a tenant that is active again gets its workspace back as it was.",
    ),
    Reason.EXPORTED: Explanation(
        "Every record and file of the workspace was exported; the message says where to. The workspace stands.", _NONE
    ),
    Reason.WORKSPACE_DELETED: Explanation(
        "The workspace was exported and deleted in Twenty: an old token and a new login are refused, and its id stands "
        "neither at Clerk nor in the registry any more. Twenty itself destroys it some days later.",
        "Nothing; until Twenty destroys it, an administrator of that server can restore it by SQL.",
        "[Offboarding](operations.md#offboarding-a-tenant) says how long that is.",
    ),
    Reason.OFFBOARDING_WAITS: Explanation(
        "The tenant is to be offboarded, and something is still to come first; the message names it.",
        "Do what the message says; the next run goes on.",
    ),
    Reason.EXPORT_INCOMPLETE: Explanation(
        "Not all of the workspace could be exported: Twenty counted other records before or after than we read, or it "
        "has fields that this program does not know. Nothing was deleted.",
        "See that nothing writes to the workspace any more; the next run reads again what is missing.",
    ),
    Reason.EXPORT_NOT_WRITTEN: Explanation(
        "The place for exports cannot be written to; the message says why. Nothing was deleted.",
        "Mend the place that PROVISIONING_EXPORT_PATH names, or name another; the next run goes on.",
    ),
    Reason.DELETION_NOT_PROVED: Explanation(
        "Twenty took the call that deletes the workspace, and something still comes in, or is refused for another "
        "reason.",
        "Look at the workspace in Twenty now; the next run asks again.",
    ),
}

_ACCESS_LOCKED: Mapping[Reason, Explanation] = {
    Reason.ACCESS_LOCKED: Explanation(
        "A run has ended access at Twenty: the members have a role that reads no records, new logins and the renewal "
        "of sessions are refused, API keys are revoked, and the invite link is off. The run proved it. We keep what "
        "the records, roles, keys and settings were.",
        "Nothing: a run gives all of it back when the tenant is active again.",
        "Access tokens from before still read what belongs to Twenty's system (messages, calendar events, attachments, "
        "timelines) until the time in the message. [Locking](operations.md#what-a-lock-does) has the details.",
    ),
    Reason.LOCK_NOT_PROVED: Explanation(
        "The lock is not whole: the message says who still comes in, or what Twenty refused.",
        "Look at the person in Twenty (Settings > Members) now; the next run locks again and proves it.",
    ),
    Reason.ACCESS_OPEN: Explanation(
        "The members have access as their roles give it: nothing is locked, or a run has given all of it back.", _NONE
    ),
}

BY_CONDITION: Mapping[ConditionType, Mapping[Reason, Explanation]] = {
    ConditionType.LIFECYCLE: _LIFECYCLE,
    ConditionType.DETECTED: _DETECTED,
    ConditionType.TENANT_DATABASE: _TENANT_DATABASE,
    ConditionType.REGISTERED: _REGISTERED,
    ConditionType.OFFBOARDED: _OFFBOARDED,
    ConditionType.WORKSPACE_READY: _WORKSPACE_READY,
    ConditionType.ACCESS_LOCKED: _ACCESS_LOCKED,
    ConditionType.MEMBERS_SYNCED: _MEMBERS_SYNCED,
    ConditionType.ONBOARDING_COMPLETE: _ONBOARDING_COMPLETE,
    ConditionType.LOGIN_PROVED: _LOGIN_PROVED,
    ConditionType.READY: _READY,
}
"""Every reason once, under the condition that it mostly settles; the same reason may turn up in another."""

_EXPLANATIONS = {reason: words for explained in BY_CONDITION.values() for reason, words in explained.items()}


def next_step(reason: Reason) -> str:
    """What a person does next about this reason, in one sentence."""
    return _EXPLANATIONS[reason].next_step


def meaning(reason: Reason) -> str:
    """What this reason means, in plain text: a link shows its place in parentheses."""
    return re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"\1 (docs/\2)", _EXPLANATIONS[reason].means)
