"""Sends calls to a Twenty server and keeps each answer under a label, without anything that differs from run to run."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psycopg

Answer = dict[str, Any]

_CUTS = (
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*"), "<token>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<invitation>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b20\d\d-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r"\bworkspace_[0-9a-z]{20,}\b"), "<schema>"),
    (re.compile(r"(localhost|127\.0\.0\.1):\d+"), r"\1:<port>"),
)


def without_what_changes(value: Any) -> Any:
    """A value of JSON with tokens, ids, times, ports and schemas cut out, and what has no order put in one."""
    if isinstance(value, dict):
        return {name: without_what_changes(item) for name, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        items = [without_what_changes(item) for item in value]
        # Roles and workspaces come in the order of the table's pages, which is another one from server to server.
        for name in ("label", "displayName", "email"):
            if all(isinstance(item, dict) and name in item for item in items):
                return sorted(items, key=lambda item: str(item[name]))
        if all(isinstance(item, dict) and "node" in item for item in items):
            return sorted(items, key=str)
        return items
    if isinstance(value, str):
        for pattern, instead in _CUTS:
            value = pattern.sub(instead, value)
    return value


@dataclass
class Recorder:
    """One server's answers.

    Args:
        base_url: of the server; it must be empty.
        database_url: of its database, for what only SQL can break or show.
    """

    base_url: str
    database_url: str
    answers: dict[str, Any] = field(default_factory=dict)
    group: str = ""
    """What the labels start with."""

    def __post_init__(self) -> None:
        # Plain HTTP, and no cookies: what a token may do is asked of the token.
        self.http = httpx2.Client(base_url=self.base_url, timeout=60, verify=False)
        self.port = httpx2.URL(self.base_url).port
        self.database = psycopg.connect(self.database_url, autocommit=True)

    def close(self) -> None:
        """Let go of both connections."""
        self.http.close()
        self.database.close()

    def ask(
        self, query: str, token: str | None = None, path: str = "/metadata", /, **variables: Any
    ) -> httpx2.Response:
        """One GraphQL call that is not kept."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        answer = self.http.post(path, json={"query": query, "variables": variables}, headers=headers)
        self.http.cookies.clear()
        return answer

    def get(self, query: str, token: str | None = None, /, **variables: Any) -> Any:
        """The root field of a call that must succeed, not kept."""
        body: Answer = self.ask(query, token, **variables).json()
        if "errors" in body:
            message = f"{self.group}: a call that prepares the others failed: {body['errors'][0]['message']}"
            raise AssertionError(message)
        (value,) = body["data"].values()
        return value

    def keep(
        self, label: str, query: str, token: str | None = None, path: str = "/metadata", /, **variables: Any
    ) -> Answer:
        """One GraphQL call, kept under its label; the body as it came."""
        answer = self.ask(query, token, path, **variables)
        body: Answer = answer.json()
        self.note(label, {"status": answer.status_code, **body})
        return body

    def keep_http(self, label: str, method: str, path: str, **request: Any) -> None:
        """One request that is no GraphQL call of ours: status, kind of content, and body."""
        answer = self.http.request(method, path, **request)
        self.http.cookies.clear()
        try:
            body = answer.json()
        except json.JSONDecodeError:
            body = answer.text
        self.note(label, {"status": answer.status_code, "kind": answer.headers.get("content-type"), "body": body})

    def note(self, label: str, value: Any) -> None:
        """Keep something that was seen."""
        name = f"{self.group}: {label}"
        if name in self.answers:
            message = f"the label {name!r} stands for two calls"
            raise AssertionError(message)
        self.answers[name] = without_what_changes(value)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What one statement gives, past the server."""
        cursor = self.database.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def rows(self, label: str, statement: str, *values: Any) -> None:
        """Keep what the database holds."""
        self.note(label, [[str(cell) for cell in row] for row in self.sql(statement, *values)])

    def origin(self, subdomain: str) -> str:
        """Where a workspace lives, as the argument of logins wants it."""
        return f"http://{subdomain}.localhost:{self.port}"


Scenario = Callable[[Recorder, "Stage"], None]


@dataclass
class Stage:
    """Who and what the scenarios before have left behind."""

    tokens: dict[str, str] = field(default_factory=dict)
    """Access tokens by what they are: `service agnostic`, `first`, `second`, …"""
    workspaces: dict[str, str] = field(default_factory=dict)
    """Ids by subdomain."""
    hashes: dict[str, str] = field(default_factory=dict)
    """What the link of each workspace carries, by subdomain."""
