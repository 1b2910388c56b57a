"""Deciding is a function: the same that was seen and answered gives the same plan, and nothing given is changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioning_pipeline.model import frames
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.frames import ClerkSnapshot, TwentySnapshot
from provisioning_pipeline.model.people import Departure, Evidence, Origin
from provisioning_pipeline.model.tenant import Plan
from provisioning_pipeline.model.tenant_database import FoundMember
from provisioning_pipeline.run.decide import decide
from provisioning_pipeline.run.seen import Answers, Questions, RegistryTable, Seen
from provisioning_pipeline.settings import Settings
from provisioning_pipeline.steps.members.changes import REMOVE_MEMBER
from provisioning_pipeline_tests.decide.facts import (
    ADMIN,
    LOOKED_AT,
    SERVICE,
    WORKSPACE,
    find,
    flag,
    found_workspace,
    link,
    look,
    member_link,
    row,
    server,
    workspace,
)
from provisioning_pipeline_tests.world import settings_of

TENANTS = ("one", "two")
IDS = {name: f"{number}" * 8 + WORKSPACE[8:] for number, name in enumerate(TENANTS, start=1)}
PEOPLE = ("ada", "bob", "eve")
ACCOUNTS = {"ada": ADMIN} | {name: f"{name}-account" for name in PEOPLE[1:]}
STRANGER = "old@tenant.test"
MOST_ROUNDS = 5
MOSTLY = st.sampled_from([True, True, True, False])
"""People and workspaces that are nowhere raise no question."""


def the_settings(**other: Any) -> Settings:
    """Settings with everything that must be said."""
    database = "postgresql://u:p@db.test/"
    given = {
        "PROVISIONING_TENANT_CLUSTER_URL": f"{database}postgres",
        "PROVISIONING_REGISTRY_URL": f"{database}tenant_manager",
        "PROVISIONING_TWENTY_BASE_URL": "https://twenty.test",
        "PROVISIONING_TWENTY_DATABASE_URL": f"{database}twenty",
        "PROVISIONING_TWENTY_SERVICE_EMAIL": "ops@provisioning.test",
        "PROVISIONING_TWENTY_SERVICE_PASSWORD": "a-password-of-the-service",
        "PROVISIONING_CLERK_SECRET_KEY": "sk_test_x",
        "PROVISIONING_MEMBER_PASSWORD_KEY": "0123456789abcdef" * 4,
    }
    return settings_of(given, **other)


@dataclass(frozen=True)
class Person:
    """Somebody, and what each system says of them; `answers` is what is only said when it is asked."""

    email: str | None
    banned: bool
    roles: Mapping[str, str | None]
    account: bool
    inside: Mapping[str, str | None]
    linked: Mapping[str, bool]
    origin: bool | None
    verified: bool
    gone: str | None
    joined: bool


def of_each_tenant(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(dict.fromkeys(TENANTS, values))


def person(name: str) -> st.SearchStrategy[Person]:
    maybe = st.sampled_from
    return st.builds(
        Person,
        email=maybe([f"{name}@x.test", None]),
        banned=st.booleans(),
        roles=of_each_tenant(maybe(["org:member", "org:admin", None])),
        account=MOSTLY,
        inside=of_each_tenant(maybe(["Admin", "Member", None])),
        linked=of_each_tenant(MOSTLY),
        origin=st.none() | st.booleans(),
        verified=st.booleans(),
        gone=maybe(["left", "deleted", "banned", None]),
        joined=st.booleans(),
    )


CROWDS = st.fixed_dictionaries({name: person(name) for name in PEOPLE})
FLEETS = of_each_tenant(
    st.fixed_dictionaries(
        {
            "row": MOSTLY,
            "organization": MOSTLY,
            "made": MOSTLY,
            "admin": MOSTLY,
            "proved": MOSTLY,
            "hand_made": st.booleans(),
        }
    )
)


def seen_of(fleet: Mapping[str, Any], crowd: Mapping[str, Person], *, whole: bool) -> Seen:
    """What a run reads of this fleet and these people."""
    made = [name for name in TENANTS if fleet[name]["made"]]
    organizations = {name: f"org_{name}" for name in TENANTS if fleet[name]["organization"]}
    registry = [
        row(name, slug=name, clerk_org_id=organizations.get(name), admin_email="bob@x.test")
        for name in TENANTS
        if fleet[name]["row"]
    ]
    links = [
        link(
            name,
            slug=name,
            workspace_id=IDS[name],
            subdomain=name,
            admin_user_id=ADMIN if fleet[name]["admin"] else None,
            admin_email="ada@x.test" if fleet[name]["admin"] else None,
            login_proved=fleet[name]["proved"],
        )
        for name in made
    ]
    inside = [
        ("eu", IDS[name], ACCOUNTS[user], role)
        for user, about in crowd.items()
        for name in made
        if about.account and (role := about.inside[name])
    ]
    linked = [
        member_link(name, user, ACCOUNTS[user], email=f"{user}@x.test")
        for user, about in crowd.items()
        for name in made
        if about.linked[name]
    ]
    old = FoundMember("old", STRANGER, "Old", "Hand", "Member", has_record=True)
    inspections = [
        look(name, workspaces=(found_workspace("by-hand", "Old", has_metadata=False, members=(old,)),))
        for name in TENANTS
        if fleet[name]["hand_made"]
    ]
    return Seen(
        detected=find(TENANTS, registry, links),
        registry=frames.frame(frames.REGISTRY, registry),
        twenty=TwentySnapshot(
            servers=frames.frame(frames.SERVERS, [server()]),
            workspaces=frames.frame(
                frames.WORKSPACES, [workspace(workspace_id=IDS[name], subdomain=name) for name in made]
            ),
            flags=frames.frame(frames.FLAGS, [flag("ONBOARDING_A_PENDING", ADMIN, IDS[name]) for name in made]),
            members=frames.frame(frames.TWENTY_MEMBERS, inside),
            users=frames.frame(
                frames.TWENTY_USERS,
                [("eu", ACCOUNTS[user], f"{user}@x.test") for user, about in crowd.items() if about.account],
            ),
            service_users={"eu": (SERVICE,)},
            service_access=frames.frame(
                frames.SERVICE_ACCESS,
                [
                    {"server": "eu", "workspace_id": IDS[name], "member": True, "manages": True, "role": "Admin"}
                    | {"invited": False, "kept_out": None}
                    for name in made
                ],
            ),
            invitations=frames.frame(frames.INVITATIONS, [("eu", IDS[name], "eve@x.test", "Member") for name in made]),
            deleted_in_use={"eu": []},
            lost_accounts=frozenset(),
        ),
        clerk=ClerkSnapshot(
            frames.frame(frames.ORGANIZATIONS, [(found, name, name, None) for name, found in organizations.items()]),
            frames.frame(
                frames.MEMBERSHIPS,
                [
                    (found, user, role, number)
                    for number, (user, about) in enumerate(crowd.items())
                    for name, found in organizations.items()
                    if (role := about.roles[name])
                ],
            ),
            frames.frame(
                frames.CLERK_USERS,
                [(user, about.email, user, "X", about.banned, None) for user, about in crowd.items()],
            ),
            asked=None,
            doubt=None if whole else "Clerk answered half.",
        ),
        member_links=frames.frame(frames.MEMBER_LINKS, linked),
        user_links=frames.frame(
            frames.USER_LINKS, sorted({("eu", of["clerk_user_id"], of["twenty_user_id"]) for of in linked})
        ),
        intents=frames.frame(frames.MEMBER_INTENTS, ()),
        taken_over=(),
        inspections={found.database_name: found for found in inspections},
        looked_at=LOOKED_AT,
        table=RegistryTable("manager", stores_workspaces=True, status_writable=True),
        made_by_others=frozenset({("eu", ACCOUNTS[user]) for user, about in crowd.items() if about.origin is False}),
    )


def answers_of(crowd: Mapping[str, Person], questions: Questions, *, at_clerk: bool | None) -> Answers:
    """What this crowd answers to these questions."""
    users = {account: user for user, account in ACCOUNTS.items()}
    joined = datetime(2026, 1, 1, tzinfo=UTC)
    known: dict[Any, Evidence] = {}
    for key in questions.accounts:
        about = crowd[users[key[1]]]
        email = f"{users[key[1]]}@x.test"
        origin = None if about.origin is None else Origin(email, about.origin, users[key[1]])
        known[key] = Evidence(email, about.verified, joined, origin, None)
    return Answers(
        accounts=known,
        departures={key: Departure(kind, 1) for key in questions.departures if (kind := crowd[key[1]].gone)},
        invitations=frozenset(questions.invitations),
        emails=None if at_clerk is None else questions.emails if at_clerk else frozenset(),
        joins={
            (each.server, each.workspace_id, each.account): (joined, joined, joined)
            for each in questions.demotions
            if crowd[users[each.account]].joined
        },
        added=frozenset((each.database_name, each.email) for each in questions.demotions),
        watched_since={name: joined - timedelta(days=1) for name in TENANTS},
    )


def decided(seen: Seen, policy: Settings, crowd: Mapping[str, Person], at_clerk: bool | None) -> tuple[Plan, list[Any]]:
    """The plan, and every round of questions and answers on the way to it."""
    deciding = decide(seen, policy)
    rounds = []
    questions = next(deciding)
    while True:
        answers = answers_of(crowd, questions, at_clerk=at_clerk)
        rounds.append((questions, answers, as_values(answers)))
        try:
            questions = deciding.send(answers)
        except StopIteration as end:
            return end.value, rounds


def as_values(found: Any) -> Any:
    """A copy in values that compare by what is in them."""
    if isinstance(found, pd.DataFrame):
        return found.astype(object).where(found.notna(), None).to_dict("split"), found.dtypes.to_dict()
    if is_dataclass(found) and not isinstance(found, type):
        return {field.name: as_values(getattr(found, field.name)) for field in fields(found)}
    if isinstance(found, Mapping):
        return {key: as_values(value) for key, value in found.items()}
    if isinstance(found, Sequence) and not isinstance(found, str):
        return [as_values(value) for value in found]
    return found


@settings(max_examples=8)
@given(
    FLEETS,
    CROWDS,
    st.booleans(),
    st.sampled_from([None, False, True]),
    st.sampled_from(["trust", "trust-mailbox", "report"]),
    st.sampled_from(["remove", "report"]),
)
def test_the_same_input_gives_the_same_plan_and_stays_as_it_was(
    fleet: dict[str, Any], crowd: dict[str, Person], whole: bool, at_clerk: bool | None, unproven: str, gone: str
) -> None:
    policy = the_settings(members_unproven=unproven, members_gone=gone, take_over_members=True)
    seen = seen_of(fleet, crowd, whole=whole)
    before = as_values(seen)

    plan, rounds = decided(seen, policy, crowd, at_clerk)

    assert as_values(seen) == before, "what was seen was changed"
    assert all(as_values(answers) == given for _, answers, given in rounds), "an answer was changed"
    assert decided(seen_of(fleet, crowd, whole=whole), policy, crowd, at_clerk) == (plan, rounds)


@settings(max_examples=8)
@given(FLEETS, CROWDS, st.booleans())
def test_deciding_asks_in_few_rounds_and_nothing_twice(
    fleet: dict[str, Any], crowd: dict[str, Person], whole: bool
) -> None:
    plan, rounds = decided(seen_of(fleet, crowd, whole=whole), the_settings(), crowd, None)

    assert len(rounds) <= MOST_ROUNDS
    accounts = [account for questions, *_ in rounds for account in sorted(questions.accounts)]
    assert len(accounts) == len(set(accounts)), "an account was asked about twice"
    asked = [questions.departures for questions, *_ in rounds if questions.departures]
    assert len(asked) <= 1
    assert whole or not asked, "an incomplete read of Clerk misses nobody"
    assert whole or not any(REMOVE_MEMBER in entry.changes for entry in plan.tenants)


def test_nobody_is_asked_about_where_everything_is_as_it_should_be() -> None:
    at_rest = Person(
        "ada@x.test", False, dict.fromkeys(TENANTS, "org:admin"), True, dict.fromkeys(TENANTS, "Admin"),
        dict.fromkeys(TENANTS, True), True, True, None, True,
    )  # fmt: skip
    of_tenant = dict.fromkeys(["row", "organization", "made", "admin", "proved"], True) | {"hand_made": False}
    seen = seen_of(dict.fromkeys(TENANTS, of_tenant), {"ada": at_rest}, whole=True)

    plan, rounds = decided(seen, the_settings(), {"ada": at_rest}, None)

    assert not any(questions.accounts or questions.departures or questions.demotions for questions, *_ in rounds)
    assert not any(
        condition.reason is Reason.ACCOUNT_UNPROVEN for entry in plan.tenants for condition in entry.conditions
    )
