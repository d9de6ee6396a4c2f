"""TLS as policy, on the wire: what is demanded, what is verified, what follows when that fails."""

import asyncio
import dataclasses
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from mta.clock import SystemClock
from mta.delivery.dnssec import DnssecProof
from mta.delivery.limits import TlsPolicy
from mta.delivery.mta_sts import Mode, Policy
from mta.delivery.policies import TlsPolicies
from mta.delivery.resolver import DnsTrouble, MxAnswer, MxRecord
from mta.delivery.sts_cache import Sts
from mta.delivery.tls_failure import TlsFailure
from mta.delivery.tls_policy import Demand, PolicyWord
from mta.delivery.tls_report import Tallies
from mta.delivery.tlsa import HostAnswer, TlsaAnswer, TlsaRecord
from mta.delivery.transport import SmtpTransport
from mta.mail.outcome import Bounced, Deferred, Delivered, Outcome, TlsUse
from mta.mail.reply import Reply
from mta.queue.seams import Host, Site
from tests.delivery.peer import Peer
from tests.delivery.pki import DAY, Identity, issue
from tests.delivery.world import HEADER, Zone, broken_context, letter, ours, settings

NAME = "mx1.example.net"
NOW = datetime.now(UTC)
CA = issue("Test CA", NOW, ca=True)
OTHER_CA = issue("Other CA", NOW, ca=True)


def _server(identity: Identity, folder: Path, *chain: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.write(folder / "server.pem", *chain))
    return context


@dataclass
class World:
    """All that decides over TLS, as a test sets it."""

    folder: Path
    configured: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    sts: dict[str, Sts] = field(default_factory=dict)
    secure: bool = True
    tlsa: tuple[TlsaRecord, ...] = ()
    tallies: Tallies = field(default_factory=Tallies)
    validates: bool = True
    proof: DnssecProof | None = None
    """What is told of the resolver, if not that."""
    hosts: list[str] = field(default_factory=lambda: [NAME])
    messages_per_connection: int = 100
    is_about_us: Callable[[Reply], bool] = lambda reply: False
    zone: Zone = field(default_factory=Zone)
    metrics: "Metrics" = field(default_factory=lambda: Metrics())

    def transport(self) -> SmtpTransport:
        anchors = CA.write(self.folder / "anchors.pem")
        given = dataclasses.replace(settings(), tls=self.configured, ca_file=anchors)
        given = dataclasses.replace(
            given, pool=dataclasses.replace(given.pool, messages_per_connection=self.messages_per_connection)
        )
        policies = TlsPolicies(self.configured, SystemClock(), _Names(self), self._sts, frozenset({"shop"}))
        policies.believe(self.proof or DnssecProof(self.validates, "said the test"))
        return SmtpTransport(given, self.zone, SystemClock(), policies, self.tallies, self.is_about_us, self.metrics)

    async def _sts(self, domain: str) -> Sts:
        return self.sts.get(domain, Sts())

    def counted(self) -> list[tuple[str, str, int, list[str]]]:
        """Return for each domain and policy its successes, and the failures."""
        return [
            (day.domain, one.policy.type.value, one.successes, [what.type.value for what, _ in one.details])
            for day in self.tallies.drain()
            for one in day.tallies
        ]


class Metrics:
    """Counts handshakes."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def tls_session(self, role: str, version: str | None) -> None:
        """One succeeded."""
        self.seen.append(f"{role} {version}")

    def tls_failed(self, role: str) -> None:
        """One failed."""
        self.seen.append(f"{role} failed")


class _Names:
    """DNS, as the world says."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def mx(self, domain: str) -> MxAnswer:
        return MxAnswer(tuple(MxRecord(10, name) for name in self._world.hosts), self._world.secure)

    async def host(self, host: str) -> HostAnswer:
        return HostAnswer(host, self._world.secure, self._world.secure)

    async def tlsa(self, name: str) -> TlsaAnswer:
        return TlsaAnswer(self._world.tlsa, self._world.secure)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _there(peer: Peer, **demands: object) -> Site:
    return Site(NAME, (Host(NAME, peer.port, **demands),))  # type: ignore[arg-type]  # the tests name fields


async def _send(world: World, where: Site, *addresses: str, **changes: object) -> list[Outcome]:
    sending = world.transport()
    try:
        return [await sending.deliver(letter(to, **changes), where, ours) for to in addresses or ("a@example.net",)]  # type: ignore[arg-type]  # the tests name fields
    finally:
        await sending.close()


