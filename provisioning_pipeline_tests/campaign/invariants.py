"""What must hold once a fleet is quiet: each a function that names what does not, by the campaign's own SQL and HTTP.

None of them asks the program's code: the ledger is read as rows, Twenty as rows and by real logins, Clerk as the
stand-in keeps it, and calls as the proxies saw them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2

from provisioning_pipeline_tests.campaign.fleet import Fleet, Tenant
from provisioning_pipeline_tests.campaign.processes import Run
from provisioning_pipeline_tests.campaign.proxy import Call, overlapping
from provisioning_pipeline_tests.campaign.seeing import PENDING, AtClerk, Seen
from provisioning_pipeline_tests.world import browser_of, enter_by_password

_DEFECT = re.compile(r"Traceback \(most recent call last\)|UnexpectedError|nobody foresaw|[Uu]nforeseen error")


@dataclass(frozen=True)
class Quiet:
    """A fleet after its quiet runs.

    Args:
        fleet: the fleet.
        seen: its state.
        before: memberships at the begin of the episode: database and e-mail → membership.
        runs: the quiet runs, in order.
        since: when they began, by the monotonic clock.
        last: when the last of them began.
    """

    fleet: Fleet
    seen: Seen
    before: dict[tuple[str, str], str]
    runs: tuple[Run, ...]
    since: float
    last: float


@dataclass(frozen=True)
class Violation:
    """An invariant that does not hold, and of what."""

    invariant: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text}"


def one_workspace_per_tenant(quiet: Quiet) -> Iterator[str]:
    """No tenant has a second workspace, and no workspace of ours is of no tenant."""
    of_tenants: Counter[str] = Counter()
    for tenant in quiet.seen.tenants:
        found = quiet.seen.homes[tenant.database]
        of_tenants.update(one.id for one in found)
        if len(found) > 1:
            yield f"{tenant.slug} has {', '.join(one.subdomain for one in found)}"
        if found and tenant.lacks == "whole database":
            yield f"{tenant.slug} has a workspace, though nobody can connect to its database"
    ours = {member.workspace_id for member in quiet.seen.members if member.email == quiet.fleet.service_email}
    for workspace in quiet.seen.workspaces.values():
        if workspace.id in ours and of_tenants[workspace.id] == 0:
            yield f"{workspace.subdomain} is of no tenant"
        if of_tenants[workspace.id] > 1:
            yield f"{workspace.subdomain} is of several tenants"


def ledger_and_registry_agree(quiet: Quiet) -> Iterator[str]:
    """Ledger and registry name the workspace that a tenant has, and no two tenants the same one."""
    named: Counter[str] = Counter()
    for tenant in quiet.seen.tenants:
        link, row = quiet.seen.links.get(tenant.database, {}), quiet.seen.rows.get(tenant.database, {})
        home = quiet.seen.home(tenant)
        said = link.get("workspace_id")
        if said:
            named[said] += 1
        if said and home and said != home.id:
            yield f"the ledger's link of {tenant.slug} names {said}, its workspace is {home.id}"
        if quiet.seen.is_ready(tenant) and quiet.seen.is_open(tenant):
            if home is None:
                yield f"{tenant.slug} is ready without a workspace"
            elif row.get("twenty_workspace_id") != home.id:
                yield f"the row of {tenant.slug} names {row.get('twenty_workspace_id')}, its workspace is {home.id}"
            if quiet.seen.row_status(tenant) in PENDING:
                yield f"{tenant.slug} is ready, and its row says {row.get('status')}"
    yield from (f"{workspace} is linked to {times} tenants" for workspace, times in named.items() if times > 1)


def no_open_intent(quiet: Quiet) -> Iterator[str]:
    """Every begun creation is settled, but of tenants on which nothing may be done now."""
    by_name = {tenant.database: tenant for tenant in quiet.seen.tenants}
    for name, subdomain in quiet.seen.open_intents:
        tenant = by_name.get(name)
        if tenant and quiet.seen.is_open(tenant) and not tenant.lacks:
            yield f"the intent of {tenant.slug} to make {subdomain} is open"


def wizards_are_silent(quiet: Quiet) -> Iterator[str]:
    """No member at Clerk of a ready tenant has a step pending, and a real login of theirs reads COMPLETED."""
    seen = quiet.seen
    with browser_of(quiet.fleet.twenty.upstream) as http:
        for tenant, people in ready_with_people(quiet):
            home = seen.home(tenant)
            if home is None:
                continue
            inside = seen.inside(home.id, quiet.fleet.service_email)
            for person in people:
                member = inside.get(account_email(quiet, person))
                if member is None or not person.countable:
                    continue
                pending = [
                    key
                    for key, user, workspace in seen.flags
                    if (user, workspace) in {(member.user_id, home.id), (member.user_id, None), (None, home.id)}
                ]
                if pending:
                    yield f"{member.email} in {tenant.slug} has {', '.join(pending)} pending"
                origin = f"http://{home.subdomain}.localhost/"
                try:
                    user = enter_by_password(http, member.email, quiet.fleet.password_of(member.email), origin)
                except (AssertionError, httpx2.HTTPError) as error:
                    yield f"{member.email} cannot log in to {tenant.slug}: {error}"
                    continue
                if user["onboardingStatus"] != "COMPLETED" or user["currentWorkspace"]["id"] != home.id:
                    sees = f"{user['onboardingStatus']} in {user['currentWorkspace']}"
                    yield f"{member.email} in {tenant.slug} sees {sees}"


def no_mail(quiet: Quiet) -> Iterator[str]:
    """No e-mail left Twenty but those that people there sent."""
    sent = quiet.fleet.mails()
    if sent > quiet.fleet.mails_expected:
        yield f"{sent} e-mails were sent, {quiet.fleet.mails_expected} by people in Twenty"


def nobody_strange_is_inside(quiet: Quiet) -> Iterator[str]:
    """In a workspace are our account, the members at Clerk, those who joined on their own, and, where policy or doubt
    keeps them, former members; where policy removes former members, none of them is in a ready tenant."""
    seen, fleet = quiet.seen, quiet.fleet
    for tenant in seen.tenants:
        home = seen.home(tenant)
        if home is None:
            continue
        people = seen.people(tenant) or ()
        current = {account_email(quiet, person) for person in people if person.countable}
        for email, member in seen.inside(home.id, fleet.service_email).items():
            if email in current or email in tenant.strangers:
                continue
            if email not in tenant.members:
                yield f"{email} is in {tenant.slug}, and was never its member at Clerk"
            elif seen.is_ready(tenant) and people and fleet.script.gone == "remove" and seen.is_open(tenant):
                yield f"{email} left {tenant.slug} at Clerk, and is still in its workspace as {member.role}"
            elif seen.is_ready(tenant) and people and member.role == "Admin" and fleet.script.gone == "demote":
                yield f"{email} left {tenant.slug} at Clerk, and is still Admin there"


def every_member_is_inside(quiet: Quiet) -> Iterator[str]:
    """Every active member at Clerk is whole in the workspace of a ready tenant."""
    for tenant, people in ready_with_people(quiet):
        home = quiet.seen.home(tenant)
        if home is None:
            continue
        inside = quiet.seen.inside(home.id, quiet.fleet.service_email)
        for person in people:
            if not person.countable:
                continue
            member = inside.get(account_email(quiet, person))
            if member is None:
                yield f"{person.email} is a member of {tenant.slug} at Clerk, and not in its workspace"
            elif not member.record:
                yield f"{person.email} is in {tenant.slug} without a member record"


def roles_are_as_mapped(quiet: Quiet) -> Iterator[str]:
    """Every member of a ready tenant has the role of their role at Clerk; strangers have none but the default."""
    for tenant, people in ready_with_people(quiet):
        home = quiet.seen.home(tenant)
        if home is None:
            continue
        inside = quiet.seen.inside(home.id, quiet.fleet.service_email)
        for person in people:
            member = inside.get(account_email(quiet, person))
            if member and person.countable and member.role != person.mapped:
                yield f"{member.email} in {tenant.slug} is {member.role}, and {person.role} at Clerk"


def an_admin_of_clerk_is_admin(quiet: Quiet) -> Iterator[str]:
    """A ready tenant has an Admin who is an active admin at Clerk, and the ledger's admin is one."""
    for tenant, people in ready_with_people(quiet):
        home = quiet.seen.home(tenant)
        if home is None:
            continue
        inside = quiet.seen.inside(home.id, quiet.fleet.service_email)
        admins = {account_email(quiet, one) for one in people if one.countable and one.mapped == "Admin"}
        if not any(email in admins and member.role == "Admin" for email, member in inside.items()):
            yield f"{tenant.slug} is ready, and no Admin of it is an admin at Clerk"
        link = quiet.seen.links.get(tenant.database, {})
        stored = {member.user_id for email, member in inside.items() if email in admins}
        if link.get("admin_user_id") not in stored:
            yield f"the ledger's admin of {tenant.slug}, {link.get('admin_email')}, is no admin at Clerk who is inside"


