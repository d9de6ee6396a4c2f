"""The parts of one worker, built from settings."""

import io
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mta.cli.init import FREE_PORTS, make
from mta.config.load import load
from mta.config.settings import Settings
from mta.doors import inbound_settings, submission_settings
from mta.errors import ConfigError
from mta.events import Event, EventType
from mta.parts import Observers, QueueGauges, build
from mta.queue.model import State
from mta.smtp.settings import Endpoint, Kind
from mta.storage.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.fakes.letters import Letters


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = make(tmp_path / "site", "mail.example.com", "example.com", FREE_PORTS, datetime.now(UTC))
    return load(made.config, {}).settings


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime.now(UTC).replace(microsecond=0))


async def test_everything_is_built_and_nothing_listens_yet(settings: Settings, clock: FakeClock) -> None:
    async with build(settings, clock, io.StringIO()) as parts:
        assert [account.name for account in parts.directory] == ["app"]
        assert [key.selector for key in parts.keys["example.com"]] == ["r1", "e1"]
        assert parts.return_path_domains("example.com") == "bounces.example.com"
        assert parts.submission.addresses == ()
    assert settings.store_path.exists()


async def test_what_was_opened_is_closed_and_can_be_built_again(settings: Settings, clock: FakeClock) -> None:
    for _ in range(2):
        async with build(settings, clock, io.StringIO()) as parts:
            await parts.store.check()


async def test_a_data_dir_that_is_missing_is_made(settings: Settings, clock: FakeClock) -> None:
    settings.data_dir.rmdir()
    async with build(settings, clock, io.StringIO()):
        assert settings.data_dir.is_dir()


async def test_a_name_in_the_configuration_and_in_the_store_is_refused(settings: Settings, clock: FakeClock) -> None:
    async with build(settings, clock, io.StringIO()) as parts:
        await parts.store.desk(parts.observer).put_account("app", json.dumps({"name": "app"}), "uid 0", "added")
    with pytest.raises(ConfigError, match='account "app"'):
        await build(settings, clock, io.StringIO()).__aenter__()


async def test_an_event_reaches_the_log_and_the_metrics(settings: Settings, clock: FakeClock) -> None:
    log = io.StringIO()
    async with build(settings, clock, log) as parts:
        parts.observer.observe(Event("e1", clock.now(), EventType.ACCEPTED, account="app", queue_id="q1"))
        text = await parts.scrape.expose("text/plain")
    assert json.loads(log.getvalue())["queue_id"] == "q1"
    assert b"mta_messages_accepted_total" in text


def test_all_observers_are_told() -> None:
    class Notes:
        def __init__(self) -> None:
            self.seen: list[Event] = []

        def observe(self, event: Event) -> None:
            self.seen.append(event)

    first, second = Notes(), Notes()
    event = Event("e1", datetime.now(UTC), EventType.ACCEPTED)
    Observers((first, second)).observe(event)
    assert (first.seen, second.seen) == ([event], [event])


async def test_gauges_count_what_waits_and_its_age(tmp_path: Path, clock: FakeClock) -> None:
    path = str(tmp_path / "queue.db")
    async with SqliteStore.open(path, clock, min_free=0.0, dice=random.Random(1)) as store:
        gauges = QueueGauges(store)
        assert await gauges.oldest() is None
        letters = Letters(clock)
        letters.ids = store.ids
        event = Event(store.ids.next(), clock.now(), EventType.ACCEPTED)
        await store.accept(letters.new(["a@example.net", "b@example.net"]), [event])
        clock.advance(timedelta(minutes=5))
        assert (await gauges.counts())[State.QUEUED] == 2
        assert await gauges.oldest() == timedelta(minutes=5)


def test_listeners_keep_their_kind(settings: Settings) -> None:
    made = submission_settings(settings)
    assert made.endpoints == tuple(Endpoint(kind, "127.0.0.1", 0) for kind in (Kind.STARTTLS, Kind.TLS, Kind.PLAIN))
    assert (made.hostname, made.max_recipients, made.take_long_lines) == ("mail.example.com", 1000, False)
    assert inbound_settings(settings).endpoints == (Endpoint(Kind.STARTTLS, "127.0.0.1", 0),)