def _tls(outcome: Outcome) -> TlsUse:
    found = outcome.tries[-1].tls
    assert found is not None
    return found


GOOD = issue(NAME, NOW, CA, names=(NAME,))
CERTIFICATES = {
    "good": GOOD,
    "self-signed": issue(NAME, NOW, names=(NAME,)),
    "unknown authority": issue(NAME, NOW, OTHER_CA, names=(NAME,)),
    "expired": issue(NAME, NOW, CA, names=(NAME,), starts=-10 * DAY, lasts=DAY),
    "wrong name": issue("other.example", NOW, CA, names=("other.example",)),
}
FAILURES = {
    "self-signed": "certificate-not-trusted",
    "unknown authority": "certificate-not-trusted",
    "expired": "certificate-expired",
    "wrong name": "certificate-host-mismatch",
}
ENFORCE = Sts(Policy(Mode.ENFORCE, (NAME,), timedelta(days=1)))
ENFORCE_ANOTHER = Policy(Mode.ENFORCE, ("mx.other.example",), timedelta(days=1))
TESTING = Sts(Policy(Mode.TESTING, (NAME,), timedelta(days=1)))


@pytest.mark.parametrize("kind", list(CERTIFICATES))
async def test_opportunistic_and_required_tls_take_any_certificate(kind: str, world: World) -> None:
    for configured in TlsPolicy:
        world.configured = configured
        async with Peer(tls=_server(CERTIFICATES[kind], world.folder)) as peer:
            (outcome,) = await _send(world, _there(peer))
        assert isinstance(outcome, Delivered)
        assert (_tls(outcome).policy, _tls(outcome).verified, _tls(outcome).is_used) == (configured.value, False, True)


@pytest.mark.parametrize("kind", list(CERTIFICATES))
@pytest.mark.parametrize("by", ["route", "mta-sts"])
async def test_where_a_certificate_is_verified_only_a_good_one_will_do(by: str, kind: str, world: World) -> None:
    if by == "mta-sts":
        world.sts["example.net"] = ENFORCE
    async with Peer(tls=_server(CERTIFICATES[kind], world.folder)) as peer:
        (outcome,) = await _send(world, _there(peer, verify_tls=by == "route"))
    if kind == "good":
        assert isinstance(outcome, Delivered)
        used = _tls(outcome)
        assert (used.policy, used.verified) == ("mta-sts" if by == "mta-sts" else "verify", True)
        assert used.proof == f"certificate for {NAME}"
    else:
        assert isinstance(outcome, Deferred)
        assert (outcome.tries[0].stage, str(outcome.reply.status)) == ("starttls", "4.7.5")
        assert not peer.mails
    assert peer.connections == 1
    if by == "mta-sts":
        failures = [] if kind == "good" else [FAILURES[kind]]
        assert world.counted() == [("example.net", "sts", int(kind == "good"), failures)]


@pytest.mark.parametrize("kind", list(CERTIFICATES))
async def test_a_policy_in_testing_mode_is_counted_and_mail_goes_on(kind: str, world: World) -> None:
    world.sts["example.net"] = TESTING
    async with Peer("PIPELINING", tls=_server(CERTIFICATES[kind], world.folder)) as peer:
        outcomes = await _send(world, _there(peer), "a@example.net", "b@example.net")
    assert all(isinstance(one, Delivered) and _tls(one).is_used for one in outcomes)
    assert [_tls(one).policy for one in outcomes] == ["mta-sts-testing"] * 2
    assert peer.connections == (1 if kind == "good" else 2)
    failures = [] if kind == "good" else [FAILURES[kind]]
    assert world.counted() == [("example.net", "sts", int(kind == "good"), failures)]


async def test_a_host_that_the_policy_does_not_name_is_not_spoken_to(world: World) -> None:
    world.sts["example.net"] = Sts(Policy(Mode.ENFORCE, ("mx.other.example",), timedelta(days=1)))
    async with Peer(tls=_server(GOOD, world.folder)) as peer:
        (outcome,) = await _send(world, _there(peer))
    assert isinstance(outcome, Deferred)
    assert peer.connections == 0
    assert "does not name" in outcome.reply.text
    assert world.counted() == [("example.net", "sts", 0, ["validation-failure"])]