def refused_tenants_are_left_alone(quiet: Quiet) -> Iterator[str]:
    """What the registry excludes, or no longer names, is not worked on, and its sessions are refused."""
    seen, fleet = quiet.seen, quiet.fleet
    url = fleet.served()
    with httpx2.Client(base_url=url, timeout=20, verify=False) as http:
        for tenant in seen.tenants:
            if seen.is_open(tenant):
                if tenant.kept_row is not None:
                    yield f"{tenant.slug}, whose row was deleted, has one again: {seen.row_status(tenant)}"
                continue
            home = seen.home(tenant)
            touched = [call.name for call in fleet.twenty.since(quiet.since) if home and writes_into(call, home.id)]
            if touched:
                yield f"{tenant.slug} is {seen.row_status(tenant)}, and was worked on: {', '.join(touched)}"
            people = seen.organizations.get(tenant.organization or "", ())
            status = _session_status(fleet, http, tenant, people)
            if status is not None and status not in (401, 403):
                yield f"{tenant.slug} is {seen.row_status(tenant)}, and a session of it is answered with {status}"


def sessions_of_ready_tenants_pass(quiet: Quiet) -> Iterator[str]:
    """A member's session leads to the workspace of a ready tenant."""
    url = quiet.fleet.served()
    with httpx2.Client(base_url=url, timeout=20, verify=False) as http:
        for tenant, people in ready_with_people(quiet):
            status = _session_status(quiet.fleet, http, tenant, people)
            if status not in (None, 200):
                yield f"{tenant.slug} is ready, and a session of it is answered with {status}"


