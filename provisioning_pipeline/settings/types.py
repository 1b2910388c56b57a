"""The kinds of values that settings have, each with its check. A fault names what is wanted, never the value."""

import re
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr

from provisioning_pipeline.values import texts, urls
from provisioning_pipeline.values.database_url import checked_database_url
from provisioning_pipeline.values.numbers import MOST_COUNT as MOST_COUNT
from provisioning_pipeline.values.numbers import MOST_DAYS as MOST_DAYS
from provisioning_pipeline.values.numbers import MOST_SECONDS as MOST_SECONDS

MOST_WAIT_SECONDS: Final = 2_000_000
"""PostgreSQL counts the milliseconds of a wait in 32 bits."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(?:://|::)")


def cleaned(value: Any) -> Any:
    """A value as every setting takes it, before anything else is asked of it, inside of lists and objects, too.

    Raises:
        ValueError: when it holds what no setting may hold.
    """
    return texts.cleaned(value, _cleaned_secret)


def _cleaned_secret(value: Any) -> Any:
    return SecretStr(texts.cleaned_text(value.get_secret_value())) if isinstance(value, SecretStr) else value


def _secret_http_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    urls.must_be_http(text)
    # the path may hold one: incoming webhooks of Teams do
    if "@" in re.split(r"[/?#]", text.split("://", 1)[1], maxsplit=1)[0]:
        raise ValueError("must not hold a user or password: no request would carry them")
    return SecretStr(text.rstrip("/"))


def _path(value: str) -> str:
    """A path of this machine, with `~` expanded."""
    if "$" in value:
        raise ValueError("holds a $: variables are not expanded here. Write the whole path, or one that begins with ~")
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        raise ValueError("begins with ~ and a user who is not known on this machine: write the whole path") from None


def _place(value: str) -> str:
    """A folder, or a URL that fsspec knows."""
    scheme = _SCHEME.match(value)
    if scheme is None:
        return _path(value)
    # a password with a raw / in it moves the @ behind the host
    if re.search(r":[^/]", value[scheme.end() :].split("@")[0]) and "@" in value:
        raise ValueError(
            "must not hold a password: it is shown in reports. Give fsspec its credentials by its own means"
        )
    _must_be_known(scheme[1].lower())
    if scheme[1].lower() in ("file", "local"):
        head, path = value[: scheme.end()], value[scheme.end() :]
        return head + _path(path) if path.startswith("~") else value
    return value


def _must_be_known(scheme: str) -> None:
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        known = "a folder, file://, s3://, gs:// or abfs://"
        raise ValueError(f"begins with a scheme that fsspec does not know: give {known}, for example") from None
    except ImportError:
        # its package is missing here; another process of ours may have it, and writing says so
        return


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        message = f"must be a regular expression: {error}"
        raise ValueError(message) from None
    return value


def _must(hold: Callable[[str], object], fault: str) -> AfterValidator:
    """Refuse a text, or the text of a secret, for which this does not hold."""

    def check(value: Any) -> Any:
        if not hold(value.get_secret_value() if isinstance(value, SecretStr) else value):
            raise ValueError(fault)
        return value

    return AfterValidator(check)


def _must_be_varied(least: int, advice: str) -> AfterValidator:
    """A secret of fewer different characters is soon tried through."""
    fault = f"is guessed too soon: it has fewer than {least} different characters. {advice}"
    return _must(lambda text: len(set(text)) >= least, fault)


_ONE_LINE = _must(lambda text: text and text.isascii() and text.isprintable(), "must be one line of plain characters")


def _signs(text: str) -> bool:
    """Whether this is a secret by which Standard Webhooks signs."""
    try:
        key = b64decode(text.removeprefix("whsec_"), validate=True)
    except (BinasciiError, ValueError):
        return False
    return text.startswith("whsec_") and 24 <= len(key) <= 64


def _secret(check: Callable[[str], str]) -> Callable[[SecretStr], SecretStr]:
    return lambda value: SecretStr(check(value.get_secret_value()))


Concurrency = Annotated[int, Field(ge=1, le=64)]
Count = Annotated[int, Field(ge=0, le=MOST_COUNT)]
Days = Annotated[int, Field(ge=1, le=MOST_DAYS)]
Positive = Annotated[int, Field(ge=1, le=MOST_COUNT)]
Seconds = Annotated[float, Field(ge=0, le=MOST_SECONDS)]
Share = Annotated[float, Field(ge=0, le=1)]
SomeShare = Annotated[float, Field(gt=0, le=1)]
Wait = Annotated[float, Field(gt=0, le=MOST_WAIT_SECONDS)]
ClerkKey = Annotated[SecretStr, AfterValidator(_secret(texts.clerk_key))]
DatabaseUser = Annotated[
    str,
    Field(min_length=1),
    _must(
        lambda text: not re.search(r"[{}]", text.replace("{database}", "")),
        "may hold {database}, which stands for the database's name, and no other braces",
    ),
]
Email = Annotated[str, _must(lambda text: re.fullmatch(r"[^ ]+@[^ @]+", text), "must be an e-mail address")]
Folder = Annotated[Path, AfterValidator(lambda path: Path(_path(str(path))))]
Readers = Literal["owner", "group", "everyone"]
"""Who on this machine may read what this program writes, besides root."""
Hosts = Annotated[tuple[str, ...], AfterValidator(urls.host_names)]
HttpUrl = Annotated[str, AfterValidator(urls.http_url)]
Names = Annotated[tuple[str, ...], AfterValidator(lambda values: tuple(dict.fromkeys(values)))]
Place = Annotated[str, AfterValidator(_place)]
SecretHttpUrl = Annotated[SecretStr, AfterValidator(_secret_http_url)]
RedisUrl = Annotated[
    SecretStr,
    _ONE_LINE,
    _must(
        lambda text: re.match(r"(?:redis|rediss|sentinel)://.", text),
        "must be a URL that starts with redis://, rediss:// or sentinel://",
    ),
]
SecretUrl = Annotated[
    SecretStr, _must(lambda text: re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", text), "must be a URL that apprise takes")
]
PostgresUrl = Annotated[SecretStr, AfterValidator(_secret(checked_database_url))]
Pattern = Annotated[str, AfterValidator(_regular_expression)]
Origin = Annotated[str, AfterValidator(urls.origin)]
"""As a browser writes it, and so Clerk's claim `azp`."""
IssuerUrl = Annotated[str, AfterValidator(urls.issuer_url)]
ReportPassword = Annotated[SecretStr, _ONE_LINE, _must_be_varied(5, "Make one with: openssl rand -hex 16")]
ServicePassword = Annotated[SecretStr, _must_be_varied(4, "Give the account another one in Twenty, and set that here")]
SigningSecret = Annotated[
    SecretStr,
    _ONE_LINE,
    _must(
        _signs,
        'must be whsec_ and 24 to 64 bytes in base64. Make one with: echo "whsec_$(openssl rand -base64 32)"',
    ),
]
MemberPasswordKey = Annotated[
    SecretStr,
    _must_be_varied(
        6,
        "Make one with: openssl rand -hex 32. Where accounts were made with this one already, read first what another "
        "one means for them: docs/installation.md, The member password key",
    ),
]
"""Only what is clear nonsense is refused: accounts that were made with a key depend on it."""