@pytest.mark.parametrize("tls", [None, broken_context()])
async def test_an_enforced_policy_never_falls_back_to_plaintext(tls: ssl.SSLContext | None, world: World) -> None:
    world.sts["example.net"] = ENFORCE
    async with Peer(tls=tls) as peer:
        (outcome,) = await _send(world, _there(peer))
    assert isinstance(outcome, Deferred)
    assert not peer.mails
    assert peer.connections == 1


@pytest.mark.parametrize(
    ("record", "kind", "delivered"),
    [
        (CERTIFICATES["self-signed"].tlsa(3, 1), "self-signed", True),
        (CERTIFICATES["expired"].tlsa(3, 1), "expired", True),
        (CERTIFICATES["wrong name"].tlsa(3, 0), "wrong name", True),
        (CA.tlsa(2, 0), "good", True),
        (CA.tlsa(2, 0), "expired", False),
        (CA.tlsa(2, 0), "wrong name", False),
        (OTHER_CA.tlsa(2, 1), "good", False),
        (GOOD.tlsa(3, 1), "self-signed", False),
        (TlsaRecord(1, 1, 1, b"x" * 32), "self-signed", True),  # none usable: encrypted, unverified
    ],
)
async def test_dane_decides_by_the_records(record: TlsaRecord, kind: str, delivered: bool, world: World) -> None:
    world.tlsa = (record,)
    async with Peer(tls=_server(CERTIFICATES[kind], world.folder, CA)) as peer:
        (outcome,) = await _send(world, _there(peer))
    assert isinstance(outcome, Delivered) is delivered
    assert len(peer.mails) == int(delivered)
    if delivered:
        assert (_tls(outcome).policy, _tls(outcome).verified) == ("dane", record.usage in (2, 3))
        assert peer.mails[0].server_name == NAME
    else:
        # refused before anything was said
        assert peer.verbs == ["EHLO", "STARTTLS"]


@pytest.mark.parametrize("tls", [None, broken_context()])
async def test_dane_never_falls_back_to_plaintext(tls: ssl.SSLContext | None, world: World) -> None:
    world.tlsa = (GOOD.tlsa(3, 1),)
    async with Peer(tls=tls) as peer:
        (outcome,) = await _send(world, _there(peer))
    assert isinstance(outcome, Deferred)
    assert not peer.mails


@pytest.mark.parametrize(("secure", "validates"), [(False, True), (True, False)])
async def test_dane_is_off_without_a_proof_of_dnssec(secure: bool, validates: bool, world: World) -> None:
    world.tlsa, world.secure, world.validates = (OTHER_CA.tlsa(3, 1),), secure, validates
    async with Peer(tls=_server(GOOD, world.folder)) as peer:
        (outcome,) = await _send(world, _there(peer))
    assert isinstance(outcome, Delivered)
    assert _tls(outcome).policy == "opportunistic"


async def test_dane_and_mta_sts_must_both_hold(world: World) -> None:
    self_signed = CERTIFICATES["self-signed"]
    world.sts["example.net"], world.tlsa = ENFORCE, (self_signed.tlsa(3, 1),)
    async with Peer(tls=_server(self_signed, world.folder)) as peer:
        (outcome,) = await _send(world, _there(peer))
    assert isinstance(outcome, Deferred)
    world.tlsa = (GOOD.tlsa(3, 1),)
    async with Peer(tls=_server(GOOD, world.folder)) as peer:
        (outcome,) = await _send(world, _there(peer))
    assert isinstance(outcome, Delivered)
    assert (_tls(outcome).policy, _tls(outcome).verified) == ("dane+mta-sts", True)


async def test_a_connection_is_shared_only_by_domains_whose_demands_it_meets(world: World) -> None:
    world.sts["strict.example"] = ENFORCE
    async with Peer("PIPELINING", tls=_server(GOOD, world.folder)) as peer:
        where = _there(peer)
        outcomes = await _send(
            world, where, "a@loose.example", "b@strict.example", "c@loose.example", "d@strict.example"
        )
    assert all(isinstance(one, Delivered) for one in outcomes)
    # the first was never verified, so that the second opens its own; that one serves all others
    assert peer.connections == 2
    assert [_tls(one).policy for one in outcomes] == ["opportunistic", "mta-sts", "opportunistic", "mta-sts"]


# TLS-Required: No


WAIVER = HEADER + b"TLS-Required: No\r\n"


