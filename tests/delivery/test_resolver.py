"""What a name server says, and how sure that is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast

import dns.message
import dns.rrset
import pytest

from mta.delivery.limits import Families
from mta.delivery.resolver import DnsResolver, DnsTrouble, MxAnswer, MxRecord, NoSuchDomain, ResolverSettings, Server
from mta.delivery.tlsa import HostAnswer, TlsaAnswer, TlsaRecord
from mta.demo.dns import Failure, NameServer
from tests.fakes.clock import FakeClock
from tests.scenarios.hosts import liar


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def _server(server: NameServer) -> Server:
    host, _, port = server.address.rpartition(":")
    return Server(host, int(port))


@pytest.fixture
def resolver(server: NameServer, clock: FakeClock) -> DnsResolver:
    span = timedelta(seconds=20)
    return DnsResolver(ResolverSettings((_server(server),), timeout=span, patience=span), clock)


def _hasty(server: NameServer, clock: FakeClock) -> DnsResolver:
    return DnsResolver(
        ResolverSettings((_server(server),), timedelta(milliseconds=300), timedelta(milliseconds=100)), clock
    )


async def test_mx_records_come_by_preference_in_lower_case(server: NameServer, resolver: DnsResolver) -> None:
    server.add("example.net", "MX", "20 MX2.Example.NET.", "10 mx1.example.net.")
    assert await resolver.mx("Example.net") == MxAnswer(
        (MxRecord(10, "mx1.example.net"), MxRecord(20, "mx2.example.net"))
    )


async def test_mx_records_behind_a_cname_count(server: NameServer, resolver: DnsResolver) -> None:
    server.add("www.example.net", "CNAME", "example.net.")
    server.add("example.net", "MX", "10 mx1.example.net.")
    assert (await resolver.mx("www.example.net")).records == (MxRecord(10, "mx1.example.net"),)


async def test_a_null_mx_is_known_by_the_root(server: NameServer, resolver: DnsResolver) -> None:
    server.add("example.net", "MX", "0 .")
    assert (await resolver.mx("example.net")).is_null


async def test_a_root_among_hosts_is_no_null_mx(server: NameServer, resolver: DnsResolver) -> None:
    server.add("example.net", "MX", "0 .", "10 mx1.example.net.")
    assert not (await resolver.mx("example.net")).is_null


async def test_a_name_without_mx_records_is_certain_to_have_none(server: NameServer, resolver: DnsResolver) -> None:
    server.add("example.net", "A", "192.0.2.1")
    assert await resolver.mx("example.net") == MxAnswer(())


async def test_a_name_that_does_not_exist_is_certain(resolver: DnsResolver) -> None:
    with pytest.raises(NoSuchDomain):
        await resolver.mx("nowhere.example")
    with pytest.raises(NoSuchDomain):
        await resolver.addresses("nowhere.example", Families.DUAL)


@pytest.mark.parametrize(
    "how", [Failure.SERVFAIL, Failure.REFUSED, Failure.SILENT, Failure.GARBAGE, Failure.WRONG_QUESTION]
)
async def test_everything_else_is_trouble_that_may_pass(how: Failure, server: NameServer, clock: FakeClock) -> None:
    server.add("example.net", "MX", "10 mx1.example.net.")
    server.fail("example.net", how)
    hasty = _hasty(server, clock)
    with pytest.raises(DnsTrouble, match=r"^example\.net: .+"):
        await hasty.mx("example.net")


async def test_trouble_is_not_remembered(server: NameServer, resolver: DnsResolver) -> None:
    server.add("example.net", "MX", "10 mx1.example.net.")
    server.fail("example.net", Failure.REFUSED)
    with pytest.raises(DnsTrouble):
        await resolver.mx("example.net")
    server.fail("example.net", None)
    assert (await resolver.mx("example.net")).records


async def test_a_truncated_answer_is_fetched_over_tcp(server: NameServer, resolver: DnsResolver) -> None:
    server.add("example.net", "MX", *(f"{n} mx{n}.{'long' * 10}.example.net." for n in range(60)))
    assert len((await resolver.mx("example.net")).records) == 60


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        (Families.AUTO, ("192.0.2.1",)),
        (Families.DUAL, ("2001:db8::1", "192.0.2.1")),
        (Families.IPV4, ("192.0.2.1",)),
        (Families.IPV6, ("2001:db8::1",)),
    ],
)
async def test_addresses_are_of_the_families_wanted(
    families: Families, expected: tuple[str, ...], server: NameServer, resolver: DnsResolver
) -> None:
    server.add("mx.example.net", "A", "192.0.2.1")
    server.add("mx.example.net", "AAAA", "2001:db8::1")
    assert await resolver.addresses("mx.example.net", families) == expected


async def test_auto_takes_ipv6_where_there_is_nothing_else(server: NameServer, resolver: DnsResolver) -> None:
    server.add("mx.example.net", "AAAA", "2001:db8::1")
    assert await resolver.addresses("mx.example.net", Families.AUTO) == ("2001:db8::1",)


@pytest.mark.parametrize("families", list(Families))
async def test_a_host_without_addresses_is_certain_to_have_none(
    families: Families, server: NameServer, resolver: DnsResolver
) -> None:
    server.add("mx.example.net", "TXT", "no address here")
    assert await resolver.addresses("mx.example.net", families) == ()


async def test_one_familys_trouble_does_not_matter_when_the_other_answers(
    server: NameServer, resolver: DnsResolver
) -> None:
    server.add("mx.example.net", "A", "192.0.2.1")
    server.fail("mx.example.net", Failure.REFUSED, "AAAA")
    assert await resolver.addresses("mx.example.net", Families.DUAL) == ("192.0.2.1",)


@pytest.mark.parametrize("families", [Families.DUAL, Families.AUTO])
@pytest.mark.parametrize("failing", ["A", "AAAA"])
async def test_one_familys_trouble_is_trouble_when_the_other_has_nothing(
    failing: str, families: Families, server: NameServer, resolver: DnsResolver
) -> None:
    server.add("mx.example.net", "TXT", "no address here")
    server.fail("mx.example.net", Failure.REFUSED, failing)
    with pytest.raises(DnsTrouble):
        await resolver.addresses("mx.example.net", families)


async def test_answers_are_remembered_for_their_time_to_live(
    server: NameServer, resolver: DnsResolver, clock: FakeClock
) -> None:
    server.add("example.net", "MX", "10 mx1.example.net.", ttl=60)
    for seconds, asked in ((0, 1), (59, 1), (2, 2)):
        clock.advance(seconds)
        await resolver.mx("example.net")
        assert len(server.questions) == asked


async def test_that_a_name_does_not_exist_is_remembered_for_minutes_only(
    server: NameServer, resolver: DnsResolver, clock: FakeClock
) -> None:
    for seconds, asked in ((0, 1), (1, 1), (300, 2)):
        clock.advance(seconds)
        with pytest.raises(NoSuchDomain):
            await resolver.mx("nowhere.example")
        assert len(server.questions) == asked


async def test_a_time_to_live_of_zero_is_kept(server: NameServer, resolver: DnsResolver) -> None:
    server.add("example.net", "MX", "10 mx1.example.net.", ttl=0)
    await resolver.mx("example.net")
    await resolver.mx("example.net")
    assert len(server.questions) == 2


async def test_no_answer_is_remembered_for_longer_than_a_day(
    server: NameServer, resolver: DnsResolver, clock: FakeClock
) -> None:
    server.add("example.net", "MX", "10 mx1.example.net.", ttl=2**31 - 1)
    await resolver.mx("example.net")
    clock.advance(timedelta(days=1, seconds=1))
    await resolver.mx("example.net")
    assert len(server.questions) == 2


async def test_what_is_remembered_is_bounded(server: NameServer, clock: FakeClock) -> None:
    resolver = DnsResolver(ResolverSettings((_server(server),), cache_size=2), clock)
    for name in ("a.example", "b.example", "a.example", "c.example", "a.example"):
        server.add(name, "MX", "10 mx1.example.net.")
        await resolver.mx(name)
    assert [question.name for question in server.questions] == ["a.example", "b.example", "c.example"]


async def test_simultaneous_equal_questions_are_asked_once(server: NameServer, resolver: DnsResolver) -> None:
    server.add("example.net", "MX", "10 mx1.example.net.")
    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(resolver.mx("example.net"))
    assert len(server.questions) == 1


class _Lame(asyncio.DatagramProtocol):
    """Refers to other servers, as one does that is no resolver."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        reply = dns.message.make_response(dns.message.from_wire(data))
        reply.authority = [dns.rrset.from_text("net.", 60, "IN", "NS", "ns.example.")]
        self.transport.sendto(reply.to_wire(), addr)


