"""The commands on a store of the test's own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.control.bench import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench.open(tmp_path) as bench:
        yield bench