@pytest.mark.parametrize(
    ("header", "account", "delivered"),
    [(HEADER, "shop", False), (WAIVER, "shop", True), (WAIVER.lower(), "shop", True), (WAIVER, "other", False)],
)
async def test_an_account_that_may_can_waive_the_recipients_policies(
    header: bytes, account: str, delivered: bool, world: World
) -> None:
    world.sts["example.net"] = ENFORCE
    async with Peer() as peer:
        (outcome,) = await _send(world, _there(peer), header=header, account=account)
    assert isinstance(outcome, Delivered) is delivered
    if delivered:
        assert _tls(outcome).policy == "tls-required-no"


async def test_the_operators_own_demand_is_not_waived(world: World) -> None:
    world.configured = TlsPolicy.REQUIRE
    async with Peer() as peer:
        (outcome,) = await _send(world, _there(peer), header=WAIVER)
    assert isinstance(outcome, Deferred)


# REQUIRETLS


async def test_requiretls_goes_on_to_a_host_that_proves_itself_and_promises_it(world: World) -> None:
    tls = _server(GOOD, world.folder)
    async with Peer("PIPELINING", tls=tls, after_tls=("PIPELINING", "REQUIRETLS")) as peer:
        where = _there(peer)
        sending = world.transport()
        for wanted in (True, False):
            assert isinstance(await sending.deliver(letter(requiretls=wanted), where, ours), Delivered)
        await sending.close()
    assert ["REQUIRETLS" in mail.commands[0] for mail in peer.mails] == [True, False]
    assert peer.connections == 1


async def test_requiretls_fails_for_good_where_no_host_promises_it(world: World) -> None:
    # offered in the clear only: that is forgotten
    async with Peer("REQUIRETLS", tls=_server(GOOD, world.folder), after_tls=("SIZE",)) as peer:
        (outcome,) = await _send(world, _there(peer), requiretls=True)
    assert isinstance(outcome, Bounced)
    assert (outcome.reply.code, str(outcome.reply.status)) == (550, "5.7.30")
    assert not peer.mails


@pytest.mark.parametrize(
    ("secure", "kind", "why"),
    [
        (True, None, "does not offer TLS"),
        (True, "self-signed", "self-signed"),
        (True, "unknown authority", "unable to get local issuer"),
        (True, "expired", "expired"),
        (True, "wrong name", "Hostname mismatch"),
        (False, "good", "neither DNSSEC nor MTA-STS proves that mx1.example.net is the domain's host"),
    ],
)
async def test_requiretls_fails_for_good_where_no_host_proves_itself(
    secure: bool, kind: str | None, why: str, world: World
) -> None:
    world.secure = secure
    tls = None if kind is None else _server(CERTIFICATES[kind], world.folder)
    async with Peer("REQUIRETLS", tls=tls, after_tls=("REQUIRETLS",)) as peer:
        (outcome,) = await _send(world, _there(peer), requiretls=True)
        (other,) = await _send(world, _there(peer))
    assert isinstance(outcome, Bounced)
    assert (outcome.reply.code, str(outcome.reply.status)) == (550, "5.7.10")
    assert why in outcome.reply.text
    assert not outcome.tries[-1].remote
    # what fails a message that requires TLS is nothing to others
    assert isinstance(other, Delivered)
    assert len(peer.mails) == 1


@pytest.mark.parametrize("policy", ["dane", "mta-sts", "mta-sts of another host"])
async def test_requiretls_fails_for_good_where_the_domains_own_policy_is_not_met(policy: str, world: World) -> None:
    if policy == "dane":
        world.tlsa = (OTHER_CA.tlsa(3, 1),)
    else:
        name = NAME if policy == "mta-sts" else "mx.other.example"
        world.sts["example.net"] = Sts(Policy(Mode.ENFORCE, (name,), timedelta(days=1)))
    tls = _server(CERTIFICATES["self-signed"], world.folder)
    async with Peer(tls=tls, after_tls=("REQUIRETLS",)) as peer:
        (outcome,) = await _send(world, _there(peer), requiretls=True)
        (other,) = await _send(world, _there(peer))
    assert isinstance(outcome, Bounced)
    assert str(outcome.reply.status) == "5.7.10"
    assert isinstance(other, Deferred)
    assert not peer.mails


