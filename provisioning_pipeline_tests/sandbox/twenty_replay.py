"""Replays calls recorded on a real Twenty 2.21.0 and compares what comes back.

Compared: the shape of the data, every value that is not an identity, and message, code, subCode and
userFriendlyMessage of errors. Ids, invitation tokens, JWTs, times and ports are mapped from the recorded
ones to the live ones as the sequence goes: the same recorded id must always be the same live id.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioning_pipeline_tests.sandbox.twenty_fixtures import Client

RECORDING = Path(__file__).resolve().parents[3] / "shared" / "data" / "twenty" / "recorded-2.21.0.jsonl"
REAL_SCHEMA = RECORDING.with_name("metadata-2.21.0.graphql")

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_INVITATION = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
_PORT = re.compile(r"(localhost):\d+")

EXCHANGE = """mutation($l: String!, $o: String!) { getAuthTokensFromLoginToken(loginToken: $l, origin: $o) {
  tokens { accessOrWorkspaceAgnosticToken { token } refreshToken { token } } } }"""
LOGIN = """mutation($e: String!, $p: String!, $o: String!) {
  getLoginTokenFromCredentials(email: $e, password: $p, origin: $o) { loginToken { token } } }"""


@dataclass
class Tokens:
    """A session: the access or agnostic token, and the one that renews it."""

    access: str
    refresh: str

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Tokens":
        """From an answer that holds `tokens`."""
        pair = answer["tokens"]
        return cls(pair["accessOrWorkspaceAgnosticToken"]["token"], pair["refreshToken"]["token"])


@dataclass
class Replay:
    """One recorded server's sequence against a stand-in."""

    client: Client
    calls: list[dict[str, Any]] = field(
        default_factory=lambda: [json.loads(line) for line in RECORDING.read_text().splitlines()]
    )
    live: dict[str, str] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)

    def line(self, number: int, token: str | None = None, jwt: str | None = None) -> Any:
        """Replay one line as the holder of `token`; returns the live value of the root field."""
        call = self.calls[number]
        variables = {
            name: jwt if value == "<jwt>" else self._to_live(value) for name, value in (call["variables"] or {}).items()
        }
        answer = self.client.ask(call["query"], token, call["path"], **variables)
        self._compare(_ordered(call["response"]), _ordered(answer), f"line {number} ({call['label']})")
        self.done.add(number)
        return next(iter(answer["data"].values())) if answer.get("data") else None

    def bind(self, recorded: str, live: object) -> None:
        """Tell which live id stands for a recorded one that the recording does not introduce itself."""
        self.live[recorded] = str(live)

    def exchange(self, login_token: str, subdomain: str) -> Tokens:
        """A step that the recording left out: a login token for a session."""
        origin = f"http://{subdomain}.localhost/"
        return Tokens.of(self.client.get(EXCHANGE, l=login_token, o=origin))

    def login(self, email: str, password: str, subdomain: str) -> Tokens:
        """A step that the recording left out: sign in to a workspace."""
        answer = self.client.get(LOGIN, e=email, p=password, o=f"http://{subdomain}.localhost/")
        return self.exchange(answer["loginToken"]["token"], subdomain)

    def _to_live(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._to_live(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._to_live(item) for item in value]
        return self.live.get(value, value) if isinstance(value, str) else value

    def _compare(self, recorded: Any, live: Any, where: str) -> None:
        if isinstance(recorded, dict):
            assert isinstance(live, dict), where
            assert live.keys() == recorded.keys(), f"{where}: {live}"
            for name, item in recorded.items():
                self._compare(item, live[name], f"{where}.{name}")
        elif isinstance(recorded, list):
            assert isinstance(live, list), where
            assert len(live) == len(recorded), f"{where}: {live}"
            for index, item in enumerate(recorded):
                self._compare(item, live[index], f"{where}[{index}]")
        elif isinstance(recorded, str):
            self._compare_text(recorded, live, where)
        else:
            assert live == recorded, where

    def _compare_text(self, recorded: str, live: Any, where: str) -> None:
        assert isinstance(live, str), where
        if recorded == "<jwt>":
            assert _JWT.fullmatch(live), where
        elif _TIME.fullmatch(recorded):
            assert _TIME.fullmatch(live), where
        elif _ID.fullmatch(recorded) or _INVITATION.fullmatch(recorded):
            # Roles' universal identifiers are the same on every server; the others become the live one's.
            assert self.live.setdefault(recorded, live) == live, where
        else:
            expected = _ID.sub(lambda match: self.live.get(match[0], match[0]), recorded)
            assert _PORT.sub(r"\1", live) == _PORT.sub(r"\1", expected), where


def _ordered(value: Any) -> Any:
    """Connections come in the order of random ids; here by e-mail."""
    if isinstance(value, dict):
        ordered = {name: _ordered(item) for name, item in value.items()}
        if "edges" in ordered:
            ordered["edges"].sort(key=lambda edge: edge["node"].get("userEmail", ""))
        return ordered
    if isinstance(value, list):
        items = [_ordered(item) for item in value]
        # roles come in no order: Member first or Admin first, from one real server to the next
        has_labels = all(isinstance(item, dict) and "label" in item for item in items)
        return sorted(items, key=lambda item: item["label"]) if has_labels else items
    return value
