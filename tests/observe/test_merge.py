"""Several workers' scrapes as one."""

import subprocess
from collections.abc import Callable, Iterable

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mta.observe.merge import Ledger, merge, workers_exposition
from mta.observe.metrics import MetricsObserver
from mta.observe.scrape import worker_registry

parse_openmetrics: Callable[[str], Iterable[Metric]] = text_string_to_metric_families


def worker(commits: list[float], connections: int, queued: int) -> bytes:
    registry = CollectorRegistry()
    metrics = MetricsObserver(registry, "0.1.0")
    for seconds in commits:
        metrics.committed(1, seconds)
    for _ in range(connections):
        metrics.connection_opened("submission")
    metrics.rejected("size")
    Gauge("mta_queue_deliveries", "q", ["state"], registry=registry).labels("queued").set(queued)
    return generate_latest(registry)


MERGED = merge([worker([0.25], 2, 5), worker([0.25, 3.0], 1, 6)]).decode("utf-8").splitlines()


@pytest.mark.parametrize(
    "line",
    [
        'mta_submission_rejected_total{reason="size"} 2.0',
        'mta_connections{role="submission"} 3.0',
        "mta_store_commit_seconds_count 3.0",
        "mta_store_commit_seconds_sum 3.5",
        'mta_store_commit_seconds_bucket{le="0.25"} 2.0',
        'mta_store_commit_seconds_bucket{le="+Inf"} 3.0',
        # every worker read it from the same store
        'mta_queue_deliveries{state="queued"} 5.0',
        "# TYPE mta_submission_rejected_total counter",
        "# TYPE mta_store_commit_seconds histogram",
        "# TYPE mta_connections gauge",
    ],
)
def test_workers_are_added_up(line: str) -> None:
    assert line in MERGED


def test_the_program_is_one_program() -> None:
    assert [line.rpartition(" ")[2] for line in MERGED if line.startswith("mta_build_info{")] == ["1.0"]


def test_one_scrape_merged_is_itself() -> None:
    one = worker([0.2, 3.0], 1, 6)
    assert sorted(merge([one]).splitlines()) == sorted(one.splitlines())


def test_what_only_one_worker_has_stays() -> None:
    merged = merge([b"# TYPE a gauge\na 1\n", b"# TYPE b gauge\nb 2\n"])
    assert b"a 1.0\n" in merged
    assert b"b 2.0\n" in merged


def test_the_earliest_start_is_the_start() -> None:
    merged = merge([b"process_start_time_seconds 200\n", b"process_start_time_seconds 100\n"])
    assert b"process_start_time_seconds 100.0\n" in merged


def test_hostile_looking_account_names_survive() -> None:
    registry = CollectorRegistry()
    Gauge("g", "g", ["account"], registry=registry).labels('a"b\\c{},= é').set(1)
    one = generate_latest(registry)
    assert merge([one, one]) == one.replace(b" 1.0\n", b" 2.0\n")


def test_no_scrape_is_no_metrics() -> None:
    assert merge([]) == b""


@pytest.mark.parametrize("broken", [b"\xff\xfe", b"a{b 1\n", b"a one\n"])
def test_what_is_no_scrape_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the parser's own words differ
        merge([broken])


@pytest.mark.peer("prometheus")
def test_promtool_finds_nothing_to_say_of_the_sum() -> None:
    registries = [worker_registry(), worker_registry()]
    for registry in registries:
        MetricsObserver(registry, "0.1.0")
    # "created" series are taken out by the scrape itself
    scrapes = [
        b"".join(line for line in generate_latest(registry).splitlines(keepends=True) if b"_created" not in line)
        for registry in registries
    ]
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=merge(scrapes), capture_output=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_the_sum_may_be_had_as_openmetrics() -> None:
    scrapes = [
        b"".join(line for line in each.splitlines(keepends=True) if b"_created" not in line)
        for each in (worker([0.25], 2, 5), worker([3.0], 1, 6))
    ]
    lines = merge(scrapes, as_openmetrics=True).decode().splitlines()
    assert "# TYPE mta_submission_rejected counter" in lines
    assert 'mta_submission_rejected_total{reason="size"} 2.0' in lines
    assert lines[-1] == "# EOF"
    names = {family.name for family in parse_openmetrics("\n".join(lines) + "\n")}
    assert names >= {"mta_connections", "mta_build_info"}


def values(exposition: bytes) -> dict[str, float]:
    lines = [line for line in exposition.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_counters_of_a_worker_that_is_gone_stay_in_the_sum_and_its_gauges_do_not() -> None:
    ledger = Ledger()
    ledger.heard(1, worker([0.25, 3.0], connections=2, queued=5))
    ledger.heard(2, worker([0.25], connections=1, queued=6))
    ledger.gone(alive=[2])
    after = values(ledger.total())
    assert after["mta_store_commit_seconds_count"] == 3
    assert after['mta_store_commit_seconds_bucket{le="0.25"}'] == 2
    assert after['mta_submission_rejected_total{reason="size"}'] == 2
    assert after['mta_connections{role="submission"}'] == 1
    assert after['mta_queue_deliveries{state="queued"}'] == 6


def test_the_sum_never_steps_back_however_many_come_and_go() -> None:
    ledger, last = Ledger(), 0.0
    for pid in range(1, 6):
        for commits in (1, 3):
            ledger.heard(pid, worker([0.1] * commits, 0, 0))
            ledger.gone(alive=[pid])
            total = values(ledger.total())["mta_store_commit_seconds_count"]
            assert total > last
            last = total
    assert last == 15


def test_what_a_worker_said_last_counts_until_it_is_heard_again() -> None:
    ledger = Ledger()
    ledger.heard(1, worker([0.1], 0, 0))
    ledger.heard(1, worker([0.1, 0.1], 0, 0))
    ledger.gone(alive=[1])
    assert values(ledger.total())["mta_store_commit_seconds_count"] == 2


def test_the_supervisor_adds_how_its_workers_are() -> None:
    told = values(workers_exposition({"serving": 2, "down": 1}, 7))
    assert told == {'mta_workers{state="serving"}': 2, 'mta_workers{state="down"}': 1, "mta_worker_deaths_total": 7}
