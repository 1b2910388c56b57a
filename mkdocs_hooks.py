"""What the site has besides docs/: the pages at the root, the source files that pages link to, the API, the reference.

The Markdown stays as GitHub shows it. Links that lead out of docs/ get a page in the site; lists that GitHub indents by
two or three characters get the four that Python-Markdown wants; and README's Mermaid, whose script would come from a
CDN, gives way to the picture that says the same.
"""

import json
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import SecretStr

from provisioning_pipeline.http.app import create_app
from provisioning_pipeline.settings import Settings

ROOT: Final = Path(__file__).parent
PAGES: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
}
"""Page at the root of the repository → page of the site."""
_LINK: Final = re.compile(
    r'(?P<before>\]\(|src=")(?P<path>(?!https?:|mailto:|#)[^)#"\s]+)(?P<after>#[^)"\s]*)?(?=[)"])'
)
_FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)[^\n]*\n.*?^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_INDENT: Final = re.compile(r"^ +(?=\S)", re.MULTILINE)
OWN: Final = ("api.md", "reference.md")
_FLOW: Final = "The picture [at the top](#provisioning_pipeline) has it."
"""In place of README's Mermaid."""
_API = """# HTTP API

What `provisioning serve` answers, from its own `/openapi.json`.
[Operations](operations.md#the-http-api) says how to use it.

<swagger-ui src="openapi.json"/>
"""
_REFERENCE = """# Python reference

## The client

For programs that ask the HTTP API. [Examples](examples/README.md#the-python-client) show it in use.

::: provisioning_pipeline.client.ProvisioningClient
::: provisioning_pipeline.client.AsyncProvisioningClient
::: provisioning_pipeline.client.Tenant
::: provisioning_pipeline.client.Condition
::: provisioning_pipeline.client.Event
::: provisioning_pipeline.client.Asked
::: provisioning_pipeline.client.ManyAsked
::: provisioning_pipeline.client.ProvisioningError
::: provisioning_pipeline.client.NotAllowed
::: provisioning_pipeline.client.NotReady
::: provisioning_pipeline.client.UnexpectedAnswer
::: provisioning_pipeline.client.Unreachable

## The gateway's middleware

For Starlette and FastAPI applications that let Clerk sessions in.
[Operations](operations.md#a-link-into-twenty) has an example.

::: provisioning_pipeline.gateway.ClerkWorkspaceMiddleware
::: provisioning_pipeline.gateway.workspace_of
::: provisioning_pipeline.gateway.WorkspaceContext
::: provisioning_pipeline.gateway.Session
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no files in docs/."""
    texts = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    texts |= {name: (ROOT / name).read_text("utf-8") for name in PAGES}
    pages = {PAGES[name]: texts[name] for name in PAGES} | {"api.md": _API, "reference.md": _REFERENCE}
    pages["openapi.json"] = json.dumps(_openapi())
    named = {_target(at, found) for at, text in texts.items() for found in _LINK.finditer(_FENCE.sub("", text))}
    pages |= {_in_site(name): _source_page(name) for name in sorted(named - set(PAGES)) if not name.startswith("docs/")}
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page as Python-Markdown and the site want it."""
    uri = page.file.src_uri
    if uri in OWN or uri.startswith("source/"):
        return markdown
    at = next((name for name, site in PAGES.items() if site == uri), f"docs/{uri}")
    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_prose(markdown[end : fence.start()], at, uri), _fence(fence)]
        end = fence.end()
    return "".join([*parts, _prose(markdown[end:], at, uri)])


def _prose(text: str, at: str, uri: str) -> str:
    def linked(found: re.Match[str]) -> str:
        path = relpath(_in_site(_target(at, found)), dirname(uri) or ".")
        return f"{found['before']}{path}{found['after'] or ''}"

    return _INDENT.sub(_four, _LINK.sub(linked, text))


def _fence(fence: re.Match[str]) -> str:
    if fence["kind"] == "mermaid":
        return _FLOW
    more = _four(fence[0][: len(fence["indent"])]).removeprefix(fence["indent"])
    return "\n".join(more + line if line else "" for line in fence[0].split("\n"))


def _four(indent: str | re.Match[str]) -> str:
    """Python-Markdown's indentation for one of GitHub's: four for each level of a list."""
    width = len(indent if isinstance(indent, str) else indent[0])
    return " " * 4 * round(width / 2.5)


def _target(at: str, link: re.Match[str]) -> str:
    """What a link in this file leads to, from the root of the repository."""
    return normpath(join(dirname(at), link["path"]))


def _in_site(name: str) -> str:
    """The page or file of the site for what stands there in the repository."""
    if name in PAGES:
        return PAGES[name]
    return name.removeprefix("docs/") if name.startswith("docs/") else f"source/{name}.md"


def _source_page(name: str) -> str:
    path = ROOT / name
    if path.is_dir():
        body = "\n".join(f"- `{one.name}`" for one in sorted(path.iterdir()) if one.name != "__pycache__")
    else:
        body = f"````````{path.suffix.removeprefix('.')}\n{path.read_text('utf-8')}\n````````"
    return f"---\nsearch:\n  exclude: true\n---\n# {name}\n\n{body}\n"


def _openapi() -> dict[str, Any]:
    """The document, without any system: the application reaches for them only once it is served."""
    settings = Settings(
        _env_file=None,
        registry_url=SecretStr("postgresql://localhost/tenant_manager"),
        tenant_cluster_url=SecretStr("postgresql://localhost/postgres"),
        clerk_secret_key=SecretStr("sk_test_for_the_documentation"),
        clerk_webhook_secret=SecretStr("whsec_Zm9yLXRoZS1kb2N1bWVudGF0aW9u"),
        member_password_key=SecretStr("for-the-documentation"),
        twenty_base_url="http://localhost",
        twenty_database_url=SecretStr("postgresql://localhost/twenty"),
        twenty_service_email="provisioner@example.com",
        twenty_service_password=SecretStr("for-the-documentation"),
    )
    return create_app(settings).openapi()
