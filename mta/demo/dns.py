"""A name server on loopback, UDP and TCP, which answers like a resolver and fails as it is told.

It serves the whole tree from the root out of what `add` gave it, follows CNAMEs in it, and records what it was asked.
It validates nothing and knows no wildcards, delegations or zone transfers.
"""

import asyncio
import struct
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset

from mta.demo.listener import listening

_IN = dns.rdataclass.IN
_UDP_LIMIT = 1232  # octets; what the resolvers agreed on in 2020 so that no reply is fragmented
_PLAIN_UDP_LIMIT = 512  # without EDNS, RFC 1035 §4.2.1
_TCP_LIMIT = 65535
_TCP_IDLE_SECONDS = 30.0
_CNAME_LIMIT = 16
_PORT_TRIES = 20
_NEGATIVE_TTL = 60

_Type = dns.rdatatype.RdataType
_RRsets = list[dns.rrset.RRset]


class Failure(StrEnum):
    """How a name can fail."""

    SERVFAIL = "servfail"  # the resolver could not find out: says nothing of the name
    REFUSED = "refused"
    SILENT = "silent"  # no reply, ever
    NXDOMAIN = "nxdomain"  # there is no such name, whatever was added
    GARBAGE = "garbage"  # the query's id and then bytes that do not parse
    WRONG_QUESTION = "wrong-question"  # the right id on the reply to another question
    TRUNCATED = "truncated"  # TC and nothing else over UDP, everything over TCP


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: the name in lower case without the final dot, the type as its mnemonic."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class _Finding:
    rcode: dns.rcode.Rcode
    answer: _RRsets


_FAILED_CODES: dict[Failure | None, dns.rcode.Rcode] = {
    Failure.SERVFAIL: dns.rcode.SERVFAIL,
    Failure.REFUSED: dns.rcode.REFUSED,
    Failure.NXDOMAIN: dns.rcode.NXDOMAIN,
}


