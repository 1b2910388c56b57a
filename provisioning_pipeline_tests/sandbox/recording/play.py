"""All scenarios, in the order in which one leads to the next."""

from contextlib import closing
from typing import Any

from provisioning_pipeline_tests.sandbox.recording import (
    accounts,
    keys,
    locking,
    members,
    protocol,
    settings,
    workspaces,
)
from provisioning_pipeline_tests.sandbox.recording.recorder import Recorder, Scenario, Stage

SCENARIOS: tuple[Scenario, ...] = (
    accounts.signing_up,
    accounts.signing_in,
    accounts.renewing,
    accounts.wrong_tokens,
    workspaces.creating,
    workspaces.exchanging,
    workspaces.waiting,
    workspaces.activating,
    workspaces.logging_in,
    workspaces.moving,
    workspaces.public,
    members.joining,
    members.link_off,
    members.changing_roles,
    members.naming,
    members.impersonating,
    members.removing,
    members.half,
    members.by_default_an_admin,
    members.the_service_account,
    settings.no_passwords,
    settings.second_factor,
    settings.no_impersonation,
    settings.invitations,
    settings.invitation_limits,
    settings.the_wizard,
    keys.making,
    keys.using,
    keys.reading,
    keys.records,
    keys.outliving,
    locking.locking,
    settings.own_roles,
    settings.beforehand,
    protocol.probes,
    protocol.other_probes,
    protocol.wrong_tokens,
    protocol.documents,
    protocol.http,
    workspaces.suspended,
    workspaces.deleted_by_sql,
    workspaces.deleted_by_its_admin,
    workspaces.full,
)


def play(base_url: str, database_url: str) -> dict[str, Any]:
    """What an empty server answers to everything, by label. It is not empty afterwards."""
    with closing(Recorder(base_url, database_url)) as recorder:
        stage = Stage()
        for scenario in SCENARIOS:
            recorder.group = f"{scenario.__module__.rpartition('.')[2]}.{scenario.__name__}"
            scenario(recorder, stage)
        return recorder.answers
