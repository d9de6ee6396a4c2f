"""The house of scenarios as a fixture."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.scenarios.house import House, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A running server with a name server and a receiver beside it."""
    async with open_house(tmp_path / "house") as built:
        yield built
