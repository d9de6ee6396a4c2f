"""One attempt: which host is asked, what its replies mean, what is kept of them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from mta.delivery.limits import Families, TlsPolicy
from mta.delivery.resolver import DnsTrouble, NoSuchDomain
from mta.demo.receiver import Behaviour, Receiver
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome
from mta.queue.seams import Host, Site
from tests.delivery.world import SHORT, Zone, letter, ours, settings, site, transport


@pytest.fixture
async def sink() -> AsyncIterator[Receiver]:
    async with Receiver() as sink:
        yield sink


@pytest.fixture
async def second() -> AsyncIterator[Receiver]:
    async with Receiver() as second:
        yield second


def _is(outcome: Outcome, kind: type[Outcome], code: int, status: str) -> bool:
    return isinstance(outcome, kind) and outcome.reply.code == code and str(outcome.reply.status) == status


async def test_a_letter_is_delivered_and_the_try_says_where(sink: Receiver) -> None:
    async with transport() as sending:
        outcome = await sending.deliver(letter(), site(sink), ours)
    assert isinstance(outcome, Delivered)
    (one,) = outcome.tries
    assert (one.host, one.address, one.port, one.stage) == ("mx1.example.net", "127.0.0.1", sink.port, "dot")
    assert (one.reply, one.remote) == (outcome.reply, True)
    assert one.tls is not None
    assert (one.tls.is_used, one.tls.policy, "STARTTLS" in one.tls.offered) == (False, "opportunistic", False)
    assert one.reply.text.startswith("Ok: queued as")
    assert one.duration > timedelta(0)


@pytest.mark.parametrize(
    ("verb", "reply", "kind", "asks_next"),
    [
        ("GREETING", "554 5.7.1 go away", Delivered, True),
        ("GREETING", "421 4.3.2 busy", Delivered, True),
        ("EHLO", "550 5.7.1 not you", Delivered, True),
        ("EHLO", "451 4.3.0 later", Delivered, True),
        ("MAIL", "421 4.3.2 closing", Delivered, True),
        ("MAIL", "451 4.3.0 later", Deferred, False),
        ("MAIL", "550 5.1.7 bad sender", Bounced, False),
        ("RCPT", "421 4.3.2 closing", Delivered, True),
        ("RCPT", "450 4.2.0 greylisted", Deferred, False),
        ("RCPT", "550 5.1.1 no such user", Bounced, False),
        ("DATA", "451 4.3.0 later", Deferred, False),
        ("DATA", "554 5.6.0 no", Bounced, False),
        ("DOT", "451 4.7.1 later", Deferred, False),
        ("DOT", "421 4.3.2 closing", Deferred, False),
        ("DOT", "552 5.2.2 mailbox full", Bounced, False),
    ],
)
async def test_a_refusal_leads_to_the_next_host_only_before_it_is_about_the_recipient(
    verb: str, reply: str, kind: type[Outcome], asks_next: bool, sink: Receiver, second: Receiver
) -> None:
    sink.answer(verb, None, reply)
    if verb == "EHLO":
        sink.answer("HELO", None, reply)
    async with transport() as sending:
        outcome = await sending.deliver(letter(), site(sink, second), ours)
    assert isinstance(outcome, kind)
    assert (second.connections == 1) is asks_next
    first = outcome.tries[0]
    assert (first.host, first.stage, first.remote) == ("mx1.example.net", verb.lower(), True) or verb == "GREETING"
    assert str(first.reply) == reply
    assert [len(sink.messages), len(second.messages)] == [0, 1 if asks_next else 0]


async def test_when_all_hosts_refuse_us_the_delivery_waits(sink: Receiver, second: Receiver) -> None:
    sink.answer("GREETING", None, "554 5.7.1 listed")
    second.answer("GREETING", None, "554 5.7.1 listed too")
    async with transport() as sending:
        outcome = await sending.deliver(letter(), site(sink, second), ours)
    assert _is(outcome, Deferred, 554, "5.7.1")
    assert [one.stage for one in outcome.tries] == ["greeting", "greeting"]


@pytest.mark.parametrize(("verb", "limit", "asks_next"), [
    ("GREETING", "greeting", True),
    ("EHLO", "command", True),
    ("MAIL", "command", True),
    ("RCPT", "command", True),
    ("DATA", "data", False),
    ("DOT", "final", False),
])  # fmt: skip
@pytest.mark.parametrize("behaviour", list(Behaviour))
async def test_silence_or_a_closed_connection_defers_and_is_in_doubt_only_after_the_dot(
    verb: str, limit: str, asks_next: bool, behaviour: Behaviour, sink: Receiver, second: Receiver
) -> None:
    sink.answer(verb, None, behaviour)
    second.answer("RCPT", None, "450 4.2.0 not here either")
    async with transport(settings(**{limit: SHORT})) as sending:
        outcome = await sending.deliver(letter(), site(sink, second), ours)
    assert isinstance(outcome, Deferred)
    assert outcome.in_doubt is (verb == "DOT")
    first = outcome.tries[0]
    assert (first.stage, first.remote) == (verb.lower(), False)
    assert str(first.reply.status) == "4.4.2"
    assert (second.connections == 1) is asks_next


async def test_the_attempt_as_a_whole_has_a_deadline(sink: Receiver) -> None:
    sink.answer("RCPT", None, Behaviour.HANG)
    async with transport(settings(attempt=SHORT)) as sending:
        outcome = await sending.deliver(letter(), site(sink), ours)
    assert _is(outcome, Deferred, 451, "4.4.7")
    assert [one.stage for one in outcome.tries] == ["rcpt"]
    assert not outcome.in_doubt  # type: ignore[union-attr]  # a Deferred, as asserted above


async def test_a_deadline_after_the_dot_leaves_the_delivery_in_doubt(sink: Receiver) -> None:
    sink.answer("DOT", None, Behaviour.HANG)
    async with transport(settings(attempt=SHORT)) as sending:
        outcome = await sending.deliver(letter(), site(sink), ours)
    assert isinstance(outcome, Deferred)
    assert outcome.in_doubt


async def test_a_refused_connection_leads_to_the_next_host(second: Receiver) -> None:
    async with Receiver() as gone:
        pass
    async with transport() as sending:
        outcome = await sending.deliver(letter(), site(gone, second), ours)
    assert isinstance(outcome, Delivered)
    assert [(one.stage, str(one.reply.status)) for one in outcome.tries] == [("connect", "4.4.1"), ("dot", "2.0.0")]
    assert "refused" in outcome.tries[0].reply.text.lower()


async def test_all_addresses_of_a_host_are_tried(sink: Receiver) -> None:
    zone = Zone()
    zone.address_answers["mx1.example.net"] = ("::1", "127.0.0.1")
    async with transport(zone=zone) as sending:
        outcome = await sending.deliver(letter(), site(sink), ours)
    assert isinstance(outcome, Delivered)
    assert [one.address for one in outcome.tries] == ["::1", "127.0.0.1"]


async def test_no_more_connections_are_opened_than_an_attempt_may(sink: Receiver) -> None:
    sink.answer("GREETING", None, "554 5.7.1 no")
    zone = Zone()
    zone.address_answers["mx1.example.net"] = tuple(f"127.0.0.{number}" for number in range(1, 51))
    async with transport(replace(settings(), max_tries=3), zone) as sending:
        outcome = await sending.deliver(letter(), site(sink), ours)
    assert [one.address for one in outcome.tries] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (NoSuchDomain("mx1.example.net"), Bounced, "5.4.4"),
        ((), Bounced, "5.4.4"),
        (("10.0.0.1", "fe80::1"), Bounced, "5.4.4"),
        (DnsTrouble("SERVFAIL"), Deferred, "4.4.3"),
    ],
)
async def test_a_host_without_a_usable_address_bounces_when_that_is_certain(
    answer: tuple[str, ...] | Exception, kind: type[Outcome], status: str, sink: Receiver
) -> None:
    zone = Zone()
    zone.address_answers["mx1.example.net"] = answer
    async with transport(zone=zone) as sending:
        outcome = await sending.deliver(letter(), site(sink), ours)
    assert isinstance(outcome, kind)
    assert str(outcome.reply.status) == status
    assert sink.connections == 0


async def test_the_lack_of_a_family_that_is_switched_off_here_is_no_reason_to_bounce(sink: Receiver) -> None:
    zone = Zone()
    zone.address_answers["mx1.example.net"] = ()
    async with transport(replace(settings(), families=Families.IPV4), zone) as sending:
        assert isinstance(await sending.deliver(letter(), site(sink), ours), Deferred)


async def test_one_hopeless_host_among_others_does_not_bounce(sink: Receiver, second: Receiver) -> None:
    zone = Zone()
    zone.address_answers["mx1.example.net"] = ("10.0.0.1",)
    second.answer("GREETING", None, Behaviour.CLOSE)
    async with transport(zone=zone) as sending:
        outcome = await sending.deliver(letter(), site(sink, second), ours)
    assert isinstance(outcome, Deferred)
    assert "10.0.0.1 (private)" in outcome.tries[0].reply.text


async def test_loopback_found_through_dns_is_refused_unless_allowed(sink: Receiver) -> None:
    async with transport(replace(settings(), allow_networks=())) as sending:
        outcome = await sending.deliver(letter(), site(sink), ours)
    assert _is(outcome, Bounced, 550, "5.4.4")
    assert "127.0.0.1 (loopback)" in outcome.reply.text
    assert sink.connections == 0


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "relay.internal"])
async def test_a_relay_of_a_route_may_be_anywhere(name: str, sink: Receiver) -> None:
    zone = Zone()
    relay = Site(name, (Host(name, sink.port, trusted=True),))
    async with transport(replace(settings(), allow_networks=()), zone) as sending:
        assert isinstance(await sending.deliver(letter(), relay, ours), Delivered)
    assert zone.asked == (["relay.internal"] if name == "relay.internal" else [])


async def test_a_relay_that_dns_does_not_know_makes_mail_wait(sink: Receiver) -> None:
    zone = Zone()
    zone.address_answers["relay.internal"] = NoSuchDomain("relay.internal")
    relay = Site("relay", (Host("relay.internal", sink.port, trusted=True),))
    async with transport(zone=zone) as sending:
        assert isinstance(await sending.deliver(letter(), relay, ours), Deferred)


async def test_letters_follow_one_another_on_one_connection(sink: Receiver) -> None:
    async with transport() as sending:
        for number in range(5):
            await sending.deliver(letter(f"u{number}@example.net"), site(sink), ours)
    assert sink.connections == 1
    assert sink.recipients == [[f"u{number}@example.net"] for number in range(5)]
    assert sink.commands[-1] == "QUIT"


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "DOT"])
async def test_a_refusal_does_not_cost_the_connection(verb: str, sink: Receiver) -> None:
    sink.answer(verb, None, "550 5.7.1 no", times=1)
    async with transport() as sending:
        assert isinstance(await sending.deliver(letter(), site(sink), ours), Bounced)
        assert isinstance(await sending.deliver(letter(), site(sink), ours), Delivered)
    assert sink.connections == 1


async def test_a_connection_has_an_end_after_so_many_letters(sink: Receiver) -> None:
    given = settings()
    async with transport(replace(given, pool=replace(given.pool, messages_per_connection=2))) as sending:
        for _ in range(4):
            await sending.deliver(letter(), site(sink), ours)
    assert sink.connections == 2


@pytest.mark.parametrize("how", [Behaviour.CLOSE, "421 4.4.2 idle for too long"])
async def test_an_idle_connection_that_ended_is_no_failed_attempt(how: Behaviour | str, sink: Receiver) -> None:
    async with transport() as sending:
        await sending.deliver(letter(), site(sink), ours)
        sink.answer("MAIL", None, how, times=1)
        outcome = await sending.deliver(letter(), site(sink), ours)
    assert isinstance(outcome, Delivered)
    assert len(outcome.tries) == 1
    assert sink.connections == 2


async def test_a_host_that_fails_on_a_kept_connection_is_not_asked_again_in_the_same_attempt(sink: Receiver) -> None:
    async with transport() as sending:
        await sending.deliver(letter(), site(sink), ours)
        sink.answer("RCPT", None, Behaviour.CLOSE, times=1)
        assert isinstance(await sending.deliver(letter(), site(sink), ours), Deferred)
        assert isinstance(await sending.deliver(letter(), site(sink), ours), Delivered)
    assert sink.connections == 2


@pytest.mark.parametrize("how", ["554 5.7.1 no", Behaviour.HANG])
async def test_a_connection_that_did_not_come_about_takes_no_place(how: str | Behaviour, sink: Receiver) -> None:
    sink.answer("GREETING", None, how, times=1)
    given = settings(attempt=SHORT)
    async with transport(replace(given, pool=replace(given.pool, max_connections=1))) as sending:
        assert isinstance(await sending.deliver(letter(), site(sink), ours), Deferred)
        assert isinstance(await sending.deliver(letter(), site(sink), ours), Delivered)


async def test_a_421_said_to_an_idle_connection_is_heard(sink: Receiver) -> None:
    sink.answer("DOT", None, b"250 2.0.0 Ok\r\n421 4.3.2 going down\r\n", times=1)
    async with transport() as sending:
        await sending.deliver(letter(), site(sink), ours)
        assert isinstance(await sending.deliver(letter(), site(sink), ours), Delivered)
    assert sink.connections == 2


async def test_a_lost_lease_drops_the_transaction_before_the_dot(sink: Receiver) -> None:
    async def lost() -> bool:
        return False

    async with transport() as sending:
        outcome = await sending.deliver(letter(), site(sink), lost)
        assert _is(outcome, Deferred, 451, "4.3.0")
        assert not outcome.in_doubt  # type: ignore[union-attr]  # a Deferred, as asserted above
        await sending.deliver(letter("b@example.net"), site(sink), ours)
    assert sink.recipients == [["b@example.net"]]
    assert sink.connections == 2


async def test_an_error_of_ours_is_not_hidden_and_leaves_no_connection_behind(sink: Receiver) -> None:
    async def fails() -> bool:
        raise RuntimeError("store")

    given = settings()
    async with transport(replace(given, pool=replace(given.pool, max_connections=1))) as sending:
        with pytest.raises(RuntimeError, match="store"):
            await sending.deliver(letter(), site(sink), fails)
        assert isinstance(await sending.deliver(letter(), site(sink), ours), Delivered)
    assert len(sink.messages) == 1


async def test_connections_are_shared_within_their_total(sink: Receiver, second: Receiver) -> None:
    given = settings()
    async with transport(replace(given, pool=replace(given.pool, max_connections=1))) as sending:
        await sending.deliver(letter(), site(sink), ours)
        await sending.deliver(letter(), site(second), ours)
    assert [len(sink.messages), len(second.messages)] == [1, 1]


async def test_a_transport_that_requires_tls_sends_nothing_without(sink: Receiver) -> None:
    async with transport(replace(settings(), tls=TlsPolicy.REQUIRE)) as sending:
        outcome = await sending.deliver(letter(), site(sink), ours)
    assert _is(outcome, Deferred, 451, "4.7.10")
    assert "MAIL" not in " ".join(sink.commands)
