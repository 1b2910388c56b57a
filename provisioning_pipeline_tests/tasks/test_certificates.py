"""What a certificate says, keeps and compares; and where a run is cut."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.clients.transport import Effect
from provisioning_pipeline.clients.twenty.contract import KNOWN
from provisioning_pipeline.ledger import schema
from provisioning_pipeline.ledger.servers import Certificates
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.contract import (
    Certificate,
    CrashPoint,
    Observation,
    Standing,
    certificate_from,
    certified,
)
from provisioning_pipeline.report import certificate_page
from provisioning_pipeline.sandbox.postgres import SandboxPostgres
from provisioning_pipeline.tasks.certify.behaviours import BEHAVIOURS
from provisioning_pipeline.tasks.certify.killed import Call, Cut
from provisioning_pipeline.tasks.certify.life import cuts_of
from provisioning_pipeline.tasks.certify.mail import Logs
from provisioning_pipeline.tasks.certify.trial import EMAIL, SUBDOMAIN, email, new_run, subdomain

CERTIFICATE = Certificate(
    server="eu",
    base_url="https://eu.example.com",
    version="2.21.0",
    contract=KNOWN["2.21"],
    began_at=datetime(2026, 11, 29, 12, tzinfo=UTC),
    seconds=150.0,
    observations=(
        Observation("Joining", "joining twice", "is joining once", "one account", Standing.HOLDS),
        Observation("Clerk", "users", "as many as the count says", "20", Standing.HOLDS),
        Observation("Onboarding", "e-mail silence", "none", "no log", Standing.UNSEEN),
    ),
    crash_points=(CrashPoint("after signUpInNewWorkspace", converges=True, seen="as uncut"),),
    not_looked_at=("Invitations.",),
    cleaning=("2 workspaces were deleted.",),
    left_behind=(),
    planned=1,
)
FAILED = replace(
    CERTIFICATE,
    observations=(
        *CERTIFICATE.observations,
        Observation("Joining", "the invite link switched off", "refuses", "<b>let in</b>", Standing.FAILS),
    ),
)


def test_a_certificate_says_in_one_clause_what_was_certified_on_what_and_when() -> None:
    assert CERTIFICATE.in_short == "certified on 2.21.0, 1 behaviours, 1 crash points, 2026-11-29"
    assert CERTIFICATE.holds
    assert "and 1 of Clerk" in CERTIFICATE.verdict


@pytest.mark.parametrize(
    "certificate",
    [
        FAILED,
        replace(CERTIFICATE, crash_points=(CrashPoint("after signUp", converges=False, seen="two accounts"),)),
        replace(CERTIFICATE, left_behind=("workspace certify-1",)),
        replace(CERTIFICATE, stopped="It was interrupted."),
        replace(CERTIFICATE, observations=(replace(CERTIFICATE.observations[0], standing=Standing.BLOCKED),)),
    ],
    ids=["a behaviour", "a crash point", "something left", "cut short", "something not looked at"],
)
def test_a_certificate_holds_only_if_everything_does(certificate: Certificate) -> None:
    assert not certificate.holds
    assert "is not certified" in certificate.verdict


@pytest.mark.parametrize("certificate", [CERTIFICATE, FAILED, replace(CERTIFICATE, contract=None, version=None)])
def test_a_certificate_is_read_back_as_it_was_written(certificate: Certificate) -> None:
    assert certificate_from(json.loads(json.dumps(certificate.as_json()))) == certificate


def test_crash_points_that_were_not_come_to_are_never_said_to_converge() -> None:
    assert CERTIFICATE.crashes == "1 of 1 crash points converge."
    stopped = replace(CERTIFICATE, stopped="It was interrupted.", planned=41)
    assert stopped.crashes == "1 of 41 crash points were tried; 1 of those converge."
    assert "1 of 41 crash points were tried" in stopped.verdict
    assert "1 of 41" in certificate_page.render(stopped)
    unknown = replace(stopped, planned=None)
    assert "of a number that was not known yet" in unknown.verdict
    assert "1 of ?" in certificate_page.render(unknown)


def test_the_last_certificate_of_a_server_is_kept(sandbox_postgres: SandboxPostgres) -> None:
    url = sandbox_postgres.create_database("certificates")
    schema.migrate(url)

    async def kept() -> list[Certificate | None]:
        system = Database(url, system="The registry", unreachable=Reason.REGISTRY_UNREACHABLE, read_only=False)
        async with system as database:
            certificates = Certificates(database)
            await certificates.store(FAILED)
            await certificates.store(replace(CERTIFICATE, began_at=datetime(2026, 11, 30, tzinfo=UTC)))
            stopped = replace(FAILED, stopped="It was interrupted.", began_at=datetime(2026, 12, 1, tzinfo=UTC))
            await certificates.store(stopped)
            await certificates.store(replace(CERTIFICATE, server="us", contract=None))
            return [await certificates.last_of(name) for name in ("eu", "us")]

    eu, us = asyncio.run(kept())
    assert eu is not None
    assert (eu.holds, eu.began_at.day) == (True, 30)
    assert us is None


def test_a_server_is_warned_about_that_was_never_certified_failed_or_has_changed_since() -> None:
    same, other = KNOWN["2.21"], KNOWN["2.33"]
    told = {
        "never": certified("eu", None, same),
        "failed": certified("eu", FAILED, same),
        "changed": certified("eu", CERTIFICATE, other),
        "same": certified("eu", CERTIFICATE, same),
        # nobody was in a workspace to ask for the steps of the wizard, which says nothing about them
        "empty": certified("eu", CERTIFICATE, replace(same, onboarding=None)),
    }
    assert {name for name, found in told.items() if found.warning} == {"never", "failed", "changed"}
    assert other.fingerprint in told["changed"].sentence
    assert "`provisioning certify --server eu`" in told["never"].sentence
    assert told["same"].sentence == CERTIFICATE.in_short


def test_the_page_escapes_what_the_server_said_and_names_what_does_not_hold() -> None:
    page = certificate_page.render(FAILED)
    assert "&lt;b&gt;let in&lt;/b&gt;" in page
    assert "What does not hold" in page
    assert "What does not hold" not in certificate_page.render(CERTIFICATE)


def test_each_behaviour_is_named_once_with_what_is_expected() -> None:
    every = [behaviour for behaviours in BEHAVIOURS.values() for behaviour in behaviours]
    assert len({behaviour.name for behaviour in every}) == len(every)
    assert all(behaviour.expected for behaviour in every)


def test_a_run_is_cut_around_each_write_and_once_where_calls_that_change_nothing_begin() -> None:
    read, login = Call("read", Effect.READ, 1), Call("login", Effect.LOGIN, 1)
    create, write = Call("create", Effect.CREATE, 1), Call("write", Effect.WRITE, 1)
    again = Call("read", Effect.READ, 2)
    exchange = Call("exchange", Effect.EXCHANGE, 1)
    assert cuts_of([read, login, create, again, login, exchange, write]) == [
        Cut(create, "before"),
        Cut(create, "after"),
        Cut(again, "before"),
        Cut(exchange, "after"),
        Cut(write, "before"),
        Cut(write, "after"),
    ]


def test_what_is_made_is_recognised_and_nothing_else() -> None:
    run = new_run()
    assert SUBDOMAIN.fullmatch(subdomain(run, "t12"))
    assert EMAIL.fullmatch(email(run, "admin"))
    assert len(subdomain(run, "t123")) <= 30
    for name in ("certify", "certify-acme", "certify-12345678-", "xcertify-12345678-a"):
        assert not SUBDOMAIN.fullmatch(name)
    assert not EMAIL.fullmatch("certify-12345678-a@certify.example.com")


def test_the_log_of_a_server_tells_e_mails_to_addresses_of_a_certification(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    address = email(new_run(), "b1")
    log.write_text(f"Sent email to: {address}\n")
    witness = Logs([log])
    assert witness.sent() == ([], 0)
    with log.open("a") as opened:
        opened.write("Processing job 7 with name EmailSenderJob on queue email-queue\n")
    # a driver that tells no address
    assert witness.sent() == ([], 1)
    with log.open("a") as opened:
        opened.write(f"Sent email to: {address}\nSent email to: somebody@customer.example\n")
    assert witness.sent() == ([address], 0)
