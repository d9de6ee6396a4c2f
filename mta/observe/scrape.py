"""What a scrape of one worker answers: its registry and, asked of the store at that moment, the queue's size."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from mta.clock import Clock
from mta.errors import MtaError
from mta.queue.model import State

KEEP = timedelta(seconds=5)
"""How long the store's answer is used again, so that many scrapers cost it no more than one."""
PATIENCE = timedelta(seconds=5)

_log = logging.getLogger("mta.observe")


class QueueGauges(Protocol):
    """What the store is asked at a scrape."""

    async def counts(self) -> Mapping[State, int]:
        """Return how many deliveries are in each state that is not final."""
        ...

    async def oldest(self) -> timedelta | None:
        """Return the age of the oldest delivery that is not final; None when there is none."""
        ...


def worker_registry() -> CollectorRegistry:
    """Return a registry for one worker, with the memory, time and file descriptors of its process in it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class Scrape:
    """Answers scrapes of one worker's registry. Makes the queue's gauges known to it."""

    def __init__(self, registry: CollectorRegistry, gauges: QueueGauges, clock: Clock, keep: timedelta = KEEP) -> None:
        self._registry = registry
        self._gauges = gauges
        self._clock = clock
        self._keep = keep
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None
        self._queue = _QueueCollector()
        registry.register(self._queue)

    def content_type(self, accept: str) -> str:
        """Return the type of what `expose` returns for an Accept field's value: OpenMetrics or Prometheus' text."""
        return openmetrics.CONTENT_TYPE_LATEST if wants_openmetrics(accept) else CONTENT_TYPE_PLAIN_0_0_4

    async def expose(self, accept: str) -> bytes:
        """Return all metrics. Those of the queue are missing while the store does not answer."""
        async with self._asking:
            now = self._clock.monotonic()
            if self._asked_at is None or now - self._asked_at >= self._keep.total_seconds():
                await self._ask()
                self._asked_at = now
        generate = openmetrics.generate_latest if wants_openmetrics(accept) else generate_latest
        return generate(_WithoutCreated(self._registry))

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                self._queue.show(await self._gauges.counts(), await self._gauges.oldest())
        except (MtaError, OSError) as trouble:  # a TimeoutError is an OSError
            _log.warning(
                "the store was asked for the queue's size and did not tell: %s", trouble or "no answer in time"
            )
            self._queue.hide()


def wants_openmetrics(accept: str) -> bool:
    """Return whether an Accept field's value names OpenMetrics."""
    # prometheus_client's own choice raises for a version that is none, and repeats what the client wrote
    return any(part.split(";")[0].strip().lower() == "application/openmetrics-text" for part in accept.split(","))


class _QueueCollector(Collector):
    """The queue's gauges as the store last told them; nothing while it does not answer."""

    def __init__(self) -> None:
        self._counts: Mapping[State, int] | None = None
        self._oldest: timedelta | None = None

    def show(self, counts: Mapping[State, int], oldest: timedelta | None) -> None:
        self._counts, self._oldest = counts, oldest

    def hide(self) -> None:
        self._counts = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self._counts is None:
            return
        deliveries = GaugeMetricFamily("mta_queue_deliveries", "Deliveries that are not final.", labels=["state"])
        for state in State:
            if not state.is_final:
                deliveries.add_metric([state.value], self._counts.get(state, 0))
        yield deliveries
        age = self._oldest.total_seconds() if self._oldest is not None else 0.0
        yield GaugeMetricFamily(
            "mta_queue_oldest_seconds", "Age of the oldest of them; 0 when there is none.", value=age
        )


class _WithoutCreated(Collector):
    """A registry without the times at which counters began: they double a scrape and nobody asks for them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family