async def test_what_a_message_demands_beyond_the_domains_policy_is_not_reported_to_the_domain(world: World) -> None:
    world.secure = False
    async with Peer(tls=_server(GOOD, world.folder), after_tls=("REQUIRETLS",)) as peer:
        assert isinstance((await _send(world, _there(peer), requiretls=True))[0], Bounced)
    assert world.counted() == []


async def test_requiretls_fails_for_good_where_starttls_is_refused_for_good(world: World) -> None:
    async with Peer(tls=_server(GOOD, world.folder)) as peer:
        peer.answers["STARTTLS"] = b"502 5.5.1 not for you\r\n"
        (outcome,) = await _send(world, _there(peer), requiretls=True)
    assert isinstance(outcome, Bounced)
    assert str(outcome.reply.status) == "5.7.10"
    assert "502 5.5.1 not for you" in outcome.reply.text


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("GREETING", b""),
        ("GREETING", b"421 4.3.2 later\r\n"),
        ("EHLO", b""),
        ("STARTTLS", b"454 4.7.0 no TLS just now\r\n"),
        ("STARTTLS", b""),
    ],
)
async def test_requiretls_waits_where_the_host_is_in_trouble(verb: str, answer: bytes, world: World) -> None:
    async with Peer(tls=_server(GOOD, world.folder), after_tls=("REQUIRETLS",)) as peer:
        peer.answers[verb] = answer
        (outcome,) = await _send(world, _there(peer), requiretls=True)
    assert isinstance(outcome, Deferred)


@pytest.mark.parametrize(
    ("sts", "waits"),
    [
        (Sts(None, TlsFailure.STS_POLICY_FETCH_ERROR, "answered 503"), True),
        (Sts(None, None, "no answer from DNS"), True),
        (Sts(ENFORCE_ANOTHER, TlsFailure.STS_POLICY_FETCH_ERROR, "answered 503"), True),
        (Sts(None, TlsFailure.STS_POLICY_INVALID, "its version is STSv9"), False),
        (Sts(None, TlsFailure.STS_WEBPKI_INVALID, "self-signed certificate"), False),
        (Sts(), False),
    ],
)
async def test_requiretls_waits_while_a_policy_that_may_prove_the_host_cannot_be_got(
    sts: Sts, waits: bool, world: World
) -> None:
    world.sts["example.net"], world.secure = sts, False
    async with Peer(tls=_server(GOOD, world.folder), after_tls=("REQUIRETLS",)) as peer:
        (outcome,) = await _send(world, _there(peer), requiretls=True)
    assert isinstance(outcome, Deferred if waits else Bounced)
    assert peer.connections == 0


@pytest.mark.parametrize("is_passing", [True, False])
async def test_requiretls_waits_while_the_resolver_cannot_be_put_to_the_proof(is_passing: bool, world: World) -> None:
    world.proof = DnssecProof(False, "no answer", is_passing)
    async with Peer(tls=_server(GOOD, world.folder), after_tls=("REQUIRETLS",)) as peer:
        (outcome,) = await _send(world, _there(peer), requiretls=True)
    assert isinstance(outcome, Deferred if is_passing else Bounced)


async def test_requiretls_waits_when_a_file_of_ours_cannot_be_read(world: World) -> None:
    transport = world.transport()
    (world.folder / "anchors.pem").write_text("no certificate")
    async with Peer(tls=_server(GOOD, world.folder), after_tls=("REQUIRETLS",)) as peer:
        outcome = await transport.deliver(letter(requiretls=True), _there(peer), ours)
        await transport.close()
    assert isinstance(outcome, Deferred)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("unknown for now", Deferred),
        ("closes", Deferred),
        ("no TLS", Bounced),
        ("no address", Bounced),
        ("good", Delivered),
    ],
)
async def test_requiretls_fails_only_when_that_is_certain_of_all_hosts(
    second: str, expected: type[Outcome], world: World
) -> None:
    bad = _server(CERTIFICATES["self-signed"], world.folder)
    good = _server(issue("mx2.example.net", NOW, CA, names=("mx2.example.net",)), world.folder)
    world.hosts.append("mx2.example.net")
    async with (
        Peer(tls=bad) as first,
        Peer(tls=good if second == "good" else None, after_tls=("REQUIRETLS",)) as other,
    ):
        if second == "closes":
            other.answers["GREETING"] = b""
        if second == "no address":
            world.zone.address_answers["mx2.example.net"] = ()
        if second == "unknown for now":
            world.zone.address_answers["mx2.example.net"] = DnsTrouble("SERVFAIL")
        where = Site(NAME, (Host(NAME, first.port), Host("mx2.example.net", other.port)))
        (outcome,) = await _send(world, where, requiretls=True)
    assert isinstance(outcome, expected)
    assert not first.mails


