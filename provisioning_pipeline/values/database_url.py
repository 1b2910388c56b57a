"""Connection URLs of PostgreSQL: taken only where libpq reads out of them what their writer meant, or refused.

libpq is lenient: in `postgresql://user:12/34@host/db` it finds a server `user`, and the password in the name of the
database, from where it would reach error texts. So whatever could be read in two ways is refused, without a word of it.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

_FORM = "a URL like postgresql://user:password@host:5432/database"
ENCODE = (
    f"must be {_FORM}, in which user, password and database are percent-encoded: write @ as %40, / as %2F, : as %3A, "
    "? as %3F, # as %23, % as %25 and a space as %20"
)
"""The fault of a URL that a raw character makes ambiguous. It is the same for each, so that it shows nothing of it."""
_URL = re.compile(
    r"(?P<scheme>postgres(?:ql)?)://"
    r"(?:(?P<user>[^:/?@]*)(?::(?P<password>[^/?@]*))?@)?"
    r"(?P<hosts>[^/?@]*)"
    r"(?:/(?P<database>[^/?@]*))?"
    r"(?:\?(?P<query>[^?@]*))?"
)
_BAD_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]*))?")
_DRIVER = re.compile(r"(?:jdbc:)?postgres(?:ql)?(?:\+[a-z0-9_]+)?://", re.IGNORECASE)

_PRISMA = "is a parameter of Prisma: leave it out"
_INSTEAD: Mapping[str, str] = {
    "schema": f"{_PRISMA}, the schemas are known here",
    "connection_limit": f"{_PRISMA}, how many connections this program opens stands in docs/installation.md",
    "pool_timeout": _PRISMA,
    "socket_timeout": f"{_PRISMA}, or write options=-c%20statement_timeout%3D30s",
    "statement_cache_size": _PRISMA,
    "pgbouncer": f"{_PRISMA}, and let the URL lead to PostgreSQL itself or to a pooler in session mode",
    "sslaccept": f"{_PRISMA}, and write sslmode=require, or sslmode=verify-full to have the certificate checked",
    "sslidentity": f"{_PRISMA}, and write sslcert= and sslkey=",
    "ssl": "takes only true here: write sslmode=disable, sslmode=require or sslmode=verify-full",
    "uselibpqcompat": "is a parameter of node-postgres: leave it out",
    "supa": "is a parameter of Supabase's pooler: leave it out",
    "currentschema": "is a parameter of JDBC: write options=-c%20search_path%3DNAME",
    "search_path": "is no parameter of libpq: write options=-c%20search_path%3DNAME",
    "statement_timeout": "is no parameter of libpq: write options=-c%20statement_timeout%3D30s",
    "preparethreshold": "is a parameter of JDBC: leave it out",
    "timeout": "is no parameter of libpq: leave it out, a connection is waited for for 5 s",
    **dict.fromkeys(
        ("prepared_statements", "timezone", "encoding", "charset"), "is no parameter of libpq: leave it out"
    ),
}
"""Parameters that other programs take, and what to write instead."""
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "sslmode": _SSLMODES,
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable", "random"),
    "keepalives": ("0", "1"),
    "sslsni": ("0", "1"),
}
_WHOLE_NUMBERS = ("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "passfile")


def checked_database_url(text: str) -> str:
    """The URL, with `~` expanded in the files that it names.

    Raises:
        ValueError: when it is none that can be read in one way only, with what to write; no part of it is quoted but
            the name of a parameter.
    """
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError(_why_not(text))
    parts = found.groupdict(default="")
    if any(character.isspace() or character == "#" for character in text) or not _are_encoded(parts.values()):
        raise ValueError(ENCODE)
    if not all(_is_host(host) for host in parts["hosts"].split(",")):
        raise ValueError(ENCODE)
    query = _expanded(parts["query"])
    for parameter in query.split("&") if query else ():
        name, equals, value = parameter.partition("=")
        # with a password among them, a parameter that is not known may be a piece of it
        _check_parameter(name, value if equals else None, may_be_named="password" not in parts["query"])
    url = text.removesuffix(parts["query"]) + query if query else text
    read = _read_by_libpq(url)
    if not read.get("dbname"):
        raise ValueError(f"must be {_FORM}, with a database name")
    authorities = str(read.get("sslrootcert") or "system")
    if str(read.get("sslmode")).startswith("verify-") and authorities != "system" and not Path(authorities).is_file():
        raise ValueError("has the parameter sslrootcert with a file that is not there: name one, or write system")
    return url


def _why_not(text: str) -> str:
    driver = _DRIVER.match(text)
    if driver and driver[0] not in ("postgres://", "postgresql://"):
        return f"must be {_FORM}: write postgresql:// without the name of a driver, in lower case"
    if driver:
        return ENCODE
    return f"must be {_FORM}, with a database name; no other form is taken"


def _are_encoded(parts: Iterable[str]) -> bool:
    try:
        return not any(_BAD_ENCODING.search(part) or "\0" in unquote_to_bytes(part).decode() for part in parts)
    except UnicodeDecodeError:
        return False


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    if found is None or (found["port"] and not 0 < int(found["port"][:6]) < 65536):
        return False
    if not found["host"].startswith("["):
        return True
    try:
        IPv6Address(found["host"][1:-1])
    except AddressValueError:
        return False
    return True


def _check_parameter(name: str, value: str | None, *, may_be_named: bool) -> None:
    from psycopg import pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if name.lower() in _INSTEAD and not (name == "ssl" and value == "true"):
        raise ValueError(f"has the parameter {name.lower()}, which {_INSTEAD[name.lower()]}")
    if name not in known and name != "ssl":
        named = f" {name}" if may_be_named and re.fullmatch(r"[A-Za-z_]{1,40}", name) else ""
        raise ValueError(f"has a parameter{named} that libpq does not know: leave it out")
    if value is None:
        raise ValueError(f"has the parameter {name} without a value: write {name}=…, or leave it out")
    choices = _CHOICES.get(name)
    if choices and value not in choices:
        hint = ", require encrypts and checks no certificate" if name == "sslmode" else ""
        raise ValueError(f"has the parameter {name} with a value that libpq does not know: {', '.join(choices)}{hint}")
    if name in _WHOLE_NUMBERS and not re.fullmatch(r"-?[0-9]{1,9}", value):
        raise ValueError(f"has the parameter {name} with a value that is no whole number: write it without a unit")


def _expanded(query: str) -> str:
    def expand(found: "re.Match[str]") -> str:
        return found[1] + quote(str(Path.home()))

    return re.sub(rf"((?:^|&)(?:{'|'.join(_FILES)})=)~(?=/|&|$)", expand, query)


def _read_by_libpq(url: str) -> dict[str, object]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        return dict(conninfo_to_dict(url))
    except ProgrammingError:
        # its words quote the URL, so nothing is raised while it is being handled
        pass
    raise ValueError(ENCODE)
