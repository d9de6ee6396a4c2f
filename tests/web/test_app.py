"""What the paths answer, over real HTTP from a real client."""

import asyncio
import http.client
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from mta.config.addresses import Listen
from mta.web.app import build_app
from mta.web.server import HttpServer


class House:
    """What is behind the paths."""

    def __init__(self) -> None:
        self.problems: Sequence[str] = ()
        self.stalls = False

    def content_type(self, accept: str) -> str:
        return "application/openmetrics-text; charset=utf-8" if "openmetrics" in accept else "text/plain; version=0.0.4"

    async def expose(self, accept: str) -> bytes:
        await self._stall()
        return b"mta_up 1\n"

    async def ready(self) -> Sequence[str]:
        await self._stall()
        return self.problems

    async def _stall(self) -> None:
        if self.stalls:
            await asyncio.Event().wait()


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def port(house: House) -> AsyncIterator[int]:
    app = build_app(house, house.ready, patience=timedelta(milliseconds=50))
    async with HttpServer([Listen("127.0.0.1", 0)], app) as server:
        yield server.addresses[0].port


async def ask(port: int, path: str, method: str = "GET", accept: str = "*/*") -> tuple[int, str, str]:
    def blocking() -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, headers={"Accept": accept})
        with connection.getresponse() as response:
            return response.status, response.headers["Content-Type"], response.read().decode("utf-8")

    return await asyncio.to_thread(blocking)


async def test_metrics_are_shown(port: int) -> None:
    assert await ask(port, "/metrics") == (200, "text/plain; version=0.0.4", "mta_up 1\n")


async def test_a_client_may_choose_openmetrics(port: int) -> None:
    answer = await ask(port, "/metrics", accept="application/openmetrics-text")
    assert answer[:2] == (200, "application/openmetrics-text; charset=utf-8")


async def test_a_living_process_is_healthy_whatever_is_wrong(port: int, house: House) -> None:
    house.problems, house.stalls = ["no store"], True
    assert await ask(port, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")


async def test_a_house_in_order_is_ready(port: int) -> None:
    assert await ask(port, "/readyz") == (200, "text/plain; charset=utf-8", "ok\n")


async def test_what_is_wrong_is_named(port: int, house: House) -> None:
    house.problems = ["the store cannot be written", "0.0.0.0:587 is down"]
    assert await ask(port, "/readyz") == (
        503,
        "text/plain; charset=utf-8",
        "the store cannot be written\n0.0.0.0:587 is down\n",
    )


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_an_answer_that_takes_too_long_is_a_503(port: int, house: House, path: str) -> None:
    house.stalls = True
    assert (await ask(port, path))[0] == 503


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/metrics", 405),
        ("DELETE", "/readyz", 405),
        ("HEAD", "/healthz", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/../etc/passwd", 404),
        ("GET", "/docs", 404),
    ],
)
async def test_other_methods_and_paths_are_refused(port: int, method: str, path: str, status: int) -> None:
    assert (await ask(port, path, method))[0] == status
