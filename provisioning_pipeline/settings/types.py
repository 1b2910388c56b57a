"""The kinds of values that settings have, each with its check. A fault names what is wanted, never the value."""

import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AnyHttpUrl, SecretStr, TypeAdapter, ValidationError


def _http_url(value: str) -> str:
    try:
        TypeAdapter(AnyHttpUrl).validate_python(value)
    except ValidationError:
        message = "must be a URL that starts with http:// or https://"
        raise ValueError(message) from None
    if "@" in value.split("/", 3)[2]:
        message = "must not hold a user or password: it is shown in reports"
        raise ValueError(message)
    return value.rstrip("/")


def _place(value: str) -> str:
    if re.match(r"[a-z0-9+.-]+://[^/@]*:[^/@]*@", value, re.IGNORECASE):
        message = "must not hold a password: it is shown in reports. Give fsspec its credentials by its own means"
        raise ValueError(message)
    return value


def _secret_http_url(value: SecretStr) -> SecretStr:
    return SecretStr(_http_url(value.get_secret_value().strip()))


def _postgres_url(value: SecretStr) -> SecretStr:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    text = value.get_secret_value()
    try:
        parameters = conninfo_to_dict(text) if text.startswith(("postgresql://", "postgres://")) else {}
    except ProgrammingError:
        parameters = {}
    if not parameters.get("dbname"):
        message = "must be a URL like postgresql://user:password@host:5432/database, with a database name"
        raise ValueError(message)
    return value


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        message = f"must be a regular expression: {error}"
        raise ValueError(message) from None
    return value


def _header_secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if not text or not text.isascii() or not text.isprintable():
        message = "must be one line of plain characters"
        raise ValueError(message)
    return SecretStr(text)


def _issuer(value: str) -> str:
    url = _http_url(value)
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        message = "must start with https://: whoever answers there says which keys sign sessions"
        raise ValueError(message)
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


HeaderSecret = Annotated[SecretStr, AfterValidator(_header_secret)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Place = Annotated[str, AfterValidator(_place)]
SecretHttpUrl = Annotated[SecretStr, AfterValidator(_secret_http_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
Pattern = Annotated[str, AfterValidator(_regular_expression)]
IssuerUrl = Annotated[str, AfterValidator(_issuer)]
