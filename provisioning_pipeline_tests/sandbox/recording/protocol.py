"""The protocol: what each operation of ours answers to a probe and to the wrong tokens, and what HTTP says."""

from provisioning_pipeline.clients.twenty import operations
from provisioning_pipeline.clients.twenty.operation import Operation
from provisioning_pipeline_tests.sandbox.recording.accounts import made_up
from provisioning_pipeline_tests.sandbox.recording.recorder import Recorder, Stage

OPERATIONS: dict[str, Operation] = {
    name: value
    for name, value in sorted(vars(operations).items())
    if isinstance(value, Operation) and not value.records
}
"""Each operation that the product can send to `/metadata`, by the name of its constant."""


def probes(recorder: Recorder, stage: Stage) -> None:
    """Every operation with its root field skipped runs nothing and tells that it is there."""
    for name, operation in OPERATIONS.items():
        recorder.keep(name, operation.probe(), **operation.probe_variables())


def other_probes(recorder: Recorder, stage: Stage) -> None:
    """Documents that a server refuses, and the one whose executor fails."""
    for label, query in (
        ("a mutation that runs nothing", "mutation { activateWorkspace(data: {}) @skip(if: true) { id } }"),
        ("a query that runs nothing", "{ currentUser @skip(if: true) { id } }"),
        ("no such field", "mutation { __typename noSuchField @skip(if: true) }"),
        ("no such argument", "mutation { __typename activateWorkspace(data: {}, more: 1) @skip(if: true) { id } }"),
        ("no such input", "mutation { __typename activateWorkspace(data: {more: 1}) @skip(if: true) { id } }"),
        ("an argument lacks", "mutation { __typename activateWorkspace @skip(if: true) { id } }"),
        ("no such selection", "mutation { __typename activateWorkspace(data: {}) @skip(if: true) { id more } }"),
        ("no such type, near to one", "mutation($x: Nope!) { __typename activateWorkspace(data: $x) { id } }"),
        ("no such type", "mutation($x: Zzz!) { __typename activateWorkspace(data: $x) @skip(if: true) { id } }"),
    ):
        recorder.keep(label, query)
    some = (
        "mutation($x: String!) { __typename signUp(email: $x, password: $x) @skip(if: true) { tokens { __typename } } }"
    )
    recorder.keep("a variable lacks", some)
    recorder.keep("a variable of another kind", some, x=1)
    some = "mutation($x: UUID!) { __typename impersonate(userId: $x, workspaceId: $x) @skip(if: true) { __typename } }"
    recorder.keep("a variable that is no id", some, x="nope")
    included = "mutation($x: Boolean!) { activateWorkspace(data: {}) @include(if: $x) { id } }"
    recorder.keep("a mutation that a variable leaves nothing of", included, x=False)


def wrong_tokens(recorder: Recorder, stage: Stage) -> None:
    """Every operation, asked by somebody who may not."""
    tokens = {
        "none": None,
        "garbage": "garbage",
        "made up": made_up({"alg": "HS256", "typ": "JWT"}, {"sub": "x"}),
        "agnostic": stage.tokens["plain agnostic"],
    }
    for name, operation in OPERATIONS.items():
        for kind, token in tokens.items():
            recorder.keep(f"{name}, {kind}", operation.document, token, **operation.probe_variables())


def documents(recorder: Recorder, stage: Stage) -> None:
    """Documents by themselves."""
    admin = stage.tokens["first"]
    statuses = '{ __type(name: "OnboardingStatus") { enumValues { name } } }'
    for label, query, token in (
        ("introspection, no token", "{ __schema { queryType { name } } }", None),
        ("introspection, agnostic", statuses, stage.tokens["service agnostic"]),
        ("introspection", statuses, admin),
        ("introspection of statuses", '{ __type(name: "WorkspaceActivationStatus") { enumValues { name } } }', admin),
        ("a root field twice", "{ a: currentUser { id } b: currentUser { id } }", admin),
        ("in two operations", "query A { currentUser { id } } query B { currentUser { id } }", admin),
        ("not GraphQL", "{", None),
        ("nothing", "", None),
    ):
        recorder.keep(label, query, token)
    recorder.keep("currentUser on /graphql", "{ currentUser { id } }", admin, "/graphql")
    recorder.keep("nothing but a name on /graphql", "{ __typename }", None, "/graphql")


def http(recorder: Recorder, stage: Stage) -> None:
    """What is no GraphQL call."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    json = {"content-type": "application/json"}
    recorder.keep_http("health", "GET", "/healthz")
    recorder.keep_http("no such path", "GET", "/nope")
    recorder.keep_http("GET without a query", "GET", "/metadata")
    recorder.keep_http("GET with a query", "GET", "/metadata?query={__typename}")
    recorder.keep_http("preflight", "OPTIONS", "/metadata")
    recorder.keep_http("a batch", "POST", "/metadata", json=[{"query": "{ __typename }"}])
    recorder.keep_http("a form", "POST", "/metadata", content=b"query=x", headers=form)
    recorder.keep_http("JSON that is none", "POST", "/metadata", content=b"{bad", headers=json)
    settings = recorder.http.get("/client-config").json()
    recorder.note("names of the public settings", sorted(settings))
    picked = ("appVersion", "authProviders", "captcha", "isEmailVerificationRequired", "isMultiWorkspaceEnabled")
    recorder.note("public settings", {name: settings.get(name) for name in picked})
