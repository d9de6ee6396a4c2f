"""Several workers' scrapes as one."""

import subprocess

import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest

from mta.observe.merge import merge
from mta.observe.metrics import MetricsObserver
from mta.observe.scrape import worker_registry


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
