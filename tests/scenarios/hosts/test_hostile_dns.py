"""Name servers that lie, err or say nothing, and domains that aim us where we have no business, seen through a whole
server: what becomes of the mail, and whom we connected to."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import pytest_asyncio

from mta.demo.dns import Failure
from tests.delivery.peer import Peer
from tests.scenarios.hosts import liar
from tests.scenarios.hosts.footprint import Footprint
from tests.scenarios.hosts.liar import Liar, Lie
from tests.scenarios.hosts.street import OUTSIDE, Open, Street, address, open_street
from tests.scenarios.receivers import Told

pytestmark = pytest.mark.slow

GOOD, EVIL, NOBODY = address(0), address(1), address(2)
"""Where mail should go; where it never may; where nobody listens."""
MANY = 500
MOST = 20
"""Hosts of a domain, and connections of an attempt, whatever DNS says."""

TROUBLE, NO_HOST, DELIVERED = "deferred 451 4.4.3", "bounced 550 5.4.4", "delivered 250 2.0.0"
NO_CONNECTION = "deferred 451 4.4.1"
_DOMAIN = "{d}"
"""Stands for the case's domain."""

Records = Mapping[tuple[str, str], tuple[str, ...]]
MX: Records = {("{d}", "MX"): ("10 mx.{d}.",)}
FOUND: Records = {**MX, ("mx.{d}", "A"): (GOOD,)}
"""What an honest domain has."""
TRAP: Records = {**FOUND, ("{d}", "A"): (EVIL,)}
"""One whose own address is no host for mail as long as there may be an MX record."""


@dataclass(frozen=True)
class Case:
    """What DNS says of a domain, and what becomes of the mail for it."""

    name: str
    said: str
    """How the outcome begins: its event, code and enhanced code."""
    records: Records = field(default_factory=dict)
    failures: Mapping[tuple[str, str], Failure] = field(default_factory=dict)
    lies: Mapping[tuple[str, str], Lie] = field(default_factory=dict)
    tries: int = 0
    """Connections or hosts that are told of, when it was not delivered at once."""

    @property
    def domain(self) -> str:
        """Whose records these are."""
        return f"{self.name}.example"

    @property
    def recipient(self) -> str:
        """To whom mail is sent."""
        return f"r@{self.domain}"

    def publish(self, names: Liar) -> None:
        """Let a name server say so."""
        for (name, type), values in self.records.items():
            names.add(self._here(name), type, *map(self._here, values))
        for (name, type), failure in self.failures.items():
            names.fail(self._here(name), failure, type)
        for (name, type), lie in self.lies.items():
            names.lie(self._here(name), type, lie)

    def _here(self, text: str) -> str:
        return text.replace(_DOMAIN, self.domain)


def _chain(owner: str, length: int, *end: str) -> Lie:
    """Return an answer of aliases that lead from one to the next."""
    aliases = [owner, *(f"alias{number}.{owner}" for number in range(length))]
    links = [f"{one}. CNAME {other}." for one, other in pairwise(aliases)]
    return liar.answer(*links, *(f"{aliases[-1]}. {each}" for each in end))


def _aliases() -> list[Case]:
    at, host = ("{d}", "MX"), ("mx.{d}", "A")

    def loop(name: str) -> tuple[str, str]:
        return f"{name}. CNAME b.{name}.", f"b.{name}. CNAME {name}."

    return [
        Case("loop", TROUBLE, TRAP, lies={at: liar.answer(*loop("loop.example"))}),
        Case("itself", TROUBLE, TRAP, lies={at: liar.answer("itself.example. CNAME itself.example.")}),
        Case("loop-servfail", TROUBLE, {("{d}", "CNAME"): ("b.{d}.",), ("b.{d}", "CNAME"): ("{d}.",)}),
        Case("nowhere-loop", TROUBLE, TRAP, lies={at: liar.answer(*loop("nowhere-loop.example"), nxdomain=True)}),
        Case("long-chain", TROUBLE, TRAP, lies={at: _chain("long-chain.example", 20, "MX 10 mx.long-chain.example.")}),
        Case(
            "short-chain", DELIVERED, TRAP, lies={at: _chain("short-chain.example", 5, "MX 10 mx.short-chain.example.")}
        ),
        Case("loop-of-host", TROUBLE, MX, lies={host: liar.answer(*loop("mx.loop-of-host.example"))}, tries=1),
        Case("chain-of-host", TROUBLE, MX, lies={host: _chain("mx.chain-of-host.example", 20, f"A {GOOD}")}, tries=1),
    ]


