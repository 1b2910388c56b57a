"""Which fields a server has, and on which of its two GraphQL endpoints.

Of 1.x source only: Twenty of September 2025. In packages/twenty-server/src/engine/core-modules, `AuthResolver`
(auth/auth.resolver.ts) has `signUpInNewWorkspace` without arguments, `WorkspaceService.activateWorkspace`
(workspace/services/workspace.service.ts) takes the name, and `OnboardingResolver` (onboarding/onboarding.resolver.ts)
has `skipBookOnboardingStep` where 2.21 has `triggerInstallAppsOnboardingStep`.
"""

from dataclasses import dataclass
from functools import cache

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLNonNull,
    GraphQLSchema,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    TypeDefinitionNode,
    build_schema,
    parse,
    print_ast,
)

from provisioning_pipeline.sandbox.twenty import (
    accounts,
    creation,
    invitations,
    joining,
    members,
    onboarding,
    records,
    roles,
    sessions,
    users,
    workspaces,
)
from provisioning_pipeline.sandbox.twenty.execution import build, schema_text
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
    onboarding.query,
    onboarding.mutation,
    roles.query,
    roles.mutation,
    roles.role_type,
    roles.api_key_type,
    users.query,
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
"""Root fields that 1.x serves on `/graphql` alone."""

_SINCE_2_X = """
checkWorkspaceSubdomainAvailability getWorkspaceCreationDefaults getInviteSuggestions triggerInstallAppsOnboardingStep
"""
NEWER_FIELDS = frozenset(_SINCE_2_X.split())
"""Root fields that 1.x does not have."""

_OLDER = """
extend enum OnboardingStatus { BOOK_ONBOARDING }
extend type Mutation { skipBookOnboardingStep: OnboardingStepSuccess! }
"""

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
    elif version != "1.x":
        metadata = build("schema.graphql", _CORE, lacking, further)
    if version != "1.x":
        return Endpoints(metadata, build("records.graphql", _RECORDS, lacking), build_schema(_NO_RECORDS))
    core, missing = (*_CORE, onboarding.older_mutation), lacking | NEWER_FIELDS
    older = further + _OLDER
    both = older + _added(schema_text("schema.graphql"), schema_text("records.graphql"))
    metadata = build("schema.graphql", core, missing | AUTH_FIELDS, older)
    graphql = build("schema.graphql", (*core, *_RECORDS), missing, both)
    for schema in (metadata, graphql):
        _forget_what_is_newer(schema)
    return Endpoints(metadata, graphql, graphql)


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


def _added(core: str, record: str) -> str:
    """What the second says besides the first; a type that both have is extended by the fields that only it knows."""
    known = {node.name.value: node for node in parse(core).definitions if isinstance(node, TypeDefinitionNode)}
    more = [node for node in parse(record).definitions if isinstance(node, TypeDefinitionNode)]
    return "\n".join(
        _further_fields(known[node.name.value], node) if node.name.value in known else print_ast(node) for node in more
    )


def _further_fields(known: TypeDefinitionNode, more: TypeDefinitionNode) -> str:
    if not isinstance(known, ObjectTypeDefinitionNode) or not isinstance(more, ObjectTypeDefinitionNode):
        return ""
    names = {field.name.value for field in known.fields}
    fields = tuple(field for field in more.fields if field.name.value not in names)
    return print_ast(ObjectTypeExtensionNode(name=more.name, fields=fields)) if fields else ""


def _forget_what_is_newer(schema: GraphQLSchema) -> None:
    """Take out of a 1.x what the text of 2.x has besides root fields."""
    assert schema.mutation_type is not None
    for mutation, argument in (("signUpInNewWorkspace", "input"), ("sendInvitations", "roleId")):
        if mutation in schema.mutation_type.fields:
            schema.mutation_type.fields[mutation].args.pop(argument)
    del schema.type_map["SignUpInNewWorkspaceInput"]
    status = schema.type_map["OnboardingStatus"]
    assert isinstance(status, GraphQLEnumType)
    del status.values["APPS_INSTALLATION"]
