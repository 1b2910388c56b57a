"""The kinds of values that settings have, each with its check. A fault names what is wanted, never the value."""

import re
import unicodedata
from base64 import b64decode
from binascii import Error as BinasciiError
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from provisioning_pipeline.settings.database_url import checked_database_url

MOST_DAYS: Final = 36_500
"""A century: beyond that a moment has no place in a calendar any more."""
MOST_SECONDS: Final = MOST_DAYS * 86_400
MOST_WAIT_SECONDS: Final = 2_000_000
"""PostgreSQL counts the milliseconds of a wait in 32 bits."""
MOST_COUNT: Final = 1_000_000_000
"""As many as fit into every integer on the way."""
_INVISIBLE = "\ufeff\u200b\u2060"
"""A byte order mark and spaces without width: what an editor, or a copy from a web page, leaves at the ends."""
_CONTROL = frozenset({"Cc", "Zl", "Zp"})
_QUOTES: Mapping[str, str] = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(?:://|::)")


def stripped(text: str) -> str:
    """Without white space, line ends and byte order marks around it; files and `echo` leave those."""
    before = None
    while text != before:
        before, text = text, text.strip().strip(_INVISIBLE)
    return text


def cleaned(value: Any) -> Any:
    """A value as every setting takes it, before anything else is asked of it, inside of lists and objects, too.

    Raises:
        ValueError: when it holds what no setting may hold.
    """
    if isinstance(value, str):
        return _cleaned_text(value)
    if isinstance(value, SecretStr):
        return SecretStr(_cleaned_text(value.get_secret_value()))
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(cleaned(inner) for inner in value)
    return value


def _cleaned_text(text: str) -> str:
    text = stripped(text)
    if any(unicodedata.category(character) in _CONTROL or character in _INVISIBLE for character in text):
        raise ValueError("holds a line break or another control character: write it in one line of plain text")
    if any(unicodedata.category(character) == "Cs" for character in text):
        raise ValueError("is not in UTF-8: write it anew in that encoding")
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        raise ValueError(
            "stands in quotation marks, which would count as a part of it: write it without (docker's --env-file and "
            "Kubernetes keep them, a shell and a file .env do not)"
        )
    return text


def _http_url(value: str) -> str:
    _must_be_http(value)
    # a password with a raw / in it moves the @ into the path
    if "@" in value:
        raise ValueError("must not hold a user or password: it is shown in reports")
    if "?" in value or "#" in value:
        raise ValueError("must end before any ? or #: paths are added to it")
    return value.rstrip("/")


def _must_be_http(value: str) -> None:
    import httpx2

    try:
        url = httpx2.URL(value)
        # as the connection will have it; encoding the host is what fails for names that cannot be looked up
        usable = url.scheme in ("http", "https") and bool(url.raw_host) and (url.port or 1) in range(1, 65_536)
    except (httpx2.InvalidURL, ValueError):
        usable = False
    if not usable or not value.isprintable() or " " in value:
        raise ValueError("must be a URL that starts with http:// or https:// and names a host")


def _secret_http_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    _must_be_http(text)
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


def _issuer(value: str) -> str:
    url = _http_url(value)
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must start with https://: what answers there says which keys sign sessions")
    return url


def _is_loopback(host: str) -> bool:
    name = _host(host)
    try:
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False


def encrypted(url: str, *, but_for: Collection[str]) -> None:
    """Refuse a URL of http:// off this machine: keys, passwords and tokens would cross the network readable.

    Args:
        but_for: host names in lower case that may be spoken to all the same.

    Raises:
        ValueError: what to do, without the URL.
    """
    import httpx2

    parts = httpx2.URL(url)
    if parts.scheme == "https" or _is_loopback(parts.host) or _host(parts.host) in but_for:
        return
    raise ValueError(
        "must start with https://: over http:// our keys and passwords cross the network readable. If that network is "
        "yours alone, name the host in PROVISIONING_ALLOW_HTTP_HOSTS"
    )


def _host(name: str) -> str:
    return name.lower().rstrip(".")


def _hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    if any(not value or re.search(r"[/@*,\s]|^\[|[^:]:\d+$", value) for value in values):
        raise ValueError('must be names of hosts alone, without http://, port or *, such as ["twenty.internal"]')
    return tuple(dict.fromkeys(_host(value) for value in values))


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
ClerkKey = Annotated[
    SecretStr,
    _ONE_LINE,
    _must(lambda text: not text.startswith("pk_"), "is Clerk's publishable key: the secret key begins with sk_"),
]
DatabaseUser = Annotated[
    str,
    Field(min_length=1),
    _must(
        lambda text: not re.search(r"[{}]", text.replace("{database}", "")),
        "may hold {database}, which stands for the database's name, and no other braces",
    ),
]
Email = Annotated[str, _must(lambda text: re.fullmatch(r"[^ ]+@[^ @]+", text), "must be an e-mail address")]
Readers = Literal["owner", "group", "everyone"]
"""Who on this machine may read what this program writes, besides root."""
Hosts = Annotated[tuple[str, ...], AfterValidator(_hosts)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
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
PostgresUrl = Annotated[SecretStr, AfterValidator(_secret(checked_database_url))]
Pattern = Annotated[str, AfterValidator(_regular_expression)]
Origin = Annotated[str, AfterValidator(lambda value: value.rstrip("/"))]
"""As a browser writes it, and so Clerk's claim `azp`."""
IssuerUrl = Annotated[str, AfterValidator(_issuer)]
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
