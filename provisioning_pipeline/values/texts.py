"""Texts as every setting takes them. A fault names what is wanted, never the value."""

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

_INVISIBLE = "\ufeff\u200b\u2060"
"""A byte order mark and spaces without width: what an editor, or a copy from a web page, leaves at the ends."""
_CONTROL = frozenset({"Cc", "Zl", "Zp"})
_QUOTES: Mapping[str, str] = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}


def stripped(text: str) -> str:
    """Without white space, line ends and byte order marks around it; files and `echo` leave those."""
    before = None
    while text != before:
        before, text = text, text.strip().strip(_INVISIBLE)
    return text


def cleaned(value: Any, other: Callable[[Any], Any] = lambda value: value) -> Any:
    """A value as every setting takes it, before anything else is asked of it, inside of lists and objects, too.

    Args:
        other: makes of a value that is no text, list or object what is taken in its place.

    Raises:
        ValueError: when it holds what no setting may hold.
    """
    if isinstance(value, str):
        return cleaned_text(value)
    if isinstance(value, Mapping):
        return {cleaned(key, other): cleaned(inner, other) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(cleaned(inner, other) for inner in value)
    return other(value)


def cleaned_text(text: str) -> str:
    """A text without what stands around it.

    Raises:
        ValueError: when it holds what no setting may hold.
    """
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


def clerk_key(text: str) -> str:
    """Clerk's secret key.

    Raises:
        ValueError: when it cannot be one.
    """
    if not (text and text.isascii() and text.isprintable()):
        raise ValueError("must be one line of plain characters")
    if text.startswith("pk_"):
        raise ValueError("is Clerk's publishable key: the secret key begins with sk_")
    return text