def _too_many() -> list[Case]:
    def hosts(place: int) -> Records:
        """Return many hosts, of which one listens: the one at this place."""
        names = [f"mx{number}.{{d}}" for number in range(1, MANY + 1)]
        found: dict[tuple[str, str], tuple[str, ...]] = {
            (name, "A"): (GOOD if number == place else NOBODY,) for number, name in enumerate(names, 1)
        }
        return {**found, ("{d}", "MX"): tuple(f"{number} {name}." for number, name in enumerate(names, 1))}

    crowd = tuple(f"127.77.200.{number}" for number in range(1, 251)) + tuple(
        f"127.77.201.{number}" for number in range(1, 251)
    )
    return [
        Case("many-hosts", NO_CONNECTION, hosts(MOST + 1), tries=MOST),
        Case("many-hosts-last-counts", DELIVERED, hosts(MOST), tries=MOST),
        Case("many-addresses", NO_CONNECTION, {**MX, ("mx.{d}", "A"): crowd}, tries=MOST),
    ]


def _junk() -> list[Case]:
    at, host = ("{d}", "MX"), ("mx.{d}", "A")
    names = {
        "address": f"10 {EVIL}.",
        "single-label": "10 localhost.",
        "octets": r"10 \000\255\032.example.",
        "control": r"10 a\010b.example.",
        "dash": "10 -mx.example.",
        "digits": "10 mx.example.1.",
    }
    cases = [Case(f"mx-{kind}", NO_HOST, {at: (value,), ("{d}", "A"): (EVIL,)}) for kind, value in names.items()]
    octets = {
        "empty": b"",
        "half": b"\0",
        "no-name": b"\0\n",
        "name-cut": b"\0\n\x3fmx",
        "label-type": b"\0\n\x41mx\0",
        "pointer-ahead": b"\0\n\xff\xff",
        "octets-behind": b"\0\n\0more",
    }
    cases += [Case(f"mx-data-{kind}", TROUBLE, TRAP, lies={at: liar.raw(data)}) for kind, data in octets.items()]
    return [
        *cases,
        Case("junk-among-hosts", DELIVERED, {at: (*names.values(), "50 mx.{d}."), host: (GOOD,)}),
        Case("root-among-hosts", DELIVERED, {at: ("0 .", "50 mx.{d}."), host: (GOOD,)}),
        Case("host-data-cut", TROUBLE, MX, lies={host: liar.raw(b"\x7f\0")}, tries=1),
        Case("we-ourselves", "bounced 554 5.4.6", {at: ("0 mail.example.com.", "50 mx.{d}."), host: (GOOD,)}),
    ]