def rest(quiet: Quiet) -> Iterator[str]:
    """The last quiet run did nothing: no action by its own count, no mutating call by the proxies'."""
    actions = quiet.runs[-1].document.get("actions")
    if actions != 0:
        outcomes = quiet.fleet.registry(
            "SELECT database_name, change, status, detail FROM provisioning.outcome ORDER BY id DESC LIMIT 6"
        )
        yield f"the last of {len(quiet.runs)} quiet runs took {actions} actions: {outcomes}"
    calls = [*quiet.fleet.twenty.since(quiet.last), *quiet.fleet.clerk.since(quiet.last)]
    changing = [call.name for call in calls if call.mutates and call.slot != "s"]
    if changing:
        yield f"the last quiet run made calls that change something: {', '.join(changing[:8])}"


def runs_end_well(quiet: Quiet) -> Iterator[str]:
    """A quiet run ends with 0 or 3, a disturbed one with an exit code of ours; none hangs, none shows a defect."""
    for run in quiet.fleet.runs:
        allowed = {0, 3} if run in quiet.runs else {0, 1, 3}
        if run.hung:
            yield f"{run.name} did not end"
        elif not run.killed and run.code is not None and run.code >= 0 and run.code not in allowed:
            yield f"{run.name} ended with {run.code}: {run.errors[-400:]}"
        found = _DEFECT.search(run.errors) or _DEFECT.search(run.output)
        if found and not (run.killed and found[0].startswith("Traceback") and "KeyboardInterrupt" in run.errors):
            place = max(0, found.start() - 100)
            text = run.errors if found.string == run.errors else run.output
            yield f"{run.name} shows a defect: {text[place : place + 600]}"
    serving = quiet.fleet.serving
    if serving and (found := _DEFECT.search(serving.errors)):
        yield f"serve shows a defect: {serving.errors[found.start() : found.start() + 800]}"
    yield from (
        f"{name} carries UnexpectedError as {type_}"
        for name, of_one in quiet.seen.conditions.items()
        for type_, _, reason in of_one
        if reason == "UnexpectedError"
    )