async def test_a_referral_is_no_proof_that_there_is_nothing(clock: FakeClock) -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Lame, local_addr=("127.0.0.1", 0))
    try:
        lame = Server("127.0.0.1", transport.get_extra_info("sockname")[1])
        with pytest.raises(DnsTrouble, match="referral"):
            await DnsResolver(ResolverSettings((lame,)), clock).mx("example.net")
    finally:
        transport.close()


async def test_the_second_server_is_asked_when_the_first_is_silent(server: NameServer, clock: FakeClock) -> None:
    server.add("example.net", "MX", "10 mx1.example.net.")
    async with NameServer() as silent:
        silent.fail("example.net", Failure.SILENT)
        servers = (_server(silent), _server(server))
        resolver = DnsResolver(ResolverSettings(servers, timedelta(seconds=20), timedelta(milliseconds=100)), clock)
        assert (await resolver.mx("example.net")).records


def test_without_servers_those_of_the_system_are_used(clock: FakeClock) -> None:
    DnsResolver(ResolverSettings(), clock)


@pytest.mark.parametrize("secure", [True, False])
async def test_the_resolver_s_word_on_dnssec_is_passed_on(
    secure: bool, server: NameServer, resolver: DnsResolver
) -> None:
    server.authenticated = secure
    server.add("example.net", "MX", "10 mx.example.net.")
    server.add("mx.example.net", "A", "192.0.2.1")
    server.add("_25._tcp.mx.example.net", "TLSA", "3 1 1 " + "aa" * 32)
    assert (await resolver.mx("example.net")).secure == secure
    assert await resolver.host("mx.example.net") == HostAnswer("mx.example.net", secure, secure)
    expected = TlsaAnswer((TlsaRecord(3, 1, 1, b"\xaa" * 32),), secure)
    assert await resolver.tlsa("_25._tcp.mx.example.net") == expected