def _inner() -> list[Case]:
    v4 = {
        "loopback": OUTSIDE,
        "private": "10.0.0.1",
        "private-16": "172.16.0.1",
        "private-24": "192.168.0.1",
        "link-local": "169.254.169.254",
        "shared": "100.64.0.1",
        "unspecified": "0.0.0.0",
        "multicast": "224.0.0.1",
        "broadcast": "255.255.255.255",
    }
    v6 = {
        "loopback-v6": "::1",
        "mapped": f"::ffff:{OUTSIDE}",
        "translated": f"64:ff9b::{OUTSIDE}",
        "unspecified-v6": "::",
        "unique-local": "fd00::1",
        "link-local-v6": "fe80::1",
        "6to4": "2002:7f4e:1::1",
    }
    cases = [Case(f"inner-{kind}", NO_HOST, {**MX, ("mx.{d}", "A"): (place,)}, tries=1) for kind, place in v4.items()]
    cases += [
        Case(f"inner-{kind}", NO_HOST, {**MX, ("mx.{d}", "AAAA"): (place,)}, tries=1) for kind, place in v6.items()
    ]
    return [
        *cases,
        Case("inner-implicit", NO_HOST, {("{d}", "A"): (OUTSIDE,)}, tries=1),
        Case(
            "inner-by-alias", NO_HOST, {**MX, ("mx.{d}", "CNAME"): ("in.{d}.",), ("in.{d}", "A"): (OUTSIDE,)}, tries=1
        ),
        Case("inner-among-others", DELIVERED, {**MX, ("mx.{d}", "A"): (OUTSIDE, "10.0.0.1", GOOD)}, tries=1),
        Case("allowed", DELIVERED, FOUND, tries=1),
    ]


def _false() -> list[Case]:
    at, host = ("{d}", "MX"), ("mx.{d}", "A")

    def evil(name: str) -> Lie:
        return liar.answer(f"mx.{name}.example. A {EVIL}")

    additional = liar.answer(
        "additional.example. MX 10 mx.additional.example.", additional=(f"mx.additional.example. A {EVIL}",)
    )
    other = liar.answer("somebody.example. MX 10 evil.example.")
    beside = liar.answer("beside.example. MX 10 mx.beside.example.", f"mx.beside.example. A {EVIL}")
    return [
        Case("wrong-id", TROUBLE, TRAP, lies={at: liar.always(liar.wrong_id)}),
        Case("wrong-id-first", DELIVERED, FOUND, lies={host: liar.at_first(evil("wrong-id-first"), liar.wrong_id)}),
        Case("other-question", TROUBLE, TRAP, lies={at: liar.always(liar.other_question)}),
        Case(
            "other-question-first",
            DELIVERED,
            FOUND,
            lies={host: liar.at_first(evil("other-question-first"), liar.other_question)},
        ),
        Case("other-owner", TROUBLE, TRAP, lies={at: other}),
        Case("additional", DELIVERED, FOUND, lies={at: additional}),
        Case("beside", DELIVERED, FOUND, lies={at: beside}),
        # signed records that nobody proved: a host that should show a certificate has none, and gets its mail
        Case("forged-ad", DELIVERED, FOUND),
    ]


def _failing() -> list[Case]:
    at, host = ("{d}", "MX"), ("mx.{d}", "A")
    cases = [
        Case(f"mx-{how}", TROUBLE, TRAP, {at: how})
        for how in (Failure.SERVFAIL, Failure.REFUSED, Failure.SILENT, Failure.GARBAGE, Failure.WRONG_QUESTION)
    ]
    cases += [
        Case(f"host-{how}", TROUBLE, FOUND, {host: how}, tries=1)
        for how in (Failure.SERVFAIL, Failure.REFUSED, Failure.SILENT, Failure.GARBAGE, Failure.WRONG_QUESTION)
    ]
    return [
        *cases,
        Case("implicit-servfail", TROUBLE, {("{d}", "A"): (EVIL,)}, {("{d}", "A"): Failure.SERVFAIL}),
        Case(
            "one-host-servfail",
            DELIVERED,
            {**FOUND, at: ("5 a.{d}.", "10 mx.{d}.")},
            {("a.{d}", "A"): Failure.SERVFAIL},
            tries=2,
        ),
        Case("truncated", DELIVERED, TRAP, {at: Failure.TRUNCATED}),
        Case("truncated-host", DELIVERED, FOUND, {host: Failure.TRUNCATED}),
        Case("truncated-twice", TROUBLE, TRAP, lies={at: liar.always(liar.cut)}),
        Case("truncated-for-ever", TROUBLE, TRAP, lies={at: liar.silent_over_tcp}),
        Case("nowhere", "bounced 550 5.1.2"),
        Case("null-mx", "bounced 556 5.1.10", {at: ("0 .",), ("{d}", "A"): (EVIL,)}),
    ]


