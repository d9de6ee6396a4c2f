"""A name server that lies: what it would say truly is replaced, question by question."""

from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from mta.demo.dns import NameServer, Question

_IN = dns.rdataclass.IN
Lie = Callable[[bytes, bytes, bool], bytes | None]
"""What is said instead, given the query, the true answer, and whether it is asked over TCP; None: nothing."""


class Liar(NameServer):
    """Tells the truth where it was not told to lie."""

    def __init__(self) -> None:
        super().__init__()
        self._lies: dict[Question, Lie] = {}

    def lie(self, name: str, type: str, lie: Lie) -> None:
        """Answer a question in this way from now on."""
        self._lies[Question(name, type)] = lie

    def reply(self, wire: bytes, *, over_tcp: bool) -> bytes | None:
        """What is said to a query."""
        honest = super().reply(wire, over_tcp=over_tcp)
        lie = self._lies.get(self.questions[-1]) if self.questions else None
        return honest if lie is None or honest is None else lie(wire, honest, over_tcp)


def answer(*records: str, additional: tuple[str, ...] = (), nxdomain: bool = False) -> Lie:
    """Answer with these records and no others, each as a line of a zone file."""

    def lie(query: bytes, honest: bytes, over_tcp: bool) -> bytes:
        response = _response(query)
        response.answer = [_rrset(record) for record in records]
        response.additional = [_rrset(record) for record in additional]
        if nxdomain:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()

    return lie


def raw(rdata: bytes) -> Lie:
    """Answer with one record that holds these octets."""

    def lie(query: bytes, honest: bytes, over_tcp: bool) -> bytes:
        response = _response(query)
        asked = response.question[0]
        rrset = dns.rrset.RRset(asked.name, _IN, asked.rdtype)
        rrset.add(dns.rdata.GenericRdata(_IN, asked.rdtype, rdata), 60)
        response.answer = [rrset]
        return response.to_wire()

    return lie


def at_first(lie: Lie, wrap: Callable[[bytes], bytes]) -> Lie:
    """Lie once, in an answer that is spoilt besides; then tell the truth."""
    done = False

    def once(query: bytes, honest: bytes, over_tcp: bool) -> bytes | None:
        nonlocal done
        if done:
            return honest
        done = True
        said = lie(query, honest, over_tcp)
        return None if said is None else wrap(said)

    return once


def always(wrap: Callable[[bytes], bytes]) -> Lie:
    """Spoil the true answer."""
    return lambda query, honest, over_tcp: wrap(honest)


def wrong_id(said: bytes) -> bytes:
    """Return an answer to a query that was not made."""
    return bytes((said[0] ^ 0xFF, said[1] ^ 0xFF)) + said[2:]


def other_question(said: bytes) -> bytes:
    """Return an answer to another question."""
    message = dns.message.from_wire(said)
    asked = message.question[0]
    message.question = [dns.rrset.RRset(asked.name.parent(), asked.rdclass, asked.rdtype)]
    return message.to_wire()


def cut(said: bytes) -> bytes:
    """Return an answer that says that it is not all of it, and has nothing."""
    message = dns.message.from_wire(said)
    message.answer, message.authority, message.additional = [], [], []
    message.flags |= dns.flags.TC
    return message.to_wire()


def silent_over_tcp(query: bytes, honest: bytes, over_tcp: bool) -> bytes | None:
    """Say that there is more, and never say more."""
    return None if over_tcp else cut(honest)


def _response(query: bytes) -> dns.message.Message:
    return dns.message.make_response(dns.message.from_wire(query), recursion_available=True)


def _rrset(record: str) -> dns.rrset.RRset:
    name, type, value = record.split(" ", 2)
    return dns.rrset.from_text(name, 60, _IN, dns.rdatatype.from_text(type), value)
