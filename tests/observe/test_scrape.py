"""What a scrape answers, and what it asks of the store."""

import asyncio
import subprocess
from collections.abc import Mapping
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from mta.errors import StoreUnavailable
from mta.observe.metrics import MetricsObserver
from mta.observe.scrape import KEEP, Scrape, worker_registry
from mta.queue.model import State
from tests.fakes.clock import FakeClock


class Queue:
    """A store that tells the size of its queue, or fails to."""

    def __init__(self) -> None:
        self.asked = 0
        self.trouble: Exception | None = None
        self.sizes = {State.QUEUED: 3, State.ACTIVE: 1}

    async def counts(self) -> Mapping[State, int]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.trouble:
            raise self.trouble
        return self.sizes

    async def oldest(self) -> timedelta | None:
        return timedelta(minutes=5) if self.sizes else None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def registry() -> CollectorRegistry:
    return worker_registry()


@pytest.fixture
def scrape(registry: CollectorRegistry, queue: Queue, clock: FakeClock) -> Scrape:
    return Scrape(registry, queue, clock)


async def lines(scrape: Scrape, accept: str = "") -> list[str]:
    return (await scrape.expose(accept)).decode("utf-8").splitlines()


async def test_the_queue_is_asked_at_the_scrape(scrape: Scrape) -> None:
    found = await lines(scrape)
    assert [line for line in found if line.startswith("mta_queue_")] == [
        'mta_queue_deliveries{state="queued"} 3.0',
        'mta_queue_deliveries{state="active"} 1.0',
        'mta_queue_deliveries{state="held"} 0.0',
        "mta_queue_oldest_seconds 300.0",
    ]


async def test_an_empty_queue_has_no_age(scrape: Scrape, queue: Queue) -> None:
    queue.sizes = {}
    assert "mta_queue_oldest_seconds 0.0" in await lines(scrape)


async def test_many_scrapers_cost_the_store_no_more_than_one(scrape: Scrape, queue: Queue) -> None:
    await asyncio.gather(*(scrape.expose("") for _ in range(10)))
    assert queue.asked == 1


async def test_the_answer_is_not_kept_long(scrape: Scrape, queue: Queue, clock: FakeClock) -> None:
    await scrape.expose("")
    queue.sizes[State.QUEUED] = 8
    clock.advance(KEEP)
    assert 'mta_queue_deliveries{state="queued"} 8.0' in await lines(scrape)


@pytest.mark.parametrize("trouble", [StoreUnavailable("disk"), TimeoutError(), OSError("gone")])
async def test_a_store_that_does_not_answer_leaves_its_gauges_out_and_the_rest_in(
    scrape: Scrape, queue: Queue, clock: FakeClock, registry: CollectorRegistry, trouble: Exception
) -> None:
    MetricsObserver(registry, "0.1.0")
    await scrape.expose("")
    queue.trouble = trouble
    clock.advance(KEEP)
    found = await lines(scrape)
    assert not [line for line in found if "mta_queue_" in line]
    assert "mta_auth_failures_total 0.0" in found


OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "kind", "end"),
    [
        ("", "text/plain; version=0.0.4", False),
        ("*/*", "text/plain; version=0.0.4", False),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPENMETRICS, True),
        ("application/openmetrics-text;version=\xbd", OPENMETRICS, True),
        ("text/plain;version=one", "text/plain; version=0.0.4", False),
    ],
)
async def test_the_client_chooses_the_format(scrape: Scrape, accept: str, kind: str, end: bool) -> None:
    assert scrape.content_type(accept).startswith(kind)
    assert ((await lines(scrape, accept))[-1] == "# EOF") is end


async def test_the_times_at_which_counters_began_are_left_out(scrape: Scrape, registry: CollectorRegistry) -> None:
    MetricsObserver(registry, "0.1.0")
    assert not [line for line in await lines(scrape) if "_created" in line]


async def test_the_process_is_measured(scrape: Scrape) -> None:
    assert [line for line in await lines(scrape) if line.startswith("process_resident_memory_bytes ")]


@pytest.mark.peer("prometheus")
async def test_promtool_finds_nothing_to_say(scrape: Scrape, registry: CollectorRegistry) -> None:
    metrics = MetricsObserver(registry, "0.1.0")
    metrics.connection_opened("submission")
    metrics.tls_session("submission", "TLSv1.3")
    metrics.committed(3, 0.01)
    checked = await asyncio.to_thread(
        subprocess.run,
        ["promtool", "check", "metrics"],
        input=await scrape.expose(""),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
