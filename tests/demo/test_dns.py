"""The name server answers dnspython's own resolver, and fails in each way it is told to."""

import asyncio
from collections.abc import AsyncIterator

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.resolver
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.demo.dns import Failure, NameServer, Question


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


def _port(server: NameServer) -> int:
    return int(server.address.rpartition(":")[2])


def _resolver(server: NameServer) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = _port(server)
    resolver.use_edns(0, 0, 1232)
    resolver.timeout = 0.3
    resolver.lifetime = 0.6
    return resolver


async def _ask(server: NameServer, query: dns.message.Message, *, tcp: bool = False) -> dns.message.Message:
    ask = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await ask(query, "127.0.0.1", port=_port(server), timeout=5)


async def test_records_come_back_as_added(server: NameServer) -> None:
    server.add("example.net", "MX", "10 mx1.example.net", "20 mx2.example.net.", ttl=300)
    answer = await _resolver(server).resolve("example.net", "MX")
    assert sorted(record.to_text() for record in answer) == ["10 mx1.example.net.", "20 mx2.example.net."]
    assert answer.rrset is not None
    assert answer.rrset.ttl == 300


async def test_values_added_later_join_the_first(server: NameServer) -> None:
    server.add("mx.example.net", "A", "192.0.2.1")
    server.add("mx.example.net", "A", "192.0.2.2")
    answer = await _resolver(server).resolve("mx.example.net", "A")
    assert {record.to_text() for record in answer} == {"192.0.2.1", "192.0.2.2"}


@pytest.mark.parametrize("text", ["v=DKIM1; k=rsa; p=" + "A" * 400, 'say "hi" \\ there', ""])
async def test_a_txt_value_is_plain_text_of_any_length(server: NameServer, text: str) -> None:
    server.add("r1._domainkey.example.com", "TXT", text)
    answer = await _resolver(server).resolve("r1._domainkey.example.com", "TXT")
    assert b"".join(answer[0].strings) == text.encode()


async def test_names_are_compared_without_regard_to_case(server: NameServer) -> None:
    server.add("Example.NET", "A", "192.0.2.1")
    assert (await _resolver(server).resolve("eXample.net", "A"))[0].to_text() == "192.0.2.1"


async def test_a_cname_is_followed_to_its_target(server: NameServer) -> None:
    server.add("www.example.net", "CNAME", "host.example.net")
    server.add("host.example.net", "A", "192.0.2.7")
    answer = await _resolver(server).resolve("www.example.net", "A")
    assert answer[0].to_text() == "192.0.2.7"
    assert answer.canonical_name.to_text() == "host.example.net."


async def test_a_cname_that_leads_nowhere_is_a_name_that_does_not_exist(server: NameServer) -> None:
    server.add("www.example.net", "CNAME", "gone.example.org")
    with pytest.raises(dns.resolver.NXDOMAIN):
        await _resolver(server).resolve("www.example.net", "A")


async def test_a_cname_loop_ends_in_servfail(server: NameServer) -> None:
    server.add("a.example.net", "CNAME", "b.example.net")
    server.add("b.example.net", "CNAME", "a.example.net")
    reply = await _ask(server, dns.message.make_query("a.example.net", "A"))
    assert reply.rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("mx.example.net", dns.rcode.NOERROR),
        ("example.net", dns.rcode.NOERROR),  # empty, but a name stands below it
        ("other.example.net", dns.rcode.NXDOMAIN),
        ("example.org", dns.rcode.NXDOMAIN),
    ],
)
async def test_no_data_and_no_name_differ_and_both_come_with_an_soa(
    server: NameServer, name: str, rcode: dns.rcode.Rcode
) -> None:
    server.add("mx.example.net", "A", "192.0.2.1")
    reply = await _ask(server, dns.message.make_query(name, "AAAA"))
    assert reply.rcode() == rcode
    assert reply.answer == []
    assert [rrset.rdtype for rrset in reply.authority] == [dns.rdatatype.SOA]


async def test_the_resolver_sees_no_answer_for_a_name_without_the_type(server: NameServer) -> None:
    server.add("mx.example.net", "A", "192.0.2.1")
    with pytest.raises(dns.resolver.NoAnswer):
        await _resolver(server).resolve("mx.example.net", "MX")


