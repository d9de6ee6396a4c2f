"""Whether resolvers can be believed."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from mta.delivery.dnssec import DnsAsker, Probe, Seen, prove, servers_in_use
from mta.delivery.resolver import ResolverSettings, Server
from mta.demo.dns import Failure, NameServer

LOCAL = Server("127.0.0.1")
PROBE = Probe((("signed.example.", "SOA"), ("second.example.", "SOA")), (("broken.example.", "A"),))


class Script:
    """Resolvers that say what they were told to."""

    def __init__(self, signed: Seen, second: Seen, broken: Seen) -> None:
        self._says = {"signed.example.": signed, "second.example.": second, "broken.example.": broken}
        self.asked: list[Server] = []

    async def ask(self, server: Server, name: str, type: str) -> Seen:
        self.asked.append(server)
        return self._says[name]


VALIDATED, PLAIN, REFUSED, ABSENT, TROUBLE = (
    Seen.VALIDATED,
    Seen.UNVALIDATED,
    Seen.REFUSED,
    Seen.ABSENT,
    Seen.TROUBLE,
)


@pytest.mark.parametrize(
    ("signed", "second", "broken", "reason"),
    [
        (VALIDATED, TROUBLE, REFUSED, None),
        (PLAIN, VALIDATED, REFUSED, None),  # a root zone of its own, for which AD is not set
        (TROUBLE, VALIDATED, REFUSED, None),
        (VALIDATED, TROUBLE, TROUBLE, None),  # nothing known of the broken name speaks against it
        (VALIDATED, TROUBLE, ABSENT, None),
        (PLAIN, PLAIN, PLAIN, "does not validate DNSSEC"),
        (PLAIN, PLAIN, REFUSED, "does not validate DNSSEC"),
        (TROUBLE, TROUBLE, TROUBLE, "no answer"),
        (VALIDATED, VALIDATED, VALIDATED, "broken on purpose"),  # AD is always set
        (VALIDATED, VALIDATED, PLAIN, "broken on purpose"),
    ],
)
async def test_a_resolver_shows_whether_it_validates(
    signed: Seen, second: Seen, broken: Seen, reason: str | None
) -> None:
    proof = await prove((LOCAL,), Script(signed, second, broken), PROBE)
    assert proof.validates == (reason is None)
    assert (reason or "DANE is on") in proof.reason


@pytest.mark.parametrize(
    ("signed", "second", "is_passing"),
    [(TROUBLE, TROUBLE, True), (REFUSED, TROUBLE, True), (PLAIN, TROUBLE, False), (PLAIN, PLAIN, False)],
)
async def test_silence_is_told_from_an_answer_that_was_not_validated(
    signed: Seen, second: Seen, is_passing: bool
) -> None:
    proof = await prove((LOCAL,), Script(signed, second, REFUSED), PROBE)
    assert (proof.validates, proof.is_passing) == (False, is_passing)


GOOD = (VALIDATED, VALIDATED, REFUSED)


@pytest.mark.parametrize("address", ["192.0.2.53", "10.0.0.53", "2001:db8::53", "169.254.1.1", "resolver.example"])
async def test_a_resolver_elsewhere_is_not_even_asked(address: str) -> None:
    script = Script(*GOOD)
    proof = await prove((Server(address),), script, PROBE)
    assert not proof.validates
    assert address in proof.reason
    assert "not on this machine" in proof.reason
    assert not script.asked


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53", "::1"])
async def test_a_resolver_on_this_machine_is_believed(address: str) -> None:
    assert (await prove((Server(address),), Script(*GOOD), PROBE)).validates


async def test_one_resolver_of_several_that_is_elsewhere_spoils_them_all() -> None:
    proof = await prove((LOCAL, Server("192.0.2.53")), Script(*GOOD), PROBE)
    assert not proof.validates


async def test_each_resolver_is_asked() -> None:
    servers = (LOCAL, Server("127.0.0.2", 5353))
    script = Script(*GOOD)
    proof = await prove(servers, script, PROBE)
    assert set(script.asked) == set(servers)
    assert "127.0.0.1, 127.0.0.2 port 5353" in proof.reason


async def test_without_a_resolver_nothing_is_proven() -> None:
    assert not (await prove((), Script(*GOOD), PROBE)).validates


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        server.add("signed.example", "SOA", "ns.signed.example. h.signed.example. 1 1 1 1 1")
        server.add("second.example", "SOA", "ns.signed.example. h.signed.example. 1 1 1 1 1")
        server.add("broken.example", "A", "192.0.2.1")
        server.authenticated = True
        yield server


def _of(server: NameServer) -> Server:
    host, _, port = server.address.rpartition(":")
    return Server(host, int(port))


@pytest.mark.parametrize(
    ("how", "seen"),
    [
        (None, Seen.VALIDATED),
        (Failure.TRUNCATED, Seen.VALIDATED),
        (Failure.SERVFAIL, Seen.REFUSED),
        (Failure.REFUSED, Seen.TROUBLE),
        (Failure.NXDOMAIN, Seen.ABSENT),
        (Failure.GARBAGE, Seen.TROUBLE),
        (Failure.WRONG_QUESTION, Seen.TROUBLE),
        (Failure.SILENT, Seen.TROUBLE),
    ],
)
async def test_what_a_real_name_server_says_is_seen(server: NameServer, how: Failure | None, seen: Seen) -> None:
    server.fail("signed.example", how)
    silent = how in (Failure.SILENT, Failure.GARBAGE, Failure.WRONG_QUESTION)
    asker = DnsAsker(timedelta(seconds=0.3 if silent else 30))
    assert await asker.ask(_of(server), "signed.example.", "SOA") is seen


async def test_an_answer_without_the_bit_was_validated_by_nobody(server: NameServer) -> None:
    server.authenticated = False
    assert await DnsAsker(timedelta(seconds=30)).ask(_of(server), "signed.example.", "SOA") is Seen.UNVALIDATED


async def test_a_name_without_such_records_proves_nothing(server: NameServer) -> None:
    assert await DnsAsker(timedelta(seconds=30)).ask(_of(server), "signed.example.", "TXT") is Seen.ABSENT


@pytest.mark.parametrize(("how", "validates"), [(Failure.SERVFAIL, True), (None, False)])
async def test_a_real_name_server_is_proved(server: NameServer, how: Failure | None, validates: bool) -> None:
    server.fail("broken.example", how)
    proof = await prove((_of(server),), DnsAsker(timedelta(seconds=30)), PROBE)
    assert proof.validates == validates, proof.reason


def test_the_configured_resolvers_are_those_in_use() -> None:
    assert servers_in_use(ResolverSettings((LOCAL,))) == (LOCAL,)


def test_without_configured_resolvers_the_machine_s_are_in_use() -> None:
    assert all(isinstance(one, Server) for one in servers_in_use(ResolverSettings()))
    assert servers_in_use(ResolverSettings())