def no_secret_is_shown(quiet: Quiet) -> Iterator[str]:
    """No output, report, answer or row of the ledger holds a secret."""
    texts = {run.name: run.output + run.errors for run in quiet.fleet.runs}
    texts |= {f"answer {number}": text for number, text in enumerate(quiet.fleet.answers)}
    texts["ledger"] = quiet.fleet.dump()
    if quiet.fleet.serving:
        texts["serve"] = quiet.fleet.serving.output + quiet.fleet.serving.errors
    for path in (quiet.fleet.folder / "reports").rglob("*"):
        if path.is_file() and path.suffix in (".html", ".md", ".json", ".csv"):
            texts[path.name] = path.read_text("utf-8", "replace")
    for email in {member.email for member in quiet.seen.members}:
        password = quiet.fleet.password_of(email)
        yield from (f"{name} holds the password of {email}" for name, text in texts.items() if password in text)
    for secret in quiet.fleet.secrets:
        yield from (f"{name} holds a secret ({secret[:4]}…)" for name, text in texts.items() if secret in text)


def nothing_is_left_behind(quiet: Quiet) -> Iterator[str]:
    """No process of a run is left, no session of one, no lock; the workspaces have their default role."""
    yield from (f"{run.name} is still there" for run in quiet.fleet.runs if run.alive)
    locks = quiet.fleet.cluster(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid BETWEEN 730155 AND 730158"
    )
    if locks:
        yield f"{len(locks)} advisory locks are held, and nobody is at work"
    left = quiet.fleet.registry(
        "SELECT slug, default_role_before, invite_link_opened FROM provisioning.tenant_link"
        " WHERE default_role_before IS NOT NULL OR invite_link_opened"
    )
    by_slug = {tenant.slug: tenant for tenant in quiet.seen.tenants}
    for slug, role, link in left:
        tenant = by_slug.get(slug)
        if tenant and quiet.seen.is_ready(tenant) and quiet.seen.is_open(tenant):
            yield f"{slug} has not got back its default role {role} (or its invite link: {link})"


def one_writer_at_a_time(quiet: Quiet) -> Iterator[str]:
    """No two processes had calls that change something under way for one workspace at the same time."""
    hashes = dict(quiet.fleet.core('SELECT "inviteHash", id::text FROM core.workspace'))

    def of(call: Call) -> str | None:
        return call.workspace_id or hashes.get(call.invite_hash or "") or call.subdomain

    for call, other in overlapping(quiet.fleet.twenty.since(0), of):
        yield f"{call.name} by {call.slot} and {other.name} by {other.slot} were under way at once for {of(call)}"


def untouched_members_stay(quiet: Quiet) -> Iterator[str]:
    """Nobody whom no action of the episode concerned lost the membership that they had."""
    ties = {member.tie for member in quiet.seen.members}
    for (name, email), tie in quiet.before.items():
        if tie not in ties and (name, email) not in quiet.fleet.touched and (name, "*") not in quiet.fleet.touched:
            yield f"{email} lost their membership in {name}, and nothing that happened was about them"


