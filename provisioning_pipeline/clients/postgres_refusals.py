"""What PostgreSQL, or a pooler before it, says when it fails us, as faults, and what an operator does then.

libpq passes on no SQLSTATE of a refused connection, so we know it by its English text. In another language the advice
is the general one, and a server that answered before is waited for, whatever it says: it may be restarting.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from psycopg import DataError, Error, OperationalError, errors

from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.fault import Fault, FaultKind


class Refusal(Enum):
    """What a refused connection asks of us."""

    AWAY = "nothing answers there; if a server did before, it may be restarting"
    STARTING = "the server answers and asks us to come again"
    FULL = "no connection is free now"
    FINAL = "as the settings and the server are now, no other try succeeds"
    UNKNOWN = "its answer cannot be understood; if it answered before, it may be restarting"


@dataclass(frozen=True, slots=True)
class _Known:
    texts: tuple[str, ...]
    refusal: Refusal
    advice: str


_GENERAL: Final = "Check host, port, user, password and database name in the settings."
_KNOWN: Final = (
    _Known(
        (
            "too many connections for",
            "connection slots are reserved",
            "too many clients already",
            "no more connections",
        ),
        Refusal.FULL,
        "",
    ),
    _Known(
        (
            "is starting up",
            "is shutting down",
            "in recovery mode",
            "not yet accepting connections",
            "the server is being",
        ),
        Refusal.STARTING,
        "The server is starting, stopping or recovering: wait until it is up; the next run tries again.",
    ),
    _Known(
        ("hot standby mode is disabled",),
        Refusal.FINAL,
        "That server is a standby that takes no queries. Point the setting at the primary.",
    ),
    _Known(
        ("session is not", "server is in hot standby", "server is not in hot standby"),
        Refusal.FINAL,
        "No server that the URL names is of the kind that its target_session_attrs asks for.",
    ),
    _Known(
        ("no pg_hba.conf entry", "pg_hba.conf rejects"),
        Refusal.FINAL,
        "The server answers, and its pg_hba.conf does not let this user into this database from here. Have its "
        "administrator add an entry; where the text says `no encryption`, set sslmode=require in the URL.",
    ),
    _Known(
        ("password authentication failed", "no password supplied", "authentication failed", "no such user", "sasl"),
        Refusal.FINAL,
        "The server answers. Check user and password in the settings, and whether the password has expired.",
    ),
    _Known(
        ("permission denied for database",),
        Refusal.FINAL,
        "The server answers. Have the database's owner GRANT CONNECT ON DATABASE to our user.",
    ),
    _Known(
        ("not permitted to log in",),
        Refusal.FINAL,
        "The server answers. Have its administrator give our role LOGIN.",
    ),
    _Known(
        ("not currently accepting connections", "cannot connect to invalid database"),
        Refusal.FINAL,
        "The server answers, and lets no one into this database: it was shut with ALLOW_CONNECTIONS false, or a DROP "
        "DATABASE was interrupted. Have its administrator open or drop it.",
    ),
    _Known(
        ("unsupported startup parameter", "startup packet"),
        Refusal.FINAL,
        "A pooler stands before the server and does not pass on what the URL asks for. Take that parameter out of the "
        "URL, or name it in the pooler's ignore_startup_parameters.",
    ),
    _Known(
        ("due to lock timeout",),
        Refusal.FINAL,
        "The server answers, and a session holds a lock on that database's catalogue, which pg_locks shows; the next "
        "run looks again.",
    ),
    _Known(
        ("out of shared memory",),
        Refusal.UNKNOWN,
        "The server answers, and its memory for locks is full, most likely by one session that holds very many: SELECT "
        "pid, count(*) FROM pg_locks GROUP BY pid ORDER BY 2 DESC shows which. End it with pg_terminate_backend.",
    ),
    _Known(
        ("cannot connect to server", "server_login_retry", "query_wait_timeout", "pgbouncer"),
        Refusal.STARTING,
        "A pooler answers, and reaches no server behind it or has no connection free. Look at the pooler's log.",
    ),
    _Known(
        ("role ",),
        Refusal.FINAL,
        "The server answers. Check the user in the settings.",
    ),
    _Known(
        ("does not exist", "no such database"),
        Refusal.FINAL,
        "The server answers. Check the database name in the settings, or create the database.",
    ),
    _Known(
        (
            "name or service not known",
            "translate host name",
            "resolve host",
            "name resolution",
            "nodename nor servname",
        ),
        Refusal.AWAY,
        "Check the host name in the settings, and the name service of this machine.",
    ),
    _Known(
        ("certificate", "ssl", "tls"),
        Refusal.FINAL,
        "The server answers. Check sslmode and sslrootcert in the URL against what the server offers.",
    ),
    _Known(
        ("connection refused", "timeout expired", "no route to host", "unreachable", "timed out", "no such file"),
        Refusal.AWAY,
        "Check host and port in the settings, that the server runs, and the firewalls on the way.",
    ),
    _Known(
        ("server closed the connection", "connection reset", "connection is lost", "eof detected", "terminating"),
        Refusal.AWAY,
        "Something on the way, or the server itself, ended the connection while it was being made. Look at its log.",
    ),
)


def refusal_of(error: Exception) -> tuple[Refusal, str]:
    """What kind of refusal this is and what to do about it; no advice for `FULL`, which depends on who asks."""
    # names of hosts, users and databases may hold any word
    text = re.sub(r'"[^"]*"', '""', first_line(error)).lower()
    for known in _KNOWN:
        if any(part in text for part in known.texts):
            return known.refusal, known.advice
    return Refusal.UNKNOWN, _GENERAL


def first_line(error: Exception) -> str:
    """The first line of PostgreSQL's text, without a full stop."""
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")


