"""Folders made by `mta init`, a store without a server, and a running server."""

import asyncio
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mta.cli.init import FREE_PORTS, make
from mta.clock import SystemClock
from mta.storage.sqlite import SqliteStore
from tests.cli.background import in_background
from tests.cli.command import Command
from tests.cli.letterbox import fill, fill_returns
from tests.fakes.clock import FakeClock
from tests.scenarios.house import House, open_house


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make(folder, "mail.example.com", "example.com", FREE_PORTS, datetime.now(UTC))
    return folder


@pytest.fixture
def site(made_once: Path, tmp_path: Path) -> Path:
    """A folder as `mta init` makes it, for this test alone."""
    return Path(shutil.copytree(made_once, tmp_path / "site"))


@pytest.fixture
def mta(site: Path) -> Command:
    """The command line on that folder. No server runs."""
    return Command(site / "mta.toml")


@pytest.fixture
def letterbox(site: Path) -> dict[str, str]:
    """A store in that folder with some mail in it: queue ids by what they are for."""

    async def build() -> dict[str, str]:
        clock = FakeClock(datetime.now(UTC))
        path = str(site / "data" / "queue.db")
        async with SqliteStore.open(path, clock, min_free=0.0, dice=random.Random(1)) as store:
            return await fill(store)

    return asyncio.run(build())


@pytest.fixture
def returned(letterbox: dict[str, str], site: Path) -> dict[str, str]:
    """The same store with what came back, and a suppression list: ids by what they are for."""

    async def build() -> dict[str, str]:
        path = str(site / "data" / "queue.db")
        async with SqliteStore.open(path, SystemClock(), min_free=0.0, dice=random.Random(2)) as store:
            return letterbox | await fill_returns(store)

    return asyncio.run(build())


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running server for all tests. Mail to example.net is deferred for an hour, mail to example.org delivered.

    The account of example.com stays its only one; shop.example is for accounts that tests make.
    """
    folder = tmp_path_factory.mktemp("cli") / "house"
    shop = '[[domain]]\nname = "shop.example"\ndkim = []\n'
    with in_background(open_house(folder, retry='["1h"]', more=shop)) as house:
        house.sink.answer("RCPT", "@example.net", "450 4.7.1 come back later")
        yield house


@pytest.fixture
def live(house: House) -> Command:
    """The command line beside that server."""
    return Command(house.server.config)