def well_tenants_become_ready(quiet: Quiet) -> Iterator[str]:
    """A tenant of which nothing outside needs a person is ready after the quiet runs."""
    for tenant in quiet.seen.tenants:
        if quiet.seen.is_ready(tenant) or excuse(quiet, tenant):
            continue
        _, reason, message = quiet.seen.ready.get(tenant.database, ("", "no condition", ""))
        yield f"{tenant.slug} is not ready, and nothing outside explains it: {reason}: {message}"


INVARIANTS: tuple[Callable[[Quiet], Iterator[str]], ...] = (
    one_workspace_per_tenant,
    ledger_and_registry_agree,
    no_open_intent,
    wizards_are_silent,
    no_mail,
    nobody_strange_is_inside,
    every_member_is_inside,
    roles_are_as_mapped,
    an_admin_of_clerk_is_admin,
    refused_tenants_are_left_alone,
    sessions_of_ready_tenants_pass,
    rest,
    runs_end_well,
    no_secret_is_shown,
    nothing_is_left_behind,
    one_writer_at_a_time,
    untouched_members_stay,
    well_tenants_become_ready,
)


def violations(quiet: Quiet) -> list[Violation]:
    """Everything that does not hold."""
    return [Violation(invariant.__name__, text) for invariant in INVARIANTS for text in invariant(quiet)]


def ready_with_people(quiet: Quiet) -> Iterator[tuple[Tenant, tuple[AtClerk, ...]]]:
    """The tenants that the ledger calls ready and the registry wants, with the people of their organization."""
    if not any(quiet.seen.organizations.values()):
        # a Clerk without a single membership is in doubt, and removes nobody
        return
    for tenant in quiet.seen.tenants:
        people = quiet.seen.people(tenant)
        if people is not None and quiet.seen.is_ready(tenant) and quiet.seen.is_open(tenant):
            yield tenant, people


def account_email(quiet: Quiet, person: AtClerk) -> str:
    """The address of their account at Twenty: that which they had at Clerk when they came in."""
    inside = {member.email for member in quiet.seen.members}
    had = [person.email or "", *quiet.fleet.earlier_emails.get(person.user_id, ())]
    return next((email for email in had if email in inside), had[0])


def writes_into(call: Call, workspace_id: str) -> bool:
    """Whether a call could change something in this workspace."""
    return call.mutates and call.workspace_id == workspace_id


def excuse(quiet: Quiet, tenant: Tenant) -> str | None:
    """Why this tenant need not be ready, seen from outside; None when it must be."""
    seen, fleet = quiet.seen, quiet.fleet
    people = seen.people(tenant)
    home = seen.home(tenant)
    if not seen.is_open(tenant):
        return "the registry does not want it"
    if tenant.lacks or not seen.databases.get(tenant.database):
        return "it has no database"
    if people is None:
        return "it has no organization at Clerk"
    if not any(one.countable and one.mapped == "Admin" for one in people):
        return "nobody can be its admin"
    if any(account_email(quiet, one) != one.email or (not one.verified and not one.banned) for one in people):
        return "an e-mail changed"
    if home and home.status not in ("ACTIVE", "PENDING_CREATION", "ONGOING_CREATION"):
        return "its workspace is suspended"
    inside = seen.inside(home.id, fleet.service_email) if home else {}
    current = {account_email(quiet, one) for one in people if one.countable}
    if fleet.script.gone != "remove" and any(email in tenant.members - current for email in inside):
        return "somebody is gone, and policy only reports it"
    return None


def _session_status(fleet: Fleet, http: httpx2.Client, tenant: Tenant, people: tuple[AtClerk, ...]) -> int | None:
    """How a session of the first of these people is answered; None where there is nobody."""
    person = next((one for one in people if one.countable), None)
    if person is None or tenant.organization is None:
        return None
    token = fleet.session_token(person.user_id, tenant.organization)
    return http.get("/v1/auth/verify", headers={"Authorization": f"Bearer {token}"}).status_code
