"""Several workers' scrapes as one: what a single process would have counted."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

_OF_ALL = ("mta_queue_", "mta_account_")
"""Gauges that each worker read from the same store: one of them is the truth, their sum is not."""
_ONLY_GROW = ("counter", "histogram")


def merge(expositions: Sequence[bytes], *, as_openmetrics: bool = False) -> bytes:
    """Return the sum of scrapes in Prometheus' text format, in the same or as OpenMetrics.

    Counters, histograms and gauges are added up; of the store's gauges one worker's are taken; of what a worker is and
    when it began, the greatest and the earliest.

    Raises:
        ValueError: one of them is no scrape.
    """
    merged = _Families(_families(expositions))
    generate: Callable[[Collector], bytes] = openmetrics.generate_latest if as_openmetrics else generate_latest
    return generate(merged)


class Ledger:
    """What every worker said last, and what those that ended had counted.

    Without it a sum would step back when a worker dies, and Prometheus would take that for a restart of everything: it
    would count all that the others have ever counted as having happened since its last scrape.
    """

    def __init__(self) -> None:
        self._last: dict[int, bytes] = {}
        self._past = b""

    def heard(self, worker: int, exposition: bytes) -> None:
        """Note a scrape. A worker that follows another must have another number."""
        self._last[worker] = exposition

    def gone(self, alive: Iterable[int]) -> None:
        """Of workers that are not alive, keep what they had counted, and no gauge."""
        for worker in self._last.keys() - set(alive):
            exposition = self._last.pop(worker)
            self._past = _grown([self._past, exposition] if self._past else [exposition])

    def total(self, more: Sequence[bytes] = (), *, as_openmetrics: bool = False) -> bytes:
        """Return the sum over all; of a worker that did not answer, what it said last.

        Raises:
            ValueError: something heard is no scrape.
        """
        past = [self._past] if self._past else []
        return merge([*self._last.values(), *past, *more], as_openmetrics=as_openmetrics)


def workers_exposition(states: Mapping[str, int], deaths: int) -> bytes:
    """Return what a supervisor adds to the sum: its workers, by what they are doing, and how many have died."""
    registry = CollectorRegistry()
    workers = Gauge("mta_workers", "Worker processes, by what they are doing.", ["state"], registry=registry)
    for state, count in states.items():
        workers.labels(state).set(count)
    died = Counter("mta_worker_deaths", "Workers that ended without being told to.", registry=registry)
    died.inc(deaths)
    lines = generate_latest(registry).splitlines(keepends=True)
    return b"".join(line for line in lines if b"_created" not in line)


def _families(expositions: Sequence[bytes]) -> "list[_Family]":
    families: dict[str, _Family] = {}
    for exposition in expositions:
        for family in text_string_to_metric_families(exposition.decode("utf-8")):
            if family.name not in families:
                families[family.name] = _Family(family)
            elif not family.name.startswith(_OF_ALL):
                families[family.name].add(family)
    return list(families.values())


def _grown(expositions: Sequence[bytes]) -> bytes:
    return generate_latest(_Families([each for each in _families(expositions) if each.type in _ONLY_GROW]))


class _Family:
    def __init__(self, first: Metric) -> None:
        self._about = first
        # in the order of their first appearance, so that a histogram's buckets stay together
        self._samples: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}
        self.add(first)

    @property
    def type(self) -> str:
        """What kind of metric it is."""
        return self._about.type

    def add(self, family: Metric) -> None:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            known = self._samples.get(key)
            value = sample.value if known is None else _both(sample.name, known.value, sample.value)
            self._samples[key] = Sample(sample.name, sample.labels, value)

    def metric(self) -> Metric:
        metric = Metric(self._about.name, self._about.documentation, self._about.type)
        metric.samples = list(self._samples.values())
        return metric


class _Families(Collector):
    def __init__(self, families: list[_Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            yield family.metric()


def _both(name: str, one: float, other: float) -> float:
    if name.endswith("_info"):
        return max(one, other)
    if name.endswith(("_start_time_seconds", "_created")):
        return min(one, other)
    return one + other
