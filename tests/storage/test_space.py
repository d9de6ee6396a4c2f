"""When the disk counts as full, and how often it is looked at."""

from pathlib import Path

import pytest

from mta.errors import StoreFull
from mta.storage.space import FreeSpace
from tests.fakes.clock import FakeClock


def test_a_disk_with_less_free_than_wanted_is_full(tmp_path: Path) -> None:
    with pytest.raises(StoreFull, match=r"space free, 100\.0% wanted \(queue\.min_free\)"):
        FreeSpace(str(tmp_path), 1.0, FakeClock()).require()


def test_a_disk_with_enough_free_is_not_full(tmp_path: Path) -> None:
    FreeSpace(str(tmp_path), 0.0, FakeClock()).require()


def test_the_disk_is_looked_at_once_a_second_and_recovers_by_itself(tmp_path: Path) -> None:
    clock, folder = FakeClock(), tmp_path / "data"
    space = FreeSpace(str(folder), 0.0, clock)
    with pytest.raises(StoreFull, match="cannot be told"):
        space.require()
    folder.mkdir()
    clock.advance(0.9)
    with pytest.raises(StoreFull):
        space.require()
    clock.advance(0.1)
    space.require()
