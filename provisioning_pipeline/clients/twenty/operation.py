"""What an operation of Twenty's GraphQL is: one root field, what is asked back, and what an answer to that is.

Nothing of an answer is used that does not pass through the types here. What is odd in an answer is named by its place,
never by its value, which may be a token.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from provisioning_pipeline.clients.http import OddAnswer
from provisioning_pipeline.clients.transport import Effect

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_NOT_IN_A_HEADER = re.compile(r"[^\x21-\x7e]")


def _text(text: str) -> str:
    # PostgreSQL and UTF-8 hold all but these
    if re.search(r"[\x00\ud800-\udfff]", text):
        raise ValueError("a character that cannot be stored")
    return text


def _sent_back(text: str) -> str:
    if not text or _NOT_IN_A_HEADER.search(text):
        raise ValueError("no token")
    return text


def _id(text: str) -> str:
    UUID(text)
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or _NOT_IN_A_HEADER.search(text):
        raise ValueError("no address")
    return text


def _time(text: object) -> object:
    if not isinstance(text, str):
        return text
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


Text = Annotated[str, AfterValidator(_text)]
Id = Annotated[str, AfterValidator(_text), AfterValidator(_id)]
Url = Annotated[str, AfterValidator(_url)]
TokenText = Annotated[str, AfterValidator(_sent_back)]
Time = Annotated[datetime, BeforeValidator(_time)]


class Answer(BaseModel):
    """An object in an answer, its fields in snake case; what else Twenty sends is left out."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", alias_generator=to_camel, hide_input_in_errors=True
    )


TEXT: Final[TypeAdapter[str]] = TypeAdapter(Text)


def field_of(body: Mapping[str, Any], name: str, shape: TypeAdapter[T]) -> T:
    """What the root field of an answer without errors holds.

    Raises:
        OddAnswer: when it is not there, or is not what this field answers.
    """
    data = body.get("data")
    if not isinstance(data, dict) or name not in data:
        raise OddAnswer(f"its answer has no `data.{name}`")
    try:
        return shape.validate_python(data[name])
    except (ValidationError, RecursionError) as error:
        first = (
            error.errors(include_input=False, include_context=False)[0] if isinstance(error, ValidationError) else None
        )
        place = ".".join(["data", name, *(str(part) for part in (first["loc"] if first else ()))])
        raise OddAnswer(f"`{place}` in its answer is missing or is not what Twenty answers there") from None


@dataclass(frozen=True)
class Operation(Generic[T_co]):
    """One root field with its arguments, what is asked back, and what an answer to that is.

    Without `arguments` each variable is the argument of its own name.

    With `records` it is served on `/graphql`, whose schema is each workspace's own; else on `/metadata`.

    Without a `needed` one no workspace can be made, activated, joined, signed in to or read, so a server that lacks it
    is refused. What another one does is done otherwise where it is lacking, or reported.
    """

    name: str
    effect: Effect
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: str = ""
    selection: str = ""
    needed: bool = True
    records: bool = field(kw_only=True, default=False)
    kind: Literal["query", "mutation"] = field(kw_only=True, default="mutation")
    answer: TypeAdapter[T_co] = field(kw_only=True, compare=False, repr=False)

    @property
    def document(self) -> str:
        """The document to send."""
        return f"{self._head(self.name[0].upper() + self.name[1:])} {{ {self._root('')} }}"

    def probe(self) -> str:
        """The same document with its root field skipped: a server validates all of it and runs none of it.

        `__typename` stands beside it, because Twenty's executor fails on a mutation that has nothing to run (2.21.0).
        """
        return f"{self._head('Probe')} {{ __typename {self._root(' @skip(if: true)')} }}"

    def probe_variables(self) -> dict[str, object]:
        """Values of the right types for the probe; it runs nothing, so they mean nothing."""
        return {name: _PROBE_VALUES[type_] for name, type_ in self.variables.items()}

    def _head(self, name: str) -> str:
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self.variables.items())
        return f"{self.kind} {name}" + (f"({declared})" if declared else "")

    def _root(self, directive: str) -> str:
        arguments = self.arguments or ", ".join(f"{name}: ${name}" for name in self.variables)
        arguments = f"({arguments})" if arguments else ""
        return re.sub(r"\s+", " ", f"{self.name}{arguments}{directive} {self.selection}").strip()


_PROBE_VALUES: Mapping[str, object] = {
    "String": "",
    "String!": "",
    "Boolean!": False,
    "UUID": None,
    "UUID!": "00000000-0000-4000-8000-000000000000",
    "JSON!": {},
    "[String!]!": [],
}