async def test_no_host_is_judged_before_the_resolver_was_put_to_the_proof(world: World) -> None:
    """What a restart finds in the queue must not go out without DANE."""
    world.tlsa = (GOOD.tlsa(3, 1),)
    policies = TlsPolicies(world.configured, SystemClock(), _Names(world), awaits_proof=True)
    async with asyncio.TaskGroup() as tasks:
        found = tasks.create_task(policies.of(Host(NAME, 25), letter()))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not found.done()
        policies.believe(DnssecProof(True, "said the test"))
    demand = found.result().demand
    assert isinstance(demand, Demand)
    assert demand.word is PolicyWord.DANE


# the story


async def test_what_a_host_offered_and_what_was_used_is_told_and_made_once_for_a_connection(world: World) -> None:
    async with Peer(
        "DSN", tls=_server(GOOD, world.folder), after_tls=("PIPELINING", "SIZE 1000", "X-EVIL\x1b[31m")
    ) as peer:
        one, other = await _send(world, _there(peer), "a@example.net", "b@example.net")
    assert _tls(one).offered == "PIPELINING SIZE=1000 STARTTLS"
    assert _tls(one).cipher.startswith("TLS_")
    assert _tls(one) is _tls(other)


async def test_one_connection_tells_each_message_the_policy_that_decided_for_it(world: World) -> None:
    world.sts["strict.example"] = ENFORCE
    async with Peer("PIPELINING", tls=_server(GOOD, world.folder)) as peer:
        outcomes = await _send(world, _there(peer), "b@strict.example", "a@loose.example", "c@strict.example")
    assert [_tls(one).policy for one in outcomes] == ["mta-sts", "opportunistic", "mta-sts"]
    assert peer.connections == 1


async def test_a_host_that_a_policy_forbids_is_told_with_the_policy_and_one_that_is_not_reached_without(
    world: World,
) -> None:
    world.sts["example.net"] = Sts(ENFORCE_ANOTHER)
    async with Peer() as peer:
        (skipped,) = (await _send(world, _there(peer)))[0].tries
    assert skipped.tls == TlsUse("", "", "mta-sts")
    assert (skipped.stage, skipped.address) == ("connect", "")
    world.sts.clear()
    world.zone.address_answers[NAME] = DnsTrouble("SERVFAIL")
    (unknown,) = (await _send(world, _there(peer)))[0].tries
    assert unknown.tls is None


# metrics


@pytest.mark.parametrize(
    ("policy", "kind", "seen"),
    [
        ("", "self-signed", ["delivery TLSv1.3"]),
        ("mta-sts", "good", ["delivery TLSv1.3"]),
        ("mta-sts", "expired", ["delivery failed", "delivery failed"]),
        ("dane", "good", ["delivery failed", "delivery failed"]),
        ("", "broken", ["delivery failed"]),
        ("", "none", []),
    ],
)
async def test_each_handshake_is_counted_once_whatever_it_carries(
    policy: str, kind: str, seen: list[str], world: World
) -> None:
    if policy == "mta-sts":
        world.sts["example.net"] = ENFORCE
    if policy == "dane":
        world.tlsa = (OTHER_CA.tlsa(3, 1),)
    contexts = {"none": None, "broken": broken_context()}
    tls = contexts[kind] if kind in contexts else _server(CERTIFICATES[kind], world.folder)
    async with Peer("PIPELINING", tls=tls) as peer:
        await _send(world, _there(peer), "a@example.net", "b@example.net")
    assert world.metrics.seen == seen


# opportunistic, broken


async def test_a_host_whose_tls_is_broken_is_remembered(world: World) -> None:
    world.messages_per_connection = 1
    async with Peer("PIPELINING", tls=broken_context()) as peer:
        outcomes = await _send(world, _there(peer), "a@example.net", "b@example.net")
    assert all(isinstance(one, Delivered) and not _tls(one).is_used for one in outcomes)
    assert all("TLS handshake" in _tls(one).proof for one in outcomes)
    assert peer.connections == 3
    assert peer.verbs.count("STARTTLS") == 1
    # both connections in plaintext count, by what happened the first time
    (day,) = world.tallies.drain()
    assert [(one.successes, one.failures) for one in day.tallies] == [(0, 2)]