CASES = {case.name: case for table in (_aliases, _too_many, _junk, _inner, _false, _failing) for case in table()}
HONEST = Case("honest", DELIVERED, FOUND)
UNDER_NO_SIGNATURE = ("dnssec-failed.org", "rhybar.cz")


@dataclass
class Played:
    """What became of it."""

    street: Street
    names: Liar
    told: dict[str, Told]
    before: Counter[str]
    """The server's descriptors when it had delivered one message, and had nothing to do."""

    @property
    def good(self) -> Peer:
        """Where mail should go."""
        return self.street.hosts[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Played]:
    """All cases, played at once, under a resolver that says of everything that it was validated."""
    hosts: list[tuple[str, Open]] = [(place, _host) for place in (GOOD, EVIL, OUTSIDE)]
    names = Liar()
    names.authenticated = True
    for name in (".", "com."):
        names.add(name, "SOA", "ns.invalid. hostmaster.invalid. 1 3600 600 86400 60")
    for name in UNDER_NO_SIGNATURE:
        names.add(name, "A", EVIL)
    async with open_street(tmp_path_factory.mktemp("dns") / "house", hosts, names=names) as street:
        for case in (*CASES.values(), HONEST):
            case.publish(names)
        names.add(f"_{street.port}._tcp.mx.forged-ad.example", "TLSA", "3 1 1 " + "aa" * 32)
        await street.send([HONEST.recipient])
        assert (await street.told(1))[HONEST.recipient].type == "delivered"
        before = Footprint(street.house.server.pid).descriptors()
        await street.send([case.recipient for case in CASES.values()])
        yield Played(street, names, await street.told(1 + len(CASES)), before)


def _host(place: str, port: int) -> Peer:
    host = Peer("PIPELINING", address=place, port=port)
    # it ends each connection at once, so that none is used for two of them
    host.answers["DOT"] = b"250 2.0.0 ok\r\n421 4.3.2 that is all\r\n"
    return host


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_what_dns_says_has_its_consequence(played: Played, name: str) -> None:
    case = CASES[name]
    told = played.told[case.recipient]
    assert f"{told.type} {told.said}"[: len(case.said)] == case.said, told
    assert case.tries in (0, len(told.stages)), told
    assert told.said.isprintable()
    taken = [one for one in played.good.mails if any(f"<{case.recipient}>" in command for command in one.commands)]
    assert len(taken) == (told.type == "delivered")


@pytest.mark.asyncio(loop_scope="module")
async def test_nobody_is_connected_to_but_who_was_meant(played: Played) -> None:
    _, evil, outside = played.street.hosts
    assert (evil.connections, outside.connections) == (0, 0)


@pytest.mark.asyncio(loop_scope="module")
async def test_of_many_hosts_only_so_many_are_even_looked_up(played: Played) -> None:
    asked = {question.name for question in played.names.questions if question.name.endswith(".many-hosts.example")}
    assert len([name for name in asked if name.startswith("mx")]) == MOST


@pytest.mark.asyncio(loop_scope="module")
async def test_who_says_that_everything_was_validated_is_not_believed(played: Played) -> None:
    assert played.told[CASES["forged-ad"].recipient].policy == "opportunistic"
    assert played.street.house.logged(f"answers for {UNDER_NO_SIGNATURE[0]}") > 0
    assert [question for question in played.names.questions if question.type == "TLSA"] == []


@pytest.mark.asyncio(loop_scope="module")
async def test_no_connection_and_no_descriptor_stays_behind_hostile_names(played: Played) -> None:
    await played.street.left_alone(played.before)


@pytest.mark.asyncio(loop_scope="module")
async def test_hostile_names_cause_no_error_of_ours(played: Played) -> None:
    for word in ("Traceback", "never retrieved", "Internal error", "was destroyed"):
        assert played.street.house.logged(word) == 0, word
    count = len(played.good.mails)
    await played.street.send([HONEST.recipient])
    await played.street.house.see("honest domains are served", lambda: len(played.good.mails) > count)