_CLOSED_WHILE: Final[tuple[tuple[type[Error], str], ...]] = (
    (errors.IdleSessionTimeout, "while it was idle"),
    (errors.IdleInTransactionSessionTimeout, "while a transaction of ours was idle"),
    (errors.AdminShutdown, "because the server stops or an administrator ended it"),
    (errors.CrashShutdown, "because the server crashed"),
    (errors.CannotConnectNow, "because the server stops"),
)


class OddJson(DataError):
    """JSON that is nested deeper, or has a number of more digits, than Python reads."""


class ConnectionLost(Fault):
    """A connection broke while it was used.

    Args:
        committing: at the end of a transaction that wrote, so that we cannot know whether it holds.
    """

    def __init__(self, reason: Reason, message: str, *, committing: bool) -> None:
        super().__init__(FaultKind.TRANSIENT, reason, message, effect_unknown=committing)
        self.committing = committing


_FAILED: Final[tuple[tuple[type[Error] | tuple[type[Error], ...], FaultKind, str], ...]] = (
    (OddJson, FaultKind.SERVER, "holds JSON that cannot be read: {text}. Correct that row."),
    (
        errors.QueryCanceled,
        FaultKind.TRANSIENT,
        "cancelled a statement of ours: {text}. Where that is a timeout, raise it for our user (ALTER ROLE … SET "
        "statement_timeout), else look at who cancels statements there; the next run tries again.",
    ),
    (
        (errors.CharacterNotInRepertoire, errors.UntranslatableCharacter),
        FaultKind.SERVER,
        "holds text that cannot be read as UTF-8, or takes none that is: {text}. Correct that row, or move everything "
        "to a database with ENCODING 'UTF8'.",
    ),
    (
        errors.ReadOnlySqlTransaction,
        FaultKind.SERVER,
        "takes no writes: {text}. It is a standby, or default_transaction_read_only is on for our user. Point the "
        "setting at the primary (target_session_attrs=read-write finds it among several hosts), or have that setting "
        "taken off.",
    ),
    (OperationalError, FaultKind.TRANSIENT, "gave up a statement of ours: {text}. The next run tries again."),
)
"""What it may say to a statement; the first that fits holds."""


def failure_of(
    error: Error, where: str, unreachable: Reason, *, lost: bool, committing: bool, read_only: bool
) -> Fault | None:
    """What PostgreSQL's error means for a run; None: it is about the statement, which its caller knows.

    Args:
        lost: the connection is closed by now.
        committing: at the end of a transaction that wrote.
        read_only: we asked for connections that write nothing.
    """
    text = first_line(error)
    if "statement pooling mode" in text:
        return Fault(
            FaultKind.SERVER,
            unreachable,
            f"{where} is reached through a pooler in statement mode, which allows no transactions: {text}. Set its "
            "pool_mode to transaction or session for this database, or give the URL of the server itself.",
        )
    if lost:
        why = next((f" {words}" for kind, words in _CLOSED_WHILE if isinstance(error, kind)), "")
        doubt = "; whether the last transaction holds is not known" if committing else ""
        return ConnectionLost(
            unreachable,
            f"{where} closed our connection{why}: {text}{doubt}. The next run tries again; if it stays, look at the "
            "server's log, and at firewalls and poolers on the way.",
            committing=committing,
        )
    if isinstance(error, errors.LockNotAvailable):
        return Fault(
            FaultKind.BUSY,
            Reason.TENANT_BUSY,
            f"{where}: another session has been changing the same rows or tables for longer than lock_timeout lets us "
            "wait; the next run looks again.",
        )
    if read_only and isinstance(error, errors.ReadOnlySqlTransaction):
        return None
    found = next(((kind, words) for types, kind, words in _FAILED if isinstance(error, types)), None)
    return found and Fault(found[0], unreachable, f"{where} {found[1].format(text=text)}")