@pytest.mark.parametrize(("type_", "left"), [(None, set[str]()), ("A", {"MX"}), ("TXT", {"A", "MX"})])
async def test_removed_records_are_gone(server: NameServer, type_: str | None, left: set[str]) -> None:
    server.add("example.net", "A", "192.0.2.1")
    server.add("example.net", "MX", "10 mx.example.net")
    server.remove("example.net", type_)
    replies = {kind: await _ask(server, dns.message.make_query("example.net", kind)) for kind in ("A", "MX")}
    assert {kind for kind, reply in replies.items() if reply.answer} == left


# dnspython passes over datagrams that do not parse or do not fit the question, since anybody can send them.
@pytest.mark.parametrize(
    ("how", "error"),
    [
        (Failure.SERVFAIL, dns.resolver.NoNameservers),
        (Failure.REFUSED, dns.resolver.NoNameservers),
        (Failure.SILENT, dns.resolver.LifetimeTimeout),
        (Failure.NXDOMAIN, dns.resolver.NXDOMAIN),
        (Failure.GARBAGE, dns.resolver.LifetimeTimeout),
        (Failure.WRONG_QUESTION, dns.resolver.LifetimeTimeout),
    ],
)
async def test_a_failing_name_fails_in_the_resolver_and_its_neighbour_does_not(
    server: NameServer, how: Failure, error: type[Exception]
) -> None:
    server.add("example.net", "A", "192.0.2.1")
    server.add("example.org", "A", "192.0.2.2")
    server.fail("example.net", how)
    with pytest.raises(error):
        await _resolver(server).resolve("example.net", "A")
    assert (await _resolver(server).resolve("example.org", "A"))[0].to_text() == "192.0.2.2"


async def test_garbage_carries_the_querys_id_and_does_not_parse(server: NameServer) -> None:
    server.fail("example.net", Failure.GARBAGE)
    query = dns.message.make_query("example.net", "A")
    garbage = server.reply(query.to_wire(), over_tcp=False)
    assert garbage is not None
    assert garbage[:2] == query.to_wire()[:2]
    with pytest.raises(dns.exception.DNSException):
        dns.message.from_wire(garbage)


async def test_the_wrong_question_is_answered_under_the_right_id(server: NameServer) -> None:
    server.fail("example.net", Failure.WRONG_QUESTION)
    query = dns.message.make_query("example.net", "A")
    wire = server.reply(query.to_wire(), over_tcp=True)
    assert wire is not None
    reply = dns.message.from_wire(wire)
    assert reply.id == query.id
    assert not query.is_response(reply)


async def test_a_truncated_name_is_found_over_tcp_only(server: NameServer) -> None:
    server.add("example.net", "A", "192.0.2.1")
    server.fail("example.net", Failure.TRUNCATED)
    reply = await _ask(server, dns.message.make_query("example.net", "A"))
    assert (bool(reply.flags & dns.flags.TC), reply.answer) == (True, [])
    assert (await _resolver(server).resolve("example.net", "A"))[0].to_text() == "192.0.2.1"


async def test_one_type_can_fail_alone_and_recover(server: NameServer) -> None:
    server.add("example.net", "A", "192.0.2.1")
    server.add("example.net", "AAAA", "2001:db8::1")
    server.fail("example.net", Failure.SERVFAIL, "AAAA")
    assert (await _resolver(server).resolve("example.net", "A"))[0].to_text() == "192.0.2.1"
    with pytest.raises(dns.resolver.NoNameservers):
        await _resolver(server).resolve("example.net", "AAAA")
    server.fail("example.net", None, "AAAA")
    assert (await _resolver(server).resolve("example.net", "AAAA"))[0].to_text() == "2001:db8::1"


