"""A machine with too little memory: what is told is that, and nothing about another system."""

import subprocess
import sys

import pytest

from provisioning_pipeline.clients import json_answers
from provisioning_pipeline.observe.snapshots import whole_instance
from provisioning_pipeline.sandbox.clerk import StandInClerk
from provisioning_pipeline_tests.clients.clerk import of, organization, people

_STARVED = """
import resource

import httpx2

from provisioning_pipeline.clients.http import OddAnswer
from provisioning_pipeline.clients.json_answers import json_of

response = httpx2.Response(200, content=b"[" + b'{"id":"user_1"},' * 2_000_000 + b"1]")
with open("/proc/self/statm") as status:
    taken = int(status.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 100 * 1024 * 1024,) * 2)
try:
    json_of(response)
except (MemoryError, OddAnswer) as error:
    print(type(error).__name__)
"""


@pytest.mark.slow
def test_an_answer_for_which_there_is_no_room_is_no_odd_answer() -> None:
    found = subprocess.run([sys.executable, "-c", _STARVED], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "MemoryError", found.stderr[-500:]


@pytest.mark.anyio
async def test_a_walk_without_room_ends_with_that_and_asks_nobody_again(
    clerk: StandInClerk, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    organization(clerk, *people(clerk, 2))

    def starved(_: bytes) -> object:
        raise json_answers.orjson.JSONDecodeError("Not enough memory to allocate buffer for parsing", "", 0)

    monkeypatch.setattr(json_answers.orjson, "loads", starved)
    async with of(clerk) as opened:
        with pytest.raises(MemoryError):
            await whole_instance(opened)
    assert waits == []
