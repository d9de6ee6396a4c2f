"""`mta queue stats`: what waits, in numbers."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mta.events import Event
from mta.queue.model import PauseScope, SiteRest
from mta.storage.sqlite import SqliteStore
from tests.cli.command import Command
from tests.fakes.clock import FakeClock


def test_it_counts_by_state_lane_domain_and_age(mta: Command, letterbox: dict[str, str]) -> None:
    rows = mta("queue", "stats", "--json").rows
    assert {row["state"]: row["deliveries"] for row in rows if "state" in row} == {"queued": 4, "active": 0, "held": 2}
    (lane,) = [row for row in rows if "lane" in row]
    assert (lane["account"], lane["stream"], lane["waiting"]) == ("app", "transactional", 4)
    domains = [row for row in rows if "domain" in row]
    assert {row["domain"]: row["deliveries"] for row in domains} == {
        "example.net": 3,
        "example.com": 2,
        "example.org": 1,
    }
    ages = ["5", "10", "20", "40", "80", "160", "320", "640", "1280", "1280+"]
    assert [domains[0][age] for age in ages] == [3, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert "mx.example.net" in domains[0]["sites"]


def test_people_get_tables(mta: Command, letterbox: dict[str, str]) -> None:
    lines = mta("queue", "stats").lines
    assert lines[0].split() == ["STATE", "DELIVERIES", "OLDEST"]
    (head,) = [line.split() for line in lines if line.startswith("DOMAIN")]
    assert head[:5] == ["DOMAIN", "DELIVERIES", "5", "10", "20"]


@pytest.mark.parametrize(
    ("by", "names"),
    [("site", {"mx.example.net": 1, "not tried yet": 4}), ("account", {"app": 6})],
)
def test_it_counts_by_other_things(mta: Command, letterbox: dict[str, str], by: str, names: dict[str, int]) -> None:
    rows = [row for row in mta("queue", "stats", "--by", by, "--json").rows if by in row and "lane" not in row]
    found = {row[by]: row["deliveries"] for row in rows}
    assert {name: found[name] for name in names} == names


def test_a_limit_says_that_there_is_more(mta: Command, letterbox: dict[str, str]) -> None:
    assert "… and more; --limit shows more than 1 of them" in mta("queue", "stats", "--limit", "1").lines


class _Nobody:
    def observe(self, event: Event) -> None:
        """Nobody looks."""


def test_it_tells_what_is_paused_and_which_sites_rest(mta: Command, letterbox: dict[str, str], site: Path) -> None:
    now = datetime.now(UTC)

    async def trouble() -> None:
        path = str(site / "data" / "queue.db")
        async with SqliteStore.open(path, FakeClock(now), min_free=0.0, dice=random.Random(3)) as store:
            await store.note_rest(
                "mx.example.net", SiteRest("mx.example.net", now + timedelta(hours=1), 3, "421 4.3.2 closing")
            )
            await store.desk(_Nobody()).pause(PauseScope.ACCOUNT, "app", "uid 0", "looking into it")

    asyncio.run(trouble())
    rows = mta("queue", "stats", "--json").rows
    (rest,) = [row for row in rows if "resting" in row]
    assert (rest["resting"], rest["failures"], rest["reason"]) == ("mx.example.net", 3, "421 4.3.2 closing")
    (pause,) = [row for row in rows if "paused" in row]
    assert (pause["paused"], pause["reason"]) == ("account app", "looking into it")
    text = mta("queue", "stats").stdout
    assert "account app" in text
    assert "421 4.3.2 closing" in text