@pytest.mark.parametrize(("edns", "records", "truncated"), [(True, 60, False), (True, 90, True), (False, 60, True)])
async def test_a_reply_too_large_for_a_datagram_is_truncated(
    server: NameServer, edns: bool, records: int, truncated: bool
) -> None:
    server.add("many.example.net", "A", *(f"192.0.2.{number}" for number in range(records)))
    query = dns.message.make_query("many.example.net", "A")
    query.use_edns(0 if edns else False, payload=4096)
    wire = server.reply(query.to_wire(), over_tcp=False)
    assert wire is not None
    assert len(wire) <= 1232
    assert bool(dns.message.from_wire(wire).flags & dns.flags.TC) is truncated
    assert len((await _ask(server, query, tcp=True)).answer[0]) == records


@pytest.mark.parametrize(
    ("authenticated", "flags", "name", "seen"),
    [
        (True, dns.flags.AD, "example.net", True),
        (True, dns.flags.AD, "none.example", True),
        (True, dns.flags.AD, "broken.example", False),
        (True, 0, "example.net", False),
        (False, dns.flags.AD, "example.net", False),
    ],
)
async def test_ad_is_set_on_good_replies_when_told_and_asked(
    server: NameServer, authenticated: bool, flags: int, name: str, seen: bool
) -> None:
    server.add("example.net", "A", "192.0.2.1")
    server.fail("broken.example", Failure.SERVFAIL)
    server.authenticated = authenticated
    query = dns.message.make_query(name, "A")
    query.flags |= flags
    reply = await _ask(server, query)
    assert bool(reply.flags & dns.flags.AD) is seen


async def test_the_do_bit_asks_for_ad_too(server: NameServer) -> None:
    server.add("example.net", "A", "192.0.2.1")
    server.authenticated = True
    reply = await _ask(server, dns.message.make_query("example.net", "A", want_dnssec=True))
    assert reply.flags & dns.flags.AD


async def test_questions_are_remembered_over_udp_and_tcp(server: NameServer) -> None:
    await _ask(server, dns.message.make_query("Example.NET.", "MX"))
    await _ask(server, dns.message.make_query("_25._tcp.mx.example.net", "TLSA"), tcp=True)
    assert server.questions == [Question("example.net", "MX"), Question("_25._tcp.mx.example.net", "TLSA")]


async def test_several_queries_share_one_tcp_connection(server: NameServer) -> None:
    server.add("example.net", "A", "192.0.2.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", _port(server))
    queries = [dns.message.make_query("example.net", "A") for _ in range(3)]
    writer.write(b"".join(query.to_wire(prepend_length=True) for query in queries))
    for query in queries:
        length = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 5))
        reply = dns.message.from_wire(await asyncio.wait_for(reader.readexactly(length), 5))
        assert query.is_response(reply)
        assert reply.answer
    writer.close()


async def test_what_is_no_query_gets_the_code_for_it(server: NameServer) -> None:
    update = dns.message.make_query("example.net", "SOA")
    update.set_opcode(dns.opcode.NOTIFY)
    assert (await _ask(server, update)).rcode() == dns.rcode.NOTIMP
    chaos = dns.message.make_query("version.bind", "TXT", "CH")
    assert (await _ask(server, chaos)).rcode() == dns.rcode.REFUSED


async def test_a_reply_is_never_answered(server: NameServer) -> None:
    reply = dns.message.make_response(dns.message.make_query("example.net", "A"))
    assert server.reply(reply.to_wire(), over_tcp=False) is None


_QUERY = dns.message.make_query("example.net", "A", want_dnssec=True).to_wire()


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(lambda tail: _QUERY[:14] + tail)))
def test_any_octets_give_a_reply_or_silence(wire: bytes) -> None:
    reply = NameServer().reply(wire, over_tcp=False)
    assert reply is None or reply[:2] == wire[:2]


@pytest.mark.parametrize("values", [(), ("no address",)])
def test_what_is_no_record_is_refused_and_leaves_no_trace(values: tuple[str, ...]) -> None:
    server = NameServer()
    with pytest.raises((ValueError, dns.exception.DNSException)):
        server.add("example.net", "A", *values)
    wire = server.reply(dns.message.make_query("example.net", "A").to_wire(), over_tcp=False)
    assert wire is not None
    assert dns.message.from_wire(wire).rcode() == dns.rcode.NXDOMAIN


def test_there_is_no_address_before_it_listens() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = NameServer().address
