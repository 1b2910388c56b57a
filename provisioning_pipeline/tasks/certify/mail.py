"""Whether Twenty sent e-mails to the addresses of a certification, where its log can be read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from provisioning_pipeline.tasks.certify.trial import EMAIL

_SENT = re.compile(r"Sent email to: (\S+)")
_JOB = re.compile(r"Processing job \S+ with name EmailSenderJob")


class MailWitness(Protocol):
    """Something that knows which e-mails a server sent."""

    @property
    def name(self) -> str:
        """What it looks at."""

    def sent(self) -> tuple[list[str], int]:
        """Addresses of ours to which e-mails were sent since it began to look, and how many e-mails we cannot tell
        the address of."""


@dataclass
class Logs:
    """The log files of Twenty's server and worker (EMAIL_DRIVER=LOGGER tells addresses, any driver the jobs)."""

    files: Sequence[Path]

    def __post_init__(self) -> None:
        self._begun = {file: file.stat().st_size for file in self.files}

    @property
    def name(self) -> str:
        """The files."""
        return ", ".join(file.name for file in self.files)

    def sent(self) -> tuple[list[str], int]:
        """What they say since the beginning."""
        ours: list[str] = []
        jobs = told = 0
        for file, begun in self._begun.items():
            with file.open("rb") as opened:
                # a log that was rotated meanwhile is read from its beginning
                opened.seek(begun if file.stat().st_size >= begun else 0)
                text = opened.read().decode(errors="replace")
            addresses = _SENT.findall(text)
            told += len(addresses)
            ours += [address for address in addresses if EMAIL.fullmatch(address)]
            jobs += len(_JOB.findall(text))
        return ours, max(0, jobs - told)
