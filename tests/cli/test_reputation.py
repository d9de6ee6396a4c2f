"""`mta reputation`: ratios against limits, and how everybody stands."""

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mta.accounts.standing import Standing, State
from mta.clock import SystemClock
from mta.events import Event, EventType
from mta.storage.sqlite import SqliteStore
from tests.cli.command import Command
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters

REASON = "hard bounces are 10.0% (100 of 1000) in the last 24 hours, the limit is 10.0%"


@pytest.fixture
def judged(site: Path) -> None:
    """A store in which account app (transactional) delivered 900, bounced 100, and was suspended for it."""

    async def build() -> None:
        path = str(site / "data" / "queue.db")
        async with SqliteStore.open(path, SystemClock(), min_free=0.0, dice=random.Random(3)) as store:
            letters = Letters(FakeClock(store.now()))
            letters.ids = store.ids
            events = [
                Event(
                    store.ids.next(),
                    store.now(),
                    EventType.BOUNCED if number < 100 else EventType.DELIVERED,
                    account="app",
                    stream="transactional",
                    hardness="hard" if number < 100 else None,
                )
                for number in range(1000)
            ]
            await store.accept(letters.new(["a@example.net"]), events)
            standing = Standing("app", "transactional", State.SUSPENDED, REASON, datetime.now(UTC))
            await store.book.write(standing, None)

    asyncio.run(build())


@pytest.mark.usefixtures("judged")
def test_ratios_stand_beside_their_limits(mta: Command) -> None:
    rows = {(row["measure"], row["window"]): row for row in mta("reputation", "app", "--json").rows}
    assert sorted(rows) == [
        ("bounce_rate", "1d"),
        ("bounce_rate", "7d"),
        ("complaint_rate", "1d"),
        ("complaint_rate", "7d"),
    ]
    bounces = rows["bounce_rate", "1d"]
    assert {key: bounces[key] for key in ("part", "whole", "ratio", "warn", "suspend", "enough", "says")} == {
        "part": 100,
        "whole": 1000,
        "ratio": 0.1,
        "warn": 0.05,
        "suspend": 0.1,
        "enough": True,
        "says": "suspend",
    }
    assert (bounces["standing"], bounces["reason"], bounces["stream"]) == ("suspended", REASON, "transactional")


@pytest.mark.usefixtures("judged")
def test_a_suspension_is_told_with_its_reason_and_the_way_out(mta: Command) -> None:
    said, remedy = mta("reputation").lines[-2:]
    assert said.startswith("account app, stream transactional, is suspended since ")
    assert said.endswith(REASON)
    assert remedy.endswith("mta account reinstate app --stream transactional --reason …")


@pytest.mark.usefixtures("judged")
def test_the_limits_are_those_of_the_configuration(mta: Command, site: Path) -> None:
    config = site / "mta.toml"
    config.write_text(
        config.read_text() + '[reputation]\nwindows = ["1h"]\nbounce_rate = { warn = 0.2, suspend = 0.3 }\n'
    )
    row = next(row for row in mta("reputation", "--json").rows if row["measure"] == "bounce_rate")
    assert (row["window"], row["suspend"], row["says"]) == ("1h", 0.3, "good")


@pytest.mark.usefixtures("judged")
def test_what_is_too_little_to_judge_says_so(mta: Command, site: Path) -> None:
    config = site / "mta.toml"
    config.write_text(config.read_text() + "[reputation]\nmin_volume = 5000\nwarn_min_volume = 2000\n")
    row = next(row for row in mta("reputation", "--json").rows if row["measure"] == "bounce_rate")
    assert (row["enough"], row["says"]) == (False, "good")
    assert "too few (below 2000)" in mta("reputation").stdout


@pytest.mark.usefixtures("letterbox")
def test_before_anything_was_delivered_there_is_nothing_to_say(mta: Command) -> None:
    assert mta("reputation").lines == ["nothing was delivered yet"]
    answer = mta("reputation", "nobody")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert "nothing is known of account 'nobody'" in answer.stderr
