"""The house of scenarios as a fixture; and figures, which the long form gathers."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.scenarios.house import House, open_house


class Tell(Protocol):
    """Prints figures."""

    def __call__(self, text: str, **numbers: int) -> None:
        """Print a line; the numbers are added up by the long form."""


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A running server with a name server and a receiver beside it."""
    async with open_house(tmp_path / "house") as built:
        yield built


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Tell:
    """Print figures, whatever pytest does with output; and append them to the file that MTA_FIGURES names."""

    def print_figures(text: str, **numbers: int) -> None:
        with capsys.disabled():
            print(f"\n{text}")
        if file := os.environ.get("MTA_FIGURES"):
            with Path(file).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"test": request.node.name, "figures": text, "numbers": numbers}) + "\n")

    return print_figures