async def test_octets_behind_the_reply_to_starttls_are_an_attack(world: World) -> None:
    async with Peer(tls=_server(GOOD, world.folder)) as peer:
        peer.answers["STARTTLS"] = b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"
        (outcome,) = await _send(world, _there(peer))
    assert isinstance(outcome, Deferred)
    assert (outcome.tries[0].stage, outcome.tries[0].remote) == ("starttls", False)
    assert peer.connections == 1
    assert not peer.mails


async def test_a_host_with_only_old_tls_gets_plaintext_or_nothing(world: World) -> None:
    context = _server(GOOD, world.folder)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    for policy, kind in ((TlsPolicy.OPPORTUNISTIC, Delivered), (TlsPolicy.REQUIRE, Deferred)):
        world.configured = policy
        async with Peer(tls=context) as peer:
            (outcome,) = await _send(world, _there(peer))
        assert isinstance(outcome, kind)
        assert not any(mail.encrypted for mail in peer.mails)


# routes


async def test_a_relay_may_want_tls_from_the_first_octet_and_our_certificate(world: World) -> None:
    mine = issue("client.example", NOW, CA, names=("client.example",), usages=())
    context = _server(GOOD, world.folder)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(CA.write(world.folder / "ca.pem"))
    shown = mine.write(world.folder / "client.pem")
    async with Peer("PIPELINING", tls=context, implicit=True) as peer:
        where = _there(peer, implicit_tls=True, verify_tls=True, trusted=True, client_cert=str(shown))
        (outcome,) = await _send(world, where)
        assert isinstance(outcome, Delivered)
        assert (_tls(outcome).policy, _tls(outcome).verified) == ("verify", True)
        bare = _there(peer, implicit_tls=True, verify_tls=True, trusted=True)
        assert isinstance((await _send(world, bare))[0], Deferred)
    assert "STARTTLS" not in peer.verbs
    assert world.counted() == []  # nobody is told of our own relays


async def test_a_relay_whose_certificate_file_is_missing_makes_mail_wait(world: World) -> None:
    async with Peer(tls=_server(GOOD, world.folder)) as peer:
        (outcome,) = await _send(world, _there(peer, client_cert=str(world.folder / "gone.pem"), require_tls=True))
    assert isinstance(outcome, Deferred)
    assert "No such file" in outcome.reply.text


async def test_lmtp_is_spoken_over_a_local_socket(world: World) -> None:
    path = world.folder / "lmtp"
    async with Peer("PIPELINING", lmtp=True, path=path) as peer:
        where = Site("local", (Host("localhost", 0, trusted=True, lmtp=True, socket=str(path)),))
        outcomes = await _send(world, where, "a@example.net", "b@example.net")
    assert all(isinstance(one, Delivered) for one in outcomes)
    assert peer.verbs[0] == "LHLO"
    assert peer.connections == 1
    assert outcomes[0].tries[0].address == str(path)


@pytest.mark.parametrize("greeting", [b"554 5.7.1 you are listed\r\n", b""])
async def test_a_fall_back_relay_takes_what_all_hosts_refuse_us(greeting: bytes, world: World) -> None:
    async with Peer() as peer, Peer() as relay:
        peer.answers["GREETING"] = greeting
        where = replace(_there(peer), fallback=(Host("127.0.0.1", relay.port, trusted=True),))
        (outcome,) = await _send(world, where)
    assert isinstance(outcome, Delivered)
    assert [one.host for one in outcome.tries] == [NAME, "127.0.0.1"]


@pytest.mark.parametrize(
    ("reply", "asked"), [(b"550 5.7.1 your address is blocked\r\n", True), (b"550 5.1.1 no such user\r\n", False)]
)
async def test_a_fall_back_relay_is_asked_about_recipients_only_when_it_was_about_us(
    reply: bytes, asked: bool, world: World
) -> None:
    world.is_about_us = lambda said: str(said.status) == "5.7.1"
    async with Peer() as peer, Peer() as relay:
        peer.answers["RCPT"] = reply
        where = replace(_there(peer), fallback=(Host("127.0.0.1", relay.port, trusted=True),))
        (outcome,) = await _send(world, where)
    assert isinstance(outcome, Delivered if asked else Bounced)
    assert relay.connections == int(asked)
