"""Several workers' scrapes as one: what a single process would have counted."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

_OF_ALL = "mta_queue_"
"""Gauges that each worker read from the same store: one of them is the truth, their sum is not."""


def merge(expositions: Sequence[bytes]) -> bytes:
    """Return the sum of scrapes in Prometheus' text format.

    Counters, histograms and gauges are added up; of the queue's gauges one worker's are taken; of what a worker is and
    when it began, the greatest and the earliest.

    Raises:
        ValueError: one of them is no scrape.
    """
    families: dict[str, _Family] = {}
    for exposition in expositions:
        for family in text_string_to_metric_families(exposition.decode("utf-8")):
            if family.name not in families:
                families[family.name] = _Family(family)
            elif not family.name.startswith(_OF_ALL):
                families[family.name].add(family)
    return generate_latest(_Families(list(families.values())))


class _Family:
    def __init__(self, first: Metric) -> None:
        self._about = first
        # in the order of their first appearance, so that a histogram's buckets stay together
        self._samples: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}
        self.add(first)

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
