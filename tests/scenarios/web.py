"""Asking the server's HTTP listener."""

import asyncio
import http.client
from dataclasses import dataclass

from tests.scenarios.house import House


@dataclass(frozen=True, slots=True)
class Answer:
    """What it said."""

    status: int
    media_type: str
    content: bytes


async def get(house: House, path: str, accept: str = "*/*") -> Answer:
    """Fetch one path."""
    return await asyncio.to_thread(_get, house.server.address("http"), path, accept)


def _get(address: tuple[str, int], path: str, accept: str) -> Answer:
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request("GET", path, headers={"Accept": accept})
        response = connection.getresponse()
        return Answer(response.status, response.headers["Content-Type"], response.read())
    finally:
        connection.close()
