"""Commands about suppression lists and standings."""

from typing import Any

import pytest

from mta.accounts.watch import Policy, StandingWatch
from mta.control.protocol import CommandFailed
from mta.events import EventType
from mta.mail.address import Mailbox
from mta.queue.dispatcher import SUSPENDED
from mta.queue.model import State
from mta.reputation.suppression import Cause, Origin
from mta.storage.views import Selector
from tests.control.bench import LIMITS, Bench

ANN = Mailbox.parse("ann@example.net")


async def test_an_address_is_put_on_a_list_for_good_and_its_event_says_who(bench: Bench) -> None:
    answer = await bench.ask("suppression.add", account="app", address="ann@EXAMPLE.net", reason="asked by telephone")
    assert answer == {"address": "ann@example.net", "account": "app", "added": True}
    (entry,) = await bench.store.reader.suppressions_of(ANN)
    assert (entry.account, entry.cause, entry.origin) == ("app", Cause.MANUAL, Origin.OPERATOR)
    assert (entry.expires_at, entry.detail) == (None, "asked by telephone")
    (event,) = bench.worker.events
    assert (event.type, event.recipient, event.detail["who"]) == (
        EventType.SUPPRESSION_ADDED,
        "ann@example.net",
        "uid 0",
    )


async def test_an_address_that_is_on_the_list_is_not_put_there_again(bench: Bench) -> None:
    for added in (True, False):
        answer = await bench.ask("suppression.add", account="app", address="ann@example.net", reason="x")
        assert answer["added"] is added
    assert len(bench.worker.events) == 1


async def test_an_address_is_taken_off_the_list_of_one_account_alone(bench: Bench) -> None:
    for account in ("app", "shop"):
        await bench.ask("suppression.add", account=account, address="ann@example.net", reason="x")
    answer = await bench.ask("suppression.remove", account="app", address="ann@example.net", reason="her wish")
    assert answer == {"address": "ann@example.net", "account": "app", "removed": True}
    assert [entry.account for entry in await bench.store.reader.suppressions_of(ANN)] == ["shop"]
    assert bench.worker.events[-1].detail == {"reason": "her wish", "who": "uid 0"}


async def test_what_is_not_on_the_list_cannot_be_taken_off_also_of_an_account_that_is_gone(bench: Bench) -> None:
    answer = await bench.ask("suppression.remove", account="gone", address="ann@example.net", reason="x")
    assert answer["removed"] is False
    assert bench.worker.events == []


@pytest.mark.parametrize(
    ("command", "arguments", "exit_code"),
    [
        ("suppression.add", {"account": "nobody", "address": "ann@example.net"}, 1),
        ("suppression.add", {"account": "app", "address": "no address"}, 65),
        ("suppression.remove", {"account": "app", "address": "no address"}, 65),
        ("account.suspend", {"account": "nobody"}, 1),
        ("account.suspend", {"account": "app", "stream": "river"}, 65),
        ("account.reinstate", {"account": "nobody"}, 1),
        ("account.reinstate", {"account": "app", "stream": "river"}, 65),
        ("account.reinstate", {"account": "app"}, 1),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    bench: Bench, command: str, arguments: dict[str, Any], exit_code: int
) -> None:
    with pytest.raises(CommandFailed) as failed:
        await bench.ask(command, reason="x", **arguments)
    assert failed.value.exit_code == exit_code
    assert bench.worker.events == []
    assert await bench.store.reader.standings() == []


async def test_a_stream_is_suspended_and_reinstated(bench: Bench) -> None:
    answer = await bench.ask("account.suspend", account="app", stream="bulk", reason="a stolen password")
    assert answer == {"account": "app", "stream": "bulk", "standing": "suspended", "reason": "a stolen password"}
    assert bench.watch.suspended("app", "bulk")
    assert not bench.watch.suspended("app", "transactional")
    answer = await bench.ask("account.reinstate", account="app", stream="bulk", reason="changed")
    assert (answer["standing"], answer["released"]) == ("good", 0)
    assert not bench.watch.suspended("app", "bulk")
    assert [event.type for event in bench.worker.events] == [EventType.SUSPENDED, EventType.REINSTATED]


async def test_without_a_stream_all_of_an_account_is_meant(bench: Bench) -> None:
    assert (await bench.ask("account.suspend", account="app", reason="x"))["stream"] is None
    assert bench.watch.suspended("app", "bulk")
    assert bench.watch.suspended("app", "transactional")


async def test_what_was_held_for_the_suspension_is_released_and_nothing_else(bench: Bench) -> None:
    held_by_it, held_by_hand = await bench.accept("a@example.net"), await bench.accept("b@example.net")
    await bench.store.desk(bench.worker).hold(Selector(id=held_by_it), "mta", f"{SUSPENDED}: x")
    await bench.ask("queue.hold", id=held_by_hand, reason="looking into it")
    await bench.ask("account.suspend", account="app", reason="x")
    woken = bench.worker.woken
    assert (await bench.ask("account.reinstate", account="app", reason="mended"))["released"] == 1
    assert bench.worker.woken == woken + 1
    assert await bench.states(held_by_it) == [State.QUEUED]
    assert await bench.states(held_by_hand) == [State.HELD]


async def test_a_suspension_that_another_worker_wrote_can_be_ended(bench: Bench) -> None:
    other = StandingWatch(bench.store.book, Policy(LIMITS), bench.worker, bench.store.now, bench.store.ids.next)
    await other.suspend("app", "bulk", "mta", "x")
    assert (await bench.ask("account.reinstate", account="app", stream="bulk", reason="mended"))["standing"] == "good"


SITE = "mx.example.net"
WITHHELD = (
    "INSERT INTO withheld (delivery_id, address, at, site, account, stream, epoch, cause, origin, detail) "
    "VALUES (:id, 'ann@example.net', :at, :site, 'app', 'bulk', 0, 'hard_bounce', 'delivery', '550 5.1.1 who?')"
)


async def withhold(bench: Bench, count: int = 3) -> None:
    """Let bounces of a site wait."""
    at = int(bench.store.now().timestamp() * 1000)
    rows = [{"id": f"d{number}", "site": SITE, "at": at} for number in range(count)]
    await bench.store._writer.run(lambda connection: connection.executemany(WITHHELD, rows).rowcount)


async def test_bounces_that_were_withheld_are_believed_by_all_workers_on_an_operators_word(bench: Bench) -> None:
    await withhold(bench)
    assert await bench.ask("bounces.apply", site=SITE, reason="they moved") == {"site": SITE, "bounces": 3}
    assert await bench.store.withheld.believed() == {SITE: bench.store.now()}


async def test_bounces_that_were_withheld_are_forgotten_on_an_operators_word(bench: Bench) -> None:
    await withhold(bench)
    assert await bench.ask("bounces.discard", site=SITE, reason="an outage") == {"site": SITE, "bounces": 3}
    assert await bench.store.withheld.waiting(SITE) == 0
    assert await bench.ask("bounces.discard", site=SITE, reason="an outage") == {"site": SITE, "bounces": 0}


@pytest.mark.parametrize("command", ["bounces.apply", "bounces.discard"])
@pytest.mark.parametrize("arguments", [{"site": "", "reason": "x"}, {"site": SITE, "reason": ""}, {}])
async def test_whose_bounces_and_why_has_to_be_said(bench: Bench, command: str, arguments: dict[str, str]) -> None:
    await withhold(bench)
    with pytest.raises(CommandFailed):
        await bench.ask(command, **arguments)
    assert await bench.store.withheld.waiting(SITE) == 3
