"""What Clerk's answer does not prove removes nobody: empty, cut, and miscounted answers, over real HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from provisioning_pipeline.sandbox.sandbox import Sandbox, SandboxOptions
from provisioning_pipeline.sandbox.serving import LoopbackServer
from provisioning_pipeline.sandbox.twenty import TwentyOptions
from provisioning_pipeline_tests.world import World

Page = dict[str, Any]
PER_PAGE = 4
"""The lying Clerk's own page size, so that a small fleet has several pages."""


def empty(page: Page, _offset: int) -> Page:
    return {"data": [], "total_count": 0}


def empty_with_count(page: Page, _offset: int) -> Page:
    return page | {"data": []}


def cut_at_page_two(page: Page, offset: int) -> Page:
    return page if offset == 0 else page | {"data": []}


def counts_too_few(page: Page, _offset: int) -> Page:
    return page | {"total_count": page["total_count"] - 3, "data": page["data"][:3]}


def counts_too_many(page: Page, _offset: int) -> Page:
    return page | {"total_count": page["total_count"] + 3}


def counts_anew_each_time(page: Page, offset: int) -> Page:
    return page | {"total_count": page["total_count"] + offset}


LIES = (empty, empty_with_count, cut_at_page_two, counts_too_few, counts_too_many, counts_anew_each_time)


@contextmanager
def lying(world: World, lie: Callable[[Page, int], Page]) -> Iterator[str]:
    """The base URL of a Clerk that lies about memberships, and about nothing else."""
    real = world.sandbox.clerk.base_url

    async def answer(request: Request) -> Response:
        query = httpx2.QueryParams(request.url.query)
        members = request.url.path.endswith("memberships") and request.method == "GET"
        if members and "user_id" not in query:
            query = query.set("limit", str(min(PER_PAGE, int(query.get("limit", "10")))))
        headers = {"authorization": request.headers["authorization"]}
        async with httpx2.AsyncClient() as client:
            told = await client.request(
                request.method, real + request.url.path, params=query, headers=headers, content=await request.body()
            )
        if members and "user_id" not in query:
            return JSONResponse(lie(told.json(), int(query.get("offset", "0"))), told.status_code)
        return Response(told.content, told.status_code, media_type="application/json")

    server = LoopbackServer(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "PATCH"])]))
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Sandbox(SandboxOptions(tenants=2, members=4, twenty=(TwentyOptions(activation_seconds=0.0),))) as sandbox:
        world = World(sandbox)
        world.apply()
        yield world


@pytest.mark.slow
@pytest.mark.parametrize(("lie", "named"), [*((lie, False) for lie in LIES), (empty, True), (cut_at_page_two, True)])
def test_a_clerk_that_lies_removes_nobody_and_the_report_says_why(
    world: World, lie: Callable[[Page, int], Page], named: bool
) -> None:
    before = {slug: world.members(slug) for slug in ("acme", "brightwave")}
    slugs = list(before) if named else []

    with lying(world, lie) as url:
        applied = world.apply(*slugs, clerk_base_url=url, members_gone="remove", harm_share=1.0)

    assert {slug: world.members(slug) for slug in before} == before
    assert not applied.summary.taken_away
    if not named:
        why = "No member was removed or demoted for being missing at Clerk"
        assert any(why in sentence for sentence in applied.summary.refusals)
        assert why in Path(applied.report).read_text("utf-8")
    world.sandbox.reset_counters()
    assert world.apply().summary.actions == 0
