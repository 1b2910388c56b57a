"""Which fields a server has, and on which of its two GraphQL endpoints."""

from dataclasses import dataclass
from functools import cache

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLNonNull,
    GraphQLSchema,
    build_schema,
)

from provisioning_pipeline.sandbox.twenty import (
    accounts,
    creation,
    invitations,
    joining,
    members,
    objects,
    onboarding,
    records,
    roles,
    sessions,
    users,
    workspaces,
)
from provisioning_pipeline.sandbox.twenty.execution import build
from provisioning_pipeline.sandbox.twenty.options import TwentyOptions
from provisioning_pipeline.sandbox.twenty.versions import TRAITS, Version

_CORE = (
    accounts.query,
    accounts.mutation,
    creation.mutation,
    invitations.query,
    invitations.mutation,
    joining.mutation,
    members.mutation,
    members.member_type,
    objects.query,
    onboarding.query,
    onboarding.mutation,
    roles.query,
    roles.mutation,
    roles.role_type,
    roles.api_key_type,
    users.query,
    users.mutation,
    users.user_type,
    users.user_workspace_type,
    workspaces.query,
    workspaces.mutation,
    workspaces.workspace_type,
    workspaces.public_workspace_type,
)
_RECORDS = (records.query, records.mutation)

_AUTH = """
checkUserExists checkWorkspaceInviteHashIsValid findWorkspaceFromInviteHash
signUp signIn signUpInNewWorkspace signUpInWorkspace getLoginTokenFromCredentials getAuthTokensFromLoginToken renewToken
impersonate generateApiKeyToken
"""
AUTH_FIELDS = frozenset(_AUTH.split())
"""Root fields that 1.x serves on `/graphql` alone (source only: Twenty of September 2025, commit 0285fce)."""

_SINCE_2_X = """
checkWorkspaceSubdomainAvailability getWorkspaceCreationDefaults getInviteSuggestions triggerInstallAppsOnboardingStep
"""
NEWER_FIELDS = frozenset(_SINCE_2_X.split())
"""Root fields that 1.x does not have."""

_NEWER = """
extend enum OnboardingStatus { BOOK_CALL }
extend enum WorkspaceActivationStatus { CREATED }
extend type User { previousOnboardingStatus: OnboardingStatus }
type OnboardingStepNavigation {
  onboardingStatus: OnboardingStatus
  previousOnboardingStatus: OnboardingStatus
}
extend type Mutation {
  signOut(refreshToken: String): Boolean!
  goBackToPreviousOnboardingStep: OnboardingStepNavigation!
  completeBookCallOnboardingStep(
    hasBookedCall: Boolean! = false
    isAutoSkipped: Boolean! = false
  ): OnboardingStepSuccess!
}
"""
_NO_RECORDS = "type Query { search: Boolean } type Mutation { createFile: Boolean }"

_NEWER_CORE = (onboarding.newer_mutation, sessions.mutation, users.newer_user_type)

_GONE: dict[Version, frozenset[str]] = {"2.38": frozenset(), "2.47": frozenset({"triggerInstallAppsOnboardingStep"})}


@dataclass(frozen=True)
class Endpoints:
    """What a server answers on `/metadata`, and what on `/graphql`."""

    metadata: GraphQLSchema
    graphql: GraphQLSchema
    graphql_for_nobody: GraphQLSchema
    """What `/graphql` has for those without a workspace: records belong to one (recorded on 2.21.0)."""


def endpoints(options: TwentyOptions) -> Endpoints:
    """The executable schemas of a server with these options."""
    return _endpoints(options.version, options.lacking, _further_statuses(options))


@cache  # tests start hundreds of servers of a few kinds, and building one kind takes 40 to 90 ms
def _endpoints(version: Version, lacking: frozenset[str], further: str) -> Endpoints:
    if TRAITS[version].reversible:
        metadata = build("schema.graphql", (*_CORE, *_NEWER_CORE), lacking | _GONE[version], further + _NEWER)
        _may_be_skipped_by_the_server(metadata)
    else:
        core_lacking = lacking | NEWER_FIELDS | AUTH_FIELDS if version == "1.x" else lacking
        metadata = build("schema.graphql", _CORE, core_lacking, further)
    if version == "1.x":
        graphql = build("schema.graphql", _CORE, lacking | NEWER_FIELDS, further)
        return Endpoints(metadata, graphql, graphql)
    return Endpoints(metadata, build("records.graphql", _RECORDS, lacking), build_schema(_NO_RECORDS))


def _may_be_skipped_by_the_server(schema: GraphQLSchema) -> None:
    """Give the steps that 2.21 has already the argument that 2.33 gave them."""
    assert schema.mutation_type is not None
    for name in ("skipSyncEmailOnboardingStep", "triggerInstallAppsOnboardingStep"):
        if name in schema.mutation_type.fields:
            by_server = GraphQLArgument(GraphQLNonNull(GraphQLBoolean), default_value=False)
            schema.mutation_type.fields[name].args["isAutoSkipped"] = by_server


def _further_statuses(options: TwentyOptions) -> str:
    statuses = " ".join(step.status for step in options.further_steps)
    return f"\nextend enum OnboardingStatus {{ {statuses} }}\n" if statuses else ""
