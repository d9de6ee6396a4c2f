"""What Prometheus and a load balancer see of a server that works, and of one whose store cannot be written."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.scenarios.house import House, open_house
from tests.scenarios.programs import run
from tests.scenarios.web import get


@pytest.mark.peer("prometheus")
async def test_promtool_has_nothing_to_say_against_the_metrics(house: House) -> None:
    await _something_of_everything(house)
    scrape = await get(house, "/metrics")
    assert scrape.media_type.startswith("text/plain; version=0.0.4")
    checked = await run("promtool", "check", "metrics", stdin=scrape.content)
    assert (checked.code, checked.output) == (0, "")


Parser = Callable[[str], Iterable[Metric]]


@pytest.mark.parametrize(
    ("accept", "parse"),
    [("text/plain", parse_text), ("application/openmetrics-text; version=1.0.0", parse_openmetrics)],
    ids=["text", "openmetrics"],
)
async def test_the_counters_tell_what_happened(house: House, accept: str, parse: Parser) -> None:
    await _something_of_everything(house)
    scrape = await get(house, "/metrics", accept)
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(scrape.content.decode())
        for sample in family.samples
    }
    assert values["mta_messages_accepted_total", ("account", "app"), ("stream", "transactional")] == 1
    assert values["mta_dsns_total",] == 1
    assert values["mta_deliveries_total", ("result", "delivered")] == 2  # the notification is one of them
    assert values["mta_deliveries_total", ("result", "bounced")] == 1
    assert values["mta_delivery_attempts_total", ("result", "deferred")] == 1
    assert values["mta_queue_deliveries", ("state", "queued")] == 0


async def _something_of_everything(house: House) -> None:
    """One message: delivered after a deferral to one recipient, refused for the other."""
    house.sink.answer("RCPT", "a@example.net", "450 4.7.1 later", times=1)
    house.sink.answer("RCPT", "b@example.net", "550 5.1.1 nobody")
    queue_id = await house.submit("a@example.net", "b@example.net")
    await house.wait_for_states(queue_id, "bounced", "delivered")
    (dsn,) = [message for message in await house.sink.wait_for(2) if not message.reverse_path]
    await house.until(lambda: _delivered_to(house, dsn.recipients[0]), ["delivered"])


async def _delivered_to(house: House, recipient: str) -> list[str]:
    stories = await house.why(recipient)
    return [delivery["state"] for story in stories for delivery in story["deliveries"]]


async def test_a_server_that_works_is_ready(house: House) -> None:
    assert [(await get(house, path)).status for path in ("/healthz", "/readyz")] == [200, 200]


async def test_a_server_whose_disk_is_full_lives_but_is_not_ready(tmp_path: Path) -> None:
    async with open_house(tmp_path / "house", min_free="100%") as house:
        ready = await get(house, "/readyz")
        assert ready.status == 503
        assert b"the store cannot be written" in ready.content
        assert b"100.0% wanted (queue.min_free)" in ready.content
        assert (await get(house, "/healthz")).status == 200


async def test_a_server_takes_all_the_descriptors_it_may_have(house: House) -> None:
    limits = Path(f"/proc/{house.server.pid}/limits").read_text().splitlines()  # noqa: ASYNC240  of a file in memory
    (files,) = [line.split() for line in limits if line.startswith("Max open files")]
    assert files[3] == files[4]