class NameServer:
    """`async with NameServer() as dns:` serves on 127.0.0.1 at a free port, the same for UDP and TCP.

    `questions` are all questions so far, in order. `authenticated` sets AD on good replies to queries that ask for it
    by AD or DO, as a validating resolver does (RFC 6840 §5.8).
    """

    def __init__(self) -> None:
        self.authenticated = False
        self.questions: list[Question] = []
        self._records: dict[tuple[dns.name.Name, _Type], dns.rrset.RRset] = {}
        self._failures: dict[tuple[dns.name.Name, _Type | None], Failure] = {}
        self._stack = AsyncExitStack()
        self._port: int | None = None

    async def __aenter__(self) -> Self:
        self._port = await self._bind()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._port = None
        await self._stack.aclose()

    @property
    def address(self) -> str:
        """Where it listens, as `127.0.0.1:PORT`; RuntimeError outside the `async with` block."""
        if self._port is None:
            raise RuntimeError('the name server does not listen; use it inside "async with"')
        return f"127.0.0.1:{self._port}"

    def add(self, name: str, type: str, *values: str, ttl: int = 60) -> None:
        """Add records to a name, each value in the form of a zone file, names in it absolute with or without the dot.

        A TXT value is the plain text, unquoted; it is cut into strings of 255 octets. Raises dnspython's
        DNSException, or ValueError, for what is no record.
        """
        owner, rdtype = dns.name.from_text(name), dns.rdatatype.from_text(type)
        rdatas = [_rdata(rdtype, value) for value in values]
        if not rdatas:
            raise ValueError(f"{name} {type}: no value; a name exists as soon as it has a record of any type")
        rrset = self._records.setdefault((owner, rdtype), dns.rrset.RRset(owner, _IN, rdtype))
        for rdata in rdatas:
            rrset.add(rdata, ttl)

    def remove(self, name: str, type: str | None = None) -> None:
        """Remove the records of a name (of one type, if given). What `fail` said of the name stays."""
        owner, rdtype = dns.name.from_text(name), None if type is None else dns.rdatatype.from_text(type)
        for key in [key for key in self._records if key[0] == owner and rdtype in (None, key[1])]:
            del self._records[key]

    def fail(self, name: str, how: Failure | None, type: str | None = None) -> None:
        """Let questions for a name (of one type, if given) fail from now on; None: answer them again.

        Only the name asked for counts, not one that a CNAME leads to.
        """
        key = (dns.name.from_text(name), None if type is None else dns.rdatatype.from_text(type))
        if how is None:
            self._failures.pop(key, None)
        else:
            self._failures[key] = how

    async def _bind(self) -> int:
        """TCP first at a free port, then UDP at the same; another port where somebody else has that UDP port."""
        loop = asyncio.get_running_loop()
        for tries_left in reversed(range(_PORT_TRIES)):
            async with AsyncExitStack() as stack:
                port = await stack.enter_async_context(listening(self._serve_tcp, "127.0.0.1", 0))
                try:
                    transport, _ = await loop.create_datagram_endpoint(
                        lambda: _Datagrams(self), local_addr=("127.0.0.1", port)
                    )
                except OSError:
                    if not tries_left:
                        raise
                    continue
                stack.callback(transport.close)
                self._stack = stack.pop_all()
                return port
        raise AssertionError("the last try returns or raises")

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_TCP_IDLE_SECONDS):
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                reply = self.reply(await reader.readexactly(length), over_tcp=True)
                if reply is not None:
                    writer.write(struct.pack("!H", len(reply)) + reply)
                    await writer.drain()

    def reply(self, wire: bytes, *, over_tcp: bool) -> bytes | None:
        """The reply to one query as octets, None for silence. Any octets are taken; never raises."""
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return _form_error(wire)
        if query.flags & dns.flags.QR:
            return None  # a reply; answering it could start an endless exchange
        response = _response(query)
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
            return response.to_wire()
        if len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
            return response.to_wire()
        asked = query.question[0]
        self.questions.append(Question(_plain(asked.name), dns.rdatatype.to_text(asked.rdtype)))
        failure = self._failures.get((asked.name, asked.rdtype)) or self._failures.get((asked.name, None))
        match failure:
            case Failure.SILENT:
                return None
            case Failure.GARBAGE:
                return wire[:2] + b"\x81\x80" + b"\xff" * 16
            case Failure.WRONG_QUESTION:
                other = dns.name.Name((b"another", *asked.name.labels[-2:]))
                response.question = [dns.rrset.RRset(other, asked.rdclass, asked.rdtype)]
            case Failure.TRUNCATED if not over_tcp:
                return _truncated(query)
            case _:
                self._fill(query, response, self._find(asked, failure))
        try:
            return response.to_wire(max_size=_TCP_LIMIT if over_tcp else _udp_limit(query))
        except dns.exception.TooBig:
            return _truncated(query)

    def _fill(self, query: dns.message.Message, response: dns.message.Message, finding: _Finding) -> None:
        response.set_rcode(finding.rcode)
        response.answer = finding.answer
        if finding.rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return
        if not any(rrset.rdtype == query.question[0].rdtype for rrset in finding.answer):
            response.authority = [_soa()]  # what makes it a NODATA or NXDOMAIN that may be kept, RFC 2308 §2
        if self.authenticated and (query.flags & dns.flags.AD or query.ednsflags & dns.flags.DO):
            response.flags |= dns.flags.AD

    def _find(self, asked: dns.rrset.RRset, failure: Failure | None) -> _Finding:
        if failure in _FAILED_CODES:
            return _Finding(_FAILED_CODES[failure], [])
        if asked.rdclass != _IN:
            return _Finding(dns.rcode.REFUSED, [])
        return self._look_up(asked.name, asked.rdtype)

    def _look_up(self, name: dns.name.Name, rdtype: _Type) -> _Finding:
        chain: _RRsets = []
        while len(chain) < _CNAME_LIMIT:
            if (rrset := self._records.get((name, rdtype))) is not None:
                return _Finding(dns.rcode.NOERROR, [*chain, rrset])
            if (alias := self._records.get((name, dns.rdatatype.CNAME))) is None:
                # A name above a known one exists too (RFC 8020 §2). The code is that of the chain's end (RFC 6604 §3).
                exists = any(known.is_subdomain(name) for known, _ in self._records)
                return _Finding(dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN, chain)
            chain.append(alias)
            name = alias[0].target
        return _Finding(dns.rcode.SERVFAIL, [])


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    # asyncio hands a datagram protocol nothing else, and its transports share no base class to check for.
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # see above
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        reply = self._server.reply(data, over_tcp=False)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _rdata(rdtype: _Type, value: str) -> dns.rdata.Rdata:
    if rdtype == dns.rdatatype.TXT:
        octets = value.encode()
        strings = [octets[start : start + 255] for start in range(0, len(octets), 255)] or [b""]
        return dns.rdtypes.ANY.TXT.TXT(_IN, rdtype, strings)
    return dns.rdata.from_text(_IN, rdtype, value, origin=dns.name.root, relativize=False)


def _soa() -> dns.rrset.RRset:
    text = f"ns.invalid. hostmaster.invalid. 1 3600 600 86400 {_NEGATIVE_TTL}"
    return dns.rrset.from_text(dns.name.root, _NEGATIVE_TTL, _IN, dns.rdatatype.SOA, text)


def _udp_limit(query: dns.message.Message) -> int:
    return min(_UDP_LIMIT, max(_PLAIN_UDP_LIMIT, query.payload)) if query.edns >= 0 else _PLAIN_UDP_LIMIT


def _response(query: dns.message.Message) -> dns.message.Message:
    return dns.message.make_response(query, recursion_available=True, our_payload=_UDP_LIMIT)


def _truncated(query: dns.message.Message) -> bytes:
    response = _response(query)
    response.flags |= dns.flags.TC
    return response.to_wire()


def _form_error(wire: bytes) -> bytes | None:
    """FORMERR to what has at least the header of a query; silence to anything else."""
    if len(wire) < 12 or wire[2] & 0x80:
        return None
    return wire[:2] + struct.pack("!5H", dns.flags.QR | dns.rcode.FORMERR, 0, 0, 0, 0)