async def test_that_there_are_no_mx_records_may_be_sure_too(server: NameServer, resolver: DnsResolver) -> None:
    server.authenticated = True
    server.add("example.net", "A", "192.0.2.1")
    assert await resolver.mx("example.net") == MxAnswer((), secure=True)


async def test_a_domain_that_is_an_alias_tells_of_what(server: NameServer, resolver: DnsResolver) -> None:
    server.add("www.example.net", "CNAME", "example.net.")
    server.add("example.net", "MX", "10 mx1.example.net.")
    assert (await resolver.mx("www.example.net")).canonical == "example.net"
    assert (await resolver.mx("example.net")).canonical == ""


async def test_a_host_that_is_an_alias_tells_of_what(server: NameServer, resolver: DnsResolver) -> None:
    server.add("mx.example.net", "CNAME", "real.example.org.")
    server.add("real.example.org", "A", "192.0.2.1")
    assert await resolver.host("mx.example.net") == HostAnswer("real.example.org", secure=False, name_secure=False)
    assert [question.type for question in server.questions] == ["A", "AAAA", "CNAME"]


async def test_one_family_that_answers_is_enough_to_know_a_host(server: NameServer, resolver: DnsResolver) -> None:
    server.authenticated = True
    server.add("mx.example.net", "A", "192.0.2.1")
    server.fail("mx.example.net", Failure.SERVFAIL, "AAAA")
    assert (await resolver.host("mx.example.net")).secure


async def test_a_host_without_any_answer_is_in_trouble(server: NameServer, resolver: DnsResolver) -> None:
    server.fail("mx.example.net", Failure.SERVFAIL)
    with pytest.raises(DnsTrouble):
        await resolver.host("mx.example.net")


async def test_tlsa_in_trouble_is_trouble_and_absent_is_certain(server: NameServer, resolver: DnsResolver) -> None:
    server.fail("_25._tcp.mx.example.net", Failure.SERVFAIL)
    with pytest.raises(DnsTrouble):
        await resolver.tlsa("_25._tcp.mx.example.net")
    with pytest.raises(NoSuchDomain):
        await resolver.tlsa("_25._tcp.other.example.net")


async def test_the_strings_of_a_txt_record_are_one_text(server: NameServer, resolver: DnsResolver) -> None:
    server.add("_mta-sts.example.net", "TXT", "v=STSv1; id=" + "1" * 300, "other")
    assert set(await resolver.txt("_mta-sts.example.net")) == {"v=STSv1; id=" + "1" * 300, "other"}


async def test_when_dns_is_down_a_known_host_is_found_for_a_while(
    server: NameServer, resolver: DnsResolver, clock: FakeClock
) -> None:
    server.add("example.net", "MX", "10 mx.example.net.", ttl=300)
    known = await resolver.mx("example.net")
    server.fail("example.net", Failure.SERVFAIL)
    clock.advance(301)
    assert await resolver.mx("example.net") == known
    asked = len(server.questions)
    assert await resolver.mx("example.net") == known
    assert len(server.questions) == asked
    clock.advance(31)
    assert await resolver.mx("example.net") == known
    assert len(server.questions) > asked
    clock.advance(3600)
    with pytest.raises(DnsTrouble):
        await resolver.mx("example.net")


async def test_that_a_domain_does_not_exist_is_not_believed_past_its_time(
    server: NameServer, resolver: DnsResolver, clock: FakeClock
) -> None:
    with pytest.raises(NoSuchDomain):
        await resolver.mx("gone.example.net")
    server.fail("gone.example.net", Failure.SERVFAIL)
    clock.advance(301)
    with pytest.raises(DnsTrouble):
        await resolver.mx("gone.example.net")


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (liar.always(liar.cut), "half an answer"),
        (liar.answer("example.org. MX 10 mx.example.org."), "records of another name"),
        (liar.answer("example.net. CNAME example.org.", "mail.example.org. MX 10 mx.example.org."), "another name"),
    ],
    ids=["cut-twice", "other-owner", "broken-chain"],
)
async def test_what_is_no_answer_does_not_say_that_there_are_no_records(
    lie: liar.Lie, why: str, clock: FakeClock
) -> None:
    async with liar.Liar() as names:
        names.add("example.net", "MX", "10 mx.example.net.")
        names.lie("example.net", "MX", lie)
        with pytest.raises(DnsTrouble, match=why):
            await DnsResolver(ResolverSettings((_server(names),)), clock).mx("example.net")
